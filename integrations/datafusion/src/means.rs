//! GROUP BY for the mean alone: a sum of two words for each group.
//!
//! A sum of two words keeps about 106 bits, so it needs no shift, and no sum of squares to tell when to move one.
//! "Numerics" in the crate's documentation has the error bound.

use datafusion_common::{Result, exec_err};
use datafusion_expr::EmitTo;

use crate::grouped::Store;
use crate::pair::{Pair, power_of_two, two_sum};
use crate::partial::Partial;

/// Up to 2^960, no step of the arithmetic of two words overflows.
const LARGEST: f64 = power_of_two(960);

/// 2^62 values at such a mean sum to at most 2^958.
const LARGEST_MEAN: f64 = power_of_two(896);

/// Larger sums are kept multiplied by this: even 2^62 times the largest f64 then fits.
const DOWN: f64 = power_of_two(-64);

/// A flag in a count: the sum is kept multiplied by [`DOWN`]. Also set once it is not finite.
const SCALED: u64 = 1 << 63;

/// Most values that a group may have after a merge. Single values are counted without a check: nobody can push another
/// 2^62.
const MOST_VALUES: u64 = 1 << 62;

/// The sum of a group.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    /// The number of values, and [`SCALED`].
    count: u64,
    /// The words of the sum. If it is not finite, the high word is NaN or infinite, and the low word 0.
    high: f64,
    low: f64,
}

/// The sums of all groups.
#[derive(Debug, Default)]
pub(crate) struct Means(Vec<Sum>);

impl Store for Means {
    fn resize(&mut self, groups: usize) {
        self.0.resize(groups, Sum::default());
    }

    fn pushing(&mut self) -> impl FnMut(usize, f64) + Send {
        let sums = &mut self.0[..];
        |at, x| sums[at].push(x)
    }

    fn merge(&mut self, at: usize, rows: Partial) -> Result<()> {
        self.0[at].merge(rows)
    }

    fn take(&mut self, emit_to: EmitTo) -> impl ExactSizeIterator<Item = Partial> + use<> {
        emit_to.take_needed(&mut self.0).into_iter().map(|sum| sum.partial())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.capacity() * size_of::<Sum>()
    }
}

impl Sum {
    #[inline(always)]
    fn push(&mut self, x: f64) {
        let Pair { high, low } = two_sum(self.high, x);
        let low = self.low + low;
        // Exact (Dekker 1971) unless `high` was cancelled to less than `low`, and then as good as the sum of low words.
        let sum = high + low;
        let low = low - (sum - high);
        // False for NaN, too.
        if self.count < SCALED && sum.abs() <= LARGEST {
            *self = Sum { count: self.count + 1, high: sum, low };
        } else {
            self.add_scaled(1, Pair { high: x * DOWN, low: 0.0 });
        }
    }

    /// Adds the sum of some values, multiplied by [`DOWN`].
    #[cold]
    #[inline(never)]
    fn add_scaled(&mut self, count: u64, sum: Pair) {
        if self.count < SCALED {
            *self = Sum { count: self.count | SCALED, high: self.high * DOWN, low: self.low * DOWN };
        }
        let both = Pair { high: self.high, low: self.low }.plus(sum);
        // The rounding errors of infinite sums are NaN.
        let both = if both.high.is_finite() { both } else { Pair { high: self.high + sum.high, low: 0.0 } };
        *self = Sum { count: self.count + count, high: both.high, low: both.low };
    }

    /// Adds a partial state: `count` values, each equal to its mean. (The third word of a mean is far below the error of
    /// two.)
    ///
    /// # Errors
    /// If there would be more than 2^62 values.
    fn merge(&mut self, Partial { count: added, mean, .. }: Partial) -> Result<()> {
        if added == 0 {
            return Ok(());
        }
        let count = self.count & !SCALED;
        if count.checked_add(added).is_none_or(|sum| sum > MOST_VALUES) {
            return exec_err!("a group of {count} rows cannot take a partial state of {added} rows: more than 2^62");
        }
        let of = |scale: f64| Pair::new(mean[0] * scale, mean[1] * scale).times_number(added as f64);
        if self.count < SCALED && mean[0].abs() <= LARGEST_MEAN {
            let both = Pair { high: self.high, low: self.low }.plus(of(1.0));
            if both.high.abs() <= LARGEST {
                *self = Sum { count: count + added, high: both.high, low: both.low };
                return Ok(());
            }
        }
        self.add_scaled(added, if mean[0].is_finite() { of(DOWN) } else { Pair { high: mean[0], low: 0.0 } });
        Ok(())
    }

    /// Returns the partial state. Its m2 is a placeholder, which nothing reads.
    fn partial(&self) -> Partial {
        let count = self.count & !SCALED;
        if count == 0 {
            return Partial::EMPTY;
        }
        if !self.high.is_finite() {
            return Partial { count, mean: [self.high, 0.0, 0.0], m2: [f64::NAN, 0.0] };
        }
        let mean = Pair { high: self.high, low: self.low }.divided_by(count as f64);
        let scale = if self.count < SCALED { 1.0 } else { 1.0 / DOWN };
        let [high, low] = [mean.high * scale, mean.low * scale];
        // A mean of the largest numbers can be rounded past them.
        let [high, low] = if high.is_finite() { [high, low] } else { [f64::MAX.copysign(high), 0.0] };
        Partial { count, mean: [high, low, 0.0], m2: [0.0; 2] }
    }
}
