//! A new kind of sum is a new term. Tests two terms that the crate itself does not have, through both traversals, the
//! tree and every instruction set.

use std::ops::Range;

use super::accumulator::{Accumulator, LaneContext};
use super::parts::Size;
use super::plane_sums::{BLOCK, BLOCK_WORKSPACE, PlaneSums, blocks, reduced_from_workspace};
use super::planes::{PlaneBlock, Planes};
use super::row_sums::{self, RowSums};
use super::rows::{Prefetch, Rows};
use super::term::Term;
use super::tree::{Reduction, Tree};
use crate::Batch;
use crate::kernels::Arrays;
use crate::kernels::double_double::two_sum;
use crate::lanes::{F64Lanes, Isa, Job, Simd};
use crate::layout::Layout;
use crate::spec::Order;
use crate::spec::order::{ChunkRange, GROUP_ROWS, View};

/// The sums of a backward pass, over the inputs `dy` and `x` with the mean as the shift: `dy` and `dy * (x - mean)`.
struct Gradients;

impl Term<2, 2> for Gradients {
    const COMPENSATED: bool = false;
    type Unshifted = Self;
    const UNSHIFTED_IS_CHEAPER: bool = false;

    #[inline(always)]
    fn neutral<L: F64Lanes>(ctx: LaneContext<L>, shift: L) -> [L; 2] {
        [ctx.zero(), shift]
    }

    #[inline(always)]
    fn add<L: F64Lanes>(
        _: LaneContext<L>,
        [dy, mut x]: [[L; GROUP_ROWS]; 2],
        shift: L,
        rows: usize,
        sums: &mut [Accumulator<L>; 2],
    ) {
        for (x, dy) in x.iter_mut().zip(dy) {
            *x = x.sub(shift).mul(dy);
        }
        sums[0].add_pairwise(dy, rows);
        sums[1].add_pairwise(x, rows);
    }
}

/// Weighted moments, over the inputs `w` and `x`: `w`, `w * d` and `w * d * d` with `d = x - shift`, compensated.
struct Weighted;

impl Term<2, 3> for Weighted {
    const COMPENSATED: bool = true;
    type Unshifted = Self;
    const UNSHIFTED_IS_CHEAPER: bool = false;

    #[inline(always)]
    fn neutral<L: F64Lanes>(ctx: LaneContext<L>, shift: L) -> [L; 2] {
        [ctx.zero(), shift]
    }

    #[inline(always)]
    fn add<L: F64Lanes>(
        ctx: LaneContext<L>,
        [w, mut d]: [[L; GROUP_ROWS]; 2],
        shift: L,
        rows: usize,
        sums: &mut [Accumulator<L>; 3],
    ) {
        for x in &mut d {
            *x = x.sub(shift);
        }
        sums[0].add_compensated(ctx, &w[..rows]);
        for (wd, w) in d.iter_mut().zip(w) {
            let d = *wd;
            *wd = d.mul(w);
            sums[2].add_compensated(ctx, &[wd.mul(d)]);
        }
        sums[1].add_compensated(ctx, &d[..rows]);
    }
}

/// The sums of a term over a batch, each with its compensation term: `N = 2 * SUMS` arrays.
struct SumsOf<'a, K, const SUMS: usize> {
    isa: Isa,
    order: &'a Order,
    inputs: [Batch<'a, f32>; 2],
    shifts: &'a [f64],
    /// Whether planes are summed side by side.
    side_by_side: bool,
    term: std::marker::PhantomData<fn() -> K>,
}

struct ChunkSums<'a, K, const SUMS: usize, const N: usize> {
    batch: &'a SumsOf<'a, K, SUMS>,
    range: ChunkRange,
    features: Range<usize>,
    out: Arrays<'a, N>,
    workspace: &'a mut [f64],
}

