//! Formulas: how an output is computed from parameters and inputs.

use crate::lanes::Lanes;

/// A formula with `P` parameters per feature and `I` inputs of the same layout. An epilogue ([`Residual`],
/// [`Activated`]) is a formula that wraps another one.
pub(crate) trait Formula<const P: usize, const I: usize>: Copy {
    /// The formula without what it leaves out at run time.
    type Plain: Formula<P, I>;

    /// Applies the formula. It performs the same operations in every lane, whatever the number of lanes.
    fn apply<L: Lanes>(self, parameters: [L; P], inputs: [L; I]) -> L;

    /// Returns the plain formula if it computes the same: for loops in which a branch would count.
    fn plain(self) -> Option<Self::Plain>;
}

/// A formula without choices at run time.
macro_rules! plain {
    () => {
        type Plain = Self;

        #[inline(always)]
        fn plain(self) -> Option<Self> {
            None
        }
    };
}

/// `(x - mean) * scale + bias`. The difference comes first: if the mean were folded into an offset,
/// `x * scale + offset`, a large mean would cancel. For computing in f64: each output is rounded to its type once, so
/// an `f32` is within 0.50001 units in the last place of the exact result, unless the scaled difference and the bias
/// cancel.
#[derive(Clone, Copy)]
pub(crate) struct Normalize;

impl Formula<3, 1> for Normalize {
    plain!();

    #[inline(always)]
    fn apply<L: Lanes>(self, [mean, scale, bias]: [L; 3], [x]: [L; 1]) -> L {
        x.sub(mean).mul(scale).add(bias)
    }
}

/// `((x - mean_high) - mean_low) * scale + bias`, for computing in f32. With the mean as a pair nothing cancels at a
/// large mean, although no f32 is near enough to it: where `x` is near the mean, the first difference is exact.
#[derive(Clone, Copy)]
pub(crate) struct NormalizeSingle;

impl Formula<4, 1> for NormalizeSingle {
    plain!();

    #[inline(always)]
    fn apply<L: Lanes>(self, [mean_high, mean_low, scale, bias]: [L; 4], [x]: [L; 1]) -> L {
        x.sub(mean_high).sub(mean_low).mul(scale).add(bias)
    }
}

/// Adds a second input, a residual, to the result of a formula of one input. `ROUND`: rounds that result to f32 first,
/// as if it had been stored. (A sum of two f32 that is rounded to f64 and then to f32 is rounded as if once.)
#[derive(Clone, Copy)]
pub(crate) struct Residual<F, const ROUND: bool>(pub(crate) F);

impl<F: Formula<P, 1>, const P: usize, const ROUND: bool> Formula<P, 2> for Residual<F, ROUND> {
    plain!();

    #[inline(always)]
    fn apply<L: Lanes>(self, parameters: [L; P], [x, residual]: [L; 2]) -> L {
        let y = self.0.apply(parameters, [x]);
        if ROUND { y.round_to_f32().add(residual) } else { y.add(residual) }
    }
}

/// Applies ReLU to the result of a formula, or does not: `relu` is a value, not a type, so that one kernel serves both.
/// Only the inner loop of rows is compiled for each ([`Formula::plain`]): in the first level of the cache, a branch in it
/// takes up to a third of the time (Sapphire Rapids, AVX2, f32). Planes are as fast with it. (A limit in place of the
/// branch, NaN for none, took 10 to 20 % longer everywhere.)
///
/// Rounding the result to f32 afterwards gives the same bits as rounding it before: a value above 0 does not become
/// -0.0, and no other value is left.
#[derive(Clone, Copy)]
pub(crate) struct Activated<F> {
    pub(crate) formula: F,
    pub(crate) relu: bool,
}

impl<F: Formula<P, I>, const P: usize, const I: usize> Formula<P, I> for Activated<F> {
    type Plain = F;

    #[inline(always)]
    fn apply<L: Lanes>(self, parameters: [L; P], inputs: [L; I]) -> L {
        let y = self.formula.apply(parameters, inputs);
        if self.relu { y.relu() } else { y }
    }

    #[inline(always)]
    fn plain(self) -> Option<F> {
        if self.relu { None } else { Some(self.formula) }
    }
}

/// `((dy - offset) - (x - mean) * slope) * scale`, over the inputs `dy` and `x`: the gradient through a batch's own
/// statistics. The difference `x - mean` comes first, as in [`Normalize`]. For computing in f64.
#[derive(Clone, Copy)]
pub(crate) struct InputGradient;

impl Formula<4, 2> for InputGradient {
    plain!();

    #[inline(always)]
    fn apply<L: Lanes>(self, [mean, slope, offset, scale]: [L; 4], [dy, x]: [L; 2]) -> L {
        dy.sub(offset).sub(x.sub(mean).mul(slope)).mul(scale)
    }
}

/// The same for computing in f32, with mean and offset as pairs, as in [`NormalizeSingle`]: `(((dy - offset_high) -
/// offset_low) - ((x - mean_high) - mean_low) * slope) * scale`.
#[derive(Clone, Copy)]
pub(crate) struct InputGradientSingle;

impl Formula<6, 2> for InputGradientSingle {
    plain!();

    #[inline(always)]
    fn apply<L: Lanes>(
        self,
        [mean_high, mean_low, slope, offset_high, offset_low, scale]: [L; 6],
        [dy, x]: [L; 2],
    ) -> L {
        let through_variance = x.sub(mean_high).sub(mean_low).mul(slope);
        dy.sub(offset_high).sub(offset_low).sub(through_variance).mul(scale)
    }
}

/// `dy * scale`, with the parameters of [`Normalize`]: the gradient where mean and variance are constants.
#[derive(Clone, Copy)]
pub(crate) struct ScaledGradient;

impl Formula<3, 1> for ScaledGradient {
    plain!();

    #[inline(always)]
    fn apply<L: Lanes>(self, [_, scale, _]: [L; 3], [dy]: [L; 1]) -> L {
        dy.mul(scale)
    }
}

/// A gradient through a ReLU: its output `y` is one more input, the last one. `dy` counts as 0 where `y <= 0`.
#[derive(Clone, Copy)]
pub(crate) struct ThroughRelu<F>(pub(crate) F);

impl<F: Formula<P, 1>, const P: usize> Formula<P, 2> for ThroughRelu<F> {
    plain!();

    #[inline(always)]
    fn apply<L: Lanes>(self, parameters: [L; P], [dy, y]: [L; 2]) -> L {
        self.0.apply(parameters, [dy.zero_where_le_zero(y)])
    }
}

impl<F: Formula<P, 2>, const P: usize> Formula<P, 3> for ThroughRelu<F> {
    plain!();

    #[inline(always)]
    fn apply<L: Lanes>(self, parameters: [L; P], [dy, x, y]: [L; 3]) -> L {
        self.0.apply(parameters, [dy.zero_where_le_zero(y), x])
    }
}
