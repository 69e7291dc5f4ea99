//! The row view: steps 1 to 4 of [`crate::order`] for some columns of the rows of a chunk. The inner loop is
//! [`Sums::add_strip`].

mod sums;

use super::group::CACHE_LINE;
use crate::lanes::Lanes;
use crate::order::{GROUP_ROWS, sample_group};

pub(super) use sums::Sums;

/// Eight rows. Rows that are missing, at the end, are empty; the one before may be short.
type Group<'a, T> = [&'a [T]; GROUP_ROWS];

/// The same eight times, as an array. Not a loop, which the compiler would write with scatters.
macro_rules! eight {
    ($value:expr) => {
        [$value, $value, $value, $value, $value, $value, $value, $value]
    };
}

/// Some columns of rows that lie one after the other. The last row of the batch may be cut short.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a, T> {
    /// The whole batch.
    pub(super) x: &'a [T],
    /// Values from one row to the next.
    pub(super) stride: usize,
    /// The first column.
    pub(super) column: usize,
    /// The first row of the chunk.
    pub(super) first: usize,
    /// Rows of the chunk.
    pub(super) rows: usize,
    /// Rows of the batch.
    pub(super) all_rows: usize,
    /// How the columns belong to features: `[side][features][inner]`.
    pub(super) side: usize,
    pub(super) features: usize,
    pub(super) inner: usize,
    /// Values per feature in the chunk.
    pub(super) count: usize,
    /// How many rows ahead of those that are summed others are asked for, if at all.
    pub(super) ahead: Option<usize>,
}

impl<'a, T> Columns<'a, T> {
    #[inline(always)]
    fn width(&self) -> usize {
        self.side * self.features * self.inner
    }

    /// The row, as far as the batch has it.
    #[inline(always)]
    fn row(&self, row: usize) -> &'a [T] {
        let rest = self.x.get((self.first + row) * self.stride + self.column..).unwrap_or_default();
        &rest[..rest.len().min(self.width())]
    }

    /// Eight rows from one on.
    #[inline(always)]
    fn group(&self, row: usize) -> Group<'a, T> {
        let mut rows = row..self.rows;
        eight!(rows.next().map_or(&[], |row| self.row(row)))
    }

    /// The same if the batch has all of each.
    #[inline(always)]
    fn whole_group(&self, row: usize) -> Option<Group<'a, T>> {
        let (width, start) = (self.width(), (self.first + row) * self.stride + self.column);
        let rows = self.x.get(start..start + (GROUP_ROWS - 1) * self.stride + width)?;
        let mut rows = rows.chunks(self.stride);
        (row + GROUP_ROWS <= self.rows).then(|| eight!(rows.next().map_or(&[][..], |row| &row[..width])))
    }

    /// Where the row starts that comes so many rows after the start of the chunk; those past the last row of the batch are
    /// the first ones of the columns that are summed next.
    #[inline(always)]
    fn start_of(&self, row: usize) -> usize {
        let row = self.first + row;
        match row.checked_sub(self.all_rows) {
            None => row * self.stride + self.column,
            Some(row) => row * self.stride + self.column + self.width(),
        }
    }
}

/// Asks for values as long as one strip of eight rows; past the end of a row, where it is short, too.
#[inline(always)]
fn prefetch<L: Lanes, T>(token: L::Token, values: &[T], from: usize) {
    for at in (0..GROUP_ROWS * L::LANES).step_by(CACHE_LINE / size_of::<T>()) {
        L::prefetch(token, values, from + at);
    }
}

/// Asks for the sample of the chunk after this one: nothing can be summed while it is waited for.
#[inline(always)]
fn ask_for_sample<L: Lanes, T>(token: L::Token, columns: &Columns<'_, T>) {
    let sample = columns.rows + sample_group(columns.rows) * GROUP_ROWS;
    for row in sample..sample + GROUP_ROWS {
        let start = columns.start_of(row);
        for at in (0..columns.width()).step_by(CACHE_LINE / size_of::<T>()) {
            L::prefetch(token, columns.x, start + at);
        }
    }
}
