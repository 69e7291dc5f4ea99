//! The reference: the algorithm as one would explain it, one feature at a time, in plain code.
//!
//! Read this to know what is computed; the kernels say how it is made fast. The two share the definition of the order
//! ([`crate::order`]: which outer blocks make a chunk), what happens to values that sums cannot handle
//! ([`crate::careful`]) and the division at the end ([`Partial::variance`]), but no other arithmetic, so that comparing them
//! means something.

use std::ops::Range;

use crate::careful::{self, Stats};
use crate::kernels::{Affine, Partial};
use crate::layout::Layout;
use crate::order::{
    ChunkRange, GROUP_POSITIONS, GROUP_ROWS, Order, PLANE_STREAMS, RUN_GROUPS, Span, TINY_SQUARES, View, sample_group,
    zero_pivot,
};
use crate::{Element, Moments};

pub(super) fn moments<T: Element>(order: &Order, x: &[T], moments: &mut Moments) {
    let layout = order.layout;
    let count = if x.is_empty() { 0 } else { layout.count() };
    moments.fill(layout.features(), count, 0, |mut out, _| {
        for feature in 0..layout.features() {
            let run = tree(order, x, feature, &order.root());
            out.set(feature, run.stats);
        }
    });
}

pub(super) fn variances<T: Element>(moments: Partial<'_>, freedom: f64, to: &mut [T]) {
    for (feature, to) in to.iter_mut().enumerate() {
        *to = T::from_f64(moments.variance(feature, freedom));
    }
}

