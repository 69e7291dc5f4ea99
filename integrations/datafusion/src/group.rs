//! The running state of one group: sums about a shift.
//!
//! Rows of a group arrive in any order among those of other groups, so there are no chunks to sum. Each value `x` adds
//! `d = x - shift` to one sum and `d^2` to another. There is no division (Welford's recurrence has one for each value),
//! and no branch that depends on the data, so that the values of different groups overlap in the processor. The sums
//! are those of a block of at most 16 values. A full block is added to sums of two words, which keep the rounding errors
//! of these additions. The shift is the first value; it moves to the mean when too much of the squares is due to its distance from the mean.
//! "Numerics" in the crate's documentation has the error bound that follows.
//!
//! [`Block`] and [`Sums`] are kept in separate arrays: groups with fewer values than a block have no use for the sums, and
//! a query with many such groups waits for memory.

use std::hint::select_unpredictable;

use batchnorm::{Batch, Layout};
use datafusion_common::{Result, exec_err};

use crate::external;
use crate::pair::{Pair, power_of_two, triple, two_sum};
use crate::partial::Partial;

/// Values in a block. Its sums are ordinary f64.
const BLOCK: u64 = 16;

/// After each block, at most this part of the sum of squares may be due to the distance of the shift from the mean:
/// otherwise the shift moves.
const DUE_TO_SHIFT: f64 = 0.75;

/// Most values in a group after a merge. Single values are counted without a check: nobody can add another 2^63.
const MOST_VALUES: u64 = 1 << 63;

/// Sums of squares up to 2^960 do not overflow in the arithmetic of two words, nor when they are multiplied by the number
/// of values, at most 2^63.
const LARGEST_SQUARES: f64 = power_of_two(960);

/// The incomplete block of a group, in half a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
pub(crate) struct Block {
    /// Values of the group, in this block and before.
    count: u64,
    /// 0.0 if there are none.
    shift: f64,
    /// The sum of deviations from the shift.
    sum: f64,
    /// The sum of their squares. NaN if the block is empty and takes no values ([`Block::CLOSED`]).
    squares: f64,
}

/// The sums of a group's blocks before the incomplete one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    /// High words: the sum of deviations from the shift, and that of their squares.
    high: [f64; 2],
    low: [f64; 2],
}

/// What follows when a block was given a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    Done,
    /// The block is full: [`Sums::end_block`].
    Full,
    /// The value is not in the block: [`Group::push_unusual`].
    Unusual,
}

/// The state of a group.
///
/// One that has met a value which is not finite, or whose sum of squares is above [`LARGEST_SQUARES`], holds its mean and
/// m2 themselves in place of sums: `block.shift`, `sums.high[0]` and `sums.low[0]` are the words of the mean,
/// `sums.high[1]` and `sums.low[1]` those of m2. Its block is closed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Group {
    pub(crate) block: Block,
    pub(crate) sums: Sums,
}

impl Block {
    /// `squares` of a block that takes no values.
    const CLOSED: f64 = f64::NAN;

    /// Adds a value.
    #[inline(always)]
    pub(crate) fn push(&mut self, x: f64) -> Pushed {
        // The first value is the shift, which is 0 before it. A branch would wait for the group's memory, and be hard to
        // predict where groups are small. Bits, because x86-64 has no conditional move of an f64.
        let first = select_unpredictable(self.count == 0, x.to_bits(), 0);
        let shift = f64::from_bits(self.shift.to_bits() | first);
        let d = x - shift;
        let squares = self.squares + d * d;
        // False for NaN, too.
        if squares <= LARGEST_SQUARES {
            *self = Block { count: self.count + 1, shift, sum: self.sum + d, squares };
            if self.count.is_multiple_of(BLOCK) { Pushed::Full } else { Pushed::Done }
        } else {
            Pushed::Unusual
        }
    }

