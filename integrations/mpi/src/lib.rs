//! Synchronised batch normalisation over MPI: one batch spread over ranks trains as one batch.
//!
//! [`SyncBatchNorm`] joins a [`BatchNorm`](batchnorm::BatchNorm) and a communicator. Each rank passes its shard. The
//! ranks exchange counts, means and sums of squared deviations (with all low words), or the two sums of the backward
//! pass, and merge them in rank order. So every rank has the same bits, and on whole chunks those of one process.
//!
//! ```
//! use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
//! use batchnorm_mpi::{SyncBatchNorm, run};
//! use mpi::traits::Communicator;
//!
//! // Each rank has two rows of three features. (Without `mpirun` there is one rank.)
//! fn main() -> std::process::ExitCode {
//!     run(|world| {
//!         let layout = Layout::nc(2, 3);
//!         let shard: Vec<f32> = (0..6).map(|value| (6 * world.rank() + value) as f32).collect();
//!         let (x, mut y, mut dx) = (Batch::new(&shard, layout)?, [0.0; 6], [0.0; 6]);
//!
//!         let mut bn = SyncBatchNorm::new(BatchNorm::new(3), world);
//!         bn.forward_train(x, BatchMut::new(&mut y, layout)?)?;
//!         let moments = bn.layer().batch_moments();
//!         assert_eq!(moments.count(0), 2 * world.size() as u64);
//!
//!         let dy = Batch::new(&y, layout)?;
//!         let gradients = bn.backward_train(moments, x, dy, BatchMut::new(&mut dx, layout)?)?;
//!         assert_eq!(gradients.num_features(), 3); // of the whole batch, on every rank
//!         Ok::<(), batchnorm_mpi::Error>(())
//!     })
//! }
//! ```
//!
//! # Which bits
//! The shards are parts of one batch, in rank order: rank 1's rows follow rank 0's. Every rank gets the same moments,
//! gradients and running statistics, bit for bit, whatever the shards are. They are those of one process, bit for bit,
//! where every rank but the last one with rows holds whole chunks (any number of them, none included), and all shards
//! have the same `inner`. [`Moments::merge`](batchnorm::Moments::merge) says how long a chunk is: 512 rows from 64
//! columns on, for example. Elsewhere the moments stay within the bounds of [`batchnorm::numerics`]: a merge adds less
//! than 0.001 units in the last place.
//!
//! # Errors
//! Each call starts with a small exchange in which every rank says what it calls and whether it can. So a wrong shape
//! on one rank, or ranks that disagree, give the same [`Error`] on all ranks, and nothing has changed on any of them. A
//! rank that fails elsewhere can say so by [`SyncBatchNorm::report_failure`]. A rank that ends without any of this ends
//! the job: [`run`] sees to it. Ranks that wait for one that never comes can have a time limit:
//! [`SyncBatchNorm::with_time_limit`].

mod element;
mod error;
mod exchange;
mod header;
mod layer;
mod plan;
mod reduce;
mod run;
mod wire;

pub use error::{Error, Result};
pub use exchange::Traffic;
pub use layer::SyncBatchNorm;
pub use reduce::{all_moments, all_sums};
pub use run::run;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
