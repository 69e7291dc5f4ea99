//! The values that the fast sums cannot handle: NaN, infinities, overflow, and a pivot far from the mean.
//!
//! Rare, so plain code, and shared by all paths: it is part of the definition of the result (step 5 of
//! [`crate::order`]). Imports nothing of the crate.

/// Mean, what the mean leaves over, and sum of squared deviations of a run of values or of two runs joined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stats {
    pub(crate) mean: f64,
    pub(crate) rest: f64,
    pub(crate) m2: f64,
}

/// Mean and m2 of at least one value, whatever they are.
///
/// - a NaN, or infinities of both signs: mean NaN, m2 NaN; infinities of one sign: that infinity, m2 NaN;
/// - finite values: the mean is right even where the sum overflows; m2 is infinite where it exceeds `f64::MAX`.
///
/// Two passes (mean, then deviations with their own mean taken out), both with compensated sums (Neumaier 1974), so the
/// error is a few 2^-53 whatever the data.
pub(crate) fn moments(values: impl Iterator<Item = f64> + Clone) -> Stats {
    let (mut largest, mut count, mut finite) = (0f64, 0f64, true);
    for x in values.clone() {
        largest = largest.max(x.abs());
        count += 1.0;
        finite &= x.is_finite();
    }
    if !finite {
        // Only these: finite values might overflow to an infinity of the other sign first.
        return not_finite(values.filter(|x| !x.is_finite()).sum());
    }
    // Scaled by a power of two, sums of 2^60 values of the largest exponent stay finite; nothing else is rounded.
    let scale = if largest > 2f64.powi(960) { 2f64.powi(-64) } else { 1.0 };
    let pivot = sum(values.clone().map(|x| x * scale)) / count;
    let deviations = values.map(|x| x * scale - pivot);
    let first = sum(deviations.clone());
    let second = sum(deviations.map(|d| d * d));
    let offset = first / count;
    let (mean, rest) = two_sum(pivot, offset);
    let m2 = (second - first * offset).max(0.0);
    let m2 = if second.is_finite() { m2 / scale / scale } else { f64::INFINITY };
    Stats { mean: mean / scale, rest: rest / scale, m2 }
}

/// Joins two runs where Chan's formula gave no finite mean.
pub(crate) fn merge(a: Stats, count_a: f64, b: Stats, count_b: f64) -> Stats {
    if !a.mean.is_finite() || !b.mean.is_finite() {
        return not_finite(a.mean + b.mean);
    }
    // The difference of the means overflowed, so its square does, too.
    let n = count_a + count_b;
    Stats { mean: a.mean * (count_a / n) + b.mean * (count_b / n), rest: 0.0, m2: f64::INFINITY }
}

fn not_finite(sum: f64) -> Stats {
    Stats { mean: sum, rest: 0.0, m2: f64::NAN }
}

/// Compensated sum: the rounding errors of a plain sum, summed apart and added at the end.
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut total, mut error) = (0.0, 0.0);
    for x in values {
        let (next, e) = two_sum(total, x);
        total = next;
        error += e;
    }
    // Where the total overflowed, its error is NaN.
    if total.is_finite() { total + error } else { total }
}

/// `a + b` as a rounded sum and its exact error (Knuth 1969).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}
