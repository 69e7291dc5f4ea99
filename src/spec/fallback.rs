//! The fallback, for chunks that the fast sums cannot handle: NaN, infinities, overflow, and values for which no mean
//! is a good shift.
//!
//! Such chunks are rare, so this is plain code. All paths share it, because it is part of the definition of the result
//! (step 5 of [`spec::order`](crate::spec::order)).

use core::ops::Range;

use super::double_double::{product, quotient, triple, two_sum};
use super::{DoubleDouble, FeatureMoments, TripleDouble, power_of_two, same_bits};
use crate::{Element, Layout};

/// Returns mean and m2 of one or more values, which need not be finite:
///
/// - With a NaN, or with infinities of both signs, mean and m2 are NaN. With infinities of one sign, the mean is that
///   infinity and m2 is NaN.
/// - With finite values, the mean is accurate even if their sum overflows, and m2 is infinite if it exceeds `f64::MAX`.
///
/// Computes the mean, then a correction of the mean, then m2 from deviations whose own mean is subtracted. All sums are
/// compensated (Neumaier 1974), so the error is a few 2^-53 for any data.
pub(crate) fn moments(values: impl Iterator<Item = f64> + Clone) -> FeatureMoments<f64> {
    let (mut largest, mut count) = (0f64, 0f64);
    // Sums the non-finite values only: a sum that includes finite values might first overflow to an infinity of the
    // other sign.
    let mut infinities = 0.0;
    for x in values.clone() {
        if !x.is_finite() {
            infinities += x;
            if infinities.is_nan() {
                return not_finite(infinities);
            }
        }
        largest = largest.max(x.abs());
        count += 1.0;
    }
    if infinities != 0.0 {
        return not_finite(infinities);
    }
    // With this scale, a sum of 2^60 values of the largest exponent stays finite. It is a power of two, so scaling
    // rounds only values that are negligible compared to these.
    let scale = if largest > power_of_two(960) { power_of_two(-64) } else { 1.0 };
    let scaled = values.map(|x| x * scale);
    // The mean may be a unit or two in the last place off, which is far if the values differ by only a few units, so it
    // is corrected once. (If the values do not differ, the deviations are that unit or two, their sum is exact, and the
    // corrected shift is the value itself.)
    let mut shift = rounded(sum(scaled.clone().map(|x| (x, 0.0)))) / count;
    shift += rounded(sum(scaled.clone().map(|x| (x - shift, 0.0)))) / count;

    // The shift is now within about a unit in the last place of the mean. What it missed is kept in two words, because
    // it may be most of a standard deviation.
    let (first, compensation) = sum(scaled.clone().map(|x| (x - shift, 0.0)));
    let first = two_sum(first, compensation);
    let offset = quotient(first, count);
    let (second, compensation) = sum(scaled.map(|x| square(x - shift)));
    let (squares, excess) = (two_sum(second, compensation), product(first, offset));
    let m2 = two_sum(squares.high, -excess.high);
    let m2 = two_sum(m2.high, m2.low + (squares.low - excess.low));
    let mean = triple(shift, offset);
    unscaled(FeatureMoments { mean, m2 }, scale)
}

/// Undoes the scaling of moments by a power of two. An m2 that is not finite has overflowed and becomes infinite; an m2
/// that rounding made negative becomes 0.
fn unscaled(moments: FeatureMoments<f64>, scale: f64) -> FeatureMoments<f64> {
    let FeatureMoments { mean, m2 } = moments;
    let high = m2.high / scale / scale;
    let m2 = match high.is_finite() {
        true if high > 0.0 => DoubleDouble { high, low: m2.low / scale / scale },
        true => DoubleDouble { high: 0.0, low: 0.0 },
        false => DoubleDouble { high: f64::INFINITY, low: 0.0 },
    };
    let TripleDouble { high, middle, low } = mean;
    FeatureMoments { mean: TripleDouble { high: high / scale, middle: middle / scale, low: low / scale }, m2 }
}

/// Sums of squares above this may overflow in intermediate results, where numbers are split into halves.
const LARGE: f64 = power_of_two(900);

