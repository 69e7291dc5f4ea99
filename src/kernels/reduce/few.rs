//! Features with few values: all steps of [`spec::order`](crate::spec::order) for one group of rows, with one feature
//! per lane. Nothing is kept from feature to feature, so there is no tile of accumulators, and each value is loaded
//! once. The inner loop is [`FewValues::load`].

use super::accumulator::{Accumulator, LaneContext};
use super::term::Term;
use crate::lanes::{F64Lanes, LoadStore, MOST_F64_LANES};
use crate::spec::Order;
use crate::spec::order::{ChunkRange, GROUP_ROWS};
use crate::{Batch, Element};

/// The values of a chunk of at most eight rows.
pub(super) struct FewValues<'a, T> {
    x: &'a [T],
    /// Index of the first value of feature 0.
    start: usize,
    /// Values from one outer block to the next.
    block: usize,
    outer: usize,
    inner: usize,
    /// Values per feature.
    pub(super) count: usize,
    /// Accumulators per feature.
    accumulators: usize,
}

/// Values and accumulators of one feature per lane, in memory: the compiler would clear arrays of vectors first.
pub(super) struct Scratch<'a> {
    values: &'a mut [f64],
    sums: &'a mut [f64],
}

impl<'a> Scratch<'a> {
    /// Returns the number of f64 values that `values` values per feature and `SUMS` sums need, for any number of lanes.
    pub(super) const fn len<const SUMS: usize>(values: usize) -> usize {
        (1 + 2 * SUMS) * values * MOST_F64_LANES
    }

    pub(super) fn new<const SUMS: usize>(workspace: &'a mut [f64]) -> Self {
        let (values, sums) = workspace.split_at_mut(workspace.len() / (1 + 2 * SUMS));
        Scratch { values, sums }
    }
}

impl<'a, T: Element> FewValues<'a, T> {
    #[inline(always)]
    pub(super) fn of(x: Batch<'a, T>, order: &Order, range: &ChunkRange) -> Self {
        let (block, inner) = (x.layout().outer_stride(), order.layout.inner());
        let (start, count) = (range.outer.start * block, range.count());
        FewValues {
            x: x.data(),
            start,
            block,
            outer: range.outer.len(),
            inner,
            count,
            accumulators: order.accumulators(1),
        }
    }

    /// Loads all values of the features that start at `feature`, one feature per lane. The lanes past the last of
    /// `features` features are 0.
    #[inline(always)]
    pub(super) fn load<L: F64Lanes + LoadStore<T>>(
        &self,
        ctx: LaneContext<L>,
        feature: usize,
        features: usize,
        scratch: &mut Scratch<'_>,
    ) {
        let mut to = scratch.values.chunks_exact_mut(L::LANES);
        for outer in 0..self.outer {
            let at = self.start + outer * self.block + feature * self.inner;
            for (at, to) in (at..at + self.inner).zip(&mut to) {
                let x = &self.x[at..][..(features - 1) * self.inner + 1];
                let values = match (features == L::LANES, self.inner) {
                    (true, 1) => L::load_from(ctx.token, x),
                    (true, stride) => L::load_strided(ctx.token, x, stride),
                    (false, 1) => L::load_partial(ctx.token, x, ctx.zero()),
                    (false, stride) => {
                        to.fill(0.0);
                        for (to, x) in to.iter_mut().zip(x.iter().step_by(stride)) {
                            *to = x.to_f64();
                        }
                        continue;
                    }
                };
                values.store(to);
            }
        }
    }

    /// Performs steps 2 and 3 about the shift of each feature.
    #[inline(always)]
    pub(super) fn accumulate<K: Term<1, SUMS>, L: F64Lanes, const SUMS: usize>(
        &self,
        ctx: LaneContext<L>,
        shift: L,
        scratch: &mut Scratch<'_>,
    ) -> [Accumulator<L>; SUMS] {
        if !K::COMPENSATED && self.one_each() {
            return self.accumulate_one_each::<K, L, SUMS>(ctx, shift, scratch.values);
        }
        // Accumulators without values are 0 and change nothing in what they are added to.
        let (mut all, mut kept) = (self.accumulators, self.accumulators.min(self.count));
        while all > 1 && self.half(all) >= kept {
            all = self.half(all);
        }
        // The first halving, as soon as both halves have been summed.
        let half = if all > 1 { self.half(all) } else { kept };
        for accumulator in 0..kept {
            let mut sums = self.accumulator::<K, L, SUMS>(ctx, accumulator, shift, scratch.values);
            let lower = accumulator.checked_sub(half);
            if let Some(lower) = lower {
                let upper = sums;
                sums = load::<K, L, SUMS>(ctx, lower, scratch.sums);
                join::<K, L, SUMS>(&mut sums, &upper);
            }
            store::<K, L, SUMS>(&sums, lower.unwrap_or(accumulator), scratch.sums);
        }
        (all, kept) = (half.min(all), half.min(kept));
        while all > 1 {
            let half = self.half(all);
            for lower in 0..kept - half {
                let mut sums = load::<K, L, SUMS>(ctx, lower, scratch.sums);
                join::<K, L, SUMS>(&mut sums, &load::<K, L, SUMS>(ctx, lower + half, scratch.sums));
                store::<K, L, SUMS>(&sums, lower, scratch.sums);
            }
            (all, kept) = (half, half);
        }
        load::<K, L, SUMS>(ctx, 0, scratch.sums)
    }

