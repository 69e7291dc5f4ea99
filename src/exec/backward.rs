//! The backward pass: sums over a batch, and the gradient of each input value, by each path.

use alloc::vec::Vec;
use core::ops::Range;

use super::{reduce, strided};
use crate::element::{ByElement, INTERNAL};
use crate::exec::{Normalization, OnlyDouble, Precision};
use crate::kernels::map::{
    Formula, InputGradient, InputGradientSingle, Map, Parameters, ScaledGradient, StorePolicy, ThroughRelu,
};
use crate::kernels::reduce::{BatchGradients, SUM_WORDS, Tree};
use crate::kernels::{Arrays, KernelElement};
use crate::lanes::{Job, LoadStore, SingleLaneElement};
use crate::layout::Layout;
use crate::moments::Workspace;
use crate::spec::backward::{self, Inputs};
use crate::spec::fallback::{self, FactoredGradient};
use crate::spec::{DoubleDouble, Order};
use crate::{Batch, BatchMut, Element, Path};

/// How the gradients of a batch's values follow from those of its outputs, where mean and variance are the batch's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct InputGradients {
    /// Mean, slope, offset and scale of each feature, for computing in f64: `dx = ((dy - offset) - (x - mean) * slope) *
    /// scale`. Empty where only f32 is needed.
    pub(crate) double: Parameters<f64, 4>,
    /// High and low word of the mean, slope, high and low word of the offset, and scale of each feature, for computing in
    /// f32. Empty where only f64 is needed.
    pub(crate) single: Parameters<f32, 6>,
    /// The features whose parameters are out of f32's range. The parameters for f32 leave their `dy` as they are.
    pub(crate) only_double: Vec<OnlyDouble<4>>,
    /// The features whose slope or scale is out of f64's range, too. All parameters leave their `dy` as they are.
    pub(crate) factored: Vec<FactoredGradient>,
}

/// The means of the features about which sums are taken.
#[derive(Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) high: &'a [f64],
    /// Low words; empty if they are all 0.
    pub(crate) low: &'a [f64],
}

/// The gradients with respect to the outputs, and the output of a ReLU that followed.
#[derive(Clone, Copy)]
pub(crate) struct OfOutputs<'a, T> {
    /// `None` if they are in `dx`, in place.
    pub(crate) dy: Option<Batch<'a, T>>,
    pub(crate) y: Option<Batch<'a, T>>,
}

impl<T> OfOutputs<'_, T> {
    /// Returns those at one place of the batch, which must be contiguous.
    pub(crate) fn part(self, place: &Range<usize>, layout: Layout) -> Self {
        let part = |values: Option<_>| {
            values.map(|values: Batch<'_, T>| Batch::checked(&values.data()[place.clone()], layout))
        };
        OfOutputs { dy: part(self.dy), y: part(self.y) }
    }
}

impl Path {
    /// Computes the sums of `dy` and of `dy * (x - mean)` of each feature.
    pub(crate) fn gradient_sums<T: Element>(
        self,
        Inputs { dy, x, y }: Inputs<'_, T>,
        means: Means<'_>,
        mut out: Arrays<'_, SUM_WORDS>,
        workspace: &mut Workspace,
    ) {
        if x.data().is_empty() {
            return out.0.iter_mut().for_each(|array| array.fill(0.0));
        }
        match T::inputs([Some(dy), Some(x), y], INTERNAL) {
            ByElement::F32([Some(dy), Some(x), y]) => sums_f32(self, Inputs { dy, x, y }, means, out, workspace),
            ByElement::F64([Some(dy), Some(x), y]) => sums_f64(self, Inputs { dy, x, y }, means, out, workspace),
            #[cfg(feature = "half")]
            ByElement::F16([Some(dy), Some(x), y]) => sums_f16(self, Inputs { dy, x, y }, means, out, workspace),
            #[cfg(feature = "half")]
            ByElement::Bf16([Some(dy), Some(x), y]) => sums_bf16(self, Inputs { dy, x, y }, means, out, workspace),
            // Wrapping leaves nothing out.
            _ => {}
        }
    }

    /// Computes the sums of some features, on the calling thread. The batch must have values.
    pub(crate) fn gradient_sums_of<T: Element>(
        self,
        features: Range<usize>,
        order: &Order,
        Inputs { dy, x, y }: Inputs<'_, T>,
        means: Means<'_>,
        out: Arrays<'_, SUM_WORDS>,
        workspace: &mut Workspace,
    ) {
        match T::inputs([Some(dy), Some(x), y], INTERNAL) {
            ByElement::F32([Some(dy), Some(x), y]) => {
                sums_of_f32(self, features, order, Inputs { dy, x, y }, means, out, workspace);
            }
            ByElement::F64([Some(dy), Some(x), y]) => {
                sums_of_f64(self, features, order, Inputs { dy, x, y }, means, out, workspace);
            }
            #[cfg(feature = "half")]
            ByElement::F16([Some(dy), Some(x), y]) => {
                sums_of_f16(self, features, order, Inputs { dy, x, y }, means, out, workspace);
            }
            #[cfg(feature = "half")]
            ByElement::Bf16([Some(dy), Some(x), y]) => {
                sums_of_bf16(self, features, order, Inputs { dy, x, y }, means, out, workspace);
            }
            // Wrapping leaves nothing out.
            _ => {}
        }
    }

