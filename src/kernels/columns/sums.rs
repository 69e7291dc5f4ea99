//! Pivots and sums of the streams, in memory; see [`super`].

use super::{Columns, Group, ask_for_sample, prefetch};
use crate::element::Element;
use crate::kernels::PartialMut;
use crate::kernels::finish::{About, Pivots, checked, is_zero, pivot};
use crate::kernels::fold::Streams;
use crate::kernels::group::{CACHE_LINE, Pass, pairwise, pairwise_squares, squares};
use crate::lanes::Lanes;
use crate::order::{GROUP_ROWS, sample_group};

/// Pivot and sums of some streams.
pub(in crate::kernels) struct Sums<'a> {
    pivot: &'a mut [f64],
    /// Of the deviations.
    first: Total<'a>,
    /// Of their squares.
    second: Total<'a>,
}

/// Running sums, and what they have lost to rounding where the element type asks for that.
struct Total<'a> {
    sum: &'a mut [f64],
    lost: &'a mut [f64],
}

impl Total<'_> {
    /// The same, of the first streams only.
    #[inline(always)]
    fn first(&mut self, streams: usize) -> Total<'_> {
        let kept = streams.min(self.lost.len());
        Total { sum: &mut self.sum[..streams], lost: &mut self.lost[..kept] }
    }

    /// Sets the first streams to 0.
    #[inline(always)]
    fn clear<L: Lanes>(&mut self, token: L::Token, streams: usize) {
        // Hidden, because a call of memset costs more than the few stores.
        let zero = L::splat(token, std::hint::black_box(0.0));
        for at in (0..streams).step_by(L::LANES) {
            zero.store(&mut self.sum[at..]);
        }
        for at in (0..streams.min(self.lost.len())).step_by(L::LANES) {
            zero.store(&mut self.lost[at..]);
        }
    }

    #[inline(always)]
    fn add<L: Lanes>(&mut self, pass: Pass<L>, at: usize, sum: L) {
        let to = &mut self.sum[at..];
        L::load(pass.token, to).add(sum).store(to);
    }

    /// The sum and what it has lost.
    #[inline(always)]
    fn pair<L: Lanes>(&self, token: L::Token, at: usize) -> (L, L) {
        (L::load(token, &self.sum[at..]), L::load(token, &self.lost[at..]))
    }

    #[inline(always)]
    fn set_pair<L: Lanes>(&mut self, at: usize, (sum, lost): (L, L)) {
        sum.store(&mut self.sum[at..]);
        lost.store(&mut self.lost[at..]);
    }

    /// Step 3: one sum per feature, at the start.
    #[inline(always)]
    fn fold<T>(&mut self, columns: &Columns<'_, T>, compensated: bool) {
        let lost = if compensated { Some(&mut *self.lost) } else { None };
        Streams { sum: self.sum, lost }.fold(columns.side, columns.features, columns.inner);
    }

    /// The sums and what they have lost: nothing, where that is not kept.
    #[inline(always)]
    fn load<L: Lanes>(&self, token: L::Token, at: usize) -> [L; 2] {
        let lost = if self.lost.is_empty() { L::splat(token, 0.0) } else { L::load(token, &self.lost[at..]) };
        [L::load(token, &self.sum[at..]), lost]
    }
}

/// Whole lanes are a part of this many values, which are a cache line.
const LINE: usize = CACHE_LINE / size_of::<f64>();

impl<'a> Sums<'a> {
    /// f64 values that the sums of so many streams take.
    pub(in crate::kernels) fn space<T: Element>(streams: usize) -> usize {
        (if T::COMPENSATED { 5 } else { 3 }) * streams.next_multiple_of(LINE) + LINE
    }

    /// In some space, whatever it holds; from the start of a cache line on, because lanes that cross one are slower.
    #[inline(always)]
    pub(in crate::kernels) fn new<T: Element>(streams: usize, space: &'a mut [f64]) -> Self {
        let streams = streams.next_multiple_of(LINE);
        let before = space.as_ptr().align_offset(CACHE_LINE).min(LINE);
        let (pivot, space) = space[before..].split_at_mut(streams);
        let (first, space) = space.split_at_mut(streams);
        let (second, space) = space.split_at_mut(streams);
        let kept = if T::COMPENSATED { streams } else { 0 };
        let (first_lost, space) = space.split_at_mut(kept);
        let second_lost = &mut space[..kept];
        Sums { pivot, first: Total { sum: first, lost: first_lost }, second: Total { sum: second, lost: second_lost } }
    }

