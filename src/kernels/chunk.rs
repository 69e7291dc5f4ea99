//! The moments of one chunk, for some features, on any lanes: which values are summed, and step 5 of [`crate::order`].
//! The sums are [`super::sums`]'.

use std::ops::Range;

use super::PartialMut;
use super::rows::{Columns, Planes};
use super::sums::{Shape, Sums, Walk};
use crate::careful;
use crate::element::Element;
use crate::lanes::{Job, Lanes};
use crate::order::{ChunkRange, Order, PlaneRows, STREAMS, View};

/// Batches up to this size stay in a second-level cache, where prefetching costs more than it brings.
const CACHED_BYTES: usize = 1 << 19;

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
            View::Planes => self.planes::<L>(token),
            View::Rows { side } => self.columns::<L>(token, side),
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
        let inner = order.layout.inner();
        Sums::space::<T>(match order.view {
            View::Rows { side } => side * features * inner,
            View::Planes => PlaneRows::new(inner).len,
        })
    }

    #[inline(always)]
    fn columns<L: Lanes>(&mut self, token: L::Token, side: usize) {
        let layout = self.order.layout;
        let (features, inner) = (self.features.len(), layout.inner());
        let (row, width) = (layout.features() * inner, side * features * inner);
        let columns = Columns {
            x: self.x,
            stride: side * row,
            column: self.features.start * inner,
            width,
            first: self.range.outer.start / side,
            rows: self.range.outer.len().div_ceil(side),
            all_rows: layout.outer().div_ceil(side),
        };
        let shape = self.shape(side, features, inner, width);
        let mut walk = Walk::new(&columns, &shape);
        let mut sums = Sums::new::<T>(width, self.space);
        sums.moments::<L, T, _>(token, &columns, &mut walk, &shape, self.out.reborrow());
    }

    #[inline(always)]
    fn planes<L: Lanes>(&mut self, token: L::Token) {
        let len = PlaneRows::new(self.range.positions.len()).len;
        let rows = Planes::new(self.x, self.order.layout, &self.features, &self.range);
        let shape = self.shape(1, 1, len, STREAMS.min(len));
        // The rows of the next feature follow those of this one: the walk goes on from feature to feature.
        let mut walk = Walk::new(&rows, &shape);
        let mut sums = Sums::new::<T>(len, self.space);
        for feature in 0..self.features.len() {
            let out = self.out.from(feature).first();
            sums.moments::<L, T, _>(token, &rows, &mut walk, &shape, out);
        }
    }

    #[inline(always)]
    fn shape(&self, side: usize, features: usize, inner: usize, sample: usize) -> Shape {
        let prefetch = size_of_val(self.x) > CACHED_BYTES;
        Shape { side, features, inner, sample, count: self.range.count(), prefetch }
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
