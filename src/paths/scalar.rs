//! The reference: the algorithm as one would explain it, one feature at a time, in plain code.
//!
//! Read this to know what is computed; the kernels say how it is made fast. The two share the definition of the order
//! ([`crate::order`]: which outer blocks make a chunk) and what happens to values that sums cannot handle
//! ([`crate::careful`]), but no arithmetic, so that comparing them means something.

use std::ops::Range;

use crate::careful::{self, Stats};
use crate::kernels::Affine;
use crate::layout::Layout;
use crate::order::{ChunkRange, GROUP_ROWS, Order, STREAMS, Span, View};
use crate::{Element, Moments};

pub(super) fn moments<T: Element>(order: &Order, x: &[T], moments: &mut Moments) {
    let layout = order.layout;
    moments.fill(layout.features(), layout.count(), 0, |out, _| {
        for feature in 0..layout.features() {
            let run = tree(order, x, feature, &order.root());
            (out.mean[feature], out.rest[feature], out.m2[feature]) = (run.stats.mean, run.stats.rest, run.stats.m2);
        }
    });
}

pub(super) fn normalize<T: Element>(affine: &Affine, layout: Layout, x: Option<&[T]>, y: &mut [T]) {
    for at in 0..y.len() {
        let feature = at / layout.inner() % layout.features();
        let x = x.map_or(y[at], |x| x[at]).to_f64();
        let deviation = x - affine.mean[feature];
        // The rest is what an f64 mean leaves over; for f32 values it is below any rounding.
        let deviation = if T::MEAN_HAS_REST { deviation - affine.rest[feature] } else { deviation };
        y[at] = T::from_f64(deviation * affine.scale[feature] + affine.bias[feature]);
    }
}

/// The moments of some chunks of a feature.
struct Run {
    count: usize,
    stats: Stats,
}

/// Chunks are joined in a binary tree, which keeps rounding errors at its depth and lets threads share the work.
fn tree<T: Element>(order: &Order, x: &[T], feature: usize, span: &Span) -> Run {
    match span.split() {
        Some((left, right)) => merge(&tree(order, x, feature, &left), &tree(order, x, feature, &right)),
        None => chunk(order, x, feature, &order.chunk(span)),
    }
}

/// Chan's formula, with the means as pairs.
fn merge(a: &Run, b: &Run) -> Run {
    let count = a.count + b.count;
    let (count_a, count_b) = (a.count as f64, b.count as f64);
    let (a, b) = (a.stats, b.stats);
    if !(b.mean - a.mean).is_finite() {
        return Run { count, stats: careful::merge(a, count_a, b, count_b) };
    }
    let delta = (b.mean - a.mean) + (b.rest - a.rest);
    let share = count_b / (count_a + count_b);
    let (mean, error) = two_sum(a.mean, delta * share);
    let (mean, rest) = two_sum(mean, error + a.rest);
    let m2 = (a.m2 + b.m2) + delta * delta * (count_a * share);
    Run { count, stats: Stats { mean, rest, m2 } }
}

/// Sums about a pivot near the mean: as small as the data allow, so that nothing cancels.
fn chunk<T: Element>(order: &Order, x: &[T], feature: usize, range: &ChunkRange) -> Run {
    let grid = Grid { order, x, feature, range };
    let count = range.count();

    // 1. The pivot: the mean of the first rows, as an element, so that a constant feature has deviations of exactly 0.
    let first_rows = grid.sums(0..GROUP_ROWS, |x| x);
    let pivot_count = (0..GROUP_ROWS)
        .flat_map(|row| (0..grid.streams()).map(move |stream| (row, stream)))
        .filter(|&(row, stream)| grid.value(row, stream).is_some())
        .count();
    let mut pivot = T::from_f64(grid.fold(first_rows) * (1.0 / pivot_count as f64)).to_f64();
    if !pivot.is_finite() {
        let first = grid.value(0, 0).expect("chunks have values");
        pivot = if first.is_finite() { first } else { 0.0 };
    }

    // 2. and 3. Deviations and their squares, summed per stream and folded.
    let rows = 0..grid.rows();
    let sum = grid.fold(grid.sums(rows.clone(), |x| x - pivot));
    let squares = grid.fold(grid.sums(rows, |x| (x - pivot) * (x - pivot)));

    // 4. What the pivot missed is added to the mean and taken out of the squares.
    let offset = sum / count as f64;
    let (mean, rest) = two_sum(pivot, offset);
    let m2 = squares - sum * offset;

    // 5. Values that this cannot handle.
    let conditioned = T::MAX_CONDITION == f64::INFINITY || squares <= T::MAX_CONDITION * m2;
    if m2.is_finite() && conditioned {
        Run { count, stats: Stats { mean, rest, m2: m2.max(0.0) } }
    } else {
        Run { count, stats: careful::moments(order.values(x, range, feature)) }
    }
}

/// One feature of one chunk, as rows of streams.
struct Grid<'a, T> {
    order: &'a Order,
    x: &'a [T],
    feature: usize,
    range: &'a ChunkRange,
}

impl<T: Element> Grid<'_, T> {
    fn streams(&self) -> usize {
        match self.order.view {
            View::Rows { side } => side * self.order.layout.inner(),
            View::Planes => STREAMS,
        }
    }

    fn rows(&self) -> usize {
        match self.order.view {
            View::Rows { side } => self.range.outer.len().div_ceil(side),
            View::Planes => self.range.outer.len() * self.plane_rows(),
        }
    }

    fn plane_rows(&self) -> usize {
        self.range.positions.len().div_ceil(STREAMS)
    }

    /// The value that a row gives to a stream, unless the data end before.
    fn value(&self, row: usize, stream: usize) -> Option<f64> {
        let layout = self.order.layout;
        let (outer, position) = match self.order.view {
            View::Rows { side } => (row * side + stream / layout.inner(), stream % layout.inner()),
            View::Planes => (row / self.plane_rows(), row % self.plane_rows() * STREAMS + stream),
        };
        if outer >= self.range.outer.len() || position >= self.range.positions.len() {
            return None;
        }
        let plane = (self.range.outer.start + outer) * layout.features() + self.feature;
        Some(self.x[plane * layout.inner() + self.range.positions.start + position].to_f64())
    }

    /// Sums `term` of each stream's values over some rows, eight at a time; what is missing adds 0.
    fn sums(&self, rows: Range<usize>, term: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut sums = vec![0.0; self.streams()];
        for (stream, sum) in sums.iter_mut().enumerate() {
            for row in rows.clone().step_by(GROUP_ROWS) {
                let t = |i| self.value(row + i, stream).map_or(0.0, &term);
                *sum += ((t(0) + t(1)) + (t(2) + t(3))) + ((t(4) + t(5)) + (t(6) + t(7)));
            }
        }
        sums
    }

    /// Adds the streams together in halves: the outer blocks of a row first, then the positions.
    fn fold(&self, mut sums: Vec<f64>) -> f64 {
        let inner = if self.order.view == View::Planes { 1 } else { self.order.layout.inner() };
        while sums.len() > 1 {
            let half = if sums.len() > inner { sums.len() / 2 } else { sums.len().next_power_of_two() / 2 };
            let upper = sums.split_off(half);
            for (low, high) in sums.iter_mut().zip(upper) {
                *low += high;
            }
        }
        sums[0]
    }
}

/// `a + b` as a rounded sum and its exact error (Knuth 1969).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}
