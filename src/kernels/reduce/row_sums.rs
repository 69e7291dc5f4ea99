//! The row view: steps 2 and 3 of [`spec::order`](crate::spec::order), with accumulators in memory. The inner loop is
//! [`RowSums::add_strip`].

use core::marker::PhantomData;

use super::accumulator::{Accumulator, LaneContext};
use super::horizontal::{Columns, FeatureSums, Reduce};
use super::rows::{Group, Rows};
use super::term::Term;
use crate::Element;
use crate::lanes::{F64Lanes, LoadStore, Outlined, Token};
use crate::spec::order::{GROUP_ROWS, ROW_ACCUMULATORS};
use crate::tuning::CACHE_LINE;

/// f64 values in a cache line, a multiple of every number of lanes.
const LINE: usize = CACHE_LINE / size_of::<f64>();

/// Returns the number of f64 values that the sums of `columns` columns need.
pub(super) fn workspace<K: Term<I, SUMS>, const I: usize, const SUMS: usize>(columns: usize) -> usize {
    let arrays = if K::COMPENSATED { 1 + 2 * SUMS } else { 1 + SUMS };
    arrays * columns.next_multiple_of(LINE) + LINE
}

/// The sums of a term in memory: the shift and the accumulators of each column.
pub(super) struct RowSums<'a, K, L: F64Lanes, T, const I: usize, const SUMS: usize> {
    ctx: LaneContext<L>,
    rows: Rows<'a, T, I>,
    shift: &'a mut [f64],
    sums: [Columns<'a>; SUMS],
    term: PhantomData<K>,
}

