//! Sums over all rows of a batch, whose order does not depend on the number of ranks: first over the rows of each block,
//! then over the blocks in their order.

use mpi::datatype::PartitionMut;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};

use super::linear::Linear;
use super::network::BLOCK;

/// The gradient of a linear layer: the sums of `dy * x` and of `dy` over all rows of all ranks.
pub(crate) struct Gradient {
    /// Those of the weight, then those of the bias.
    sums: Vec<f64>,
}

impl Gradient {
    pub(crate) fn all(world: &SimpleCommunicator, x: &[f32], dy: &[f32], inputs: usize, outputs: usize) -> Self {
        let length = (inputs + 1) * outputs;
        let mut of_blocks = Vec::new();
        for (x, dy) in x.chunks(BLOCK * inputs).zip(dy.chunks(BLOCK * outputs)) {
            let mut sums = vec![0.0f32; length];
            let (weight, bias) = sums.split_at_mut(inputs * outputs);
            for (x, dy) in x.chunks_exact(inputs).zip(dy.chunks_exact(outputs)) {
                for ((row, bias), dy) in weight.chunks_exact_mut(inputs).zip(&mut *bias).zip(dy) {
                    row.iter_mut().zip(x).for_each(|(sum, x)| *sum += dy * x);
                    *bias += dy;
                }
            }
            of_blocks.extend(sums.into_iter().map(f64::from));
        }
        Gradient { sums: add_up(world, &of_blocks, length) }
    }

    /// Moves a layer against this.
    pub(crate) fn step(&self, layer: &mut Linear, rate: f32) {
        let parameters = layer.weight.iter_mut().chain(&mut layer.bias);
        parameters.zip(&self.sums).for_each(|(parameter, sum)| *parameter -= rate * *sum as f32);
    }
}

/// Adds up arrays of one length: several of each rank, in rank order.
pub(crate) fn add_up(world: &SimpleCommunicator, mine: &[f64], length: usize) -> Vec<f64> {
    let mut counts = vec![0i32; world.size() as usize];
    world.all_gather_into(&(mine.len() as i32), &mut counts[..]);
    let starts: Vec<i32> = (0..counts.len()).map(|rank| counts[..rank].iter().sum()).collect();
    let mut all = vec![0.0; counts.iter().sum::<i32>() as usize];
    world.all_gather_varcount_into(mine, &mut PartitionMut::new(&mut all[..], counts, &starts[..]));
    let mut sums = vec![0.0; length];
    for array in all.chunks_exact(length) {
        sums.iter_mut().zip(array).for_each(|(sum, value)| *sum += value);
    }
    sums
}
