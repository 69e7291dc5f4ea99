//! Training with every option, and in two halves: against PyTorch's values, exact arithmetic and one whole batch.

mod common;

use batchnorm::{BatchNorm, Element, Layout, Moments, Path};
use common::layer::{eval, state, train, view, view_mut};
use common::nasty::{Kind, batch};
use common::oracle::{exact, nearest, rational};
use common::{assert_same_bits, bits, by_every_path};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Zero};
use proptest::prelude::*;

/// A layer of PyTorch, trained on some batches and evaluated on the last one that is not empty.
struct Case {
    name: &'static str,
    eps: f64,
    momentum: Option<f64>,
    track: bool,
    weight: Option<&'static [f64]>,
    bias: Option<&'static [f64]>,
    batches: &'static [Trained],
    evaluated: &'static [f64],
    running_mean: &'static [f64],
    running_var: &'static [f64],
    num_batches_tracked: u64,
}

struct Trained {
    n: usize,
    inner: usize,
    x: &'static [f64],
    y: &'static [f64],
}

include!("data/training.in");

const FEATURES: usize = 3;

impl Case {
    fn layer(&self) -> BatchNorm {
        let bn = BatchNorm::pytorch(FEATURES).without_affine().with_eps(self.eps).expect("in range");
        let bn = match self.momentum {
            Some(momentum) => bn.with_momentum(momentum).expect("finite"),
            None => bn.with_cumulative_average(),
        };
        let mut bn = if self.track { bn } else { bn.without_running_stats() };
        if let Some(weight) = self.weight {
            bn.set_weight(weight).expect("one each");
        }
        if let Some(bias) = self.bias {
            bn.set_bias(bias).expect("one each");
        }
        bn
    }
}

impl Trained {
    fn layout(&self) -> Layout {
        Layout::ncl(self.n, FEATURES, self.inner)
    }
}

fn of<T: Element>(values: &[f64]) -> Vec<T> {
    values.iter().map(|x| T::from_f64(*x)).collect()
}

/// Checks that values are the expected ones up to a share of `1 + |expected|`. Infinities and NaN must agree.
fn assert_near<T: Element>(what: &str, given: &[T], expected: &[f64], share: f64) {
    assert_eq!(given.len(), expected.len(), "{what}");
    for (at, (given, &expected)) in given.iter().map(|x| x.to_f64()).zip(expected).enumerate() {
        let same = bits(&[given]) == bits(&[expected]);
        let near = (given - expected).abs() <= share * (1.0 + expected.abs());
        assert!(same || near, "{what}: value {at} is {given}, expected {expected}");
    }
}

fn pytorch<T: Element>(case: &Case, path: Path, share: f64) {
    let (name, mut bn) = (case.name, case.layer().with_path(path));
    for batch in case.batches {
        assert_near(name, &train(&mut bn, &of::<T>(batch.x), batch.layout()), batch.y, share);
    }
    let full = |batch: &&Trained| batch.n > 0;
    let last = case.batches.iter().rfind(full).expect("not all are empty");
    assert_near(name, &eval(&bn, &of::<T>(last.x), last.layout()), case.evaluated, share);
    assert_near(name, bn.running_mean(), case.running_mean, 1e-14);
    assert_near(name, bn.running_var(), case.running_var, 1e-14);
    // PyTorch counts empty batches. This is its one difference.
    let empty = case.batches.iter().filter(|batch| batch.n == 0).count() as u64;
    assert_eq!(bn.num_batches_tracked(), case.num_batches_tracked.saturating_sub(empty), "{name}");
}

#[test]
fn pytorch_values() {
    assert!(CASES.len() >= 18);
    for case in CASES {
        for path in [Path::Auto, Path::Scalar] {
            pytorch::<f64>(case, path, 1e-12);
            pytorch::<f32>(case, path, 1e-6);
        }
    }
}

