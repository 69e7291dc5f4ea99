//! The network: linear, batch norm with ReLU, linear. Each rank has a copy, and a share of each batch.

use std::ops::Range;

use batchnorm::{Activation, Batch, BatchMut, BatchNorm, Layout};
use batchnorm_mpi::{Result, SyncBatchNorm, Traffic};
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;

use super::digits::{CLASSES, PIXELS, Random};
use super::linear::Linear;
use super::softmax::cross_entropy;
use super::sums::{Gradient, add_up};

/// Outputs of the first layer: the features of the batch norm.
pub(crate) const HIDDEN: usize = 64;

/// Rows in a chunk of the batch norm, at 64 features. Ranks hold whole blocks, and the sums of the other layers are
/// those of blocks, added up in the order of the blocks. So no sum depends on the number of ranks.
pub(crate) const BLOCK: usize = 512;

/// Rows of a training batch, of all ranks.
pub(crate) const BATCH: usize = 4 * BLOCK;

/// The rows of each batch that this rank has.
pub(crate) fn share(world: &SimpleCommunicator) -> Range<usize> {
    let blocks = blocks(world);
    blocks.start * BLOCK..blocks.end * BLOCK
}

fn blocks(world: &SimpleCommunicator) -> Range<usize> {
    let (rank, ranks) = (world.rank() as usize, world.size() as usize);
    let start = |rank: usize| (BATCH / BLOCK) * rank / ranks;
    start(rank)..start(rank + 1)
}

/// Parts in which this rank measures its share: any even share of four chunks is one node of their tree.
pub(crate) fn nodes(world: &SimpleCommunicator) -> usize {
    usize::from(!blocks(world).is_empty())
}

pub(crate) struct Network<'c> {
    world: &'c SimpleCommunicator,
    first: Linear,
    norm: SyncBatchNorm<'c, SimpleCommunicator>,
    second: Linear,
    memory: Memory,
}

/// What a training step computes, kept so that the next one need not allocate.
#[derive(Default)]
struct Memory {
    hidden: Vec<f32>,
    active: Vec<f32>,
    scores: Vec<f32>,
    d_active: Vec<f32>,
    d_hidden: Vec<f32>,
}

impl<'c> Network<'c> {
    pub(crate) fn new(world: &'c SimpleCommunicator, random: &mut Random) -> Result<Self> {
        let norm = BatchNorm::try_new(HIDDEN)?.with_activation(Activation::Relu);
        let network = Network {
            world,
            first: Linear::new(PIXELS, HIDDEN, random),
            norm: SyncBatchNorm::new(norm, world),
            second: Linear::new(HIDDEN, CLASSES, random),
            memory: Memory::default(),
        };
        network.norm.check_same_state()?;
        Ok(network)
    }

    /// Trains on one batch, of which this rank has some rows. Returns the mean loss of all rows before the step.
    pub(crate) fn train_step(&mut self, pixels: &[f32], labels: &[u8], rate: f32) -> Result<f64> {
        let layout = Layout::nc(labels.len(), HIDDEN);
        let Memory { hidden, active, scores, d_active, d_hidden } = &mut self.memory;

        self.first.forward(pixels, hidden);
        active.resize(hidden.len(), 0.0);
        let x = Batch::new(hidden, layout)?;
        self.norm.forward_train(x, BatchMut::new(active, layout)?)?;
        self.second.forward(active, scores);

        // Losses and gradients of each block are means over its rows.
        let blocks = (BATCH / BLOCK) as f32;
        let of_block = |(scores, labels): (&mut [f32], &[u8])| cross_entropy(scores, labels);
        let losses: Vec<f64> = scores.chunks_mut(BLOCK * CLASSES).zip(labels.chunks(BLOCK)).map(of_block).collect();
        scores.iter_mut().for_each(|score| *score /= blocks);

        self.second.backward(scores, d_active);
        let (dy, y) = (Batch::new(d_active, layout)?, Batch::new(active, layout)?);
        d_hidden.resize(hidden.len(), 0.0);
        let dx = BatchMut::new(d_hidden, layout)?;
        let of_norm = self.norm.backward_train_through_relu(self.norm.layer().batch_moments(), x, dy, y, dx)?;

        let of_second = Gradient::all(self.world, active, scores, HIDDEN, CLASSES);
        let of_first = Gradient::all(self.world, pixels, d_hidden, PIXELS, HIDDEN);
        of_second.step(&mut self.second, rate);
        of_first.step(&mut self.first, rate);
        step_norm(self.norm.layer_mut(), of_norm.weight(), of_norm.bias(), rate)?;
        Ok(add_up(self.world, &losses, 1)[0] / f64::from(blocks))
    }

    pub(crate) fn norm_traffic(&self) -> Traffic {
        // Less the one header that compared the first states.
        let all = self.norm.traffic();
        Traffic { sent: all.sent - 24 * 8, ..all }
    }

    /// Bytes that this rank sends for the gradients of the linear layers, each step.
    pub(crate) fn linear_bytes(&self) -> usize {
        let of = |layer: &Linear| layer.weight.len() + layer.bias.len();
        blocks(self.world).len() * (of(&self.first) + of(&self.second)) * size_of::<f64>()
    }
}

/// Moves the weight and the bias of the batch norm against their gradients, which are those of the whole batch.
fn step_norm(norm: &mut BatchNorm, d_weight: &[f64], d_bias: &[f64], rate: f32) -> batchnorm::Result<()> {
    let moved = |values: Option<&[f64]>, gradients: &[f64]| -> Vec<f64> {
        let values = values.unwrap_or_default().iter().zip(gradients);
        values.map(|(value, gradient)| value - f64::from(rate) * gradient).collect()
    };
    let (weight, bias) = (moved(norm.weight(), d_weight), moved(norm.bias(), d_bias));
    norm.set_weight(&weight)?;
    norm.set_bias(&bias)
}
