//! The moments of one chunk, for some features, on any lanes: which values are summed, and step 5 of [`crate::order`].
//! The sums are [`super::sums`]'.

use std::ops::Range;

use super::PartialMut;
use super::rows::{Columns, Planes, Rows};
use super::sums::{AHEAD_ROWS, Shape, Sums, Walk};
use crate::careful;
use crate::element::Element;
use crate::lanes::{Job, Lanes};
use crate::order::{ChunkRange, Order, STREAMS, View};

/// Columns that one call sums side by side at most: their pivots and sums (12 KiB, or 20 with what rounding lost) stay
/// in a first-level cache.
pub(super) const GROUP_COLUMNS: usize = 512;

/// Batches up to this size stay in a second-level cache, where prefetching costs more than it brings.
const CACHED_BYTES: usize = 1 << 19;

/// Enough for every narrow batch (`side > 1`): small calls should not clear as much.
const FEW_COLUMNS: usize = 2 * STREAMS;

/// The moments of one chunk, for a range of features.
pub(super) struct Chunk<'a, T> {
    pub(super) order: &'a Order,
    pub(super) x: &'a [T],
    pub(super) range: ChunkRange,
    pub(super) features: Range<usize>,
    pub(super) out: PartialMut<'a>,
}

impl<T: Element> Job for Chunk<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, token: L::Token) {
        match self.order.view {
            View::Planes => self.planes::<L>(token),
            View::Rows { side } => {
                let width = side * self.features.len() * self.order.layout.inner();
                if width <= FEW_COLUMNS {
                    self.columns::<L, FEW_COLUMNS>(token, side);
                } else {
                    self.columns::<L, GROUP_COLUMNS>(token, side);
                }
            }
        }
    }
}

impl<T: Element> Chunk<'_, T> {
    #[inline(always)]
    fn columns<L: Lanes, const N: usize>(mut self, token: L::Token, side: usize) {
        let layout = self.order.layout;
        let inner = layout.inner();
        let row = layout.features() * inner;
        let features = self.features.len();
        let columns = Columns {
            x: self.x,
            stride: side * row,
            column: self.features.start * inner,
            width: side * features * inner,
            first: self.range.outer.start / side,
            rows: self.range.outer.len().div_ceil(side),
            all_rows: layout.outer().div_ceil(side),
        };
        let shape =
            Shape { side, features, inner, count: self.range.count(), prefetch: size_of_val(self.x) > CACHED_BYTES };
        let mut walk = Walk { at: columns.cursor(0), ahead: columns.cursor(AHEAD_ROWS) };
        Sums::<N>::new().moments::<L, T, _>(token, &columns, &mut walk, &shape, self.out.reborrow());
        self.check();
    }

    #[inline(always)]
    fn planes<L: Lanes>(mut self, token: L::Token) {
        let layout = self.order.layout;
        let mut sums = Sums::<STREAMS>::new();
        let rows = Planes::new(self.x, layout, &self.features, &self.range);
        let shape = Shape {
            side: STREAMS,
            features: 1,
            inner: 1,
            count: self.range.count(),
            prefetch: size_of_val(self.x) > CACHED_BYTES,
        };
        // The rows of the next feature follow those of this one: the walk goes on from feature to feature.
        let mut walk = Walk { at: rows.cursor(0), ahead: rows.cursor(AHEAD_ROWS) };
        for feature in 0..self.features.len() {
            let out = self.out.from(feature).first();
            sums.moments::<L, T, _>(token, &rows, &mut walk, &shape, out);
        }
        self.check();
    }

    /// Step 5, second half: the features that `finish` marked are computed again.
    #[inline(always)]
    fn check(&mut self) {
        if self.out.m2.iter().any(|m2| m2.is_nan()) {
            self.with_care();
        }
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
