//! Computes the parameters that the kernels apply from statistics, weight, bias and `eps`.

use crate::exec::Normalization;
use crate::spec::fallback::FactoredScale;

/// Mean and variance of each feature.
#[derive(Clone, Copy)]
pub(super) struct Statistics<'a> {
    pub(super) mean: &'a [f64],
    /// The low words of the means, if known.
    pub(super) mean_low: Option<&'a [f64]>,
    pub(super) variance: &'a [f64],
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
pub(super) fn fill(to: &mut Normalization, statistics: Statistics<'_>, eps: f64, layer: WeightBias<'_>) {
    let Statistics { mean, mean_low, variance } = statistics;
    let Normalization { parameters, factored } = to;
    factored.clear();
    parameters.set(mean.len(), |[to_mean, to_scale, to_bias]| {
        to_mean.copy_from_slice(mean);
        for (scale, variance) in to_scale.iter_mut().zip(variance) {
            *scale = inverse_deviation(*variance, eps);
        }
        let mut out_of_range = false;
        if let Some(weight) = layer.weight {
            for (scale, weight) in to_scale.iter_mut().zip(weight) {
                let factor = *scale;
                *scale *= weight;
                out_of_range |= !scale.is_normal() && is_factor(factor) && is_factor(*weight);
            }
        }
        match layer.bias {
            Some(bias) => to_bias.copy_from_slice(bias),
            None => to_bias.fill(0.0),
        }
        for ((bias, scale), mean_low) in to_bias.iter_mut().zip(&*to_scale).zip(mean_low.unwrap_or_default()) {
            let correction = mean_low * scale;
            // With an infinite scale the correction is not finite; the scale alone then determines the output.
            *bias -= if correction.is_finite() { correction } else { 0.0 };
        }
        for feature in 0..if out_of_range { mean.len() } else { 0 } {
            let factors = FactoredScale {
                feature,
                mean: mean[feature],
                mean_low: mean_low.map_or(0.0, |low| low[feature]),
                inverse_deviation: inverse_deviation(variance[feature], eps),
                weight: layer.weight.map_or(1.0, |weight| weight[feature]),
                bias: layer.bias.map_or(0.0, |bias| bias[feature]),
            };
            if !to_scale[feature].is_normal() && is_factor(factors.inverse_deviation) && is_factor(factors.weight) {
                factored.push(factors);
                (to_mean[feature], to_scale[feature], to_bias[feature]) = (0.0, 1.0, 0.0);
            }
        }
    });
}

fn inverse_deviation(variance: f64, eps: f64) -> f64 {
    let sum = variance + eps;
    if sum == 0.0 { 0.0 } else { 1.0 / sum.sqrt() }
}

/// Whether a number is finite and not 0.
fn is_factor(x: f64) -> bool {
    x.is_finite() && x != 0.0
}
