//! The plane view: steps 2 and 3 of [`spec::order`](crate::spec::order) for the planes of a chunk. Values are read in
//! memory order, and the accumulators of a feature stay in registers. The inner loop is [`PlaneSums::add_plane`].

use std::marker::PhantomData;

use super::accumulator::{Accumulator, LaneContext};
use super::horizontal::Columns;
use super::term::Term;
use crate::lanes::{F64Lanes, LoadStore, Outlined, Token, prefetch_second_level};
use crate::spec::Order;
use crate::spec::order::{ChunkRange, GROUP_POSITIONS, GROUP_ROWS, PLANE_ACCUMULATORS, SEGMENT_GROUPS};
use crate::tuning::{CACHE_LINE, PLANE_PREFETCH};

/// A range of positions in the planes of one feature; or the planes of several features, which lie one after the other.
pub(super) struct Planes<'a, T, const INPUTS: usize> {
    /// The whole batches.
    inputs: [&'a [T]; INPUTS],
    /// Index of the first position of the first plane.
    start: usize,
    /// Values from one plane to the next.
    stride: usize,
    planes: usize,
    positions: usize,
}

impl<'a, T, const INPUTS: usize> Planes<'a, T, INPUTS> {
    /// Returns one feature's part of a chunk.
    #[inline(always)]
    pub(super) fn of(order: &Order, inputs: [&'a [T]; INPUTS], feature: usize, range: &ChunkRange) -> Self {
        let (features, inner) = (order.layout.features(), order.layout.inner());
        Planes {
            inputs,
            start: (range.outer.start * features + feature) * inner + range.positions.start,
            stride: features * inner,
            planes: range.outer.len(),
            positions: range.positions.len(),
        }
    }

    /// Joins the whole planes of `features` features, starting with this feature, into one.
    #[inline(always)]
    pub(super) fn side_by_side(self, features: usize) -> Self {
        Planes { positions: features * self.positions, ..self }
    }

    /// Returns the number of values per feature, if these are the planes of one feature.
    #[inline(always)]
    pub(super) fn count(&self) -> f64 {
        (self.planes * self.positions) as f64
    }

    #[inline(always)]
    fn start_of(&self, plane: usize) -> usize {
        self.start + plane * self.stride
    }

    /// Prefetches `len` values at the prefetch distance, [`PLANE_PREFETCH`] bytes, after a position of a plane.
    #[inline(always)]
    fn prefetch(&self, target: &PrefetchTarget, position: usize, len: usize) {
        let from = if position < target.left { target.here } else { target.after };
        for x in self.inputs {
            for at in (0..len).step_by(CACHE_LINE / size_of::<T>()) {
                prefetch_second_level(x, from.wrapping_add(position + at));
            }
        }
    }

    #[inline(always)]
    fn prefetch_target(&self, plane: usize) -> PrefetchTarget {
        let distance = PLANE_PREFETCH / size_of::<T>();
        let (planes, positions) = (distance / self.positions, distance % self.positions);
        PrefetchTarget {
            here: self.start_of(plane + planes) + positions,
            left: self.positions - positions,
            after: self.start_of(plane + planes + 1).wrapping_sub(self.positions - positions),
        }
    }

    /// Performs steps 2 and 3 for one feature.
    #[inline(always)]
    pub(super) fn accumulate<K: Term<INPUTS, SUMS>, L: F64Lanes + LoadStore<T>, const SUMS: usize>(
        &self,
        ctx: LaneContext<L>,
        shift: f64,
    ) -> [Accumulator<f64>; SUMS] {
        if K::UNSHIFTED_IS_CHEAPER && shift == 0.0 {
            return self.accumulate::<K::Unshifted, L, SUMS>(ctx, shift);
        }
        ctx.token.outlined(Accumulate::<K, L, T, INPUTS, SUMS> { planes: self, ctx, shift, term: PhantomData })
    }

    /// Performs step 2 for all features of an outer block, then for the next block. Memory is read in order, at the
    /// cost of loading and storing the accumulators for each plane. In `self`, the planes of all features are joined
    /// into one. Leaves the accumulators in `space`: [`PlaneSums::workspace`] values per feature, which
    /// [`PlaneSums::loaded`] reads.
    #[inline(always)]
    pub(super) fn accumulate_side_by_side<K: Term<INPUTS, SUMS>, L: F64Lanes + LoadStore<T>, const SUMS: usize>(
        &self,
        ctx: LaneContext<L>,
        shifts: &[f64],
        space: &mut [f64],
    ) -> Progress {
        let inner = self.positions / shifts.len();
        let mut progress = Progress { later: false, left: SEGMENT_GROUPS };
        for block in 0..self.planes {
            let (start, target) = (self.start_of(block), self.prefetch_target(block));
            let mut next = progress;
            let spaces = space.chunks_exact_mut(PlaneSums::<L, SUMS>::workspace(K::COMPENSATED));
            for ((i, shift), space) in shifts.iter().enumerate().zip(spaces) {
                let mut sums = PlaneSums::new(ctx);
                if block > 0 {
                    sums = PlaneSums::loaded(ctx, progress, space, K::COMPENSATED);
                }
                let (plane, target) = (self.plane(start + i * inner, inner), Some((&target, i * inner)));
                if K::UNSHIFTED_IS_CHEAPER && *shift == 0.0 {
                    sums.add_plane::<K::Unshifted, T, INPUTS>(plane, ctx.zero(), self, target);
                } else {
                    sums.add_plane::<K, T, INPUTS>(plane, L::splat(ctx.token, *shift), self, target);
                }
                sums.store(space, K::COMPENSATED);
                next = sums.progress();
            }
            progress = next;
        }
        progress
    }

    #[inline(always)]
    fn plane(&self, start: usize, len: usize) -> [&[T]; INPUTS] {
        let mut plane = self.inputs;
        for x in &mut plane {
            *x = &x[start..][..len];
        }
        plane
    }
}

/// The work of [`Planes::accumulate`] by one term.
struct Accumulate<'a, K, L: F64Lanes, T, const INPUTS: usize, const SUMS: usize> {
    planes: &'a Planes<'a, T, INPUTS>,
    ctx: LaneContext<L>,
    shift: f64,
    term: PhantomData<K>,
}

