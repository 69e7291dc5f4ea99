//! The traversals: rows, planes, and the tiles that wide rows are cut to. They go in steps of one vector, or of two where
//! that is what a store takes; what is left before and after whole steps goes vector by vector, then value by value.

use std::marker::PhantomData;
use std::ops::Range;

use super::Formula;
use super::parameters::{Columns, LaidOut, repeated};
use super::run::Run;
use super::store::Store;
use crate::lanes::{Lanes, LoadStore};
use crate::layout::Layout;
use crate::tuning::{FEW_VALUES, LAID_OUT_COLUMNS, MAP_TILE_COLUMNS, SPLAT_INNER};

/// How to map elements of type `T` by `P` parameters from `I` inputs, the first of which may be the output itself.
pub(super) struct Walk<F, L: Lanes, W, T, const P: usize, const I: usize, const IN_PLACE: bool> {
    token: L::Token,
    formula: F,
    store: W,
    types: PhantomData<(L, T)>,
}

impl<F, L, W, T, const P: usize, const I: usize, const IN_PLACE: bool> Walk<F, L, W, T, P, I, IN_PLACE>
where
    F: Formula<P, I>,
    L: LoadStore<T>,
    L::Scalar: LoadStore<T, Scalar = L::Scalar, Token = ()>,
    W: Store,
{
    /// Values of a step.
    const STEP: usize = W::VECTORS * L::LANES;

    #[inline(always)]
    pub(super) fn new(token: L::Token, formula: F, store: W) -> Self {
        Walk { token, formula, store, types: PhantomData }
    }

    /// A run that begins at `start` of a batch.
    #[inline(always)]
    pub(super) fn batch(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        layout: Layout,
        start: usize,
        run: Run<'_, T, I, IN_PLACE>,
    ) {
        let (inner, width) = (layout.inner(), layout.features() * layout.inner());
        if inner >= SPLAT_INNER.max(Self::STEP) {
            self.planes(parameters, layout, start, run);
        } else if inner == 1 && width > MAP_TILE_COLUMNS && run.len() > width {
            self.tiles(parameters, width, start, run);
        } else if inner == 1 && (width >= LAID_OUT_COLUMNS || run.len() <= FEW_VALUES) {
            self.rows(parameters, width, start % width, run);
        } else {
            self.laid_out(parameters, layout, start, run);
        }
    }

    /// Rows of `width` columns, the first from `column` on. Behind the parameters of a row those of the next one follow.
    #[inline(always)]
    fn rows(&self, parameters: Columns<'_, L::Scalar, P>, width: usize, column: usize, run: Run<'_, T, I, IN_PLACE>) {
        let (head, mut run) = {
            let head = self.store.head(run.y);
            run.split_at(head)
        };
        let mut column = self.few_columns(parameters, width, column, head);
        let mut at = 0;
        while run.len() - at >= Self::STEP {
            // To the end of the row, or a little over it.
            let most = (width - column + Self::STEP - 1).min(run.len() - at);
            let done = self.row(parameters.part(column, most), run.part(at..at + most));
            (at, column) = (at + done, column + done);
            // Rows are rarely shorter than a step: no division.
            while column >= width {
                column -= width;
            }
        }
        self.few_columns(parameters, width, column, run.split_at(at).1);
    }

    /// The inner loop over columns, in whole steps. Gives how many columns that was.
    #[inline(always)]
    fn row(&self, parameters: Columns<'_, L::Scalar, P>, mut run: Run<'_, T, I, IN_PLACE>) -> usize {
        // All cut to one length, a multiple of a step, so that the loop checks no other.
        let full = run.len() - run.len() % Self::STEP;
        let (parameters, mut run) = (parameters.part(0, full), run.part(0..full));
        let mut at = 0;
        while full - at >= Self::STEP {
            let low = parameters.load::<L>(self.token, at);
            if W::VECTORS == 1 {
                self.one::<L>(self.token, low, &mut run, at);
            } else {
                let high = parameters.load::<L>(self.token, at + L::LANES);
                self.pair(low, high, &mut run, at);
            }
            at += Self::STEP;
        }
        full
    }

    /// The inner loop over a plane, in whole steps.
    #[inline(always)]
    fn plane(&self, parameters: [L; P], mut run: Run<'_, T, I, IN_PLACE>) {
        let full = run.len() - run.len() % Self::STEP;
        let mut run = run.part(0..full);
        let mut at = 0;
        while full - at >= Self::STEP {
            if W::VECTORS == 1 {
                self.one::<L>(self.token, parameters, &mut run, at);
            } else {
                self.pair(parameters, parameters, &mut run, at);
            }
            at += Self::STEP;
        }
    }

    /// The same for few values, without non-temporal stores. Gives the column behind them.
    #[inline(always)]
    fn few_columns(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        width: usize,
        mut column: usize,
        mut run: Run<'_, T, I, IN_PLACE>,
    ) -> usize {
        let mut at = 0;
        while at < run.len() {
            let done = if run.len() - at >= L::LANES {
                let parameters = parameters.load::<L>(self.token, column);
                self.one::<L>(self.token, parameters, &mut run, at);
                L::LANES
            } else {
                let parameters = parameters.load::<L::Scalar>((), column);
                self.one::<L::Scalar>((), parameters, &mut run, at);
                1
            };
            at += done;
            column += done;
            // Rows are rarely shorter than a step: no division.
            while column >= width {
                column -= width;
            }
        }
        column
    }

    /// Narrow rows, several side by side, and rows of small planes: parameters are repeated like the values.
    #[inline(always)]
    fn laid_out(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        layout: Layout,
        start: usize,
        mut run: Run<'_, T, I, IN_PLACE>,
    ) {
        let inner = layout.inner();
        let width = layout.features() * inner;
        let mut laid = LaidOut::new();
        // Rows side by side, but no more than there are to map.
        let side_by_side = (LAID_OUT_COLUMNS / width).min(run.len() / width).max(1);
        let (width, most) = (width * side_by_side, LAID_OUT_COLUMNS - LAID_OUT_COLUMNS % inner);
        if width <= most {
            laid.fill(parameters, layout, 0..width);
            return self.rows(laid.columns(), width, start % width, run);
        }
        // Rows wider than what is laid out at a time: some columns of all rows, then the next ones.
        for first in (0..width).step_by(most) {
            let columns = first..(first + most).min(width);
            laid.fill(parameters, layout, columns.clone());
            for (column, part) in parts(start, run.len(), width, &columns) {
                self.rows(laid.columns(), columns.len(), column, run.part(part));
            }
        }
    }

    /// Wide rows, some columns of all of them at a time.
    #[inline(always)]
    fn tiles(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        width: usize,
        start: usize,
        mut run: Run<'_, T, I, IN_PLACE>,
    ) {
        // The first tile is longer by what lets the others begin where pairs may, if rows are so long that they all can.
        let extra = (start % width + self.store.head(run.y)) % repeated::<L::Scalar>();
        let mut first = 0;
        while first < width {
            let columns =
                first..(if first == 0 { extra + MAP_TILE_COLUMNS } else { first + MAP_TILE_COLUMNS }).min(width);
            let parameters = parameters.part(first, columns.len() + repeated::<L::Scalar>());
            for (column, part) in parts(start, run.len(), width, &columns) {
                let part = Run { next_row: Some(width), ..run.part(part) };
                self.rows(parameters, columns.len(), column, part);
            }
            first = columns.end;
        }
    }

    /// Planes one after the other, each with its feature's parameters.
    #[inline(always)]
    fn planes(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        layout: Layout,
        start: usize,
        run: Run<'_, T, I, IN_PLACE>,
    ) {
        let mut plane = Plane::at(layout, start);
        let (head, mut run) = {
            let head = self.store.head(run.y);
            run.split_at(head)
        };
        self.few_positions(parameters, &mut plane, head);
        let mut at = 0;
        if W::VECTORS == 1 && !IN_PLACE && plane.left == layout.inner() {
            at = self.whole_planes(parameters, layout.inner(), &mut plane, &mut run);
        }
        let mut here = parameters.splat::<L>(self.token, plane.feature);
        while run.len() - at >= Self::STEP {
            let steps = (plane.left / Self::STEP).min((run.len() - at) / Self::STEP);
            self.plane(here, run.part(at..at + steps * Self::STEP));
            at += steps * Self::STEP;
            let (left, next_feature) = (plane.left - steps * Self::STEP, plane.next_feature());
            plane.advance(steps * Self::STEP);
            if run.len() - at < Self::STEP {
                break;
            }
            let next = parameters.splat::<L>(self.token, next_feature);
            if left > 0 {
                // Across the end of the plane.
                let low = blend(here, left, next);
                if W::VECTORS == 1 {
                    self.one::<L>(self.token, low, &mut run, at);
                } else {
                    let high = blend(here, left.saturating_sub(L::LANES), next);
                    self.pair(low, high, &mut run, at);
                }
                at += Self::STEP;
                plane.advance(Self::STEP);
            }
            here = next;
        }
        self.few_positions(parameters, &mut plane, run.split_at(at).1);
    }

    /// Whole planes from the start of a run, each by itself: the last vector of a plane covers some values again, which is
    /// cheaper than one with the parameters of two planes. Returns how many values those were.
    #[inline(always)]
    fn whole_planes(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        inner: usize,
        plane: &mut Plane,
        run: &mut Run<'_, T, I, IN_PLACE>,
    ) -> usize {
        let mut at = 0;
        while run.len() - at >= inner {
            let here = parameters.splat::<L>(self.token, plane.feature);
            let mut whole = run.part(at..at + inner);
            let mut position = 0;
            while inner - position >= L::LANES {
                self.one::<L>(self.token, here, &mut whole, position);
                position += L::LANES;
            }
            if position < inner {
                self.one::<L>(self.token, here, &mut whole, inner - L::LANES);
            }
            at += inner;
            plane.feature = plane.next_feature();
        }
        at
    }

    /// The same for few values, without non-temporal stores.
    #[inline(always)]
    fn few_positions(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        plane: &mut Plane,
        mut run: Run<'_, T, I, IN_PLACE>,
    ) {
        let mut at = 0;
        while at < run.len() {
            let done = if plane.left.min(run.len() - at) >= L::LANES {
                let parameters = parameters.splat::<L>(self.token, plane.feature);
                self.one::<L>(self.token, parameters, &mut run, at);
                L::LANES
            } else {
                let parameters = parameters.splat::<L::Scalar>((), plane.feature);
                self.one::<L::Scalar>((), parameters, &mut run, at);
                1
            };
            at += done;
            plane.advance(done);
        }
    }

    /// The inner loop's body: two vectors, stored as the policy says.
    #[inline(always)]
    fn pair(&self, low: [L; P], high: [L; P], run: &mut Run<'_, T, I, IN_PLACE>, at: usize) {
        self.store.prefetch(run, at);
        let (low_inputs, high_inputs) = (run.load::<L>(self.token, at), run.load::<L>(self.token, at + L::LANES));
        let pair = [self.formula.apply(low, low_inputs), self.formula.apply(high, high_inputs)];
        self.store.pair(pair, &mut run.y[at..]);
    }

    /// The inner loop's body, and what is left: one vector, or one value.
    #[inline(always)]
    fn one<V: LoadStore<T>>(&self, token: V::Token, parameters: [V; P], run: &mut Run<'_, T, I, IN_PLACE>, at: usize) {
        self.store.prefetch(run, at);
        let y = self.formula.apply(parameters, run.load::<V>(token, at));
        y.store_to(&mut run.y[at..]);
    }
}