impl<'a, K, L, T, const I: usize, const SUMS: usize> RowSums<'a, K, L, T, I, SUMS>
where
    T: Element,
    K: Term<I, SUMS>,
    L: F64Lanes + LoadStore<T>,
{
    /// Places the sums in a [`workspace`], whose contents do not matter. They start at a cache line, because vectors
    /// that cross a line boundary are slower.
    #[inline(always)]
    pub(super) fn new(ctx: LaneContext<L>, rows: Rows<'a, T, I>, workspace: &'a mut [f64]) -> Self {
        let columns = rows.width().next_multiple_of(LINE);
        let before = workspace.as_ptr().align_offset(CACHE_LINE).min(LINE);
        let (shift, mut workspace) = workspace[before..].split_at_mut(columns);
        let mut sums = [const { Columns::empty() }; SUMS];
        for sums in &mut sums {
            let kept = if K::COMPENSATED { columns } else { 0 };
            (sums.sum, workspace) = core::mem::take(&mut workspace).split_at_mut(columns);
            (sums.compensation, workspace) = core::mem::take(&mut workspace).split_at_mut(kept);
        }
        RowSums { ctx, rows, shift, sums, term: PhantomData }
    }

    /// Performs steps 2 and 3 about the shift of each feature.
    #[inline(always)]
    pub(super) fn accumulate(mut self, shifts: &[f64]) -> FeatureSums<'a, SUMS> {
        self.expand_shifts(shifts);
        self.clear();
        for row in (0..self.rows.rows).step_by(GROUP_ROWS) {
            self.add_group(row, self.rows.prefetch.map(|prefetch| row + prefetch.rows));
        }
        self.reduced()
    }

    /// Performs steps 2 and 3 for one group alone, without shifts. Also returns the number of values per feature.
    #[inline(always)]
    pub(super) fn accumulate_group(mut self, group: usize) -> (FeatureSums<'a, SUMS>, f64) {
        self.clear();
        let values = self.add_group(group * GROUP_ROWS, None);
        let count = (values / self.rows.features) as f64;
        (self.reduced(), count)
    }

    /// Sets the shift of each column to that of its feature.
    #[inline(always)]
    fn expand_shifts(&mut self, shifts: &[f64]) {
        let width = self.rows.features * self.rows.inner;
        if self.rows.inner == 1 {
            self.shift[..width].copy_from_slice(shifts);
        } else {
            for (columns, shift) in self.shift[..width].chunks_exact_mut(self.rows.inner).zip(shifts) {
                columns.fill(*shift);
            }
        }
        let mut copies = 1;
        while copies < self.rows.interleave {
            self.shift.copy_within(..copies * width, copies * width);
            copies *= 2;
        }
    }

    /// Sets all accumulators to 0.
    #[inline(always)]
    fn clear(&mut self) {
        // Hidden from the compiler, because a call of memset costs more than these few stores.
        let zero = L::splat(self.ctx.token, core::hint::black_box(0.0));
        for sums in &mut self.sums {
            for array in [&mut *sums.sum, &mut *sums.compensation] {
                for at in (0..self.rows.width().min(array.len())).step_by(L::LANES) {
                    zero.store(&mut array[at..]);
                }
            }
        }
    }

    /// Performs step 3.
    #[inline(always)]
    fn reduced(self) -> FeatureSums<'a, SUMS> {
        let Rows { interleave, features, inner, .. } = self.rows;
        let mut sums = self.sums;
        if interleave > 1 || inner > 1 {
            for columns in sums.iter_mut().take(K::ADDS_TO) {
                self.ctx.token.outlined(Reduce { columns, ctx: self.ctx, interleave, features, inner });
            }
        }
        FeatureSums(sums)
    }

    /// Performs step 2 for the group that starts at `row`, and prefetches the rows from `prefetch` on. Returns the
    /// number of values added.
    #[inline(always)]
    fn add_group(&mut self, row: usize, prefetch: Option<usize>) -> usize {
        let width = self.rows.width();
        if let Some(groups) = self.rows.whole_group(row) {
            let full = width - width % L::LANES;
            self.add_strips(groups, full, prefetch);
            if full < width {
                self.ctx.token.outlined(Edge { sums: self, groups: &groups, count: GROUP_ROWS, at: full });
            }
            return GROUP_ROWS * width;
        }
        self.ctx.token.outlined(PartialGroup { sums: self, row })
    }

    /// Performs step 2 for a group with missing rows, or whose last row is short: the last group of a chunk. Also for any
    /// group with gaps in its rows. Returns the number of values added.
    #[inline(always)]
    fn add_partial_group(&mut self, row: usize) -> usize {
        let mut space;
        let groups = if self.rows.gaps {
            space = [[[T::from_f64(0.0); 2 * ROW_ACCUMULATORS]; GROUP_ROWS]; I];
            self.rows.packed_group(row, &mut space)
        } else {
            self.rows.group(row)
        };
        // Only the last row may be short, and only if `interleave > 1`.
        let first = &groups[0];
        let (width, count) = (first[0].len(), first.iter().filter(|row| !row.is_empty()).count());
        let last = first[count - 1].len();
        let full = last - last % L::LANES;
        for at in (0..full).step_by(L::LANES) {
            self.add_few(&groups, count, at);
        }
        for at in (full..width).step_by(L::LANES) {
            self.ctx.token.outlined(Edge { sums: self, groups: &groups, count, at });
        }
        width * (count - 1) + last
    }

    /// Adds the first `full` columns in strips of one column per lane, and prefetches the rows from `prefetch` on.
    #[inline(always)]
    fn add_strips(&mut self, mut groups: [Group<'_, T>; I], full: usize, prefetch: Option<usize>) {
        // Cut to one length here, so that the loop needs no other bounds checks.
        for group in &mut groups {
            for row in group {
                *row = &row[..full];
            }
        }
        let mut sums = self.first(full);
        let mut at = 0;
        if let Some(prefetch) = prefetch {
            // Prefetch row by row, in memory order, with an eighth of the strips for each row. Short rows are all
            // prefetched before the first strip.
            let strip = GROUP_ROWS * L::LANES;
            let share = full / strip;
            for row in prefetch..prefetch + GROUP_ROWS {
                let (row, column) = sums.rows.start_of(row);
                for part in 0..share {
                    sums.rows.prefetch_values((row, column + part * strip), strip);
                    sums.add_strip(&groups, at);
                    at += L::LANES;
                }
                if share * strip < sums.rows.width() {
                    sums.rows.prefetch_values((row, column + share * strip), strip);
                }
            }
        }
        while full - at >= L::LANES {
            sums.add_strip(&groups, at);
            at += L::LANES;
        }
    }

    /// Returns the sums of the first `columns` columns alone.
    #[inline(always)]
    fn first(&mut self, columns: usize) -> RowSums<'_, K, L, T, I, SUMS> {
        let mut sums = [const { Columns::empty() }; SUMS];
        for (i, from) in self.sums.iter_mut().enumerate() {
            let kept = columns.min(from.compensation.len());
            sums[i] = Columns { sum: &mut from.sum[..columns], compensation: &mut from.compensation[..kept] };
        }
        RowSums { ctx: self.ctx, rows: self.rows, shift: &mut self.shift[..columns], sums, term: PhantomData }
    }

    /// Adds eight rows of one column per lane. This is the inner loop.
    #[inline(always)]
    fn add_strip(&mut self, groups: &[Group<'_, T>; I], at: usize) {
        let token = self.ctx.token;
        let mut inputs = [[self.ctx.one; GROUP_ROWS]; I];
        for input in 0..I {
            for row in 0..GROUP_ROWS {
                inputs[input][row] = L::load_from(token, &groups[input][row][at..]);
            }
        }
        let shift = L::load(token, &self.shift[at..]);
        if K::UNSHIFTED_IS_CHEAPER && shift.all_zero() {
            self.add::<K::Unshifted>(at, inputs, shift, GROUP_ROWS);
        } else {
            self.add::<K>(at, inputs, shift, GROUP_ROWS);
        }
    }

    /// Adds the first `count` rows of a group like [`RowSums::add_strip`].
    #[inline(always)]
    fn add_few(&mut self, groups: &[Group<'_, T>; I], count: usize, at: usize) {
        let token = self.ctx.token;
        let shift = L::load(token, &self.shift[at..]);
        let neutral = K::neutral(self.ctx, shift);
        let mut inputs = [[self.ctx.one; GROUP_ROWS]; I];
        for input in 0..I {
            for row in 0..GROUP_ROWS {
                let values = &groups[input][row];
                inputs[input][row] = if row < count { L::load_from(token, &values[at..]) } else { neutral[input] };
            }
        }
        self.add::<K>(at, inputs, shift, count);
    }

    /// Adds the first `count` rows of a group like [`RowSums::add_strip`], but the last of them may end within the
    /// lanes or before them.
    #[inline(always)]
    fn add_edge(&mut self, groups: &[Group<'_, T>; I], count: usize, at: usize) {
        let token = self.ctx.token;
        let shift = L::load(token, &self.shift[at..]);
        let neutral = K::neutral(self.ctx, shift);
        let mut inputs = [[self.ctx.one; GROUP_ROWS]; I];
        for input in 0..I {
            inputs[input] = [neutral[input]; GROUP_ROWS];
            for row in 0..count {
                inputs[input][row] = match groups[input][row].get(at..) {
                    Some(row) if row.len() >= L::LANES => L::load_from(token, row),
                    Some(row) if !row.is_empty() => L::load_partial(token, row, neutral[input]),
                    _ => neutral[input],
                };
            }
        }
        self.add::<K>(at, inputs, shift, count);
    }

    #[inline(always)]
    fn add<Q: Term<I, SUMS>>(&mut self, at: usize, inputs: [[L; GROUP_ROWS]; I], shift: L, rows: usize) {
        let mut sums = [Accumulator::zero(self.ctx); SUMS];
        for i in 0..Q::ADDS_TO {
            sums[i].sum = L::load(self.ctx.token, &self.sums[i].sum[at..]);
            if Q::COMPENSATED {
                sums[i].compensation = L::load(self.ctx.token, &self.sums[i].compensation[at..]);
            }
        }
        Q::add(self.ctx, inputs, shift, rows, &mut sums);
        for i in 0..Q::ADDS_TO {
            sums[i].sum.store(&mut self.sums[i].sum[at..]);
            if Q::COMPENSATED {
                sums[i].compensation.store(&mut self.sums[i].compensation[at..]);
            }
        }
    }
}

/// The work of [`RowSums::add_partial_group`].
struct PartialGroup<'a, 'b, K, L: F64Lanes, T, const I: usize, const SUMS: usize> {
    sums: &'a mut RowSums<'b, K, L, T, I, SUMS>,
    row: usize,
}

impl<K, L, T: Element, const I: usize, const SUMS: usize> Outlined for PartialGroup<'_, '_, K, L, T, I, SUMS>
where
    K: Term<I, SUMS>,
    L: F64Lanes + LoadStore<T>,
{
    type Output = usize;

    #[inline(always)]
    fn run(self) -> usize {
        self.sums.add_partial_group(self.row)
    }
}

/// The work of [`RowSums::add_edge`].
struct Edge<'a, 'b, 'c, K, L: F64Lanes, T, const I: usize, const SUMS: usize> {
    sums: &'a mut RowSums<'b, K, L, T, I, SUMS>,
    groups: &'a [Group<'c, T>; I],
    count: usize,
    at: usize,
}

impl<K, L, T: Element, const I: usize, const SUMS: usize> Outlined for Edge<'_, '_, '_, K, L, T, I, SUMS>
where
    K: Term<I, SUMS>,
    L: F64Lanes + LoadStore<T>,
{
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.sums.add_edge(self.groups, self.count, self.at);
    }
}
