//! The sums of a backward pass: those of each chunk about the mean, and their sums in the tree.
//! ([`spec::backward`](crate::spec::backward) has the definition.)

use core::ops::Range;

use super::accumulator::{Accumulator, LaneContext};
use super::horizontal::FeatureSums;
use super::plane_sums::{BLOCK, BLOCK_WORKSPACE, PlaneSums, block_len, blocks, reduced_from_workspace};
use super::planes::{PlaneBlock, Planes};
use super::row_sums::{self, RowSums};
use super::rows::{Prefetch, Rows};
use super::term::{Gradients, GradientsThroughRelu, Term};
use super::tree::Reduction;
use crate::Batch;
use crate::kernels::double_double::{two_difference, two_sum};
use crate::kernels::{Arrays, KernelElement};
use crate::lanes::{F64Lanes, Isa, Job, Lanes, LoadStore, Simd};
use crate::spec::order::{ChunkRange, GROUP_ROWS, View};
use crate::spec::{DoubleDouble, Order, backward};
use crate::tuning::{
    ROW_PREFETCH_FAR, ROW_PREFETCH_NEAR, SECOND_LEVEL_BYTES, THIRD_LEVEL_BYTES, TILE_COLUMNS, TILE_PLANES,
};

/// The words of a feature's sums: high and low of the sum of `dy`, high and low of the sum of `dy * (x - mean)`.
pub(crate) const SUM_WORDS: usize = 4;

type SumArrays<'a> = Arrays<'a, SUM_WORDS>;

/// Computes the sums of a backward pass in a tree of chunks.
pub(crate) struct BatchGradients<'a, T> {
    pub(crate) isa: Isa,
    pub(crate) order: &'a Order,
    pub(crate) inputs: backward::Inputs<'a, T>,
    /// High words of the means.
    pub(crate) mean: &'a [f64],
    /// Low words of the means; empty if they are all 0.
    pub(crate) mean_low: &'a [f64],
}

impl<T: KernelElement> Reduction<SUM_WORDS> for BatchGradients<'_, T> {
    fn order(&self) -> &Order {
        self.order
    }

    fn tile(&self) -> usize {
        match self.order.view {
            View::Rows { .. } => TILE_COLUMNS / self.order.layout.inner().max(1),
            View::Planes => TILE_PLANES,
        }
    }

    fn workspace(&self, features: usize) -> usize {
        match self.order.view {
            View::Rows { .. } => row_sums::workspace::<Gradients<T>, 2, 2>(self.order.accumulators(features)),
            // The size is the same for any number of lanes.
            View::Planes => features * PlaneSums::<f64, 2>::workspace(T::COMPENSATED),
        }
    }

    fn chunk(&self, range: ChunkRange, features: Range<usize>, out: SumArrays<'_>, workspace: &mut [f64]) {
        self.isa.run(Chunk { batch: self, range, features, out, workspace });
    }

    fn merge(&self, a: SumArrays<'_>, _: u64, b: SumArrays<'_>, _: u64) {
        self.isa.run(Merge { a, b: b.as_slices() });
    }
}

impl<T> BatchGradients<'_, T> {
    /// Returns the size of all inputs in bytes.
    fn bytes(&self) -> usize {
        size_of_val(self.inputs.x.data()) * self.inputs_per_value()
    }

    fn inputs_per_value(&self) -> usize {
        if self.inputs.y.is_some() { 3 } else { 2 }
    }

    /// Returns how to prefetch rows, or `None` for inputs that stay in the second-level cache.
    fn row_prefetch(&self, features: usize) -> Option<Prefetch> {
        let row = self.order.accumulators(features) * size_of::<T>() * self.inputs_per_value();
        let far = self.bytes() > THIRD_LEVEL_BYTES;
        let distance = if far { ROW_PREFETCH_FAR } else { ROW_PREFETCH_NEAR };
        let rows = distance.div_ceil(row).next_multiple_of(GROUP_ROWS);
        (self.bytes() > SECOND_LEVEL_BYTES).then_some(Prefetch { rows, far })
    }

    /// Returns the low words of the means of some features, or an empty slice.
    fn low_words(&self, features: Range<usize>) -> &[f64] {
        self.mean_low.get(features).unwrap_or_default()
    }
}

/// One chunk, for a range of features.
struct Chunk<'a, T> {
    batch: &'a BatchGradients<'a, T>,
    range: ChunkRange,
    features: Range<usize>,
    out: SumArrays<'a>,
    workspace: &'a mut [f64],
}