    /// Writes the moments of the columns' features.
    #[inline(always)]
    pub(in crate::kernels) fn moments<L: Lanes, T: Element>(
        &mut self,
        token: L::Token,
        columns: &Columns<'_, T>,
        pivots: Pivots,
        out: PartialMut<'_>,
    ) {
        let pass = Pass::<L>::new(token);
        if pivots == Pivots::OfSample && self.sample(pass, columns, out.mean) {
            return self.finish::<L, T>(token, columns.count as f64, out);
        }
        self.lay_out_pivots(columns, out.mean);
        if columns.ahead.is_some() {
            ask_for_sample::<L, T>(token, columns);
        }
        self.clear::<L>(token, columns.width());
        for row in (0..columns.rows).step_by(GROUP_ROWS) {
            self.add_group::<L, T, true>(pass, columns, row);
        }
        self.first.fold(columns, T::COMPENSATED);
        self.second.fold(columns, T::COMPENSATED);
        self.finish::<L, T>(token, columns.count as f64, out);
    }

    /// Step 1: the pivots of the features. Gives whether all of the chunk is summed already.
    #[inline(always)]
    fn sample<L: Lanes, T: Element>(&mut self, pass: Pass<L>, columns: &Columns<'_, T>, compact: &mut [f64]) -> bool {
        let first = sample_group(columns.rows) * GROUP_ROWS;
        self.clear::<L>(pass.token, columns.width());
        let values = self.add_group::<L, T, false>(pass, columns, first);
        self.first.fold(columns, false);
        if T::SQUARES_EXACT {
            self.second.fold(columns, false);
        }
        let count = (values / columns.features) as f64;
        let mut all_zero = true;
        for (feature, compact) in compact.iter_mut().enumerate() {
            let (sum, squares) = (self.first.sum[feature], self.second.sum[feature]);
            *compact = pivot::<T>(sum, squares, count);
            all_zero &= is_zero::<T>(*compact);
        }
        all_zero && columns.rows <= GROUP_ROWS
    }

    #[inline(always)]
    fn clear<L: Lanes>(&mut self, token: L::Token, streams: usize) {
        self.first.clear::<L>(token, streams);
        self.second.clear::<L>(token, streams);
    }

    #[inline(always)]
    fn lay_out_pivots<T>(&mut self, columns: &Columns<'_, T>, compact: &[f64]) {
        let row = columns.features * columns.inner;
        if columns.inner == 1 {
            self.pivot[..row].copy_from_slice(compact);
        } else {
            for (streams, pivot) in self.pivot[..row].chunks_exact_mut(columns.inner).zip(compact) {
                streams.fill(*pivot);
            }
        }
        let mut copies = 1;
        while copies < columns.side {
            self.pivot.copy_within(..copies * row, copies * row);
            copies *= 2;
        }
    }

    /// Step 2 for eight rows from one on: `ABOUT` the pivots; or of the values themselves, without compensation, and of
    /// their squares only where these are exact. Gives how many values those were.
    #[inline(always)]
    fn add_group<L: Lanes, T: Element, const ABOUT: bool>(
        &mut self,
        pass: Pass<L>,
        columns: &Columns<'_, T>,
        row: usize,
    ) -> usize {
        let width = columns.width();
        if let Some(rows) = columns.whole_group(row) {
            let (full, ahead) = (width - width % L::LANES, if ABOUT { columns.ahead } else { None });
            self.add_strips::<L, T, ABOUT>(pass, rows, full, columns, ahead.map(|ahead| row + ahead));
            if full < width {
                self.add_edge::<L, T, ABOUT>(pass, &rows, full);
            }
            return GROUP_ROWS * width;
        }
        let rows = columns.group(row);
        // Only the last row may be shorter than the first, and only of a batch with `side > 1`.
        let (width, count) = (rows[0].len(), rows.iter().filter(|row| !row.is_empty()).count());
        for at in (0..width).step_by(L::LANES) {
            self.add_edge::<L, T, ABOUT>(pass, &rows[..count], at);
        }
        width * (count - 1) + rows[count - 1].len()
    }

    /// The first `full` columns, as many at a time as there are lanes; and asks for the rows from `ahead` on.
    #[inline(always)]
    fn add_strips<L: Lanes, T: Element, const ABOUT: bool>(
        &mut self,
        pass: Pass<L>,
        mut rows: Group<'_, T>,
        full: usize,
        columns: &Columns<'_, T>,
        ahead: Option<usize>,
    ) {
        // All cut to one length here, so that the loop checks no other.
        for row in &mut rows {
            *row = &row[..full];
        }
        let (first, second) = (self.first.first(full), self.second.first(full));
        let mut sums = Sums { pivot: &mut self.pivot[..full], first, second };
        let mut at = 0;
        if let Some(ahead) = ahead {
            // Row by row, in the order in which they lie: an eighth of the strips for each, or all before short ones.
            let strip = GROUP_ROWS * L::LANES;
            let share = full / strip;
            for row in ahead..ahead + GROUP_ROWS {
                let start = columns.start_of(row);
                for part in 0..share {
                    prefetch::<L, T>(pass.token, columns.x, start + part * strip);
                    sums.add_strip::<L, T, ABOUT>(pass, &rows, at);
                    at += L::LANES;
                }
                if share * strip < columns.width() {
                    prefetch::<L, T>(pass.token, columns.x, start + share * strip);
                }
            }
        }
        while full - at >= L::LANES {
            sums.add_strip::<L, T, ABOUT>(pass, &rows, at);
            at += L::LANES;
        }
    }