/// The running statistics of frameworks that name the share kept, by their formula in exact arithmetic, with the
/// factors that they compute with.
#[test]
fn onnx_keras_and_flax_values() {
    for (name, mut bn, eps, kept) in [
        ("onnx", BatchNorm::onnx(2), 1e-5, 0.9),
        ("keras", BatchNorm::keras(2), 1e-3, 0.99),
        ("flax", BatchNorm::flax(2), 1e-5, 0.99),
    ] {
        let mut means = [BigRational::zero(), BigRational::zero()];
        let mut variances = [BigRational::one(), BigRational::one()];
        for (seed, n) in [(1, 40), (2, 7), (3, 1), (4, 300)] {
            let layout = Layout::nc(n, 2);
            let data = batch::<f64>(Kind::Offset(30.0), seed, layout);
            let y = train(&mut bn, &data, layout);
            for feature in 0..2 {
                let column = || data.iter().skip(feature).step_by(2).copied();
                let batch = exact(column());
                let towards = |running: &mut BigRational, batch: &BigRational| {
                    *running = rational(kept) * &*running + rational(1.0 - kept) * batch;
                };
                towards(&mut means[feature], &batch.mean);
                towards(&mut variances[feature], &batch.variance(0));
                let (mean, deviation) = (nearest(&batch.mean), (nearest(&batch.variance(0)) + eps).sqrt());
                let expected: Vec<f64> = column().map(|x| (x - mean) / deviation).collect();
                let given: Vec<f64> = y.iter().skip(feature).step_by(2).copied().collect();
                assert_near(name, &given, &expected, 1e-12);
            }
            assert_near(name, bn.running_mean(), &means.each_ref().map(nearest), 4e-16);
            assert_near(name, bn.running_var(), &variances.each_ref().map(nearest), 4e-16);
        }
        assert_eq!(bn.num_batches_tracked(), 4);
    }
}

/// Weighted by values, batches of any size give the mean of all values, and the weighted mean of their variances.
#[test]
fn the_average_over_values() {
    let mut bn = BatchNorm::new(1).with_sample_weighted_average();
    let (mut all, mut weighted, mut batches) = (Vec::new(), BigRational::zero(), 0);
    for (seed, n) in [(1, 100), (2, 3), (3, 1), (4, 0), (5, 1000), (6, 2)] {
        let data = batch::<f64>(Kind::Offset(5.0), seed, Layout::nc(n, 1));
        if n == 1 {
            // Refused, so not counted.
            let mut y = data.clone();
            assert!(bn.forward_train_in_place(view_mut(&mut y, Layout::nc(1, 1))).is_err());
            continue;
        }
        train(&mut bn, &data, Layout::nc(n, 1));
        if n > 0 {
            weighted += exact(data.iter().copied()).variance(1) * BigInt::from(n);
            batches += 1;
            all.extend(data);
        }
        assert_eq!((bn.num_values_tracked(), bn.num_batches_tracked()), (all.len() as u64, batches));
        assert_near("mean", bn.running_mean(), &[nearest(&exact(all.iter().copied()).mean)], 1e-15);
        assert_near("variance", bn.running_var(), &[nearest(&(&weighted / BigInt::from(all.len())))], 1e-15);
    }
}

/// A batch, as one and in shards.
fn in_shards<T: Element>(path: Path, layout: Layout, data: &[T], shards: &[usize]) -> [(Vec<T>, BatchNorm); 2] {
    let layer = || {
        let mut bn = BatchNorm::new(layout.features()).with_path(path);
        bn.set_weight(&vec![1.75; layout.features()]).expect("one each");
        bn
    };
    let mut whole = layer();
    let y = train(&mut whole, data, layout);

    let row = layout.features() * layout.inner();
    let shard = |outer: usize| Layout::new(outer, layout.features(), layout.inner());
    let mut parts = Vec::new();
    let mut start = 0;
    for &outer in shards {
        parts.push((&data[start * row..][..outer * row], shard(outer)));
        start += outer;
    }
    assert_eq!(start, layout.outer());
    let mut copies: Vec<BatchNorm> = parts.iter().map(|_| layer()).collect();
    let measured: Vec<Moments> =
        parts.iter().zip(&copies).map(|((x, layout), bn)| bn.measure(view(x, *layout)).expect("fits")).collect();
    let mut pairs: Vec<Moments> = measured
        .chunks(2)
        .map(|pair| {
            let mut merged = pair[0].clone();
            merged.merge(&pair[1]).expect("fits");
            merged
        })
        .collect();
    let right = pairs.pop().expect("two pairs");
    let mut merged = pairs.pop().expect("two pairs");
    merged.merge(&right).expect("fits");

    // Each shard has its own copy of the layer, as on its own machine. The copies must stay the same.
    let mut joined = Vec::new();
    for ((x, layout), bn) in parts.iter().zip(&mut copies) {
        let mut y = x.to_vec();
        bn.forward_train_with(&merged, view(x, *layout), view_mut(&mut y, *layout)).expect("trains");
        let mut in_place = x.to_vec();
        let before = state(bn);
        bn.forward_with_in_place(&merged, view_mut(&mut in_place, *layout)).expect("runs");
        assert_same_bits("in place", &y, &in_place);
        assert!(state(bn) == before);
        joined.extend(y);
    }
    assert!(copies.iter().all(|bn| state(bn) == state(&copies[0])));
    [(y, whole), (joined, copies.swap_remove(0))]
}

