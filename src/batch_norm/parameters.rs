//! Computes the parameters that the kernels apply from statistics, weight, bias and `eps`.

use crate::math::sqrt;
use alloc::vec::Vec;
use core::ops::Range;

use crate::Path;
use crate::exec::{Normalization, OnlyDouble};
use crate::lanes::{Job, Simd};
use crate::spec::fallback::FactoredScale;
use crate::spec::power_of_two;

/// What the parameters of all features are made of, except for the variances.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: Path,
    pub(super) mean: &'a [f64],
    /// The low words of the means, if known.
    pub(super) mean_low: Option<&'a [f64]>,
    pub(super) weight: Option<&'a [f64]>,
    pub(super) bias: Option<&'a [f64]>,
    pub(super) eps: f64,
}

/// Features whose parameters are computed together: what one loop has written is then in the first-level cache for the
/// next. (A batch may have a million features with few values each.)
const BLOCK: usize = 64;

/// The arithmetic for which parameters are needed.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Needed {
    Double,
    Single,
    Both,
}

impl<'a> Source<'a> {
    /// Sets the parameters. `variances` writes the variances of some features; it is called for one block after
    /// another.
    pub(super) fn fill(
        self,
        to: &mut Normalization,
        needed: Needed,
        mut variances: impl FnMut(Range<usize>, &mut [f64]),
    ) {
        let Normalization { double, single, only_double, factored, .. } = to;
        let features = self.mean.len();
        let mut variance = [0.0; BLOCK];
        only_double.clear();
        factored.clear();
        let mut fill = |mut double: [&mut [f64]; 3], mut single: Option<[&mut [f32]; 4]>| {
            for start in (0..features).step_by(BLOCK) {
                let block = start..features.min(start + BLOCK);
                let variance = &mut variance[..block.len()];
                variances(block.clone(), variance);
                let source = Block { start, source: self.part(block.clone()), variance };
                let at = if needed == Needed::Single { 0..block.len() } else { block.clone() };
                let mut double = double.each_mut().map(|array| &mut array[at.clone()]);
                source.fill_double(double.each_mut().map(|array| &mut **array), factored);
                if let Some(single) = &mut single {
                    let single = single.each_mut().map(|array| &mut array[block.clone()]);
                    source.fill_single(double.map(|array| &*array), single, only_double, factored);
                }
            }
        };
        match needed {
            Needed::Double => double.set(features, |double| fill(double, None)),
            Needed::Both => double.set(features, |double| single.set(features, |single| fill(double, Some(single)))),
            // Those for f32 are made of those for f64, which are then kept for one block alone.
            Needed::Single => single.set(features, |single| fill(double.resized(features.min(BLOCK)), Some(single))),
        }
    }

    fn part(self, features: Range<usize>) -> Self {
        let part = |array: Option<&'a [f64]>| array.map(|array| &array[features.clone()]);
        Source {
            mean: &self.mean[features.clone()],
            mean_low: part(self.mean_low),
            weight: part(self.weight),
            bias: part(self.bias),
            ..self
        }
    }
}

/// What the parameters of one block are made of.
#[derive(Clone, Copy)]
struct Block<'a> {
    /// The first feature.
    start: usize,
    source: Source<'a>,
    variance: &'a [f64],
}

