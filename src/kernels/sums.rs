//! The inner kernel: steps 1 to 4 of [`crate::order`] for the rows of a chunk. The inner loop is [`Sums::add_strip`].

use super::PartialMut;
use super::fold::Streams;
use super::pair::{two_product, two_sum};
use super::rows::{Group, Rows};
use crate::element::Element;
use crate::lanes::Lanes;
use crate::order::{GROUP_ROWS, pivot_row};

/// How far ahead of the rows that are summed others are asked for. Measured at 16 to 128: nearer ones come too late,
/// farther ones push each other out of the first-level cache.
pub(super) const AHEAD_ROWS: usize = 80;

/// Bytes that a prefetch brings.
const CACHE_LINE: usize = 64;

/// How the streams of a chunk belong to features: `[side][features][inner]`.
pub(super) struct Shape {
    pub(super) side: usize,
    pub(super) features: usize,
    pub(super) inner: usize,
    /// Values per feature in the chunk.
    pub(super) count: usize,
    /// Whether the batch is large enough for prefetching to pay.
    pub(super) prefetch: bool,
}

/// Where the sums are, and where the prefetches are.
pub(super) struct Walk<C> {
    pub(super) at: C,
    pub(super) ahead: C,
}

/// Pivot and sums of up to `N` streams.
pub(super) struct Sums<const N: usize> {
    pivot: [f64; N],
    /// Of the deviations.
    first: Total<N>,
    /// Of their squares.
    second: Total<N>,
}

/// Running sums, and what they have lost to rounding where the element type asks for that.
struct Total<const N: usize> {
    sum: [f64; N],
    lost: [f64; N],
}

impl<const N: usize> Total<N> {
    #[inline(always)]
    fn clear<T: Element>(&mut self, width: usize) {
        self.sum[..width].fill(0.0);
        if T::COMPENSATED {
            self.lost[..width].fill(0.0);
        }
    }

    #[inline(always)]
    fn add<L: Lanes, T: Element>(&mut self, token: L::Token, at: usize, eight: [L; GROUP_ROWS]) {
        let to = &mut self.sum[at..];
        let mut sum = L::load(token, to);
        if T::COMPENSATED {
            let to_lost = &mut self.lost[at..];
            let mut lost = L::load(token, to_lost);
            for x in eight {
                let (next, error) = two_sum(sum, x);
                (sum, lost) = (next, lost.add(error));
            }
            lost.store(to_lost);
        } else {
            sum = sum.add(pairwise(eight));
        }
        sum.store(to);
    }

    /// Step 3: one sum per feature, at the start.
    #[inline(always)]
    fn fold<T: Element>(&mut self, shape: &Shape) {
        let lost = if T::COMPENSATED { Some(&mut self.lost[..]) } else { None };
        Streams { sum: &mut self.sum, lost }.fold(shape.side, shape.features, shape.inner);
    }
}

