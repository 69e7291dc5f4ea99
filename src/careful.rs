//! The values that the fast sums cannot handle: NaN, infinities, overflow, and means that are no pivot.
//!
//! Rare, so plain code, and shared by all paths: it is part of the definition of the result (step 5 of
//! [`crate::order`]). Imports nothing of the crate.

/// Mean and sum of squared deviations (m2) of a run of values, each an unevaluated pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stats {
    pub(crate) mean: f64,
    pub(crate) rest: f64,
    pub(crate) m2: f64,
    pub(crate) m2_rest: f64,
}

/// Mean and m2 of at least one value, whatever they are.
///
/// - a NaN, or infinities of both signs: mean NaN, m2 NaN; infinities of one sign: that infinity, m2 NaN;
/// - finite values: the mean is right even where the sum overflows; m2 is infinite where it exceeds `f64::MAX`.
///
/// Three passes (mean, its correction, then deviations with their own mean taken out), all with compensated sums
/// (Neumaier 1974), so the error is a few 2^-53 whatever the data.
pub(crate) fn moments(values: impl Iterator<Item = f64> + Clone) -> Stats {
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
    // do not differ, these deviations are that unit or two, their sum is exact, and the pivot is the value.)
    let mut pivot = rounded(sum(scaled.clone().map(|x| (x, 0.0)))) / count;
    pivot += rounded(sum(scaled.clone().map(|x| (x - pivot, 0.0)))) / count;

    // No more is left of the mean than half a unit of it. What this takes out of the squares is no more than they are, and
    // where it is not far less, deviations are so few units that they are exact.
    let first = rounded(sum(scaled.clone().map(|x| (x - pivot, 0.0))));
    let (second, lost) = sum(scaled.map(|x| square(x - pivot)));
    let offset = first / count;
    let (mean, rest) = two_sum(pivot, offset);
    let (m2, m2_rest) = two_sum(second, lost - first * offset);
    Stats { mean, rest, m2, m2_rest }.unscaled(scale)
}

impl Stats {
    /// Those of values that were scaled by a power of two. An m2 that is not finite has overflowed; one that rounding
    /// made negative is 0.
    fn unscaled(self, scale: f64) -> Stats {
        let m2 = self.m2 / scale / scale;
        let (m2, m2_rest) = match m2.is_finite() {
            true if m2 > 0.0 => (m2, self.m2_rest / scale / scale),
            true => (0.0, 0.0),
            false => (f64::INFINITY, 0.0),
        };
        Stats { mean: self.mean / scale, rest: self.rest / scale, m2, m2_rest }
    }
}

/// Sums of squares past this may overflow on the way, where numbers are split in halves.
const LARGE: f64 = f64::from_bits((1023 + 900) << 52);

/// Whether Chan's formula can join two runs of `count` values in all: no step of it overflows or meets an infinity.
#[inline(always)]
pub(crate) fn merges_plainly(mean_a: f64, m2_a: f64, mean_b: f64, m2_b: f64, count: f64) -> bool {
    let delta = mean_b - mean_a;
    m2_a + m2_b + delta * delta * count <= LARGE
}

/// Joins two runs by `join`, which is Chan's formula; where they do not [merge plainly](merges_plainly), scaled by a power of
/// two, so that the difference of their means cannot overflow.
pub(crate) fn merge(a: Stats, b: Stats, count: f64, join: impl FnOnce(Stats, Stats) -> Stats) -> Stats {
    if merges_plainly(a.mean, a.m2, b.mean, b.m2, count) {
        return join(a, b);
    }
    if !a.mean.is_finite() || !b.mean.is_finite() {
        return not_finite(a.mean + b.mean);
    }
    let scale = 2f64.powi(-64);
    let scaled = |Stats { mean, rest, m2, m2_rest }: Stats| Stats {
        mean: mean * scale,
        rest: rest * scale,
        m2: m2 * scale * scale,
        m2_rest: m2_rest * scale * scale,
    };
    join(scaled(a), scaled(b)).unscaled(scale)
}

/// `d * d` as the exact square of d's upper half (as [`crate::lanes::Lanes::upper_half`] has it), and the small rest.
pub(crate) fn square(d: f64) -> (f64, f64) {
    const UPPER_HALF: u64 = !0 << 27;
    let high = f64::from_bits(d.to_bits() & UPPER_HALF);
    (high * high, (d - high) * (d + high))
}

/// The moments of values whose sum is a NaN or infinite, and not from overflow.
pub(crate) fn not_finite(sum: f64) -> Stats {
    Stats { mean: sum, rest: 0.0, m2: f64::NAN, m2_rest: 0.0 }
}

/// Compensated sum of values, each with a small rest: a plain one, and its rounding errors and the rests, summed apart (0
/// where it is not finite).
fn sum(values: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    let (mut total, mut lost) = (0.0, 0.0);
    for (x, rest) in values {
        let (next, error) = two_sum(total, x);
        total = next;
        lost += rest + error;
    }
    (total, if total.is_finite() { lost } else { 0.0 })
}

fn rounded((total, lost): (f64, f64)) -> f64 {
    total + lost
}

/// `a + b` as a rounded sum and its exact error (Knuth 1969).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}
