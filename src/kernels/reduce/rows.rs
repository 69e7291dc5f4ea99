//! The row view: steps 2 and 3 of [`crate::spec::order`] for some columns of the rows of a chunk, with accumulators in
//! memory. The inner loop is [`RowSums::add_strip`].

use super::accumulator::{Accumulator, LaneContext};
use super::horizontal::Columns;
use super::term::Term;
use crate::lanes::{F64Lanes, LoadStore, prefetch};
use crate::spec::order::{GROUP_ROWS, sample_group};
use crate::tuning::CACHE_LINE;

/// Eight rows. Rows that are missing, at the end, are empty; the one before may be short.
type Group<'a, T> = [&'a [T]; GROUP_ROWS];

/// The same eight times, as an array. Not a loop, which the compiler would write with scatters.
macro_rules! eight {
    ($value:expr) => {
        [$value, $value, $value, $value, $value, $value, $value, $value]
    };
}

/// Some columns of rows that lie one after the other. The last row of the batch may be cut short.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, T, const INPUTS: usize> {
    /// The whole batches.
    pub(super) inputs: [&'a [T]; INPUTS],
    /// Values from one row to the next.
    pub(super) stride: usize,
    /// The first column.
    pub(super) column: usize,
    /// The first row of the chunk.
    pub(super) first: usize,
    /// Rows of the chunk.
    pub(super) rows: usize,
    /// Rows of the batch.
    pub(super) batch_rows: usize,
    /// How the columns belong to features: `[interleave][features][inner]`.
    pub(super) interleave: usize,
    pub(super) features: usize,
    pub(super) inner: usize,
    /// Prefetch distance in rows, if any.
    pub(super) prefetch: Option<usize>,
}

impl<'a, T, const INPUTS: usize> Rows<'a, T, INPUTS> {
    #[inline(always)]
    fn width(&self) -> usize {
        self.interleave * self.features * self.inner
    }

    /// A row, as far as the batch has it.
    #[inline(always)]
    fn row(&self, x: &'a [T], row: usize) -> &'a [T] {
        let tail = x.get((self.first + row) * self.stride + self.column..).unwrap_or_default();
        &tail[..tail.len().min(self.width())]
    }

    /// Eight rows from one on.
    #[inline(always)]
    fn group(&self, row: usize) -> [Group<'a, T>; INPUTS] {
        let mut groups = [[&[][..]; GROUP_ROWS]; INPUTS];
        for (group, x) in groups.iter_mut().zip(self.inputs) {
            let mut rows = row..self.rows;
            *group = eight!(rows.next().map_or(&[], |row| self.row(x, row)));
        }
        groups
    }

    /// The same if the batch has all of each.
    #[inline(always)]
    fn whole_group(&self, row: usize) -> Option<[Group<'a, T>; INPUTS]> {
        let (width, start) = (self.width(), (self.first + row) * self.stride + self.column);
        if row + GROUP_ROWS > self.rows {
            return None;
        }
        let mut groups = [[&[][..]; GROUP_ROWS]; INPUTS];
        for (group, x) in groups.iter_mut().zip(self.inputs) {
            let rows = x.get(start..start + (GROUP_ROWS - 1) * self.stride + width)?;
            let mut rows = rows.chunks(self.stride);
            *group = eight!(rows.next().map_or(&[][..], |row| &row[..width]));
        }
        Some(groups)
    }

    /// Where the row starts that comes so many rows after the start of the chunk; past the last row of the batch come the
    /// first rows of the columns that are summed next.
    #[inline(always)]
    fn start_of(&self, row: usize) -> usize {
        let row = self.first + row;
        match row.checked_sub(self.batch_rows) {
            None => row * self.stride + self.column,
            Some(row) => row * self.stride + self.column + self.width(),
        }
    }

    /// Prefetches what a strip of eight rows is long, of one row; past the end of a row, where it is short, too.
    #[inline(always)]
    fn prefetch_strip<L: F64Lanes>(&self, from: usize) {
        for x in self.inputs {
            for at in (0..GROUP_ROWS * L::LANES).step_by(CACHE_LINE / size_of::<T>()) {
                prefetch(x, from + at);
            }
        }
    }

    /// Prefetches the sample of the chunk after this one: nothing can be summed while it is waited for.
    #[inline(always)]
    pub(super) fn prefetch_next_sample(&self) {
        let sample = self.rows + sample_group(self.rows) * GROUP_ROWS;
        for row in sample..sample + GROUP_ROWS {
            let start = self.start_of(row);
            for x in self.inputs {
                for at in (0..self.width()).step_by(CACHE_LINE / size_of::<T>()) {
                    prefetch(x, start + at);
                }
            }
        }
    }
}

/// Shift and accumulators of each column, in memory.
pub(super) struct RowSums<'a, const SUMS: usize> {
    shift: &'a mut [f64],
    sums: [Columns<'a>; SUMS],
}

/// Whole vectors are a part of this many values, which are a cache line.
const LINE: usize = CACHE_LINE / size_of::<f64>();

impl<'a, const SUMS: usize> RowSums<'a, SUMS> {
    /// f64 values that the sums of so many columns take.
    pub(super) fn workspace(columns: usize, compensated: bool) -> usize {
        let arrays = if compensated { 1 + 2 * SUMS } else { 1 + SUMS };
        arrays * columns.next_multiple_of(LINE) + LINE
    }

