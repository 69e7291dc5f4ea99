//! The fallback: values that the fast sums cannot handle (NaN, infinities, overflow, means that are no shift).
//!
//! They are rare, so this is plain code. All paths share it, because it is part of the definition of the result (step 5 of
//! [`crate::spec::order`]).

use super::{DoubleDouble, FeatureMoments};

/// Mean and m2 of at least one value, whatever they are.
///
/// - a NaN, or infinities of both signs: mean NaN, m2 NaN; infinities of one sign: that infinity, m2 NaN;
/// - finite values: the mean is right even where the sum overflows; m2 is infinite where it exceeds `f64::MAX`.
///
/// Three passes (mean, its correction, then deviations with their own mean taken out), all with compensated sums
/// (Neumaier 1974), so the error is a few 2^-53 whatever the data.
pub(crate) fn moments(values: impl Iterator<Item = f64> + Clone) -> FeatureMoments<f64> {
    let (mut largest, mut count) = (0f64, 0f64);
    // Of these alone: finite values might overflow to an infinity of the other sign first.
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
    // Scaled by a power of two, sums of 2^60 values of the largest exponent stay finite; nothing else is rounded.
    let scale = if largest > 2f64.powi(960) { 2f64.powi(-64) } else { 1.0 };
    let scaled = values.map(|x| x * scale);
    // The mean may still be a unit or two off, which is far where the values differ in a few units: once more. (Where they
    // do not differ, these deviations are that unit or two, their sum is exact, and the shift is the value.)
    let mut shift = rounded(sum(scaled.clone().map(|x| (x, 0.0)))) / count;
    shift += rounded(sum(scaled.clone().map(|x| (x - shift, 0.0)))) / count;

    // No more is left of the mean than half a unit of it. What this takes out of the squares is no more than they are, and
    // where it is not far less, deviations are so few units that they are exact.
    let first = rounded(sum(scaled.clone().map(|x| (x - shift, 0.0))));
    let (second, compensation) = sum(scaled.map(|x| square(x - shift)));
    let offset = first / count;
    let (mean, m2) = (two_sum(shift, offset), two_sum(second, compensation - first * offset));
    unscaled(FeatureMoments { mean, m2 }, scale)
}

/// The moments of values that were scaled by a power of two. An m2 that is not finite has overflowed; one that rounding
/// made negative is 0.
fn unscaled(moments: FeatureMoments<f64>, scale: f64) -> FeatureMoments<f64> {
    let FeatureMoments { mean, m2 } = moments;
    let high = m2.high / scale / scale;
    let m2 = match high.is_finite() {
        true if high > 0.0 => DoubleDouble { high, low: m2.low / scale / scale },
        true => DoubleDouble { high: 0.0, low: 0.0 },
        false => DoubleDouble { high: f64::INFINITY, low: 0.0 },
    };
    FeatureMoments { mean: DoubleDouble { high: mean.high / scale, low: mean.low / scale }, m2 }
}

/// Sums of squares past this may overflow on the way, where numbers are split in halves.
const LARGE: f64 = f64::from_bits((1023 + 900) << 52);

/// Whether Chan's formula can merge two parts of `count` values in all: no step of it overflows or meets an infinity.
#[inline(always)]
pub(crate) fn merges_plainly(mean_a: f64, m2_a: f64, mean_b: f64, m2_b: f64, count: f64) -> bool {
    let delta = mean_b - mean_a;
    m2_a + m2_b + delta * delta * count <= LARGE
}

/// Merges two parts by `chan`, which is Chan's formula; where they do not [merge plainly](merges_plainly), scaled by a power
/// of two, so that the difference of their means cannot overflow.
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
    let scale = 2f64.powi(-64);
    let times = |x: DoubleDouble<f64>, factor: f64| DoubleDouble { high: x.high * factor, low: x.low * factor };
    let scaled =
        |x: FeatureMoments<f64>| FeatureMoments { mean: times(x.mean, scale), m2: times(times(x.m2, scale), scale) };
    unscaled(chan(scaled(a), scaled(b)), scale)
}

/// `d * d` as the exact square of d's upper half (sign, exponent and 26 bits), and the small remainder.
pub(crate) fn square(d: f64) -> (f64, f64) {
    const UPPER_HALF: u64 = !0 << 27;
    let high = f64::from_bits(d.to_bits() & UPPER_HALF);
    (high * high, (d - high) * (d + high))
}

/// The moments of values whose sum is a NaN or infinite, and not from overflow.
pub(crate) fn not_finite(sum: f64) -> FeatureMoments<f64> {
    FeatureMoments { mean: DoubleDouble { high: sum, low: 0.0 }, m2: DoubleDouble { high: f64::NAN, low: 0.0 } }
}

/// Compensated sum of values, each with a small remainder: a plain sum, and its rounding errors and the remainders, summed
/// apart (0 where the sum is not finite).
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

/// `a + b` as a rounded sum and its exact error (Knuth 1969).
fn two_sum(a: f64, b: f64) -> DoubleDouble<f64> {
    let high = a + b;
    let b_part = high - a;
    DoubleDouble { high, low: (a - (high - b_part)) + (b - b_part) }
}
