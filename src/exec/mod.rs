//! How to compute: the choice of a path, and what each path does with a batch.
//!
//! Generic calls become concrete here ([`ByElement`]): everything below this level is compiled in this crate, for each
//! element type.

mod backward;
mod blocks;
mod normalization;
#[cfg(feature = "rayon")]
mod parallel;
mod stream;
mod strided;
#[cfg(feature = "half")]
mod widening;

use core::ops::Range;

pub(crate) use backward::{InputGradients, Means, OfOutputs};
pub(crate) use blocks::FeatureBlocks;
pub use normalization::Precision;
pub(crate) use normalization::{Normalization, OnlyDouble};
#[cfg(feature = "half")]
pub use widening::HalfElement;

use crate::element::{ByElement, INTERNAL};
use crate::error::check_features;
use crate::kernels::reduce::{BatchMoments, Reduction, Tree};
use crate::kernels::{Arrays, KernelElement, MomentArrays, MomentSlices, Variances};
use crate::lanes::{Isa, Job};
use crate::layout::Layout;
use crate::moments::Workspace;
use crate::spec::{Order, scalar};
#[cfg(feature = "rayon")]
use crate::tuning::{PARALLEL_MOMENTS, PARALLEL_TRAINING};
use crate::{Batch, Element, Moments, Result};

/// How to compute. All paths give bit-identical results; only speed differs.
///
/// ```
/// use batchnorm::{Batch, Isa, Layout, Path};
///
/// let data: Vec<f32> = (0..3000).map(|i| (i as f32).sin()).collect();
/// let x = Batch::new(&data, Layout::nc(600, 5))?;
/// let reference = Path::Scalar.moments(x);
/// for isa in Isa::available() {
///     assert_eq!(Path::Simd(isa).moments(x), reference);
/// }
/// # Ok::<(), batchnorm::Error>(())
/// ```
///
/// The path is a setting: see [`BatchNorm::with_path`](crate::BatchNorm::with_path),
/// [`Inference::with_path`](crate::Inference::with_path) and [`Accumulator::with_path`](crate::Accumulator::with_path).
/// To compute moments by a path directly, call [`Path::moments`], [`Path::moments_into`] or [`Path::update`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[must_use]
#[non_exhaustive]
pub enum Path {
    /// The default: `Path::Parallel` if the batch is large enough for threads to pay off and rayon's current pool has
    /// more than one thread, otherwise [`Path::Simd`], with the best instruction set of the machine. (Without the
    /// feature `rayon`, always [`Path::Simd`].)
    #[default]
    Auto,
    /// The reference: plain code that explains the algorithm.
    Scalar,
    /// SIMD on the calling thread.
    Simd(Isa),
    /// SIMD on the threads of rayon's current pool. The threads share the features and, if there are few, chunks of
    /// rows. (Needs the feature `rayon`.)
    #[cfg(feature = "rayon")]
    Parallel(Isa),
}

