//! The table "Poisoned input" of the crate's documentation: NaN, infinities and overflow, in each operation, by each
//! path. Also checks that they affect no other feature.

mod common;

use batchnorm::{Accumulator, Batch, BatchMut, BatchNorm, Element, Layout, Moments, Path, Precision};
use common::by_every_path;
use common::nasty::{Kind, batch};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// The feature of [`LAYOUTS`] that is poisoned.
const POISONED: usize = 2;

/// Narrow and wide rows; small planes; planes of whole groups, and with a tail.
const LAYOUTS: [Layout; 5] = [
    Layout::nc(1000, 5),
    Layout::nc(600, 70),
    Layout::ncl(40, 4, 9),
    Layout::nchw(9, 4, 8, 8),
    Layout::nchw(2, 3, 200, 201),
];

/// A row of the table: what is put into the feature, and what must come out.
#[derive(Debug)]
struct Case {
    poison: &'static [f64],
    mean: f64,
    m2: f64,
    /// Every output of the feature in training.
    output: f64,
    running_mean: f64,
    running_var: f64,
}

const WEIGHT: [f64; 3] = [1.5, -0.5, 0.0];
const BIAS: f64 = 0.25;

const NOT_A_NUMBER: Case =
    Case { poison: &[NAN], mean: NAN, m2: NAN, output: NAN, running_mean: NAN, running_var: NAN };

const CASES: [Case; 5] = [
    NOT_A_NUMBER,
    Case { poison: &[-NAN, 1.0, INF], ..NOT_A_NUMBER },
    Case { poison: &[INF, -INF], ..NOT_A_NUMBER },
    Case { poison: &[INF, 2.0, INF], mean: INF, running_mean: INF, ..NOT_A_NUMBER },
    Case { poison: &[-INF], mean: -INF, running_mean: -INF, ..NOT_A_NUMBER },
];

fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

fn feature_of(layout: Layout, at: usize) -> usize {
    at / layout.inner() % layout.features()
}

/// Returns the data with the case's values at the start of the feature, in its middle or at its end.
fn poisoned<T: Element>(clean: &[T], layout: Layout, case: &Case, place: usize) -> Vec<T> {
    let mut data = clean.to_vec();
    let ours: Vec<usize> = (0..data.len()).filter(|&at| feature_of(layout, at) == POISONED).collect();
    let start = place * (ours.len() - case.poison.len()) / 2;
    for (&at, &x) in ours[start..].iter().zip(case.poison) {
        data[at] = T::from_f64(x);
    }
    data
}

fn x<T: Element>(data: &[T], layout: Layout) -> Batch<'_, T> {
    Batch::new(data, layout).expect("a batch")
}

fn same_but_for_rounding(a: f64, b: f64) -> bool {
    same(a, b) || (a - b).abs() <= 1e-14 * a.abs()
}

/// Returns the moments from one call, after comparing them with those of two halves that are merged, and of rows that
/// arrive in pieces.
fn measured<T: Element>(path: Path, data: &[T], layout: Layout) -> Moments {
    let one_call = path.moments(x(data, layout));
    let row = layout.features() * layout.inner();
    let (top, bottom) = data.split_at(layout.outer() / 2 * row);
    let part = |data: &[T]| Layout::new(data.len() / row, layout.features(), layout.inner());

    let mut merged = path.moments(x(top, part(top)));
    merged.merge(&path.moments(x(bottom, part(bottom)))).expect("the same features");
    for feature in 0..layout.features() {
        let means = same_but_for_rounding(merged.mean(feature), one_call.mean(feature));
        let m2 = same_but_for_rounding(merged.m2(feature), one_call.m2(feature));
        assert!(means && m2, "feature {feature}, merged: {merged:?}, in one call: {one_call:?}");
    }
    let mut rows = Accumulator::new(layout.features(), layout.inner()).expect("a shape");
    for piece in [top, bottom] {
        rows.update(x(piece, part(piece))).expect("the same shape");
    }
    assert_eq!(rows.moments(), one_call, "accumulated");
    one_call
}

fn layer(features: usize) -> BatchNorm {
    let mut bn = BatchNorm::new(features);
    bn.set_weight(&(0..features).map(|f| WEIGHT[f % 2]).collect::<Vec<_>>()).expect("weights");
    bn.set_bias(&vec![BIAS; features]).expect("biases");
    bn
}

fn trained<T: Element>(path: Path, precision: Precision, data: &[T], layout: Layout) -> (BatchNorm, Vec<T>) {
    let (mut bn, mut y) = (layer(layout.features()).with_precision(precision), data.to_vec());
    bn = bn.with_path(path);
    bn.forward_train(x(data, layout), BatchMut::new(&mut y, layout).expect("y")).expect("trains");
    (bn, y)
}

/// Returns the precisions that an element type has.
fn precisions<T: Element>() -> &'static [Precision] {
    let both = &[Precision::Single, Precision::Double];
    if size_of::<T>() == size_of::<f32>() { both } else { &both[..1] }
}

