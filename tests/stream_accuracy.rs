//! Streams hold their error bounds against exact arithmetic, whatever the data, the mean and the number of rows.

mod common;

use batchnorm::{Batch, Ewm, Forgetting, Layout, Welford};
use common::nasty::{KINDS, batch};
use common::oracle::{error_in, exact, nearest, rational, ulp};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, Zero};

/// The unit roundoff of f64.
const U: f64 = 1.0 / (1u64 << 53) as f64;

/// A relative error of the variance, in u.
const VARIANCE: f64 = 212.0; // STREAM_VARIANCE
/// An error of the mean in u standard deviations, beside half a unit in its last place.
const MEAN_SD: f64 = 18.0; // STREAM_MEAN_SD

/// Errors of mean and variance as shares of their bounds, after all rows.
fn shares(values: &[f64], stream: &Welford) -> (f64, f64) {
    let exact = exact(values.iter().copied());
    let mean = error_in(stream.mean(0), &exact.mean, 1.0);
    let mean_bound = 0.5 * ulp(&exact.mean) + MEAN_SD * U * exact.sd();
    let variance = exact.variance(0);
    let given = stream.variance(0, 0.0);
    let variance_share = if variance.is_zero() {
        if given == 0.0 { 0.0 } else { f64::INFINITY }
    } else {
        let bound = VARIANCE * U * nearest(&variance) + 0.5 * ulp(&variance);
        error_in(given, &variance, 1.0) / bound
    };
    (if mean == 0.0 { 0.0 } else { mean / mean_bound }, variance_share)
}

/// Finite data whose squares stay in range.
fn in_range(values: &[f64]) -> bool {
    values.iter().all(|x| x.is_finite() && x.abs() < 1e140) && {
        let spread = values.iter().fold(0.0f64, |m, x| m.max((x - values[0]).abs()));
        spread == 0.0 || spread > 1e-140
    }
}

#[test]
fn every_kind_is_within_its_bound() {
    let mut worst = [(0.0, String::new()), (0.0, String::new())];
    for kind in KINDS {
        for (seed, rows) in [(1, 3), (2, 10), (3, 100), (4, 257), (5, 1000), (6, 4096)] {
            let values = batch::<f64>(kind, seed, Layout::nc(rows, 1));
            if !in_range(&values) {
                continue;
            }
            let mut stream = Welford::new(1);
            stream.push_rows(Batch::new(&values, Layout::nc(rows, 1)).expect("a column")).expect("fits");
            let (mean, variance) = shares(&values, &stream);
            for (share, worst) in [mean, variance].into_iter().zip(&mut worst) {
                if share > worst.0 {
                    *worst = (share, format!("{kind:?}, {rows} rows"));
                }
            }
            assert!(mean <= 1.0 && variance <= 1.0, "{kind:?}, {rows} rows: {mean} and {variance} of the bounds");
        }
    }
    let [(mean, mean_name), (variance, variance_name)] = worst;
    println!("mean: {mean:.3} of its bound ({mean_name}); variance: {:.2} u ({variance_name})", variance * VARIANCE);
}

/// A million rows at a mean of up to 3e14 standard deviations, in random order and rising.
#[test]
fn a_million_rows_keep_their_digits() {
    const ROWS: usize = 1_000_000;
    for mean in [1e6, 1e12, 3e14] {
        for rising in [false, true] {
            // Whole multiples of a power of two, so that values are exact.
            let unit = if mean > 1e14 { 1.0 / 16.0 } else { 1.0 / 4096.0 };
            let mut state = 7u64;
            let mut values: Vec<f64> = (0..ROWS)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    mean + ((state >> 40) as f64 / (1u64 << 24) as f64 * 3.5 / unit).floor() * unit
                })
                .collect();
            if rising {
                values.sort_by(f64::total_cmp);
            }
            let mut stream = Welford::new(1);
            let mut textbook = (0.0, 0.0);
            for (row, x) in values.iter().enumerate() {
                stream.push(&[*x]).expect("fits");
                let delta = x - textbook.0;
                textbook.0 += delta / (row + 1) as f64;
                textbook.1 += delta * (x - textbook.0);
            }
            let exact = exact(values.iter().copied()).variance(0);
            let error = |given: f64| error_in(given, &exact, ulp(&exact));
            let (given, by_textbook) = (error(stream.variance(0, 0.0)), error(textbook.1 / ROWS as f64));
            println!("mean {mean:e}, rising {rising}: {given:.2} units in the last place, textbook {by_textbook:.2e}");
            let (mean, variance) = shares(&values, &stream);
            assert!(mean <= 1.0 && variance <= 1.0, "{mean} and {variance} of the bounds");
            assert!(given < 4.0, "far below the bound, which is for any data");
        }
    }
}

