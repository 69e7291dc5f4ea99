//! The rows of a chunk as slices: what the two views differ in.

use std::ops::Range;

use crate::layout::Layout;
use crate::order::{ChunkRange, GROUP_ROWS, PlaneRows};

/// Eight rows. A row may be shorter than the streams, or empty.
pub(super) type Group<'a, T> = [&'a [T]; GROUP_ROWS];

/// The same eight times, as an array. Not a loop, which the compiler would write with scatters.
macro_rules! eight {
    ($value:expr) => {
        [$value, $value, $value, $value, $value, $value, $value, $value]
    };
}

/// Rows that the kernel sums, in order.
pub(super) trait Rows<T> {
    /// A place among the rows. Walking is cheaper than asking for a row by its number.
    type Cursor: Copy;

    /// How many.
    fn len(&self) -> usize;
    /// What the rows are parts of.
    fn values(&self) -> &[T];
    /// The place of a row; those past the last are the rows that will be summed next: of the chunk or the feature that
    /// follows. They are only a guess, for prefetching.
    fn cursor(&self, row: usize) -> Self::Cursor;
    /// Some rows of the same chunk further on.
    fn skip(&self, at: Self::Cursor, rows: usize) -> Self::Cursor;
    /// Where the row at a place starts and how long it is, if the batch has all of it; and a step forward.
    fn step(&self, at: &mut Self::Cursor) -> (usize, usize);

    /// The row at a place, as far as the batch has it.
    #[inline(always)]
    fn next(&self, at: &mut Self::Cursor) -> &[T] {
        let (from, len) = self.step(at);
        let rest = self.values().get(from..).unwrap_or_default();
        &rest[..rest.len().min(len)]
    }

    /// Eight rows; those past `rows` are empty.
    #[inline(always)]
    fn group(&self, at: &mut Self::Cursor, rows: usize) -> Group<'_, T> {
        if rows >= GROUP_ROWS {
            return eight!(self.next(at));
        }
        let mut group: Group<'_, T> = [&[]; GROUP_ROWS];
        for row in group.iter_mut().take(rows) {
            *row = self.next(at);
        }
        group
    }

    /// Where eight rows start.
    #[inline(always)]
    fn starts(&self, at: &mut Self::Cursor) -> [usize; GROUP_ROWS] {
        eight!(self.step(at).0)
    }
}

/// Row view: some columns of rows that lie one after the other. The last row of the batch may be cut short.
pub(super) struct Columns<'a, T> {
    /// The whole batch.
    pub(super) x: &'a [T],
    /// Values from one row to the next.
    pub(super) stride: usize,
    /// The first column.
    pub(super) column: usize,
    /// Columns taken.
    pub(super) width: usize,
    /// The first row of the chunk.
    pub(super) first: usize,
    /// Rows of the chunk.
    pub(super) rows: usize,
    /// Rows of the batch.
    pub(super) all_rows: usize,
}

impl<T> Rows<T> for Columns<'_, T> {
    /// The row, counted in the batch.
    type Cursor = usize;

    #[inline(always)]
    fn len(&self) -> usize {
        self.rows
    }

    #[inline(always)]
    fn values(&self) -> &[T] {
        self.x
    }

    #[inline(always)]
    fn cursor(&self, row: usize) -> usize {
        self.first + row
    }

    #[inline(always)]
    fn skip(&self, at: usize, rows: usize) -> usize {
        at + rows
    }

    #[inline(always)]
    fn step(&self, at: &mut usize) -> (usize, usize) {
        // After the last row come the next columns, from the first row on.
        let from = match at.checked_sub(self.all_rows) {
            None => *at * self.stride + self.column,
            Some(row) => row * self.stride + self.column + self.width,
        };
        *at += 1;
        (from, self.width)
    }
}

/// Plane view: the planes of one feature, a row of positions at a time; then those of the next feature.
pub(super) struct Planes<'a, T> {
    /// From the first position of the first plane to the end of the batch.
    values: &'a [T],
    /// Values from one plane of the feature to the next.
    stride: usize,
    /// Planes.
    planes: usize,
    /// How a plane makes rows.
    rows: PlaneRows,
    /// Values from the first one to the first one of what is summed next: the next feature, or the next chunk.
    following: usize,
}

/// The plane's first value, the planes left before what follows, and the position in the plane.
#[derive(Clone, Copy)]
pub(super) struct PlaneCursor {
    plane: usize,
    left: usize,
    position: usize,
}

impl<'a, T> Planes<'a, T> {
    pub(super) fn new(x: &'a [T], layout: Layout, features: &Range<usize>, range: &ChunkRange) -> Self {
        let inner = layout.inner();
        let stride = layout.features() * inner;
        let planes = range.outer.len();
        Planes {
            values: &x[range.outer.start * stride + features.start * inner + range.positions.start..],
            stride,
            planes,
            rows: PlaneRows::new(range.positions.len()),
            following: if features.len() == 1 { planes * stride } else { inner },
        }
    }
}

impl<T> Rows<T> for Planes<'_, T> {
    type Cursor = PlaneCursor;

    #[inline(always)]
    fn len(&self) -> usize {
        self.planes * self.rows.rows
    }

    #[inline(always)]
    fn values(&self) -> &[T] {
        self.values
    }

    #[inline(always)]
    fn cursor(&self, row: usize) -> PlaneCursor {
        let (plane, row) = (row / self.rows.rows, row % self.rows.rows);
        let (skipped, plane) = (plane / self.planes, plane % self.planes);
        PlaneCursor {
            plane: skipped * self.following + plane * self.stride,
            left: self.planes - plane,
            position: row * self.rows.len,
        }
    }

    #[inline(always)]
    fn skip(&self, at: PlaneCursor, rows: usize) -> PlaneCursor {
        if rows == 0 {
            return at;
        }
        // From the start of a feature, where chunks are begun.
        let to = self.cursor(rows);
        PlaneCursor { plane: at.plane + to.plane, ..to }
    }

    #[inline(always)]
    fn step(&self, at: &mut PlaneCursor) -> (usize, usize) {
        let len = self.rows.len.min(self.rows.positions - at.position);
        let from = at.plane + at.position;
        at.position += len;
        if at.position == self.rows.positions {
            at.position = 0;
            at.plane += self.stride;
            at.left -= 1;
            if at.left == 0 {
                at.left = self.planes;
                // Back to the first plane, and on to what follows.
                at.plane = at.plane + self.following - self.planes * self.stride;
            }
        }
        (from, len)
    }
}
