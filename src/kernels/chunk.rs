//! The inner kernel: the moments of one chunk, for some features, on any lanes.
//!
//! Steps 1 to 5 of [`crate::order`]; the inner loop is [`add_strip`].

use std::ops::Range;

use super::rows::{Columns, Group, Planes, Rows};
use super::{PartialMut, fold};
use crate::careful::{self, Stats};
use crate::element::Element;
use crate::lanes::{Job, Lanes};
use crate::order::{ChunkRange, GROUP_ROWS, Order, STREAMS, View};

/// Columns that one call sums side by side at most: their pivots and sums (20 KiB) stay in a first-level cache.
pub(super) const GROUP_COLUMNS: usize = 1024;

/// Enough for every narrow batch (`side > 1`): small calls should not clear 20 KiB.
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
            values: &self.x[self.range.outer.start * row + self.features.start * inner..self.range.outer.end * row],
            stride: side * row,
            width: side * features * inner,
        };
        let shape = Shape {
            side,
            features,
            inner,
            pivot_count: self.range.outer.len().min(GROUP_ROWS * side) * inner,
            count: self.range.count(),
        };
        Sums::<N>::new().moments::<L, T>(token, &columns, &shape, self.out.reborrow());
        self.check();
    }

    #[inline(always)]
    fn planes<L: Lanes>(mut self, token: L::Token) {
        let layout = self.order.layout;
        let mut sums = Sums::<STREAMS>::new();
        for (i, feature) in self.features.clone().enumerate() {
            let rows = Planes::new(self.x, layout.features(), feature, layout.inner(), &self.range);
            let shape = Shape {
                side: STREAMS,
                features: 1,
                inner: 1,
                pivot_count: pivot_count(&rows),
                count: self.range.count(),
            };
            let out = PartialMut {
                mean: &mut self.out.mean[i..=i],
                rest: &mut self.out.rest[i..=i],
                m2: &mut self.out.m2[i..=i],
            };
            sums.moments::<L, T>(token, &rows, &shape, out);
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
                let Stats { mean, rest, m2 } = careful::moments(self.order.values(self.x, &self.range, feature));
                (self.out.mean[i], self.out.rest[i], self.out.m2[i]) = (mean, rest, m2);
            }
        }
    }
}

fn pivot_count<T>(rows: &Planes<'_, T>) -> usize {
    rows.group(0).iter().map(|row| row.len()).sum()
}

/// How the streams of a chunk belong to features: `[side][features][inner]`.
struct Shape {
    side: usize,
    features: usize,
    inner: usize,
    /// Values per feature in the first group of rows.
    pivot_count: usize,
    /// Values per feature in the chunk.
    count: usize,
}

/// Pivot and sums of up to `N` streams.
struct Sums<const N: usize> {
    pivot: [f64; N],
    first: [f64; N],
    second: [f64; N],
}

impl<const N: usize> Sums<N> {
    #[inline(always)]
    fn new() -> Self {
        Sums { pivot: [0.0; N], first: [0.0; N], second: [0.0; N] }
    }

    #[inline(always)]
    fn moments<L: Lanes, T: Element>(
        &mut self,
        token: L::Token,
        rows: &impl Rows<T>,
        shape: &Shape,
        out: PartialMut<'_>,
    ) {
        let width = shape.side * shape.features * shape.inner;
        self.pivot[..width].fill(0.0);
        self.first[..width].fill(0.0);
        add_group::<L, T, false>(token, &rows.group(0), width, &self.pivot, &mut self.first, &mut self.second);
        fold(&mut self.first, shape.side, shape.features, shape.inner);
        self.choose_pivots(rows, shape, out.mean);

        self.first[..width].fill(0.0);
        self.second[..width].fill(0.0);
        for row in (0..rows.len()).step_by(GROUP_ROWS) {
            add_group::<L, T, true>(token, &rows.group(row), width, &self.pivot, &mut self.first, &mut self.second);
        }
        fold(&mut self.first, shape.side, shape.features, shape.inner);
        fold(&mut self.second, shape.side, shape.features, shape.inner);
        finish::<L, T>(token, shape.count as f64, &self.first, &self.second, out);
    }

    /// Step 1: the means of the first group, one per feature to `compact`, one per stream to `self.pivot`.
    #[inline(always)]
    fn choose_pivots<T: Element>(&mut self, rows: &impl Rows<T>, shape: &Shape, compact: &mut [f64]) {
        let scale = 1.0 / shape.pivot_count as f64;
        let mut finite = true;
        for (pivot, sum) in compact.iter_mut().zip(&self.first) {
            *pivot = T::from_f64(*sum * scale).to_f64();
            finite &= pivot.is_finite();
        }
        if !finite {
            for (feature, pivot) in compact.iter_mut().enumerate().filter(|(_, pivot)| !pivot.is_finite()) {
                let first = rows.row(0)[feature * shape.inner].to_f64();
                *pivot = if first.is_finite() { first } else { 0.0 };
            }
        }
        let row = shape.features * shape.inner;
        if shape.inner == 1 {
            self.pivot[..row].copy_from_slice(compact);
        } else {
            for (streams, pivot) in self.pivot[..row].chunks_exact_mut(shape.inner).zip(compact) {
                streams.fill(*pivot);
            }
        }
        for copy in 1..shape.side {
            self.pivot.copy_within(..row, copy * row);
        }
    }
}