/// Runs `compute` by every path, including the scalar one.
fn by_each_path<R: Send>(compute: impl Fn(Path) -> R + Sync) -> Vec<(String, R)> {
    let mut results = by_every_path(&compute);
    results.push(("scalar".into(), compute(Path::Scalar)));
    results
}

/// Checks that all features of `data` but the poisoned one have the same results as in `clean`. For the poisoned one,
/// `is_right` must accept its mean, m2, running_mean and running_var, and each output must be `output`.
fn check<T: Element>(
    name: &str,
    [clean, data]: [&[T]; 2],
    layout: Layout,
    is_right: impl Fn([f64; 4]) -> bool,
    output: f64,
) {
    for &precision in precisions::<T>() {
        check_in(precision, name, [clean, data], layout, &is_right, output);
    }
}

fn check_in<T: Element>(
    precision: Precision,
    name: &str,
    [clean, data]: [&[T]; 2],
    layout: Layout,
    is_right: impl Fn([f64; 4]) -> bool,
    output: f64,
) {
    let statistics = |m: &Moments, bn: &BatchNorm, feature: usize| {
        [m.mean(feature), m.m2(feature), bn.running_mean()[feature], bn.running_var()[feature]]
    };
    let expected = Path::Scalar.moments(x(clean, layout));
    let (expected_bn, expected_y) = trained(Path::Scalar, precision, clean, layout);
    let by_path = |path| (measured(path, data, layout), trained(path, precision, data, layout));
    for (path, (m, (bn, y))) in by_each_path(by_path) {
        let name = format!("{name}, {layout}, {}, {precision:?}, {path}", std::any::type_name::<T>());
        for feature in 0..layout.features() {
            let (given, wanted) = (statistics(&m, &bn, feature), statistics(&expected, &expected_bn, feature));
            let right = if feature == POISONED { is_right(given) } else { given == wanted };
            assert!(right, "{name}, feature {feature}: {given:?}, of clean data {wanted:?}");
        }
        for (at, (y, expected)) in y.iter().zip(&expected_y).enumerate() {
            let wanted = if feature_of(layout, at) == POISONED { output } else { expected.to_f64() };
            assert!(same(y.to_f64(), wanted), "{name}, output {at}: {y:?} for {wanted}");
        }
    }
}

fn check_case<T: Element>(case: &Case, layout: Layout, place: usize) {
    let clean = batch::<T>(Kind::Offset(3.0), 1, layout);
    let data = poisoned(&clean, layout, case, place);
    let wanted = [case.mean, case.m2, case.running_mean, case.running_var];
    let is_right = |given: [f64; 4]| given.iter().zip(wanted).all(|(a, b)| same(*a, b));
    check(&format!("{:?} at {place}", case.poison), [&clean, &data], layout, is_right, case.output);
}

#[test]
fn the_table() {
    for layout in LAYOUTS {
        for (case, place) in CASES.iter().flat_map(|case| (0..3).map(move |place| (case, place))) {
            check_case::<f32>(case, layout, place);
            check_case::<f64>(case, layout, place);
        }
    }
}

/// Returns the value at a place out of so many, as a fraction of the largest value.
type Fill = fn(usize, usize) -> f64;

/// An m2 that exceeds `f64::MAX`. f32 values cannot have one.
#[test]
fn overflow_in_the_table() {
    // Plus and minus; one-sided; and two halves that are constant: neither has such an m2, but both together do.
    let signs = |place: usize, _: usize| if place.is_multiple_of(2) { 1.0 } else { -1.0 };
    let one_sided = |place: usize, _: usize| if place.is_multiple_of(2) { 1.0 } else { 0.5 };
    let halves = |place: usize, count: usize| if place < count / 2 { 1.0 } else { 0.75 };
    let fills: [(&str, Fill); 3] = [("signs", signs), ("one-sided", one_sided), ("halves", halves)];
    for layout in LAYOUTS {
        let clean = batch::<f64>(Kind::Offset(3.0), 1, layout);
        for ((name, fill), size) in fills.into_iter().flat_map(|fill| [1e155, 1.7e308].map(|size| (fill, size))) {
            let (mut data, mut place) = (clean.clone(), 0);
            for at in (0..data.len()).filter(|at| feature_of(layout, *at) == POISONED) {
                data[at] = size * fill(place, layout.count());
                place += 1;
            }
            let parts = (0..layout.count()).map(|place| fill(place, layout.count()));
            let mean = parts.sum::<f64>() / layout.count() as f64 * size;
            let is_right = |[given, m2, running_mean, running_var]: [f64; 4]| {
                (given - mean).abs() <= 1e-15 * size
                    && m2 == INF
                    && running_mean == 0.9 * 0.0 + 0.1 * given
                    && running_var == INF
            };
            check(&format!("{name}, {size:e}"), [&clean, &data], layout, is_right, BIAS);
        }
    }
    // x - mean overflows for the first value.
    let data = [f64::MAX, -f64::MAX, -f64::MAX, -f64::MAX];
    let (_, y) = trained(Path::Scalar, Precision::Double, &data, Layout::nc(4, 1));
    assert!(y[0].is_nan() && y[1..] == [BIAS; 3], "{y:?}");
}