fn whole_chunks<T: Element>(layout: Layout, shard: usize) {
    let data = batch::<T>(Kind::Offset(100.0), 7, layout);
    let run = |path| in_shards(path, layout, &data, &[shard, shard, shard, layout.outer() - 3 * shard]);
    for (name, [(y, whole), (joined, copy)]) in by_every_path(run) {
        assert_same_bits(&format!("{name}, {layout}"), &y, &joined);
        assert!(state(&whole) == state(&copy), "{name}, {layout}");
        assert_eq!(whole.num_values_tracked(), layout.count() as u64);
    }
}

/// Four shards of whole chunks (the last chunk may be incomplete) train as one batch, bit for bit.
#[test]
fn shards_of_whole_chunks_are_one_batch() {
    for (layout, shard) in [
        (Layout::nc(2048, 64), 512),
        (Layout::nc(3 * 1024 + 700, 70), 1024),
        (Layout::nc(4 * 4096, 8), 4096),
        (Layout::ncl(32, 3, 4096), 8),
        (Layout::ncl(3 * 8 + 5, 2, 4096), 8),
    ] {
        whole_chunks::<f32>(layout, shard);
        whole_chunks::<f64>(layout, shard);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Any four shards train as one batch, to 1e-14.
    #[test]
    fn any_shards_are_one_batch(
        shards in prop::collection::vec(0usize..700, 4), features in 1usize..9, inner in 1usize..6, seed in 0u64..1000
    ) {
        let outer: usize = shards.iter().sum();
        prop_assume!(outer * inner > 1);
        let layout = Layout::new(outer, features, inner);
        let data = batch::<f64>(Kind::Normal, seed, layout);
        let [(y, whole), (joined, copy)] = in_shards(Path::Auto, layout, &data, &shards);
        assert_near("outputs", &joined, &y, 1e-14);
        assert_near("running_mean", copy.running_mean(), whole.running_mean(), 1e-14);
        assert_near("running_var", copy.running_var(), whole.running_var(), 1e-14);
        prop_assert_eq!(copy.num_values_tracked(), whole.num_values_tracked());
    }
}

/// A copy of the layer that has no rows in a step moves as the others do.
#[test]
fn an_empty_shard_moves_with_the_others() {
    let (layout, empty) = (Layout::nc(50, 3), Layout::nc(0, 3));
    let data = batch::<f32>(Kind::Normal, 3, layout);
    let (mut with_rows, mut without) = (BatchNorm::new(3), BatchNorm::new(3));
    let mut moments = without.measure(view::<f32>(&[], empty)).expect("fits");
    moments.merge(&with_rows.measure(view(&data, layout)).expect("fits")).expect("fits");
    let mut y = data.clone();
    with_rows.forward_train_with_in_place(&moments, view_mut(&mut y, layout)).expect("trains");
    without.forward_train_with_in_place::<f32>(&moments, view_mut(&mut [], empty)).expect("trains");
    assert!(state(&with_rows) == state(&without));
    assert_eq!((without.num_batches_tracked(), without.num_values_tracked()), (1, 50));
    let mut alone = BatchNorm::new(3);
    assert_same_bits("alone", &train(&mut alone, &data, layout), &y);
    assert!(state(&alone) == state(&without));
    // If all shards are empty, nothing moves.
    let nothing = without.measure(view::<f32>(&[], empty)).expect("fits");
    let before = state(&without);
    without.forward_train_with_in_place::<f32>(&nothing, view_mut(&mut [], empty)).expect("nothing to do");
    assert!(state(&without) == before);
}
