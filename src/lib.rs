//! Column means and variances, and batch normalisation, on a CPU.
//!
//! The crate computes the count, mean and variance of each feature of a batch in one pass over memory. It also
//! normalises batches, in training and in inference, with PyTorch's semantics. It makes three promises:
//!
//! 1. **Accurate**: moments are accurate to f64 rounding, whatever the mean, the length or the layout. A constant
//!    feature normalises to exactly its bias.
//! 2. **The same bits everywhere**: the scalar path, SIMD on any instruction set and any number of threads give
//!    bit-identical results.
//! 3. **As fast as memory**, even on a plain `cargo build`: the instruction set is chosen at run time.
//!    `cargo bench --bench table` prints how close each shape comes to the machine's limit;
//!    `cargo bench --bench roofline` plots it.
//!
//! ```
//! use batchnorm::{Batch, BatchMut, BatchNorm, Layout, moments};
//!
//! // Six pupils, two subjects, row by row: [N, C].
//! let scores = [99.0f32, 10.0, 99.0, 25.0, 99.0, 30.0, 99.0, 15.0, 99.0, 12.0, 99.0, 20.0];
//! let x = Batch::new(&scores, Layout::nc(6, 2))?;
//!
//! let m = moments(x);
//! assert_eq!((m.mean(0), m.variance(0, 1.0)), (99.0, 0.0));
//! assert!((m.variance(1, 1.0) - 60.6667).abs() < 1e-4);
//!
//! let mut y = [0.0f32; 12];
//! let mut bn = BatchNorm::new(2);
//! bn.forward_train(x, BatchMut::new(&mut y, x.layout())?)?;
//! assert_eq!(y[0], 0.0);
//! # Ok::<(), batchnorm::Error>(())
//! ```
//!
//! # Overview
//! [`Batch`] and [`BatchMut`] combine a slice with its [`Layout`]. [`moments()`] returns [`Moments`]. [`Accumulator`]
//! accepts batches of any size; its result is bit-identical to a single call. [`Welford`] and [`Ewm`] are for streams:
//! rows that arrive one by one, with all statistics available after each ([`Standardize`] normalises them).
//! [`BatchNorm`] is the layer, and [`Inference`] is its frozen form. [`Path`] selects how to compute, [`Isa`] selects
//! the instruction set of the SIMD path, and [`Precision`] selects the arithmetic in which f32 batches are normalised.
//! Every failure is an [`Error`].
//!
//! [`BatchNorm::backward_train`] and [`BatchNorm::backward_eval`] compute [`Gradients`]; where a batch is in shards,
//! [`GradientSums`] of each are merged in between. An [`Activation`] and a residual are applied in the same pass.
//! [`Inference::fold_into_linear`] and its siblings fold a frozen layer into a neighbour. [`BatchNorm::pytorch`],
//! [`BatchNorm::onnx`], [`BatchNorm::keras`] and [`BatchNorm::flax`] have the conventions of these frameworks.
//!
//! With the feature `half`, batches can be of f16 and bf16: moments are those of the same values in f32, and every output
//! is that of an f32 batch, rounded once, on all paths. Parameters and statistics stay f64.
//! [`Inference`]`::forward_to_f32` does not round.
//!
//! With the feature `ndarray`, the module `ndarray` and methods of the layers take arrays and views, along any axis. With
//! the feature `safetensors`, the module `safetensors` reads and writes state dicts of PyTorch. With the feature
//! `serde`, [`BatchNorm`], [`Moments`], [`GradientSums`], [`Accumulator`] and [`Welford`] can be serialised, and have the
//! same bits after a round trip. (`serde_json` reads numbers exactly with its feature `float_roundtrip` alone.) Without
//! the feature `std` the crate is `no_std` with `alloc`; a [`BatchNorm`] can then not be shared by threads, but an
//! [`Inference`] can.
//!
//! Four ways to add rows:
//!
//! | | cost of a row | of reading | memory per feature | same bits for |
//! |---|---|---|---|---|
//! | [`Welford::push`] | a pass over 40 bytes of state per feature | constant | 40 bytes | the same sequence of rows, in any split |
//! | [`Accumulator::update`] | a copy; sums once a chunk is full | sums of the incomplete chunk | up to a chunk of 512 rows, and moments | the same rows, in any split: those of one call |
//! | [`Moments::update`] | a call on one row, and a merge | constant | 48 bytes | the same rows in the same split |
//! | [`Moments::merge`] | (per shard: a merge) | constant | 48 bytes | the same shards in the same order |
//!
//! `cargo bench --bench stream` measures the first three.
//!
//! # Numerics
//! Moments are sums about a shift near the mean, merged in a tree whose shape the layout alone determines: nothing
//! cancels, and the bits are the same everywhere. [`numerics`] has the algorithms, the proven error bounds, the limits,
//! and what becomes of NaN and infinities.
//!
//! # Threads
//! [`Path::Auto`], the default, runs large batches on rayon's current thread pool: the pool in which it is called, or
//! else the global one. To limit the number of threads, call inside a pool of your own (`pool.install(|| ...)`). If you
//! have threads yourself, set [`Path::Simd`]: each call then stays on its thread. [`Inference`] can be shared by
//! threads. Results do not depend on any of this. The calling thread works, too: it does not sleep while others do.
//!
//! To pin threads to cores, pin those of a pool as they start, and run the whole pipeline inside the pool, so that the
//! calling thread is one of them (or pin the process, by `taskset`):
//!
#![cfg_attr(feature = "rayon", doc = "```")]
#![cfg_attr(not(feature = "rayon"), doc = "```ignore")]
//! use batchnorm::{BatchMut, BatchNorm, Layout};
//!
//! let pool = rayon::ThreadPoolBuilder::new().num_threads(2).start_handler(|_index| {
//!     // Pin this thread here, for example by `core_affinity::set_for_current(cores[_index])`.
//! });
//! let (pool, norm) = (pool.build()?, BatchNorm::new(64).to_inference());
//! let mut batch = vec![0.5f32; 64 * 1000];
//! pool.install(|| norm.forward_in_place(BatchMut::new(&mut batch, Layout::nc(1000, 64))?))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;