/// These in the first lanes, others in the lanes after them.
#[inline(always)]
fn blend<L: Lanes, const P: usize>(mut these: [L; P], lanes: usize, others: [L; P]) -> [L; P] {
    for (these, other) in these.iter_mut().zip(others) {
        *these = these.blend(lanes, other);
    }
    these
}

/// A place in a batch of planes.
struct Plane {
    features: usize,
    inner: usize,
    /// Whose plane it is.
    feature: usize,
    /// Values to the plane's end, at least one.
    left: usize,
}

impl Plane {
    #[inline(always)]
    fn at(layout: Layout, at: usize) -> Self {
        let (features, inner) = (layout.features(), layout.inner());
        Plane { features, inner, feature: at / inner % features, left: inner - at % inner }
    }

    #[inline(always)]
    fn next_feature(&self) -> usize {
        if self.feature + 1 == self.features { 0 } else { self.feature + 1 }
    }

    /// By at most one plane.
    #[inline(always)]
    fn advance(&mut self, by: usize) {
        if by < self.left {
            self.left -= by;
        } else {
            self.feature = self.next_feature();
            self.left += self.inner - by;
        }
    }
}

/// The parts of a run of `len` values, which starts at `start` in the batch, that lie in some columns of its rows, each
/// with its first column counted from the first of these. (An iterator, because a closure over lanes would be compiled
/// without their instructions.)
fn parts(
    start: usize,
    len: usize,
    width: usize,
    columns: &Range<usize>,
) -> impl Iterator<Item = (usize, Range<usize>)> {
    let (first, last, end) = (columns.start, columns.end, start + len);
    (start / width * width..end).step_by(width).filter_map(move |row| {
        let (from, to) = ((row + first).max(start), (row + last).min(end));
        (from < to).then(|| (from - row - first, from - start..to - start))
    })
}
