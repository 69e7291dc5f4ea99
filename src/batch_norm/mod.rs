//! The layer: parameters, running statistics, training and evaluation.

mod inference;
mod options;
mod parameters;

use std::sync::OnceLock;

pub use inference::Inference;
use parameters::{Statistics, WeightBias};

use crate::kernels::map::Parameters;
use crate::moments::Workspace;
use crate::{Batch, BatchMut, Element, Error, Layout, Moments, Path, Result};

/// Batch normalisation with PyTorch's defaults: `y = (x - mean) / sqrt(variance + eps) * weight + bias` per feature.
///
/// Training normalises with the batch's mean and biased variance and moves the running statistics towards the batch's
/// mean and *unbiased* variance; evaluation normalises with the running statistics. Parameters and statistics are kept
/// in f64 for batches of either type, so a long average of small steps does not stall.
///
/// | option | default | |
/// |---|---|---|
/// | `eps` | 1e-5 | [`BatchNorm::with_eps`] |
/// | `momentum` | 0.1 | [`BatchNorm::with_momentum`], [`BatchNorm::with_cumulative_average`] |
/// | `weight` | 1 | [`BatchNorm::set_weight`], [`BatchNorm::without_affine`] |
/// | `bias` | 0 | [`BatchNorm::set_bias`], [`BatchNorm::without_bias`] |
/// | `running_mean`, `running_var` | 0, 1 | [`BatchNorm::set_running_mean`], [`BatchNorm::set_running_var`] |
/// | path | [`Path::Auto`] | [`BatchNorm::with_path`]; no result depends on it |
///
/// A NaN or an infinity in a feature makes that feature's outputs and running statistics NaN or infinite, as in
/// PyTorch, and touches no other feature. A call that returns an error has changed nothing.
///
/// ```
/// use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
///
/// let layout = Layout::nc(4, 2);
/// let data = [1.0f32, 5.0, 2.0, 5.0, 3.0, 5.0, 4.0, 5.0];
/// let mut out = [0.0f32; 8];
///
/// let mut bn = BatchNorm::new(2);
/// bn.forward_train(Batch::new(&data, layout)?, BatchMut::new(&mut out, layout)?)?;
/// assert_eq!(out[1], 0.0); // a constant feature becomes its bias, exactly
/// assert!((out[0] + 1.3416355).abs() < 1e-6);
/// assert_eq!(bn.running_mean(), [0.25, 0.5]);
///
/// bn.forward_eval(Batch::new(&data, layout)?, BatchMut::new(&mut out, layout)?)?;
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct BatchNorm {
    eps: f64,
    momentum: Option<f64>,
    weight: Option<Vec<f64>>,
    bias: Option<Vec<f64>>,
    running_mean: Vec<f64>,
    running_var: Vec<f64>,
    num_batches_tracked: u64,
    path: Path,
    /// What evaluation applies; made when first asked for after a change.
    inference: OnceLock<Inference>,
    /// Memory of the training pass, kept for the next one.
    batch: Moments,
    workspace: Workspace,
    /// Of the batch: first unbiased, then biased.
    variance: Vec<f64>,
    /// Mean, scale and bias that normalise the batch.
    parameters: Parameters<f64, 3>,
}