impl Path {
    /// Returns the moments of each feature of a batch.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, Path};
    /// let m = Path::Scalar.moments(Batch::new(&[1.0f32, 2.0, 6.0], Layout::nc(3, 1))?);
    /// assert_eq!((m.mean(0), m.m2(0)), (3.0, 14.0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn moments<T: Element>(self, x: Batch<'_, T>) -> Moments {
        let mut moments = Moments::default();
        self.moments_into(x, &mut moments, &mut Workspace::default());
        moments
    }

    /// Computes the same moments as [`Path::moments`]. Overwrites an existing `Moments`, reusing its memory and that of
    /// a workspace.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, Moments, Path, Workspace};
    /// let (mut m, mut workspace) = (Moments::default(), Workspace::default());
    /// for batch in [[1.0f32, 3.0], [2.0, 6.0]] {
    ///     Path::Auto.moments_into(Batch::new(&batch, Layout::nc(2, 1))?, &mut m, &mut workspace);
    /// }
    /// assert_eq!(m.mean(0), 4.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn moments_into<T: Element>(self, x: Batch<'_, T>, moments: &mut Moments, workspace: &mut Workspace) {
        let layout = x.layout();
        match T::input(x.data(), INTERNAL) {
            ByElement::F32(x) => moments_f32(self, Batch::checked(x, layout), moments, workspace),
            ByElement::F64(x) => moments_f64(self, Batch::checked(x, layout), moments, workspace),
            #[cfg(feature = "half")]
            ByElement::F16(x) => moments_f16(self, Batch::checked(x, layout), moments, workspace),
            #[cfg(feature = "half")]
            ByElement::Bf16(x) => moments_bf16(self, Batch::checked(x, layout), moments, workspace),
        }
    }

    /// Computes the moments of some features of a batch, on the calling thread.
    pub(crate) fn moments_of<T: Element>(
        self,
        features: Range<usize>,
        order: &Order,
        x: &[T],
        out: MomentArrays<'_>,
        workspace: &mut Workspace,
    ) {
        match T::input(x, INTERNAL) {
            ByElement::F32(x) => moments_of_f32(self, features, order, x, out, workspace),
            ByElement::F64(x) => moments_of_f64(self, features, order, x, out, workspace),
            #[cfg(feature = "half")]
            ByElement::F16(x) => moments_of_f16(self, features, order, x, out, workspace),
            #[cfg(feature = "half")]
            ByElement::Bf16(x) => moments_of_bf16(self, features, order, x, out, workspace),
        }
    }

    /// Adds the rows of a batch to `moments`, as [`Moments::update`] does, but by this path.
    ///
    /// # Errors
    /// [`Error::Features`](crate::Error::Features) if the batch has a different number of features from `moments`; a failed
    /// call leaves everything unchanged.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, Moments, Path};
    /// let mut m = Moments::new(1);
    /// Path::Scalar.update(&mut m, Batch::new(&[1.0f32, 3.0], Layout::nc(2, 1))?)?;
    /// assert_eq!(m.mean(0), 2.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn update<T: Element>(self, moments: &mut Moments, x: Batch<'_, T>) -> Result<()> {
        check_features(("the moments have", moments.num_features()), ("the batch has", x.layout().features()))?;
        self.merge(moments, &self.moments(x))
    }

    /// Merges moments as [`Moments::merge`] does, but by this path. Runs on the calling thread.
    pub(crate) fn merge(self, moments: &mut Moments, other: &Moments) -> Result<()> {
        let isa = if self == Path::Scalar { None } else { Some(self.isa()) };
        moments.merge_on(isa, other)
    }

    /// Writes `m2 / degrees_of_freedom` of every feature to `to`. Runs on the calling thread.
    pub(crate) fn variances(self, moments: MomentSlices<'_>, degrees_of_freedom: f64, to: &mut [f64]) {
        if self == Path::Scalar {
            for (feature, to) in to.iter_mut().enumerate() {
                *to = scalar::variance(moments.feature(feature).m2, degrees_of_freedom);
            }
        } else {
            self.isa().run(Variances { moments, degrees_of_freedom, to });
        }
    }

    /// Returns the path of both halves of a training step, or of its backward pass. Threads that are awake from the first
    /// half pay off sooner in the second.
    #[cfg_attr(not(feature = "rayon"), expect(unused_variables, reason = "one thread, whatever the size"))]
    pub(crate) fn of_training(self, layout: Layout, bytes_per_value: usize) -> Path {
        match self {
            #[cfg(feature = "rayon")]
            Path::Auto if self.forks(bytes_of(layout, bytes_per_value), PARALLEL_TRAINING) => {
                Path::Parallel(self.isa())
            }
            Path::Auto => Path::Simd(self.isa()),
            path => path,
        }
    }

    /// Runs a job on the calling thread, with the instruction set of this path.
    pub(crate) fn run<J: Job>(self, job: J) -> J::Output {
        self.isa().run(job)
    }

    /// Returns whether threads share this work: always for [`Path::Parallel`], and for [`Path::Auto`] from a size on.
    #[cfg(feature = "rayon")]
    fn forks(self, size: usize, paying: usize) -> bool {
        match self {
            Path::Auto => size >= paying && rayon::current_num_threads() > 1,
            path => matches!(path, Path::Parallel(_)),
        }
    }

    /// Returns the instruction set of this path.
    fn isa(self) -> Isa {
        match self {
            Path::Auto | Path::Scalar => Isa::detect(),
            Path::Simd(isa) => isa,
            #[cfg(feature = "rayon")]
            Path::Parallel(isa) => isa,
        }
    }
}

