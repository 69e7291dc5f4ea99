//! Computes the parameters that the kernels apply from statistics, weight, bias and `eps`.

use crate::kernels::map::Parameters;

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
pub(super) fn fill(to: &mut Parameters<f64, 3>, statistics: Statistics<'_>, eps: f64, layer: WeightBias<'_>) {
    let Statistics { mean, mean_low, variance } = statistics;
    to.set(mean.len(), |[to_mean, to_scale, to_bias]| {
        to_mean.copy_from_slice(mean);
        for (scale, variance) in to_scale.iter_mut().zip(variance) {
            let sum = variance + eps;
            *scale = if sum == 0.0 { 0.0 } else { 1.0 / sum.sqrt() };
        }
        if let Some(weight) = layer.weight {
            for (scale, weight) in to_scale.iter_mut().zip(weight) {
                *scale *= weight;
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
    });
}
