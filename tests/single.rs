//! f32 batches that are normalised in f32: their bound, how close the worst inputs come to it, and which features are
//! left to f64.

mod common;

use batchnorm::{Batch, BatchMut, BatchNorm, Inference, Layout, Path, Precision};
use common::oracle::{error_in, nearest, rational};
use common::{assert_same_bits, by_every_path};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const U: f64 = f32::EPSILON as f64 / 2.0;

/// One value of a feature, and the parameters of the feature.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Case {
    x: f32,
    mean: f64,
    scale: f64,
    bias: f64,
}

impl Case {
    /// Returns the error that is allowed, given `y - bias` and `y`.
    fn allowed(&self, scaled: f64, y: f64) -> f64 {
        let product = 4.001 * U; // OUTPUT_SINGLE
        let bias = 1.001 * U; // OUTPUT_SINGLE_BIAS
        product * scaled.abs() + bias * self.bias.abs() + U * y.abs() + 2f64.powi(-148)
    }

    /// Returns the error of `y` as a fraction of what is allowed, roughly: the exact value is computed in f64.
    fn error(&self, y: f32) -> f64 {
        let scaled = (f64::from(self.x) - self.mean) * self.scale;
        let exact = scaled + self.bias;
        (f64::from(y) - exact).abs() / self.allowed(scaled, exact)
    }

    /// Returns the error of `y` as a fraction of what is allowed, in exact arithmetic.
    fn exact_error(&self, y: f32) -> f64 {
        let scaled = (rational(self.x.into()) - rational(self.mean)) * rational(self.scale);
        let exact = &scaled + rational(self.bias);
        error_in(y.into(), &exact, self.allowed(nearest(&scaled), nearest(&exact)))
    }
}

/// Returns a frozen layer with the parameters of each case as a feature. (With a variance of 1 and an eps of 0, the
/// weight is the scale.)
fn layer(cases: &[Case]) -> Inference {
    let of = |part: fn(&Case) -> f64| cases.iter().map(part).collect::<Vec<_>>();
    let mut bn = BatchNorm::new(cases.len()).with_eps(0.0).expect("an eps");
    bn.set_running_mean(&of(|case| case.mean)).expect("means");
    bn.set_weight(&of(|case| case.scale)).expect("weights");
    bn.set_bias(&of(|case| case.bias)).expect("biases");
    bn.to_inference()
}

fn run(norm: &Inference, x: &[f32]) -> Vec<f32> {
    let (layout, mut y) = (Layout::nc(x.len() / norm.num_features(), norm.num_features()), x.to_vec());
    norm.forward(Batch::new(x, layout).expect("x"), BatchMut::new(&mut y, layout).expect("y")).expect("runs");
    y
}

fn outputs(cases: &[Case]) -> Vec<f32> {
    run(&layer(cases), &cases.iter().map(|case| case.x).collect::<Vec<_>>())
}

struct Random(ChaCha8Rng);

impl Random {
    /// Returns a number from -1 to 1.
    fn number(&mut self) -> f64 {
        (self.0.next_u64() as i64) as f64 / 2f64.powi(63)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n
    }

    /// Returns a case with numbers near 1, of which those of `x - mean` often have the exponent of neither.
    fn start(&mut self) -> Case {
        let mean = 1.5 + 0.5 * self.number();
        let x = (self.number() * 2f64.powi(2 - self.below(8) as i32)) as f32;
        let scale = 1.0 + 2f64.powi(-(self.below(14) as i32)) * self.number().abs();
        let scaled = (f64::from(x) - mean) * scale;
        let bias = [0.0, scaled * self.number(), -1.5 * scaled, scaled + 1e-3][self.below(4) as usize];
        Case { x, mean, scale, bias }
    }

    /// Changes one number of a case a little: a double by parts of a unit in the last place of an f32, or by many of
    /// them.
    fn changed(&mut self, case: &Case) -> Case {
        let mut case = *case;
        let size = 2f64.powi(self.below(22) as i32 - 26);
        match self.below(4) {
            0 => case.x *= (1.0 + size * self.number()) as f32,
            1 => case.mean *= 1.0 + size * self.number(),
            2 => case.scale *= 1.0 + size * self.number(),
            _ => case.bias *= 1.0 + size * self.number(),
        }
        case
    }
}

