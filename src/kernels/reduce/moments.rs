//! Moments of a batch: the steps of [`spec::order`](crate::spec::order) for each chunk, and Chan's formula between
//! chunks.

use core::marker::PhantomData;
use core::ops::Range;

use super::accumulator::{Accumulator, LaneContext};
use super::few::{FewValues, Scratch};
use super::finalize::{finalize, m2_or_nan, shift};
use super::horizontal::FeatureSums;
use super::merge::Merge;
use super::plane_sums::{BLOCK, BLOCK_WORKSPACE, PlaneSums, block_len, blocks, reduced_from_workspace};
use super::planes::{PlaneBlock, Planes};
use super::row_sums::{self, RowSums};
use super::rows::{Prefetch, Rows};
use super::term::{Shifted, Unshifted};
use super::tree::Reduction;
use crate::Batch;
use crate::kernels::{Arrays, KernelElement, MOMENT_WORDS, MomentArrays};
use crate::lanes::{F64Lanes, Isa, Job, LoadStore, MOST_F64_LANES, Outlined, Simd, Token};
use crate::spec::order::{ChunkRange, GROUP_ROWS, ROW_ACCUMULATORS, View, sample_group};
use crate::spec::{FeatureMoments, Order, fallback};
use crate::tuning::{
    CACHE_LINE, FEW_VALUES_PER_FEATURE, ROW_PREFETCH_FAR, ROW_PREFETCH_NEAR, SECOND_LEVEL_BYTES, THIRD_LEVEL_BYTES,
    TILE_COLUMNS, TILE_FEW, TILE_PLANES,
};

/// Computes the moments of a batch in a tree of chunks.
pub(crate) struct BatchMoments<'a, T> {
    pub(crate) isa: Isa,
    pub(crate) order: &'a Order,
    pub(crate) x: Batch<'a, T>,
}

impl<T: KernelElement> Reduction<MOMENT_WORDS> for BatchMoments<'_, T> {
    fn order(&self) -> &Order {
        self.order
    }

    fn tile(&self) -> usize {
        match self.order.view {
            View::Rows { .. } if self.has_few_values() => TILE_FEW,
            View::Rows { .. } => TILE_COLUMNS / self.order.layout.inner().max(1),
            View::Planes => TILE_PLANES,
        }
    }

    #[cfg(any(feature = "rayon", test))]
    fn cuts_cost(&self) -> bool {
        !self.has_few_values() && self.order.view != View::Planes
    }

    fn workspace(&self, features: usize) -> usize {
        match self.order.view {
            View::Rows { .. } if self.has_few_values() => Scratch::len::<2>(FEW_VALUES_PER_FEATURE),
            View::Rows { .. } => row_sums::workspace::<Shifted<T>, 1, 2>(self.order.accumulators(features)),
            // The size is the same for any number of lanes.
            View::Planes => features * PlaneSums::<f64, 2>::workspace(T::COMPENSATED),
        }
    }

    fn chunk(&self, range: ChunkRange, features: Range<usize>, out: MomentArrays<'_>, workspace: &mut [f64]) {
        Chunk { batch: self, range, features, out, workspace }.run();
    }

    fn merge(&self, a: MomentArrays<'_>, count_a: u64, b: MomentArrays<'_>, count_b: u64) {
        self.isa.run(Merge { a, count_a, b: b.as_moments(), count_b });
    }
}

impl<T> BatchMoments<'_, T> {
    /// Returns whether features have so few values, in one group of rows, that they are computed one per lane. If outer
    /// blocks are interleaved there are few features, and lanes would lie idle for all but the fewest values.
    fn has_few_values(&self) -> bool {
        let count = self.order.layout.count();
        match self.order.view {
            View::Rows { interleave: 1 } => count <= FEW_VALUES_PER_FEATURE && self.order.layout.outer() <= GROUP_ROWS,
            View::Rows { .. } => count <= GROUP_ROWS,
            View::Planes => false,
        }
    }
}

/// One chunk, for a range of features.
struct Chunk<'a, T> {
    batch: &'a BatchMoments<'a, T>,
    range: ChunkRange,
    features: Range<usize>,
    out: MomentArrays<'a>,
    workspace: &'a mut [f64],
}

/// Where the shifts come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shifts {
    /// Step 1: from a sample.
    OfSample,
    /// Step 5: from the means in `out`.
    Given,
}