    /// In a workspace, whatever it holds; from the start of a cache line on, because vectors that cross one are slower.
    #[inline(always)]
    pub(super) fn new(columns: usize, compensated: bool, workspace: &'a mut [f64]) -> Self {
        let columns = columns.next_multiple_of(LINE);
        let before = workspace.as_ptr().align_offset(CACHE_LINE).min(LINE);
        let (shift, mut workspace) = workspace[before..].split_at_mut(columns);
        let mut sums = std::array::from_fn(|_| Columns { sum: &mut [], compensation: &mut [] });
        for sums in &mut sums {
            (sums.sum, workspace) = std::mem::take(&mut workspace).split_at_mut(columns);
        }
        for sums in &mut sums {
            let kept = if compensated { columns } else { 0 };
            (sums.compensation, workspace) = std::mem::take(&mut workspace).split_at_mut(kept);
        }
        RowSums { shift, sums }
    }

    /// Sets the shift of each column from that of its feature.
    #[inline(always)]
    pub(super) fn lay_out_shifts<T, const INPUTS: usize>(&mut self, rows: &Rows<'_, T, INPUTS>, by_feature: &[f64]) {
        let width = rows.features * rows.inner;
        if rows.inner == 1 {
            self.shift[..width].copy_from_slice(by_feature);
        } else {
            for (columns, shift) in self.shift[..width].chunks_exact_mut(rows.inner).zip(by_feature) {
                columns.fill(*shift);
            }
        }
        let mut copies = 1;
        while copies < rows.interleave {
            self.shift.copy_within(..copies * width, copies * width);
            copies *= 2;
        }
    }

    /// Steps 2 and 3: leaves one accumulator per feature at the start.
    #[inline(always)]
    pub(super) fn accumulate<K: Term<I, SUMS>, L: F64Lanes + LoadStore<T>, T, const I: usize>(
        &mut self,
        ctx: LaneContext<L>,
        rows: &Rows<'_, T, I>,
    ) {
        self.clear::<L>(ctx, rows.width());
        for row in (0..rows.rows).step_by(GROUP_ROWS) {
            self.add_group::<K, L, T, I>(ctx, rows, row, rows.prefetch.map(|distance| row + distance));
        }
        self.reduce(rows, K::COMPENSATED);
    }

    /// The same for one group alone. Gives how many values per feature that was.
    #[inline(always)]
    pub(super) fn accumulate_group<K: Term<I, SUMS>, L: F64Lanes + LoadStore<T>, T, const I: usize>(
        &mut self,
        ctx: LaneContext<L>,
        rows: &Rows<'_, T, I>,
        group: usize,
    ) -> f64 {
        self.clear::<L>(ctx, rows.width());
        let values = self.add_group::<K, L, T, I>(ctx, rows, group * GROUP_ROWS, None);
        self.reduce(rows, K::COMPENSATED);
        (values / rows.features) as f64
    }