impl BatchNorm {
    /// Normalises the batch by its own statistics, and updates the running ones. Writes to `y`.
    ///
    /// `running = (1 - momentum) * running + momentum * batch`, with the batch's unbiased variance.
    ///
    /// # Errors
    /// [`Error::Features`] where the batch has other features than the layer, [`Error::LayoutMismatch`] where `y` is
    /// laid out differently, [`Error::TooFewValues`] where a feature has fewer than two values (the unbiased variance
    /// would not exist).
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let layout = Layout::nc(2, 1);
    /// let mut out = [0.0f32; 2];
    /// let mut bn = BatchNorm::new(1).with_eps(0.0)?;
    /// bn.forward_train(Batch::new(&[1.0f32, 3.0], layout)?, BatchMut::new(&mut out, layout)?)?;
    /// assert_eq!(out, [-1.0, 1.0]);
    /// assert_eq!(bn.num_batches_tracked(), 1);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_train<T: Element>(&mut self, x: Batch<'_, T>, mut y: BatchMut<'_, T>) -> Result<()> {
        self.check_train(x.layout())?;
        check_same(x.layout(), y.layout())?;
        self.train_step(x);
        self.path.normalize(&self.parameters, x.layout(), Some(x.data()), y.data_mut());
        Ok(())
    }

    /// [`BatchNorm::forward_train`] in place.
    ///
    /// # Errors
    /// As [`BatchNorm::forward_train`].
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, Layout};
    /// let mut data = [1.0f64, 3.0];
    /// let mut bn = BatchNorm::new(1).with_eps(0.0)?;
    /// bn.forward_train_in_place(BatchMut::new(&mut data, Layout::nc(2, 1))?)?;
    /// assert_eq!(data, [-1.0, 1.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_train_in_place<T: Element>(&mut self, mut x: BatchMut<'_, T>) -> Result<()> {
        self.check_train(x.layout())?;
        self.train_step(x.as_batch());
        self.path.normalize(&self.parameters, x.layout(), None, x.data_mut());
        Ok(())
    }

    /// Normalises the batch by the running statistics. Writes to `y`.
    ///
    /// The first call after a change of the layer computes scale and shift of each feature; later ones allocate
    /// nothing. A batch may have any number of rows, none and one included.
    ///
    /// # Errors
    /// [`Error::Features`] where the batch has other features than the layer, [`Error::LayoutMismatch`] where `y` is
    /// laid out differently.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let (layout, mut out) = (Layout::nc(1, 1), [0.0f32]);
    /// let mut bn = BatchNorm::new(1).with_eps(0.0)?;
    /// bn.set_running_mean(&[1.0])?;
    /// bn.set_running_var(&[4.0])?;
    /// bn.forward_eval(Batch::new(&[5.0f32], layout)?, BatchMut::new(&mut out, layout)?)?;
    /// assert_eq!(out, [2.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_eval<T: Element>(&self, x: Batch<'_, T>, y: BatchMut<'_, T>) -> Result<()> {
        self.inference().forward(x, y)
    }

    /// [`BatchNorm::forward_eval`] in place.
    ///
    /// # Errors
    /// As [`BatchNorm::forward_eval`].
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, Layout};
    /// let mut data = [5.0f64];
    /// BatchNorm::new(1).with_eps(0.0)?.forward_eval_in_place(BatchMut::new(&mut data, Layout::nc(1, 1))?)?;
    /// assert_eq!(data, [5.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_eval_in_place<T: Element>(&self, x: BatchMut<'_, T>) -> Result<()> {
        self.inference().forward_in_place(x)
    }

    /// The layer as evaluation applies it, computed once: for pipelines that only infer.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let norm = BatchNorm::new(1).with_eps(0.0)?.to_inference();
    /// let (layout, mut out) = (Layout::nc(2, 1), [0.0f32; 2]);
    /// norm.forward(Batch::new(&[5.0f32, 6.0], layout)?, BatchMut::new(&mut out, layout)?)?;
    /// assert_eq!(out, [5.0, 6.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn to_inference(&self) -> Inference {
        self.inference().clone()
    }

    pub(crate) fn inference(&self) -> &Inference {
        self.inference.get_or_init(|| {
            let mut parameters = Parameters::default();
            let statistics = Statistics { mean: &self.running_mean, mean_low: None, variance: &self.running_var };
            parameters::fill(&mut parameters, statistics, self.eps, self.weight_bias());
            Inference::new(parameters, self.path)
        })
    }

    /// Measures the batch, updates the running statistics and leaves in `self.parameters` what normalises the batch.
    fn train_step<T: Element>(&mut self, x: Batch<'_, T>) {
        let (path, count) = (self.path, x.layout().count());
        let (mut batch, mut variance) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.variance));
        let mut parameters = std::mem::take(&mut self.parameters);
        path.moments_into(x, &mut batch, &mut self.workspace);
        variance.resize(batch.num_features(), 0.0);
        path.variances(&batch, (count - 1) as f64, &mut variance);
        self.update_running(batch.means(), &variance);
        path.variances(&batch, count as f64, &mut variance);
        let parts = batch.parts();
        let statistics = Statistics { mean: parts.means, mean_low: Some(parts.means_low), variance: &variance };
        parameters::fill(&mut parameters, statistics, self.eps, self.weight_bias());
        (self.batch, self.variance, self.parameters) = (batch, variance, parameters);
    }

    fn update_running(&mut self, mean: &[f64], unbiased_variance: &[f64]) {
        self.changed();
        self.num_batches_tracked = self.num_batches_tracked.saturating_add(1);
        let momentum = self.momentum.unwrap_or(1.0 / self.num_batches_tracked as f64);
        let towards = |running: &mut [f64], batch: &[f64]| {
            for (running, batch) in running.iter_mut().zip(batch) {
                *running = (1.0 - momentum) * *running + momentum * batch;
            }
        };
        towards(&mut self.running_mean, mean);
        towards(&mut self.running_var, unbiased_variance);
    }

    /// What evaluation applies is out of date.
    fn changed(&mut self) {
        self.inference.take();
    }

    fn weight_bias(&self) -> WeightBias<'_> {
        WeightBias { weight: self.weight.as_deref(), bias: self.bias.as_deref() }
    }

    fn check_train(&self, layout: Layout) -> Result<()> {
        check_features(self.num_features(), layout)?;
        // A batch without features has no values, whatever its other sides are.
        let given = if layout.features() == 0 { 0 } else { layout.count() };
        if given < 2 { Err(Error::TooFewValues { needed: 2, given }) } else { Ok(()) }
    }
}

fn check_features(expected: usize, layout: Layout) -> Result<()> {
    let given = layout.features();
    if given == expected { Ok(()) } else { Err(Error::Features { expected, given }) }
}

fn check_same(input: Layout, output: Layout) -> Result<()> {
    if input == output { Ok(()) } else { Err(Error::LayoutMismatch { input, output }) }
}
