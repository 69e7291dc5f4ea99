//! Where ranks do not hold whole chunks, results stay within the bounds that the crate states. The oracle is exact: all
//! values are whole numbers times a power of two, so that their sums are whole numbers.

use batchnorm::{Batch, BatchNorm, Element, Error as Refused, Layout, Moments, MomentsParts, moments};
use batchnorm_mpi::{Error, SyncBatchNorm, all_moments, all_sums};
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;

use super::data::{Random, Shard, batch, divisions};
use super::support::{assert_same_on_all_ranks, bits, bits_of_moments, state, view, view_mut};

const FEATURES: usize = 5;
const WEIGHT: f64 = 1.75;
const BIAS: f64 = 0.25;
const EPS: f64 = 1e-3;

/// Half a unit in the last place of 1, in f64 and f32.
const U: f64 = 1.0 / (1u64 << 53) as f64;
const U_SINGLE: f64 = 1.0 / (1u64 << 24) as f64;

/// The unit of all values.
const UNIT: f64 = 1.0 / (1u64 << 20) as f64;

/// Whole numbers, in units: a shard of `x` and of `dy`.
struct Numbers {
    layout: Layout,
    x: Vec<i64>,
    dy: Vec<i64>,
}

impl Numbers {
    /// Means far from 0, as far as 24 bits allow.
    fn new(seed: u64, outer: usize, inner: usize) -> Self {
        let (layout, mut random) = (Layout::ncl(outer, FEATURES, inner), Random(seed));
        let mut numbers = |mean: i64, spread: usize| -> Vec<i64> {
            (0..outer * FEATURES * inner).map(|_| mean + random.below(spread) as i64).collect()
        };
        Numbers { layout, x: numbers(15 << 20, 1 << 20), dy: numbers(-1 << 18, 1 << 20) }
    }

    fn of<T: Element>(numbers: &[i64]) -> Vec<T> {
        numbers.iter().map(|number| T::from_f64(*number as f64 * UNIT)).collect()
    }

    /// Pairs of x and dy of a feature.
    fn feature(&self, feature: usize) -> impl Iterator<Item = (i128, i128)> {
        let inner = self.layout.inner();
        let of_feature = move |at: &usize| at / inner % FEATURES == feature;
        (0..self.x.len()).filter(of_feature).map(|at| (i128::from(self.x[at]), i128::from(self.dy[at])))
    }
}

/// Exact sums of one feature over all shards, in units.
struct Exact {
    n: i128,
    x: i128,
    squares: i128,
    dy: i128,
    products: i128,
    /// The sum of `|dy * (x - mean)|`, rounded.
    absolute: f64,
}

impl Exact {
    fn new(shards: &[Numbers], feature: usize) -> Self {
        let pairs = || shards.iter().flat_map(move |shard| shard.feature(feature));
        let sum = |of: fn(i128, i128) -> i128| pairs().map(|(x, dy)| of(x, dy)).sum::<i128>();
        let (n, x) = (pairs().count() as i128, sum(|x, _| x));
        let absolute = pairs().map(|(of_x, dy)| (dy * (of_x * n - x)).abs() as f64).sum::<f64>();
        Exact {
            n,
            x,
            squares: sum(|x, _| x * x),
            dy: sum(|_, dy| dy),
            products: sum(|x, dy| x * dy),
            absolute: absolute / n as f64 * UNIT * UNIT,
        }
    }

    fn mean(&self) -> f64 {
        self.x as f64 / self.n as f64 * UNIT
    }

    fn variance(&self, ddof: i128) -> f64 {
        let m2 = self.n * self.squares - self.x * self.x;
        m2 as f64 / (self.n * (self.n - ddof)) as f64 * UNIT * UNIT
    }

    /// `x - mean`, rounded once or twice, wherever the mean is.
    fn deviation(&self, x: i64) -> f64 {
        (i128::from(x) * self.n - self.x) as f64 / self.n as f64 * UNIT
    }

    /// `sum(dy * (x - mean))`.
    fn products(&self) -> f64 {
        (self.n * self.products - self.x * self.dy) as f64 / self.n as f64 * UNIT * UNIT
    }

    fn inverse_deviation(&self) -> f64 {
        1.0 / (self.variance(0) + EPS).sqrt()
    }
}