impl Block<'_> {
    /// Sets mean, scale and bias of each feature: `scale = weight / sqrt(variance + eps)`.
    ///
    /// If variance and `eps` are both 0, the scale is 0, so that the feature becomes its bias (as in PyTorch's kernels)
    /// rather than NaN. The low word of the mean, times the scale, is subtracted from the bias:
    /// `(x - mean - mean_low) * scale + bias`. Nothing cancels, because the low word is at most as large as any
    /// deviation from the exact mean: the high word is the f64 nearest to the mean, and each `x` is an f64, too.
    ///
    /// A scale that is no normal f64 although both of its factors are finite and not 0 is left to [`FactoredScale`].
    /// The kernels then get parameters that leave the values as they are.
    fn fill_double(self, [to_mean, to_scale, to_bias]: [&mut [f64]; 3], factored: &mut Vec<FactoredScale>) {
        let Block { start, source, variance } = self;
        let to = [&mut *to_mean, &mut *to_scale, &mut *to_bias];
        if source.path.run(Double { block: self, to }) {
            return;
        }
        for feature in 0..variance.len() {
            let factors = FactoredScale {
                feature: start + feature,
                mean: source.mean[feature],
                mean_low: source.mean_low.map_or(0.0, |low| low[feature]),
                inverse_deviation: inverse_deviation(variance[feature], source.eps),
                weight: source.weight.map_or(1.0, |weight| weight[feature]),
                bias: source.bias.map_or(0.0, |bias| bias[feature]),
            };
            if !is_normal(to_scale[feature]) && is_factor(factors.inverse_deviation) && is_factor(factors.weight) {
                factored.push(factors);
                [to_mean[feature], to_scale[feature], to_bias[feature]] = IDENTITY;
            }
        }
    }

    /// Sets the parameters for computing in f32, from those for f64 and from what those are made of.
    ///
    /// A feature whose parameters are out of range is left to f64. Its own parameters alone decide this, so no
    /// feature's bits depend on another feature or on the data. The kernels that compute in f32 leave its values as
    /// they are.
    fn fill_single(
        self,
        [mean, scale, double_bias]: [&[f64]; 3],
        [high, low, to_scale, to_bias]: [&mut [f32]; 4],
        only_double: &mut Vec<OnlyDouble<3>>,
        factored: &[FactoredScale],
    ) {
        let Block { start, source: Source { path, mean_low, bias, .. }, .. } = self;
        let to = [&mut *high, &mut *low, &mut *to_scale, &mut *to_bias];
        let none_factored = factored.last().is_none_or(|of| of.feature < start);
        if path.run(Single { mean, mean_low, scale, bias, to }) && none_factored {
            return;
        }
        for feature in 0..mean.len() {
            let mean_low = mean_low.map_or(0.0, |low| low[feature]);
            let bias = bias.map_or(0.0, |bias| bias[feature]);
            let is_factored = factored.binary_search_by_key(&(start + feature), |of| of.feature).is_ok();
            let in_range = InSingle::new(mean[feature], mean_low, scale[feature], bias).in_range;
            if !in_range && !is_factored {
                let parameters = [mean[feature], scale[feature], double_bias[feature]];
                only_double.push(OnlyDouble { feature: start + feature, parameters });
            }
            if !in_range || is_factored {
                [high[feature], low[feature], to_scale[feature], to_bias[feature]] = [0.0, 0.0, 1.0, -0.0];
            }
        }
    }
}

/// A plain loop, which the compiler vectorises for the instruction set that runs it.
struct Double<'a> {
    block: Block<'a>,
    to: [&'a mut [f64]; 3],
}

/// What stands for weights, biases and low words that are not given.
const ONES: [f64; BLOCK] = [1.0; BLOCK];
const ZEROS: [f64; BLOCK] = [0.0; BLOCK];

impl Job for Double<'_> {
    /// Whether every scale is in range, or not for want of finite factors other than 0.
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        let Double { block: Block { source, variance, .. }, to: [to_mean, to_scale, to_bias] } = self;
        let Source { mean, mean_low, weight, bias, eps, .. } = source;
        // Of equal lengths, so that the loop has no bounds checks.
        let features = variance.len();
        let (mean, mean_low) = (&mean[..features], &mean_low.unwrap_or(&ZEROS)[..features]);
        let (weight, bias) = (&weight.unwrap_or(&ONES)[..features], &bias.unwrap_or(&ZEROS)[..features]);
        let (to_mean, to_scale) = (&mut to_mean[..features], &mut to_scale[..features]);
        let (to_bias, mut in_range) = (&mut to_bias[..features], true);
        for feature in 0..features {
            let inverse = inverse_deviation(variance[feature], eps);
            let scale = inverse * weight[feature];
            in_range &= is_normal(scale) | !is_factor(inverse) | !is_factor(weight[feature]);
            let correction = mean_low[feature] * scale;
            // With an infinite scale the correction is not finite; the scale alone then determines the output.
            let corrects = correction.is_finite() & (mean_low[feature] != 0.0);
            to_mean[feature] = mean[feature];
            to_scale[feature] = scale;
            to_bias[feature] = bias[feature] - if corrects { correction } else { 0.0 };
        }
        in_range
    }
}

/// Mean, scale and bias that leave every value as it is. (The bias is -0.0, because -0.0 + 0.0 is 0.0.)
const IDENTITY: [f64; 3] = [0.0, 1.0, -0.0];

/// A plain loop, like [`Double`].
struct Single<'a> {
    mean: &'a [f64],
    mean_low: Option<&'a [f64]>,
    scale: &'a [f64],
    bias: Option<&'a [f64]>,
    to: [&'a mut [f32]; 4],
}