impl<T: KernelElement> Chunk<'_, T> {
    /// Performs steps 1 to 5.
    fn run(mut self) {
        self.batch.isa.run(Sweep { chunk: self.reborrow(), shifts: Shifts::OfSample });
        if self.rejected().iter().any(|m2| m2.is_nan()) {
            self.recompute();
        }
    }

    fn reborrow(&mut self) -> Chunk<'_, T> {
        let (range, features) = (self.range.clone(), self.features.clone());
        Chunk { batch: self.batch, range, features, out: self.out.reborrow(), workspace: self.workspace }
    }

    /// Returns the m2 of every feature: NaN if step 5 rejected it.
    fn rejected(&self) -> &[f64] {
        let [.., m2s, _] = &self.out.0;
        m2s
    }

    /// Performs the second half of step 5: recomputes the rejected features about the means just found. Features that
    /// are rejected again are computed by the fallback.
    #[cold]
    #[inline(never)]
    fn recompute(&mut self) {
        let (isa, mut at) = (self.batch.isa, 0);
        while let Some(rejected) = self.rejected()[at..].iter().position(|m2| m2.is_nan()) {
            let block = self.swept_with(at + rejected);
            at = block.end;
            let mut scratch = [0.0; MOMENT_WORDS * ROW_ACCUMULATORS];
            let (mut recomputed, _) = Arrays::from_workspace(&mut scratch, block.len());
            recomputed.0[0].copy_from_slice(&self.out.0[0][block.clone()]);
            let features = self.features.start + block.start..self.features.start + block.end;
            let chunk = Chunk { features: features.clone(), out: recomputed.reborrow(), ..self.reborrow() };
            isa.run(Sweep { chunk, shifts: Shifts::Given });
            for ((i, to), feature) in block.enumerate().zip(features) {
                let first = self.out.as_moments().feature(to);
                if first.m2.high.is_nan() {
                    let second = recomputed.as_moments().feature(i);
                    let rejected = second.m2.high.is_nan();
                    self.out.store(to, if rejected { self.fallback(feature, first.mean.high) } else { second });
                }
            }
        }
    }

    /// Returns the features that are recomputed together with a rejected one. In the row view these are whole cache
    /// lines of features, for as long as each line has a rejected one, or all features if outer blocks are interleaved.
    /// In the plane view it is the rejected feature alone.
    fn swept_with(&self, rejected: usize) -> Range<usize> {
        let (all, m2s) = (self.features.len(), self.rejected());
        let line = match self.batch.order.view {
            View::Rows { interleave: 1 } => (CACHE_LINE / size_of::<f64>() / self.batch.order.layout.inner()).max(1),
            View::Rows { .. } => return 0..all,
            View::Planes => return rejected..rejected + 1,
        };
        let start = rejected - rejected % line;
        let mut end = (start + line).min(all);
        while end < all.min(start + ROW_ACCUMULATORS) && m2s[end..all.min(end + line)].iter().any(|m2| m2.is_nan()) {
            end = all.min(end + line);
        }
        start..end
    }

    fn fallback(&self, feature: usize, mean: f64) -> FeatureMoments<f64> {
        if T::SQUARES_EXACT && !mean.is_finite() {
            // Sums of f32 values do not overflow, so a value is not finite.
            return fallback::not_finite(mean);
        }
        fallback::moments(self.batch.order.values(self.batch.x, &self.range, feature))
    }
}

/// Performs steps 1 to 4 and the first half of step 5: the m2 of rejected features is NaN.
struct Sweep<'a, T> {
    chunk: Chunk<'a, T>,
    shifts: Shifts,
}

impl<T: KernelElement> Job for Sweep<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.chunk.batch.order.view {
            View::Rows { .. } if self.chunk.batch.has_few_values() => self.few::<T::F64<S>>(simd),
            View::Rows { interleave } => self.rows::<T::F64<S>>(simd, interleave),
            View::Planes => self.planes::<T::F64<S>>(simd),
        }
    }
}

