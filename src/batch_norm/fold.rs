//! Folding a frozen layer into the linear layer or the convolution before or after it.

use super::Inference;
use crate::exec::Normalization;
use crate::spec::two_product;
use crate::{Activation, Element, Error, Result};
use alloc::vec::Vec;

/// Folding: the weights of a neighbouring layer take over what this layer does, which then costs nothing.
///
/// All methods work in place, on the weight and the bias of that layer in PyTorch's order. A layer without a bias gets
/// one: pass zeros, and use what they become. Numbers are computed in f64 and rounded to the element type once. A failed
/// call leaves everything unchanged.
///
/// # What folding costs
/// [`Inference::forward`] subtracts the mean before it scales, so a large mean loses no digits. A folded layer adds
/// large numbers that cancel instead: at a mean of `r` standard deviations its outputs are several `r` units of rounding
/// (2^-24 for f32) off, relative to their own standard deviation. Folded into the layer *after*, this is the loss.
/// Folded into the layer *before*, little is lost, because that layer rounds its large outputs in any case. (A mean that
/// is in the bias of the layer before costs nothing once folded: it cancels in f64.)
///
/// `cargo run --release --example folding` prints the largest error, in standard deviations of the output, of f32 layers
/// of 64 inputs:
///
/// | mean / standard deviation | linear, then this: apart | folded | this, then linear: apart | folded |
/// |---|---|---|---|---|
/// | 1 | 2.2e-6 | 1.9e-6 | 1.9e-6 | 2.5e-6 |
/// | 100 | 1.7e-4 | 1.2e-4 | 1.9e-6 | 1.8e-4 |
/// | 1e4 | 1.8e-2 | 1.3e-2 | 1.8e-6 | 1.4e-2 |
/// | 1e6 | 1.5 | 1.4 | 3.4e-6 | 1.4 |
impl Inference {
    /// Folds this layer into the linear layer before it: `normalise(weight * x + bias)` becomes `weight * x + bias`.
    ///
    /// `weight` is `[out, in]`, row by row, and `bias` is `[out]`, where `out` is the number of features of this layer.
    /// `weight *= scale` in each row, and `bias = (bias - running_mean) * scale + shift`, with the scale and the bias
    /// (shift) of this layer, as PyTorch's `fuse_linear_bn_weights`. An activation of this layer stays to be applied.
    ///
    /// # Errors
    /// [`Error::ParameterLength`] if `bias` does not have one value per feature, [`Error::WeightMultiple`] if `weight`
    /// does not have as many values for each feature.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let mut bn = BatchNorm::new(2).with_eps(0.0)?;
    /// bn.set_running_mean(&[1.0, 2.0])?;
    /// bn.set_running_var(&[4.0, 0.25])?;
    /// let (mut weight, mut bias) = ([2.0f32, 4.0, 1.0, 3.0], [0.0f32, 0.0]); // two inputs, no bias
    /// bn.to_inference().fold_into_linear(&mut weight, &mut bias)?;
    /// assert_eq!((weight, bias), ([1.0, 2.0, 2.0, 6.0], [-0.5, -4.0]));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn fold_into_linear<T: Element>(&self, weight: &mut [T], bias: &mut [T]) -> Result<()> {
        let features = self.num_features();
        check_bias(features, bias.len())?;
        let each = each(features, weight.len())?;
        for (feature, factors) in self.factors().enumerate() {
            bias[feature] = factors.normalize(bias[feature]);
            for weight in &mut weight[feature * each..][..each] {
                *weight = factors.scale(*weight);
            }
        }
        Ok(())
    }

    /// Folds this layer into the convolution before it, of any number of dimensions and groups, like
    /// [`Inference::fold_into_linear`].
    ///
    /// `weight` is `[out, in / groups, kernel...]`, and `bias` is `[out]`, where `out` is the number of features of this
    /// layer. Padding and stride do not matter.
    ///
    /// # Errors
    /// As for [`Inference::fold_into_linear`].
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let mut bn = BatchNorm::new(2).with_eps(0.0)?;
    /// bn.set_running_var(&[4.0, 0.25])?;
    /// let (mut weight, mut bias) = ([2.0f32, 4.0, 6.0, 1.0, 2.0, 3.0], [1.0f32, 1.0]); // [2, 1, 3]
    /// bn.to_inference().fold_into_conv(&mut weight, &mut bias)?;
    /// assert_eq!((weight, bias), ([1.0, 2.0, 3.0, 2.0, 4.0, 6.0], [0.5, 2.0]));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn fold_into_conv<T: Element>(&self, weight: &mut [T], bias: &mut [T]) -> Result<()> {
        self.fold_into_linear(weight, bias)
    }

    /// Folds this layer into the transposed convolution before it, of any number of dimensions, like
    /// [`Inference::fold_into_linear`].
    ///
    /// `weight` is `[in, out / groups, kernel...]`, where `in` is `in_channels`, and `bias` is `[out]`, where `out` is
    /// the number of features of this layer. Padding and stride do not matter.
    ///
    /// # Errors
    /// [`Error::ParameterLength`] if `bias` does not have one value per feature, [`Error::Groups`] if the features or
    /// the input channels cannot be split into so many groups, [`Error::WeightMultiple`] if the length of `weight` is no
    /// multiple of `in * out / groups`.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let mut bn = BatchNorm::new(2).with_eps(0.0)?;
    /// bn.set_running_var(&[4.0, 0.25])?;
    /// let (mut weight, mut bias) = ([2.0f32, 1.0, 4.0, 2.0], [0.0f32, 0.0]); // [2, 2, 1]
    /// bn.to_inference().fold_into_conv_transpose(&mut weight, &mut bias, 2, 1)?;
    /// assert_eq!(weight, [1.0, 2.0, 2.0, 4.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn fold_into_conv_transpose<T: Element>(
        &self,
        weight: &mut [T],
        bias: &mut [T],
        in_channels: usize,
        groups: usize,
    ) -> Result<()> {
        let features = self.num_features();
        check_bias(features, bias.len())?;
        let (out, inputs) = (per_group(features, groups)?, per_group(in_channels, groups)?);
        let kernel = each(in_channels.saturating_mul(out), weight.len())?;
        // No weights fit any number of channels, even one that takes years to count to.
        let inputs = if weight.is_empty() { 0 } else { inputs };
        for (feature, factors) in self.factors().enumerate() {
            bias[feature] = factors.normalize(bias[feature]);
            let (group, column) = (feature / out, feature % out);
            for input in group * inputs..(group + 1) * inputs {
                for weight in &mut weight[(input * out + column) * kernel..][..kernel] {
                    *weight = factors.scale(*weight);
                }
            }
        }
        Ok(())
    }

    /// Folds this layer into the linear layer after it: `weight * normalise(x) + bias` becomes `weight * x + bias`.
    ///
    /// `weight` is `[out, in]`, row by row, where `in` is the number of features of this layer, and `bias` is `[out]`.
    /// Each column of the weight is scaled, and each bias gets the sum of its row times the shifts
    /// `bias - running_mean * scale` of this layer: compensated, and with the scaled weights as they are rounded, so that
    /// their rounding errors do not grow with the mean.
    ///
    /// # Errors
    /// [`Error::WeightLength`] if `weight` does not have one value per output and feature,
    /// [`Error::ActivationInBetween`] if this layer has an activation.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let mut bn = BatchNorm::new(2).with_eps(0.0)?;
    /// bn.set_running_mean(&[1.0, 2.0])?;
    /// bn.set_running_var(&[4.0, 0.25])?;
    /// let (mut weight, mut bias) = ([2.0f32, 1.0], [0.5f32]); // two inputs, one output
    /// bn.to_inference().fold_into_following_linear(&mut weight, &mut bias)?;
    /// assert_eq!((weight, bias), ([1.0, 2.0], [-4.5])); // 0.5 + 2 * (0 - 1 * 0.5) + 1 * (0 - 2 * 2)
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn fold_into_following_linear<T: Element>(&self, weight: &mut [T], bias: &mut [T]) -> Result<()> {
        let (needed, given) = (bias.len().saturating_mul(self.num_features()), weight.len());
        if given != needed {
            return Err(Error::WeightLength { needed, given });
        }
        self.fold_into_following_conv(weight, bias, 1)
    }

    /// Folds this layer into the convolution after it, of any number of dimensions, like
    /// [`Inference::fold_into_following_linear`].
    ///
    /// The convolution must not pad: its zeros are those of normalised values, and a folded layer would pad with zeros
    /// of its own input. (For the same reason there is no such folding into a transposed convolution, whose borders add
    /// fewer values.) `weight` is `[out, in / groups, kernel...]`, where `in` is the number of features of this layer,
    /// and `bias` is `[out]`.
    ///
    /// # Errors
    /// [`Error::Groups`] if the features or the outputs cannot be split into so many groups, [`Error::WeightMultiple`]
    /// if the length of `weight` is no multiple of `out * in / groups`, [`Error::ActivationInBetween`] if this layer has
    /// an activation.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let mut bn = BatchNorm::new(1).with_eps(0.0)?;
    /// bn.set_running_mean(&[1.0])?;
    /// bn.set_running_var(&[4.0])?;
    /// let (mut weight, mut bias) = ([2.0f32, 4.0, 6.0], [0.0f32]); // [1, 1, 3]
    /// bn.to_inference().fold_into_following_conv(&mut weight, &mut bias, 1)?;
    /// assert_eq!((weight, bias), ([1.0, 2.0, 3.0], [-6.0]));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn fold_into_following_conv<T: Element>(&self, weight: &mut [T], bias: &mut [T], groups: usize) -> Result<()> {
        let activation = self.activation();
        if activation != Activation::None {
            return Err(Error::ActivationInBetween { activation });
        }
        let (inputs, out) = (per_group(self.num_features(), groups)?, per_group(bias.len(), groups)?);
        let kernel = each(bias.len().saturating_mul(inputs), weight.len())?;
        let factors: Vec<Factors> = self.factors().collect();
        for (output, bias) in bias.iter_mut().enumerate() {
            let mut sum = Sum { high: bias.to_f64(), low: 0.0 };
            let group = output / out;
            for (input, factors) in factors[group * inputs..][..inputs].iter().enumerate() {
                for weight in &mut weight[(output * inputs + input) * kernel..][..kernel] {
                    let old = weight.to_f64();
                    *weight = factors.scale(*weight);
                    sum.add_product(old, factors.bias);
                    // The new weight as it is rounded, so that it is `x - mean` that its rounding error multiplies.
                    sum.add_product(-weight.to_f64(), factors.mean);
                }
            }
            *bias = T::from_f64(sum.rounded());
        }
        Ok(())
    }

    /// Returns what each feature is normalised by.
    fn factors(&self) -> impl Iterator<Item = Factors> {
        let Normalization { double, factored, .. } = &self.normalization;
        let mut factored = factored.iter().peekable();
        (0..double.features()).map(move |feature| match factored.next_if(|of| of.feature == feature) {
            Some(of) => Factors { mean: of.mean, scale: [of.inverse_deviation, of.weight], bias: of.bias },
            None => {
                let [mean, scale, bias] = double.feature(feature);
                Factors { mean, scale: [scale, 1.0], bias }
            }
        })
    }
}

