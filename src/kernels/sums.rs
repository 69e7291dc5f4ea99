//! The inner kernel: steps 1 to 4 of [`crate::order`] for the rows of a chunk. The inner loop is [`Sums::add_strip`].

use super::PartialMut;
use super::fold::Streams;
use super::pair::{two_product, two_sum, two_sum_beside};
use super::rows::{Group, Rows};
use crate::element::Element;
use crate::lanes::Lanes;
use crate::order::{GROUP_ROWS, pivot_row, zero_pivot};

/// How far ahead of the rows that are summed others are asked for, in bytes of rows.
const AHEAD_BYTES: usize = 24 << 10;

/// Bytes that a prefetch brings.
const CACHE_LINE: usize = 64;

/// How the streams of a chunk belong to features: `[side][features][inner]`.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) side: usize,
    pub(super) features: usize,
    pub(super) inner: usize,
    /// Streams of each row that the sample of step 1 takes.
    pub(super) sample: usize,
    /// Values per feature in the chunk.
    pub(super) count: usize,
    /// Whether the batch is large enough for prefetching to pay.
    pub(super) prefetch: bool,
}

impl Shape {
    #[inline(always)]
    fn width(&self) -> usize {
        self.side * self.features * self.inner
    }

    /// The streams of the sample.
    #[inline(always)]
    fn of_sample(&self) -> Shape {
        if self.sample == self.width() { *self } else { Shape { inner: self.sample, ..*self } }
    }
}

/// Where the sums are, and where the prefetches are.
pub(super) struct Walk<C> {
    at: C,
    ahead: C,
}

impl<C: Copy> Walk<C> {
    #[inline(always)]
    pub(super) fn new<T, R: Rows<T, Cursor = C>>(rows: &R, shape: &Shape) -> Self {
        let row = shape.width() * size_of::<T>();
        let ahead = AHEAD_BYTES.div_ceil(row).next_multiple_of(GROUP_ROWS);
        Walk { at: rows.cursor(0), ahead: rows.cursor(ahead) }
    }
}

/// Pivot and sums of some streams.
pub(super) struct Sums<'a> {
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

/// What every addition needs.
#[derive(Clone, Copy)]
struct Pass<L: Lanes> {
    token: L::Token,
    /// 1 in each lane; see [`Lanes::sub_beside`].
    one: L,
}

impl Total<'_> {
    /// The same, of the first streams only.
    #[inline(always)]
    fn first(&mut self, streams: usize) -> Total<'_> {
        let lost = if self.lost.is_empty() { &mut [] } else { &mut self.lost[..streams] };
        Total { sum: &mut self.sum[..streams], lost }
    }

    /// Sets the first streams to 0.
    #[inline(always)]
    fn clear<L: Lanes>(&mut self, token: L::Token, streams: usize) {
        // Hidden, because a call of memset costs more than the few stores.
        let zero = L::splat(token, std::hint::black_box(0.0));
        for at in (0..streams).step_by(L::LANES) {
            zero.store(&mut self.sum[at..]);
            if !self.lost.is_empty() {
                zero.store(&mut self.lost[at..]);
            }
        }
    }

    #[inline(always)]
    fn add<L: Lanes>(&mut self, pass: Pass<L>, at: usize, sum: L) {
        let to = &mut self.sum[at..];
        L::load(pass.token, to).add(sum).store(to);
    }

    #[inline(always)]
    fn add_compensated<L: Lanes>(&mut self, pass: Pass<L>, at: usize, eight: [L; GROUP_ROWS]) {
        let (to, to_lost) = (&mut self.sum[at..], &mut self.lost[at..]);
        let (mut sum, mut lost) = (L::load(pass.token, to), L::load(pass.token, to_lost));
        for x in eight {
            let (next, error) = two_sum_beside(pass.one, sum, x);
            (sum, lost) = (next, lost.add(error));
        }
        sum.store(to);
        lost.store(to_lost);
    }

    /// Step 3: one sum per feature, at the start.
    #[inline(always)]
    fn fold(&mut self, shape: &Shape, compensated: bool) {
        let lost = if compensated { Some(&mut *self.lost) } else { None };
        Streams { sum: self.sum, lost }.fold(shape.side, shape.features, shape.inner);
    }
}

