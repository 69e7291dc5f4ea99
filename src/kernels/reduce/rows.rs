//! The row view: where the groups of eight rows of a chunk lie, for a range of columns, and how they are prefetched.
//! [`row_sums`](super::row_sums) adds them up.

use core::ops::Range;

use crate::lanes::{prefetch, prefetch_second_level};
use crate::spec::Order;
use crate::spec::order::{ChunkRange, GROUP_ROWS, ROW_ACCUMULATORS, sample_group};
use crate::tuning::CACHE_LINE;
use crate::{Batch, Element};

/// The eight rows of a group. Missing rows, at the end of the batch, are empty; the row before them may be short.
pub(super) type Group<'a, T> = [&'a [T]; GROUP_ROWS];

/// Space for a group of rows that are put together from outer blocks. Such rows are narrow.
pub(super) type Packed<T> = [[T; 2 * ROW_ACCUMULATORS]; GROUP_ROWS];

/// Evaluates an expression eight times, as an array. (The compiler would turn a loop into scatter stores.)
macro_rules! eight {
    ($value:expr) => {
        [$value, $value, $value, $value, $value, $value, $value, $value]
    };
}

/// A range of columns of consecutive rows. The last row of the batch may be short.
pub(super) struct Rows<'a, T, const INPUTS: usize> {
    /// The whole batches.
    inputs: [&'a [T]; INPUTS],
    /// Values from one row to the next, of each input.
    stride: [usize; INPUTS],
    /// Whether rows must be put together from outer blocks with gaps in between.
    pub(super) gaps: bool,
    /// The first column of the range.
    column: usize,
    /// The first row of the chunk.
    first: usize,
    /// Number of rows in the chunk.
    pub(super) rows: usize,
    /// Number of rows in the batch.
    batch_rows: usize,
    /// How columns map to features: `[interleave][features][inner]`.
    pub(super) interleave: usize,
    pub(super) features: usize,
    pub(super) inner: usize,
    pub(super) prefetch: Option<Prefetch>,
}

/// How rows are prefetched.
#[derive(Clone, Copy)]
pub(super) struct Prefetch {
    /// The distance in rows.
    pub(super) rows: usize,
    /// Whether that is far: into the second level of the cache, because the first level may be no larger.
    pub(super) far: bool,
}

impl<T, const INPUTS: usize> Clone for Rows<'_, T, INPUTS> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, const INPUTS: usize> Copy for Rows<'_, T, INPUTS> {}