/// Returns whether Chan's formula can merge two parts of `count` values in total: no step of it overflows or meets an
/// infinity.
#[inline(always)]
pub(crate) fn merges_plainly(mean_a: f64, m2_a: f64, mean_b: f64, m2_b: f64, count: f64) -> bool {
    let delta = mean_b - mean_a;
    m2_a + m2_b + delta * delta * count <= LARGE
}

/// Merges two parts by `chan`, which is Chan's formula. If they do not [merge plainly](merges_plainly), they are scaled
/// by a power of two first, so that the difference of their means cannot overflow.
pub(crate) fn merge(
    a: FeatureMoments<f64>,
    b: FeatureMoments<f64>,
    count: f64,
    chan: impl FnOnce(FeatureMoments<f64>, FeatureMoments<f64>) -> FeatureMoments<f64>,
) -> FeatureMoments<f64> {
    if merges_plainly(a.mean.high, a.m2.high, b.mean.high, b.m2.high, count) {
        return chan(a, b);
    }
    if !a.mean.high.is_finite() || !b.mean.high.is_finite() {
        return not_finite(a.mean.high + b.mean.high);
    }
    let scale = power_of_two(-64);
    let scaled = |x: FeatureMoments<f64>| {
        let (mean, m2) = (x.mean, x.m2);
        FeatureMoments {
            mean: TripleDouble { high: mean.high * scale, middle: mean.middle * scale, low: mean.low * scale },
            m2: DoubleDouble { high: m2.high * scale * scale, low: m2.low * scale * scale },
        }
    };
    unscaled(chan(scaled(a), scaled(b)), scale)
}

/// Splits `d * d` into the exact square of d's upper half (sign, exponent and 26 bits) and a small remainder.
pub(crate) fn square(d: f64) -> (f64, f64) {
    let high = upper_half(d);
    (high * high, (d - high) * (d + high))
}

/// Returns sign, exponent and the first 26 bits of a number.
pub(crate) fn upper_half(x: f64) -> f64 {
    const UPPER_HALF: u64 = !0 << 27;
    f64::from_bits(x.to_bits() & UPPER_HALF)
}

/// Returns the moments of values whose `sum` is NaN or infinite because some of the values are.
pub(crate) fn not_finite(sum: f64) -> FeatureMoments<f64> {
    let mean = TripleDouble { high: sum, middle: 0.0, low: 0.0 };
    FeatureMoments { mean, m2: DoubleDouble { high: f64::NAN, low: 0.0 } }
}

/// Normalises a feature whose scale, `weight / sqrt(variance + eps)`, is too large or too small for a normal f64,
/// though the outputs need not be. Instead of the scale it has both of its factors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FactoredScale {
    pub(crate) feature: usize,
    pub(crate) mean: f64,
    /// What is left of the mean after rounding it to f64.
    pub(crate) mean_low: f64,
    /// `1 / sqrt(variance + eps)`.
    pub(crate) inverse_deviation: f64,
    pub(crate) weight: f64,
    pub(crate) bias: f64,
}

impl FactoredScale {
    /// Normalises the values of the feature in place.
    pub(crate) fn normalize<T: Element>(&self, layout: Layout, y: &mut [T]) {
        map_feature(layout, self.feature, y, |x| {
            let deviation = x - self.mean - self.mean_low;
            deviation * self.inverse_deviation * self.weight + self.bias
        });
    }

    /// Multiplies each `dy` of the feature by the scale.
    pub(crate) fn scale<T: Element>(&self, layout: Layout, dy: &mut [T]) {
        map_feature(layout, self.feature, dy, |dy| dy * self.inverse_deviation * self.weight);
    }
}

/// The gradient of a feature whose scale, `weight / sqrt(variance + eps)`, or slope, `sum(dy * (x - mean)) / (n *
/// (variance + eps))`, is too large or too small for a normal f64, though the gradients need not be. It has their
/// factors instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FactoredGradient {
    pub(crate) feature: usize,
    pub(crate) mean: f64,
    /// What is left of the mean after rounding it to f64.
    pub(crate) mean_low: f64,
    /// `sum(dy) / n`.
    pub(crate) mean_dy: f64,
    /// `sum(dy * (x - mean)) / (n * sqrt(variance + eps))`.
    pub(crate) projection: f64,
    /// `1 / sqrt(variance + eps)`.
    pub(crate) inverse_deviation: f64,
    pub(crate) weight: f64,
}