/// With a momentum of 0, only infinities and NaN change the running statistics, as in PyTorch.
#[test]
fn no_momentum() {
    let mut bn = BatchNorm::new(2).with_momentum(0.0).expect("finite");
    let mut data = [1.0f32, 1.0, f32::INFINITY, 5.0];
    bn.forward_train_in_place(BatchMut::new(&mut data, Layout::nc(2, 2)).expect("a batch")).expect("trains");
    assert!(bn.running_mean()[0].is_nan() && bn.running_var()[0].is_nan());
    assert_eq!((bn.running_mean()[1], bn.running_var()[1]), (0.0, 1.0));
}

fn check_evaluation<T: Element>(precision: Precision, layout: Layout) {
    let features = layout.features();
    let weight: Vec<f64> = (0..features).map(|f| WEIGHT[f % 3]).collect();
    let mut bn = layer(features);
    bn.set_weight(&weight).expect("weights");
    bn.set_running_mean(&vec![-0.75; features]).expect("means");
    bn.set_running_var(&vec![2.5; features]).expect("variances");
    let norm = bn.to_inference().with_precision(precision);
    let clean = batch::<T>(Kind::Normal, 2, layout);
    let run = |path, data: &[T]| {
        let mut y = data.to_vec();
        norm.clone().with_path(path).forward(x(data, layout), BatchMut::new(&mut y, layout).expect("y")).expect("runs");
        y
    };
    let expected = run(Path::Scalar, &clean);
    let mut data = clean.clone();
    for (turn, x) in data.iter_mut().step_by(7).enumerate() {
        *x = T::from_f64([NAN, INF, -INF][turn % 3]);
    }
    for (name, y) in by_each_path(|path| run(path, &data)) {
        for at in 0..data.len() {
            let x = data[at].to_f64();
            // Infinity times 0 is NaN, and so is NaN times anything: see the text below the table.
            let wanted = if x.is_finite() { expected[at].to_f64() } else { x * weight[feature_of(layout, at)] };
            assert!(same(y[at].to_f64(), wanted), "{name}, {layout}, output {at} of {x}: {:?}", y[at]);
        }
    }
}

#[test]
fn evaluation_is_value_by_value() {
    for layout in LAYOUTS {
        for &precision in precisions::<f32>() {
            check_evaluation::<f32>(precision, layout);
        }
        check_evaluation::<f64>(Precision::Double, layout);
    }
}

/// The gradients of a training step: of the weight, of the bias and of the inputs.
fn gradients<T: Element>(path: Path, [data, dy]: [&[T]; 2], layout: Layout) -> [Vec<f64>; 3] {
    let (bn, mut dx) = (layer(layout.features()).with_path(path), dy.to_vec());
    let (x, dy, dx_out) = (x(data, layout), x(dy, layout), BatchMut::new(&mut dx, layout).expect("dx"));
    let given = bn.backward_train(&path.moments(x), x, dy, dx_out).expect("gradients");
    [given.weight().to_vec(), given.bias().to_vec(), dx.iter().map(|dx| dx.to_f64()).collect()]
}

/// One value of a feature, in the inputs or in the gradients with respect to the outputs, spoils what the documentation
/// of `backward_train` says, and no other feature.
fn check_gradients<T: Element>(layout: Layout) {
    let clean = [1, 3].map(|seed| batch::<T>(Kind::Offset(3.0), seed, layout));
    let expected = gradients(Path::Scalar, [&clean[0], &clean[1]], layout);
    for (poison, of_inputs) in [NAN, INF, -INF].into_iter().flat_map(|poison| [(poison, true), (poison, false)]) {
        let mut data = clean.clone();
        let at = (data[0].len() / 2..).find(|&at| feature_of(layout, at) == POISONED).expect("a value of the feature");
        data[usize::from(!of_inputs)][at] = T::from_f64(poison);
        let of_bias = if of_inputs { expected[1][POISONED] } else { poison };
        for (path, given) in by_each_path(|path| gradients(path, [&data[0], &data[1]], layout)) {
            let name = format!("{poison}, of the inputs {of_inputs}, {layout}, {path}");
            for feature in 0..layout.features() {
                let clean = [expected[0][feature], expected[1][feature]];
                let wanted = if feature == POISONED { [NAN, of_bias] } else { clean };
                let right = same(given[0][feature], wanted[0]) && same(given[1][feature], wanted[1]);
                assert!(
                    right,
                    "{name}, feature {feature}: {}, {} for {wanted:?}",
                    given[0][feature], given[1][feature]
                );
            }
            for (at, (dx, clean)) in given[2].iter().zip(&expected[2]).enumerate() {
                let wanted = if feature_of(layout, at) == POISONED { NAN } else { *clean };
                assert!(same(*dx, wanted), "{name}, dx {at}: {dx} for {wanted}");
            }
        }
    }
}

#[test]
fn gradients_of_a_poisoned_feature() {
    for layout in LAYOUTS {
        check_gradients::<f32>(layout);
        check_gradients::<f64>(layout);
    }
}
