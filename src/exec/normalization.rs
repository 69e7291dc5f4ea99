//! Normalising a batch by the parameters of its features: in f32 or in f64, by each path.

use super::strided;
#[cfg(feature = "half")]
use crate::element::SingleElement;
use crate::element::{ByElement, INTERNAL};
use crate::kernels::KernelElement;
use crate::kernels::map::{Activated, Formula, Map, Normalize, NormalizeSingle, Parameters, Residual, StorePolicy};
use crate::lanes::{Job, LoadStore, SingleLaneElement};
use crate::layout::Layout;
use crate::spec::{Epilogue, fallback, scalar};
#[cfg(feature = "rayon")]
use crate::tuning::PARALLEL_NORMALIZE;
use crate::{Activation, Batch, BatchMut, Element, Path};
use alloc::vec::Vec;

/// The arithmetic in which f32 batches are normalised, and in which the gradients of a training step with respect to
/// them are computed. For f64 batches this is always f64, and so it is for mean, variance and the other sums.
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
    /// Mean, scale and bias of each feature, for computing in f64. Not of all features where only f32 is needed.
    pub(crate) double: Parameters<f64, 3>,
    /// High and low word of the mean, scale and bias of each feature, for computing in f32. Empty where only f64 is
    /// needed.
    pub(crate) single: Parameters<f32, 4>,
    /// The features whose parameters are out of f32's range. The parameters for f32 leave their values as they are.
    pub(crate) only_double: Vec<OnlyDouble<3>>,
    /// The features whose scale is out of f64's range, too. All parameters leave their values as they are.
    pub(crate) factored: Vec<fallback::FactoredScale>,
    /// The last step of each value.
    pub(crate) activation: Activation,
}

/// A feature that is computed in f64 among others in f32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnlyDouble<const P: usize> {
    pub(crate) feature: usize,
    pub(crate) parameters: [f64; P],
}

/// Compares the parameters for f64, from which the others are made, and the activation.
impl PartialEq for Normalization {
    fn eq(&self, other: &Self) -> bool {
        self.double == other.double && self.factored == other.factored && self.activation == other.activation
    }
}

impl Normalization {
    /// Runs a kernel, which completes all features but leaves the values of `only_double` and `factored` unnormalised;
    /// these are normalised by plain code.
    ///
    /// In place, they are normalised before: the kernel then adds the residual and applies the activation. Out of place,
    /// where it reads `x`, they are written once more after it.
    #[inline(always)]
    fn run<T: Element>(
        &self,
        only_double: &[OnlyDouble<3>],
        slices: Slices<'_, T>,
        kernel: impl FnOnce(Slices<'_, T>),
    ) {
        if only_double.is_empty() && self.factored.is_empty() {
            return kernel(slices);
        }
        let Slices { layout, start, x, residual, y } = slices;
        let Some(x) = x else {
            self.fall_back(only_double, layout, y);
            return kernel(Slices { layout, start, x, residual, y });
        };
        kernel(Slices { layout, start, x: Some(x), residual, y });
        let features = || only_double.iter().map(|of| of.feature).chain(self.factored.iter().map(|of| of.feature));
        for feature in features() {
            fallback::copy_feature(layout, feature, x, y);
        }
        self.fall_back(only_double, layout, y);
        for feature in features() {
            self.epilogue(residual).apply_to_feature(layout, feature, y);
        }
    }

    /// Normalises in place, in plain code, the values of the features that the kernels leave as they are: those of
    /// `only_double` and `factored`.
    fn fall_back<T: Element>(&self, only_double: &[OnlyDouble<3>], layout: Layout, y: &mut [T]) {
        for of in only_double {
            fallback::normalize(layout, of.feature, of.parameters, y);
        }
        for feature in &self.factored {
            feature.normalize(layout, y);
        }
    }

    fn epilogue<'a, T>(&self, residual: Option<&'a [T]>) -> Epilogue<'a, T> {
        Epilogue { residual, activation: self.activation }
    }
}

