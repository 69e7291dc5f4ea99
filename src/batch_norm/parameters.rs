//! From statistics, weight, bias and eps to what the kernels apply.

use crate::kernels::map::Parameters;

/// Mean and variance of each feature.
#[derive(Clone, Copy)]
pub(super) struct Statistics<'a> {
    pub(super) mean: &'a [f64],
    /// The low words of the means, if they are known.
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
/// A variance and an `eps` of 0 give a scale of 0, so the feature becomes its bias (as PyTorch's kernels have it) rather
/// than NaN. The low word of the mean goes into the bias, times the scale: `(x - mean - mean_low) * scale + bias`. It is no
/// farther from 0 than any `x - mean` (the mean is the nearest f64), so nothing cancels.
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
            let shift = mean_low * scale;
            // Not of an infinite weight, which decides alone.
            *bias -= if shift.is_finite() { shift } else { 0.0 };
        }
    });
}
