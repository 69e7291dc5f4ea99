//! The accumulators of the plane view: of one feature in registers, where the inner loop, [`PlaneSums::add_plane`], adds
//! to them, then of several features in memory, where they are reduced.

use core::ops::Range;

use super::accumulator::{Accumulator, LaneContext};
use super::horizontal::{Columns, FeatureSums};
use super::planes::{Planes, PrefetchTarget};
use super::term::Term;
use crate::lanes::{F64Lanes, LoadStore, MOST_F64_LANES, Outlined, Token};
use crate::spec::order::{GROUP_POSITIONS, GROUP_ROWS, PLANE_ACCUMULATORS, SEGMENT_GROUPS};
use crate::tuning::{CACHE_LINE, PLANE_BLOCK_BYTES};

/// The progress in a chunk, which is the same for all of its features.
#[derive(Clone, Copy)]
pub(super) struct Progress {
    /// Whether the current segment is not the first one.
    pub(super) later: bool,
    /// Groups that remain in the current segment.
    pub(super) left: usize,
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
    pub(super) fn new(ctx: LaneContext<L>) -> Self {
        PlaneSums { ctx, segment: Self::zero(ctx), before: None, left: SEGMENT_GROUPS }
    }

    #[inline(always)]
    fn zero(ctx: LaneContext<L>) -> Vectors<L, SUMS> {
        [[Accumulator::zero(ctx); SUMS]; PLANE_ACCUMULATORS / 4]
    }