    /// Adds the values of a partial state, if the first block holds all of them. Otherwise changes nothing and returns
    /// false.
    pub(crate) fn merge(&mut self, other: Partial) -> bool {
        let Partial { count, mean, m2 } = other;
        if count == 0 || self.count.saturating_add(count) >= BLOCK {
            return count == 0;
        }
        let shift = if self.count == 0 { mean[0] } else { self.shift };
        let [sum, squares] = other.sums_about(shift);
        let squares = self.squares + (squares + (m2[0] + m2[1]));
        // False for NaN, too.
        let fits = squares <= LARGEST_SQUARES;
        if fits {
            *self = Block { count: self.count + count, shift, sum: self.sum + sum, squares };
        }
        fits
    }

    /// Returns the sums of the block.
    fn sums(&self) -> [f64; 2] {
        if self.squares.is_nan() { [0.0; 2] } else { [self.sum, self.squares] }
    }
}

impl Sums {
    /// Does what follows when the group's block was given the value `x`.
    #[inline(always)]
    pub(crate) fn after(&mut self, block: &mut Block, pushed: Pushed, x: f64) {
        match pushed {
            Pushed::Done => {}
            // In place: copying the block would stall on the store just made.
            Pushed::Full => self.end_block(block),
            Pushed::Unusual => {
                let mut group = Group { block: *block, sums: *self };
                group.push_unusual(x);
                (*block, *self) = (group.block, group.sums);
            }
        }
    }

    /// Adds a full block, and begins another one.
    #[inline(never)]
    fn end_block(&mut self, block: &mut Block) {
        self.add_block(block);
        if self.high[1] <= LARGEST_SQUARES {
            return self.move_shift_if_far(block);
        }
        // At the mean the squares are m2, which never decreases: if they are still so large, they remain it.
        self.move_shift(block);
        if self.high[1] > LARGEST_SQUARES {
            let group = Group::from_partial(Group { block: *block, sums: *self }.of_sums());
            (*block, *self) = (group.block, group.sums);
        }
    }

    fn add_block(&mut self, block: &mut Block) {
        for (i, sum) in block.sums().into_iter().enumerate() {
            let Pair { high, low } = two_sum(self.high[i], sum);
            self.high[i] = high;
            self.low[i] += low;
        }
        self.begin_block(block);
    }

    fn begin_block(&self, block: &mut Block) {
        block.sum = 0.0;
        block.squares = if self.high[1] <= LARGEST_SQUARES { 0.0 } else { Block::CLOSED };
    }

    /// Moves the shift to the mean if too much of the squares is due to the distance between them.
    fn move_shift_if_far(&mut self, block: &mut Block) {
        let [sum, squares] = self.high;
        if sum * sum > DUE_TO_SHIFT * block.count as f64 * squares {
            self.move_shift(block);
        }
    }

    /// Moves the shift to the mean. This happens many times to a group whose values drift, so all arithmetic has two
    /// words.
    #[cold]
    #[inline(never)]
    fn move_shift(&mut self, block: &mut Block) {
        let count = block.count as f64;
        let [sum, squares] = [0, 1].map(|i| Pair::new(self.high[i], self.low[i]));
        let offset = sum.divided_by(count);
        let m2 = squares.minus(sum.times(offset));
        let [shift, middle, low] = triple(block.shift, offset);
        let offset = Pair::new(middle, low);
        let sum = offset.times_number(count);
        let squares = m2.plus(sum.times(offset));
        block.shift = shift;
        *self = Sums { high: [sum.high, squares.high], low: [sum.low, squares.low] };
        self.begin_block(block);
    }
}

impl Group {
    /// Adds a value.
    #[inline(always)]
    pub(crate) fn push(&mut self, x: f64) {
        let pushed = self.block.push(x);
        self.sums.after(&mut self.block, pushed, x);
    }

