//! The plane view: steps 2 and 3 of [`spec::order`](crate::spec::order) for the planes of a chunk. Values are read in
//! memory order, and the accumulators of a feature stay in registers ([`PlaneSums`]).

use core::marker::PhantomData;

use super::accumulator::LaneContext;
use super::horizontal::{Columns, FeatureSums};
use super::plane_sums::{PlaneSums, Progress, columns, reduced};
use super::term::Term;
use crate::Batch;
use crate::lanes::{F64Lanes, LoadStore, Outlined, Token, prefetch_second_level};
use crate::spec::Order;
use crate::spec::order::{ChunkRange, SEGMENT_GROUPS};
use crate::tuning::{CACHE_LINE, PLANE_PREFETCH};

/// A range of positions in the planes of one feature; or the planes of several features, which lie one after the other.
pub(super) struct Planes<'a, T, const INPUTS: usize> {
    /// The whole batches.
    inputs: [&'a [T]; INPUTS],
    /// Index of the first position of the first plane, of each input.
    start: [usize; INPUTS],
    /// Values from one plane to the next.
    stride: [usize; INPUTS],
    planes: usize,
    positions: usize,
}

impl<'a, T, const INPUTS: usize> Planes<'a, T, INPUTS> {
    /// Returns one feature's part of a chunk.
    #[inline(always)]
    pub(super) fn of(order: &Order, inputs: [Batch<'a, T>; INPUTS], feature: usize, range: &ChunkRange) -> Self {
        let (mut slices, mut start, mut stride) = ([&[][..]; INPUTS], [0; INPUTS], [0; INPUTS]);
        for input in 0..INPUTS {
            slices[input] = inputs[input].data();
            stride[input] = inputs[input].layout().outer_stride();
            start[input] = range.outer.start * stride[input] + feature * order.layout.inner() + range.positions.start;
        }
        let (planes, positions) = (range.outer.len(), range.positions.len());
        Planes { inputs: slices, start, stride, planes, positions }
    }

    /// Joins the whole planes of `features` features, starting with this feature, into one.
    #[inline(always)]
    pub(super) fn side_by_side(self, features: usize) -> Self {
        Planes { positions: features * self.positions, ..self }
    }

    /// Returns the index of the first position of a plane, of each input.
    #[inline(always)]
    fn start_of(&self, plane: usize) -> [usize; INPUTS] {
        let mut starts = self.start;
        for input in 0..INPUTS {
            starts[input] += plane * self.stride[input];
        }
        starts
    }

    /// Prefetches `len` values at the prefetch distance, [`PLANE_PREFETCH`] bytes, after a position of a plane.
    #[inline(always)]
    pub(super) fn prefetch(&self, target: &PrefetchTarget<INPUTS>, position: usize, len: usize) {
        let from = if position < target.left { target.here } else { target.after };
        for input in 0..INPUTS {
            for at in (0..len).step_by(CACHE_LINE / size_of::<T>()) {
                prefetch_second_level(self.inputs[input], from[input].wrapping_add(position + at));
            }
        }
    }

    #[inline(always)]
    fn prefetch_target(&self, plane: usize) -> PrefetchTarget<INPUTS> {
        let distance = PLANE_PREFETCH / size_of::<T>();
        let (planes, positions) = (distance / self.positions, distance % self.positions);
        let (mut here, mut after) = (self.start_of(plane + planes), self.start_of(plane + planes + 1));
        for input in 0..INPUTS {
            here[input] += positions;
            after[input] = after[input].wrapping_sub(self.positions - positions);
        }
        PrefetchTarget { here, left: self.positions - positions, after }
    }

    /// Performs step 2 for one feature.
    #[inline(always)]
    fn accumulate<K: Term<INPUTS, SUMS>, L: F64Lanes + LoadStore<T>, const SUMS: usize>(
        &self,
        ctx: LaneContext<L>,
        shift: f64,
    ) -> PlaneSums<L, SUMS> {
        let mut sums = PlaneSums::new(ctx);
        for plane in 0..self.planes {
            let values = self.plane(self.start_of(plane), 0, self.positions);
            sums.add_plane::<K, T, INPUTS>(values, L::splat(ctx.token, shift), self, None);
        }
        sums
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
                let plane = self.plane(start, i * inner, inner);
                let target = Some((&target, i * inner));
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
    fn plane(&self, starts: [usize; INPUTS], position: usize, len: usize) -> [&[T]; INPUTS] {
        let mut plane = self.inputs;
        for input in 0..INPUTS {
            plane[input] = &self.inputs[input][starts[input] + position..][..len];
        }
        plane
    }
}

/// The part of a chunk for consecutive features, whose planes are summed one feature after the other.
#[derive(Clone, Copy)]
pub(super) struct PlaneBlock<'a, T, const INPUTS: usize> {
    pub(super) order: &'a Order,
    /// The whole batches.
    pub(super) inputs: [Batch<'a, T>; INPUTS],
    pub(super) first_feature: usize,
    pub(super) range: &'a ChunkRange,
}

impl<T, const INPUTS: usize> PlaneBlock<'_, T, INPUTS> {
    /// Performs steps 2 and 3 about the shift of each feature. Uses [`PlaneSums::workspace`] values of the workspace for
    /// each.
    #[inline(always)]
    pub(super) fn sums<'w, K, L, const SUMS: usize>(
        self,
        ctx: LaneContext<L>,
        shifts: &[f64],
        workspace: &'w mut [f64],
    ) -> FeatureSums<'w, SUMS>
    where
        K: Term<INPUTS, SUMS>,
        L: F64Lanes + LoadStore<T>,
    {
        let mut columns = columns::<L, SUMS>(workspace, shifts.len(), K::COMPENSATED);
        if K::UNSHIFTED_IS_CHEAPER && shifts.iter().all(|shift| *shift == 0.0) {
            self.accumulate::<K::Unshifted, L, SUMS>(ctx, shifts, &mut columns);
        } else {
            self.accumulate::<K, L, SUMS>(ctx, shifts, &mut columns);
        }
        reduced::<L, SUMS>(ctx, columns, K::ADDS_TO, shifts.len())
    }

