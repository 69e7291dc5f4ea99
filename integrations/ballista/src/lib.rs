//! Accurate column means and variances on a [Ballista](https://datafusion.apache.org/ballista/) cluster: a scheduler, an
//! executor and a client that know the SQL functions of [`batchnorm_datafusion`].
//!
//! Ballista sends an aggregate function by its name. So each process must have it registered, and the stock programs have
//! only DataFusion's own. This crate has the three programs (`batchnorm-scheduler`, `batchnorm-executor`,
//! `batchnorm-sql`), and here what they are made of, for a program of your own:
//!
//! | process | what it needs | from |
//! |---|---|---|
//! | scheduler | a session builder with the functions: it plans the query | [`session_state`], or all of it: [`Scheduler`] |
//! | executor | a function registry with them: it decodes the plan, and computes | [`function_registry`], or all of it: [`Executor`] |
//! | client | the functions in its context: it resolves the names in SQL | [`connect`] |
//!
//! A whole cluster in one process, as a test of yours might want it:
//!
//! ```
//! use batchnorm_ballista::{Executor, ExecutorOptions, Scheduler, SchedulerOptions, connect, wait_until_ready};
//! use datafusion::prelude::ParquetReadOptions;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let scheduler = Scheduler::bind(SchedulerOptions { port: 0, ..Default::default() }).await?; // 0: any free port
//! let address = scheduler.address();
//! tokio::spawn(scheduler.serve());
//! let options = ExecutorOptions { scheduler: address.to_string(), port: 0, grpc_port: 0, ..Default::default() };
//! tokio::spawn(Executor::new(options)?.run());
//! wait_until_ready(&address.to_string(), std::time::Duration::from_secs(30)).await?;
//!
//! let folder = tempfile::tempdir()?;
//! batchnorm_ballista::sample::write(folder.path(), 2, 65_536)?; // two Parquet files
//! let context = connect(&address.to_string(), 2).await?;
//! context.register_parquet("t", folder.path().to_str().unwrap(), ParquetReadOptions::default()).await?;
//! let rows = context.sql("SELECT var_pop_accurate(pair) AS v FROM t").await?.collect().await?;
//! let text = datafusion::arrow::util::pretty::pretty_format_batches(&rows)?.to_string();
//! assert!(text.contains("| 1.0 |"), "{text}"); // 1e16 and 1e16 + 2 in turn: the variance is 1
//! # Ok(())
//! # }
//! ```
//!
//! # Accuracy, not bits
//! Each task sums its own rows and hands over moments of two words each; the last stage merges them in the order in
//! which they arrive. So the bits of a result may depend on the partitions and on the order, but its error is bounded for
//! any of them: see [`batchnorm_datafusion`] for the bound, and `tests/cluster.rs` for the test.

mod address;
mod client;
mod executor;
mod functions;
mod ports;
pub mod sample;
mod scheduler;
mod stdin;

pub use client::{connect, local, wait_until_ready};
pub use executor::{Executor, ExecutorOptions};
pub use functions::{function_registry, session_state};
pub use scheduler::{Scheduler, SchedulerOptions};
pub use stdin::end_of_stdin;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