/// The slices of a call: a batch without gaps, or a run of it.
pub(super) struct Slices<'a, T> {
    pub(super) layout: Layout,
    /// Where in the batch the slices start. The kernels alone take parts of a batch.
    pub(super) start: usize,
    /// Without `x`, the input is `y` itself, in place.
    pub(super) x: Option<&'a [T]>,
    pub(super) residual: Option<&'a [T]>,
    pub(super) y: &'a mut [T],
}

impl Path {
    /// Normalises `x` into `y` (or `y` in place), adds the residual if there is one, and applies the activation.
    pub(crate) fn normalize<T: Element>(
        self,
        normalization: &Normalization,
        precision: Precision,
        x: Option<Batch<'_, T>>,
        residual: Option<Batch<'_, T>>,
        y: BatchMut<'_, T>,
    ) {
        strided::map(self, [x, residual], y, |path, layout, inputs, y| {
            path.normalize_values(normalization, precision, layout, inputs, y);
        });
    }

    fn normalize_values<T: Element>(
        self,
        normalization: &Normalization,
        precision: Precision,
        layout: Layout,
        [x, residual]: [Option<&[T]>; 2],
        y: &mut [T],
    ) {
        let start = 0;
        match T::in_out([x, residual], y, INTERNAL) {
            ByElement::F32(([x, residual], y)) => {
                f32_values(self, normalization, precision, Slices { layout, start, x, residual, y });
            }
            ByElement::F64(([x, residual], y)) => {
                double_f64(self, normalization, Slices { layout, start, x, residual, y });
            }
            #[cfg(feature = "half")]
            ByElement::F16(([x, residual], y)) => {
                half(
                    self,
                    normalization,
                    precision,
                    Slices { layout, start, x, residual, y },
                    [single_f16, double_f16],
                );
            }
            #[cfg(feature = "half")]
            ByElement::Bf16(([x, residual], y)) => {
                half(
                    self,
                    normalization,
                    precision,
                    Slices { layout, start, x, residual, y },
                    [single_bf16, double_bf16],
                );
            }
        }
    }
}

/// Normalises f32 values.
pub(super) fn f32_values(path: Path, normalization: &Normalization, precision: Precision, slices: Slices<'_, f32>) {
    match precision {
        Precision::Single => single_f32(path, normalization, slices),
        Precision::Double => double_f32(path, normalization, slices),
    }
}