impl<K: Term<2, SUMS>, const SUMS: usize, const N: usize> Job for ChunkSums<'_, K, SUMS, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let ChunkSums { batch, range, features, mut out, workspace } = self;
        let ctx = LaneContext::<S::F64>::new(simd);
        let shifts = &batch.shifts[features.clone()];
        match batch.order.view {
            View::Rows { interleave } => {
                let prefetch = Some(Prefetch { rows: 8, far: false });
                let rows = Rows::of(batch.order, batch.inputs, interleave, &features, &range, prefetch);
                let sums = RowSums::<K, S::F64, f32, 2, SUMS>::new(ctx, rows, workspace).accumulate(shifts);
                for feature in 0..features.len() {
                    set(&mut out, feature, sums.load::<f64>((), feature));
                }
            }
            // Planes that are cut do not lie one after the other.
            View::Planes if batch.side_by_side && range.positions.len() == batch.order.layout.inner() => {
                let planes = Planes::of(batch.order, batch.inputs, features.start, &range).side_by_side(features.len());
                let progress = planes.accumulate_side_by_side::<K, S::F64, SUMS>(ctx, shifts, workspace);
                let mut space = vec![0.0; BLOCK_WORKSPACE * SUMS];
                for block in blocks(features.len(), BLOCK) {
                    let first = block.start;
                    let sums = reduced_from_workspace::<K, S::F64, 2, SUMS>(
                        ctx,
                        progress,
                        block.clone(),
                        workspace,
                        &mut space,
                    );
                    block.for_each(|i| set(&mut out, i, sums.load::<f64>((), i - first)));
                }
            }
            View::Planes => {
                for block in blocks(features.len(), BLOCK) {
                    let first = block.start;
                    let first_feature = features.start + first;
                    let planes = PlaneBlock { order: batch.order, inputs: batch.inputs, first_feature, range: &range };
                    let sums = planes.sums::<K, S::F64, SUMS>(ctx, &shifts[block.clone()], workspace);
                    block.for_each(|i| set(&mut out, i, sums.load::<f64>((), i - first)));
                }
            }
        }
    }
}

fn set<const SUMS: usize, const N: usize>(out: &mut Arrays<'_, N>, feature: usize, sums: [Accumulator<f64>; SUMS]) {
    for (arrays, sum) in out.0.chunks_exact_mut(2).zip(sums) {
        (arrays[0][feature], arrays[1][feature]) = (sum.sum, sum.compensation);
    }
}

impl<K: Term<2, SUMS>, const SUMS: usize, const N: usize> Reduction<N> for SumsOf<'_, K, SUMS> {
    fn order(&self) -> &Order {
        self.order
    }

    fn tile(&self) -> usize {
        if matches!(self.order.view, View::Rows { interleave: 2.. }) { usize::MAX } else { 3 }
    }

    fn grain(&self) -> usize {
        if matches!(self.order.view, View::Rows { interleave: 2.. }) { usize::MAX } else { 2 }
    }

    fn workspace(&self, features: usize) -> usize {
        match self.order.view {
            View::Rows { .. } => row_sums::workspace::<K, 2, SUMS>(self.order.accumulators(features)),
            View::Planes => features * PlaneSums::<f64, SUMS>::workspace(K::COMPENSATED),
        }
    }

    fn chunk(&self, range: ChunkRange, features: Range<usize>, out: Arrays<'_, N>, workspace: &mut [f64]) {
        self.isa.run(ChunkSums { batch: self, range, features, out, workspace });
    }

    fn merge(&self, mut a: Arrays<'_, N>, _: u64, mut b: Arrays<'_, N>, _: u64) {
        for (a, b) in a.0.chunks_exact_mut(2).zip(b.0.chunks_exact_mut(2)) {
            for feature in 0..a[0].len() {
                let sum = two_sum(a[0][feature], b[0][feature]);
                a[0][feature] = sum.high;
                a[1][feature] += b[1][feature] + sum.low;
            }
        }
    }
}

const LAYOUTS: [Layout; 8] = [
    Layout::nc(1, 1),
    Layout::nc(2100, 7),
    Layout::nc(1030, 131),
    Layout::ncl(60, 20, 9),
    Layout::nchw(3, 5, 7, 7),
    Layout::nchw(90, 4, 23, 19),
    Layout::new(2, 3, 40_000),
    Layout::new(700, 2, 33),
];

/// Returns small integers, whose sums are exact in any order.
fn integers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37 + seed * 11) % 23) as f32 - 9.0).collect()
}

/// Returns the values with gaps of NaN between outer blocks.
fn with_gaps(layout: Layout, x: &[f32], gap: usize) -> (Vec<f32>, Layout) {
    let block = layout.features() * layout.inner();
    let values = x.chunks(block).flat_map(|x| x.iter().copied().chain(std::iter::repeat_n(f32::NAN, gap))).collect();
    (values, layout.with_outer_stride(block + gap))
}

fn every_way<K: Term<2, SUMS>, const SUMS: usize, const N: usize>(
    layout: Layout,
    inputs: [&[f32]; 2],
    shifts: &[f64],
) -> Vec<[Vec<f64>; N]> {
    let (order, mut results) = (&Order::new(layout), Vec::new());
    // Without gaps between outer blocks, with gaps in one input, and with different ones in both.
    let padded = [with_gaps(layout, inputs[0], 5), with_gaps(layout, inputs[1], 70)];
    let [first, second] = inputs.map(|x| Batch::new(x, layout).expect("same length"));
    let [first_gaps, second_gaps] = [&padded[0], &padded[1]].map(|(x, l)| Batch::new(x, *l).expect("same length"));
    for (isa, inputs) in Isa::available()
        .flat_map(|isa| [[first, second], [first, second_gaps], [first_gaps, second_gaps]].map(|inputs| (isa, inputs)))
    {
        for side_by_side in [false, true] {
            let sums =
                || SumsOf::<K, SUMS> { isa, order, inputs, shifts, side_by_side, term: std::marker::PhantomData };
            let tree = Tree { reduction: sums() };
            results.push(run(&tree, layout.features()));
            for (values, threads) in [(1, 2), (5000, 64), (40_000, 3), (usize::MAX, 8)] {
                results.push(run_parts(&tree, Size { values, threads }, layout.features()));
            }
        }
    }
    results
}

