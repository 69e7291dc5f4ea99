//! The moments of one chunk, for some features, on any lanes: by [`super::columns`] or [`super::planes`], and step 5 of
//! [`crate::order`].

use std::ops::Range;

use super::columns::{Columns, Sums};
use super::finish::Pivots;
use super::group::CACHE_LINE;
use super::{ARRAYS, PartialMut, planes};
use crate::careful::{self, Stats};
use crate::element::Element;
use crate::lanes::{Isa, Job, Lanes};
use crate::order::{ChunkRange, GROUP_ROWS, Order, ROW_STREAMS, View};

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

impl<T: Element> Chunk<'_, T> {
    /// f64 values that a chunk of so many features needs to compute in.
    pub(super) fn space(order: &Order, features: usize) -> usize {
        match order.view {
            View::Rows { .. } => Sums::space::<T>(order.streams(features)),
            View::Planes => planes::Job::<T>::space(features),
        }
    }

    /// Steps 1 to 5.
    pub(super) fn run(mut self, isa: Isa) {
        isa.run(Sweep { chunk: self.reborrow(), pivots: Pivots::OfSample });
        if self.out.m2.iter().any(|m2| m2.is_nan()) {
            self.again(isa);
        }
    }

    fn reborrow(&mut self) -> Chunk<'_, T> {
        let (range, features) = (self.range.clone(), self.features.clone());
        Chunk { range, features, out: self.out.reborrow(), space: self.space, ..*self }
    }

    /// Step 5, second half: the features that were marked are computed about the means that were found; those that are
    /// marked once more, with care.
    #[cold]
    #[inline(never)]
    fn again(&mut self, isa: Isa) {
        let mut at = 0;
        while let Some(marked) = self.out.m2[at..].iter().position(|m2| m2.is_nan()) {
            let some = self.together(at + marked);
            at = some.end;
            let mut scratch = [0.0; ARRAYS * ROW_STREAMS];
            let (mut out, _) = PartialMut::from_scratch(&mut scratch, some.len());
            out.mean.copy_from_slice(&self.out.mean[some.clone()]);
            let features = self.features.start + some.start..self.features.start + some.end;
            let chunk = Chunk { features: features.clone(), out: out.reborrow(), ..self.reborrow() };
            isa.run(Sweep { chunk, pivots: Pivots::Given });
            for ((i, to), feature) in some.enumerate().zip(features) {
                if self.out.m2[to].is_nan() {
                    let mean = self.out.mean[to];
                    self.out.set(to, if out.m2[i].is_nan() { self.with_care(feature, mean) } else { out.stats(i) });
                }
            }
        }
    }

    /// The features that are computed in one sweep with a marked one: cache lines of them as long as each has a marked
    /// one, or all where outer blocks lie side by side.
    fn together(&self, marked: usize) -> Range<usize> {
        let all = self.features.len();
        let line = match self.order.view {
            View::Rows { side: 1 } => (CACHE_LINE / size_of::<f64>() / self.order.layout.inner()).max(1),
            View::Rows { .. } => return 0..all,
            View::Planes => return marked..marked + 1,
        };
        let start = marked - marked % line;
        let mut end = (start + line).min(all);
        while end < all.min(start + ROW_STREAMS) && self.out.m2[end..all.min(end + line)].iter().any(|m2| m2.is_nan()) {
            end = all.min(end + line);
        }
        start..end
    }

    fn with_care(&self, feature: usize, mean: f64) -> Stats {
        if T::SQUARES_EXACT && !mean.is_finite() {
            // Sums of f32 values do not overflow.
            return careful::not_finite(mean);
        }
        careful::moments(self.order.values(self.x, &self.range, feature))
    }
}

/// Steps 1 to 4 and the first half of step 5: marked features have an m2 that is NaN.
struct Sweep<'a, T> {
    chunk: Chunk<'a, T>,
    pivots: Pivots,
}

impl<T: Element> Job for Sweep<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, token: L::Token) {
        let pivots = self.pivots;
        match self.chunk.order.view {
            View::Rows { side } => {
                let columns = self.columns(side);
                let streams = self.chunk.order.streams(columns.features);
                Sums::new::<T>(streams, self.chunk.space).moments::<L, T>(token, &columns, pivots, self.chunk.out);
            }
            View::Planes => {
                let Chunk { x, order, ref range, ref features, out, space } = self.chunk;
                let side_by_side = size_of_val(x) > NEAR_BYTES && range.outer.len() > 1;
                let planes = planes::Job { x, layout: order.layout, features, range, side_by_side };
                planes.run::<L>(token, pivots, out, space);
            }
        }
    }
}

impl<'a, T: Element> Sweep<'a, T> {
    #[inline(always)]
    fn columns(&self, side: usize) -> Columns<'a, T> {
        let Chunk { order, x, range, features, .. } = &self.chunk;
        let layout = order.layout;
        Columns {
            x,
            stride: side * layout.features() * layout.inner(),
            column: features.start * layout.inner(),
            first: range.outer.start / side,
            rows: range.outer.len().div_ceil(side),
            all_rows: layout.outer().div_ceil(side),
            side,
            features: features.len(),
            inner: layout.inner(),
            count: range.count(),
            ahead: self.ahead(),
        }
    }

    /// How many rows to ask for ahead, if any: not of what was read just now.
    #[inline(always)]
    fn ahead(&self) -> Option<usize> {
        let Chunk { order, x, features, .. } = &self.chunk;
        let (bytes, row) = (size_of_val(*x), order.streams(features.len()) * size_of::<T>());
        let ahead = AHEAD_BYTES[usize::from(bytes > NEAR_BYTES)];
        let far = bytes > CACHED_BYTES && matches!(self.pivots, Pivots::OfSample);
        far.then(|| ahead.div_ceil(row).next_multiple_of(GROUP_ROWS))
    }
}