impl<K, L, T, const INPUTS: usize, const SUMS: usize> Outlined for Accumulate<'_, K, L, T, INPUTS, SUMS>
where
    K: Term<INPUTS, SUMS>,
    L: F64Lanes + LoadStore<T>,
{
    type Output = [Accumulator<f64>; SUMS];

    #[inline(always)]
    fn run(self) -> [Accumulator<f64>; SUMS] {
        let Accumulate { planes, ctx, shift, .. } = self;
        let mut sums = PlaneSums::new(ctx);
        for plane in 0..planes.planes {
            let values = planes.plane(planes.start_of(plane), planes.positions);
            sums.add_plane::<K, T, INPUTS>(values, L::splat(ctx.token, shift), planes, None);
        }
        sums.reduced(K::COMPENSATED)
    }
}

/// What to prefetch while a plane is read.
struct PrefetchTarget {
    /// Start of the values to prefetch for the first `left` positions of the plane.
    here: usize,
    /// Number of positions for which `here` applies.
    left: usize,
    /// Start of the values to prefetch for the other positions, in a later plane.
    after: usize,
}

/// The progress in a chunk, which is the same for all of its features.
#[derive(Clone, Copy)]
pub(super) struct Progress {
    /// Whether the current segment is not the first one.
    later: bool,
    /// Groups that remain in the current segment.
    left: usize,
}

/// The accumulators of a feature: for each sum two vectors of four lanes, or one of eight lanes (the second is then
/// unused).
type Vectors<L, const SUMS: usize> = [[Accumulator<L>; SUMS]; PLANE_ACCUMULATORS / 4];

/// The accumulators of a feature while its planes are added: those of the current segment, and those of the segments
/// before it.
#[derive(Clone, Copy)]
pub(super) struct PlaneSums<L: F64Lanes, const SUMS: usize> {
    ctx: LaneContext<L>,
    segment: Vectors<L, SUMS>,
    before: Option<Vectors<L, SUMS>>,
    left: usize,
}

impl<L: F64Lanes, const SUMS: usize> PlaneSums<L, SUMS> {
    /// Number of vectors in use.
    const VECTORS: usize = PLANE_ACCUMULATORS / L::LANES;

    /// Returns the number of f64 values that [`PlaneSums::store`] writes: two sets of accumulators, with or without
    /// compensation terms.
    pub(super) const fn workspace(compensated: bool) -> usize {
        2 * SUMS * PLANE_ACCUMULATORS * if compensated { 2 } else { 1 }
    }

    #[inline(always)]
    fn new(ctx: LaneContext<L>) -> Self {
        PlaneSums { ctx, segment: Self::zero(ctx), before: None, left: SEGMENT_GROUPS }
    }

