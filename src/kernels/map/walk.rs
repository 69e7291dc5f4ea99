//! The traversals: rows, planes, and the tiles that wide rows are cut into. They advance in steps of one vector, or of
//! two if the store policy needs two. The head and the tail, before and after the whole steps, are mapped vector by
//! vector, then value by value.

use std::marker::PhantomData;
use std::ops::Range;

use super::Formula;
use super::parameters::{Columns, Expanded, repeated};
use super::run::Run;
use super::store::Store;
use crate::lanes::{Lanes, LoadStore};
use crate::layout::Layout;
use crate::tuning::{EXPANDED_COLUMNS, FEW_VALUES, MAP_TILE_COLUMNS, SPLAT_INNER};

/// Maps elements of type `T` with `P` parameters and `I` inputs, the first of which may be the output itself.
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
    /// Values per step.
    const STEP: usize = W::VECTORS * L::LANES;

    #[inline(always)]
    pub(super) fn new(token: L::Token, formula: F, store: W) -> Self {
        Walk { token, formula, store, types: PhantomData }
    }

    /// Maps a run that starts at `start` in the batch.
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
        } else if inner == 1 && (width >= EXPANDED_COLUMNS || run.len() <= FEW_VALUES) {
            self.rows(parameters, width, start % width, run);
        } else {
            self.expanded(parameters, layout, start, run);
        }
    }

    /// Maps rows of `width` columns; the run starts at `column`. The parameters of a row must be followed by those of
    /// the next row.
    #[inline(always)]
    fn rows(&self, parameters: Columns<'_, L::Scalar, P>, width: usize, column: usize, run: Run<'_, T, I, IN_PLACE>) {
        let (head, mut run) = {
            let head = self.store.head(run.y);
            run.split_at(head)
        };
        let mut column = self.few_columns(parameters, width, column, head);
        let mut at = 0;
        while run.len() - at >= Self::STEP {
            // To the end of the row, or less than a step beyond it.
            let most = (width - column + Self::STEP - 1).min(run.len() - at);
            let done = self.row(parameters.part(column, most), run.part(at..at + most));
            (at, column) = (at + done, column + done);
            // A loop instead of a division, because rows are rarely shorter than a step.
            while column >= width {
                column -= width;
            }
        }
        self.few_columns(parameters, width, column, run.split_at(at).1);
    }

    /// Runs the inner loop over columns, in whole steps. Returns the number of columns mapped.
    #[inline(always)]
    fn row(&self, parameters: Columns<'_, L::Scalar, P>, mut run: Run<'_, T, I, IN_PLACE>) -> usize {
        // Cut to one length, a multiple of a step, so that the loop needs no other bounds checks.
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

    /// Runs the inner loop over a plane, in whole steps.
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

    /// Maps a few values of rows with ordinary stores. Returns the column after them.
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
            // A loop instead of a division, because rows are rarely shorter than a step.
            while column >= width {
                column -= width;
            }
        }
        column
    }

    /// Maps narrow rows (several side by side) and rows of small planes, with parameters expanded to one per column.
    #[inline(always)]
    fn expanded(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        layout: Layout,
        start: usize,
        mut run: Run<'_, T, I, IN_PLACE>,
    ) {
        let inner = layout.inner();
        let width = layout.features() * inner;
        let mut expanded = Expanded::new();
        // As many rows side by side as fit, but no more than there are to map.
        let side_by_side = (EXPANDED_COLUMNS / width).min(run.len() / width).max(1);
        let (width, most) = (width * side_by_side, EXPANDED_COLUMNS - EXPANDED_COLUMNS % inner);
        if width <= most {
            expanded.fill(parameters, layout, 0..width);
            return self.rows(expanded.columns(), width, start % width, run);
        }
        // The rows are wider than the expanded parameters: map a block of columns of all rows, then the next block.
        for first in (0..width).step_by(most) {
            let columns = first..(first + most).min(width);
            expanded.fill(parameters, layout, columns.clone());
            for (column, part) in parts(start, run.len(), width, &columns) {
                self.rows(expanded.columns(), columns.len(), column, run.part(part));
            }
        }
    }

    /// Maps wide rows in tiles: a range of columns of all rows at a time.
    #[inline(always)]
    fn tiles(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        width: usize,
        start: usize,
        mut run: Run<'_, T, I, IN_PLACE>,
    ) {
        // The first tile is longer, so that the other tiles start at a cache line, where pairs may be stored (in all
        // rows, if the length of a row allows it).
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

    /// Maps planes one after the other, each with the parameters of its feature.
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
                // This step crosses the end of the plane.
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

    /// Maps whole planes from the start of a run, one by one. The last vector of a plane overlaps the one before it and
    /// recomputes some values, which is cheaper than a vector with the parameters of two planes. Returns the number of
    /// values mapped.
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

    /// Maps a few values of planes with ordinary stores.
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

    /// Maps two vectors and stores them as the policy says. This is the body of the inner loop.
    #[inline(always)]
    fn pair(&self, low: [L; P], high: [L; P], run: &mut Run<'_, T, I, IN_PLACE>, at: usize) {
        self.store.prefetch(run, at);
        let (low_inputs, high_inputs) = (run.load::<L>(self.token, at), run.load::<L>(self.token, at + L::LANES));
        let pair = [self.formula.apply(low, low_inputs), self.formula.apply(high, high_inputs)];
        self.store.pair(pair, &mut run.y[at..]);
    }

    /// Maps one vector, or one value, with an ordinary store. This is the body of the inner loop where a step is one
    /// vector, and the body for heads and tails.
    #[inline(always)]
    fn one<V: LoadStore<T>>(&self, token: V::Token, parameters: [V; P], run: &mut Run<'_, T, I, IN_PLACE>, at: usize) {
        self.store.prefetch(run, at);
        let y = self.formula.apply(parameters, run.load::<V>(token, at));
        y.store_to(&mut run.y[at..]);
    }
}

/// Returns the parameters `here` in the first lanes and `next` in the lanes after them.
#[inline(always)]
fn blend<L: Lanes, const P: usize>(mut here: [L; P], lanes: usize, next: [L; P]) -> [L; P] {
    for (here, next) in here.iter_mut().zip(next) {
        *here = here.blend(lanes, next);
    }
    here
}

/// A position in a batch of planes.
struct Plane {
    features: usize,
    inner: usize,
    /// The feature of the current plane.
    feature: usize,
    /// Values from here to the end of the plane, at least one.
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

    /// Advances by `by` values, at most into the next plane.
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

/// Returns the parts of a run that lie in a range of columns, one for each row. The run has `len` values and starts at
/// `start` in the batch. Each part comes with its first column, counted from `columns.start`. (An iterator, because a
/// closure over lanes would be compiled without their instructions.)
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
