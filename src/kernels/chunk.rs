//! The moments of one chunk, for some features, on any lanes: by [`super::columns`] or [`super::planes`], and step 5 of
//! [`crate::order`].

use std::ops::Range;

use super::PartialMut;
use super::columns::{Columns, Sums};
use super::planes;
use crate::careful;
use crate::element::Element;
use crate::lanes::{Job, Lanes};
use crate::order::{ChunkRange, GROUP_ROWS, Order, View};

/// Batches up to this size stay in a second-level cache, where prefetching costs more than it brings.
const CACHED_BYTES: usize = 1 << 19;

/// Batches up to this size stay in a third-level cache, which answers sooner than memory, and where it does not matter in
/// which order planes are read.
const NEAR_BYTES: usize = 8 << 20;

/// How far ahead rows are asked for, in bytes: of batches near, and of others. Measured at 4 to 96 KiB.
const AHEAD_BYTES: [usize; 2] = [8 << 10, 32 << 10];

/// The moments of one chunk, for a range of features.
pub(super) struct Chunk<'a, T> {
    pub(super) order: &'a Order,
    pub(super) x: &'a [T],
    pub(super) range: ChunkRange,
    pub(super) features: Range<usize>,
    pub(super) out: PartialMut<'a>,
    /// [`Chunk::space`] values to compute in.
    pub(super) space: &'a mut [f64],
}

impl<T: Element> Job for Chunk<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self, token: L::Token) {
        match self.order.view {
            View::Rows { side } => self.columns::<L>(token, side),
            View::Planes => {
                let (x, layout, features, range) = (self.x, self.order.layout, &self.features, &self.range);
                let side_by_side = size_of_val(x) > NEAR_BYTES && range.outer.len() > 1;
                let planes = planes::Job { x, layout, features, range, side_by_side };
                planes.run::<L>(token, self.out.reborrow(), self.space);
            }
        }
        // Step 5, second half: the features that `finish` marked are computed again.
        if self.out.m2.iter().any(|m2| m2.is_nan()) {
            self.with_care();
        }
    }
}

impl<T: Element> Chunk<'_, T> {
    /// f64 values that a chunk of so many features needs to compute in.
    pub(super) fn space(order: &Order, features: usize) -> usize {
        match order.view {
            View::Rows { side } => Sums::space::<T>(side * features * order.layout.inner()),
            View::Planes => planes::Job::<T>::space(features),
        }
    }

    #[inline(always)]
    fn columns<L: Lanes>(&mut self, token: L::Token, side: usize) {
        let layout = self.order.layout;
        let (features, inner) = (self.features.len(), layout.inner());
        let columns = Columns {
            x: self.x,
            stride: side * layout.features() * inner,
            column: self.features.start * inner,
            first: self.range.outer.start / side,
            rows: self.range.outer.len().div_ceil(side),
            all_rows: layout.outer().div_ceil(side),
            side,
            features,
            inner,
            count: self.range.count(),
            ahead: self.ahead(side * features * inner),
        };
        let mut sums = Sums::new::<T>(side * features * inner, self.space);
        sums.moments::<L, T>(token, &columns, self.out.reborrow());
    }

    /// How many rows of a width to ask for ahead.
    fn ahead(&self, width: usize) -> Option<usize> {
        let bytes = size_of_val(self.x);
        let ahead = AHEAD_BYTES[usize::from(bytes > NEAR_BYTES)];
        (bytes > CACHED_BYTES).then(|| ahead.div_ceil(width * size_of::<T>()).next_multiple_of(GROUP_ROWS))
    }

    #[cold]
    #[inline(never)]
    fn with_care(&mut self) {
        for (i, feature) in self.features.clone().enumerate() {
            if self.out.m2[i].is_nan() {
                let values = self.order.values(self.x, &self.range, feature);
                self.out.set(i, careful::moments(values));
            }
        }
    }
}