impl<const N: usize> Sums<N> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        let zeros = [0.0; N];
        let total = || Total { sum: zeros, lost: zeros };
        Sums { pivot: zeros, first: total(), second: total() }
    }

    #[inline(always)]
    pub(super) fn moments<L: Lanes, T: Element, R: Rows<T>>(
        &mut self,
        token: L::Token,
        rows: &R,
        walk: &mut Walk<R::Cursor>,
        shape: &Shape,
        out: PartialMut<'_>,
    ) {
        let width = shape.side * shape.features * shape.inner;
        self.pivot[..width].fill(0.0);
        self.first.clear::<T>(width);
        let first = pivot_row(rows.len());
        let group = rows.group(&mut rows.skip(walk.at, first), rows.len() - first);
        self.add_group::<L, T, false>(token, &group, None);
        self.first.fold::<T>(shape);
        let count = group.iter().map(|row| row.len()).sum::<usize>() / shape.features;
        self.choose_pivots(rows.next(&mut { walk.at }), shape, count, out.mean);

        self.first.clear::<T>(width);
        self.second.clear::<T>(width);
        for row in (0..rows.len()).step_by(GROUP_ROWS) {
            let group = rows.group(&mut walk.at, rows.len() - row);
            if shape.prefetch {
                self.add_group::<L, T, true>(token, &group, Some(&rows.group(&mut walk.ahead, GROUP_ROWS)));
            } else {
                self.add_group::<L, T, true>(token, &group, None);
            }
        }
        self.first.fold::<T>(shape);
        self.second.fold::<T>(shape);
        self.finish::<L, T>(token, shape.count as f64, out);
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
        for (m2, squares) in out.m2.iter_mut().zip(&self.second.sum) {
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

    /// Step 1: the means of the pivot's rows, one per feature to `compact`, one per stream to `self.pivot`.
    #[inline(always)]
    fn choose_pivots<T: Element>(&mut self, first: &[T], shape: &Shape, count: usize, compact: &mut [f64]) {
        let scale = 1.0 / count as f64;
        let mut finite = true;
        for (pivot, sum) in compact.iter_mut().zip(&self.first.sum) {
            *pivot = T::from_f64(*sum * scale).to_f64();
            finite &= pivot.is_finite();
        }
        if !finite {
            for (feature, pivot) in compact.iter_mut().enumerate().filter(|(_, pivot)| !pivot.is_finite()) {
                let first = first[feature * shape.inner].to_f64();
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

    /// Step 2 for eight rows: adds them to the sums about the pivots, and asks for the rows `ahead`.
    #[inline(always)]
    fn add_group<L: Lanes, T: Element, const SQUARES: bool>(
        &mut self,
        token: L::Token,
        rows: &Group<'_, T>,
        ahead: Option<&Group<'_, T>>,
    ) {
        let (mut full, mut width) = (usize::MAX, 0);
        for row in rows {
            full = full.min(row.len());
            width = width.max(row.len());
        }
        let (shortest, full) = (full, full - full % L::LANES);
        // Cut to one length here, so that the loop needs no further checks.
        let mut strips = *rows;
        for row in &mut strips {
            *row = &row[..full];
        }
        let one = L::splat(token, std::hint::black_box(1.0));
        let mut at = 0;
        if let Some(ahead) = ahead {
            // Row by row, in the order in which they lie: an eighth of the strips for each, or all before short ones.
            let share = full / L::LANES / GROUP_ROWS;
            for row in ahead {
                for strip in 0..share {
                    prefetch::<L, T>(token, row, strip);
                    self.add_strip::<L, T, SQUARES>(token, &strips, at, one);
                    at += L::LANES;
                }
                prefetch::<L, T>(token, row, share);
            }
        }
        while at < full {
            self.add_strip::<L, T, SQUARES>(token, &strips, at, one);
            at += L::LANES;
        }
        if shortest == width && at < width {
            self.add_end::<L, T, SQUARES>(token, rows, at);
            return;
        }
        while at < width {
            self.add_edge::<L, T, SQUARES>(token, rows, at);
            at += L::LANES;
        }
    }

    /// The inner loop: eight rows, as many columns as there are lanes.
    #[inline(always)]
    fn add_strip<L: Lanes, T: Element, const SQUARES: bool>(
        &mut self,
        token: L::Token,
        rows: &Group<'_, T>,
        at: usize,
        one: L,
    ) {
        let pivot = L::load(token, &self.pivot[at..]);
        let mut d = [pivot; GROUP_ROWS];
        for (d, row) in d.iter_mut().zip(rows) {
            *d = T::load::<L>(token, &row[at..]).sub_beside(one, pivot);
        }
        self.add_deviations::<L, T, SQUARES>(token, at, d);
    }

    /// The last, incomplete strip of rows of one length.
    #[inline(always)]
    fn add_end<L: Lanes, T: Element, const SQUARES: bool>(&mut self, token: L::Token, rows: &Group<'_, T>, at: usize) {
        let pivot = L::load(token, &self.pivot[at..]);
        let mut d = [pivot; GROUP_ROWS];
        for (d, row) in d.iter_mut().zip(rows) {
            *d = T::load_part::<L>(token, &row[at..], pivot).sub(pivot);
        }
        self.add_deviations::<L, T, SQUARES>(token, at, d);
    }

    /// The same where some rows end before others: what is missing counts as no deviation.
    #[inline(always)]
    fn add_edge<L: Lanes, T: Element, const SQUARES: bool>(&mut self, token: L::Token, rows: &Group<'_, T>, at: usize) {
        let pivot = L::load(token, &self.pivot[at..]);
        let mut d = [pivot; GROUP_ROWS];
        for (d, row) in d.iter_mut().zip(rows) {
            // A row that is whole here, that ends here, or that has ended.
            *d = match row.get(at..) {
                Some(row) if row.len() >= L::LANES => T::load::<L>(token, row).sub(pivot),
                Some(row) if !row.is_empty() => T::load_part::<L>(token, row, pivot).sub(pivot),
                _ => L::splat(token, 0.0),
            };
        }
        self.add_deviations::<L, T, SQUARES>(token, at, d);
    }

    #[inline(always)]
    fn add_deviations<L: Lanes, T: Element, const SQUARES: bool>(
        &mut self,
        token: L::Token,
        at: usize,
        d: [L; GROUP_ROWS],
    ) {
        self.first.add::<L, T>(token, at, d);
        if SQUARES {
            let mut squares = d;
            for d in &mut squares {
                *d = d.mul(*d);
            }
            self.second.add::<L, T>(token, at, squares);
        }
    }
}

/// Asks for the part of a row that is as long as one strip of eight rows.
#[inline(always)]
fn prefetch<L: Lanes, T>(token: L::Token, row: &[T], strip: usize) {
    let (len, line) = (GROUP_ROWS * L::LANES, CACHE_LINE / size_of::<T>());
    if let Some(part) = row.get(strip * len..(strip + 1) * len) {
        for at in (0..len).step_by(line) {
            L::prefetch(token, &part[at]);
        }
    } else if let Some(part) = row.get(strip * len..) {
        for value in part.iter().step_by(line) {
            L::prefetch(token, value);
        }
    }
}

#[inline(always)]
fn pairwise<L: Lanes>([a, b, c, d, e, f, g, h]: [L; GROUP_ROWS]) -> L {
    let low = a.add(b).add(c.add(d));
    let high = e.add(f).add(g.add(h));
    low.add(high)
}
