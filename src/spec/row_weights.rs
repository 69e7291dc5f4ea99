//! The weights of the rows of a stream: what each row contributes, and when the shifts move. They depend on the number
//! of rows alone, so they are the same for every feature, lane and thread.

use super::double_double::{product, sum, two_product, two_sum};
use super::welford::RowFactors;
use super::{DoubleDouble, power_of_two};

/// The weights of the rows so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RowWeights {
    count: u64,
    /// The shifts move when the count is a multiple of this power of two, or a smaller power of two. For equal weights,
    /// there is no multiple.
    period: u64,
    /// `None` if all rows have the same weight.
    forgetting: Option<Forgetting>,
}

/// Weights that fall by the factor `1 - alpha` with each row. The weight of the newest row is the unit of the totals;
/// the weight of the first row is the unit of m2, so that m2 only grows and nothing in it has to be rounded again.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Forgetting {
    /// The weight of the first row: 1, or `1 / alpha` without adjustment.
    first: DoubleDouble<f64>,
    /// `1 - alpha`.
    decay: DoubleDouble<f64>,
    /// `1 / (1 - alpha)`, or 1 if alpha is 1.
    growth: DoubleDouble<f64>,
    /// The sum of all weights.
    total: DoubleDouble<f64>,
    /// The sum of the products of the weights of any two different rows, `total^2 - squares`. It has only positive
    /// terms, where the difference would cancel: early on, or where alpha is nearly 1, one weight is nearly all.
    pairs: DoubleDouble<f64>,
    /// The unit of the totals, in the unit of m2.
    newest: DoubleDouble<f64>,
}

const ONE: DoubleDouble<f64> = DoubleDouble { high: 1.0, low: 0.0 };

/// m2 is scaled down when the weight of the newest row exceeds this, so that its unit takes at most 33 bits of
/// m2's range.
const LARGEST_WEIGHT: f64 = power_of_two(32);

impl RowWeights {
    /// Equal weights.
    pub(crate) fn equal() -> Self {
        RowWeights { count: 0, period: 1 << 63, forgetting: None }
    }

    /// Weights that fall by the factor `1 - alpha`, where `0 < alpha <= 1`. If `adjust`, the weights of all rows start
    /// at 1; otherwise that of the first row is `1 / alpha`, so that a row always has the share alpha.
    pub(crate) fn exponential(alpha: f64, adjust: bool) -> Self {
        let decay = two_sum(1.0, -alpha);
        let growth = if alpha == 1.0 { ONE } else { reciprocal(decay) };
        let first = if adjust { ONE } else { reciprocal(DoubleDouble { high: alpha, low: 0.0 }) };
        // The largest power of two up to 1 / alpha: over so many rows, weights fall to no less than a quarter.
        let exponent = exponent(1.0 / alpha).min(62);
        let zero = DoubleDouble { high: 0.0, low: 0.0 };
        let forgetting = Forgetting { first, decay, growth, total: zero, pairs: zero, newest: ONE };
        RowWeights { count: 0, period: 1 << exponent, forgetting: Some(forgetting) }
    }

    /// Forgets all rows.
    pub(crate) fn reset(&mut self) {
        self.count = 0;
        if let Some(forgetting) = &mut self.forgetting {
            let zero = DoubleDouble { high: 0.0, low: 0.0 };
            (forgetting.total, forgetting.pairs, forgetting.newest) = (zero, zero, ONE);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Sets the count of equal weights.
    pub(crate) fn set_count(&mut self, count: u64) {
        self.count = count;
    }

    /// Returns whether the shifts move to the means before the next row.
    #[inline]
    pub(crate) fn shift_is_due(&self) -> bool {
        // A power of two up to the period, or a multiple of the period: no bit below the highest one that counts.
        let lowest = self.count & self.count.wrapping_neg();
        self.count != 0 && (lowest == self.count || lowest >= self.period)
    }

    /// Returns whether the next row is the mean: alpha is 1. A shift is due then, too.
    #[inline]
    pub(crate) fn newest_is_all(&self) -> bool {
        self.count != 0 && self.forgetting.as_ref().is_some_and(|f| f.decay.high == 0.0)
    }

    /// Returns the power of two by which m2 has to be multiplied before the next row, if it has to be. The weights
    /// count on it.
    #[inline]
    pub(crate) fn scale_if_due(&mut self) -> Option<f64> {
        let DoubleDouble { high, low } = &mut self.forgetting.as_mut()?.newest;
        (*high > LARGEST_WEIGHT).then(|| {
            let by = power_of_two(-exponent(*high));
            (*high, *low) = (*high * by, *low * by);
            by
        })
    }

    /// Returns whether anything has to be done to the features before the next row.
    #[inline]
    pub(crate) fn anything_due(&self) -> bool {
        self.shift_is_due() || self.forgetting.as_ref().is_some_and(|f| f.newest.high > LARGEST_WEIGHT)
    }

    /// Adds a row and returns its factors.
    #[inline]
    pub(crate) fn next(&mut self) -> RowFactors {
        self.count += 1;
        match &mut self.forgetting {
            None => {
                let count = self.count as f64;
                let [share, square] = [1.0, count - 1.0].map(|x| x / count);
                RowFactors { share, square }
            }
            Some(forgetting) => forgetting.next(self.count == 1),
        }
    }

    /// Returns the divisor of a variance, in the unit of m2: `count - ddof`, or `total - ddof * squares / total` of the
    /// weights and of their squares, which is `count - ddof` where all weights are 1. It is at least 0.
    pub(crate) fn degrees_of_freedom(&self, ddof: f64) -> f64 {
        let degrees_of_freedom = match &self.forgetting {
            None => self.count as f64 - ddof,
            Some(f) => {
                let unbiased = f.pairs.high / f.total.high;
                (unbiased + (1.0 - ddof) * (f.total.high - unbiased)) * f.newest.high
            }
        };
        // `f64::max` would turn a NaN `ddof` into 0.
        if degrees_of_freedom < 0.0 { 0.0 } else { degrees_of_freedom }
    }
}

impl Forgetting {
    fn next(&mut self, first: bool) -> RowFactors {
        if first {
            (self.total, self.pairs, self.newest) = (self.first, DoubleDouble { high: 0.0, low: 0.0 }, ONE);
            return RowFactors { share: 1.0, square: 0.0 };
        }
        let before = product(self.total, self.decay);
        let with_newest = DoubleDouble { high: 2.0 * before.high, low: 2.0 * before.low };
        self.pairs = sum(product(self.pairs, product(self.decay, self.decay)), with_newest);
        self.total = sum(before, ONE);
        self.newest = product(self.newest, self.growth);
        RowFactors { share: 1.0 / self.total.high, square: self.newest.high * (before.high / self.total.high) }
    }
}

/// Returns `1 / a`, in two words.
fn reciprocal(a: DoubleDouble<f64>) -> DoubleDouble<f64> {
    let high = 1.0 / a.high;
    let p = two_product(high, a.high);
    let low = ((1.0 - p.high) - p.low - high * a.low) / a.high;
    two_sum(high, low)
}

/// Returns the exponent of a normal positive number.
fn exponent(x: f64) -> i16 {
    (x.to_bits() >> 52) as i16 - 1023
}