/// Normalises f16 or bf16 values, which must have the bits of f32 values that are rounded once. Where plain code would
/// round before it adds the residual, they are widened as a whole.
#[cfg(feature = "half")]
fn half<T: SingleElement>(
    path: Path,
    normalization: &Normalization,
    precision: Precision,
    slices: Slices<'_, T>,
    [single, double]: [fn(Path, &Normalization, Slices<'_, T>); 2],
) {
    let only_double = precision == Precision::Single && !normalization.only_double.is_empty();
    let plain = path == Path::Scalar || only_double || !normalization.factored.is_empty();
    if let (true, Some(residual)) = (plain, slices.residual) {
        let widened = |values: &[T]| values.iter().map(|x| x.to_f32()).collect::<Vec<_>>();
        let (residual, mut y) = (widened(residual), widened(slices.x.unwrap_or(slices.y)));
        let wide = Slices { layout: slices.layout, start: 0, x: None, residual: Some(&residual[..]), y: &mut y };
        f32_values(path, normalization, precision, wide);
        for (to, y) in slices.y.iter_mut().zip(y) {
            *to = T::from_f32(y);
        }
        return;
    }
    match precision {
        Precision::Single => single(path, normalization, slices),
        Precision::Double => double(path, normalization, slices),
    }
}

/// Functions of one element type (see `concrete!` of [`exec`](super)).
macro_rules! concrete {
    ($element:ty, $round:literal, $double:ident $(, $single:ident)?) => {
        $(
            /// Normalises in f32, and in f64 the values of the features that f32 cannot hold.
            #[inline(never)]
            fn $single(path: Path, normalization: &Normalization, slices: Slices<'_, $element>) {
                single(path, normalization, slices);
            }
        )?

        /// Normalises in f64.
        #[inline(never)]
        fn $double(path: Path, normalization: &Normalization, slices: Slices<'_, $element>) {
            double::<_, $round>(path, normalization, slices);
        }
    };
}

concrete!(f32, true, double_f32, single_f32);
concrete!(f64, false, double_f64);
#[cfg(feature = "half")]
concrete!(half::f16, true, double_f16, single_f16);
#[cfg(feature = "half")]
concrete!(half::bf16, true, double_bf16, single_bf16);

#[inline(always)]
fn single<T: KernelElement + SingleLaneElement>(path: Path, normalization: &Normalization, slices: Slices<'_, T>)
where
    f32: LoadStore<T>,
{
    let (parameters, only_double) = (&normalization.single, &normalization.only_double);
    if path == Path::Scalar {
        let Slices { layout, x, residual, y, .. } = slices;
        scalar::normalize_single(layout, |feature| parameters.feature(feature), x, y);
        normalization.fall_back(only_double, layout, y);
        return normalization.epilogue(residual).apply(y);
    }
    let activation = normalization.activation;
    normalization.run(only_double, slices, |slices| {
        map::<_, _, _, 4, false>(path, NormalizeSingle, parameters, activation, slices);
    });
}

/// `ROUND`: a normalised value is rounded to f32 before a residual is added.
#[inline(always)]
fn double<T: KernelElement, const ROUND: bool>(path: Path, normalization: &Normalization, slices: Slices<'_, T>) {
    let parameters = &normalization.double;
    if path == Path::Scalar {
        let Slices { layout, x, residual, y, .. } = slices;
        scalar::normalize(layout, |feature| parameters.feature(feature), x, y);
        normalization.fall_back(&[], layout, y);
        return normalization.epilogue(residual).apply(y);
    }
    let activation = normalization.activation;
    normalization.run(&[], slices, |slices| {
        map::<_, _, _, 3, ROUND>(path, Normalize, parameters, activation, slices);
    });
}

/// Runs the kernel of a formula, with the residual if there is one, and the activation.
#[inline(always)]
fn map<F, C, T, const P: usize, const ROUND: bool>(
    path: Path,
    formula: F,
    parameters: &Parameters<C, P>,
    activation: Activation,
    slices: Slices<'_, T>,
) where
    F: Formula<P, 1> + Sync,
    C: Sync,
    T: KernelElement,
    for<'a> Map<'a, Activated<F>, C, T, P, 1>: Job<Output = ()>,
    for<'a> Map<'a, Activated<Residual<F, ROUND>>, C, T, P, 2>: Job<Output = ()>,
{
    let Slices { layout, start, x, residual, y } = slices;
    let (store, relu) = (StorePolicy::choose(x.is_none(), y), activation == Activation::Relu);
    if let Some(residual) = residual {
        let (formula, inputs) = (Activated { formula: Residual(formula), relu }, [x, Some(residual)]);
        return on_threads(path, Map { formula, parameters, layout, start, inputs, y, store });
    }
    let formula = Activated { formula, relu };
    on_threads(path, Map { formula, parameters, layout, start, inputs: [x], y, store });
}

/// Runs the map kernel on one thread or on several.
pub(super) fn on_threads<F, C, T, const P: usize, const I: usize>(path: Path, map: Map<'_, F, C, T, P, I>)
where
    F: Formula<P, I> + Sync,
    C: Sync,
    T: KernelElement,
    for<'a> Map<'a, F, C, T, P, I>: Job<Output = ()>,
{
    #[cfg(feature = "rayon")]
    // The constant is for one input.
    if path.forks(size_of_val(map.y) * (I + 1) / 2, PARALLEL_NORMALIZE) {
        return super::parallel::map(path.isa(), map);
    }
    path.isa().run(map);
}