/// `(x - mean) * scale + bias`. The scale is a product of two factors, because f64 may not hold it.
struct Factors {
    mean: f64,
    scale: [f64; 2],
    bias: f64,
}

impl Factors {
    fn scaled(&self, x: f64) -> f64 {
        x * self.scale[0] * self.scale[1]
    }

    fn scale<T: Element>(&self, weight: T) -> T {
        T::from_f64(self.scaled(weight.to_f64()))
    }

    fn normalize<T: Element>(&self, bias: T) -> T {
        T::from_f64(self.scaled(bias.to_f64() - self.mean) + self.bias)
    }
}

/// A compensated sum of products (Ogita, Rump and Oishi 2005): as accurate as if summed in twice the precision.
struct Sum {
    high: f64,
    low: f64,
}

impl Sum {
    fn add_product(&mut self, a: f64, b: f64) {
        let product = a * b;
        let sum = self.high + product;
        let part = sum - self.high;
        let lost = (self.high - (sum - part)) + (product - part);
        self.low += lost + product_error(a, b);
        self.high = sum;
    }

    /// Returns the sum. Without the compensation if it is not finite: infinity - infinity would be NaN.
    fn rounded(&self) -> f64 {
        if self.high.is_finite() { self.high + self.low } else { self.high }
    }
}