/// Exponentially weighted numbers, from their definition in rationals.
#[test]
fn weighted_streams_are_within_their_bound() {
    let mut worst = 0.0f64;
    for kind in KINDS {
        for (alpha, adjust) in [(0.5, true), (0.5, false), (0.1, true), (0.01, false), (0.001, true)] {
            let values = batch::<f64>(kind, 9, Layout::nc(40, 1));
            if !in_range(&values) {
                continue;
            }
            let forgetting = Forgetting::from_alpha(alpha).expect("in range").with_adjust(adjust);
            let mut stream = Ewm::new(1, forgetting);
            stream.push_rows(Batch::new(&values, Layout::nc(40, 1)).expect("a column")).expect("fits");
            let Weighted { mean, variance, unbiased } = weighted(&values, alpha, adjust);
            let sd = nearest(&variance).sqrt();
            let mean_bound = 0.5 * ulp(&mean) + MEAN_SD * U * sd;
            assert!(error_in(stream.mean(0), &mean, 1.0) <= mean_bound, "{kind:?}, alpha {alpha}, {adjust}: mean");
            for (ddof, variance) in [(0.0, variance), (1.0, unbiased)] {
                if variance.is_zero() {
                    assert_eq!(stream.variance(0, ddof), 0.0, "{kind:?}");
                    continue;
                }
                let error = error_in(stream.variance(0, ddof), &variance, U * nearest(&variance));
                worst = worst.max(error);
                assert!(error <= VARIANCE, "{kind:?}, alpha {alpha}, {adjust}, ddof {ddof}: {error} u");
            }
        }
    }
    println!("weighted variance: {worst:.2} u");
}

struct Weighted {
    mean: BigRational,
    variance: BigRational,
    unbiased: BigRational,
}

fn weighted(values: &[f64], alpha: f64, adjust: bool) -> Weighted {
    let one = BigRational::from_integer(BigInt::from(1));
    let decay = &one - rational(alpha);
    let mut weights = vec![one.clone(); values.len()];
    if !adjust {
        weights[0] = &one / rational(alpha);
    }
    for last in 1..values.len() {
        for weight in &mut weights[..last] {
            *weight *= &decay;
        }
    }
    let sum = |term: &dyn Fn(&BigRational, &BigRational) -> BigRational| {
        values.iter().zip(&weights).fold(BigRational::zero(), |sum, (x, w)| sum + term(&rational(*x), w))
    };
    let total = sum(&|_, w| w.clone());
    let squares = sum(&|_, w| w * w);
    let mean = sum(&|x, w| x * w) / &total;
    let m2 = sum(&|x, w| (x - &mean) * (x - &mean) * w);
    assert!(!m2.is_negative());
    let variance = &m2 / &total;
    Weighted { mean, unbiased: m2 / (&total - squares / &total), variance }
}

/// Early on, or where alpha is nearly 1, one weight is nearly all: what is left of `total - squares / total` keeps its
/// digits. With two rows, the unbiased variance is half of their squared distance, whatever the weights.
#[test]
fn unbiased_variances_survive_uneven_weights() {
    for alpha in [1e-250, 1e-160, 1e-100, 1e-17, 1e-9, 0.5, 0.999_999, 1.0 - 1e-12, 1.0 - U] {
        for adjust in [false, true] {
            let mut stream = Ewm::new(1, Forgetting::from_alpha(alpha).expect("in range").with_adjust(adjust));
            for x in [1.0, 4.0] {
                stream.push(&[x]).expect("fits");
            }
            let error = (stream.variance(0, 1.0) - 4.5).abs() / 4.5 / U;
            assert!(error <= 16.0, "alpha {alpha}, {adjust}: {error} u");
            assert!(stream.mean(0) >= 1.0 && stream.variance(0, 0.0).is_finite(), "alpha {alpha}, {adjust}");
        }
    }
}

/// If alpha is 1, the mean is the newest row, however far from the one before.
#[test]
fn alpha_1_keeps_the_newest_row() {
    for (name, stream) in common::by_every_path(|path| {
        let mut stream = Ewm::new(3, Forgetting::from_alpha(1.0).expect("in range")).with_path(path);
        let rows = [1e16, 1.0, f64::MAX, f64::MIN, 1e-300, 3.0].map(|x| [x, -x, 5.0]);
        for row in rows {
            stream.push(&row).expect("fits");
            for (feature, x) in row.into_iter().enumerate() {
                assert_eq!((stream.mean(feature), stream.variance(feature, 0.0)), (x, 0.0), "{path:?}");
            }
        }
        let mut at_once = Ewm::new(3, stream.forgetting()).with_path(batchnorm::Path::Scalar);
        at_once.push_rows(Batch::new(rows.as_flattened(), Layout::nc(6, 3)).expect("rows")).expect("fits");
        assert!(at_once == stream, "{path:?}");
        stream
    }) {
        assert_eq!(stream.count(), 6, "{name}");
    }
}