pub(super) fn normalize<T: Element>(affine: &Affine, layout: Layout, x: Option<&[T]>, y: &mut [T]) {
    for at in 0..y.len() {
        let feature = at / layout.inner() % layout.features();
        let [mean, scale, bias] = affine.of(feature);
        let deviation = x.map_or(y[at], |x| x[at]).to_f64() - mean;
        y[at] = T::from_f64(deviation * scale + bias);
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

/// Chan's formula, with means and m2 as pairs.
fn merge(a: &Run, b: &Run) -> Run {
    let (count_a, count_b) = (a.count as f64, b.count as f64);
    let count = count_a + count_b;
    let join = |a: Stats, b: Stats| {
        let (gap, error) = two_sum(b.mean, -a.mean);
        let delta = two_sum(gap, error + (b.rest - a.rest));
        let step = product(delta, quotient((count_b, 0.0), count));
        let between = product(product(delta, delta), quotient(two_product(count_a, count_b), count));
        let (mean, rest) = sum((a.mean, a.rest), step);
        let (m2, m2_rest) = sum(sum((a.m2, a.m2_rest), (b.m2, b.m2_rest)), between);
        Stats { mean, rest, m2, m2_rest }
    };
    Run { count: a.count + b.count, stats: careful::merge(a.stats, b.stats, count, join) }
}

/// The sum of two pairs.
fn sum(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    let (high, error) = two_sum(a.0, b.0);
    two_sum(high, error + (a.1 + b.1))
}

/// The product of two pairs.
fn product(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    let (high, error) = two_product(a.0, b.0);
    two_sum(high, error + (a.0 * b.1 + a.1 * b.0))
}

/// A pair divided by a number.
fn quotient(a: (f64, f64), b: f64) -> (f64, f64) {
    let quotient = a.0 / b;
    let (product, error) = two_product(quotient, b);
    (quotient, (a.0 - product - error + a.1) / b)
}

/// Sums about a pivot near the mean: as small as the data allow, so that nothing cancels.
fn chunk<T: Element>(order: &Order, x: &[T], feature: usize, range: &ChunkRange) -> Run {
    let grid = Grid::new(order, x, feature, range.clone());
    let count = range.count();

    // 1. The pivot: a rough mean, or 0.
    let mut pivot = pivot(&grid);
    for _ in 0..2 {
        // 2. and 3. Deviations and their squares, summed per stream and folded.
        let sum = grid.sum(T::COMPENSATED, |x| (x - pivot, 0.0));
        let square = |d: f64| if T::COMPENSATED { careful::square(d) } else { (d * d, 0.0) };
        let squares = grid.sum(T::COMPENSATED, |x| square(x - pivot));

        // 4. What the pivot missed is added to the mean and taken out of the squares.
        let stats = about_mean::<T>(pivot, count as f64, sum, squares);

        // 5. Unless too little was left of them: then again, about this mean.
        let sizes = squares.sum == 0.0 || squares.sum >= TINY_SQUARES;
        let conditioned = sizes && squares.sum <= T::MAX_CONDITION * stats.m2;
        if stats.m2.is_finite() && conditioned {
            return Run { count, stats: Stats { m2: stats.m2.max(0.0), ..stats } };
        }
        pivot = stats.mean;
    }
    // Values that this cannot handle.
    Run { count, stats: careful::moments(order.values(x, range, feature)) }
}

/// The mean of a sample in the middle (the mean of all is near, also where the values rise or fall), as an element, so
/// that a constant feature has deviations of exactly 0; or 0, where that is near enough.
fn pivot<T: Element>(grid: &Grid<'_, T>) -> f64 {
    let sample = grid.sample();
    let of = |term: fn(f64) -> f64| sample.sum(false, |x| (term(x), 0.0)).sum;
    let (sum, squares, count) = (of(|x| x), of(|x| x * x), of(|_| 1.0));
    if T::SQUARES_EXACT && zero_pivot(sum, squares, count) {
        return 0.0;
    }
    let pivot = T::from_f64(sum * (1.0 / count)).to_f64();
    if pivot.is_finite() { pivot } else { 0.0 }
}

/// From sums about a pivot to mean and m2; for f64 values all rounding errors are kept.
fn about_mean<T: Element>(pivot: f64, count: f64, sum: Total, squares: Total) -> Stats {
    let offset = sum.sum / count;
    let (mean, rest) = two_sum(pivot, offset);
    if !T::COMPENSATED {
        return Stats { mean, rest, m2: squares.sum - sum.sum * offset, m2_rest: 0.0 };
    }
    let (product, error) = two_product(count, offset);
    let left = sum.sum - product - error + sum.lost;
    let (mean, rest) = two_sum(mean, rest + left / count);
    let (product, error) = two_product(sum.sum, offset);
    let (m2, m2_rest) = two_sum(squares.sum, -product);
    let (m2, m2_rest) = two_sum(m2, m2_rest + (squares.lost - error - offset * (left + sum.lost)));
    Stats { mean, rest, m2, m2_rest }
}

/// A sum, and what it has lost to rounding (kept for f64 values only: squares of f32 values fit f64 with room to
/// spare).
#[derive(Clone, Copy, Default)]
struct Total {
    sum: f64,
    lost: f64,
}

impl Total {
    fn add(self, other: Total, compensated: bool) -> Total {
        let (sum, error) = two_sum(self.sum, other.sum);
        let lost = if compensated { self.lost + (other.lost + error) } else { 0.0 };
        Total { sum, lost }
    }
}

/// One feature of a chunk or of a part of one, as groups of eight rows of streams.
struct Grid<'a, T> {
    order: &'a Order,
    x: &'a [T],
    feature: usize,
    range: ChunkRange,
    groups: Range<usize>,
}

impl<'a, T: Element> Grid<'a, T> {
    fn new(order: &'a Order, x: &'a [T], feature: usize, range: ChunkRange) -> Self {
        let groups = match order.view {
            View::Rows { side } => range.outer.len().div_ceil(side).div_ceil(GROUP_ROWS),
            View::Planes => range.outer.len() * range.positions.len().div_ceil(GROUP_POSITIONS),
        };
        Grid { order, x, feature, range, groups: 0..groups }
    }

    /// The part that the pivot comes from.
    fn sample(&self) -> Self {
        let Grid { order, x, feature, .. } = *self;
        match order.view {
            View::Rows { side } => {
                let group = sample_group(self.range.outer.len().div_ceil(side));
                Grid { order, x, feature, range: self.range.clone(), groups: group..group + 1 }
            }
            View::Planes => Grid::new(order, x, feature, self.range.sample()),
        }
    }

    /// The value that a row of a group gives to a stream, unless the data end before.
    fn value(&self, group: usize, row: usize, stream: usize) -> Option<f64> {
        let layout = self.order.layout;
        let (outer, position) = match self.order.view {
            View::Rows { side } => {
                let row = group * GROUP_ROWS + row;
                (row * side + stream / layout.inner(), stream % layout.inner())
            }
            View::Planes => {
                let groups = self.range.positions.len().div_ceil(GROUP_POSITIONS);
                (group / groups, group % groups * GROUP_POSITIONS + row * PLANE_STREAMS + stream)
            }
        };
        if outer >= self.range.outer.len() || position >= self.range.positions.len() {
            return None;
        }
        let plane = (self.range.outer.start + outer) * layout.features() + self.feature;
        Some(self.x[plane * layout.inner() + self.range.positions.start + position].to_f64())
    }

    /// Sums `term` of all values, and the small rest that it has; what is missing adds 0.
    fn sum(&self, compensated: bool, term: impl Fn(f64) -> (f64, f64)) -> Total {
        let of_stream = |stream| {
            let (mut total, mut run) = (None::<Total>, Total::default());
            let joined = |total: Option<Total>, run| total.map_or(run, |total| total.add(run, compensated));
            for (index, group) in self.groups.clone().enumerate() {
                if index > 0 && index % RUN_GROUPS == 0 {
                    total = Some(joined(total, run));
                    run = Total::default();
                }
                let t = |row| {
                    let (sum, lost) = self.value(group, row, stream).map_or((0.0, 0.0), &term);
                    Total { sum, lost }
                };
                if compensated {
                    run = (0..GROUP_ROWS).map(t).fold(run, |run, x| run.add(x, true));
                } else {
                    let pair = |row| t(row).sum + t(row + 1).sum;
                    let sum = (pair(0) + pair(2)) + (pair(4) + pair(6));
                    run = run.add(Total { sum, lost: 0.0 }, false);
                }
            }
            joined(total, run)
        };
        self.fold((0..self.order.streams(1)).map(of_stream).collect(), compensated)
    }

    /// Adds the streams together in halves: the outer blocks of a row first, then the positions.
    fn fold(&self, mut sums: Vec<Total>, compensated: bool) -> Total {
        let inner = self.order.layout.inner();
        while sums.len() > 1 {
            let half = if sums.len() > inner { sums.len() / 2 } else { sums.len().next_power_of_two() / 2 };
            let upper = sums.split_off(half);
            for (low, high) in sums.iter_mut().zip(upper) {
                *low = low.add(high, compensated);
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

/// `a * b` as a rounded product and its error (Dekker 1971).
fn two_product(a: f64, b: f64) -> (f64, f64) {
    // The upper 26 bits of a number and the rest (Veltkamp 1968), so that products of parts are exact.
    let split = |x: f64| {
        let large = x * 134_217_729.0; // 2^27 + 1
        let high = large - (large - x);
        (high, x - high)
    };
    let product = a * b;
    let ((a, a_low), (b, b_low)) = (split(a), split(b));
    (product, a * b - product + a * b_low + a_low * b + a_low * b_low)
}
