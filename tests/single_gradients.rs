//! Gradients of f32 batches that are computed in f32: their bound, how close the worst inputs come to it, and which
//! features are left to f64.

mod common;

use batchnorm::{
    Batch, BatchMut, BatchNorm, GradOutput, GradientSums, GradientSumsParts, Layout, Moments, MomentsParts, Path,
    Precision,
};
use common::oracle::{error_in, nearest, rational};
use common::{assert_same_bits, by_every_path};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const U: f64 = f32::EPSILON as f64 / 2.0;

/// Values per feature of the batch of which the rows here are a shard. Its variances are 1.
const COUNT: f64 = 4.0;

/// One value of a feature, and what the parameters of the feature are made of.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Case {
    x: f32,
    dy: f32,
    mean: f64,
    mean_dy: f64,
    slope: f64,
    scale: f64,
}

impl Case {
    /// Returns the error that is allowed, given `dy - mean_dy`, `(x - mean) * slope` and `dx`.
    fn allowed(&self, of_dy: f64, of_x: f64, dx: f64) -> f64 {
        let terms = 2.001 * U * of_dy.abs() // GRADIENT_SINGLE_DY
            + 4.001 * U * of_x.abs(); // GRADIENT_SINGLE_X
        let least = 2f64.powi(-38) * (self.mean_dy.abs() + self.slope.abs());
        (terms + least) * self.scale.abs()
            + 3.001 * U * dx.abs() // GRADIENT_SINGLE_DX
            + 2f64.powi(-149)
    }

    /// Returns the error of `dx` as a fraction of what is allowed, roughly: the exact value is computed in f64.
    fn error(&self, dx: f32) -> f64 {
        let (of_dy, of_x) = (f64::from(self.dy) - self.mean_dy, (f64::from(self.x) - self.mean) * self.slope);
        let exact = (of_dy - of_x) * self.scale;
        (f64::from(dx) - exact).abs() / self.allowed(of_dy, of_x, exact)
    }

    /// Returns the error of `dx` as a fraction of what is allowed, in exact arithmetic.
    fn exact_error(&self, dx: f32) -> f64 {
        let of_dy = rational(self.dy.into()) - rational(self.mean_dy);
        let of_x = (rational(self.x.into()) - rational(self.mean)) * rational(self.slope);
        let exact = (&of_dy - &of_x) * rational(self.scale);
        error_in(dx.into(), &exact, self.allowed(nearest(&of_dy), nearest(&of_x), nearest(&exact)))
    }
}

/// Computes `dx` of rows in which each case is a feature. `dy` and `x` may be rows of other values.
fn run(cases: &[Case], x: &[f32], dy: &[f32], relu: Option<&[f32]>, path: Path, precision: Precision) -> Vec<f32> {
    let features = cases.len();
    let of = |part: &dyn Fn(&Case) -> f64| cases.iter().map(part).collect::<Vec<_>>();
    let (counts, zero) = (vec![COUNT as u64; features], vec![0.0; features]);
    let moments = Moments::from_parts(MomentsParts {
        counts: &counts,
        means: &of(&|case| case.mean),
        means_middle: &zero,
        means_low: &zero,
        m2s: &vec![COUNT; features],
        m2s_low: &zero,
    });
    let sums = GradientSums::from_parts(GradientSumsParts {
        counts: &counts,
        sum_dy: &of(&|case| case.mean_dy * COUNT),
        sum_dy_low: &zero,
        sum_dy_xmu: &of(&|case| case.slope * COUNT),
        sum_dy_xmu_low: &zero,
    });
    let mut bn = BatchNorm::new(features).with_eps(0.0).expect("an eps").with_path(path).with_precision(precision);
    bn.set_weight(&of(&|case| case.scale)).expect("weights");
    let (layout, mut dx) = (Layout::nc(x.len() / features, features), x.to_vec());
    let [x, dy] = [x, dy].map(|data| Batch::new(data, layout).expect("a batch"));
    let dy = match relu {
        Some(y) => GradOutput::through_relu(dy, Batch::new(y, layout).expect("y")).expect("one layout"),
        None => dy.into(),
    };
    let to = BatchMut::new(&mut dx, layout).expect("dx");
    bn.backward_apply(&moments.expect("moments"), &sums.expect("sums"), x, dy, to).expect("gradients");
    dx
}

