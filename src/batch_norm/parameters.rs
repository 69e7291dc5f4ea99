//! Computes the parameters that the kernels apply from statistics, weight, bias and `eps`.

use crate::exec::Normalization;
use crate::lanes::{Job, Simd};
use crate::spec::fallback::FactoredScale;
use crate::spec::power_of_two;
use crate::{Moments, Path};

/// Mean and variance of each feature.
#[derive(Clone, Copy)]
pub(super) struct Statistics<'a> {
    pub(super) mean: &'a [f64],
    /// The low words of the means, if known.
    pub(super) mean_low: Option<&'a [f64]>,
    pub(super) variance: &'a [f64],
}

impl<'a> Statistics<'a> {
    /// Those of a batch, with its population variances.
    pub(super) fn of(moments: &'a Moments, variance: &'a [f64]) -> Self {
        let parts = moments.parts();
        Statistics { mean: parts.means, mean_low: Some(parts.means_middle), variance }
    }
}

/// Weight and bias of a layer, each optional.
#[derive(Clone, Copy)]
pub(super) struct WeightBias<'a> {
    pub(super) weight: Option<&'a [f64]>,
    pub(super) bias: Option<&'a [f64]>,
}

/// Sets mean, scale and bias of each feature: `scale = weight / sqrt(variance + eps)`.
///
/// If variance and `eps` are both 0, the scale is 0, so that the feature becomes its bias (as in PyTorch's kernels)
/// rather than NaN. The low word of the mean, times the scale, is subtracted from the bias:
/// `(x - mean - mean_low) * scale + bias`. Nothing cancels, because the low word is at most as large as any deviation
/// from the exact mean: the high word is the f64 nearest to the mean, and each `x` is an f64, too.
///
/// A scale that is no normal f64 although both of its factors are finite and not 0 is left to [`FactoredScale`]. The
/// kernels then get parameters that leave the values as they are.
pub(super) fn fill_double(
    path: Path,
    to: &mut Normalization,
    statistics: Statistics<'_>,
    eps: f64,
    layer: WeightBias<'_>,
) {
    let Statistics { mean, mean_low, variance } = statistics;
    let Normalization { double, factored, .. } = to;
    factored.clear();
    double.set(mean.len(), |[to_mean, to_scale, to_bias]| {
        let to = [&mut *to_mean, &mut *to_scale, &mut *to_bias];
        let in_range = path.run(Double { statistics, eps, layer, to });
        for feature in 0..if in_range { 0 } else { mean.len() } {
            let factors = FactoredScale {
                feature,
                mean: mean[feature],
                mean_low: mean_low.map_or(0.0, |low| low[feature]),
                inverse_deviation: inverse_deviation(variance[feature], eps),
                weight: layer.weight.map_or(1.0, |weight| weight[feature]),
                bias: layer.bias.map_or(0.0, |bias| bias[feature]),
            };
            if !is_normal(to_scale[feature]) && is_factor(factors.inverse_deviation) && is_factor(factors.weight) {
                factored.push(factors);
                [to_mean[feature], to_scale[feature], to_bias[feature]] = IDENTITY;
            }
        }
    });
}

/// Plain loops, which the compiler vectorises for the instruction set that runs them: batches may have a million
/// features with few values each.
struct Double<'a> {
    statistics: Statistics<'a>,
    eps: f64,
    layer: WeightBias<'a>,
    to: [&'a mut [f64]; 3],
}

impl Job for Double<'_> {
    /// Whether every scale is in range, or not for want of finite factors other than 0.
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        let Double { statistics: Statistics { mean, mean_low, variance }, eps, layer, to: [to_mean, scales, biases] } =
            self;
        to_mean.copy_from_slice(mean);
        for (scale, variance) in scales.iter_mut().zip(variance) {
            *scale = inverse_deviation(*variance, eps);
        }
        let mut in_range = true;
        if let Some(weight) = layer.weight {
            for (scale, weight) in scales.iter_mut().zip(weight) {
                let factor = *scale;
                *scale *= weight;
                in_range &= is_normal(*scale) | !is_factor(factor) | !is_factor(*weight);
            }
        }
        match layer.bias {
            Some(bias) => biases.copy_from_slice(bias),
            None => biases.fill(0.0),
        }
        for ((bias, scale), mean_low) in biases.iter_mut().zip(scales).zip(mean_low.unwrap_or_default()) {
            let correction = mean_low * *scale;
            // With an infinite scale the correction is not finite; the scale alone then determines the output.
            *bias -= if correction.is_finite() { correction } else { 0.0 };
        }
        in_range
    }
}

