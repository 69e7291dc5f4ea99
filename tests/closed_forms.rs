//! Data whose moments are known without summing. Tests the oracle on them first, then every path.

mod common;

use batchnorm::{Batch, BatchMut, BatchNorm, Element, Layout, Path, moments};
use common::by_every_path;
use common::nasty::{Kind, batch};
use common::oracle::{exact, rational, root};
use num_bigint::BigInt;
use num_rational::BigRational;

fn ratio(numerator: i64, denominator: i64) -> BigRational {
    BigRational::new(BigInt::from(numerator), BigInt::from(denominator))
}

/// `from + step * i` for `i < n` has mean `from + step * (n - 1) / 2` and m2 `step^2 * n * (n^2 - 1) / 12`.
#[test]
fn the_oracle_on_arithmetic_progressions() {
    // The last four: eighths, which are the last place of an f64 at 1e15; subnormals; and the largest numbers.
    for (from, step) in [
        (1.0, 1.0),
        (0.0, -3.0),
        (0.1, 2f64.powi(-56)),
        (1e15, 0.125),
        (-1e15, 0.125),
        (0.0, f64::from_bits(1)),
        (2f64.powi(1023), 2f64.powi(971)),
    ] {
        for n in [1i64, 2, 3, 10, 999, 1000] {
            let exact = exact((0..n).map(|i| from + step * i as f64));
            assert_eq!(exact.mean, rational(from) + rational(step) * ratio(n - 1, 2), "{n} from {from:e} by {step:e}");
            let square = rational(step) * rational(step);
            assert_eq!(exact.m2, &square * ratio(n * (n * n - 1), 12), "{n} from {from:e} by {step:e}");
            assert_eq!(exact.variance(0), square * ratio(n * n - 1, 12), "{n} from {from:e} by {step:e}");
        }
    }
}

/// `p` times `a` and `q` times `b` have mean `(p * a + q * b) / (p + q)` and m2 `p * q / (p + q) * (a - b)^2`.
#[test]
fn the_oracle_on_two_points() {
    for (a, b) in [(0.0, 1.0), (-1.0, 1.0), (1e15, 1e15 + 0.125), (0.1, -0.3), (f64::MAX, -f64::MAX)] {
        for (p, q) in [(1i64, 1i64), (1, 999), (7, 3), (500, 0)] {
            let values = (0..p).map(|_| a).chain((0..q).map(|_| b));
            let exact = exact(values);
            let (exact_a, exact_b) = (rational(a), rational(b));
            let mean = (&exact_a * ratio(p, 1) + &exact_b * ratio(q, 1)) / ratio(p + q, 1);
            assert_eq!(exact.mean, mean, "{p} of {a:e}, {q} of {b:e}");
            let gap = exact_a - exact_b;
            assert_eq!(exact.m2, &gap * &gap * ratio(p * q, p + q), "{p} of {a:e}, {q} of {b:e}");
        }
    }
}

#[test]
fn the_oracle_takes_roots() {
    let last_place = BigRational::new(BigInt::from(1), BigInt::from(1) << 600u32);
    for x in [ratio(2, 1), ratio(1, 3), rational(1e-30), rational(1e300)] {
        let (low, high) = (root(&x), root(&x) + &last_place);
        assert!(&low * &low <= x && x < &high * &high, "{x}");
    }
    assert_eq!(root(&rational(6.25)), rational(2.5));
}

/// Shapes in which any eight rows hold whole pairs of neighbours: columns, narrow and wide tables, small planes, planes
/// of several rows, and planes longer than a chunk.
const LAYOUTS: [Layout; 12] = [
    Layout::nc(2, 3),
    Layout::nc(600, 1),
    Layout::nc(100_000, 1),
    Layout::nc(33_334, 3),
    Layout::nc(2000, 65),
    Layout::nc(8, 1030),
    Layout::ncl(400, 3, 7),
    Layout::nchw(16, 5, 7, 7),
    Layout::nchw(3, 2, 14, 14),
    Layout::nchw(5, 3, 56, 56),
    Layout::nchw(1, 2, 300, 300),
    Layout::ncl(1, 1, 32_770),
];

/// Returns a batch whose feature `f` is `mean + d, mean - d` in turn, with `d = (1 + (pair + f) % 8) / 2`, and the sum
/// of `d^2` over each feature.
fn pairs<T: Element>(mean: f64, layout: Layout) -> (Vec<T>, Vec<f64>) {
    let (features, inner) = (layout.features(), layout.inner());
    let mut squares = vec![0; features];
    let mut data = Vec::new();
    for at in 0..layout.checked_len().expect("a small layout") {
        let feature = at / inner % features;
        let place = at / (features * inner) * inner + at % inner;
        let halves = 1 + (place / 2 + feature) % 8;
        squares[feature] += halves * halves;
        let d = halves as f64 / 2.0;
        data.push(T::from_f64(mean + if place.is_multiple_of(2) { d } else { -d }));
    }
    (data, squares.into_iter().map(|quarters| quarters as f64 / 4.0).collect())
}

