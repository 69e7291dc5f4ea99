//! The backward pass: all paths agree, and what it computes agrees with finite differences, with PyTorch's values, with
//! its own parts and with what is documented of special values.

mod common;

use batchnorm::{
    Batch, BatchMut, BatchNorm, Element, Error, GradOutput, GradOutputMut, GradientSums, Gradients, Layout, Moments,
    Path, moments,
};
use common::nasty::{self, KINDS, Kind, batch};
use common::{assert_same_bits, by_every_path};
use proptest::prelude::*;

fn batch_of<T>(data: &[T], layout: Layout) -> Batch<'_, T> {
    Batch::new(data, layout).expect("a batch")
}

fn batch_mut<T>(data: &mut [T], layout: Layout) -> BatchMut<'_, T> {
    BatchMut::new(data, layout).expect("a batch")
}

/// A layer with different weights and running statistics for each feature.
fn layer(features: usize, path: Path) -> BatchNorm {
    let numbers = |from: f64| (0..features).map(|i| from + 0.37 * i as f64).collect::<Vec<_>>();
    let mut bn = BatchNorm::new(features).with_path(path);
    bn.set_weight(&numbers(-1.5)).expect("weights");
    bn.set_running_mean(&numbers(0.1)).expect("means");
    bn.set_running_var(&numbers(0.5)).expect("variances");
    bn
}

/// Everything that a path computes in the backward pass.
struct Outputs<T> {
    sums: GradientSums,
    parameters: Vec<f64>,
    dx: Vec<Vec<T>>,
}

fn outputs<T: Element>(path: Path, x: &[T], dy: &[T], y: Option<&[T]>, layout: Layout) -> Outputs<T> {
    let bn = layer(layout.features(), path);
    let x = batch_of(x, layout);
    let through = |dy| match y {
        Some(y) => GradOutput::through_relu(batch_of(dy, layout), batch_of(y, layout)).expect("same layout"),
        None => batch_of(dy, layout).into(),
    };
    let through_mut = |dy| match y {
        Some(y) => GradOutputMut::through_relu(batch_mut(dy, layout), batch_of(y, layout)).expect("same layout"),
        None => batch_mut(dy, layout).into(),
    };
    let m = path.moments(x);
    let mut dx = vec![dy.to_vec(); 6];
    let [train, in_place, eval, eval_in_place, input, halves] = &mut dx[..] else { unreachable!("six") };
    let sums = bn.backward_sums(&m, x, through(dy)).expect("sums");
    let all = [
        bn.backward_train(&m, x, through(dy), batch_mut(train, layout)).expect("train"),
        bn.backward_train_in_place(&m, x, through_mut(in_place)).expect("in place"),
        bn.backward_eval(x, through(dy), batch_mut(eval, layout)).expect("eval"),
        bn.backward_eval_in_place(x, through_mut(eval_in_place)).expect("in place"),
        bn.backward_eval_parameters(x, through(dy)).expect("parameters"),
        bn.gradients(&m, &sums).expect("gradients"),
    ];
    bn.backward_eval_input(through(dy), batch_mut(input, layout)).expect("input");
    bn.backward_apply(&m, &sums, x, through(dy), batch_mut(halves, layout)).expect("apply");
    let parameters = all.iter().flat_map(|of| [of.weight(), of.bias()].concat()).collect();
    Outputs { sums, parameters, dx }
}