    #[inline(always)]
    fn accumulate<K, L, const SUMS: usize>(self, ctx: LaneContext<L>, shifts: &[f64], to: &mut [Columns<'_>; SUMS])
    where
        K: Term<INPUTS, SUMS>,
        L: F64Lanes + LoadStore<T>,
    {
        ctx.token.outlined(Accumulate::<K, L, T, INPUTS, SUMS> { block: self, ctx, shifts, to, term: PhantomData });
    }
}

/// The work of [`PlaneBlock::accumulate`].
struct Accumulate<'a, 'b, K, L: F64Lanes, T, const INPUTS: usize, const SUMS: usize> {
    block: PlaneBlock<'a, T, INPUTS>,
    ctx: LaneContext<L>,
    shifts: &'a [f64],
    to: &'a mut [Columns<'b>; SUMS],
    term: PhantomData<K>,
}

impl<K, L, T, const INPUTS: usize, const SUMS: usize> Outlined for Accumulate<'_, '_, K, L, T, INPUTS, SUMS>
where
    K: Term<INPUTS, SUMS>,
    L: F64Lanes + LoadStore<T>,
{
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Accumulate { block: PlaneBlock { order, inputs, first_feature, range }, ctx, shifts, to, .. } = self;
        for (i, shift) in shifts.iter().enumerate() {
            let planes = Planes::of(order, inputs, first_feature + i, range);
            planes.accumulate::<K, L, SUMS>(ctx, *shift).finish::<K, INPUTS>(to, i);
        }
    }
}

/// What to prefetch while a plane is read.
pub(super) struct PrefetchTarget<const INPUTS: usize> {
    /// Start of the values to prefetch for the first `left` positions of the plane, of each input.
    here: [usize; INPUTS],
    /// Number of positions for which `here` applies.
    left: usize,
    /// Start of the values to prefetch for the other positions, in a later plane.
    after: [usize; INPUTS],
}