impl Job for Single<'_> {
    /// Whether every feature is in range.
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        let Single { mean, mean_low, scale, bias, to: [highs, lows, scales, biases] } = self;
        let features = mean.len();
        let mut in_range = true;
        // Of equal lengths, so that the loop has no bounds checks.
        let (mean_low, scale) = (&mean_low.unwrap_or(&ZEROS)[..features], &scale[..features]);
        let bias = &bias.unwrap_or(&ZEROS)[..features];
        let (highs, lows) = (&mut highs[..features], &mut lows[..features]);
        let (scales, biases) = (&mut scales[..features], &mut biases[..features]);
        for feature in 0..features {
            let of = InSingle::new(mean[feature], mean_low[feature], scale[feature], bias[feature]);
            [highs[feature], lows[feature], scales[feature], biases[feature]] = of.words;
            in_range &= of.in_range;
        }
        in_range
    }
}

/// The parameters of a feature, rounded to f32.
pub(super) struct InSingle {
    /// High and low word of the mean, scale and bias.
    pub(super) words: [f32; 4],
    /// The bias before it was rounded.
    pub(super) bias: f64,
    /// Whether the bounds that [`numerics`](crate::numerics) states for f32 hold with these parameters.
    pub(super) in_range: bool,
}

/// Largest mean for f32. The largest f32, `2^128 - 2^104`, is rounded down where it is less than 2^103 too large, so
/// `x - mean` does not overflow for any finite x.
const LARGEST_MEAN: f64 = power_of_two(102);

/// Largest bias for f32. It is so small that a product overflows only if the output does.
const LARGEST_BIAS: f64 = power_of_two(100);

/// Smallest and largest scale for f32: normal numbers, also after rounding.
const SMALLEST_SCALE: f64 = power_of_two(-125);
const LARGEST_SCALE: f64 = power_of_two(125);

/// Products up to this are negligible: three roundings of them add less than a tenth of the smallest subnormal f32.
const NEGLIGIBLE: f64 = power_of_two(-130);

impl InSingle {
    /// Rounds the mean to two words. What they leave over of it, times the scale, is subtracted from the bias before
    /// the bias is rounded.
    ///
    /// The high word is the f32 nearest to the f64 mean, so the difference of both is exact, and is 0 or at least twice
    /// as large as the mean's second word. So its sum with that is within 2^-52 of the exact one, and no digits cancel
    /// when that is rounded again, to the low word: the low word is within (1 + 2^-27) u of the exact rest, for u =
    /// 2^-24. Rounding twice, the high word may be the farther one of two f32, but only by 2^-28 of the distance. The
    /// proof (`tests/proofs/normalise_f32.g`) allows for both. The mean's third word is at most 2^-53 of the second.
    ///
    /// Sums and differences do not underflow: they are exact where they are subnormal. What a subnormal low word leaves
    /// over may be as large as itself. The sums then hold it only in the bias, which is as good where its product is
    /// negligible.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what this does")]
    pub(super) fn new(mean: f64, mean_low: f64, scale: f64, bias: f64) -> Self {
        let high = mean as f32;
        // An infinite mean leaves nothing over (infinity - infinity would be NaN).
        let rest = if mean.is_finite() { mean - f64::from(high) + mean_low } else { 0.0 };
        let low = rest as f32;
        let left = rest - f64::from(low);
        let correction = left * scale;
        let bias = bias - if correction.is_finite() { correction } else { 0.0 };

        // Parameters that are not finite give the same outputs in f32 as in f64, except for an infinite bias: the
        // product before it may overflow.
        let mean_fits = !mean.is_finite() | (mean.abs() <= LARGEST_MEAN);
        let bias_fits = bias.is_nan() | (bias.abs() <= LARGEST_BIAS);
        let low_fits = (left.abs() <= power_of_two(-24) * f64::from(low).abs()) | (correction.abs() <= NEGLIGIBLE);
        let in_range = mean_fits & scale_fits(scale) & bias_fits & low_fits;
        InSingle { words: [high, low, scale as f32, bias as f32], bias, in_range }
    }
}

/// Whether a factor is 0 or a normal f32, also after rounding, or not finite.
#[inline(always)]
pub(super) fn scale_fits(scale: f64) -> bool {
    (scale == 0.0) | !scale.is_finite() | (scale.abs() >= SMALLEST_SCALE) & (scale.abs() <= LARGEST_SCALE)
}

#[inline(always)]
pub(super) fn inverse_deviation(variance: f64, eps: f64) -> f64 {
    let sum = variance + eps;
    if sum == 0.0 { 0.0 } else { 1.0 / sqrt(sum) }
}

/// Whether a number is finite and not 0.
#[inline(always)]
pub(super) fn is_factor(x: f64) -> bool {
    x.is_finite() & (x != 0.0)
}

/// [`f64::is_normal`], in comparisons that vectorise.
#[inline(always)]
pub(super) fn is_normal(x: f64) -> bool {
    (x.abs() >= f64::MIN_POSITIVE) & x.is_finite()
}