impl<T: KernelElement> Sweep<'_, T> {
    #[inline(always)]
    fn rows<L: F64Lanes + LoadStore<T>>(self, token: L::Token, interleave: usize) {
        let Chunk { batch, range, features, mut out, workspace } = self.chunk;
        let (count, sampled) = (range.count() as f64, self.shifts == Shifts::OfSample);
        let prefetch = row_prefetch(batch, features.len()).filter(|_| sampled);
        let (ctx, rows) =
            (LaneContext::<L>::new(token), Rows::of(batch.order, [batch.x], interleave, &features, &range, prefetch));
        if sampled {
            let sums = RowSums::<Unshifted<T>, L, T, 1, 2>::new(ctx, rows, workspace);
            let (sums, sample) = sums.accumulate_group(sample_group(rows.rows));
            if shifts_of_sample::<L, T>(token, &sums, sample, out.0[0]) && rows.rows <= GROUP_ROWS {
                // The sample is the whole chunk.
                return finalize_features::<L, T>(token, &sums, count, &mut out);
            }
        }
        if prefetch.is_some() {
            rows.prefetch_next_sample();
        }
        let sums = RowSums::<Shifted<T>, L, T, 1, 2>::new(ctx, rows, workspace).accumulate(out.0[0]);
        finalize_features::<L, T>(token, &sums, count, &mut out);
    }

    /// Performs all steps for one feature per lane. If there are more features than lanes, the last lanes compute some
    /// features again.
    #[inline(always)]
    fn few<L: F64Lanes + LoadStore<T>>(self, token: L::Token) {
        let Chunk { batch, range, features, mut out, workspace } = self.chunk;
        let (ctx, values) = (LaneContext::<L>::new(token), FewValues::of(batch.x, batch.order, &range));
        let (mut scratch, count) = (Scratch::new::<2>(workspace), values.count as f64);
        for at in (0..features.len()).step_by(L::LANES) {
            let given = self.shifts == Shifts::Given;
            // Given shifts would have been overwritten.
            let at = if given { at } else { at.min(features.len().saturating_sub(L::LANES)) };
            let lanes = L::LANES.min(features.len() - at);
            values.load(ctx, features.start + at, lanes, &mut scratch);
            let (mut shift, mut sums) = (ctx.zero(), [Accumulator::zero(ctx); 2]);
            if given {
                let mut means = [0.0; MOST_F64_LANES];
                means[..lanes].copy_from_slice(&out.0[0][at..][..lanes]);
                shift = L::load(token, &means);
            } else {
                sums = values.accumulate::<Unshifted<T>, L, 2>(ctx, shift, &mut scratch);
                shift = self::shift::<T, L>(token, sums, count);
            }
            if given || !T::SQUARES_EXACT || !shift.all_zero() {
                sums = values.accumulate::<Shifted<T>, L, 2>(ctx, shift, &mut scratch);
            }
            out.store_first(at, lanes, checked::<T, L>(token, count, shift, sums));
        }
    }

    #[inline(always)]
    fn planes<L: F64Lanes + LoadStore<T>>(self, token: L::Token) {
        let ctx = LaneContext::<L>::new(token);
        let far = size_of_val(self.chunk.batch.x.data()) > THIRD_LEVEL_BYTES && self.chunk.range.outer.len() > 1;
        if far && self.shifts == Shifts::OfSample {
            self.planes_side_by_side(ctx);
        } else {
            self.planes_in_blocks(ctx);
        }
    }

    /// Sums each feature on its own, so that its accumulators stay in registers. What follows is done for a block of
    /// features together.
    #[inline(always)]
    fn planes_in_blocks<L: F64Lanes + LoadStore<T>>(self, ctx: LaneContext<L>) {
        let Chunk { batch, range, features, mut out, workspace } = self.chunk;
        let sample = range.sample();
        let (count, sample_count) = (range.count() as f64, sample.count() as f64);
        for block in blocks(features.len(), block_len::<T>(range.count())) {
            let planes = |range| {
                let first_feature = features.start + block.start;
                PlaneBlock { order: batch.order, inputs: [batch.x], first_feature, range }
            };
            let mut out = out.part(block.clone());
            if self.shifts == Shifts::OfSample {
                out.0[0].fill(0.0);
                let sums = planes(&sample).sums::<Unshifted<T>, L, 2>(ctx, out.0[0], workspace);
                let own = shifts_of_sample::<L, T>(ctx.token, &sums, sample_count, out.0[0]);
                if own && sample_count == count {
                    // The sample is the whole chunk.
                    finalize_features::<L, T>(ctx.token, &sums, count, &mut out);
                    continue;
                }
            }
            let sums = planes(&range).sums::<Shifted<T>, L, 2>(ctx, out.0[0], workspace);
            finalize_features::<L, T>(ctx.token, &sums, count, &mut out);
        }
    }

    /// Sums all features together: values are read in memory order.
    #[inline(always)]
    fn planes_side_by_side<L: F64Lanes + LoadStore<T>>(self, ctx: LaneContext<L>) {
        let Chunk { batch, range, features, mut out, workspace } = self.chunk;
        let (sample, count) = (range.sample(), range.count() as f64);
        for block in blocks(features.len(), BLOCK) {
            let first_feature = features.start + block.start;
            let planes = PlaneBlock { order: batch.order, inputs: [batch.x], first_feature, range: &sample };
            let shifts = &mut out.0[0][block.clone()];
            shifts.fill(0.0);
            let sums = planes.sums::<Unshifted<T>, L, 2>(ctx, shifts, workspace);
            shifts_of_sample::<L, T>(ctx.token, &sums, sample.count() as f64, shifts);
        }
        let planes = Planes::of(batch.order, [batch.x], features.start, &range).side_by_side(features.len());
        let progress = planes.accumulate_side_by_side::<Shifted<T>, L, 2>(ctx, out.0[0], workspace);
        let mut space = [0.0; BLOCK_WORKSPACE];
        for block in blocks(features.len(), BLOCK) {
            let sums =
                reduced_from_workspace::<Shifted<T>, L, 1, 2>(ctx, progress, block.clone(), workspace, &mut space);
            finalize_features::<L, T>(ctx.token, &sums, count, &mut out.part(block));
        }
    }
}