/// Functions of one element type. They are not generic, so the kernels below them are compiled in this crate, with its
/// optimisation level: a generic function, even one that is called with a known type, is compiled in the caller's
/// crate.
macro_rules! concrete {
    ($element:ty, $moments:ident, $moments_of:ident) => {
        #[inline(never)]
        fn $moments(path: Path, x: Batch<'_, $element>, to: &mut Moments, workspace: &mut Workspace) {
            moments(path, x, to, workspace);
        }

        #[inline(never)]
        fn $moments_of(
            path: Path,
            features: Range<usize>,
            order: &Order,
            x: &[$element],
            out: MomentArrays<'_>,
            workspace: &mut Workspace,
        ) {
            let x = Batch::checked(x, order.layout);
            let tree = Tree { reduction: BatchMoments { isa: path.isa(), order, x } };
            tree.run_features(features, out, workspace.of(tree.workspace()));
        }
    };
}

concrete!(f32, moments_f32, moments_of_f32);
concrete!(f64, moments_f64, moments_of_f64);
#[cfg(feature = "half")]
concrete!(half::f16, moments_f16, moments_of_f16);
#[cfg(feature = "half")]
concrete!(half::bf16, moments_bf16, moments_of_bf16);

/// Computes the moments of all features by a path.
fn moments<T: KernelElement>(path: Path, x: Batch<'_, T>, to: &mut Moments, workspace: &mut Workspace) {
    let (layout, empty) = (x.layout(), x.data().is_empty());
    // The dimensions of an empty batch may be too large to build a tree for.
    let mut out = to.resize(layout.features(), if empty { 0 } else { layout.count() as u64 });
    if empty {
        return;
    }
    let order = &Order::new(layout);
    if path == Path::Scalar {
        for feature in 0..layout.features() {
            out.store(feature, scalar::moments(order, x, feature));
        }
        return;
    }
    reduce(path, layout, size_of::<T>(), BatchMoments { isa: path.isa(), order, x }, out, workspace);
}

/// Returns the size of the values of a batch. (That of an empty batch may be anything.)
#[cfg(feature = "rayon")]
fn bytes_of(layout: Layout, bytes_per_value: usize) -> usize {
    layout.features().saturating_mul(layout.count()).saturating_mul(bytes_per_value)
}

/// Reduces one or several batches that have values, on one thread or on several. `bytes_per_value` is that of all batches.
fn reduce<R: Reduction<N>, const N: usize>(
    path: Path,
    layout: Layout,
    bytes_per_value: usize,
    reduction: R,
    out: Arrays<'_, N>,
    workspace: &mut Workspace,
) {
    let tree = Tree { reduction };
    #[cfg(feature = "rayon")]
    if path.forks(bytes_of(layout, bytes_per_value), PARALLEL_MOMENTS) {
        return parallel::reduce(&tree, layout.features() * layout.count(), out, workspace);
    }
    #[cfg(not(feature = "rayon"))]
    let _ = (path, layout, bytes_per_value);
    tree.run(out, workspace.of(tree.workspace()));
}

impl Moments {
    /// Adds the rows of another batch: computes their moments by [`Path::Auto`] and merges them. ([`Path::update`] does
    /// this by another path.)
    ///
    /// The last bits of the result depend on how the rows were split into batches; those of an
    /// [`Accumulator`](crate::Accumulator) do not. The result is as accurate as that of a single call, also after
    /// millions of updates by single rows: 2^24 merges in a row add less than a tenth of a unit in the last place.
    ///
    /// Each call costs a pass over its rows and a merge. For single rows, [`Accumulator`](crate::Accumulator) and
    /// [`Welford`](crate::Welford) are faster (`cargo bench --bench stream`).
    ///
    /// # Errors
    /// [`Error::Features`](crate::Error::Features) if the batch has a different number of features; a failed call leaves
    /// everything unchanged.
    ///
    /// ```
    /// use batchnorm::{Batch, Layout, Moments};
    ///
    /// let mut m = Moments::new(1);
    /// m.update(Batch::new(&[1.0f32, 2.0], Layout::nc(2, 1))?)?;
    /// m.update(Batch::new(&[6.0f32], Layout::nc(1, 1))?)?;
    /// assert_eq!((m.count(0), m.mean(0), m.variance(0, 1.0)), (3, 3.0, 7.0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn update<T: Element>(&mut self, x: Batch<'_, T>) -> Result<()> {
        Path::Auto.update(self, x)
    }
}