    /// Returns whether no accumulator has more than one value, and their halves begin at powers of two.
    #[inline(always)]
    fn one_each(&self) -> bool {
        let in_halves = self.accumulators == self.inner || self.inner.is_power_of_two();
        in_halves && self.count <= GROUP_ROWS.min(self.accumulators)
    }

    /// Performs steps 2 and 3 for [`FewValues::one_each`]. The accumulators, eight at most, stay in registers; those
    /// without a value get a neutral one.
    #[inline(always)]
    fn accumulate_one_each<K: Term<1, SUMS>, L: F64Lanes, const SUMS: usize>(
        &self,
        ctx: LaneContext<L>,
        shift: L,
        values: &[f64],
    ) -> [Accumulator<L>; SUMS] {
        let [neutral] = K::neutral(ctx, shift);
        let mut sums = [[Accumulator::zero(ctx); SUMS]; GROUP_ROWS];
        for (at, sums) in sums.iter_mut().enumerate() {
            let mut group = [neutral; GROUP_ROWS];
            if at < self.count {
                group[0] = L::load(ctx.token, &values[at * L::LANES..]);
            }
            K::add(ctx, [group], shift, 1, sums);
        }
        let mut half = GROUP_ROWS / 2;
        while half > 0 {
            let (lower, upper) = sums.split_at_mut(half);
            for (lower, upper) in lower.iter_mut().zip(upper) {
                join::<K, L, SUMS>(lower, upper);
            }
            half /= 2;
        }
        let [first, ..] = sums;
        first
    }

    /// Returns where the upper half of `all > 1` accumulators begins: over the outer blocks of a row first, then over
    /// the positions.
    #[inline(always)]
    fn half(&self, all: usize) -> usize {
        if all > self.inner { all / 2 } else { all.next_power_of_two() / 2 }
    }

    /// Performs step 2 for one accumulator.
    #[inline(always)]
    fn accumulator<K: Term<1, SUMS>, L: F64Lanes, const SUMS: usize>(
        &self,
        ctx: LaneContext<L>,
        accumulator: usize,
        shift: L,
        values: &[f64],
    ) -> [Accumulator<L>; SUMS] {
        if accumulator + self.accumulators >= self.count {
            self.group::<K, L, 1, SUMS>(ctx, accumulator, shift, values)
        } else if accumulator + 2 * self.accumulators >= self.count {
            self.group::<K, L, 2, SUMS>(ctx, accumulator, shift, values)
        } else if accumulator + 4 * self.accumulators >= self.count {
            self.group::<K, L, 4, SUMS>(ctx, accumulator, shift, values)
        } else {
            self.group::<K, L, GROUP_ROWS, SUMS>(ctx, accumulator, shift, values)
        }
    }

    /// Performs step 2 for one accumulator, to which up to `ROWS` rows add a value.
    #[inline(always)]
    fn group<K: Term<1, SUMS>, L: F64Lanes, const ROWS: usize, const SUMS: usize>(
        &self,
        ctx: LaneContext<L>,
        accumulator: usize,
        shift: L,
        from: &[f64],
    ) -> [Accumulator<L>; SUMS] {
        let [neutral] = K::neutral(ctx, shift);
        let mut values = [neutral; GROUP_ROWS];
        for (row, value) in values.iter_mut().enumerate().take(ROWS) {
            let at = row * self.accumulators + accumulator;
            if ROWS == 1 || at < self.count {
                *value = L::load(ctx.token, &from[at * L::LANES..]);
            }
        }
        let mut sums = [Accumulator::zero(ctx); SUMS];
        K::add(ctx, [values], shift, ROWS, &mut sums);
        sums
    }
}

#[inline(always)]
fn join<K: Term<1, SUMS>, L: F64Lanes, const SUMS: usize>(
    to: &mut [Accumulator<L>; SUMS],
    from: &[Accumulator<L>; SUMS],
) {
    for i in 0..K::ADDS_TO {
        to[i].join(&from[i], K::COMPENSATED);
    }
}

/// Stores the sums of one accumulator that the term adds to.
#[inline(always)]
fn store<K: Term<1, SUMS>, L: F64Lanes, const SUMS: usize>(
    sums: &[Accumulator<L>; SUMS],
    accumulator: usize,
    to: &mut [f64],
) {
    let to = &mut to[accumulator * 2 * SUMS * L::LANES..][..2 * SUMS * L::LANES];
    for (sum, to) in sums.iter().zip(to.chunks_exact_mut(2 * L::LANES)).take(K::ADDS_TO) {
        sum.sum.store(to);
        if K::COMPENSATED {
            sum.compensation.store(&mut to[L::LANES..]);
        }
    }
}

/// Loads what [`store`] stored.
#[inline(always)]
fn load<K: Term<1, SUMS>, L: F64Lanes, const SUMS: usize>(
    ctx: LaneContext<L>,
    accumulator: usize,
    from: &[f64],
) -> [Accumulator<L>; SUMS] {
    let from = &from[accumulator * 2 * SUMS * L::LANES..][..2 * SUMS * L::LANES];
    let mut sums = [Accumulator::zero(ctx); SUMS];
    for (sum, from) in sums.iter_mut().zip(from.chunks_exact(2 * L::LANES)).take(K::ADDS_TO) {
        sum.sum = L::load(ctx.token, from);
        if K::COMPENSATED {
            sum.compensation = L::load(ctx.token, &from[L::LANES..]);
        }
    }
    sums
}
