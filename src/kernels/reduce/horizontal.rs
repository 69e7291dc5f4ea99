//! Step 3 of [`spec::order`](crate::spec::order), the horizontal reduction: reduces the accumulators of each feature to
//! one.

use super::accumulator::{Accumulator, LaneContext};
use crate::lanes::{F64Lanes, Outlined};
use crate::spec::order::PLANE_VIEW_INNER;

/// Accumulators in memory, in the order `[interleave][features][inner]`. `compensation` is empty if the sums are not
/// compensated.
pub(super) struct Columns<'a> {
    pub(super) sum: &'a mut [f64],
    pub(super) compensation: &'a mut [f64],
}

impl Columns<'_> {
    pub(super) const fn empty() -> Self {
        Columns { sum: &mut [], compensation: &mut [] }
    }

    /// Reduces in halves, first over `interleave` (a power of two), then over `inner` (any number that the row view
    /// has, so the upper half may be shorter). Leaves one accumulator per feature at the start.
    #[inline(always)]
    pub(super) fn reduce<L: F64Lanes>(
        &mut self,
        ctx: LaneContext<L>,
        interleave: usize,
        features: usize,
        inner: usize,
    ) {
        let width = features * inner;
        let mut half = interleave / 2;
        while half > 0 {
            self.add(0, half * width, half * width);
            half /= 2;
        }
        if inner == 1 {
            return;
        }
        let full = features - features % L::LANES;
        for feature in (0..full).step_by(L::LANES) {
            self.reduce_features::<L>(ctx, feature, inner);
        }
        for feature in full..features {
            self.reduce_feature(feature, inner);
        }
    }

    /// Reduces over `inner` for one feature.
    #[inline(always)]
    fn reduce_feature(&mut self, feature: usize, inner: usize) {
        let (first, mut len) = (feature * inner, inner);
        while len > 1 {
            let half = len.next_power_of_two() / 2;
            self.add(first, first + half, len - half);
            len = half;
        }
        self.sum[feature] = self.sum[first];
        if !self.compensation.is_empty() {
            self.compensation[feature] = self.compensation[first];
        }
    }

    /// Reduces over `inner` for one feature per lane, starting at `feature`. (The results lie before the sums of later
    /// features.)
    #[inline(always)]
    fn reduce_features<L: F64Lanes>(&mut self, ctx: LaneContext<L>, feature: usize, inner: usize) {
        let mut reduced = [Accumulator::zero(ctx); PLANE_VIEW_INNER / 2];
        let mut half = inner.next_power_of_two() / 2;
        let (first, compensated) = (feature * inner, !self.compensation.is_empty());
        for (at, to) in reduced.iter_mut().enumerate().take(half) {
            *to = self.strided(ctx, first + at, inner);
            if at + half < inner {
                to.join(&self.strided(ctx, first + at + half, inner), compensated);
            }
        }
        while half > 1 {
            half /= 2;
            let (low, high) = reduced.split_at_mut(half);
            for (low, high) in low.iter_mut().zip(high) {
                low.join(high, compensated);
            }
        }
        reduced[0].sum.store(&mut self.sum[feature..]);
        if compensated {
            reduced[0].compensation.store(&mut self.compensation[feature..]);
        }
    }

    /// Loads one accumulator per lane, `stride` from one to the next.
    #[inline(always)]
    fn strided<L: F64Lanes>(&self, ctx: LaneContext<L>, at: usize, stride: usize) -> Accumulator<L> {
        let mut loaded =
            Accumulator { sum: L::load_strided(ctx.token, &self.sum[at..], stride), ..Accumulator::zero(ctx) };
        if !self.compensation.is_empty() {
            loaded.compensation = L::load_strided(ctx.token, &self.compensation[at..], stride);
        }
        loaded
    }

    /// Adds the `len` accumulators that start at `upper` to those that start at `lower` and lie before them.
    #[inline(always)]
    fn add(&mut self, lower: usize, upper: usize, len: usize) {
        let (low, high) = self.sum.split_at_mut(upper);
        let (low, high) = (&mut low[lower..][..len], &high[..len]);
        if self.compensation.is_empty() {
            for (a, b) in low.iter_mut().zip(high) {
                *a += b;
            }
            return;
        }
        let (low_terms, high_terms) = self.compensation.split_at_mut(upper);
        let terms = low_terms[lower..][..len].iter_mut().zip(&high_terms[..len]);
        for ((a, b), (a_term, b_term)) in low.iter_mut().zip(high).zip(terms) {
            let mut sum = Accumulator { sum: *a, compensation: *a_term };
            sum.join(&Accumulator { sum: *b, compensation: *b_term }, true);
            (*a, *a_term) = (sum.sum, sum.compensation);
        }
    }
}

/// [`Columns::reduce`] as a function of its own, for rows: there it is done once per chunk. (Planes need it for each
/// feature, with constant dimensions.)
pub(super) struct Reduce<'a, 'b, L: F64Lanes> {
    pub(super) columns: &'a mut Columns<'b>,
    pub(super) ctx: LaneContext<L>,
    pub(super) interleave: usize,
    pub(super) features: usize,
    pub(super) inner: usize,
}

impl<L: F64Lanes> Outlined for Reduce<'_, '_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.columns.reduce(self.ctx, self.interleave, self.features, self.inner);
    }
}

/// The result of step 3: one accumulator per feature and sum, at the start of the arrays.
pub(super) struct FeatureSums<'a, const SUMS: usize>(pub(super) [Columns<'a>; SUMS]);

impl<const SUMS: usize> FeatureSums<'_, SUMS> {
    /// Loads the accumulators of one feature per lane, starting at `at`.
    #[inline(always)]
    pub(super) fn load<L: F64Lanes>(&self, token: L::Token, at: usize) -> [Accumulator<L>; SUMS] {
        let zero = L::splat(token, 0.0);
        let mut sums = [Accumulator { sum: zero, compensation: zero }; SUMS];
        for i in 0..SUMS {
            let Columns { sum, compensation } = &self.0[i];
            sums[i].sum = L::load(token, &sum[at..]);
            if !compensation.is_empty() {
                sums[i].compensation = L::load(token, &compensation[at..]);
            }
        }
        sums
    }
}