/// Checks that all paths agree, and all ways to compute the same.
fn check<T: Element>(kinds: [Kind; 2], relu: bool, seed: u64, layout: Layout) {
    let (x, dy) = (batch::<T>(kinds[0], seed, layout), batch::<T>(kinds[1], seed ^ 0x5555, layout));
    let y = batch::<T>(kinds[seed as usize % 2], seed ^ 0xaaaa, layout);
    let y = relu.then_some(&y[..]);
    let expected = outputs(Path::Scalar, &x, &dy, y, layout);
    let name = format!("{kinds:?}, relu {relu}, seed {seed}, {layout}, {}", std::any::type_name::<T>());
    let same = |a: usize, b: usize| assert_same_bits(&format!("{name}: {a}, {b}"), &expected.dx[a], &expected.dx[b]);
    for (a, b) in [(0, 1), (0, 5), (2, 3), (2, 4)] {
        same(a, b);
    }
    let parameters: Vec<_> = expected.parameters.chunks(2 * layout.features().max(1)).collect();
    if layout.features() > 0 {
        for (a, b) in [(0, 1), (0, 5), (2, 3), (2, 4)] {
            assert_same_bits(&format!("{name}: parameters"), parameters[a], parameters[b]);
        }
    }
    if let Some(y) = y {
        // The same as a separate step before.
        let masked: Vec<T> =
            dy.iter().zip(y).map(|(dy, y)| if y.to_f64() <= 0.0 { T::from_f64(0.0) } else { *dy }).collect();
        let separate = outputs(Path::Scalar, &x, &masked, None, layout);
        assert_eq!(separate.sums, expected.sums, "{name}: a separate ReLU");
        separate.dx.iter().zip(&expected.dx).for_each(|(a, b)| assert_same_bits(&name, a, b));
    }
    for (path, given) in by_every_path(|path| outputs(path, &x, &dy, y, layout)) {
        assert_eq!(given.sums, expected.sums, "{name}, {path}: sums");
        assert_same_bits(&format!("{name}, {path}: parameters"), &expected.parameters, &given.parameters);
        for (i, (expected, given)) in expected.dx.iter().zip(&given.dx).enumerate() {
            assert_same_bits(&format!("{name}, {path}: dx {i}"), expected, given);
        }
    }
}

