//! Gradients against exact rationals of the closed form, within the bounds that the crate's documentation states.

mod common;

use batchnorm::{Batch, BatchMut, BatchNorm, Element, Layout, Precision, moments};
use common::nasty::{Kind, batch};
use common::oracle::{Exact, error_in, exact, exact_gradients, nearest, rational, root, ulp_f32};
use num_traits::Signed;

const U: f64 = f64::EPSILON / 2.0;

/// The error allowed for the sums of f32 data: factors of `sum(|dy|)` and of `sum(|dy * (x - mean)|)`.
const SUMS_F32: [f64; 2] = [
    64.0 * f64::EPSILON,  // GRADIENT_SUM_F32
    128.0 * f64::EPSILON, // GRADIENT_PRODUCTS_F32
];

/// The same for f64 data, in addition to the rounding of the result.
const SUMS_F64: [f64; 2] = [
    0.01 * U, // GRADIENT_SUM_F64
    3.0 * U,  // GRADIENT_PRODUCTS_F64
];

/// The error of the mean, in standard deviations.
const MEAN_F32: f64 = 3.9e-14;
const MEAN_F64: f64 = 2.0 * U;

/// The error allowed for `dx` that is computed in f64, in addition to that of the sums: a factor of
/// `(|dy| + |sum(dy) / n| + |(x - mean) * slope|) * scale`.
const INPUTS_F32: f64 = 7e-13; // GRADIENT_INPUT_F32
const INPUTS_F64: f64 = 28.0 * U; // GRADIENT_INPUT_F64

/// The error allowed for `dx` that is computed in f32, in addition to that of the sums: factors of
/// `|dy - sum(dy) / n| * scale`, of `|(x - mean) * slope| * scale` and of `|dx|`.
const INPUTS_SINGLE: [f64; 3] = [
    2.001 * U32, // GRADIENT_SINGLE_DY
    4.001 * U32, // GRADIENT_SINGLE_X
    3.001 * U32, // GRADIENT_SINGLE_DX
];

/// The unit roundoff of f32.
const U32: f64 = (f32::EPSILON / 2.0) as f64;

/// One feature, its layer and its exact sums.
struct Feature {
    x: Vec<f64>,
    dy: Vec<f64>,
    exact: Exact,
    eps: f64,
    weight: f64,
}

fn is_f32<T>() -> bool {
    size_of::<T>() == size_of::<f32>()
}

/// The gradients of the crate: of the weight, of the bias, of the inputs, and the two sums.
fn gradients<T: Element>(feature: &Feature, layout: Layout, precision: Precision) -> ([f64; 2], Vec<f64>, [f64; 2]) {
    let narrow = |values: &[f64]| values.iter().map(|v| T::from_f64(*v)).collect::<Vec<_>>();
    let (x, dy) = (narrow(&feature.x), narrow(&feature.dy));
    let (x, dy) = (Batch::new(&x, layout).expect("x"), Batch::new(&dy, layout).expect("dy"));
    let mut bn = BatchNorm::new(1).with_eps(feature.eps).expect("an eps").with_precision(precision);
    bn.set_weight(&[feature.weight]).expect("a weight");
    let (m, mut dx) = (moments(x), x.data().to_vec());
    let sums = bn.backward_sums(&m, x, dy).expect("sums");
    let given = bn.backward_train(&m, x, dy, BatchMut::new(&mut dx, layout).expect("dx")).expect("gradients");
    let dx = dx.iter().map(|dx| dx.to_f64()).collect();
    ([given.weight()[0], given.bias()[0]], dx, [sums.sum_dy()[0], sums.sum_dy_xmu()[0]])
}