    /// Adds a value to a state whose block does not take it: the crate's own moments know what becomes of it.
    #[cold]
    #[inline(never)]
    fn push_unusual(&mut self, x: f64) {
        let Block { count, shift, .. } = &mut self.block;
        if self.sums.high[1].is_nan() {
            // The mean of such values is their sum: an infinity, or NaN.
            (*count, *shift) = (*count + 1, *shift + x);
            return;
        }
        let nothing = Partial { count: *count + 1, mean: [f64::NAN, 0.0, 0.0], m2: [f64::NAN, 0.0] };
        let added = self.partial().to_moments().and_then(|mut moments| {
            let value = Batch::new(std::slice::from_ref(&x), Layout::nc(1, 1)).map_err(external)?;
            moments.update(value).map_err(external)?;
            Ok(Partial::from_moments(&moments))
        });
        // Only a damaged state that was merged before has no moments.
        *self = Group::from_partial(added.unwrap_or(nothing));
    }

    /// Adds the values of a partial state. They count as `count` values at their mean, and their m2.
    ///
    /// # Errors
    /// If there would be more than 2^63 values, or if the state was damaged.
    pub(crate) fn merge(&mut self, other: Partial) -> Result<()> {
        let (count, added) = (self.block.count, other.count);
        if count.checked_add(added).is_none_or(|sum| sum > MOST_VALUES) {
            return exec_err!("a group of {count} rows cannot take a partial state of {added} rows: more than 2^63");
        }
        if other.count <= 1 {
            // A row that the engine did not aggregate, or none.
            if other.count == 1 {
                self.push(other.mean[0]);
            }
        } else if self.block.count == 0 {
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
        let count = self.block.count + other.count;
        // False for NaN, too.
        let fits = self.sums.high[1] + self.block.sums()[1] + other.m2[0] <= LARGEST_SQUARES;
        let before = *self;
        // The shift stays with the larger part, so that it stays near the mean of both.
        let mut from = other;
        if other.count > self.block.count {
            from = self.partial();
            *self = Group::from_partial(other);
        }
        let [sum, squares] = from.sums_about(self.block.shift);
        let squares = squares + from.m2[0];
        if !(fits && squares <= LARGEST_SQUARES) {
            *self = before;
            return false;
        }
        self.sums.add_block(&mut self.block);
        self.block = Block { count, sum, squares, ..self.block };
        self.sums.low[1] += from.m2[1];
        self.sums.end_block(&mut self.block);
        true
    }

    /// Returns the partial state.
    pub(crate) fn partial(&self) -> Partial {
        let Group { block: Block { count, shift, .. }, sums: Sums { high, low } } = *self;
        if count == 0 {
            return Partial::EMPTY;
        }
        if high[1] <= LARGEST_SQUARES {
            self.of_sums()
        } else {
            Partial { count, mean: [shift, high[0], low[0]], m2: [high[1], low[1]] }
        }
    }

    /// Returns the partial state of a group that holds sums.
    fn of_sums(&self) -> Partial {
        let Group { block: Block { count, shift, .. }, sums: Sums { high, low } } = *self;
        let block = self.block.sums();
        let sum = high[0] + (block[0] + low[0]);
        let squares = two_sum(high[1], block[1]);
        let offset = sum / count as f64;
        let mean = two_sum(shift, offset);
        // At least a 16th of the squares, so at most four bits cancel. Of a constant, all sums are 0.
        let m2 = two_sum(squares.high - sum * offset, squares.low + low[1]);
        // Where squares are so small that they are rounded to few digits, the difference can be negative.
        let m2 = if m2.high < 0.0 { Pair { high: 0.0, low: 0.0 } } else { m2 };
        Partial { count, mean: [mean.high, mean.low, 0.0], m2: [m2.high, m2.low] }
    }

    /// Starts from a partial state. The shift is its mean; what one word cannot hold of that goes into the sums.
    pub(crate) fn from_partial(Partial { count, mean, m2 }: Partial) -> Self {
        if count == 0 {
            return Group::default();
        }
        let sums = if m2[0] <= LARGEST_SQUARES {
            let [sum, low] = [mean[1], mean[2]].map(|word| word * count as f64);
            Sums { high: [sum, m2[0]], low: [low, m2[1] + sum * mean[1]] }
        } else {
            Sums { high: [mean[1], m2[0]], low: [mean[2], m2[1]] }
        };
        let mut group = Group { block: Block { count, shift: mean[0], ..Block::default() }, sums };
        group.sums.begin_block(&mut group.block);
        group
    }
}
