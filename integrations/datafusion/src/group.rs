//! The running state of one group: sums about a shift.
//!
//! Rows of a group arrive in any order among those of other groups, so there are no chunks to sum. Each value `x` adds
//! `d = x - shift` to one sum and `d^2` to another. There is no division (Welford's recurrence has one for each value),
//! and no branch that depends on the data, so that the values of different groups overlap in the processor. The sums
//! are those of a block of at most 16 values. A full block is added to sums in two words, which keep every rounding
//! error. The shift is the first value; it moves to the mean when too much of the squares is due to their distance.
//! "Numerics" in the crate's documentation has the error bound that follows.

use batchnorm::{Batch, Layout};
use datafusion_common::Result;

use crate::external;
use crate::pair::{Pair, triple, two_sum};
use crate::partial::Partial;

/// Values in a block. Its sums are ordinary f64.
const BLOCK: u64 = 16;

/// After each block, at most this part of the sum of squares may be due to the distance of the shift from the mean:
/// otherwise the shift moves.
const DUE_TO_SHIFT: f64 = 0.75;

/// Sums of squares up to 2^1000 cannot overflow in the arithmetic of two words.
const LARGEST_SQUARES: f64 = f64::from_bits((1023 + 1000) << 52);

/// The state of a group: one cache line.
///
/// One that has met a value which is not finite, or whose squares overflow, holds its mean and m2 themselves in place
/// of sums: `shift`, `sums[0]` and `low[0]` are the words of the mean, `sums[1]` is NaN or infinite, and the block is 0.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(crate) struct Group {
    count: u64,
    shift: f64,
    /// Of the incomplete block: the sum of deviations from the shift, and that of their squares.
    block: [f64; 2],
    /// High words of the same sums, of the blocks before.
    sums: [f64; 2],
    low: [f64; 2],
}

impl Group {
    /// Adds a value.
    #[inline(always)]
    pub(crate) fn push(&mut self, x: f64) {
        let shift = if self.count == 0 { x } else { self.shift };
        let d = x - shift;
        let block = [self.block[0] + d, self.block[1] + d * d];
        // False for NaN, too. (A state that is not ordinary has NaN or an infinity in `sums[1]`.)
        if block[1] + self.sums[1] <= LARGEST_SQUARES {
            (self.shift, self.block) = (shift, block);
            self.count += 1;
            if self.count.is_multiple_of(BLOCK) {
                self.end_block();
            }
        } else {
            self.push_unusual(x);
        }
    }

    #[inline(never)]
    fn end_block(&mut self) {
        self.close_block();
        self.move_shift_if_far();
    }

    /// Adds the block to the sums.
    fn close_block(&mut self) {
        let (sum, squares) = (two_sum(self.sums[0], self.block[0]), two_sum(self.sums[1], self.block[1]));
        self.block = [0.0; 2];
        self.sums = [sum.high, squares.high];
        self.low = [self.low[0] + sum.low, self.low[1] + squares.low];
    }

    /// Moves the shift to the mean if too much of the squares is due to the distance between them.
    fn move_shift_if_far(&mut self) {
        if self.sums[0] * self.sums[0] > DUE_TO_SHIFT * self.count as f64 * self.sums[1] {
            self.move_shift();
        }
    }

    /// Moves the shift to the mean. This happens many times to a group whose values drift, so all arithmetic has two
    /// words.
    #[cold]
    #[inline(never)]
    fn move_shift(&mut self) {
        let count = self.count as f64;
        let [sum, squares] = [0, 1].map(|i| Pair::new(self.sums[i], self.low[i]));
        let offset = sum.divided_by(count);
        let m2 = squares.minus(sum.times(offset));
        let [shift, middle, low] = triple(self.shift, offset);
        let offset = Pair::new(middle, low);
        let sum = offset.times_number(count);
        let squares = m2.plus(sum.times(offset));
        self.shift = shift;
        (self.sums, self.low) = ([sum.high, squares.high], [sum.low, squares.low]);
    }