/// Compares with exact arithmetic. Returns the errors as fractions of what is allowed: of the two sums, and of `dx`.
fn check<T: Element>(name: &str, feature: &Feature, layout: Layout, precision: Precision) -> [f64; 3] {
    let Feature { x, dy, exact, eps, weight } = feature;
    let count = rational(x.len() as f64);
    let sums = exact_gradients(dy, x, &exact.mean);
    let (sum, products) = (nearest(&sums.sum_dy), nearest(&sums.products));
    let ([of_weight, _], dx, given) = gradients::<T>(feature, layout, precision);

    // The sums.
    let (factors, of_mean) = if is_f32::<T>() { (SUMS_F32, MEAN_F32) } else { (SUMS_F64, MEAN_F64) };
    let allowed_sum = factors[0] * sums.magnitude + U * sum.abs();
    let shift = of_mean * exact.sd() * sum.abs();
    let allowed_products = factors[1] * sums.magnitude_of_products + U * products.abs() + shift;
    let of_sum = error_in(given[0], &sums.sum_dy, allowed_sum);
    let of_products = error_in(given[1], &sums.products, allowed_products);
    assert!(of_sum <= 1.0, "{name}: sum(dy) is {of_sum} of what is allowed off");
    assert!(of_products <= 1.0, "{name}: sum(dy * (x - mean)) is {of_products} of what is allowed off");

    // The weight.
    let variance = exact.variance(0) + rational(*eps);
    let inverse = rational(1.0) / root(&variance);
    let (of_inverse, of_inputs) = if is_f32::<T>() { (2.4e-13, INPUTS_F32) } else { (8.0 * U, INPUTS_F64) };
    let exact_weight = &sums.products * &inverse;
    let allowed = of_inverse * nearest(&exact_weight).abs() + allowed_products * nearest(&inverse);
    let error = error_in(of_weight, &exact_weight, allowed);
    assert!(error <= 1.0, "{name}: the gradient of the weight is {error} of what is allowed off");

    // The inputs.
    let (mean_dy, slope) = (&sums.sum_dy / &count, &sums.products / (&count * &variance));
    let projection = &sums.products * &inverse / &count;
    let scale = &inverse * rational(*weight);
    let (n, scale_f64) = (x.len() as f64, nearest(&scale).abs());
    let mut worst = 0f64;
    for at in (0..x.len()).step_by(x.len().div_ceil(500)) {
        let d = rational(x[at]) - &exact.mean;
        let through_variance = &d * &slope;
        let exact_dx = (rational(dy[at]) - &mean_dy - &through_variance) * &scale;
        let terms = [rational(dy[at]) - &mean_dy, through_variance, exact_dx.clone()].map(|term| nearest(&term).abs());
        let of_sums = allowed_sum / n + nearest(&d).abs() * allowed_products / (n * nearest(&variance));
        // The error of the mean, too, moves `x - mean`.
        let of_mean = of_mean * exact.sd() * nearest(&slope.abs());
        let allowed = (of_sums + of_mean) * scale_f64
            + if is_f32::<T>() && precision == Precision::Single {
                let [of_dy, of_x, of_dx] = INPUTS_SINGLE;
                let least = 2f64.powi(-38) * (nearest(&mean_dy).abs() + nearest(&projection).abs());
                (of_dy * terms[0] + of_x * terms[1] + least) * scale_f64 + of_dx * terms[2] + 2f64.powi(-149)
            } else {
                let rounding = if is_f32::<T>() { 0.5 * ulp_f32(terms[2]) } else { 0.0 };
                of_inputs * (dy[at].abs() + nearest(&mean_dy).abs() + terms[1]) * scale_f64 + rounding
            };
        worst = worst.max(error_in(dx[at], &exact_dx, allowed));
    }
    println!("{name}: of what is allowed, {of_sum:.3} {of_products:.3} {worst:.3}");
    assert!(worst <= 1.0, "{name}: dx is {worst} of what is allowed off");
    [of_sum, of_products, worst]
}

/// Returns a feature of one kind of `x` and one of `dy`, as values of the element type.
fn feature<T: Element>(x: Kind, dy: Kind, seed: u64, layout: Layout, eps: f64, weight: f64) -> Feature {
    let values = |kind, seed| batch::<T>(kind, seed, layout).iter().map(|v| v.to_f64()).collect::<Vec<_>>();
    let x = values(x, seed);
    Feature { exact: exact(x.iter().copied()), dy: values(dy, seed + 1000), x, eps, weight }
}