#[track_caller]
fn assert_near(what: &str, given: f64, expected: f64, bound: f64) {
    assert!((given - expected).abs() <= bound, "{what} is {given:e}, expected {expected:e} up to {bound:e}");
}

/// `single` says that outputs are computed in f32. Each bound is the stated one, plus what the oracle itself rounds.
fn check<T: Element>(world: &SimpleCommunicator, shards: &[Numbers], single: bool) {
    let bn = BatchNorm::new(FEATURES).with_eps(EPS).expect("in range");
    // Either every rank merges all features, or each some of them.
    let mut bn = SyncBatchNorm::new(bn, world).with_gather_limit(if single { 0 } else { usize::MAX });
    bn.layer_mut().set_weight(&[WEIGHT; FEATURES]).expect("one each");
    bn.layer_mut().set_bias(&[BIAS; FEATURES]).expect("one each");
    let mine = &shards[world.rank() as usize];
    let (layout, x, dy) = (mine.layout, Numbers::of::<T>(&mine.x), Numbers::of::<T>(&mine.dy));
    let (mut y, mut dx) = (x.clone(), x.clone());
    bn.forward_train(view(&x, layout), view_mut(&mut y, layout)).expect("trains");
    let all = bn.layer().batch_moments();
    let gradients = bn
        .backward_train(all, view(&x, layout), view(&dy, layout), view_mut(&mut dx, layout))
        .expect("the moments are of these shards");
    assert_same_on_all_ranks("state", world, &state(bn.layer()));
    assert_same_on_all_ranks("gradients", world, &[bits(gradients.weight()), bits(gradients.bias())].concat());

    for feature in 0..FEATURES {
        let exact = Exact::new(shards, feature);
        assert_eq!(i128::from(all.count(feature)), exact.n);
        let (mean, variance, inverse) = (exact.mean(), exact.variance(1), exact.inverse_deviation());
        // Of f32, f64 sums that are not compensated: relative bounds. Of f64, 4 units in the last place, and 2 here.
        let of_variance = if single { 4.6e-13 } else { 6.0 * 2.0 * U };
        assert_near("variance", all.variance(feature, 1.0), variance, of_variance * variance);
        let of_mean = if single { 3.9e-14 } else { 2.0 * U } * variance.sqrt() + 2.0 * 2.0 * U * mean.abs();
        assert_near("mean", all.mean(feature), mean, of_mean);

        let (sums, rounding) = if single { (2.0f64.powi(-45), 2.4e-13) } else { (3.0 * U, 8.0 * U) };
        let sum_dy = exact.dy as f64 * UNIT;
        let of_bias = if single { 2.0f64.powi(-46) * exact.n as f64 } else { 2.0 * U * sum_dy.abs() };
        assert_near("bias's gradient", gradients.bias()[feature], sum_dy, of_bias);
        let (products, of_weight) = (exact.products(), exact.products() * inverse);
        let bound = (rounding + 8.0 * U) * of_weight.abs() + sums * exact.absolute * inverse;
        assert_near("weight's gradient", gradients.weight()[feature], of_weight, bound);

        let (n, v) = (exact.n as f64, exact.variance(0) + EPS);
        let inner = layout.inner();
        for at in (0..x.len()).filter(|at| at / inner % FEATURES == feature) {
            let deviation = exact.deviation(mine.x[at]);
            let expected = deviation * inverse * WEIGHT + BIAS;
            let u = if single { U_SINGLE } else { U };
            let factors = if single { [4.002, 1e-6, 1.002, 1.001] } else { [9.5 + 4.0, 1.5, 2.0, 2.0] };
            let terms = [deviation * inverse * WEIGHT, WEIGHT, BIAS, expected].map(f64::abs);
            let bound = u * factors.iter().zip(terms).map(|(factor, term)| factor * term).sum::<f64>();
            assert_near("y", y[at].to_f64(), expected, bound);

            let (dy, share) = (mine.dy[at] as f64 * UNIT, deviation * products / (n * v));
            let expected = (dy - sum_dy / n - share) * inverse * WEIGHT;
            let of_sums = of_bias / n + deviation.abs() * sums * exact.absolute / (n * v);
            let terms = match single {
                true => u * (2.002 * (dy - sum_dy / n).abs() + 4.002 * share.abs()) + of_sums + 7e-13 * dy.abs(),
                false => 36.0 * u * (dy.abs() + (sum_dy / n).abs() + share.abs()) + of_sums,
            };
            let bound = terms * WEIGHT * inverse + if single { 3.002 * u * expected.abs() } else { 0.0 };
            assert_near("dx", dx[at].to_f64(), expected, bound);
        }
    }
}