    /// Adds a plane of one feature. If there is a target, prefetches values of `block` from there.
    #[inline(always)]
    pub(super) fn add_plane<K: Term<I, SUMS>, T, const I: usize>(
        &mut self,
        plane: [&[T]; I],
        shift: L,
        block: &Planes<'_, T, I>,
        target: Option<(&PrefetchTarget<I>, usize)>,
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
        let token = self.ctx.token;
        let mut inputs = [[shift; GROUP_ROWS]; I];
        for input in 0..I {
            let group = &plane[input][at..][..GROUP_POSITIONS];
            for row in 0..GROUP_ROWS {
                inputs[input][row] = L::load_from(token, &group[row * PLANE_ACCUMULATORS + VECTOR * L::LANES..]);
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
        let (token, neutral) = (self.ctx.token, K::neutral(self.ctx, shift));
        let mut inputs = [[shift; GROUP_ROWS]; I];
        for input in 0..I {
            // This vector's values in whole rows, then those of the row that the plane ends in.
            let tail = plane[input].get(at + VECTOR * L::LANES..).unwrap_or_default();
            let whole = (tail.len() + PLANE_ACCUMULATORS - L::LANES) / PLANE_ACCUMULATORS;
            let last = match tail.get(whole * PLANE_ACCUMULATORS..) {
                Some(last) if !last.is_empty() => L::load_partial(token, last, neutral[input]),
                _ => neutral[input],
            };
            for row in 0..GROUP_ROWS {
                inputs[input][row] = if row < whole {
                    L::load_from(token, &tail[row * PLANE_ACCUMULATORS..])
                } else if row == whole {
                    last
                } else {
                    neutral[input]
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
        for vector in 0..Self::VECTORS {
            for sum in 0..SUMS {
                joined[vector][sum].join(&self.segment[vector][sum], compensated);
            }
        }
        joined
    }

    /// Ends step 2: writes the accumulators to the columns of the `index`-th feature. (If they are two vectors, performs
    /// the first halving of step 3, too.)
    #[inline(always)]
    pub(super) fn finish<K: Term<I, SUMS>, const I: usize>(&self, to: &mut [Columns<'_>; SUMS], index: usize) {
        let [mut sums, upper] = self.joined(K::COMPENSATED);
        for i in 0..K::ADDS_TO {
            if Self::VECTORS == 2 {
                sums[i].join(&upper[i], K::COMPENSATED);
            }
            sums[i].sum.store(&mut to[i].sum[index * L::LANES..]);
            if K::COMPENSATED {
                sums[i].compensation.store(&mut to[i].compensation[index * L::LANES..]);
            }
        }
    }

    #[inline(always)]
    pub(super) fn progress(&self) -> Progress {
        Progress { later: self.before.is_some(), left: self.left }
    }

    /// Stores the accumulators where [`PlaneSums::loaded`] reads them.
    #[inline(always)]
    pub(super) fn store(&mut self, to: &mut [f64], compensated: bool) {
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

/// f64 values in a cache line.
const LINE: usize = CACHE_LINE / size_of::<f64>();

/// Places the accumulators of some features, one vector for each sum, in a workspace of [`PlaneSums::workspace`] values
/// per feature, whose contents do not matter. (It has room for twice as many, so they can start at a cache line.)
#[inline(always)]
pub(super) fn columns<L: F64Lanes, const SUMS: usize>(
    workspace: &mut [f64],
    features: usize,
    compensated: bool,
) -> [Columns<'_>; SUMS] {
    let len = features * L::LANES;
    let before = workspace.as_ptr().align_offset(CACHE_LINE).min(LINE);
    let (_, mut workspace) = workspace.split_at_mut(before);
    let mut sums = [const { Columns::empty() }; SUMS];
    for columns in &mut sums {
        let kept = if compensated { len } else { 0 };
        (columns.sum, workspace) = core::mem::take(&mut workspace).split_at_mut(len);
        (columns.compensation, workspace) = core::mem::take(&mut workspace).split_at_mut(kept);
    }
    sums
}

/// Performs step 3 for some features, or what [`PlaneSums::finish`] has left of it, with one feature per lane.
#[inline(always)]
pub(super) fn reduced<'a, L: F64Lanes, const SUMS: usize>(
    ctx: LaneContext<L>,
    columns: [Columns<'a>; SUMS],
    adds_to: usize,
    features: usize,
) -> FeatureSums<'a, SUMS> {
    ctx.token.outlined(Reduced { ctx, columns, adds_to, features })
}

/// Most features that are reduced together.
pub(super) const BLOCK: usize = MOST_F64_LANES;

/// Returns how many features are reduced together if each has so many values in a chunk.
pub(super) fn block_len<T>(values: usize) -> usize {
    if BLOCK * values * size_of::<T>() <= PLANE_BLOCK_BYTES { BLOCK } else { 1 }
}

/// Returns the features in blocks of at most `len`.
pub(super) fn blocks(features: usize, len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..features).step_by(len).map(move |start| start..features.min(start + len))
}

/// Values that a workspace for the planes of [`BLOCK`] features needs, compensated or not.
pub(super) const BLOCK_WORKSPACE: usize = BLOCK * PlaneSums::<f64, 2>::workspace(true);

/// Performs step 3 for some features whose accumulators are in a `workspace`, where [`PlaneSums::store`] left them after
/// this progress.
#[inline(always)]
pub(super) fn reduced_from_workspace<'a, K: Term<I, SUMS>, L: F64Lanes, const I: usize, const SUMS: usize>(
    ctx: LaneContext<L>,
    progress: Progress,
    features: Range<usize>,
    workspace: &mut [f64],
    to: &'a mut [f64],
) -> FeatureSums<'a, SUMS> {
    let mut columns = columns::<L, SUMS>(to, features.len(), K::COMPENSATED);
    let len = PlaneSums::<L, SUMS>::workspace(K::COMPENSATED);
    for (index, from) in workspace.chunks_exact_mut(len).skip(features.start).take(features.len()).enumerate() {
        PlaneSums::loaded(ctx, progress, from, K::COMPENSATED).finish::<K, I>(&mut columns, index);
    }
    reduced(ctx, columns, K::ADDS_TO, features.len())
}

/// The work of [`reduced`].
struct Reduced<'a, L: F64Lanes, const SUMS: usize> {
    ctx: LaneContext<L>,
    columns: [Columns<'a>; SUMS],
    adds_to: usize,
    features: usize,
}

impl<'a, L: F64Lanes, const SUMS: usize> Outlined for Reduced<'a, L, SUMS> {
    type Output = FeatureSums<'a, SUMS>;

    #[inline(always)]
    fn run(mut self) -> FeatureSums<'a, SUMS> {
        for columns in self.columns.iter_mut().take(self.adds_to) {
            columns.reduce(self.ctx, 1, self.features, L::LANES);
        }
        FeatureSums(self.columns)
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