    #[inline(always)]
    fn zero(ctx: LaneContext<L>) -> Vectors<L, SUMS> {
        [[Accumulator::zero(ctx); SUMS]; PLANE_ACCUMULATORS / 4]
    }

    /// Adds a plane of one feature. If there is a target, prefetches values of `block` from there.
    #[inline(always)]
    fn add_plane<K: Term<I, SUMS>, T, const I: usize>(
        &mut self,
        plane: [&[T]; I],
        shift: L,
        block: &Planes<'_, T, I>,
        target: Option<(&PrefetchTarget, usize)>,
    ) where
        L: LoadStore<T>,
    {
        let len = plane[0].len();
        let whole = len - len % GROUP_POSITIONS;
        let mut at = 0;
        while at < len {
            if self.left == 0 {
                let before = Some(self.joined(K::COMPENSATED));
                *self = PlaneSums { before, ..Self::new(self.ctx) };
            }
            let end = whole.min(at + self.left * GROUP_POSITIONS);
            self.left -= (end - at) / GROUP_POSITIONS;
            while at < end {
                if let Some((target, position)) = target {
                    block.prefetch(target, position + at, GROUP_POSITIONS);
                }
                self.add_group::<K, T, I>(plane, at, shift);
                at += GROUP_POSITIONS;
            }
            if at == whole && at < len && self.left > 0 {
                if let Some((target, position)) = target {
                    block.prefetch(target, position + at, len - at);
                }
                self.add_tail::<K, T, I>(plane, at, shift);
                self.left -= 1;
                at = len;
            }
        }
    }

    /// Adds 64 values. This is the body of the inner loop. (The vector is selected by a constant, so that it stays in a
    /// register.)
    #[inline(always)]
    fn add_group<K: Term<I, SUMS>, T, const I: usize>(&mut self, plane: [&[T]; I], at: usize, shift: L)
    where
        L: LoadStore<T>,
    {
        self.add_to_vector::<K, T, I, 0>(plane, at, shift);
        if Self::VECTORS == 2 {
            self.add_to_vector::<K, T, I, 1>(plane, at, shift);
        }
    }

    #[inline(always)]
    fn add_to_vector<K: Term<I, SUMS>, T, const I: usize, const VECTOR: usize>(
        &mut self,
        plane: [&[T]; I],
        at: usize,
        shift: L,
    ) where
        L: LoadStore<T>,
    {
        let mut inputs = [[shift; GROUP_ROWS]; I];
        for (values, x) in inputs.iter_mut().zip(plane) {
            let group = &x[at..][..GROUP_POSITIONS];
            for (row, value) in values.iter_mut().enumerate() {
                *value = L::load_from(self.ctx.token, &group[row * PLANE_ACCUMULATORS + VECTOR * L::LANES..]);
            }
        }
        K::add(self.ctx, inputs, shift, GROUP_ROWS, &mut self.segment[VECTOR]);
    }

    /// Adds the tail of a plane, fewer values than [`PlaneSums::add_group`] adds.
    #[inline(always)]
    fn add_tail<K: Term<I, SUMS>, T, const I: usize>(&mut self, plane: [&[T]; I], at: usize, shift: L)
    where
        L: LoadStore<T>,
    {
        self.add_tail_to_vector::<K, T, I, 0>(plane, at, shift);
        if Self::VECTORS == 2 {
            self.add_tail_to_vector::<K, T, I, 1>(plane, at, shift);
        }
    }

    #[inline(always)]
    fn add_tail_to_vector<K: Term<I, SUMS>, T, const I: usize, const VECTOR: usize>(
        &mut self,
        plane: [&[T]; I],
        at: usize,
        shift: L,
    ) where
        L: LoadStore<T>,
    {
        let mut inputs = [[shift; GROUP_ROWS]; I];
        for ((values, x), neutral) in inputs.iter_mut().zip(plane).zip(K::neutral(self.ctx, shift)) {
            // This vector's values in whole rows, then those of the row that the plane ends in.
            let tail = x.get(at + VECTOR * L::LANES..).unwrap_or_default();
            let whole = (tail.len() + PLANE_ACCUMULATORS - L::LANES) / PLANE_ACCUMULATORS;
            let last = match tail.get(whole * PLANE_ACCUMULATORS..) {
                Some(last) if !last.is_empty() => L::load_partial(self.ctx.token, last, neutral),
                _ => neutral,
            };
            for (row, value) in values.iter_mut().enumerate() {
                *value = if row < whole {
                    L::load_from(self.ctx.token, &tail[row * PLANE_ACCUMULATORS..])
                } else if row == whole {
                    last
                } else {
                    neutral
                };
            }
        }
        // Only compensated sums are faster without the missing rows.
        let rows = if K::COMPENSATED { (plane[0].len() - at).div_ceil(PLANE_ACCUMULATORS) } else { GROUP_ROWS };
        K::add(self.ctx, inputs, shift, rows, &mut self.segment[VECTOR]);
    }

