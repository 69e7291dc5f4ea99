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
//! accepts batches of any size; its result is bit-identical to a single call. [`BatchNorm`] is the layer, and
//! [`Inference`] is its frozen form. [`Path`] selects how to compute, and [`Isa`] selects the instruction set of the
//! SIMD path. Every failure is an [`Error`].
//!
//! # Numerics
//!
//! ## The canonical order
//! The order of every floating-point operation follows from the layout alone. The private module `order` defines it,
//! and the scalar path is written to be read beside it; in short:
//!
//! - A batch is cut along its outer axis into chunks: 512 rows (of at least 64 accumulators side by side; narrow
//!   batches put several outer blocks into one row), or, where `inner >= 32`, whole planes of 32,768 values (longer
//!   planes are cut), read in the order in which they lie.
//! - In a chunk each feature has a *shift* near its mean, from a sample in the middle. Accumulators sum the deviations
//!   `d = x - shift` and their squares, eight at a time, and are reduced horizontally in halves:
//!   `mean = shift + S1 / n`, `m2 = S2 - S1^2 / n`. (A corrected two-pass in one pass over memory.) f32 features whose
//!   sample has its mean within two standard deviations from 0 have a shift of 0: nothing need be subtracted, and all
//!   squares are exact. Sums of f32 data are f64; for f64 data each sum has a compensation term.
//! - Chunks are joined by the formula of Chan, Golub & LeVeque (1983) in a binary tree whose shape depends on their
//!   number alone. Mean and m2 are pairs of f64 there.
//!
//! Lanes run across accumulators, threads take subtrees or features: neither can reorder anything. The kernels fuse no
//! multiplication and addition, but where the product is exact and it makes no difference. Ragged edges use the same
//! operations with deviations of 0.
//!
//! ## Why it is stable
//! With `u = 2^-53`, for finite data of any distribution and order:
//!
//! - *A chunk's condition.* The sums lose at most `kappa = S2 / m2` times what their additions round (Chan, Golub &
//!   LeVeque 1983, on the shifted formula). A shift that is the mean of `m` of the chunk's `n` values lies within
//!   `sqrt(m2 / m)` of the chunk's mean (Cauchy and Schwarz), so `kappa <= 1 + n / m <= 65` for any data; for data in
//!   no particular order it is about 1.1, with a shift of 0 up to 5. Where it exceeds 16 (2.2 for f64 data) the chunk
//!   is recomputed about the mean that came out, and where that does not help, by the fallback: the condition is
//!   checked, not assumed.
//! - *A chunk, f32 data.* A value passes at most 3 pairwise additions, 64 running ones, 15 additions of segments
//!   (planes of 32; 8 of large ones; none in rows) and 7 of the horizontal reduction, and `d` and `d^2` round at most
//!   once each: 92 roundings (Higham, Accuracy and Stability of Numerical Algorithms, 4.2), which weigh `kappa` in `S2`
//!   and `2 sqrt(kappa (kappa - 1))` in `S1^2 / n`. That leaves m2 a relative error of at most `47 * 92 u = 4.8e-13`,
//!   and the mean one of `4 * 92 u = 4.1e-14` standard deviations. Rounding errors of many values do not line up:
//!   typical is `3 u`.
//! - *A chunk, f64 data.* Additions are compensated, and of each square the part that f64 rounds away is summed, too. What
//!   is left is that each `d` was rounded, by at most `u |d|`: m2 is within `2 sqrt(kappa) u <= 2.97 u` of the exact one,
//!   the mean within `sqrt(kappa) u <= 1.49 u` standard deviations (Cauchy and Schwarz; over all values at once, so chunks do
//!   not add up).
//! - *The tree.* Chan's formula adds non-negative terms. All its sums and products are of pairs (Schubert & Gertz 2018
//!   compare the alternatives), which have 106 bits of the mean: nothing is lost but where the standard deviation is near
//!   the mean's last place, and there each join rounds it by up to half a `u`, while `d` is exact. Welford's own
//!   recurrence is a tree of depth `n`; its loss at a large mean (nine digits at 1e12 + U(0, 1)) comes from rounding the
//!   mean to f64.
//! - *Results.* [`Moments::mean`] rounds the pair, half a unit of the mean itself; [`Moments::variance`] divides the pair,
//!   half a unit of the variance (which may be the larger one of two neighbouring units: 4 in all).
//! - *Normalised values*, `y = (x - mean) * scale + bias`, are computed in f64, so that nothing cancels at a large mean.
//!   What an f64 mean leaves over goes into the bias, times the scale; it is no farther from 0 than any `x - mean`, because
//!   each `x` is an f64, too. The scale, `weight / sqrt(variance + eps)`, has half of the variance's relative error and four
//!   roundings; the difference and its product have two, each of at most twice `y - bias`, the bias as many. For f32 data
//!   that is `2.5e-13 |y - bias| + u |bias|`, the mean's error another `5e-14 |weight|`, before `y` is rounded to f32, once:
//!   exact results rounded, but for near-ties, unless the bias cancels. For f64 data it is `12 u |y - bias| + 2 u |weight| +
//!   u |bias| + u |y|`. f32 arithmetic with the mean as an f32 pair would round four times, by up to half a unit each, and
//!   more where a bias cancels.
//!
//! `tests/oracle.rs`, `tests/closed_forms.rs` and `tests/nist.rs` hold these against exact arithmetic, closed forms and NIST's
//! reference data; `cargo run --release --example accuracy` prints how near reality comes, beside other methods.
//!
//! ## Where it stops
//! - f64 data: variances within 4 units in the last place, means within half a unit of themselves plus `2 u` standard
//!   deviations (what the argument above gives, and what the tests and the fuzz target `oracle` hold). Below 1e-290 variances
//!   lose digits as f64 itself does, and means of subnormal size are a few of the smallest subnormals off.
//! - A chunk whose shift is far from the mean of a feature (a step with few rows on one side, values that wander) is
//!   read twice, for that feature and some beside it; one that holds NaN, infinities or overflows takes the slower
//!   scalar fallback for it, too.
//! - The bits may change between minor versions of the crate (never between machines): a better order is a better
//!   order.
//! - A NaN is a NaN: payloads and signs are not part of the promise.
//!
//! ## Poisoned input
//! What is not finite, or not once it is squared, stays in its feature:
//!
//! | a feature has | mean | m2, variance | training: outputs | running_mean, running_var |
//! |---|---|---|---|---|
//! | a NaN, or infinities of both signs | NaN | NaN | NaN | NaN, NaN |
//! | infinities of one sign | that infinity | NaN | NaN | that infinity, NaN |
//! | finite f64 values, m2 past `f64::MAX` | right | infinite | the bias (NaN where `x - mean` overflows) | right, infinite |
//!
//! (Running statistics with a momentum above 0: 0 times an infinity is NaN, as in PyTorch, and a negative one changes its
//! sign.) Accumulators and merged moments have what one call has. Evaluation, by finite running statistics, is value by
//! value: a NaN gives NaN, an infinity the infinity of its sign times the weight's (NaN where that, or `running_var + eps`,
//! is 0), and others are untouched. `tests/poisoned.rs` holds all this.
//!
//! # Threads
//! [`Path::Parallel`] and [`Path::Auto`] use rayon's current thread pool: the pool in which they are called, or else
//! the global one. To limit the number of threads, configure that pool. Results do not depend on it.

#[cfg(not(feature = "std"))]
compile_error!("batchnorm needs its feature `std`: builds without the standard library are not supported yet");

mod accumulator;
mod batch;
mod batch_norm;
mod element;
mod error;
mod exec;
mod kernels;
mod lanes;
mod layout;
mod moments;
mod spec;
mod tuning;

pub use accumulator::Accumulator;
pub use batch::{Batch, BatchMut};
pub use batch_norm::{BatchNorm, Inference};
pub use element::Element;
pub use error::{Error, Result};
pub use exec::Path;
pub use lanes::Isa;
pub use layout::Layout;
pub use moments::{Moments, MomentsParts, Workspace};

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

/// Runs the README's examples as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