fn run<R: Reduction<N>, const N: usize>(tree: &Tree<R, N>, features: usize) -> [Vec<f64>; N] {
    let mut out = unset(features);
    tree.run(Arrays(out.each_mut().map(|array| &mut array[..])), &mut vec![f64::NAN; tree.workspace()]);
    out
}

/// Computes in parts, the last part first, each on a thread of its own.
fn run_parts<R: Reduction<N>, const N: usize>(tree: &Tree<R, N>, size: Size, features: usize) -> [Vec<f64>; N] {
    let (mut out, mut partial) = (unset(features), vec![f64::NAN; tree.partial(size)]);
    let mut arrays = Arrays(out.each_mut().map(|array| &mut array[..]));
    std::thread::scope(|scope| {
        for part in tree.parts(size, arrays.reborrow(), &mut partial).into_iter().rev() {
            scope.spawn(|| tree.run_part(part, &mut vec![f64::NAN; tree.workspace()]));
        }
    });
    tree.merge_parts(size, arrays, &mut partial);
    out
}

fn unset<const N: usize>(features: usize) -> [Vec<f64>; N] {
    std::array::from_fn(|_| vec![f64::NAN; features])
}

fn naive(layout: Layout, feature: usize, term: impl Fn(usize) -> f64) -> f64 {
    let (features, inner) = (layout.features(), layout.inner());
    let at = |outer, i| (outer * features + feature) * inner + i;
    (0..layout.outer()).flat_map(|outer| (0..inner).map(move |i| at(outer, i))).map(term).sum()
}

#[test]
fn gradients_are_a_term() {
    for layout in LAYOUTS {
        let len = layout.checked_len().expect("small");
        let (dy, x, means) = (integers(len, 1), integers(len, 2), vec![4.0; layout.features()]);
        for [of_dys, _, of_products, _] in every_way::<Gradients, 2, 4>(layout, [&dy, &x], &means) {
            for (feature, given) in of_dys.into_iter().zip(of_products).enumerate() {
                let of_dy = naive(layout, feature, |at| f64::from(dy[at]));
                let of_product = naive(layout, feature, |at| f64::from(dy[at]) * (f64::from(x[at]) - 4.0));
                assert_eq!(given, (of_dy, of_product), "{layout}, feature {feature}");
            }
        }
    }
}

#[test]
fn weights_are_a_term() {
    for layout in LAYOUTS {
        let len = layout.checked_len().expect("small");
        let (w, x, shifts) = (integers(len, 3), integers(len, 4), vec![-2.0; layout.features()]);
        for [weights, _, firsts, _, seconds, _] in every_way::<Weighted, 3, 6>(layout, [&w, &x], &shifts) {
            for (k, sums) in [weights, firsts, seconds].into_iter().enumerate() {
                for (feature, sum) in sums.into_iter().enumerate() {
                    let d = |at: usize| f64::from(x[at]) + 2.0;
                    let expected = naive(layout, feature, |at| f64::from(w[at]) * d(at).powi(k as i32));
                    assert_eq!(sum, expected, "{layout}, feature {feature}, sum {k}");
                }
            }
        }
    }
}

/// Sums that round are bit-identical on all lanes and threads, and close to a plain sum.
#[test]
fn sums_of_any_values_have_the_same_bits() {
    let layout = Layout::nchw(40, 5, 23, 19);
    let len = layout.checked_len().expect("small");
    let dy: Vec<f32> = (0..len).map(|i| ((i * i) as f32).sin()).collect();
    let x: Vec<f32> = (0..len).map(|i| (i as f32).cos() + 3.0).collect();
    let shifts = [3.0, 0.0, 3.1, -7.5, 3.0];
    let results = every_way::<Weighted, 3, 6>(layout, [&dy, &x], &shifts);
    for sums in &results {
        assert_eq!(sums, &results[0]);
    }
    for (feature, shift) in shifts.into_iter().enumerate() {
        let expected = naive(layout, feature, |at| f64::from(dy[at]) * (f64::from(x[at]) - shift));
        let given = results[0][2][feature] + results[0][3][feature];
        assert!((given - expected).abs() < 1e-9, "{given} for {expected}");
    }
}
