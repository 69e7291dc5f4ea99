//! Normalising a batch by the parameters of its features: in f32 or in f64, by each path.

use crate::element::{ByElement, INTERNAL};
use crate::kernels::KernelElement;
use crate::kernels::map::{Formula, Map, Normalize, NormalizeSingle, Parameters, StorePolicy};
use crate::lanes::Job;
use crate::layout::Layout;
use crate::spec::{fallback, scalar};
#[cfg(feature = "rayon")]
use crate::tuning::PARALLEL_NORMALIZE;
use crate::{Element, Path};

/// The arithmetic in which f32 batches are normalised. f64 batches are always normalised in f64, and mean and variance
/// are always computed in f64.
///
/// Both precisions subtract the mean first, so neither loses digits at a large mean, and both give bit-identical
/// results on all paths. [`numerics`](crate::numerics) has their error bounds.
///
/// ```
/// use batchnorm::{Batch, BatchMut, BatchNorm, Layout, Precision};
///
/// let (layout, x) = (Layout::nc(3, 1), [1e6f32, 1e6, 1e6 + 1.0]);
/// for precision in [Precision::Single, Precision::Double] {
///     let mut y = [0.0f32; 3];
///     let mut bn = BatchNorm::new(1).with_precision(precision);
///     bn.forward_train(Batch::new(&x, layout)?, BatchMut::new(&mut y, layout)?)?;
///     assert!((y[2] - 1.414_182).abs() < 1e-6);
/// }
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// The default: in f32, with the mean as a pair of f32. An output is a few units in the last place of `y - bias`
    /// off, and in a cache this is up to twice as fast as f64. Features whose parameters are out of f32's range are
    /// computed in f64.
    #[default]
    Single,
    /// In f64: outputs are correctly rounded but for near-ties (and unless `y - bias` and the bias cancel).
    Double,
}

/// How the features of a batch are normalised.
#[derive(Clone, Debug, Default)]
pub(crate) struct Normalization {
    /// Mean, scale and bias of each feature, for computing in f64.
    pub(crate) double: Parameters<f64, 3>,
    /// High and low word of the mean, scale and bias of each feature, for computing in f32. Not set where only f64 is
    /// needed.
    pub(crate) single: Parameters<f32, 4>,
    /// The features whose parameters are out of f32's range. The kernels that compute in f32 leave their values as they
    /// are.
    pub(crate) only_double: Vec<usize>,
    /// The features whose scale is out of f64's range, too. All kernels leave their values as they are.
    pub(crate) factored: Vec<fallback::FactoredScale>,
}

/// Compares the parameters for f64, from which the others are made.
impl PartialEq for Normalization {
    fn eq(&self, other: &Self) -> bool {
        self.double == other.double && self.factored == other.factored
    }
}

impl Path {
    /// Normalises `x` into `y` (or `y` in place).
    pub(crate) fn normalize<T: Element>(
        self,
        normalization: &Normalization,
        precision: Precision,
        layout: Layout,
        x: Option<&[T]>,
        y: &mut [T],
    ) {
        if y.is_empty() {
            return;
        }
        match (T::in_out(x, y, INTERNAL), precision) {
            (ByElement::F32((x, y)), Precision::Single) => single(self, normalization, layout, x, y),
            (ByElement::F32((x, y)), Precision::Double) => double_f32(self, normalization, layout, x, y),
            (ByElement::F64((x, y)), _) => double_f64(self, normalization, layout, x, y),
        }
    }
}

// These three functions are not generic, so that the kernels below them are compiled in this crate (see `concrete!`).

/// Normalises f32 values in f32; then, in plain f64 code, those of the features that f32 cannot hold.
#[inline(never)]
fn single(path: Path, normalization: &Normalization, layout: Layout, x: Option<&[f32]>, y: &mut [f32]) {
    let Normalization { double, single, only_double, factored } = normalization;
    if path == Path::Scalar {
        scalar::normalize_single(layout, |feature| single.feature(feature), x, y);
    } else {
        map(path, NormalizeSingle, single, layout, x, y);
    }
    for &feature in only_double {
        fallback::normalize(layout, feature, double.feature(feature), y);
    }
    for feature in factored {
        feature.normalize(layout, y);
    }
}

#[inline(never)]
fn double_f32(path: Path, normalization: &Normalization, layout: Layout, x: Option<&[f32]>, y: &mut [f32]) {
    double(path, normalization, layout, x, y);
}

#[inline(never)]
fn double_f64(path: Path, normalization: &Normalization, layout: Layout, x: Option<&[f64]>, y: &mut [f64]) {
    double(path, normalization, layout, x, y);
}

/// Normalises values in f64; then, in plain code, those of the features whose scale f64 cannot hold.
fn double<T: KernelElement>(path: Path, normalization: &Normalization, layout: Layout, x: Option<&[T]>, y: &mut [T]) {
    let parameters = &normalization.double;
    if path == Path::Scalar {
        scalar::normalize(layout, |feature| parameters.feature(feature), x, y);
    } else {
        map(path, Normalize, parameters, layout, x, y);
    }
    for feature in &normalization.factored {
        feature.normalize(layout, y);
    }
}

/// Maps a whole batch by one formula.
fn map<F, C, T, const P: usize>(
    path: Path,
    formula: F,
    parameters: &Parameters<C, P>,
    layout: Layout,
    x: Option<&[T]>,
    y: &mut [T],
) where
    F: Formula<P, 1> + Sync,
    C: Sync,
    T: KernelElement,
    for<'a> Map<'a, F, C, T, P, 1>: Job<Output = ()>,
{
    let store = StorePolicy::choose(x.is_none(), y);
    run_map(path, Map { formula, parameters, layout, start: 0, inputs: [x], y, store });
}

/// Runs a map of a whole batch on one thread or on several.
pub(super) fn run_map<F, C, T, const P: usize, const I: usize>(path: Path, map: Map<'_, F, C, T, P, I>)
where
    F: Formula<P, I> + Sync,
    C: Sync,
    T: KernelElement,
    for<'a> Map<'a, F, C, T, P, I>: Job<Output = ()>,
{
    #[cfg(feature = "rayon")]
    if path.forks(map.y.len(), PARALLEL_NORMALIZE) {
        return super::parallel::map(path.isa(), map);
    }
    path.isa().run(map);
}