/// Searches for the worst inputs: many cases climb, and the best ones of each generation replace the worst.
#[test]
fn the_worst_inputs_come_close_to_the_bound() {
    const CASES: usize = 512;
    let mut random = Random(ChaCha8Rng::seed_from_u64(1));
    let mut best: Vec<(f64, Case)> = (0..CASES).map(|_| (0.0, random.start())).collect();
    for generation in 0..1500 {
        let cases: Vec<Case> = best.iter().map(|(_, case)| random.changed(case)).collect();
        for ((best, case), y) in best.iter_mut().zip(cases.iter().copied()).zip(outputs(&cases)) {
            let error = case.error(y);
            assert!(error <= 1.0, "{case:?}: {error} of what is allowed");
            if error > best.0 {
                *best = (error, case);
            }
        }
        if generation % 50 == 49 {
            best.sort_by(|a, b| b.0.total_cmp(&a.0));
            for at in CASES * 7 / 8..CASES {
                best[at] = best[at - CASES * 7 / 8];
            }
        }
    }
    best.sort_by(|a, b| b.0.total_cmp(&a.0));
    let cases: Vec<Case> = best[..16].iter().map(|(_, case)| *case).collect();
    let worst = cases.iter().zip(outputs(&cases)).map(|(case, y)| case.exact_error(y)).fold(0.0, f64::max);
    println!("{:?}: {worst} of what is allowed", cases[0]);
    assert!(worst <= 1.0, "the bound does not hold");
    assert!(worst > 0.95, "the search finds only {worst} of what is allowed");
}

/// Returns numbers of every size, of which many are special.
fn any_number(random: &mut Random, largest: i32) -> f64 {
    let special = [0.0, -0.0, 1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-45, 0.1, 3e-320];
    match random.below(6) {
        0 => special[random.below(special.len() as u64) as usize],
        1 => random.number(),
        _ => random.number() * 2f64.powi(random.below(2 * largest as u64 + 1) as i32 - largest),
    }
}

/// Returns values of every size, and the neighbours of the mean.
fn any_value(random: &mut Random, mean: f64) -> f32 {
    match random.below(3) {
        0 => f32::from_bits(random.0.next_u64() as u32),
        1 => f32::from_bits((mean as f32).to_bits().wrapping_add(random.below(5) as u32).wrapping_sub(2)),
        _ => any_number(random, 150) as f32,
    }
}

/// Any parameters and values: within the bound where the output is finite, and else of the class that f64 gives.
#[test]
fn any_parameters_are_within_the_bound() {
    let mut random = Random(ChaCha8Rng::seed_from_u64(2));
    let mut finite = 0;
    for _ in 0..400 {
        let cases: Vec<Case> = (0..500)
            .map(|_| {
                let (mean, scale, bias) =
                    (any_number(&mut random, 160), any_number(&mut random, 160), any_number(&mut random, 130));
                Case { x: any_value(&mut random, mean), mean, scale, bias }
            })
            .collect();
        for (case, y) in cases.iter().zip(outputs(&cases)) {
            let scaled = (f64::from(case.x) - case.mean) * case.scale;
            let exact = scaled + case.bias;
            if exact.is_nan() || exact.is_infinite() {
                let same = y.is_nan() && exact.is_nan() || f64::from(y) == exact;
                assert!(same, "{case:?}: {y} instead of {exact}");
            } else if exact.abs() > f64::from(f32::MAX) * (1.0 - 16.0 * U) {
                assert!(y.abs() > 3.4e38 && f64::from(y.signum()) == exact.signum(), "{case:?}: {y} of {exact}");
            } else {
                finite += 1;
                let error = case.error(y);
                assert!(error <= 1.0 + 1e-6, "{case:?}: {y:e} instead of {exact:e}, {error} of what is allowed");
            }
        }
    }
    assert!(finite > 50_000, "only {finite} outputs were finite");
}

/// A feature that f32 cannot hold, and the values that show it.
fn out_of_range() -> Vec<Case> {
    let case = |x, mean, scale, bias| Case { x, mean, scale, bias };
    vec![
        case(3e30, 2f64.powi(103), 1e-31, 1.0),
        case(f32::MAX, -3e38, 0.1, 0.0),
        case(1.5, 1e60, 0.7, 0.0),
        case(1.5, 0.3, 1e-39, 0.0),
        case(1e-39, 3e-40, 1e39, 0.25),
        case(1.0, 0.3, 0.5, 2e30),
        case(2.0, 0.1, 1.0, -1e300),
        case(2.0, 0.1, 1.0, f64::INFINITY),
        // A mean among f32's subnormal numbers, and a scale that makes normal numbers of them.
        case(f32::from_bits(5), 4.4 * 2f64.powi(-149), 1e36, 0.0),
        // A product that is -0.0 only if the value's sign is left as it is.
        case(-0.0, 0.0, 1e-39, -0.0),
        case(0.0, 0.0, 1e-39, -0.0),
    ]
}