    /// Computes the gradient with respect to each input value, where mean and variance are the batch's own.
    pub(crate) fn input_gradient<T: Element>(
        self,
        gradients: &InputGradients,
        precision: Precision,
        OfOutputs { dy, y }: OfOutputs<'_, T>,
        x: Batch<'_, T>,
        dx: BatchMut<'_, T>,
    ) {
        strided::map(self, [dy, Some(x), y], dx, |path, layout, inputs, dx| {
            path.input_gradient_values(gradients, precision, layout, inputs, dx);
        });
    }

    fn input_gradient_values<T: Element>(
        self,
        gradients: &InputGradients,
        precision: Precision,
        layout: Layout,
        inputs: [Option<&[T]>; 3],
        dx: &mut [T],
    ) {
        match T::in_out(inputs, dx, INTERNAL) {
            ByElement::F32(([dy, Some(x), y], dx)) => match precision {
                Precision::Single => gradient_f32_single(self, gradients, layout, [dy, y], x, dx),
                Precision::Double => gradient_f32(self, gradients, layout, [dy, y], x, dx),
            },
            ByElement::F64(([dy, Some(x), y], dx)) => {
                gradient_f64(self, gradients, layout, [dy, y], x, dx);
            }
            #[cfg(feature = "half")]
            ByElement::F16(([dy, Some(x), y], dx)) => match precision {
                Precision::Single => gradient_f16_single(self, gradients, layout, [dy, y], x, dx),
                Precision::Double => gradient_f16(self, gradients, layout, [dy, y], x, dx),
            },
            #[cfg(feature = "half")]
            ByElement::Bf16(([dy, Some(x), y], dx)) => match precision {
                Precision::Single => gradient_bf16_single(self, gradients, layout, [dy, y], x, dx),
                Precision::Double => gradient_bf16(self, gradients, layout, [dy, y], x, dx),
            },
            // Wrapping leaves nothing out.
            _ => {}
        }
    }

    /// Computes the gradient with respect to each input value, where mean and variance are constants.
    pub(crate) fn scaled_gradient<T: Element>(
        self,
        normalization: &Normalization,
        OfOutputs { dy, y }: OfOutputs<'_, T>,
        dx: BatchMut<'_, T>,
    ) {
        strided::map(self, [dy, y], dx, |path, layout, inputs, dx| {
            path.scaled_gradient_values(normalization, layout, inputs, dx);
        });
    }

    fn scaled_gradient_values<T: Element>(
        self,
        normalization: &Normalization,
        layout: Layout,
        inputs: [Option<&[T]>; 2],
        dx: &mut [T],
    ) {
        match T::in_out(inputs, dx, INTERNAL) {
            ByElement::F32(([dy, y], dx)) => scaled_f32(self, normalization, layout, [dy, y], dx),
            ByElement::F64(([dy, y], dx)) => scaled_f64(self, normalization, layout, [dy, y], dx),
            #[cfg(feature = "half")]
            ByElement::F16(([dy, y], dx)) => scaled_f16(self, normalization, layout, [dy, y], dx),
            #[cfg(feature = "half")]
            ByElement::Bf16(([dy, y], dx)) => scaled_bf16(self, normalization, layout, [dy, y], dx),
        }
    }
}

/// Functions of one element type: see `concrete!` in `exec`.
macro_rules! concrete {
    ($element:ty, $sums:ident, $sums_of:ident, $gradient:ident, $scaled:ident $(, $single:ident)?) => {
        $(
            #[inline(never)]
            fn $single(
                path: Path,
                gradients: &InputGradients,
                layout: Layout,
                of_outputs: [Option<&[$element]>; 2],
                x: &[$element],
                dx: &mut [$element],
            ) {
                input_gradient_single(path, gradients, layout, of_outputs, x, dx);
            }
        )?

        #[inline(never)]
        fn $sums_of(
            path: Path,
            features: Range<usize>,
            order: &Order,
            inputs: Inputs<'_, $element>,
            Means { high: mean, low: mean_low }: Means<'_>,
            out: Arrays<'_, SUM_WORDS>,
            workspace: &mut Workspace,
        ) {
            let tree = Tree { reduction: BatchGradients { isa: path.isa(), order, inputs, mean, mean_low } };
            tree.run_features(features, out, workspace.of(tree.workspace()));
        }

        #[inline(never)]
        fn $sums(
            path: Path,
            inputs: Inputs<'_, $element>,
            means: Means<'_>,
            out: Arrays<'_, SUM_WORDS>,
            workspace: &mut Workspace,
        ) {
            sums(path, inputs, means, out, workspace);
        }

        #[inline(never)]
        fn $gradient(
            path: Path,
            gradients: &InputGradients,
            layout: Layout,
            of_outputs: [Option<&[$element]>; 2],
            x: &[$element],
            dx: &mut [$element],
        ) {
            input_gradient(path, gradients, layout, of_outputs, x, dx);
        }

        #[inline(never)]
        fn $scaled(
            path: Path,
            normalization: &Normalization,
            layout: Layout,
            of_outputs: [Option<&[$element]>; 2],
            dx: &mut [$element],
        ) {
            scaled_gradient(path, normalization, layout, of_outputs, dx);
        }
    };
}