fn outputs(cases: &[Case], precision: Precision) -> Vec<f32> {
    let of = |part: fn(&Case) -> f32| cases.iter().map(part).collect::<Vec<_>>();
    run(cases, &of(|case| case.x), &of(|case| case.dy), None, Path::Auto, precision)
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

    /// Returns a case with numbers near 1, of which the differences often have other exponents.
    fn start(&mut self) -> Case {
        let (mean, mean_dy) = (1.5 + 0.5 * self.number(), 1.5 + 0.5 * self.number());
        let [x, dy] = [(); 2].map(|()| (self.number() * 2f64.powi(2 - self.below(8) as i32)) as f32);
        let [slope, scale] = [(); 2].map(|()| 1.0 + 2f64.powi(-(self.below(14) as i32)) * self.number().abs());
        Case { x, dy, mean, mean_dy, slope: slope * [1.0, -1.0, 1e-2][self.below(3) as usize], scale }
    }

    /// Changes one number of a case a little: a double by parts of a unit in the last place of an f32, or by many of
    /// them.
    fn changed(&mut self, case: &Case) -> Case {
        let mut case = *case;
        let factor = 1.0 + 2f64.powi(self.below(22) as i32 - 26) * self.number();
        match self.below(6) {
            0 => case.x *= factor as f32,
            1 => case.dy *= factor as f32,
            2 => case.mean *= factor,
            3 => case.mean_dy *= factor,
            4 => case.slope *= factor,
            _ => case.scale *= factor,
        }
        case
    }

    /// Returns a number of any exponent from `-range` to `range`, of either sign.
    fn any(&mut self, range: i32) -> f64 {
        (1.0 + self.number().abs()) * 2f64.powf(f64::from(range) * self.number()) * self.number().signum()
    }
}

