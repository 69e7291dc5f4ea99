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
                self.close_block();
            }
        } else {
            self.push_unusual(x);
        }
    }

    /// Adds the block to the sums, and moves the shift if it must.
    #[inline(never)]
    fn close_block(&mut self) {
        let [sum, squares] = [0, 1].map(|i| two_sum(self.sums[i], self.block[i]));
        self.block = [0.0; 2];
        self.sums = [sum.high, squares.high];
        self.low = [self.low[0] + sum.low, self.low[1] + squares.low];
        self.move_shift_if_far();
    }

    /// Moves the shift to the mean if too much of the squares is due to the distance between them.
    fn move_shift_if_far(&mut self) {
        if self.sums[0] * self.sums[0] > DUE_TO_SHIFT * self.count as f64 * self.sums[1] {
            *self = Group::from_partial(self.partial());
        }
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
        let value = Batch::new(std::slice::from_ref(&x), Layout::nc(1, 1)).expect("one value");
        let mut moments = self.partial().to_moments().expect("a state of its own");
        moments.update(value).expect("fewer than 2^64 values");
        *self = Group::from_partial(Partial::from_moments(&moments));
    }

    /// Adds the values of a partial state. They count as `count` values at their mean, and their m2.
    ///
    /// # Errors
    /// If there would be more than `u64::MAX` values.
    pub(crate) fn merge(&mut self, other: Partial) -> Result<()> {
        if other.count <= 1 {
            // A row that the engine did not aggregate, or none.
            if other.count == 1 {
                self.push(other.mean[0]);
            }
            return Ok(());
        }
        if self.count == 0 {
            *self = Group::from_partial(other);
            return Ok(());
        }
        if !self.is_ordinary() || !self.add(other) {
            let mut moments = self.partial().to_moments()?;
            moments.merge(&other.to_moments()?).map_err(external)?;
            *self = Group::from_partial(Partial::from_moments(&moments));
        } else {
            self.move_shift_if_far();
        }
        Ok(())
    }

    /// Adds a partial state to the sums, or changes nothing and returns false if they would be too large.
    fn add(&mut self, other: Partial) -> bool {
        let Some(count) = self.count.checked_add(other.count) else { return false };
        let weight = other.count as f64;
        let distance = two_sum(other.mean[0], -self.shift);
        let lower = two_sum(distance.low, other.mean[1]);
        let distance = two_sum(distance.high, lower.high);
        let distance = Pair::new(distance.high, distance.low + (lower.low + other.mean[2]));
        let weighted = distance.times_number(weight);
        let between = weighted.times(distance);
        let [sum, squares] = self.pairs();
        let (sum, squares) = (sum.plus(weighted), squares.plus(between).plus(Pair::new(other.m2[0], other.m2[1])));
        // False for NaN, which is what overflow leaves in the low words.
        let fits = squares.high + squares.low <= LARGEST_SQUARES;
        if fits {
            self.set_pairs(sum, squares);
            self.count = count;
        }
        fits
    }

    /// Returns the partial state.
    pub(crate) fn partial(&self) -> Partial {
        if self.count == 0 {
            return Partial::EMPTY;
        }
        if !self.is_ordinary() {
            return Partial {
                count: self.count,
                mean: [self.shift, self.sums[0], self.low[0]],
                m2: [self.sums[1], 0.0],
            };
        }
        let [sum, squares] = self.pairs();
        let offset = sum.divided_by(self.count as f64);
        let m2 = squares.minus(sum.times(offset));
        // Of a constant, all sums are 0. Elsewhere m2 is at least a 16th of the squares.
        let m2 = if m2.high > 0.0 && self.count > 1 { [m2.high, m2.low] } else { [0.0; 2] };
        Partial { count: self.count, mean: triple(self.shift, offset), m2 }
    }

    /// Starts from a partial state. The shift is its mean; what one word cannot hold of that goes into the sums.
    pub(crate) fn from_partial(Partial { count, mean, m2 }: Partial) -> Self {
        if count == 0 {
            return Group::default();
        }
        if !m2[0].is_finite() {
            return Group { count, shift: mean[0], block: [0.0; 2], sums: [mean[1], m2[0]], low: [mean[2], 0.0] };
        }
        let offset = Pair::new(mean[1], mean[2]);
        let sum = offset.times_number(count as f64);
        let mut group = Group { count, shift: mean[0], ..Group::default() };
        group.set_pairs(sum, Pair::new(m2[0], m2[1]).plus(sum.times(offset)));
        group
    }

    fn is_ordinary(&self) -> bool {
        self.sums[1].is_finite()
    }

    /// Returns the sums of all values: of the deviations from the shift, and of their squares.
    fn pairs(&self) -> [Pair; 2] {
        [0, 1].map(|i| {
            let sum = two_sum(self.sums[i], self.block[i]);
            Pair::new(sum.high, sum.low + self.low[i])
        })
    }

    fn set_pairs(&mut self, sum: Pair, squares: Pair) {
        self.block = [0.0; 2];
        self.sums = [sum.high, squares.high];
        self.low = [sum.low, squares.low];
    }
}