/// Returns the rounding error of a product; 0 where it is not known, because a number is too large to be split.
fn product_error(a: f64, b: f64) -> f64 {
    let low = two_product(a, b).low;
    if low.is_finite() { low } else { 0.0 }
}

/// Returns `a * b + c`, rounded once but for near-ties.
pub(super) fn product_sum(a: f64, b: f64, c: f64) -> f64 {
    let mut sum = Sum { high: c, low: 0.0 };
    sum.add_product(a, b);
    sum.rounded()
}

fn check_bias(expected: usize, given: usize) -> Result<()> {
    if given == expected { Ok(()) } else { Err(Error::ParameterLength { name: "bias", expected, given }) }
}

/// Returns how many values each of `parts` has.
fn each(parts: usize, given: usize) -> Result<usize> {
    if parts == 0 && given == 0 {
        return Ok(0);
    }
    if parts != 0 && given.is_multiple_of(parts) {
        return Ok(given / parts);
    }
    Err(Error::WeightMultiple { of: parts, given })
}

/// Returns how many channels each of the groups has.
fn per_group(channels: usize, groups: usize) -> Result<usize> {
    if groups != 0 && channels.is_multiple_of(groups) {
        Ok(channels / groups)
    } else {
        Err(Error::Groups { channels, groups })
    }
}