impl<T: KernelElement> Job for Chunk<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let backward::Inputs { dy, x, y } = self.batch.inputs;
        match y {
            None => self.sums::<Gradients<T>, T::F64<S>, 2>(simd, [dy, x]),
            Some(y) => self.sums::<GradientsThroughRelu<T>, T::F64<S>, 3>(simd, [dy, x, y]),
        }
    }
}

impl<T: KernelElement> Chunk<'_, T> {
    #[inline(always)]
    fn sums<K: Term<I, 2>, L: F64Lanes + LoadStore<T>, const I: usize>(
        self,
        token: L::Token,
        inputs: [Batch<'_, T>; I],
    ) {
        let ctx = LaneContext::<L>::new(token);
        match self.batch.order.view {
            View::Rows { interleave } => self.rows::<K, L, I>(ctx, inputs, interleave),
            View::Planes if self.batch.bytes() > THIRD_LEVEL_BYTES && self.range.outer.len() > 1 => {
                self.planes_side_by_side::<K, L, I>(ctx, inputs);
            }
            View::Planes => self.planes_in_blocks::<K, L, I>(ctx, inputs),
        }
    }

    #[inline(always)]
    fn rows<K: Term<I, 2>, L: F64Lanes + LoadStore<T>, const I: usize>(
        self,
        ctx: LaneContext<L>,
        inputs: [Batch<'_, T>; I],
        interleave: usize,
    ) {
        let Chunk { batch, range, features, mut out, workspace } = self;
        let (mean, low) = (&batch.mean[features.clone()], batch.low_words(features.clone()));
        let prefetch = batch.row_prefetch(features.len());
        let rows = Rows::of(batch.order, inputs, interleave, &features, &range, prefetch);
        let sums = RowSums::<K, L, T, I, 2>::new(ctx, rows, workspace).accumulate(mean);
        finalize_features::<L>(ctx.token, &sums, mean, low, &mut out);
    }

    /// Sums each feature on its own, so that its accumulators stay in registers. What follows is done for a block of
    /// features together.
    #[inline(always)]
    fn planes_in_blocks<K: Term<I, 2>, L: F64Lanes + LoadStore<T>, const I: usize>(
        self,
        ctx: LaneContext<L>,
        inputs: [Batch<'_, T>; I],
    ) {
        let Chunk { batch, range, features, mut out, workspace } = self;
        for block in blocks(features.len(), block_len::<T>(I * range.count())) {
            let given = features.start + block.start..features.start + block.end;
            let (mean, low) = (&batch.mean[given.clone()], batch.low_words(given.clone()));
            let planes = PlaneBlock { order: batch.order, inputs, first_feature: given.start, range: &range };
            let sums = planes.sums::<K, L, 2>(ctx, mean, workspace);
            finalize_features::<L>(ctx.token, &sums, mean, low, &mut out.part(block));
        }
    }

    /// Sums all features together: values are read in memory order.
    #[inline(always)]
    fn planes_side_by_side<K: Term<I, 2>, L: F64Lanes + LoadStore<T>, const I: usize>(
        self,
        ctx: LaneContext<L>,
        inputs: [Batch<'_, T>; I],
    ) {
        let Chunk { batch, range, features, mut out, workspace } = self;
        let mean = &batch.mean[features.clone()];
        let planes = Planes::of(batch.order, inputs, features.start, &range).side_by_side(features.len());
        let progress = planes.accumulate_side_by_side::<K, L, 2>(ctx, mean, workspace);
        let mut space = [0.0; BLOCK_WORKSPACE];
        for block in blocks(features.len(), BLOCK) {
            let sums = reduced_from_workspace::<K, L, I, 2>(ctx, progress, block.clone(), workspace, &mut space);
            let low = batch.low_words(features.start + block.start..features.start + block.end);
            finalize_features::<L>(ctx.token, &sums, &mean[block.clone()], low, &mut out.part(block));
        }
    }
}

/// Finalizes all features of some sums.
#[inline(always)]
fn finalize_features<L: F64Lanes>(
    token: L::Token,
    sums: &FeatureSums<'_, 2>,
    mean: &[f64],
    low: &[f64],
    out: &mut SumArrays<'_>,
) {
    let full = mean.len() - mean.len() % L::LANES;
    for at in (0..full).step_by(L::LANES) {
        finalize_feature::<L>(token, sums, at, mean, low, out);
    }
    for at in full..mean.len() {
        finalize_feature::<f64>((), sums, at, mean, low, out);
    }
}

/// Finalizes one feature per lane, starting at `at`.
#[inline(always)]
fn finalize_feature<L: F64Lanes>(
    token: L::Token,
    sums: &FeatureSums<'_, 2>,
    at: usize,
    mean: &[f64],
    low: &[f64],
    out: &mut SumArrays<'_>,
) {
    let low = if low.is_empty() { L::splat(token, 0.0) } else { L::load(token, &low[at..]) };
    store(out, at, finalize::<L>(token, sums.load(token, at), L::load(token, &mean[at..]), low));
}

/// Corrects the sums of a chunk for the low word of the mean.
#[inline(always)]
fn finalize<L: F64Lanes>(
    token: L::Token,
    [dy, products]: [Accumulator<L>; 2],
    mean: L,
    mean_low: L,
) -> backward::FeatureSums<L> {
    let dy = renormalized(token, dy.sum, dy.compensation);
    let products = renormalized(token, products.sum, products.compensation);
    let corrected = two_difference(products.high, mean_low.mul(dy.high));
    // 0, or NaN if the mean or the sum of `dy` is not finite.
    let poison = mean.sub(mean).add(dy.high.sub(dy.high));
    let products = renormalized(token, corrected.high.add(poison), corrected.low.add(products.low));
    backward::FeatureSums { dy, products }
}

/// Returns `high + low` as a double-double. If it is not finite, the low word is 0.
#[inline(always)]
fn renormalized<L: F64Lanes>(token: L::Token, high: L, low: L) -> DoubleDouble<L> {
    let sum = two_sum(high, if_finite(token, high, low));
    DoubleDouble { high: sum.high, low: if_finite(token, sum.high, sum.low) }
}

/// Returns `low`, or 0 where `high` is not finite.
#[inline(always)]
fn if_finite<L: F64Lanes>(token: L::Token, high: L, low: L) -> L {
    let zero = L::splat(token, 0.0);
    // Finite numbers alone are 0 if they are subtracted from themselves.
    high.sub(high).select_le(zero, low, zero)
}

/// Adds the sums of the later rows to those of the rows before them.
struct Merge<'a> {
    a: SumArrays<'a>,
    b: [&'a [f64]; SUM_WORDS],
}

impl Job for Merge<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Merge { mut a, b } = self;
        let features = a.features();
        let full = features - features % <S::F64 as Lanes>::LANES;
        for at in (0..full).step_by(<S::F64 as Lanes>::LANES) {
            let merged = merged::<S::F64>(simd, load(simd, a.as_slices(), at), load(simd, b, at));
            store(&mut a, at, merged);
        }
        for at in full..features {
            let merged = merged::<f64>((), load((), a.as_slices(), at), load((), b, at));
            store(&mut a, at, merged);
        }
    }
}

#[inline(always)]
fn merged<L: F64Lanes>(
    token: L::Token,
    a: backward::FeatureSums<L>,
    b: backward::FeatureSums<L>,
) -> backward::FeatureSums<L> {
    backward::FeatureSums { dy: sum(token, a.dy, b.dy), products: sum(token, a.products, b.products) }
}

#[inline(always)]
fn sum<L: F64Lanes>(token: L::Token, a: DoubleDouble<L>, b: DoubleDouble<L>) -> DoubleDouble<L> {
    let sum = two_sum(a.high, b.high);
    renormalized(token, sum.high, sum.low.add(a.low.add(b.low)))
}

#[inline(always)]
fn load<L: F64Lanes>(token: L::Token, from: [&[f64]; SUM_WORDS], at: usize) -> backward::FeatureSums<L> {
    let [dy, dy_low, products, products_low] = from;
    backward::FeatureSums {
        dy: DoubleDouble { high: L::load(token, &dy[at..]), low: L::load(token, &dy_low[at..]) },
        products: DoubleDouble { high: L::load(token, &products[at..]), low: L::load(token, &products_low[at..]) },
    }
}

#[inline(always)]
fn store<L: F64Lanes>(to: &mut SumArrays<'_>, at: usize, sums: backward::FeatureSums<L>) {
    let [dy, dy_low, products, products_low] = &mut to.0;
    sums.dy.high.store(&mut dy[at..]);
    sums.dy.low.store(&mut dy_low[at..]);
    sums.products.high.store(&mut products[at..]);
    sums.products.low.store(&mut products_low[at..]);
}