    /// Returns the sums of the segments before, plus those of the current one.
    #[inline(always)]
    fn joined(&self, compensated: bool) -> Vectors<L, SUMS> {
        let Some(mut joined) = self.before else { return self.segment };
        for (all, segment) in joined.iter_mut().zip(&self.segment).take(Self::VECTORS) {
            for (all, segment) in all.iter_mut().zip(segment) {
                all.join(segment, compensated);
            }
        }
        joined
    }

    /// Performs step 3.
    #[inline(always)]
    pub(super) fn reduced(&self, compensated: bool) -> [Accumulator<f64>; SUMS] {
        let (joined, mut reduced) = (self.joined(compensated), [Accumulator { sum: 0.0, compensation: 0.0 }; SUMS]);
        for (index, to) in reduced.iter_mut().enumerate() {
            let (mut sum, mut compensation) = ([0.0; PLANE_ACCUMULATORS], [0.0; PLANE_ACCUMULATORS]);
            for (i, vector) in joined.iter().take(Self::VECTORS).enumerate() {
                vector[index].sum.store(&mut sum[i * L::LANES..]);
                vector[index].compensation.store(&mut compensation[i * L::LANES..]);
            }
            let kept = if compensated { &mut compensation[..] } else { &mut [] };
            Columns { sum: &mut sum, compensation: kept }.reduce(self.ctx, 1, 1, PLANE_ACCUMULATORS);
            *to = Accumulator { sum: sum[0], compensation: compensation[0] };
        }
        reduced
    }

    #[inline(always)]
    fn progress(&self) -> Progress {
        Progress { later: self.before.is_some(), left: self.left }
    }

    /// Stores the accumulators where [`PlaneSums::loaded`] reads them.
    #[inline(always)]
    fn store(&mut self, to: &mut [f64], compensated: bool) {
        let (segment, before) = to.split_at_mut(Self::workspace(compensated) / 2);
        transfer::<true, L, SUMS>(&mut self.segment, self.ctx, segment, compensated);
        if let Some(sums) = &mut self.before {
            transfer::<true, L, SUMS>(sums, self.ctx, before, compensated);
        }
    }

    /// Loads the accumulators that [`PlaneSums::store`] wrote.
    #[inline(always)]
    pub(super) fn loaded(ctx: LaneContext<L>, progress: Progress, from: &mut [f64], compensated: bool) -> Self {
        let (segment, before) = from.split_at_mut(Self::workspace(compensated) / 2);
        let mut sums = PlaneSums { left: progress.left, ..Self::new(ctx) };
        transfer::<false, L, SUMS>(&mut sums.segment, ctx, segment, compensated);
        if progress.later {
            let mut all = Self::zero(ctx);
            transfer::<false, L, SUMS>(&mut all, ctx, before, compensated);
            sums.before = Some(all);
        }
        sums
    }
}

/// Stores or loads accumulators: the sums, then the compensation terms if they are kept.
#[inline(always)]
fn transfer<const STORE: bool, L: F64Lanes, const SUMS: usize>(
    vectors: &mut Vectors<L, SUMS>,
    ctx: LaneContext<L>,
    memory: &mut [f64],
    compensated: bool,
) {
    let (of_sums, of_terms) = memory.split_at_mut(SUMS * PLANE_ACCUMULATORS);
    for (i, vector) in vectors.iter_mut().take(PLANE_ACCUMULATORS / L::LANES).enumerate() {
        for (index, sum) in vector.iter_mut().enumerate() {
            let at = index * PLANE_ACCUMULATORS + i * L::LANES;
            if STORE {
                sum.sum.store(&mut of_sums[at..]);
            } else {
                sum.sum = L::load(ctx.token, &of_sums[at..]);
            }
            if STORE && compensated {
                sum.compensation.store(&mut of_terms[at..]);
            } else if compensated {
                sum.compensation = L::load(ctx.token, &of_terms[at..]);
            }
        }
    }
}