    /// Adds a value to a state that is not ordinary, or that will not be: the crate's own moments know what becomes of
    /// it.
    #[cold]
    #[inline(never)]
    fn push_unusual(&mut self, x: f64) {
        if self.sums[1].is_nan() {
            // The mean of such values is their sum: an infinity, or NaN.
            (self.count, self.shift) = (self.count + 1, self.shift + x);
            return;
        }
        let added = self.partial().to_moments().and_then(|mut moments| {
            let value = Batch::new(std::slice::from_ref(&x), Layout::nc(1, 1)).map_err(external)?;
            moments.update(value).map_err(external)?;
            Ok(Partial::from_moments(&moments))
        });
        // Only a damaged state that was merged before has no moments.
        let nothing = Partial { count: self.count, mean: [f64::NAN, 0.0, 0.0], m2: [f64::NAN, 0.0] };
        *self = Group::from_partial(added.unwrap_or(nothing));
    }

    /// Adds the values of a partial state. They count as `count` values at their mean, and their m2.
    ///
    /// # Errors
    /// If there would be more than `u64::MAX` values, or if no values have such a state.
    pub(crate) fn merge(&mut self, other: Partial) -> Result<()> {
        if other.m2[0] < 0.0 {
            // No values have such a state: the crate says so.
            let _ = other.to_moments()?;
        }
        if other.count <= 1 && self.count < u64::MAX {
            // A row that the engine did not aggregate, or none.
            if other.count == 1 {
                self.push(other.mean[0]);
            }
        } else if self.count == 0 {
            *self = Group::from_partial(other);
        } else if !self.add(other) {
            let mut moments = self.partial().to_moments()?;
            moments.merge(&other.to_moments()?).map_err(external)?;
            *self = Group::from_partial(Partial::from_moments(&moments));
        }
        Ok(())
    }

    /// Adds a partial state to the sums, or changes nothing and returns false if they would be too large.
    fn add(&mut self, other: Partial) -> bool {
        let Some(count) = self.count.checked_add(other.count) else { return false };
        // False for NaN, too.
        let fits = self.sums[1] + self.block[1] + other.m2[0] <= LARGEST_SQUARES;
        let before = *self;
        // The shift stays with the larger part, so that it stays near the mean of both.
        let mut from = other;
        if other.count > self.count {
            from = self.partial();
            *self = Group::from_partial(other);
        }
        let distance = (from.mean[0] - self.shift) + (from.mean[1] + from.mean[2]);
        let sum = distance * from.count as f64;
        self.close_block();
        self.block = [sum, sum * distance + from.m2[0]];
        self.low[1] += from.m2[1];
        if !(fits && self.block[1] <= LARGEST_SQUARES) {
            *self = before;
            return false;
        }
        self.count = count;
        self.close_block();
        self.move_shift_if_far();
        true
    }

    /// Returns the partial state.
    pub(crate) fn partial(&self) -> Partial {
        if self.count == 0 {
            return Partial::EMPTY;
        }
        if !self.is_ordinary() {
            let mean = [self.shift, self.sums[0], self.low[0]];
            return Partial { count: self.count, mean, m2: [self.sums[1], 0.0] };
        }
        let sum = self.sums[0] + (self.block[0] + self.low[0]);
        let squares = two_sum(self.sums[1], self.block[1]);
        let offset = sum / self.count as f64;
        let mean = two_sum(self.shift, offset);
        // At least a 16th of the squares, so little cancels. Of a constant, all sums are 0.
        let m2 = two_sum(squares.high - sum * offset, squares.low + self.low[1]);
        Partial { count: self.count, mean: [mean.high, mean.low, 0.0], m2: [m2.high, m2.low] }
    }

    /// Starts from a partial state. The shift is its mean; what one word cannot hold of that goes into the sums.
    pub(crate) fn from_partial(Partial { count, mean, m2 }: Partial) -> Self {
        if count == 0 {
            return Group::default();
        }
        let (shift, block) = (mean[0], [0.0; 2]);
        if !m2[0].is_finite() {
            return Group { count, shift, block, sums: [mean[1], m2[0]], low: [mean[2], 0.0] };
        }
        let [sum, low] = [mean[1], mean[2]].map(|word| word * count as f64);
        Group { count, shift, block, sums: [sum, m2[0]], low: [low, m2[1] + sum * mean[1]] }
    }

    fn is_ordinary(&self) -> bool {
        self.sums[1].is_finite()
    }
}