mod accumulator;
mod activation;
mod batch;
mod batch_norm;
mod element;
mod error;
mod exec;
mod gradients;
mod interop;
mod kernels;
mod lanes;
mod layout;
mod math;
mod moments;
pub mod numerics;
mod spec;
mod stream;
mod tuning;

pub use accumulator::Accumulator;
pub use activation::Activation;
pub use batch::{Batch, BatchMut};
pub use batch_norm::{Averaging, BatchNorm, FewValues, Inference, NonFinite};
pub use element::Element;
pub use error::{Error, Result};
#[cfg(feature = "half")]
#[cfg_attr(docsrs, doc(cfg(feature = "half")))]
pub use exec::HalfElement;
pub use exec::{Path, Precision};
pub use gradients::{GradOutput, GradOutputMut, GradientSums, GradientSumsParts, Gradients};
#[cfg(feature = "ndarray")]
pub use interop::ndarray;
#[cfg(feature = "safetensors")]
pub use interop::safetensors;
pub use lanes::Isa;
pub use layout::Layout;
pub use moments::{Moments, MomentsParts, Workspace};
pub use stream::{Ewm, Forgetting, Standardize, Welford};

/// Returns the moments of each feature of a batch, computed by [`Path::Auto`].
///
/// ```
/// use batchnorm::{Batch, Layout, moments};
///
/// let m = moments(Batch::new(&[1.0f32, 2.0, 6.0], Layout::nc(3, 1))?);
/// assert_eq!((m.mean(0), m.variance(0, 1.0)), (3.0, 7.0));
/// # Ok::<(), batchnorm::Error>(())
/// ```
pub fn moments<T: Element>(x: Batch<'_, T>) -> Moments {
    Path::Auto.moments(x)
}

/// Runs the README's examples as tests. (One of them makes a pool of rayon.)
#[cfg(all(doctest, feature = "rayon"))]
#[doc = include_str!("../README.md")]
struct Readme;
