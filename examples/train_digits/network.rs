//! The network: linear, batch norm with ReLU, linear.

use batchnorm::{Activation, Batch, BatchMut, BatchNorm, GradOutput, Gradients, Layout, Path, Result};

use super::digits::{CLASSES, PIXELS, Random};
use super::linear::Linear;
use super::softmax::{best, cross_entropy};

/// The rows of a training batch.
pub(crate) const BATCH: usize = 50;

const HIDDEN: usize = 64;

pub(crate) struct Network {
    /// The batch norm subtracts the mean, and with it this layer's bias. So its bias has a gradient of 0, and stays 0 but
    /// for rounding errors. Folding needs a bias, though.
    first: Linear,
    norm: BatchNorm,
    second: Linear,
    memory: Memory,
}

/// What a training step computes, kept so that the next one need not allocate.
#[derive(Default)]
struct Memory {
    /// The first layer's outputs, which the batch norm normalises.
    hidden: Vec<f32>,
    /// The outputs of batch norm and ReLU.
    active: Vec<f32>,
    scores: Vec<f32>,
    /// The gradients of the loss with respect to `active` and `hidden`.
    d_active: Vec<f32>,
    d_hidden: Vec<f32>,
    gradients: Gradients,
}

impl Network {
    pub(crate) fn new(path: Path, random: &mut Random) -> Result<Self> {
        Ok(Network {
            first: Linear::new(PIXELS, HIDDEN, random),
            norm: BatchNorm::try_new(HIDDEN)?.with_activation(Activation::Relu).with_path(path),
            second: Linear::new(HIDDEN, CLASSES, random),
            memory: Memory::default(),
        })
    }

    /// Trains on one batch, by plain stochastic gradient descent: each parameter moves by its gradient times `rate`.
    /// Returns the mean loss before the step.
    pub(crate) fn train_step(&mut self, pixels: &[f32], labels: &[u8], rate: f32) -> Result<f64> {
        let layout = Layout::nc(labels.len(), HIDDEN);
        let Memory { hidden, active, scores, d_active, d_hidden, gradients } = &mut self.memory;

        self.first.forward(pixels, hidden);
        active.resize(hidden.len(), 0.0);
        let x = Batch::new(hidden, layout)?;
        self.norm.forward_train(x, BatchMut::new(active, layout)?)?;
        self.second.forward(active, scores);

        let loss = cross_entropy(scores, labels);
        let d_scores = &scores[..];
        self.second.backward(d_scores, d_active);
        let dy = GradOutput::through_relu(Batch::new(d_active, layout)?, Batch::new(active, layout)?)?;
        d_hidden.resize(hidden.len(), 0.0);
        let dx = BatchMut::new(d_hidden, layout)?;
        self.norm.backward_train_into(self.norm.batch_moments(), x, dy, dx, gradients)?;

        self.second.step(active, d_scores, rate);
        step_norm(&mut self.norm, gradients, rate)?;
        self.first.step(pixels, d_hidden, rate);
        Ok(loss)
    }

    /// Returns the digits that the network reads, by its running statistics.
    pub(crate) fn read(&self, pixels: &[f32]) -> Result<Vec<u8>> {
        let mut hidden = Vec::new();
        self.first.forward(pixels, &mut hidden);
        let layout = Layout::nc(hidden.len() / HIDDEN, HIDDEN);
        self.norm.to_inference().forward_in_place(BatchMut::new(&mut hidden, layout)?)?;
        Ok(self.best(&hidden))
    }

    /// Returns the digits that the network reads without a batch norm: it is folded into the first layer. The ReLU
    /// remains.
    pub(crate) fn read_folded(&self, pixels: &[f32]) -> Result<Vec<u8>> {
        let (mut folded, mut hidden) = (self.first.clone(), Vec::new());
        self.norm.to_inference().fold_into_linear(&mut folded.weight, &mut folded.bias)?;
        folded.forward(pixels, &mut hidden);
        hidden.iter_mut().for_each(|value| *value = Activation::Relu.apply(*value));
        Ok(self.best(&hidden))
    }

    fn best(&self, active: &[f32]) -> Vec<u8> {
        let mut scores = Vec::new();
        self.second.forward(active, &mut scores);
        best(&scores, CLASSES)
    }
}

/// Moves the weight and the bias of a batch norm against their gradients.
fn step_norm(norm: &mut BatchNorm, gradients: &Gradients, rate: f32) -> Result<()> {
    let moved = |values: Option<&[f64]>, gradients: &[f64]| -> Vec<f64> {
        let values = values.unwrap_or_default().iter().zip(gradients);
        values.map(|(value, gradient)| value - f64::from(rate) * gradient).collect()
    };
    let (weight, bias) = (moved(norm.weight(), gradients.weight()), moved(norm.bias(), gradients.bias()));
    norm.set_weight(&weight)?;
    norm.set_bias(&bias)
}