impl FactoredGradient {
    /// Replaces each `dy` of the feature by the gradient with respect to its `x`.
    pub(crate) fn apply<T: Element>(&self, layout: Layout, x: &[T], dy: &mut [T]) {
        map_feature_with(layout, self.feature, x, dy, |x, dy| {
            let normalized = (x - self.mean - self.mean_low) * self.inverse_deviation;
            let through = dy - self.mean_dy - normalized * self.projection;
            // By one factor after the other only if both are large or both small.
            let scale = self.inverse_deviation * self.weight;
            if scale.is_normal() { through * scale } else { through * self.inverse_deviation * self.weight }
        });
    }
}

/// Normalises the values of a feature in place, in f64, because its parameters are out of f32's range.
pub(crate) fn normalize<T: Element>(layout: Layout, feature: usize, [mean, scale, bias]: [f64; 3], y: &mut [T]) {
    map_feature(layout, feature, y, |x| (x - mean) * scale + bias);
}

/// Replaces each `dy` of a feature by the gradient with respect to its `x`, in f64, because its parameters are out of
/// f32's range.
pub(crate) fn input_gradient<T: Element>(
    layout: Layout,
    feature: usize,
    [mean, slope, offset, scale]: [f64; 4],
    x: &[T],
    dy: &mut [T],
) {
    map_feature_with(layout, feature, x, dy, |x, dy| ((dy - offset) - (x - mean) * slope) * scale);
}

/// Copies the values of one feature of a batch that has values.
pub(crate) fn copy_feature<T: Element>(layout: Layout, feature: usize, x: &[T], y: &mut [T]) {
    for range in ranges(layout, feature, y.len()) {
        y[range.clone()].copy_from_slice(&x[range]);
    }
}

/// Maps the values of one feature of a batch that has values.
fn map_feature<T: Element>(layout: Layout, feature: usize, y: &mut [T], map: impl Fn(f64) -> f64) {
    for range in ranges(layout, feature, y.len()) {
        for y in &mut y[range] {
            *y = T::from_f64(map(y.to_f64()));
        }
    }
}

/// Returns where the values of one feature lie in a batch of `len` values.
pub(super) fn ranges(layout: Layout, feature: usize, len: usize) -> impl Iterator<Item = Range<usize>> {
    let (inner, block) = (layout.inner(), layout.features() * layout.inner());
    (feature * inner..len).step_by(block).map(move |start| start..start + inner)
}

/// Maps the values of one feature, each with the value of `x` at the same place.
fn map_feature_with<T: Element>(layout: Layout, feature: usize, x: &[T], y: &mut [T], map: impl Fn(f64, f64) -> f64) {
    let (inner, block) = (layout.inner(), layout.features() * layout.inner());
    for (x, y) in x.chunks_exact(block).zip(y.chunks_exact_mut(block)) {
        let part = feature * inner..(feature + 1) * inner;
        for (x, y) in x[part.clone()].iter().zip(&mut y[part]) {
            *y = T::from_f64(map(x.to_f64(), y.to_f64()));
        }
    }
}

impl PartialEq for FactoredScale {
    fn eq(&self, other: &Self) -> bool {
        let words = |x: &Self| [x.mean, x.mean_low, x.inverse_deviation, x.weight, x.bias];
        self.feature == other.feature && same_bits(&words(self), &words(other))
    }
}

/// Returns the compensated sum of values that have a small remainder each: the plain sum, and a compensation term that
/// holds its rounding errors and the remainders (0 if the sum is not finite).
fn sum(values: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    let (mut sum, mut compensation) = (0.0, 0.0);
    for (x, remainder) in values {
        let next = two_sum(sum, x);
        sum = next.high;
        compensation += remainder + next.low;
    }
    (sum, if sum.is_finite() { compensation } else { 0.0 })
}

fn rounded((sum, compensation): (f64, f64)) -> f64 {
    sum + compensation
}
