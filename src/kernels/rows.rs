//! The rows of a chunk as slices: what the two views differ in.

use crate::order::{ChunkRange, GROUP_ROWS, STREAMS};

/// Eight rows. A row may be shorter than the streams, or empty.
pub(super) type Group<'a, T> = [&'a [T]; GROUP_ROWS];

/// Rows that the kernel sums, in order.
pub(super) trait Rows<T> {
    /// How many.
    fn len(&self) -> usize;
    /// One of them.
    fn row(&self, index: usize) -> &[T];

    /// Eight of them from `first` on; those past the end are empty.
    #[inline(always)]
    fn group(&self, first: usize) -> Group<'_, T> {
        let mut group: Group<'_, T> = [&[]; GROUP_ROWS];
        let rows = GROUP_ROWS.min(self.len() - first);
        for (i, row) in group.iter_mut().enumerate().take(rows) {
            *row = self.row(first + i);
        }
        group
    }
}

/// Row view: some columns of rows that lie one after the other. The last row may be cut short.
pub(super) struct Columns<'a, T> {
    /// From the first column of the first row on.
    pub(super) values: &'a [T],
    /// Values from one row to the next.
    pub(super) stride: usize,
    /// Columns taken.
    pub(super) width: usize,
}

impl<T> Rows<T> for Columns<'_, T> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.values.len().div_ceil(self.stride)
    }

    #[inline(always)]
    fn row(&self, index: usize) -> &[T] {
        let from = index * self.stride;
        let to = (from + self.width).min(self.values.len());
        &self.values[from..to]
    }
}

/// Plane view: the planes of one feature, 64 positions at a time.
pub(super) struct Planes<'a, T> {
    /// From the first position of the first plane on.
    pub(super) values: &'a [T],
    /// Values from one plane of the feature to the next.
    pub(super) stride: usize,
    /// Planes.
    pub(super) planes: usize,
    /// Positions taken of each plane.
    pub(super) positions: usize,
    /// Rows of a plane.
    pub(super) plane_rows: usize,
}

impl<'a, T> Planes<'a, T> {
    pub(super) fn new(x: &'a [T], features: usize, feature: usize, inner: usize, range: &ChunkRange) -> Self {
        let stride = features * inner;
        let positions = range.positions.len();
        Planes {
            values: &x[range.outer.start * stride + feature * inner + range.positions.start..],
            stride,
            planes: range.outer.len(),
            positions,
            plane_rows: positions.div_ceil(STREAMS),
        }
    }
}

impl<T> Rows<T> for Planes<'_, T> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.planes * self.plane_rows
    }

    #[inline(always)]
    fn row(&self, index: usize) -> &[T] {
        let (plane, row) = (index / self.plane_rows, index % self.plane_rows);
        let from = row * STREAMS;
        let to = (from + STREAMS).min(self.positions);
        &self.values[plane * self.stride..][from..to]
    }
}
