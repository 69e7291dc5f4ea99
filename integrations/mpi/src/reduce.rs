//! Statistics of all ranks, without a layer.

use batchnorm::{GradientSums, Moments};
use mpi::traits::Communicator;

use crate::error::Result;
use crate::exchange::Exchange;
use crate::header::{Call, Header};
use crate::plan::{CHUNK_POSITIONS, Shape};
use crate::wire::Wire;

/// Merges the moments of all ranks, in rank order. Every rank calls this, and gets the same bits.
///
/// Ranks without any values may take part. With moments of `2^k` chunks on every rank but the last, which may have fewer,
/// the bits are those of one process. ([`SyncBatchNorm`](crate::SyncBatchNorm) knows the shards, so it has these bits
/// for any number of whole chunks.) Each rank sends 48 bytes per feature.
///
/// # Errors
/// [`Error::Disagreement`](crate::Error::Disagreement) if ranks have different numbers of features or make different
/// calls, [`Error::Layer`](crate::Error::Layer) if a feature has more than `u64::MAX` values.
///
/// ```
/// use batchnorm::{Batch, Layout, moments};
/// use mpi::traits::Communicator;
///
/// fn main() -> std::process::ExitCode {
///     batchnorm_mpi::run(|world| {
///         // Rank r has the values r and r + 2.
///         let values = [world.rank(), world.rank() + 2].map(f64::from);
///         let all = batchnorm_mpi::all_moments(world, &moments(Batch::new(&values, Layout::nc(2, 1))?))?;
///         assert_eq!(all.count(0), 2 * world.size() as u64);
///         assert_eq!(all.mean(0), f64::from(world.size() + 1) / 2.0);
///         Ok::<(), batchnorm_mpi::Error>(())
///     })
/// }
/// ```
pub fn all_moments(comm: &impl Communicator, moments: &Moments) -> Result<Moments> {
    all(comm, Call::AllMoments, moments.counts(), moments)
}

/// Merges the gradient sums of all ranks, in rank order. Every rank calls this, and gets the same bits: see
/// [`all_moments`]. Each rank sends 40 bytes per feature.
///
/// # Errors
/// As for [`all_moments`].
///
/// ```
/// use batchnorm::{Batch, BatchNorm, Layout, moments};
/// use mpi::traits::Communicator;
///
/// fn main() -> std::process::ExitCode {
///     batchnorm_mpi::run(|world| {
///         let x = Batch::new(&[0.0, 2.0], Layout::nc(2, 1))?;
///         let of_all = batchnorm_mpi::all_moments(world, &moments(x))?;
///         let sums = BatchNorm::new(1).backward_sums(&of_all, x, x)?;
///         assert_eq!(batchnorm_mpi::all_sums(world, &sums)?.sum_dy(), [2.0 * f64::from(world.size())]);
///         Ok::<(), batchnorm_mpi::Error>(())
///     })
/// }
/// ```
pub fn all_sums(comm: &impl Communicator, sums: &GradientSums) -> Result<GradientSums> {
    all(comm, Call::AllSums, sums.counts(), sums)
}

/// Each rank is one chunk, whatever its number of values is.
fn all<S: Wire>(comm: &impl Communicator, call: Call, counts: &[u64], mine: &S) -> Result<S> {
    let exchange = Exchange::new(comm);
    // One plane of the length of a chunk: then a rank is one node of the tree.
    let outer = counts.iter().copied().max().unwrap_or(0).min(1);
    let shape = Shape { outer, inner: CHUNK_POSITIONS };
    let header = Header::new(call).with_features(counts.len()).with_shape(shape);
    let meeting = exchange.meet(call, header, Ok(()))?;
    let mine: Vec<&S> = meeting.nodes().iter().map(|_| mine).collect();
    exchange.merge(&meeting, &mine)
}
