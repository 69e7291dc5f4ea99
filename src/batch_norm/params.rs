//! From statistics to what the kernels apply.

use crate::kernels::Affine;

/// Scale and shift of a layer, each optional.
#[derive(Clone, Copy)]
pub(super) struct WeightBias<'a> {
    pub(super) weight: Option<&'a [f64]>,
    pub(super) bias: Option<&'a [f64]>,
}

/// Fills `affine` for statistics with these variances: `scale = weight / sqrt(variance + eps)`.
///
/// A variance and an `eps` of 0 give a scale of 0, so the feature becomes its bias (as PyTorch's kernels have it)
/// rather than NaN. What the mean leaves over, if it is known, goes into the bias: `(x - mean - rest) * scale + bias`.
pub(super) fn fill(
    affine: &mut Affine,
    mean: &[f64],
    rest: Option<&[f64]>,
    variance: &[f64],
    eps: f64,
    layer: WeightBias<'_>,
) {
    affine.set(mean.len(), |[to_mean, to_scale, to_bias]| {
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
        for ((bias, scale), rest) in to_bias.iter_mut().zip(&*to_scale).zip(rest.unwrap_or_default()) {
            let shift = rest * scale;
            // Not of an infinite weight, which decides alone.
            *bias -= if shift.is_finite() { shift } else { 0.0 };
        }
    });
}