/// Searches for the worst inputs: many cases climb, and the best ones of each generation replace the worst.
#[test]
fn the_worst_inputs_come_close_to_the_bound() {
    const CASES: usize = 512;
    let mut random = Random(ChaCha8Rng::seed_from_u64(1));
    let mut best: Vec<(f64, Case)> = (0..CASES).map(|_| (0.0, random.start())).collect();
    for generation in 0..3000 {
        let cases: Vec<Case> = best.iter().map(|(_, case)| random.changed(case)).collect();
        for ((best, case), dx) in best.iter_mut().zip(cases.iter().copied()).zip(outputs(&cases, Precision::Single)) {
            let error = case.error(dx);
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
    let dx = outputs(&cases, Precision::Single);
    let worst = cases.iter().zip(dx).map(|(case, dx)| case.exact_error(dx)).fold(0.0, f64::max);
    println!("{:?}: {worst} of what is allowed", cases[0]);
    assert!(worst <= 1.0, "the bound does not hold");
    assert!(worst >= 0.9, "the bound could be smaller");
}

/// Any parameters and values: within the bound where `dx` is finite in f64, and infinite or NaN where that is.
#[test]
fn any_parameters_are_within_the_bound() {
    let mut random = Random(ChaCha8Rng::seed_from_u64(2));
    let (mut in_single, mut compared) = (0, 0);
    for round in 0..400 {
        let cases: Vec<Case> = (0..256)
            .map(|_| {
                let range = [8, 60, 100, 148][round % 4];
                let (mean, mean_dy) = (random.any(range), random.any(range));
                let x = mean + 2.0 * random.number();
                let dy = mean_dy * (1.0 + random.any(3)) + random.number();
                let (slope, scale) = (random.any(range), random.any(range));
                Case { x: x as f32, dy: dy as f32, mean, mean_dy, slope, scale }
            })
            .collect();
        let (single, double) = (outputs(&cases, Precision::Single), outputs(&cases, Precision::Double));
        for ((case, dx), double) in cases.iter().zip(single).zip(double) {
            // No deviation is larger than sqrt(n) standard deviations.
            if (f64::from(case.x) - case.mean).abs() > COUNT.sqrt() {
                continue;
            }
            in_single += usize::from(dx.to_bits() != double.to_bits());
            if !double.is_finite() || !case.x.is_finite() || !case.dy.is_finite() {
                assert!(!dx.is_finite() || dx.abs() > f32::MAX / 2.0, "{case:?}: {dx:e} for {double:e}");
            } else if dx.is_finite() || double.abs() < f32::MAX / 2.0 {
                compared += 1;
                let error = case.exact_error(dx);
                assert!(error <= 1.0, "{case:?}: {dx:e} for {double:e} is {error} of what is allowed off");
            }
        }
    }
    println!("{compared} compared, {in_single} unlike those of f64");
    assert!(compared > 50_000 && in_single > 10_000, "too few were compared");
}

/// Features whose parameters f32 does not hold.
fn out_of_range() -> Vec<Case> {
    let case = |x, dy, mean, mean_dy, slope, scale| Case { x, dy, mean, mean_dy, slope, scale };
    vec![
        case(3e30, 1.0, 2f64.powi(103), 0.5, 1e-31, 1.0),
        case(f32::MAX, 0.7, -3e38, 0.25, 1e-38, 3.0),
        case(1.5, 3e30, 0.3, 2e30, 0.7, 1e-9),
        case(1.5, 0.7, 0.3, 0.2, 1e-39, 1.0),
        case(1e-38, 0.7, 3e-39, 0.2, 1e38, 1e-3),
        case(1.5, 0.7, 0.3, 0.2, 0.4, 1e-39),
        case(1.5, 1e-38, 0.3, 2e-39, 4e-40, 1e38),
        case(1.5, 0.7, 0.3, 0.2, 0.4, f64::INFINITY),
        // Gradients that f32 holds, but not their products by deviations.
        case(1.3, 1e-36, 1.0, 2e-37, 3e-37, 1e30),
        // A mean among f32's subnormal numbers, and a slope that makes normal numbers of them.
        case(f32::from_bits(5), 0.7, 4.4 * 2f64.powi(-149), 0.2, 1e36, 1.0),
    ]
}

/// The same in a whole step, block by block of features: with tiny and large features between ordinary ones.
#[test]
fn trained_features_out_of_range_have_the_bits_of_f64() {
    let sizes = [1.0f32, 1e-40, 3e38, 1e-37, 1.0, 1e37];
    let (features, layout) = (sizes.len(), Layout::ncl(12, sizes.len(), 5000));
    let of = |at: usize| at / 5000 % features;
    let x: Vec<f32> = (0..12 * features * 5000).map(|at| sizes[of(at)] * (1.0 - (at * 7 % 11) as f32 / 8.0)).collect();
    let dy: Vec<f32> = (0..x.len()).map(|at| (at * 5 % 13) as f32 - 6.0).collect();
    let moments = batchnorm::moments(Batch::new(&x, layout).expect("x"));
    let gradient = |path: Path, precision, in_place: bool| {
        let bn = BatchNorm::new(features).with_eps(0.0).expect("an eps").with_path(path).with_precision(precision);
        let (x, mut dx) = (Batch::new(&x, layout).expect("x"), dy.clone());
        if in_place {
            let dy = BatchMut::new(&mut dx, layout).expect("dy");
            bn.backward_train_in_place(&moments, x, dy).expect("gradients");
        } else {
            let (dy, dx) = (Batch::new(&dy, layout).expect("dy"), BatchMut::new(&mut dx, layout).expect("dx"));
            bn.backward_train(&moments, x, dy, dx).expect("gradients");
        }
        dx
    };
    let single = gradient(Path::Scalar, Precision::Single, false);
    let double = gradient(Path::Scalar, Precision::Double, false);
    for at in 0..x.len() {
        if [1e-40, 3e38].contains(&sizes[of(at)]) {
            assert_eq!(single[at].to_bits(), double[at].to_bits(), "value {at} of {:e}", sizes[of(at)]);
        }
    }
    assert_ne!(single, double, "some features were to be computed in f32");
    for in_place in [false, true] {
        for (name, dx) in by_every_path(|path| gradient(path, Precision::Single, in_place)) {
            assert_same_bits(&format!("{name}, in place: {in_place}"), &single, &dx);
        }
    }
}

/// Those features have the bits of f64, others do not change them, and they do not change others.
#[test]
fn features_out_of_range_have_the_bits_of_f64() {
    let ordinary = Case { x: 2.7, dy: 0.7, mean: 0.3, mean_dy: 0.1, slope: 0.7, scale: 1.3 };
    let mixed: Vec<Case> = out_of_range().iter().flat_map(|case| [*case, ordinary]).collect();
    let rows = |part: fn(&Case) -> f32| -> Vec<f32> {
        let row: Vec<f32> = mixed.iter().map(part).collect();
        (0..7).flat_map(|i| row.iter().map(move |value| value * (1.0 - i as f32 / 8.0))).collect()
    };
    let (x, dy) = (rows(|case| case.x), rows(|case| case.dy));
    // A ReLU that lets every third value through.
    let relu: Vec<f32> = (0..x.len()).map(|at| if at % 3 == 0 { 1.0 } else { -1.0 }).collect();
    let half = |dx: &[f32], from: usize| dx.iter().copied().skip(from).step_by(2).collect::<Vec<_>>();
    for relu in [None, Some(&relu[..])] {
        let dx = |path, precision| run(&mixed, &x, &dy, relu, path, precision);
        let (single, double) = (dx(Path::Scalar, Precision::Single), dx(Path::Scalar, Precision::Double));
        assert_same_bits("out of range", &half(&double, 0), &half(&single, 0));
        assert_ne!(half(&double, 1), half(&single, 1), "the others were to be computed in f32");
        let [ordinary_x, ordinary_dy] = [&x, &dy].map(|values| half(values, 1));
        let ordinary_relu = relu.map(|y| half(y, 1));
        let ordinaries = vec![ordinary; mixed.len() / 2];
        let relu = ordinary_relu.as_deref();
        let alone = run(&ordinaries, &ordinary_x, &ordinary_dy, relu, Path::Scalar, Precision::Single);
        assert_same_bits("others", &alone, &half(&single, 1));
        for (name, y) in by_every_path(|path| dx(path, Precision::Single)) {
            assert_same_bits(&name, &single, &y);
        }
    }
}