    /// What [`RowSums::accumulate`] left of some features.
    #[inline(always)]
    pub(super) fn features<L: F64Lanes>(&self, token: L::Token, at: usize) -> [Accumulator<L>; SUMS] {
        let zero = L::splat(token, 0.0);
        let mut sums = [Accumulator { sum: zero, compensation: zero }; SUMS];
        for (to, from) in sums.iter_mut().zip(&self.sums) {
            to.sum = L::load(token, &from.sum[at..]);
            if !from.compensation.is_empty() {
                to.compensation = L::load(token, &from.compensation[at..]);
            }
        }
        sums
    }

    /// One of the sums of every feature, without its compensation term.
    #[inline(always)]
    pub(super) fn sum(&self, index: usize) -> &[f64] {
        self.sums[index].sum
    }

    /// Sets the accumulators of the first columns to 0.
    #[inline(always)]
    fn clear<L: F64Lanes>(&mut self, ctx: LaneContext<L>, columns: usize) {
        // Hidden, because a call of memset costs more than the few stores.
        let zero = L::splat(ctx.token, std::hint::black_box(0.0));
        for sums in &mut self.sums {
            for array in [&mut *sums.sum, &mut *sums.compensation] {
                for at in (0..columns.min(array.len())).step_by(L::LANES) {
                    zero.store(&mut array[at..]);
                }
            }
        }
    }

    /// Step 3.
    #[inline(always)]
    fn reduce<T, const I: usize>(&mut self, rows: &Rows<'_, T, I>, compensated: bool) {
        for sums in &mut self.sums {
            let compensation = if compensated { &mut *sums.compensation } else { &mut [] };
            Columns { sum: sums.sum, compensation }.reduce(rows.interleave, rows.features, rows.inner);
        }
    }

    /// Step 2 for eight rows from one on; prefetches those from `prefetch` on. Gives how many values those were.
    #[inline(always)]
    fn add_group<K: Term<I, SUMS>, L: F64Lanes + LoadStore<T>, T, const I: usize>(
        &mut self,
        ctx: LaneContext<L>,
        rows: &Rows<'_, T, I>,
        row: usize,
        prefetch: Option<usize>,
    ) -> usize {
        let width = rows.width();
        if let Some(groups) = rows.whole_group(row) {
            let full = width - width % L::LANES;
            self.add_strips::<K, L, T, I>(ctx, groups, full, rows, prefetch);
            if full < width {
                self.add_edge::<K, L, T, I>(ctx, &groups, GROUP_ROWS, full);
            }
            return GROUP_ROWS * width;
        }
        let groups = rows.group(row);
        // Only the last row may be shorter than the first, and only of a batch with `interleave > 1`.
        let first = &groups[0];
        let (width, count) = (first[0].len(), first.iter().filter(|row| !row.is_empty()).count());
        for at in (0..width).step_by(L::LANES) {
            self.add_edge::<K, L, T, I>(ctx, &groups, count, at);
        }
        width * (count - 1) + first[count - 1].len()
    }