fn layouts() -> impl Strategy<Value = Layout> {
    let edges = || proptest::sample::select(nasty::edges().filter(|len| *len < 70_000).collect::<Vec<_>>());
    prop_oneof![
        (edges(), 1..3usize).prop_map(|(n, c)| Layout::nc(n, c)),
        (1..3usize, 1..3usize, edges()).prop_map(|(n, c, l)| Layout::ncl(n, c, l)),
        (0..400usize, 0..80usize).prop_map(|(n, c)| Layout::nc(n, c)),
        (0..2000usize, 1..6usize).prop_map(|(n, c)| Layout::nc(n, c)),
        (0..12usize, 60..1100usize).prop_map(|(n, c)| Layout::nc(n, c)),
        (0..12usize, 1..40usize, 1..40usize).prop_map(|(n, c, l)| Layout::ncl(n, c, l)),
        (0..100usize, 1..5usize, 1..9usize, 1..9usize).prop_map(|(n, c, h, w)| Layout::nchw(n, c, h, w)),
        (0..4usize, 1..4usize, 30..70usize, 30..70usize).prop_map(|(n, c, h, w)| Layout::nchw(n, c, h, w)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn f32_paths_agree(
        x in proptest::sample::select(&KINDS[..]), dy in proptest::sample::select(&KINDS[..]),
        relu: bool, seed: u64, layout in layouts(),
    ) {
        check::<f32>([x, dy], relu, seed, layout);
    }

    #[test]
    fn f64_paths_agree(
        x in proptest::sample::select(&KINDS[..]), dy in proptest::sample::select(&KINDS[..]),
        relu: bool, seed: u64, layout in layouts(),
    ) {
        check::<f64>([x, dy], relu, seed, layout);
    }
}

/// Batches that are prefetched, summed side by side, written with non-temporal stores and shared between threads.
#[test]
fn large_batches_agree() {
    for (i, layout) in [
        Layout::nc(16_001, 131),
        Layout::nc(420_001, 5),
        Layout::nchw(40, 30, 50, 50),
        Layout::nchw(300, 40, 7, 7),
        Layout::nchw(2, 2, 300, 301),
        Layout::nc(33, 65_536),
    ]
    .into_iter()
    .enumerate()
    {
        check::<f32>([Kind::Offset(1e2), Kind::Offset(1.0)], i % 2 == 0, 11, layout);
        check::<f64>([Kind::Offset(1e8), Kind::Normal], i % 2 == 1, 12, layout);
    }
}

/// The loss `sum(dy * y)`, whose gradients are those of the backward pass.
fn loss(bn: &BatchNorm, x: &[f64], dy: &[f64], layout: Layout, train: bool) -> f64 {
    let mut y = x.to_vec();
    let (x, y_out) = (batch_of(x, layout), batch_mut(&mut y, layout));
    if train { bn.clone().forward_train(x, y_out) } else { bn.forward_eval(x, y_out) }.expect("runs");
    dy.iter().zip(&y).map(|(dy, y)| dy * y).sum()
}

#[test]
fn finite_differences_agree() {
    for layout in [Layout::nc(7, 3), Layout::ncl(2, 3, 5), Layout::nchw(2, 2, 6, 6)] {
        let (x, dy) = (batch::<f64>(Kind::Normal, 1, layout), batch::<f64>(Kind::Offset(0.5), 2, layout));
        let (mut bn, step) = (layer(layout.features(), Path::Auto), 1e-5);
        for train in [true, false] {
            let mut dx = x.clone();
            let (batch, dy_batch, out) = (batch_of(&x, layout), batch_of(&dy, layout), batch_mut(&mut dx, layout));
            let gradients = if train {
                bn.backward_train(&moments(batch), batch, dy_batch, out)
            } else {
                bn.backward_eval(batch, dy_batch, out)
            }
            .expect("gradients");
            let near = |given: f64, low: f64, high: f64, what: &str| {
                let expected = (high - low) / (2.0 * step);
                assert!((given - expected).abs() < 1e-8, "{layout}, train {train}, {what}: {given} for {expected}");
            };
            for at in 0..x.len() {
                let moved = |by: f64| {
                    let mut x = x.clone();
                    x[at] += by;
                    loss(&bn, &x, &dy, layout, train)
                };
                near(dx[at], moved(-step), moved(step), &format!("dx {at}"));
            }
            for feature in 0..layout.features() {
                let moved = |by: f64, weight: bool| {
                    let mut changed = bn.clone();
                    let from = if weight { bn.weight() } else { bn.bias() };
                    let mut values = from.expect("affine").to_vec();
                    values[feature] += by;
                    if weight { changed.set_weight(&values) } else { changed.set_bias(&values) }.expect("one each");
                    loss(&changed, &x, &dy, layout, train)
                };
                near(gradients.weight()[feature], moved(-step, true), moved(step, true), "weight");
                near(gradients.bias()[feature], moved(-step, false), moved(step, false), "bias");
            }
        }
        bn = bn.without_affine();
        assert_eq!(bn.weight(), None);
    }
}

/// Shards of whole chunks give the bits of one batch; others give the same within rounding.
#[test]
fn shards_equal_one_batch() {
    for (layout, rows, exact) in [
        (Layout::nc(4 * 512, 70), 512, true),
        (Layout::nc(4 * 1024, 40), 1024, true),
        (Layout::ncl(4 * 32, 3, 1024), 32, true),
        (Layout::nc(1000, 70), 250, false),
        (Layout::ncl(100, 3, 1000), 25, false),
    ] {
        shard::<f32>(layout, rows, exact);
        shard::<f64>(layout, rows, exact);
    }
}

fn shard<T: Element>(layout: Layout, rows: usize, exact: bool) {
    let (x, dy) = (batch::<T>(Kind::Offset(1e2), 1, layout), batch::<T>(Kind::Offset(1.0), 2, layout));
    let bn = layer(layout.features(), Path::Auto);
    let of_all = |x: &[T]| moments(batch_of(x, layout));
    let mut expected = x.clone();
    let whole = bn
        .backward_train(&of_all(&x), batch_of(&x, layout), batch_of(&dy, layout), batch_mut(&mut expected, layout))
        .expect("gradients");

    let part = Layout::new(rows, layout.features(), layout.inner());
    let len = part.checked_len().expect("small");
    let shards: Vec<_> =
        x.chunks(len).zip(dy.chunks(len)).map(|(x, dy)| (batch_of(x, part), batch_of(dy, part))).collect();
    let [a, b, c, d] = &shards[..] else { panic!("four shards") };
    let merged = |[a, b, c, d]: [Moments; 4]| {
        let (mut left, mut right) = (a, c);
        left.merge(&b).and_then(|()| right.merge(&d)).and_then(|()| left.merge(&right)).map(|()| left)
    };
    let m = merged([a, b, c, d].map(|(x, _)| moments(*x))).expect("fits");
    let [mut sums, b, mut right, d] = [a, b, c, d].map(|(x, dy)| bn.backward_sums(&m, *x, *dy).expect("sums"));
    sums.merge(&b).and_then(|()| right.merge(&d)).and_then(|()| sums.merge(&right)).expect("fits");
    let mut dx = x.clone();
    for ((x, dy), dx) in shards.iter().zip(dx.chunks_mut(len)) {
        bn.backward_apply(&m, &sums, *x, *dy, batch_mut(dx, part)).expect("applies");
    }
    let parameters = bn.gradients(&m, &sums).expect("fits");
    if exact {
        assert_same_bits("dx", &expected, &dx);
        assert_same_bits("weight", whole.weight(), parameters.weight());
        assert_same_bits("bias", whole.bias(), parameters.bias());
    }
    let tolerance = if size_of::<T>() == 4 { 1e-6 } else { 1e-13 };
    for (a, b) in expected.iter().zip(&dx) {
        assert!((a.to_f64() - b.to_f64()).abs() <= tolerance, "{layout}: {a:?} and {b:?}");
    }
    for (a, b) in whole.weight().iter().zip(parameters.weight()) {
        assert!((a - b).abs() <= 1e-14 * layout.count() as f64, "{layout}: {a} and {b}");
    }
}

#[test]
fn sums_can_be_sent() {
    let layout = Layout::nc(1000, 3);
    let x = batch::<f64>(Kind::Cauchy, 1, layout);
    let x = batch_of(&x, layout);
    let sums = BatchNorm::new(3).backward_sums(&moments(x), x, x).expect("sums");
    assert!(sums.parts().sum_dy_low.iter().any(|low| *low != 0.0));
    assert_eq!(GradientSums::from_parts(sums.parts()).expect("the same"), sums);
    let mut all = GradientSums::from_parts(sums.parts()).expect("the same");
    let mut none = BatchNorm::new(3)
        .backward_sums(&moments(x), batch_of::<f64>(&[], Layout::nc(0, 3)), batch_of(&[], Layout::nc(0, 3)))
        .expect("empty");
    all.merge(&none).expect("fits");
    none.merge(&sums).expect("fits");
    assert_eq!((&all, &none), (&sums, &sums), "an empty shard changes nothing");
}

fn train<T: Element>(bn: &BatchNorm, x: &[T], dy: &[T], layout: Layout) -> (Gradients, Vec<T>) {
    let mut dx = dy.to_vec();
    let x = batch_of(x, layout);
    let gradients =
        bn.backward_train(&moments(x), x, batch_of(dy, layout), batch_mut(&mut dx, layout)).expect("gradients");
    (gradients, dx)
}

#[test]
fn few_values_and_constants() {
    let bn = BatchNorm::new(2);
    let (gradients, dx) = train::<f32>(&bn, &[], &[], Layout::nc(0, 2));
    assert_eq!((gradients.weight(), gradients.bias(), dx), (&[0.0; 2][..], &[0.0; 2][..], vec![]));
    let (gradients, dx) = train(&bn, &[3.0, 4.0f32], &[5.0, -6.0], Layout::nc(1, 2));
    assert_eq!((gradients.weight(), gradients.bias(), dx), (&[0.0; 2][..], &[5.0, -6.0][..], vec![0.0; 2]));
    // A constant feature: no influence through the variance; without eps, none at all.
    let (gradients, dx) = train(&bn, &[0.1f64; 4], &[1.0, 2.0, 3.0, 6.0], Layout::ncl(1, 2, 2));
    let scale = 1.0 / 1e-5f64.sqrt();
    assert_eq!((gradients.weight(), dx), (&[0.0; 2][..], [-0.5, 0.5, -1.5, 1.5].map(|d| d * scale).to_vec()));
    let bn = BatchNorm::new(2).with_eps(0.0).expect("fine");
    let (gradients, dx) = train(&bn, &[0.1f64; 4], &[1.0, 2.0, 3.0, 6.0], Layout::ncl(1, 2, 2));
    assert_eq!((gradients.weight(), gradients.bias(), dx), (&[0.0; 2][..], &[3.0, 9.0][..], vec![0.0; 4]));
}

/// What is not finite affects its own feature alone.
#[test]
fn poisoned_features() {
    let layout = Layout::nc(600, 3);
    let (x, dy) = (batch::<f32>(Kind::Normal, 1, layout), batch::<f32>(Kind::Normal, 2, layout));
    let bn = layer(3, Path::Auto);
    let (clean, clean_dx) = train(&bn, &x, &dy, layout);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for in_x in [false, true] {
            let (mut x, mut dy) = (x.clone(), dy.clone());
            if in_x {
                x[301] = bad
            } else {
                dy[301] = bad
            }
            let (gradients, dx) = train(&bn, &x, &dy, layout);
            for at in 0..dx.len() {
                assert!(if at % 3 == 1 { dx[at].is_nan() } else { dx[at] == clean_dx[at] }, "{bad}, {in_x}, {at}");
            }
            assert!(gradients.weight()[1].is_nan(), "{bad}, {in_x}");
            let (x, dy) = (batch_of(&x, layout), batch_of(&dy, layout));
            let sums = bn.backward_sums(&moments(x), x, dy).expect("sums");
            assert_eq!(GradientSums::from_parts(sums.parts()).expect("the same"), sums);
            let bias = if in_x { clean.bias()[1] } else { f64::from(bad) };
            assert_same_bits("bias", &[clean.bias()[0], bias, clean.bias()[2]], gradients.bias());
            assert_same_bits(
                "weight",
                &[clean.weight()[0], clean.weight()[2]],
                &[gradients.weight()[0], gradients.weight()[2]],
            );
        }
    }
}

/// Scales (1e-320) and slopes (1e340, 1e-340) that f64 does not hold, although it holds the gradients.
#[test]
fn scales_out_of_range() {
    let layout = Layout::nc(4, 1);
    let (unit_x, unit_dy) = ([-1.0, 1.0, -1.0, 1.0], [1.0, 3.0, -1.0, 0.0]);
    let plain = train::<f64>(&BatchNorm::new(1).with_eps(0.0).expect("fine"), &unit_x, &unit_dy, layout).1;
    let near = |given: f64, expected: f64| {
        assert!((given - expected).abs() <= 1e-14 * expected.abs(), "{given:e} for {expected:e}");
    };
    for (size, of_dy, weight) in [(1e100, 1e200, 1e-220), (1e-140, 1e200, 1e-100), (1e140, 1e-200, 1e100)] {
        let mut bn = BatchNorm::new(1).with_eps(0.0).expect("fine");
        bn.set_weight(&[weight]).expect("a weight");
        let (x, dy) = (unit_x.map(|x| x * size), unit_dy.map(|dy| dy * of_dy));
        for (given, plain) in train(&bn, &x, &dy, layout).1.iter().zip(&plain) {
            near(*given, plain * (of_dy * weight / size));
        }
        let mut in_place = dy;
        bn.backward_train_in_place(
            &moments(batch_of(&x, layout)),
            batch_of(&x, layout),
            batch_mut(&mut in_place, layout),
        )
        .expect("gradients");
        assert_same_bits("in place", &train(&bn, &x, &dy, layout).1, &in_place);
        // The same in evaluation.
        bn.set_running_var(&[size * size]).expect("a variance");
        let mut dx = dy;
        bn.backward_eval_input(batch_of(&dy, layout), batch_mut(&mut dx, layout)).expect("runs");
        dx.iter().zip(dy).for_each(|(given, dy)| near(*given, dy * weight / size));
    }
}

#[test]
fn mistakes_are_errors() {
    let (layout, mut bn) = (Layout::nc(2, 2), BatchNorm::new(2));
    let (x, wide) = ([1.0f32, 2.0, 3.0, 5.0], [1.0f32; 6]);
    let (x, wide) = (batch_of(&x, layout), batch_of(&wide, Layout::nc(2, 3)));
    let transposed = Batch::new(x.data(), Layout::ncl(1, 2, 2)).expect("a batch");
    let m = moments(x);
    let mut dx = [7.0f32; 4];
    let mut call = |m: &Moments, x, dy| {
        let result = bn.backward_train(m, x, dy, batch_mut(&mut dx, layout)).map(|_| ());
        assert_eq!(dx, [7.0; 4], "a failed call writes nothing");
        result.expect_err("a mistake").to_string()
    };
    assert_eq!(call(&m, wide, wide), "the layer has 2 features, but the batch has 3");
    assert_eq!(call(&moments(wide), x, x), "the layer has 2 features, but the moments have 3");
    assert!(call(&m, x, transposed).starts_with("the input is [outer 2, features 2, inner 1], but the output is"));
    let mut twice = m.clone();
    twice.merge(&m).expect("fits");
    assert_eq!(call(&twice, x, x), "the moments are of 4 values of a feature, but its gradients are of 2");
    let sums = bn.backward_sums(&m, x, x).expect("sums");
    let error = bn.backward_apply(&twice, &sums, x, x, batch_mut(&mut dx, layout)).expect_err("a shard is missing");
    assert!(matches!(error, Error::Counts { expected: 4, given: 2, .. }));
    assert!(bn.backward_eval(x, x, batch_mut(&mut [0.0; 4], Layout::ncl(1, 2, 2))).is_err());
    assert!(GradOutput::through_relu(x, transposed).is_err());
    bn = bn.without_affine();
    assert!(bn.backward_train(&m, x, x, batch_mut(&mut dx, layout)).is_ok());
}

/// PyTorch's gradients in f64: `data/backward.py` made them.
#[test]
fn pytorch_agrees() {
    let mut lines = include_str!("data/backward.txt").lines();
    let mut cases = 0;
    while let Some(case) = lines.next() {
        let words: Vec<_> = case.split(' ').collect();
        let size = |at: usize| words[at].parse::<usize>().expect("a size");
        let layout = Layout::new(size(3), size(4), size(5));
        let mut next = || -> Vec<f64> {
            lines.next().expect("a line").split(' ').map(|word| word.parse().expect("a number")).collect()
        };
        let [x, dy, y, weight, mean, variance, expected_dx, of_weight, of_bias] = std::array::from_fn(|_| next());
        let mut bn = BatchNorm::new(layout.features()).with_eps(words[6].parse().expect("eps")).expect("eps");
        bn.set_weight(&weight).and_then(|()| bn.set_running_mean(&mean)).expect("one each");
        bn.set_running_var(&variance).expect("one each");
        let (x, mut dx) = (batch_of(&x, layout), dy.clone());
        let through = if words[2] == "relu" {
            GradOutput::through_relu(batch_of(&dy, layout), batch_of(&y, layout)).expect("same layout")
        } else {
            batch_of(&dy, layout).into()
        };
        let given = if words[1] == "train" {
            bn.backward_train(&moments(x), x, through, batch_mut(&mut dx, layout))
        } else {
            bn.backward_eval(x, through, batch_mut(&mut dx, layout))
        }
        .expect("gradients");
        // PyTorch's own errors grow with mean / sd, up to 100 here.
        for (given, expected) in [(&dx[..], expected_dx), (given.weight(), of_weight), (given.bias(), of_bias)] {
            assert_eq!(given.len(), expected.len(), "{case}");
            for (given, expected) in given.iter().zip(&expected) {
                assert!((given - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{case}: {given} for {expected}");
            }
        }
        cases += 1;
    }
    assert_eq!(cases, 24);
}
