//! The plane view: steps 2 and 3 of [`crate::spec::order`] for the planes of a chunk. Values are read in the order in which
//! they lie, and the accumulators of a feature stay in registers. The inner loop is [`PlaneSums::add_plane`].

use super::accumulator::{Accumulator, LaneContext};
use super::horizontal::Columns;
use super::term::Term;
use crate::lanes::{F64Lanes, LoadStore, prefetch};
use crate::spec::order::{GROUP_POSITIONS, GROUP_ROWS, PLANE_ACCUMULATORS, SEGMENT_GROUPS};
use crate::tuning::{CACHE_LINE, PLANE_PREFETCH};

/// Some positions of some planes of one feature; or of several features, which lie one behind the other.
#[derive(Clone, Copy)]
pub(super) struct Planes<'a, T, const INPUTS: usize> {
    /// The whole batches.
    pub(super) inputs: [&'a [T]; INPUTS],
    /// Where the first plane's first position is.
    pub(super) start: usize,
    /// Values from one plane to the next.
    pub(super) stride: usize,
    pub(super) planes: usize,
    pub(super) positions: usize,
}

impl<T, const INPUTS: usize> Planes<'_, T, INPUTS> {
    /// Values per feature, of one feature.
    #[inline(always)]
    pub(super) fn count(&self) -> f64 {
        (self.planes * self.positions) as f64
    }

    #[inline(always)]
    fn start_of(&self, plane: usize) -> usize {
        self.start + plane * self.stride
    }

    /// Prefetches `len` values, [`PLANE_PREFETCH`] bytes after a position of a plane.
    #[inline(always)]
    fn prefetch(&self, target: &PrefetchTarget, position: usize, len: usize) {
        let from = if position < target.left { target.here } else { target.after };
        for x in self.inputs {
            for at in (0..len).step_by(CACHE_LINE / size_of::<T>()) {
                prefetch(x, from.wrapping_add(position + at));
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

    /// Steps 2 and 3 of one feature.
    #[inline(always)]
    pub(super) fn accumulate<K: Term<INPUTS, SUMS>, L: F64Lanes + LoadStore<T>, const SUMS: usize>(
        &self,
        ctx: LaneContext<L>,
        shift: f64,
    ) -> [Accumulator<f64>; SUMS] {
        if K::UNSHIFTED_IS_CHEAPER && shift == 0.0 {
            self.accumulate_about::<K::Unshifted, L, SUMS>(ctx, ctx.zero())
        } else {
            self.accumulate_about::<K, L, SUMS>(ctx, L::splat(ctx.token, shift))
        }
    }

    #[inline(always)]
    fn accumulate_about<K: Term<INPUTS, SUMS>, L: F64Lanes + LoadStore<T>, const SUMS: usize>(
        &self,
        ctx: LaneContext<L>,
        shift: L,
    ) -> [Accumulator<f64>; SUMS] {
        let mut sums = PlaneSums::new(ctx);
        for plane in 0..self.planes {
            sums.add_plane::<K, T, INPUTS>(ctx, self.plane(self.start_of(plane), self.positions), shift, self, None);
        }
        sums.reduced(K::COMPENSATED)
    }

    /// Steps 2 and 3 of all features of an outer block, then of the next block: memory is read in the order in which it
    /// lies, at the price of loading and storing the accumulators for each plane. `self` has the planes of all features
    /// as one. Leaves the accumulators in `space`: [`PlaneSums::workspace`] values per feature, read by [`PlaneSums::loaded`].
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
                    sums.add_plane::<K::Unshifted, T, INPUTS>(ctx, plane, ctx.zero(), self, target);
                } else {
                    sums.add_plane::<K, T, INPUTS>(ctx, plane, L::splat(ctx.token, *shift), self, target);
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

/// Where the values lie that are prefetched beside those of a plane.
struct PrefetchTarget {
    /// Beside its first positions.
    here: usize,
    /// How many those are.
    left: usize,
    /// Beside the other positions, in a later plane.
    after: usize,
}

/// How far a chunk has come, which is the same for all of its features.
#[derive(Clone, Copy)]
pub(super) struct Progress {
    /// Whether the present segment is not the first one.
    later: bool,
    /// Groups that the present segment lacks.
    left: usize,
}

/// Vectors that hold a sum's accumulators: two of four lanes, or one of eight and another that is not used.
type Vectors<L> = [Accumulator<L>; PLANE_ACCUMULATORS / 4];

/// The accumulators of a feature while its planes pass: of the present segment, and of those before it.
#[derive(Clone, Copy)]
pub(super) struct PlaneSums<L, const SUMS: usize> {
    segment: [Vectors<L>; SUMS],
    before: Option<[Vectors<L>; SUMS]>,
    left: usize,
}

impl<L: F64Lanes, const SUMS: usize> PlaneSums<L, SUMS> {
    /// Vectors that are used.
    const VECTORS: usize = PLANE_ACCUMULATORS / L::LANES;

    /// f64 values that [`PlaneSums::store`] takes: two sets of accumulators, with or without compensation terms.
    pub(super) const fn workspace(compensated: bool) -> usize {
        2 * SUMS * PLANE_ACCUMULATORS * if compensated { 2 } else { 1 }
    }

    #[inline(always)]
    fn new(ctx: LaneContext<L>) -> Self {
        PlaneSums { segment: Self::zero(ctx), before: None, left: SEGMENT_GROUPS }
    }

    #[inline(always)]
    fn zero(ctx: LaneContext<L>) -> [Vectors<L>; SUMS] {
        [[Accumulator::zero(ctx); PLANE_ACCUMULATORS / 4]; SUMS]
    }

    /// Adds a plane of one feature, and prefetches what lies some way after a position of `block`.
    #[inline(always)]
    fn add_plane<K: Term<I, SUMS>, T, const I: usize>(
        &mut self,
        ctx: LaneContext<L>,
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
                *self = PlaneSums { segment: Self::zero(ctx), before, left: SEGMENT_GROUPS };
            }
            let end = whole.min(at + self.left * GROUP_POSITIONS);
            self.left -= (end - at) / GROUP_POSITIONS;
            while at < end {
                if let Some((target, position)) = target {
                    block.prefetch(target, position + at, GROUP_POSITIONS);
                }
                self.add_group::<K, T, I>(ctx, plane, at, shift);
                at += GROUP_POSITIONS;
            }
            if at == whole && at < len && self.left > 0 {
                if let Some((target, position)) = target {
                    block.prefetch(target, position + at, len - at);
                }
                self.add_tail::<K, T, I>(ctx, plane, at, shift);
                self.left -= 1;
                at = len;
            }
        }
    }

    /// The inner loop's body: 64 values.
    #[inline(always)]
    fn add_group<K: Term<I, SUMS>, T, const I: usize>(
        &mut self,
        ctx: LaneContext<L>,
        plane: [&[T]; I],
        at: usize,
        shift: L,
    ) where
        L: LoadStore<T>,
    {
        for vector in 0..Self::VECTORS {
            let mut inputs = [[shift; GROUP_ROWS]; I];
            for (values, x) in inputs.iter_mut().zip(plane) {
                let group = &x[at..][..GROUP_POSITIONS];
                for (row, value) in values.iter_mut().enumerate() {
                    *value = L::load_from(ctx.token, &group[row * PLANE_ACCUMULATORS + vector * L::LANES..]);
                }
            }
            self.add::<K, I>(ctx, vector, inputs, shift, GROUP_ROWS);
        }
    }

    /// The same for fewer values, the last ones of a plane.
    #[inline(always)]
    fn add_tail<K: Term<I, SUMS>, T, const I: usize>(
        &mut self,
        ctx: LaneContext<L>,
        plane: [&[T]; I],
        at: usize,
        shift: L,
    ) where
        L: LoadStore<T>,
    {
        let neutral = K::neutral(ctx, shift);
        for vector in 0..Self::VECTORS {
            let mut inputs = [[shift; GROUP_ROWS]; I];
            for ((values, x), neutral) in inputs.iter_mut().zip(plane).zip(neutral) {
                let tail = &x[at..];
                for (row, value) in values.iter_mut().enumerate() {
                    *value = match tail.get(row * PLANE_ACCUMULATORS + vector * L::LANES..) {
                        Some(tail) if tail.len() >= L::LANES => L::load_from(ctx.token, tail),
                        Some(tail) if !tail.is_empty() => L::load_partial(ctx.token, tail, neutral),
                        _ => neutral,
                    };
                }
            }
            let rows = (plane[0].len() - at).div_ceil(PLANE_ACCUMULATORS);
            self.add::<K, I>(ctx, vector, inputs, shift, rows);
        }
    }

    #[inline(always)]
    fn add<K: Term<I, SUMS>, const I: usize>(
        &mut self,
        ctx: LaneContext<L>,
        vector: usize,
        inputs: [[L; GROUP_ROWS]; I],
        shift: L,
        rows: usize,
    ) {
        let mut sums = [Accumulator::zero(ctx); SUMS];
        for (to, from) in sums.iter_mut().zip(&self.segment) {
            *to = from[vector];
        }
        K::add(ctx, inputs, shift, rows, &mut sums);
        for (from, to) in sums.iter().zip(&mut self.segment) {
            to[vector] = *from;
        }
    }

    /// The sums of the segments before, with those of the present one.
    #[inline(always)]
    fn joined(&self, compensated: bool) -> [Vectors<L>; SUMS] {
        let Some(mut joined) = self.before else { return self.segment };
        for (all, segment) in joined.iter_mut().zip(&self.segment) {
            for vector in 0..Self::VECTORS {
                all[vector].join(&segment[vector], compensated);
            }
        }
        joined
    }

    /// Step 3.
    #[inline(always)]
    pub(super) fn reduced(&self, compensated: bool) -> [Accumulator<f64>; SUMS] {
        let mut reduced = [Accumulator { sum: 0.0, compensation: 0.0 }; SUMS];
        for (to, vectors) in reduced.iter_mut().zip(self.joined(compensated)) {
            let mut space = [0.0; 2 * PLANE_ACCUMULATORS];
            store_all(&[vectors], &mut space, true);
            let (sum, compensation) = space.split_at_mut(PLANE_ACCUMULATORS);
            let kept = if compensated { &mut *compensation } else { &mut [] };
            Columns { sum, compensation: kept }.reduce(1, 1, PLANE_ACCUMULATORS);
            *to = Accumulator { sum: sum[0], compensation: compensation[0] };
        }
        reduced
    }

    #[inline(always)]
    fn progress(&self) -> Progress {
        Progress { later: self.before.is_some(), left: self.left }
    }

    #[inline(always)]
    fn store(&self, to: &mut [f64], compensated: bool) {
        let (segment, before) = to.split_at_mut(Self::workspace(compensated) / 2);
        store_all(&self.segment, segment, compensated);
        if let Some(sums) = &self.before {
            store_all(sums, before, compensated);
        }
    }

    /// What [`PlaneSums::store`] wrote.
    #[inline(always)]
    pub(super) fn loaded(ctx: LaneContext<L>, progress: Progress, from: &[f64], compensated: bool) -> Self {
        let (segment, before) = from.split_at(Self::workspace(compensated) / 2);
        let mut sums = PlaneSums { left: progress.left, ..Self::new(ctx) };
        load_all(ctx, &mut sums.segment, segment, compensated);
        if progress.later {
            let mut all = Self::zero(ctx);
            load_all(ctx, &mut all, before, compensated);
            sums.before = Some(all);
        }
        sums
    }
}

/// Lays out the sums, then the compensation terms where they are kept.
#[inline(always)]
fn store_all<L: F64Lanes, const SUMS: usize>(sums: &[Vectors<L>; SUMS], to: &mut [f64], compensated: bool) {
    let (to_sums, to_terms) = to.split_at_mut(SUMS * PLANE_ACCUMULATORS);
    for (vectors, to) in sums.iter().zip(to_sums.chunks_exact_mut(PLANE_ACCUMULATORS)) {
        for (vector, to) in vectors.iter().zip(to.chunks_exact_mut(L::LANES)) {
            vector.sum.store(to);
        }
    }
    if compensated {
        for (vectors, to) in sums.iter().zip(to_terms.chunks_exact_mut(PLANE_ACCUMULATORS)) {
            for (vector, to) in vectors.iter().zip(to.chunks_exact_mut(L::LANES)) {
                vector.compensation.store(to);
            }
        }
    }
}

/// What [`store_all`] wrote.
#[inline(always)]
fn load_all<L: F64Lanes, const SUMS: usize>(
    ctx: LaneContext<L>,
    sums: &mut [Vectors<L>; SUMS],
    from: &[f64],
    compensated: bool,
) {
    let (from_sums, from_terms) = from.split_at(SUMS * PLANE_ACCUMULATORS);
    for (vectors, from) in sums.iter_mut().zip(from_sums.chunks_exact(PLANE_ACCUMULATORS)) {
        for (vector, from) in vectors.iter_mut().zip(from.chunks_exact(L::LANES)) {
            vector.sum = L::load(ctx.token, from);
        }
    }
    if compensated {
        for (vectors, from) in sums.iter_mut().zip(from_terms.chunks_exact(PLANE_ACCUMULATORS)) {
            for (vector, from) in vectors.iter_mut().zip(from.chunks_exact(L::LANES)) {
                vector.compensation = L::load(ctx.token, from);
            }
        }
    }
}