/// Whole lanes are a part of this many values, which are a cache line.
const LINE: usize = CACHE_LINE / size_of::<f64>();

impl<'a> Sums<'a> {
    /// f64 values that the sums of so many streams take.
    pub(super) fn space<T: Element>(streams: usize) -> usize {
        (if T::COMPENSATED { 5 } else { 3 }) * streams.next_multiple_of(LINE) + LINE
    }

    /// In some space, whatever it holds; from the start of a cache line on, which lanes that cross one are slower for.
    #[inline(always)]
    pub(super) fn new<T: Element>(streams: usize, space: &'a mut [f64]) -> Self {
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

    #[inline(always)]
    pub(super) fn moments<L: Lanes, T: Element, R: Rows<T>>(
        &mut self,
        token: L::Token,
        rows: &R,
        walk: &mut Walk<R::Cursor>,
        shape: &Shape,
        mut out: PartialMut<'_>,
    ) {
        let one = L::splat(token, std::hint::black_box(1.0));
        let pass = Pass { token, one };
        let summed = self.sample::<L, T, R>(pass, rows, walk, shape, out.mean);
        if summed {
            // The sample was all, and its pivots are 0.
            for _ in 0..rows.len() {
                rows.step(&mut walk.at);
            }
            return self.finish::<L, T>(token, shape.count as f64, out.reborrow());
        }
        self.first.clear::<L>(token, shape.width());
        self.second.clear::<L>(token, shape.width());
        for row in (0..rows.len()).step_by(GROUP_ROWS) {
            let group = rows.group(&mut walk.at, rows.len() - row);
            let ahead = if shape.prefetch { Some((rows.values(), rows.starts(&mut walk.ahead))) } else { None };
            self.add_group::<L, T, false>(pass, &group, shape.width(), ahead);
        }
        self.first.fold(shape, T::COMPENSATED);
        self.second.fold(shape, T::COMPENSATED);
        self.finish::<L, T>(token, shape.count as f64, out);
    }

    /// Step 1: the pivots of the features, to `compact` and, one per stream, to `self.pivot`. Gives whether all of the
    /// chunk is summed already.
    #[inline(always)]
    fn sample<L: Lanes, T: Element, R: Rows<T>>(
        &mut self,
        pass: Pass<L>,
        rows: &R,
        walk: &Walk<R::Cursor>,
        shape: &Shape,
        compact: &mut [f64],
    ) -> bool {
        let first = pivot_row(rows.len());
        let mut group = rows.group(&mut rows.skip(walk.at, first), rows.len() - first);
        let mut count = 0;
        for row in &mut group {
            *row = &row[..row.len().min(shape.sample)];
            count += row.len();
        }
        let of_sample = shape.of_sample();
        self.first.clear::<L>(pass.token, shape.sample);
        if T::SQUARES_EXACT {
            self.second.clear::<L>(pass.token, shape.sample);
        }
        self.add_group::<L, T, true>(pass, &group, shape.sample, None);
        self.first.fold(&of_sample, false);
        if T::SQUARES_EXACT {
            self.second.fold(&of_sample, false);
        }
        let all_zero = self.choose_pivots(rows.next(&mut { walk.at }), shape, count / shape.features, compact);
        if T::SQUARES_EXACT && all_zero && rows.len() <= GROUP_ROWS && shape.sample == shape.width() {
            return true;
        }
        self.lay_out_pivots(shape, compact);
        false
    }

    /// Whether all pivots are 0 for that the values are near it.
    #[inline(always)]
    fn choose_pivots<T: Element>(&self, first: &[T], shape: &Shape, count: usize, compact: &mut [f64]) -> bool {
        let (count, scale) = (count as f64, 1.0 / count as f64);
        let (mut finite, mut all_zero) = (true, true);
        for ((pivot, sum), squares) in compact.iter_mut().zip(&*self.first.sum).zip(&*self.second.sum) {
            let zero = T::SQUARES_EXACT && zero_pivot(*sum, *squares, count);
            *pivot = if zero { 0.0 } else { T::from_f64(*sum * scale).to_f64() };
            all_zero &= zero;
            finite &= pivot.is_finite();
        }
        if !finite {
            for (feature, pivot) in compact.iter_mut().enumerate().filter(|(_, pivot)| !pivot.is_finite()) {
                let first = first[feature * shape.inner].to_f64();
                *pivot = if first.is_finite() { first } else { 0.0 };
            }
        }
        all_zero
    }

    #[inline(always)]
    fn lay_out_pivots(&mut self, shape: &Shape, compact: &[f64]) {
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

    /// Step 2 for eight rows: adds them to the sums of `streams` streams, and asks for the rows that start at `ahead`.
    /// For the sample, adds the values themselves.
    #[inline(always)]
    fn add_group<L: Lanes, T: Element, const SAMPLE: bool>(
        &mut self,
        pass: Pass<L>,
        rows: &Group<'_, T>,
        streams: usize,
        ahead: Option<(&[T], [usize; GROUP_ROWS])>,
    ) {
        let (mut shortest, mut width) = (usize::MAX, 0);
        for row in rows {
            shortest = shortest.min(row.len());
            width = width.max(row.len());
        }
        let full = shortest - shortest % L::LANES;
        self.add_strips::<L, T, SAMPLE>(pass, rows, full, streams, ahead);
        let mut at = full;
        while at < width {
            self.add_edge::<L, T, SAMPLE>(pass, rows, at);
            at += L::LANES;
        }
    }

    /// Those columns that all rows have, as many at a time as there are lanes.
    #[inline(always)]
    fn add_strips<L: Lanes, T: Element, const SAMPLE: bool>(
        &mut self,
        pass: Pass<L>,
        rows: &Group<'_, T>,
        full: usize,
        streams: usize,
        ahead: Option<(&[T], [usize; GROUP_ROWS])>,
    ) {
        // All cut to one length here, so that the loop checks no other.
        let mut rows = *rows;
        for row in &mut rows {
            *row = &row[..full];
        }
        let (first, second) = (self.first.first(full), self.second.first(full));
        let mut sums = Sums { pivot: &mut self.pivot[..full], first, second };
        let mut at = 0;
        if let Some((values, starts)) = ahead {
            // Row by row, in the order in which they lie: an eighth of the strips for each, or all before short ones.
            let strip = GROUP_ROWS * L::LANES;
            let share = full / strip;
            for start in starts {
                for part in 0..share {
                    prefetch::<L, T>(pass.token, values, start + part * strip);
                    sums.add_strip::<L, T, SAMPLE>(pass, &rows, at);
                    at += L::LANES;
                }
                if share * strip < streams {
                    prefetch::<L, T>(pass.token, values, start + share * strip);
                }
            }
        }
        while full - at >= L::LANES {
            sums.add_strip::<L, T, SAMPLE>(pass, &rows, at);
            at += L::LANES;
        }
    }

    /// The inner loop: eight rows, as many columns as there are lanes.
    #[inline(always)]
    fn add_strip<L: Lanes, T: Element, const SAMPLE: bool>(&mut self, pass: Pass<L>, rows: &Group<'_, T>, at: usize) {
        let mut x = [pass.one; GROUP_ROWS];
        for (x, row) in x.iter_mut().zip(rows) {
            *x = T::load::<L>(pass.token, &row[at..]);
        }
        if SAMPLE {
            return self.add_sample::<L, T>(pass, at, x);
        }
        let pivot = L::load(pass.token, &self.pivot[at..]);
        if T::SQUARES_EXACT && pivot.all_zero() {
            return self.add_sample::<L, T>(pass, at, x);
        }
        for x in &mut x {
            *x = x.sub_beside(pass.one, pivot);
        }
        self.add_deviations::<L, T>(pass, at, x);
    }

    /// The same where some rows end within the lanes or before: what is missing counts as no deviation.
    #[inline(always)]
    fn add_edge<L: Lanes, T: Element, const SAMPLE: bool>(&mut self, pass: Pass<L>, rows: &Group<'_, T>, at: usize) {
        let zero = L::splat(pass.token, 0.0);
        let pivot = if SAMPLE { zero } else { L::load(pass.token, &self.pivot[at..]) };
        let mut d = [zero; GROUP_ROWS];
        for (d, row) in d.iter_mut().zip(rows) {
            // A row that is whole here, that ends here, or that has ended.
            *d = match row.get(at..) {
                Some(row) if row.len() >= L::LANES => T::load::<L>(pass.token, row).sub(pivot),
                Some(row) if !row.is_empty() => T::load_part::<L>(pass.token, row, pivot).sub(pivot),
                _ => zero,
            };
        }
        if SAMPLE { self.add_sample::<L, T>(pass, at, d) } else { self.add_deviations::<L, T>(pass, at, d) }
    }

    #[inline(always)]
    fn add_deviations<L: Lanes, T: Element>(&mut self, pass: Pass<L>, at: usize, d: [L; GROUP_ROWS]) {
        let mut squares = d;
        for d in &mut squares {
            *d = d.mul(*d);
        }
        if T::COMPENSATED {
            self.first.add_compensated(pass, at, d);
            self.second.add_compensated(pass, at, squares);
        } else {
            self.first.add(pass, at, pairwise(d));
            self.second.add(pass, at, pairwise(squares));
        }
    }

    /// Values, about a pivot of 0, and their squares where these are exact; without compensation.
    #[inline(always)]
    fn add_sample<L: Lanes, T: Element>(&mut self, pass: Pass<L>, at: usize, x: [L; GROUP_ROWS]) {
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
            let conditioned = *squares <= T::MAX_CONDITION * *m2;
            *m2 = if m2.is_finite() && conditioned { m2.max(0.0) } else { f64::NAN };
        }
    }

    #[inline(always)]
    fn finish_lanes<L: Lanes, T: Element>(&self, token: L::Token, count: f64, at: usize, out: PartialMut<'_>) {
        let (sum, squares) = (L::load(token, &self.first.sum[at..]), L::load(token, &self.second.sum[at..]));
        let count = L::splat(token, count);
        let offset = sum.div(count);
        let (mean, rest) = two_sum(L::load(token, out.mean), offset);
        if !T::COMPENSATED {
            mean.store(out.mean);
            rest.store(out.rest);
            squares.sub(sum.mul(offset)).store(out.m2);
            L::splat(token, 0.0).store(out.m2_rest);
            return;
        }
        // `left = sum + lost - count * offset`: what the division and the sum had dropped.
        let (product, error) = two_product(token, count, offset);
        let left = sum.sub(product).sub(error).add(L::load(token, &self.first.lost[at..]));
        // What the sum had lost may be more than the mean's last place.
        let (mean, rest) = two_sum(mean, rest.add(left.div(count)));
        mean.store(out.mean);
        rest.store(out.rest);
        // The squares about `pivot + offset`, which is the mean but for an error that counts squared:
        // `squares - 2 * offset * (sum + lost) + count * offset^2 = squares - offset * sum - offset * (left + lost)`.
        let (product, error) = two_product(token, sum, offset);
        let (m2, m2_rest) = two_sum(squares, L::splat(token, 0.0).sub(product));
        let left = left.add(L::load(token, &self.first.lost[at..]));
        let lost = L::load(token, &self.second.lost[at..]).sub(error).sub(offset.mul(left));
        let (m2, m2_rest) = two_sum(m2, m2_rest.add(lost));
        m2.store(out.m2);
        m2_rest.store(out.m2_rest);
    }
}

/// Asks for values as long as one strip of eight rows; past the end of a row, where it is short, too.
#[inline(always)]
fn prefetch<L: Lanes, T>(token: L::Token, values: &[T], from: usize) {
    for at in (0..GROUP_ROWS * L::LANES).step_by(CACHE_LINE / size_of::<T>()) {
        L::prefetch(token, values, from + at);
    }
}

#[inline(always)]
fn pairwise<L: Lanes>([a, b, c, d, e, f, g, h]: [L; GROUP_ROWS]) -> L {
    let low = a.add(b).add(c.add(d));
    let high = e.add(f).add(g.add(h));
    low.add(high)
}

/// [`pairwise`] of exact squares.
#[inline(always)]
fn pairwise_squares<L: Lanes>([a, b, c, d, e, f, g, h]: [L; GROUP_ROWS]) -> L {
    let low = a.mul(a).add_exact_square(b).add(c.mul(c).add_exact_square(d));
    let high = e.mul(e).add_exact_square(f).add(g.mul(g).add_exact_square(h));
    low.add(high)
}
