//! Rows: with a parameter per column, from memory or expanded from those of small planes.

use core::ops::Range;

use super::Walk;
use crate::kernels::map::Formula;
use crate::kernels::map::expanded::{Expanded, NARROW, WIDE};
use crate::kernels::map::parameters::{Columns, repeated};
use crate::kernels::map::run::Run;
use crate::kernels::map::store::Store;
use crate::lanes::{Lanes, LoadStore, Outlined, Token};
use crate::layout::Layout;
use crate::tuning::{EXPANDED_COLUMNS, MAP_TILE_COLUMNS};

impl<F, L, W, T, const P: usize, const I: usize> Walk<F, L, W, T, P, I>
where
    F: Formula<P, I>,
    L: LoadStore<T>,
    L::Scalar: LoadStore<T, Scalar = L::Scalar, Token = ()>,
    W: Store,
{
    /// Maps rows of `width` columns; the run starts at `column`. The parameters of a row must be followed by those of
    /// the next row.
    #[inline(always)]
    pub(super) fn rows(&self, parameters: Columns<'_, L::Scalar, P>, width: usize, column: usize, run: Run<'_, T, I>) {
        self.token.outlined(Rows { walk: self, parameters, width, column, run });
    }

    /// Maps columns in whole steps. Returns the number of columns mapped.
    #[inline(always)]
    fn row(&self, parameters: Columns<'_, L::Scalar, P>, run: Run<'_, T, I>) -> usize {
        // A loop for each case that is common in a cache, where tests in the loop would take a third of the time.
        match (self.formula.plain(), run.in_place, run.next_row) {
            (Some(plain), false, None) => {
                self.row_by(plain, parameters, Run { in_place: false, next_row: None, ..run })
            }
            (Some(plain), true, None) => self.row_by(plain, parameters, Run { in_place: true, next_row: None, ..run }),
            (Some(plain), ..) => self.row_by(plain, parameters, run),
            (None, ..) => self.row_by(self.formula, parameters, run),
        }
    }

    /// Runs the inner loop over columns by a formula.
    #[inline(always)]
    fn row_by<G: Formula<P, I>>(
        &self,
        formula: G,
        parameters: Columns<'_, L::Scalar, P>,
        mut run: Run<'_, T, I>,
    ) -> usize {
        // Cut to one length, a multiple of a step, so that the loop needs no other bounds checks.
        let full = run.len() - run.len() % Self::STEP;
        let (parameters, mut run) = (parameters.part(0, full), run.part(0..full));
        let mut at = 0;
        while full - at >= Self::STEP {
            let low = parameters.load::<L>(self.token, at);
            if W::VECTORS == 1 {
                self.one::<L, G>(formula, self.token, low, &mut run, at);
            } else {
                let high = parameters.load::<L>(self.token, at + L::LANES);
                self.pair(formula, low, high, &mut run, at);
            }
            at += Self::STEP;
        }
        full
    }

    /// Maps a few values of rows with ordinary stores. Returns the column after them.
    #[inline(always)]
    fn few_columns(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        width: usize,
        mut column: usize,
        mut run: Run<'_, T, I>,
    ) -> usize {
        let mut at = 0;
        while at < run.len() {
            let done = if run.len() - at >= L::LANES {
                let parameters = parameters.load::<L>(self.token, column);
                self.one::<L, F>(self.formula, self.token, parameters, &mut run, at);
                L::LANES
            } else {
                let parameters = parameters.load::<L::Scalar>((), column);
                self.one::<L::Scalar, F>(self.formula, (), parameters, &mut run, at);
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

    /// Maps narrow rows, several side by side, and narrow rows of small planes, with one parameter per column.
    #[inline(always)]
    pub(super) fn side_by_side(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        layout: Layout,
        start: usize,
        run: Run<'_, T, I>,
    ) {
        let width = layout.features() * layout.inner();
        // As many rows side by side as fit, but no more than there are to map.
        let width = width * (EXPANDED_COLUMNS / width).min(run.len() / width).max(1);
        let mut expanded = Expanded::<_, P, NARROW>::new();
        expanded.fill::<L>(self.token, parameters, layout, 0, width);
        self.rows(expanded.columns(), width, start % width, run);
    }

    /// Maps few wide rows of small planes, or many if they are written with non-temporal stores: in the order of
    /// memory, with the parameters of some columns at a time. With such stores, all pieces but the first start at a
    /// cache line.
    #[inline(always)]
    pub(super) fn expanded_in_order(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        layout: Layout,
        start: usize,
        mut run: Run<'_, T, I>,
    ) {
        let mut expanded = Expanded::<_, P, WIDE>::new();
        let head = self.store.head(run.y);
        let mut at = 0;
        while at < run.len() {
            let len = if at == 0 { head + MAP_TILE_COLUMNS } else { MAP_TILE_COLUMNS }.min(run.len() - at);
            expanded.fill::<L>(self.token, parameters, layout, start + at, len);
            self.rows(expanded.columns(), len, 0, run.part(at..at + len));
            at += len;
        }
    }

    /// Maps wide rows of small planes in tiles: the parameters of a tile serve for all rows. (If there is one tile, in
    /// the order of memory.)
    #[inline(always)]
    pub(super) fn expanded_tiles(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        layout: Layout,
        start: usize,
        mut run: Run<'_, T, I>,
    ) {
        let width = layout.features() * layout.inner();
        let mut expanded = Expanded::<_, P, WIDE>::new();
        if width <= MAP_TILE_COLUMNS {
            expanded.fill::<L>(self.token, parameters, layout, 0, width);
            return self.rows(expanded.columns(), width, start % width, run);
        }
        for first in (0..width).step_by(MAP_TILE_COLUMNS) {
            let columns = first..(first + MAP_TILE_COLUMNS).min(width);
            expanded.fill::<L>(self.token, parameters, layout, first, columns.len());
            for (column, part) in parts(start, run.len(), width, &columns) {
                let part = Run { next_row: Some(width), ..run.part(part) };
                self.rows(expanded.columns(), columns.len(), column, part);
            }
        }
    }

    /// Maps wide rows in tiles: a range of columns of all rows at a time.
    #[inline(always)]
    pub(super) fn tiles(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        width: usize,
        start: usize,
        mut run: Run<'_, T, I>,
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
}

/// The work of [`Walk::rows`].
struct Rows<'a, F, L: Lanes, W, T, const P: usize, const I: usize> {
    walk: &'a Walk<F, L, W, T, P, I>,
    parameters: Columns<'a, L::Scalar, P>,
    width: usize,
    column: usize,
    run: Run<'a, T, I>,
}

impl<F, L, W, T, const P: usize, const I: usize> Outlined for Rows<'_, F, L, W, T, P, I>
where
    F: Formula<P, I>,
    L: LoadStore<T>,
    L::Scalar: LoadStore<T, Scalar = L::Scalar, Token = ()>,
    W: Store,
{
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Rows { walk, parameters, width, column, run } = self;
        let step = Walk::<F, L, W, T, P, I>::STEP;
        let (head, mut run) = {
            let head = walk.store.head(run.y);
            run.split_at(head)
        };
        let mut column = walk.few_columns(parameters, width, column, head);
        let mut at = 0;
        while run.len() - at >= step {
            // To the end of the row, or less than a step beyond it.
            let most = (width - column + step - 1).min(run.len() - at);
            let done = walk.row(parameters.part(column, most), run.part(at..at + most));
            (at, column) = (at + done, column + done);
            // A loop instead of a division, because rows are rarely shorter than a step.
            while column >= width {
                column -= width;
            }
        }
        walk.few_columns(parameters, width, column, run.split_at(at).1);
    }
}

/// Iterates over the parts of a run that lie in a range of columns, one for each row. The run has `len` values and
/// starts at `start` in the batch. Each part comes with its first column, counted from `columns.start`.
fn parts(start: usize, len: usize, width: usize, columns: &Range<usize>) -> Parts {
    Parts { start, end: start + len, width, columns: columns.clone(), row: start / width * width }
}

/// See [`parts`].
struct Parts {
    start: usize,
    end: usize,
    width: usize,
    columns: Range<usize>,
    /// Where in the batch the next row starts.
    row: usize,
}

impl Iterator for Parts {
    type Item = (usize, Range<usize>);

    /// Not inlined: all instruction sets share it, and a part is much work.
    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        while self.row < self.end {
            let row = self.row;
            self.row += self.width;
            let (from, to) = ((row + self.columns.start).max(self.start), (row + self.columns.end).min(self.end));
            if from < to {
                return Some((from - row - self.columns.start, from - self.start..to - self.start));
            }
        }
        None
    }
}