concrete!(f32, sums_f32, sums_of_f32, gradient_f32, scaled_f32, gradient_f32_single);
concrete!(f64, sums_f64, sums_of_f64, gradient_f64, scaled_f64);
#[cfg(feature = "half")]
concrete!(half::f16, sums_f16, sums_of_f16, gradient_f16, scaled_f16, gradient_f16_single);
#[cfg(feature = "half")]
concrete!(half::bf16, sums_bf16, sums_of_bf16, gradient_bf16, scaled_bf16, gradient_bf16_single);

fn sums<T: KernelElement>(
    path: Path,
    inputs: Inputs<'_, T>,
    means: Means<'_>,
    out: Arrays<'_, SUM_WORDS>,
    workspace: &mut Workspace,
) {
    let layout = inputs.x.layout();
    let order = &Order::new(layout);
    if path == Path::Scalar {
        let [dy, dy_low, products, products_low] = out.0;
        for feature in 0..layout.features() {
            let low = means.low.get(feature).copied().unwrap_or_default();
            let sums = backward::sums(order, inputs, feature, DoubleDouble { high: means.high[feature], low });
            (dy[feature], dy_low[feature]) = (sums.dy.high, sums.dy.low);
            (products[feature], products_low[feature]) = (sums.products.high, sums.products.low);
        }
        return;
    }
    let Means { high: mean, low: mean_low } = means;
    let reduction = BatchGradients { isa: path.isa(), order, inputs, mean, mean_low };
    reduce(path, layout, 2 * size_of::<T>(), reduction, out, workspace);
}

fn input_gradient<T: KernelElement>(
    path: Path,
    gradients: &InputGradients,
    layout: Layout,
    [dy, y]: [Option<&[T]>; 2],
    x: &[T],
    dx: &mut [T],
) {
    let InputGradients { double: parameters, factored, .. } = gradients;
    if path == Path::Scalar {
        backward::input_gradient(layout, |feature| parameters.feature(feature), dy, x, y, dx);
    } else if y.is_some() {
        map(path, ThroughRelu(InputGradient), parameters, layout, [dy, Some(x), y], dx);
    } else {
        map(path, InputGradient, parameters, layout, [dy, Some(x)], dx);
    }
    for feature in factored {
        feature.apply(layout, x, dx);
    }
}

/// Computes the gradients in f32, and in f64 those of the features that f32 cannot hold.
fn input_gradient_single<T: KernelElement + SingleLaneElement>(
    path: Path,
    gradients: &InputGradients,
    layout: Layout,
    [dy, y]: [Option<&[T]>; 2],
    x: &[T],
    dx: &mut [T],
) where
    f32: LoadStore<T>,
{
    let InputGradients { single: parameters, only_double, factored, .. } = gradients;
    if path == Path::Scalar {
        backward::input_gradient_single(layout, |feature| parameters.feature(feature), dy, x, y, dx);
    } else if y.is_some() {
        map(path, ThroughRelu(InputGradientSingle), parameters, layout, [dy, Some(x), y], dx);
    } else {
        map(path, InputGradientSingle, parameters, layout, [dy, Some(x)], dx);
    }
    for of in only_double {
        fallback::input_gradient(layout, of.feature, of.parameters, x, dx);
    }
    for feature in factored {
        feature.apply(layout, x, dx);
    }
}

fn scaled_gradient<T: KernelElement>(
    path: Path,
    normalization: &Normalization,
    layout: Layout,
    [dy, y]: [Option<&[T]>; 2],
    dx: &mut [T],
) {
    let Normalization { double: parameters, factored, .. } = normalization;
    if path == Path::Scalar {
        let scale = |feature| {
            let [_, scale, _] = parameters.feature(feature);
            scale
        };
        backward::scaled_gradient(layout, scale, dy, y, dx);
    } else if y.is_some() {
        map(path, ThroughRelu(ScaledGradient), parameters, layout, [dy, y], dx);
    } else {
        map(path, ScaledGradient, parameters, layout, [dy], dx);
    }
    for feature in factored {
        feature.scale(layout, dx);
    }
}

/// Maps a whole batch by one formula.
fn map<F, C, T, const P: usize, const I: usize>(
    path: Path,
    formula: F,
    parameters: &Parameters<C, P>,
    layout: Layout,
    inputs: [Option<&[T]>; I],
    y: &mut [T],
) where
    F: Formula<P, I> + Sync,
    C: Sync,
    T: KernelElement,
    for<'a> Map<'a, F, C, T, P, I>: Job<Output = ()>,
{
    let store = StorePolicy::choose(inputs[0].is_none(), y);
    super::normalization::on_threads(path, Map { formula, parameters, layout, start: 0, inputs, y, store });
}