/// Those features have the bits of f64, others do not change them, and they do not change others.
#[test]
fn features_out_of_range_have_the_bits_of_f64() {
    let ordinary = Case { x: 2.7, mean: 0.3, scale: 1.3, bias: 0.1 };
    let unlike: Vec<Case> = out_of_range();
    let mixed: Vec<Case> = unlike.iter().flat_map(|case| [*case, ordinary]).collect();
    let rows = 7;
    let row: Vec<f32> = mixed.iter().map(|case| case.x).collect();
    let x: Vec<f32> = (0..rows).flat_map(|i| row.iter().map(move |x| x * (1.0 - i as f32 / 8.0))).collect();
    let norm = layer(&mixed);
    let single = run(&norm.clone().with_path(Path::Scalar), &x);
    let double = run(&norm.clone().with_path(Path::Scalar).with_precision(Precision::Double), &x);
    let ordinary_values: Vec<f32> = x.iter().copied().skip(1).step_by(2).collect();
    let alone = run(&layer(&vec![ordinary; unlike.len()]), &ordinary_values);
    let half = |y: &[f32], from: usize| y.iter().copied().skip(from).step_by(2).collect::<Vec<_>>();
    assert_same_bits("out of range", &half(&double, 0), &half(&single, 0));
    assert_same_bits("others", &alone, &half(&single, 1));
    assert_ne!(half(&double, 1), half(&single, 1), "the others were to be computed in f32");
    for (name, y) in by_every_path(|path| run(&norm.clone().with_path(path), &x)) {
        assert_same_bits(&name, &single, &y);
    }
}

/// The same in training: features of large and of tiny values, between ordinary ones.
#[test]
fn trained_features_out_of_range_have_the_bits_of_f64() {
    trained_out_of_range(4, 3);
    // Block by block of features.
    trained_out_of_range(12, 5000);
}

fn trained_out_of_range(outer: usize, inner: usize) {
    let sizes = [1.0f32, 1e-40, 3e38, 1e-37, 1.0, 1e37];
    let (features, layout) = (sizes.len(), Layout::ncl(outer, sizes.len(), inner));
    let of = |at: usize| at / inner % features;
    let x: Vec<f32> =
        (0..outer * features * inner).map(|at| sizes[of(at)] * (1.0 - (at * 7 % 11) as f32 / 8.0)).collect();
    let trained = |path: Path, precision| {
        let mut bn = BatchNorm::new(features).with_eps(0.0).expect("an eps").with_path(path).with_precision(precision);
        bn.set_bias(&vec![0.3; features]).expect("biases");
        let mut y = x.clone();
        if path == Path::Scalar {
            bn.forward_train_in_place(BatchMut::new(&mut y, layout).expect("y")).expect("trains");
        } else {
            let (x, y) = (Batch::new(&x, layout).expect("x"), BatchMut::new(&mut y, layout).expect("y"));
            bn.forward_train(x, y).expect("trains");
        }
        y
    };
    let single = trained(Path::Scalar, Precision::Single);
    let double = trained(Path::Scalar, Precision::Double);
    for at in 0..x.len() {
        if [1e-40, 3e38].contains(&sizes[of(at)]) {
            assert_eq!(single[at].to_bits(), double[at].to_bits(), "value {at} of {:e}", sizes[of(at)]);
        }
        assert!((single[at] - double[at]).abs() <= 1e-6, "value {at}: {} and {}", single[at], double[at]);
    }
    assert_ne!(single, double, "some features were to be computed in f32");
    for (name, y) in by_every_path(|path| trained(path, Precision::Single)) {
        assert_same_bits(&name, &single, &y);
    }
}

/// Mean and variance fade away where a feature is 0 for long. f32 holds what is left of them.
#[test]
fn features_that_fade_stay_in_f32() {
    let mut bn = BatchNorm::new(1);
    let mut differ = 0;
    for exponent in 0..320 {
        bn.set_running_mean(&[10f64.powi(-exponent) / 3.0]).expect("a mean");
        bn.set_running_var(&[10f64.powi(-exponent) / 7.0]).expect("a variance");
        let norm = bn.to_inference();
        let x: Vec<f32> = (0..32).map(|i| 0.37 * i as f32).collect();
        let (single, double) = (run(&norm, &x), run(&norm.with_precision(Precision::Double), &x));
        differ += usize::from(single != double);
    }
    assert!(differ > 300, "only {differ} features have bits of their own in f32");
}

/// A precision is part of what an inference object is, and can be changed there.
#[test]
fn precision_is_an_option() {
    let mut bn = BatchNorm::new(1).with_precision(Precision::Double);
    bn.set_running_mean(&[0.1]).expect("a mean");
    let (double, single) = (bn.to_inference(), bn.clone().with_precision(Precision::Single).to_inference());
    assert_eq!((double.precision(), single.precision()), (Precision::Double, Precision::Single));
    assert_ne!(double, single);
    assert_eq!(double.clone().with_precision(Precision::Single), single);
    let x: Vec<f32> = (0..100).map(|i| 0.37 * i as f32).collect();
    assert_ne!(run(&double, &x), run(&single, &x));
    assert_same_bits("changed", &run(&single, &x), &run(&double.with_precision(Precision::Single), &x));
}