    /// The first `full` columns, as many at a time as there are lanes; prefetches the rows from `prefetch` on.
    #[inline(always)]
    fn add_strips<K: Term<I, SUMS>, L: F64Lanes + LoadStore<T>, T, const I: usize>(
        &mut self,
        ctx: LaneContext<L>,
        mut groups: [Group<'_, T>; I],
        full: usize,
        rows: &Rows<'_, T, I>,
        prefetch: Option<usize>,
    ) {
        // All cut to one length here, so that the loop checks no other.
        for group in &mut groups {
            for row in group {
                *row = &row[..full];
            }
        }
        let mut sums = self.first(full);
        let mut at = 0;
        if let Some(prefetch) = prefetch {
            // Row by row, in the order in which they lie: an eighth of the strips for each, or all before short ones.
            let strip = GROUP_ROWS * L::LANES;
            let share = full / strip;
            for row in prefetch..prefetch + GROUP_ROWS {
                let start = rows.start_of(row);
                for part in 0..share {
                    rows.prefetch_strip::<L>(start + part * strip);
                    sums.add_strip::<K, L, T, I>(ctx, &groups, at);
                    at += L::LANES;
                }
                if share * strip < rows.width() {
                    rows.prefetch_strip::<L>(start + share * strip);
                }
            }
        }
        while full - at >= L::LANES {
            sums.add_strip::<K, L, T, I>(ctx, &groups, at);
            at += L::LANES;
        }
    }

    /// Those of the first columns alone.
    #[inline(always)]
    fn first(&mut self, columns: usize) -> RowSums<'_, SUMS> {
        let mut sums = std::array::from_fn(|_| Columns { sum: &mut [], compensation: &mut [] });
        for (to, from) in sums.iter_mut().zip(&mut self.sums) {
            let kept = columns.min(from.compensation.len());
            *to = Columns { sum: &mut from.sum[..columns], compensation: &mut from.compensation[..kept] };
        }
        RowSums { shift: &mut self.shift[..columns], sums }
    }

    /// The inner loop: eight rows, as many columns as there are lanes.
    #[inline(always)]
    fn add_strip<K: Term<I, SUMS>, L: F64Lanes + LoadStore<T>, T, const I: usize>(
        &mut self,
        ctx: LaneContext<L>,
        groups: &[Group<'_, T>; I],
        at: usize,
    ) {
        let mut inputs = [[ctx.one; GROUP_ROWS]; I];
        for (values, rows) in inputs.iter_mut().zip(groups) {
            for (x, row) in values.iter_mut().zip(rows) {
                *x = L::load_from(ctx.token, &row[at..]);
            }
        }
        let shift = L::load(ctx.token, &self.shift[at..]);
        if K::UNSHIFTED_IS_CHEAPER && shift.all_zero() {
            self.add::<K::Unshifted, L, I>(ctx, at, inputs, shift, GROUP_ROWS);
        } else {
            self.add::<K, L, I>(ctx, at, inputs, shift, GROUP_ROWS);
        }
    }

    /// The same for `count` rows of which the last may end within the lanes or before.
    #[inline(always)]
    fn add_edge<K: Term<I, SUMS>, L: F64Lanes + LoadStore<T>, T, const I: usize>(
        &mut self,
        ctx: LaneContext<L>,
        groups: &[Group<'_, T>; I],
        count: usize,
        at: usize,
    ) {
        let shift = L::load(ctx.token, &self.shift[at..]);
        let neutral = K::neutral(ctx, shift);
        let mut inputs = [[ctx.one; GROUP_ROWS]; I];
        for ((values, rows), neutral) in inputs.iter_mut().zip(groups).zip(neutral) {
            for (x, row) in values.iter_mut().zip(rows) {
                *x = match row.get(at..) {
                    Some(row) if row.len() >= L::LANES => L::load_from(ctx.token, row),
                    Some(row) if !row.is_empty() => L::load_partial(ctx.token, row, neutral),
                    _ => neutral,
                };
            }
        }
        self.add::<K, L, I>(ctx, at, inputs, shift, count);
    }

    #[inline(always)]
    fn add<K: Term<I, SUMS>, L: F64Lanes, const I: usize>(
        &mut self,
        ctx: LaneContext<L>,
        at: usize,
        inputs: [[L; GROUP_ROWS]; I],
        shift: L,
        rows: usize,
    ) {
        let mut sums = [Accumulator::zero(ctx); SUMS];
        for (to, from) in sums.iter_mut().zip(&self.sums) {
            to.sum = L::load(ctx.token, &from.sum[at..]);
            if K::COMPENSATED {
                to.compensation = L::load(ctx.token, &from.compensation[at..]);
            }
        }
        K::add(ctx, inputs, shift, rows, &mut sums);
        for (from, to) in sums.iter().zip(&mut self.sums) {
            from.sum.store(&mut to.sum[at..]);
            if K::COMPENSATED {
                from.compensation.store(&mut to.compensation[at..]);
            }
        }
    }
}