fn check_pairs<T: Element>(mean: f64) {
    for layout in LAYOUTS {
        let (data, m2) = pairs::<T>(mean, layout);
        let x = Batch::new(&data, layout).expect("a batch");
        let mut results = by_every_path(|path| path.moments(x));
        results.push(("scalar".into(), Path::Scalar.moments(x)));
        for (name, moments) in results {
            for (feature, m2) in m2.iter().enumerate() {
                let given = (moments.mean(feature), moments.m2(feature));
                let element = std::any::type_name::<T>();
                assert_eq!(given, (mean, *m2), "{name}, {layout}, {element} about {mean:e}, feature {feature}");
            }
        }
    }
}

/// Pairs about one mean, with few digits, so that sums are exact in any order and results must be equal (a technique
/// from oneDNN's tests).
#[test]
fn exact_sums_are_exact() {
    for mean in [0.0, 1024.0, -65_536.0] {
        check_pairs::<f32>(mean);
        check_pairs::<f64>(mean);
    }
    for mean in [2f64.powi(40), -1e12, 1e15] {
        check_pairs::<f64>(mean);
    }
}

/// Checks that `mean + d` and `mean - d` in turn normalise to exactly plus and minus the weight, plus the bias, where
/// `d` is a power of two.
fn check_normalised<T: Element>(mean: f64, d: f64) {
    for layout in LAYOUTS {
        let (features, inner) = (layout.features(), layout.inner());
        let is_upper = |at: usize| (at / (features * inner) * inner + at % inner).is_multiple_of(2);
        let len = layout.checked_len().expect("a small layout");
        let data: Vec<T> = (0..len).map(|at| T::from_f64(mean + if is_upper(at) { d } else { -d })).collect();
        let x = Batch::new(&data, layout).expect("x");
        let train = |path: Path| {
            let mut bn = BatchNorm::new(features).with_eps(0.0).expect("fine").with_path(path);
            bn.set_weight(&vec![1.5; features]).expect("weights");
            bn.set_bias(&vec![-0.25; features]).expect("biases");
            let mut y = data.clone();
            bn.forward_train(x, BatchMut::new(&mut y, layout).expect("y")).expect("trains");
            y
        };
        let mut results = by_every_path(train);
        results.push(("scalar".into(), train(Path::Scalar)));
        for (name, y) in results {
            let wrong = (0..len).find(|&at| y[at].to_f64() != if is_upper(at) { 1.25 } else { -1.75 });
            assert_eq!(wrong, None, "{name}, {layout}, {} about {mean:e}, {d}", std::any::type_name::<T>());
        }
    }
}

#[test]
fn two_points_normalise_exactly() {
    for (mean, d) in [(0.0, 1.0), (1024.0, 0.5), (-65_536.0, 0.25)] {
        check_normalised::<f32>(mean, d);
        check_normalised::<f64>(mean, d);
    }
    check_normalised::<f64>(1e15, 0.125);
}

/// If values are scaled by a power of two, the mean is scaled by it and the variance by its square, to the last bit.
/// This holds even for results near the end of f64's range, where products of halves would exceed it.
#[test]
fn powers_of_two_scale_results_exactly() {
    for layout in [Layout::nc(2, 50), Layout::nc(2000, 7), Layout::ncl(3, 4, 40_000)] {
        for kind in [Kind::Normal, Kind::Offset(1e3)] {
            let data = batch::<f64>(kind, 21, layout);
            let plain = moments(Batch::new(&data, layout).expect("a batch"));
            for power in [-400, -60, 60, 450, 488, 500] {
                let scale = 2f64.powi(power);
                let data: Vec<f64> = data.iter().map(|x| x * scale).collect();
                let scaled = moments(Batch::new(&data, layout).expect("a batch"));
                for feature in 0..layout.features() {
                    assert_eq!(scaled.mean(feature), plain.mean(feature) * scale, "{kind:?}, 2^{power}");
                    assert_eq!(scaled.m2(feature), plain.m2(feature) * scale * scale, "{kind:?}, 2^{power}");
                    for ddof in [0.0, 1.0] {
                        let variance = plain.variance(feature, ddof) * scale * scale;
                        assert_eq!(scaled.variance(feature, ddof), variance, "{kind:?}, 2^{power}, ddof {ddof}");
                    }
                }
            }
        }
    }
}

/// Deviations whose squares are nearly subnormal are left to the fallback. The mean lies a third of a unit in the last
/// place above the nearest f64, so m2 depends on what the shift leaves over.
#[test]
fn tiny_deviations_of_one_unit_in_the_last_place() {
    let (a, unit) = (2f64.powi(-432), 2f64.powi(-484));
    let m2 = rational(unit) * rational(unit) * ratio(2, 3);
    let expected = 2.0 * unit * unit / 3.0;
    assert_eq!(exact([a, a, a + unit].into_iter()).m2, m2);
    let data = [a, a, a + unit];
    let x = Batch::new(&data, Layout::nc(3, 1)).expect("three values");
    let mut results = by_every_path(|path| path.moments(x));
    results.push(("scalar".into(), Path::Scalar.moments(x)));
    for (path, m) in results {
        assert_eq!((m.mean(0), m.m2(0)), (a, expected), "{path}");
    }
}