/// Performs step 1. Returns whether, for all features, the sums of the sample are also its sums about
/// the shift.
#[inline(always)]
fn shifts_of_sample<L: F64Lanes + LoadStore<T>, T: KernelElement>(
    token: L::Token,
    sums: &FeatureSums<'_, 2>,
    count: f64,
    shifts: &mut [f64],
) -> bool {
    let (mut own_shifts, full) = (T::SQUARES_EXACT, shifts.len() - shifts.len() % L::LANES);
    for at in (0..full).step_by(L::LANES) {
        let shift = shift::<T, L>(token, sums.load(token, at), count);
        own_shifts &= shift.all_zero();
        shift.store(&mut shifts[at..]);
    }
    for (at, to) in shifts.iter_mut().enumerate().skip(full) {
        *to = shift::<T, f64>((), sums.load((), at), count);
        own_shifts &= is_own_shift::<T>(*to);
    }
    own_shifts
}

/// Returns whether sums of the values themselves are also the sums about this shift, squares included.
#[inline(always)]
fn is_own_shift<T: KernelElement>(shift: f64) -> bool {
    T::SQUARES_EXACT && shift == 0.0
}

/// Performs steps 4 and 5. On entry, the means in `out` are the shifts.
#[inline(always)]
fn finalize_features<L: F64Lanes, T: KernelElement>(
    token: L::Token,
    sums: &FeatureSums<'_, 2>,
    count: f64,
    out: &mut MomentArrays<'_>,
) {
    token.outlined(FinalizeFeatures::<L, T> { token, sums, count, out, element: PhantomData });
}

/// The work of [`finalize_features`].
struct FinalizeFeatures<'a, 'b, L: F64Lanes, T> {
    token: L::Token,
    sums: &'a FeatureSums<'a, 2>,
    count: f64,
    out: &'a mut MomentArrays<'b>,
    element: PhantomData<T>,
}

impl<L: F64Lanes, T: KernelElement> Outlined for FinalizeFeatures<'_, '_, L, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let FinalizeFeatures { token, sums, count, out, .. } = self;
        let features = out.features();
        let full = features - features % L::LANES;
        for at in (0..full).step_by(L::LANES) {
            let shift = L::load(token, &out.0[0][at..]);
            out.store(at, checked::<T, L>(token, count, shift, sums.load(token, at)));
        }
        for at in full..features {
            let shift = out.0[0][at];
            out.store(at, checked::<T, f64>((), count, shift, sums.load((), at)));
        }
    }
}

/// Performs steps 4 and 5 for one feature per lane.
#[inline(always)]
fn checked<T: KernelElement, L: F64Lanes>(
    token: L::Token,
    count: f64,
    shift: L,
    sums: [Accumulator<L>; 2],
) -> FeatureMoments<L> {
    let mut moments = finalize::<T, L>(token, count, shift, sums);
    moments.m2.high = m2_or_nan::<T, L>(token, moments.m2.high, sums[1].sum);
    moments
}

/// Returns how to prefetch rows, or `None` for a batch that stays in the second-level cache.
#[inline(always)]
fn row_prefetch<T>(batch: &BatchMoments<'_, T>, features: usize) -> Option<Prefetch> {
    let (bytes, row) = (size_of_val(batch.x.data()), batch.order.accumulators(features) * size_of::<T>());
    let far = bytes > THIRD_LEVEL_BYTES;
    let distance = if far { ROW_PREFETCH_FAR } else { ROW_PREFETCH_NEAR };
    let rows = distance.div_ceil(row).next_multiple_of(GROUP_ROWS);
    (bytes > SECOND_LEVEL_BYTES).then_some(Prefetch { rows, far })
}