/// Step 2 for eight rows: adds them to the sums of `width` streams, about the pivots.
#[inline(always)]
fn add_group<L: Lanes, T: Element, const SQUARES: bool>(
    token: L::Token,
    rows: &Group<'_, T>,
    width: usize,
    pivot: &[f64],
    first: &mut [f64],
    second: &mut [f64],
) {
    let mut full = width;
    for row in rows {
        full = full.min(row.len());
    }
    let full = full - full % L::LANES;
    // Cut to one length here, so that the loop needs no further checks.
    let mut strips = *rows;
    for row in &mut strips {
        *row = &row[..full];
    }
    for at in (0..full).step_by(L::LANES) {
        let k = L::load(token, &pivot[at..]);
        add_strip::<L, T, SQUARES>(token, &strips, at, k, &mut first[at..], &mut second[at..]);
    }
    for at in (full..width).step_by(L::LANES) {
        add_edge::<L, T, SQUARES>(token, rows, at, &pivot[at..], &mut first[at..], &mut second[at..]);
    }
}

/// The inner loop: eight rows, as many columns as there are lanes.
#[inline(always)]
fn add_strip<L: Lanes, T: Element, const SQUARES: bool>(
    token: L::Token,
    rows: &Group<'_, T>,
    at: usize,
    pivot: L,
    first: &mut [f64],
    second: &mut [f64],
) {
    let mut d = [pivot; GROUP_ROWS];
    for (d, row) in d.iter_mut().zip(rows) {
        *d = T::load::<L>(token, &row[at..]).sub(pivot);
    }
    add_deviations::<L, SQUARES>(token, d, first, second);
}

/// The same where some rows end: what is missing reads as the pivot, which adds nothing.
#[inline(always)]
fn add_edge<L: Lanes, T: Element, const SQUARES: bool>(
    token: L::Token,
    rows: &Group<'_, T>,
    at: usize,
    pivots: &[f64],
    first: &mut [f64],
    second: &mut [f64],
) {
    let pivot = L::load(token, pivots);
    let mut d = [L::splat(token, 0.0); GROUP_ROWS];
    for (d, row) in d.iter_mut().zip(rows) {
        if let Some(row) = row.get(at..)
            && !row.is_empty()
        {
            *d = load_part::<L, T>(token, row, pivots).sub(pivot);
        }
    }
    add_deviations::<L, SQUARES>(token, d, first, second);
}

/// The start of `row`, or all of it followed by the values of `fill`.
#[inline(always)]
fn load_part<L: Lanes, T: Element>(token: L::Token, row: &[T], fill: &[f64]) -> L {
    if row.len() >= L::LANES {
        return T::load::<L>(token, row);
    }
    let mut part = [0.0; 16];
    part[..L::LANES].copy_from_slice(&fill[..L::LANES]);
    for (to, from) in part.iter_mut().zip(row) {
        *to = from.to_f64();
    }
    L::load(token, &part)
}

#[inline(always)]
fn add_deviations<L: Lanes, const SQUARES: bool>(
    token: L::Token,
    d: [L; GROUP_ROWS],
    first: &mut [f64],
    second: &mut [f64],
) {
    L::load(token, first).add(pairwise(d)).store(first);
    if SQUARES {
        let mut squares = d;
        for d in &mut squares {
            *d = d.mul(*d);
        }
        L::load(token, second).add(pairwise(squares)).store(second);
    }
}

#[inline(always)]
fn pairwise<L: Lanes>([a, b, c, d, e, f, g, h]: [L; GROUP_ROWS]) -> L {
    let low = a.add(b).add(c.add(d));
    let high = e.add(f).add(g.add(h));
    low.add(high)
}

/// Step 4. `out.mean` holds the pivots; `out.m2` becomes NaN where step 5 must look again.
#[inline(always)]
fn finish<L: Lanes, T: Element>(token: L::Token, count: f64, first: &[f64], second: &[f64], out: PartialMut<'_>) {
    let PartialMut { mean, rest, m2 } = out;
    let features = mean.len();
    let full = features - features % L::LANES;
    for at in (0..full).step_by(L::LANES) {
        let to = PartialMut { mean: &mut mean[at..], rest: &mut rest[at..], m2: &mut m2[at..] };
        finish_lanes::<L>(token, count, &first[at..], &second[at..], to);
    }
    for at in full..features {
        let to = PartialMut { mean: &mut mean[at..], rest: &mut rest[at..], m2: &mut m2[at..] };
        finish_lanes::<f64>((), count, &first[at..], &second[at..], to);
    }
    for (m2, second) in m2.iter_mut().zip(second) {
        let conditioned = T::MAX_CONDITION == f64::INFINITY || *second <= T::MAX_CONDITION * *m2;
        *m2 = if m2.is_finite() && conditioned { m2.max(0.0) } else { f64::NAN };
    }
}

#[inline(always)]
fn finish_lanes<L: Lanes>(token: L::Token, count: f64, first: &[f64], second: &[f64], out: PartialMut<'_>) {
    let first = L::load(token, first);
    let offset = first.div(L::splat(token, count));
    let (mean, rest) = two_sum(L::load(token, out.mean), offset);
    mean.store(out.mean);
    rest.store(out.rest);
    L::load(token, second).sub(first.mul(offset)).store(out.m2);
}

/// `a + b` as a rounded sum and its exact error (Knuth 1969).
#[inline(always)]
pub(super) fn two_sum<L: Lanes>(a: L, b: L) -> (L, L) {
    let sum = a.add(b);
    let b_part = sum.sub(a);
    (sum, a.sub(sum.sub(b_part)).add(b.sub(b_part)))
}
