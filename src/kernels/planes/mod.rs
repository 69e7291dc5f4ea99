//! The plane view: steps 1 to 4 of [`crate::order`] for the planes of a chunk. Values are read in the order in which they
//! lie, and the sums of a feature stay in registers. The inner loop is [`sums::Running::add_plane`].

mod sums;

use std::ops::Range;

use super::PartialMut;
use super::finish::{Pivots, is_zero};
use super::group::{CACHE_LINE, Pass};
use crate::element::Element;
use crate::lanes::Lanes;
use crate::layout::Layout;
use crate::order::{ChunkRange, RUN_GROUPS};
use sums::Running;

/// How far ahead of the values that are summed others are asked for, in bytes of planes.
const AHEAD_BYTES: usize = 16 << 10;

/// Some positions of some planes of one feature.
#[derive(Clone, Copy)]
struct Planes<'a, T> {
    /// The whole batch.
    x: &'a [T],
    /// Where the first plane's first position is.
    start: usize,
    /// Values from one plane to the next.
    stride: usize,
    planes: usize,
    positions: usize,
}

impl<T: Element> Planes<'_, T> {
    #[inline(always)]
    fn count(&self) -> f64 {
        (self.planes * self.positions) as f64
    }

    #[inline(always)]
    fn start_of(&self, plane: usize) -> usize {
        self.start + plane * self.stride
    }

    /// Asks for `len` values, [`AHEAD_BYTES`] ahead of a position of a plane.
    #[inline(always)]
    fn ask<L: Lanes>(&self, token: L::Token, ahead: &Ahead, position: usize, len: usize) {
        let from = if position < ahead.left { ahead.here } else { ahead.after };
        for at in (0..len).step_by(CACHE_LINE / size_of::<T>()) {
            L::prefetch(token, self.x, from.wrapping_add(position + at));
        }
    }

    #[inline(always)]
    fn ahead(&self, plane: usize) -> Ahead {
        let ahead = AHEAD_BYTES / size_of::<T>();
        let (planes, positions) = (ahead / self.positions, ahead % self.positions);
        Ahead {
            here: self.start_of(plane + planes) + positions,
            left: self.positions - positions,
            after: self.start_of(plane + planes + 1).wrapping_sub(self.positions - positions),
        }
    }
}

/// Where the values lie that are some way ahead of those of a plane.
struct Ahead {
    /// Of the first positions.
    here: usize,
    /// How many those are.
    left: usize,
    /// Of the other positions, in the plane that comes next.
    after: usize,
}

/// The moments of some features of a chunk.
pub(super) struct Job<'a, T> {
    pub(super) x: &'a [T],
    pub(super) layout: Layout,
    pub(super) features: &'a Range<usize>,
    pub(super) range: &'a ChunkRange,
    /// Whether to read the planes in the order in which they lie, for batches larger than a cache.
    pub(super) side_by_side: bool,
}

impl<T: Element> Job<'_, T> {
    /// f64 values that running sums of so many features take.
    pub(super) fn space(features: usize) -> usize {
        features * Running::<f64>::len::<T>()
    }

    /// Writes them to `out`.
    #[inline(always)]
    pub(super) fn run<L: Lanes>(&self, token: L::Token, pivots: Pivots, out: PartialMut<'_>, space: &mut [f64]) {
        let pass = Pass::<L>::new(token);
        match pivots {
            Pivots::OfSample if self.side_by_side => self.side_by_side(pass, out, space),
            _ => self.one_by_one(pass, pivots, out),
        }
    }

    /// Each feature by itself: its sums stay in registers.
    #[inline(always)]
    fn one_by_one<L: Lanes>(&self, pass: Pass<L>, pivots: Pivots, mut out: PartialMut<'_>) {
        let sample_range = self.range.sample();
        for (i, feature) in self.features.clone().enumerate() {
            let (planes, out) = (self.planes(feature, self.range), out.from(i).first());
            let mut pivot = out.mean[0];
            if pivots == Pivots::OfSample {
                let sample = self.planes(feature, &sample_range);
                let sums = Running::of::<T, false>(pass, &sample, pass.zero());
                pivot = sums.pivot::<T>(sample.count());
                if is_zero::<T>(pivot) && sample.count() == planes.count() {
                    sums.finish::<T>(pivot, planes.count(), out);
                    continue;
                }
            }
            let sums = if is_zero::<T>(pivot) {
                Running::of::<T, false>(pass, &planes, pass.zero())
            } else {
                Running::of::<T, true>(pass, &planes, L::splat(pass.token, pivot))
            };
            sums.finish::<T>(pivot, planes.count(), out);
        }
    }

    /// All features of an outer block, then those of the next: memory is read in the order in which it lies, at the price
    /// of fetching and storing the sums for each plane.
    #[inline(always)]
    fn side_by_side<L: Lanes>(&self, pass: Pass<L>, mut out: PartialMut<'_>, space: &mut [f64]) {
        let (sample_range, inner) = (self.range.sample(), self.layout.inner());
        for (i, feature) in self.features.clone().enumerate() {
            let sample = self.planes(feature, &sample_range);
            out.mean[i] = Running::of::<T, false>(pass, &sample, pass.zero()).pivot::<T>(sample.count());
        }
        let blocks = Planes { positions: self.features.len() * inner, ..self.planes(self.features.start, self.range) };
        let (mut begun, mut left) = (false, RUN_GROUPS);
        for block in 0..blocks.planes {
            let (start, ahead) = (blocks.start_of(block), blocks.ahead(block));
            let (mut next_begun, mut next_left) = (begun, left);
            for (i, space) in (0..self.features.len()).zip(space.chunks_exact_mut(Running::<L>::len::<T>())) {
                let mut running = Running::new(pass);
                if block > 0 {
                    running.load(pass, begun, left, space);
                }
                let (values, ahead) = (&self.x[start + i * inner..][..inner], Some((&ahead, i * inner)));
                let pivot = out.mean[i];
                if is_zero::<T>(pivot) {
                    running.add_plane::<T, false>(pass, values, pass.zero(), &blocks, ahead);
                } else {
                    running.add_plane::<T, true>(pass, values, L::splat(pass.token, pivot), &blocks, ahead);
                }
                running.store(space);
                (next_begun, next_left) = (running.total.is_some(), running.left);
            }
            (begun, left) = (next_begun, next_left);
        }
        for (i, space) in (0..self.features.len()).zip(space.chunks_exact(Running::<L>::len::<T>())) {
            let mut running = Running::new(pass);
            running.load(pass, begun, left, space);
            let count = (blocks.planes * inner) as f64;
            running.folded::<T>().finish::<T>(out.mean[i], count, out.from(i).first());
        }
    }

    #[inline(always)]
    fn planes(&self, feature: usize, range: &ChunkRange) -> Planes<'_, T> {
        let (inner, stride) = (self.layout.inner(), self.layout.features() * self.layout.inner());
        Planes {
            x: self.x,
            start: range.outer.start * stride + feature * inner + range.positions.start,
            stride,
            planes: range.outer.len(),
            positions: range.positions.len(),
        }
    }
}