fn check_kinds<T: Element>(layout: Layout, precision: Precision) -> [f64; 3] {
    let of_x = [
        Kind::Normal,
        Kind::Offset(1e2),
        Kind::Offset(-1e4),
        Kind::Offset(1e6),
        Kind::Scaled(1e-15),
        Kind::Cauchy,
        Kind::Sorted,
        Kind::OutlierFirst,
        Kind::LastPlaces(3.000_000_2),
        Kind::Period(8),
        Kind::Whole,
    ];
    let of_dy = [Kind::Normal, Kind::Offset(1.0), Kind::Alternating(1e3), Kind::Spread, Kind::Few];
    let mut worst = [0f64; 3];
    for (i, x) in of_x.into_iter().enumerate() {
        for (j, dy) in of_dy.into_iter().enumerate() {
            let (eps, weight) = if (i + j) % 2 == 0 { (1e-5, 1.3) } else { (0.0, -0.7) };
            let name = format!("{x:?}, {dy:?}, {layout}, {}, {precision:?}", std::any::type_name::<T>());
            let ratios = check::<T>(&name, &feature::<T>(x, dy, 7, layout, eps, weight), layout, precision);
            for (worst, ratio) in worst.iter_mut().zip(ratios) {
                *worst = worst.max(ratio);
            }
        }
    }
    worst
}

#[test]
fn f32_gradients_are_within_their_bounds() {
    for layout in [Layout::nc(3000, 1), Layout::ncl(3, 1, 700)] {
        for precision in [Precision::Single, Precision::Double] {
            println!("at most {:?}", check_kinds::<f32>(layout, precision));
        }
    }
}

#[test]
fn f64_gradients_are_within_their_bounds() {
    for layout in [Layout::nc(3000, 1), Layout::ncl(3, 1, 700)] {
        println!("at most {:?}", check_kinds::<f64>(layout, Precision::Double));
    }
}

/// Gradients of the weight where the mean is large and the gradients of the outputs have a mean of 1: PyTorch's are up
/// to 27 times off at a mean of 100 standard deviations.
#[test]
fn a_large_mean_costs_nothing() {
    for (rows, mean) in [(10_000, 1e2), (10_000, 1e6), (100_000, 1e2), (100_000, 1e6)] {
        for layout in [Layout::nc(rows, 1), Layout::ncl(1, 1, rows)] {
            let name = format!("{layout}, mean {mean}");
            let of = feature::<f32>(Kind::Offset(mean), Kind::Offset(1.0), 3, layout, 1e-5, 1.0);
            for precision in [Precision::Single, Precision::Double] {
                check::<f32>(&format!("{name}, f32, {precision:?}"), &of, layout, precision);
            }
            check_weight::<f32>(&of, layout, 1e-12);
            let of = feature::<f64>(Kind::Offset(mean), Kind::Offset(1.0), 3, layout, 1e-5, 1.0);
            check::<f64>(&format!("{name}, f64"), &of, layout, Precision::Double);
            check_weight::<f64>(&of, layout, 1e-12);
        }
    }
    let of = feature::<f64>(Kind::Offset(1e12), Kind::Offset(1.0), 3, Layout::nc(10_000, 1), 1e-5, 1.0);
    check::<f64>("mean 1e12, f64", &of, Layout::nc(10_000, 1), Precision::Double);
}

/// Checks that the gradient of the weight is right, relative to itself.
fn check_weight<T: Element>(feature: &Feature, layout: Layout, most: f64) {
    let sums = exact_gradients(&feature.dy, &feature.x, &feature.exact.mean);
    let exact_weight = sums.products / root(&(feature.exact.variance(0) + rational(feature.eps)));
    let ([given, _], _, _) = gradients::<T>(feature, layout, Precision::Double);
    let error = error_in(given, &exact_weight, nearest(&exact_weight).abs());
    println!("the gradient of the weight, {given}, is off by {error:e} of itself");
    assert!(error <= most, "{layout}: {given} is off by {error:e} of itself");
}

/// Errors that line up: each `x - mean` is rounded by nearly half a unit, always to the same side.
#[test]
fn errors_that_line_up_come_near_the_bound() {
    // The mean is 1 + 2^-52 * k; deviations of 1 + a little more than half a unit are rounded up.
    let layout = Layout::nc(4096, 1);
    let high = 2.0 + f64::EPSILON;
    let x: Vec<f64> = (0..4096).map(|i| if i % 2 == 0 { high + 0.0 } else { -f64::EPSILON / 4.0 * 3.0 }).collect();
    let dy: Vec<f64> = (0..4096).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let feature = Feature { exact: exact(x.iter().copied()), x, dy, eps: 0.0, weight: 1.0 };
    println!("{:?}", check::<f64>("lined up", &feature, layout, Precision::Double));
}