/// Mean, scale and bias that leave every value as it is. (The bias is -0.0, because -0.0 + 0.0 is 0.0.)
const IDENTITY: [f64; 3] = [0.0, 1.0, -0.0];

/// Sets the parameters for computing in f32, from those for f64 and from what those are made of.
///
/// A feature whose parameters are out of range is left to f64. Its own parameters alone decide this, so no feature's
/// bits depend on another feature or on the data. The kernels that compute in f32 leave its values as they are.
pub(super) fn fill_single(path: Path, to: &mut Normalization, mean_low: Option<&[f64]>, layer: WeightBias<'_>) {
    let Normalization { double, single, only_double, factored, .. } = to;
    let [mean, scale, _] = double.arrays();
    only_double.clear();
    single.set(mean.len(), |[high, low, to_scale, to_bias]| {
        let to = [&mut *high, &mut *low, &mut *to_scale, &mut *to_bias];
        if !path.run(Single { mean, mean_low, scale, bias: layer.bias, to }) {
            let is_factored = |feature: &usize| factored.binary_search_by_key(feature, |of| of.feature).is_ok();
            let of = |feature: usize| {
                let mean_low = mean_low.map_or(0.0, |low| low[feature]);
                InSingle::new(mean[feature], mean_low, scale[feature], layer.bias.map_or(0.0, |bias| bias[feature]))
            };
            only_double.extend((0..mean.len()).filter(|f| !of(*f).in_range && !is_factored(f)));
        }
        for feature in only_double.iter().copied().chain(factored.iter().map(|of| of.feature)) {
            [high[feature], low[feature], to_scale[feature], to_bias[feature]] = [0.0, 0.0, 1.0, -0.0];
        }
    });
}

/// A plain loop, like [`Double`].
struct Single<'a> {
    mean: &'a [f64],
    mean_low: Option<&'a [f64]>,
    scale: &'a [f64],
    bias: Option<&'a [f64]>,
    to: [&'a mut [f32]; 4],
}

/// What stands for means' low words and biases that are not given, and how many features take it at a time.
const ZEROS: [f64; 64] = [0.0; 64];

impl<'a> Job for Single<'a> {
    /// Whether every feature is in range.
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        let Single { mean, mean_low, scale, bias, to: [highs, lows, scales, biases] } = self;
        let mut in_range = true;
        for start in (0..mean.len()).step_by(ZEROS.len()) {
            let block = start..mean.len().min(start + ZEROS.len());
            let of = |array: Option<&'a [f64]>| array.map_or(&ZEROS[..block.len()], |array| &array[block.clone()]);
            let (mean_low, bias) = (of(mean_low), of(bias));
            let (mean, scale) = (&mean[block.clone()], &scale[block.clone()]);
            let (highs, lows) = (&mut highs[block.clone()], &mut lows[block.clone()]);
            let (scales, biases) = (&mut scales[block.clone()], &mut biases[block.clone()]);
            for feature in 0..block.len() {
                let of = InSingle::new(mean[feature], mean_low[feature], scale[feature], bias[feature]);
                [highs[feature], lows[feature], scales[feature], biases[feature]] = of.words;
                in_range &= of.in_range;
            }
        }
        in_range
    }
}

/// The parameters of a feature, rounded to f32.
struct InSingle {
    /// High and low word of the mean, scale and bias.
    words: [f32; 4],
    /// Whether the bounds that [`numerics`](crate::numerics) states for f32 hold with these parameters.
    in_range: bool,
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
    fn new(mean: f64, mean_low: f64, scale: f64, bias: f64) -> Self {
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
        let scale_fits =
            (scale == 0.0) | !scale.is_finite() | (scale.abs() >= SMALLEST_SCALE) & (scale.abs() <= LARGEST_SCALE);
        let bias_fits = bias.is_nan() | (bias.abs() <= LARGEST_BIAS);
        let low_fits = (left.abs() <= power_of_two(-24) * f64::from(low).abs()) | (correction.abs() <= NEGLIGIBLE);
        let in_range = mean_fits & scale_fits & bias_fits & low_fits;
        InSingle { words: [high, low, scale as f32, bias as f32], in_range }
    }
}

#[inline(always)]
pub(super) fn inverse_deviation(variance: f64, eps: f64) -> f64 {
    let sum = variance + eps;
    if sum == 0.0 { 0.0 } else { 1.0 / sum.sqrt() }
}

/// Whether a number is finite and not 0.
#[inline(always)]
pub(super) fn is_factor(x: f64) -> bool {
    x.is_finite() & (x != 0.0)
}

/// [`f64::is_normal`], in comparisons that vectorise.
#[inline(always)]
fn is_normal(x: f64) -> bool {
    (x.abs() >= f64::MIN_POSITIVE) & x.is_finite()
}