impl<'a, T: Element, const INPUTS: usize> Rows<'a, T, INPUTS> {
    /// Returns the part of a chunk that belongs to a range of features.
    #[inline(always)]
    pub(super) fn of(
        order: &Order,
        inputs: [Batch<'a, T>; INPUTS],
        interleave: usize,
        features: &Range<usize>,
        range: &ChunkRange,
        prefetch: Option<Prefetch>,
    ) -> Self {
        let layout = order.layout;
        let (mut slices, mut stride, mut gaps) = ([&[][..]; INPUTS], [0; INPUTS], false);
        for input in 0..INPUTS {
            slices[input] = inputs[input].data();
            stride[input] = interleave * inputs[input].layout().outer_stride();
            gaps |= interleave > 1 && !inputs[input].layout().is_contiguous();
        }
        Rows {
            inputs: slices,
            stride,
            gaps,
            column: features.start * layout.inner(),
            first: range.outer.start / interleave,
            rows: range.outer.len().div_ceil(interleave),
            batch_rows: layout.outer().div_ceil(interleave),
            interleave,
            features: features.len(),
            inner: layout.inner(),
            prefetch,
        }
    }

    #[inline(always)]
    pub(super) fn width(&self) -> usize {
        self.interleave * self.features * self.inner
    }

    /// Returns a row of an input, cut short where the batch ends.
    #[inline(always)]
    fn row(&self, x: &'a [T], stride: usize, row: usize) -> &'a [T] {
        let tail = x.get((self.first + row) * stride + self.column..).unwrap_or_default();
        &tail[..tail.len().min(self.width())]
    }

    /// Returns the group of eight rows that starts at `row`. (Not inlined: the last group of a chunk alone needs it.)
    #[inline(never)]
    pub(super) fn group(&self, row: usize) -> [Group<'a, T>; INPUTS] {
        let mut groups = [[&[][..]; GROUP_ROWS]; INPUTS];
        for ((group, x), stride) in groups.iter_mut().zip(self.inputs).zip(self.stride) {
            let mut rows = row..self.rows;
            *group = eight!(rows.next().map_or(&[], |row| self.row(x, stride, row)));
        }
        groups
    }

    /// Returns the same group, put together in `space` from outer blocks with gaps in between.
    #[inline(never)]
    pub(super) fn packed_group<'s>(&self, row: usize, space: &'s mut [Packed<T>; INPUTS]) -> [Group<'s, T>; INPUTS] {
        let mut groups = [[&[][..]; GROUP_ROWS]; INPUTS];
        for (input, (group, space)) in groups.iter_mut().zip(space).enumerate() {
            let (x, stride) = (self.inputs[input], self.stride[input]);
            // An empty range, or one that ends early, where rows are missing.
            let blocks = x.get((self.first + row) * stride + self.column..).unwrap_or_default();
            let mut blocks = blocks.chunks(stride / self.interleave);
            for (row, packed) in group.iter_mut().zip(space).take(self.rows - row) {
                *row = self.pack(blocks.by_ref().take(self.interleave), packed);
            }
        }
        groups
    }

    /// Puts a row together from its outer blocks, each with the gap that follows it.
    fn pack<'s>(&self, blocks: impl Iterator<Item = &'a [T]>, row: &'s mut [T]) -> &'s [T]
    where
        T: 'a,
    {
        let (block, mut len) = (self.features * self.inner, 0);
        for (to, from) in row.chunks_exact_mut(block).zip(blocks) {
            to.copy_from_slice(&from[..block]);
            len += block;
        }
        &row[..len]
    }

    /// Returns the group of eight rows that starts at `row` if none of its rows is missing or short.
    #[inline(always)]
    pub(super) fn whole_group(&self, row: usize) -> Option<[Group<'a, T>; INPUTS]> {
        if row + GROUP_ROWS > self.rows || self.gaps {
            return None;
        }
        let width = self.width();
        let mut groups = [[&[][..]; GROUP_ROWS]; INPUTS];
        for input in 0..INPUTS {
            let (x, stride) = (self.inputs[input], self.stride[input]);
            let start = (self.first + row) * stride + self.column;
            let rows = x.get(start..start + (GROUP_ROWS - 1) * stride + width)?;
            let mut rows = rows.chunks(stride);
            groups[input] = eight!(rows.next().map_or(&[][..], |row| &row[..width]));
        }
        Some(groups)
    }

    /// Returns the row and the column of it at which a row starts. Rows are counted from the start of the chunk. Rows
    /// past the last row of the batch are the first rows of the columns that are summed next.
    #[inline(always)]
    pub(super) fn start_of(&self, row: usize) -> (usize, usize) {
        let row = self.first + row;
        match row.checked_sub(self.batch_rows) {
            None => (row, self.column),
            Some(row) => (row, self.column + self.width()),
        }
    }

    /// Prefetches `len` values of a row of every input, starting at a column, even past the end of a short row.
    #[inline(always)]
    pub(super) fn prefetch_values(&self, (row, column): (usize, usize), len: usize) {
        let far = self.prefetch.is_some_and(|prefetch| prefetch.far);
        for input in 0..INPUTS {
            let (x, from) = (self.inputs[input], row * self.stride[input] + column);
            for at in (0..len).step_by(CACHE_LINE / size_of::<T>()) {
                if far {
                    prefetch_second_level(x, from + at);
                } else {
                    prefetch(x, from + at);
                }
            }
        }
    }

    /// Prefetches the sample of the next chunk: nothing can be summed before it has arrived. (Not inlined: no lanes are
    /// involved, so all instruction sets share it.)
    #[inline(never)]
    pub(super) fn prefetch_next_sample(&self) {
        let sample = self.rows + sample_group(self.rows) * GROUP_ROWS;
        for row in sample..sample + GROUP_ROWS {
            self.prefetch_values(self.start_of(row), self.width());
        }
    }
}