/// Shards of any number of rows, also none; and planes of different sizes.
pub(crate) fn uneven_shards(world: &SimpleCommunicator) {
    let ranks = world.size() as usize;
    let shards = |of: &dyn Fn(usize) -> (usize, usize)| -> Vec<Numbers> {
        (0..ranks).map(|rank| (rank, of(rank))).map(|(rank, (n, inner))| Numbers::new(rank as u64, n, inner)).collect()
    };
    for ends in divisions(3001, ranks, 5) {
        let rows = shards(&|rank| (ends[rank + 1] - ends[rank], 1));
        check::<f64>(world, &rows, false);
        check::<f32>(world, &rows, true);
    }
    let planes = shards(&|rank| if rank == 1 { (0, 7) } else { (11 + rank, 30 + 7 * rank) });
    check::<f64>(world, &planes, false);
    check::<f32>(world, &planes, true);
}

/// One chunk per rank has the bits of one process; counts may differ between features, and must not overflow.
pub(crate) fn without_a_layer(world: &SimpleCommunicator) {
    let (ranks, rank) = (world.size() as usize, world.rank() as usize);
    let layout = Layout::nc(512 * ranks, 64);
    let (x, dy) = (batch::<f64>(6, layout), batch::<f64>(7, layout));
    let shard = Shard::new(layout, 512 * rank..512 * (rank + 1));
    let [of_x, of_dy] = [&x, &dy].map(|values| view(shard.of(values), shard.layout));
    let all = all_moments(world, &moments(of_x)).expect("fits");
    assert!(all == moments(view(&x, layout)));
    let bn = BatchNorm::new(64);
    let sums = all_sums(world, &bn.backward_sums(&all, of_x, of_dy).expect("fits")).expect("fits");
    assert!(sums == bn.backward_sums(&all, view(&x, layout), view(&dy, layout)).expect("fits"));

    // The second feature has values on the last rank only, and the third one nowhere.
    let nan = f64::NAN;
    let last = rank + 1 == ranks;
    let (counts, means) = ([2, u64::from(last), 0], [1.0, if last { 5.0 } else { nan }, nan]);
    let all = all_moments(world, &of_counts(&counts, &means)).expect("fits");
    assert_same_on_all_ranks("moments", world, &bits_of_moments(&all));
    assert_eq!((all.counts(), &all.means()[..2]), (&[2 * ranks as u64, 1, 0][..], &[1.0, 5.0][..]));

    too_many_values(world);
    let nothing = all_moments(world, &moments::<f32>(Batch::new(&[], Layout::nc(0, 3)).expect("fits"))).expect("fits");
    assert!(nothing == Moments::new(3));
}

/// Moments of constant features.
fn of_counts(counts: &[u64], means: &[f64]) -> Moments {
    let zeros = &vec![0.0; counts.len()][..];
    let words = MomentsParts { means_middle: zeros, means_low: zeros, m2s: zeros, ..MomentsParts::default() };
    Moments::from_parts(MomentsParts { counts, means, m2s_low: zeros, ..words }).expect("valid")
}

/// A feature with more values than a `u64` counts is an error on all ranks: also where there are so many features that
/// each rank merges a share, and only one rank finds it.
fn too_many_values(world: &SimpleCommunicator) {
    for features in [1, 30_000] {
        let mut counts = vec![4; features];
        counts[features - 1] = u64::MAX;
        match all_moments(world, &of_counts(&counts, &vec![1.0; features])) {
            Ok(all) => assert_eq!((all.counts(), world.size()), (&counts[..], 1)),
            Err(Error::Layer(Refused::TooManyValues { a, b, .. })) => {
                assert_eq!((a, b), (u64::MAX, u64::MAX));
                assert!(world.size() > 1);
            }
            Err(other) => panic!("{other}"),
        }
    }
    // The same features without it: shares of all ranks.
    let all = all_moments(world, &of_counts(&vec![4; 30_000], &vec![1.0; 30_000])).expect("fits");
    let (counts, means) = (vec![4 * world.size() as u64; 30_000], vec![1.0; 30_000]);
    assert_eq!((all.counts(), all.means()), (&counts[..], &means[..]));
}