    /// The inner loop: eight rows, as many columns as there are lanes.
    #[inline(always)]
    fn add_strip<L: Lanes, T: Element, const ABOUT: bool>(&mut self, pass: Pass<L>, rows: &Group<'_, T>, at: usize) {
        let mut x = [pass.one; GROUP_ROWS];
        for (x, row) in x.iter_mut().zip(rows) {
            *x = T::load::<L>(pass.token, &row[at..]);
        }
        if !ABOUT {
            return self.add_values::<L, T>(pass, at, x);
        }
        let pivot = L::load(pass.token, &self.pivot[at..]);
        if T::SQUARES_EXACT && pivot.all_zero() {
            return self.add_values::<L, T>(pass, at, x);
        }
        for x in &mut x {
            *x = x.sub_beside(pass.one, pivot);
        }
        self.add_deviations::<L, T>(pass, at, x, GROUP_ROWS);
    }

    /// The same for rows of which the last may end within the lanes or before: what is missing counts as no deviation.
    #[inline(always)]
    fn add_edge<L: Lanes, T: Element, const ABOUT: bool>(&mut self, pass: Pass<L>, rows: &[&[T]], at: usize) {
        let zero = pass.zero();
        let pivot = if ABOUT { L::load(pass.token, &self.pivot[at..]) } else { zero };
        let mut d = [zero; GROUP_ROWS];
        for (d, row) in d.iter_mut().zip(rows) {
            *d = match row.get(at..) {
                Some(row) if row.len() >= L::LANES => T::load::<L>(pass.token, row).sub(pivot),
                Some(row) if !row.is_empty() => T::load_part::<L>(pass.token, row, pivot).sub(pivot),
                _ => zero,
            };
        }
        if ABOUT { self.add_deviations::<L, T>(pass, at, d, rows.len()) } else { self.add_values::<L, T>(pass, at, d) }
    }

    /// `d` holds so many rows, then zeros.
    #[inline(always)]
    fn add_deviations<L: Lanes, T: Element>(&mut self, pass: Pass<L>, at: usize, d: [L; GROUP_ROWS], rows: usize) {
        if T::COMPENSATED {
            let (first, second) = (self.first.pair(pass.token, at), self.second.pair(pass.token, at));
            self.first.set_pair(at, pass.add_compensated(first, &d[..rows]));
            self.second.set_pair(at, pass.add_squares(second, &d[..rows]));
        } else {
            self.first.add(pass, at, pairwise(d));
            self.second.add(pass, at, pairwise(squares(d)));
        }
    }

    #[inline(always)]
    fn add_values<L: Lanes, T: Element>(&mut self, pass: Pass<L>, at: usize, x: [L; GROUP_ROWS]) {
        self.first.add(pass, at, pairwise(x));
        if T::SQUARES_EXACT {
            self.second.add(pass, at, pairwise_squares(x));
        }
    }

    /// Step 4. `out.mean` holds the pivots; `out.m2` becomes NaN where step 5 must look again.
    #[inline(always)]
    fn finish<L: Lanes, T: Element>(&self, token: L::Token, count: f64, mut out: PartialMut<'_>) {
        let features = out.features();
        let full = features - features % L::LANES;
        for at in (0..full).step_by(L::LANES) {
            self.finish_lanes::<L, T>(token, count, at, out.from(at));
        }
        for at in full..features {
            self.finish_lanes::<f64, T>((), count, at, out.from(at));
        }
        for (m2, squares) in out.m2.iter_mut().zip(&*self.second.sum) {
            *m2 = checked::<T>(*m2, *squares);
        }
    }

    #[inline(always)]
    fn finish_lanes<L: Lanes, T: Element>(&self, token: L::Token, count: f64, at: usize, out: PartialMut<'_>) {
        let (first, second) = (self.first.load(token, at), self.second.load(token, at));
        About { pivot: L::load(token, out.mean), first, second }.finish::<T>(token, count, out);
    }
}
