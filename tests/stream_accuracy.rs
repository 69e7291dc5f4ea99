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
const VARIANCE: f64 = 106.0; // STREAM_VARIANCE
/// An error of the mean in u standard deviations, beside half a unit in its last place.
const MEAN_SD: f64 = 11.0; // STREAM_MEAN_SD
/// The same, of a weighted mean with alpha up to 1/2.
const WEIGHTED_MEAN: f64 = 20.0; // EWM_MEAN_SD
/// A relative error of a weighted variance with alpha up to 1/2, in u, ...
const WEIGHTED_VARIANCE: f64 = 23.0; // EWM_VARIANCE
/// ... and for each time that the largest earlier standard deviation exceeds the last one.
const WEIGHTED_FALL: f64 = 49.0; // EWM_VARIANCE_FALL

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
            let [mean, variance] = ewm_errors(&values, alpha, adjust);
            assert!(mean <= 1.0, "{kind:?}, alpha {alpha}, {adjust}: mean {mean} of its bound");
            worst = worst.max(variance);
        }
    }
    println!("weighted variance: {worst:.2} u");
}

/// Pushes values into a weighted stream. Returns the error of its mean as a share of its bound, and that of its
/// variance in u, which is within its bound.
fn ewm_errors(values: &[f64], alpha: f64, adjust: bool) -> [f64; 2] {
    let mut stream = Ewm::new(1, Forgetting::from_alpha(alpha).expect("in range").with_adjust(adjust));
    let mut largest = 0.0f64;
    for x in values {
        largest = largest.max(stream.std_dev(0, 0.0));
        stream.push(&[*x]).expect("fits");
    }
    // Rows of negligible weight are left out.
    let from = if alpha < 0.25 { 0 } else { values.len().saturating_sub(240) };
    let Weighted { mean, variance, unbiased } = weighted(&values[from..], alpha, adjust || from > 0);
    let bound = 0.5 * ulp(&mean) + WEIGHTED_MEAN * U * nearest(&variance).sqrt();
    let mean_error = error_in(stream.mean(0), &mean, 1.0);
    let mut worst = 0.0f64;
    for (ddof, exact) in [(0.0, variance), (1.0, unbiased)] {
        let given = stream.variance(0, ddof);
        if exact.is_zero() {
            assert_eq!(given, 0.0);
            continue;
        }
        let error = error_in(given, &exact, U * nearest(&exact));
        let fall = largest / stream.std_dev(0, 0.0);
        assert!(
            error <= WEIGHTED_VARIANCE + WEIGHTED_FALL * fall,
            "alpha {alpha}, {adjust}, ddof {ddof}: {error} u, fall {fall}"
        );
        worst = worst.max(error);
    }
    [if mean_error == 0.0 { 0.0 } else { mean_error / bound }, worst]
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

/// Errors of words as a search by hill climbing made them as large as it could, over up to 24 rows of f64 and f32: they
/// do not grow with the number of rows. Mean in u standard deviations (beside its last rounding), variance in u.
#[test]
fn the_worst_found() {
    for (name, bits) in WORST {
        let values: Vec<f64> = bits.iter().map(|bits| f64::from_bits(*bits)).collect();
        let mut stream = Welford::new(1);
        stream.push_rows(Batch::new(&values, Layout::nc(values.len(), 1)).expect("a column")).expect("fits");
        let exact = exact(values.iter().copied());
        let mean = error_in(stream.mean(0), &exact.mean, U * exact.sd());
        let variance = error_in(stream.variance(0, 0.0), &exact.variance(0), U * nearest(&exact.variance(0)));
        println!("{name}: mean {mean:.2} u sd, variance {variance:.2} u");
        let (mean, variance) = shares(&values, &stream);
        assert!(mean <= 1.0 && variance <= 1.0, "{name}: {mean} and {variance} of the bounds");
    }
    for (name, alpha, bits) in WORST_WEIGHTED {
        let values: Vec<f64> = bits.iter().map(|bits| f64::from_bits(*bits)).collect();
        let [mean, variance] = ewm_errors(&values, alpha, true);
        println!("{name}, alpha {alpha}: {mean:.2} of the mean's bound, variance {variance:.2} u");
        assert!(mean <= 1.0, "{name}: {mean} of the bound");
    }
}

/// Numbers from 0 to 1, the same each time.
fn numbers(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 * U
    }
}

/// Values about a mean of up to 1e16 standard deviations, which grow or shrink, and whose signs alternate, or not.
fn drifting(mean: f64, growth: f64, alternate: bool, rows: usize, next: &mut impl FnMut() -> f64) -> Vec<f64> {
    let mut scale = 1.0;
    (0..rows)
        .map(|row| {
            scale *= growth;
            let sign = if alternate && row % 2 == 1 { -1.0 } else { 1.0 };
            mean + sign * scale * (0.5 + next())
        })
        .collect()
}

#[test]
fn drifting_scales_are_within_their_bound() {
    let (mut next, mut worst) = (numbers(11), [0.0f64; 4]);
    for mean in [0.0, 1e-3, 1.0, 1e3, 1e8, 1e15, 1e16] {
        for growth in [0.9, 0.99, 1.0, 1.001, 1.04, 1.3] {
            for (alternate, rows) in [(true, 3), (false, 17), (true, 33), (false, 64), (true, 129), (true, 700)] {
                let values = drifting(mean, growth, alternate, rows, &mut next);
                let mut stream = Welford::new(1);
                stream.push_rows(Batch::new(&values, Layout::nc(rows, 1)).expect("a column")).expect("fits");
                let (mean_share, variance) = shares(&values, &stream);
                assert!(mean_share <= 1.0 && variance <= 1.0, "mean {mean}, growth {growth}, {rows} rows");
                worst[0] = worst[0].max(variance * VARIANCE);
                if rows < 100 {
                    for (alpha, adjust) in [(0.5, true), (0.25, false), (0.5, false)] {
                        let [mean_share, variance] = ewm_errors(&values, alpha, adjust);
                        assert!(mean_share <= 1.0, "mean {mean}, growth {growth}, {rows} rows, alpha {alpha}");
                        worst[1] = worst[1].max(variance);
                    }
                }
            }
        }
    }
    println!("variances: {:.2} u; weighted: {:.2} u", worst[0], worst[1]);
}

/// Streams merged with others between rows, at counts that are no powers of two, hold the same bounds, and so do
/// streams that went through moments.
#[test]
fn merging_between_rows_keeps_the_bounds() {
    let (mut next, mut worst) = (numbers(12), [0.0f64; 2]);
    for case in 0..300 {
        let mean = [0.0, 1.0, 1e6, 1e15][case % 4];
        let scale = [1.0, 1e-3, 30.0][case % 3];
        let (mut all, mut stream) = (Vec::new(), Welford::new(1));
        for _ in 0..1 + (next() * 6.0) as usize {
            for _ in 0..(next() * 20.0) as usize {
                all.push(mean + scale * (next() - 0.5));
                stream.push(&all[all.len() - 1..]).expect("fits");
            }
            let mut other = Welford::new(1);
            for _ in 0..(next() * 20.0) as usize {
                all.push(mean + scale * 3.0 * (next() - 0.2));
                other.push(&all[all.len() - 1..]).expect("fits");
            }
            stream.merge(&other).expect("fits");
            stream = Welford::from_moments(&stream.moments()).expect("one count");
        }
        if !all.is_empty() {
            let (mean, variance) = shares(&all, &stream);
            worst = [worst[0].max(mean), worst[1].max(variance * VARIANCE)];
            assert!(mean <= 1.0 && variance <= 1.0, "case {case}: {mean} and {variance} of the bounds");
        }
    }
    println!("mean: {:.3} of its bound; variance: {:.2} u", worst[0], worst[1]);
}

/// The unit of m2 changes every 32 rows or so, and after a hundred thousand rows only the last few hundred count.
#[test]
fn long_weighted_streams_are_within_their_bound() {
    let mut next = numbers(13);
    for (alpha, adjust) in [(0.5, true), (0.25, false)] {
        for mean in [0.0, 1e3, 1e14] {
            let values: Vec<f64> = (0..100_000).map(|_| mean + next()).collect();
            let [mean_share, variance] = ewm_errors(&values, alpha, adjust);
            println!("mean {mean:e}, alpha {alpha}: {mean_share:.3} of the mean's bound, variance {variance:.2} u");
            assert!(mean_share <= 1.0 && variance < 12.0);
        }
    }
    for alpha in [1.0, 1.0 - 1e-9, 0.5, 0.01, 1e-9, 1e-200] {
        for x in [0.1, -1e300, 5e-324] {
            let mut stream = Ewm::new(1, Forgetting::from_alpha(alpha).expect("in range").with_adjust(x > 0.0));
            stream.push_rows(Batch::new(&[x; 10_000], Layout::nc(10_000, 1)).expect("a column")).expect("fits");
            assert_eq!((stream.mean(0), stream.variance(0, 0.0)), (x, 0.0), "alpha {alpha}: constant values");
        }
    }
}

const WORST: [(&str, &[u64]); 5] = [
    ("variance, 4 rows", &[0x3ff6_8098_d409_2c72, 0x3ff5_56b4_3520_587f, 0x3fd7_98e8_02d9_4efe, 0x3ff3_9c7a_e377_d3fd]),
    (
        "variance, 5 rows",
        &[
            0x4015_3a76_7f2d_6675,
            0x4017_b4d5_635b_1428,
            0x3ff9_cf29_650a_cafe,
            0x4013_9102_31e6_600f,
            0x4014_51b7_ca2e_1fa6,
        ],
    ),
    (
        "mean, 8 rows",
        &[
            0x3ff7_22ec_fb13_ae22,
            0x3ff2_8ea2_60e8_0698,
            0x3fde_5335_c920_c4e3,
            0xbff1_30d5_dd01_8c40,
            0xbfb7_4414_8975_dfcb,
            0xbffb_ba5d_1979_7810,
            0xbffb_ac35_9ea7_c814,
            0xbfe1_5c78_67ee_cfdf,
        ],
    ),
    (
        "mean, 7 rows",
        &[
            0x3ffc_4332_a04f_dc8a,
            0x3ffc_4329_b399_0c4f,
            0x3fe5_ea65_fc60_4d87,
            0x3fe4_8ed8_a2e6_d997,
            0x3fbb_c3a4_334b_a458,
            0xbf95_f76b_fea1_99a0,
            0x3fbb_c3a4_334e_12d8,
        ],
    ),
    (
        "mean, 9 rows of f32",
        &[
            0x402a_a037_4000_0000,
            0x402d_1cd3_a000_0000,
            0x4033_71fc_8000_0000,
            0xc031_c478_e000_0000,
            0x4030_0e13_c000_0000,
            0x4041_6ee6_e000_0000,
            0x405f_7a84_0000_0000,
            0x4042_5c43_2000_0000,
            0x405a_2f45_6000_0000,
        ],
    ),
];

const WORST_WEIGHTED: [(&str, f64, &[u64]); 2] = [
    (
        "mean, 4 rows",
        0.5,
        &[0xc082_82a9_7a1a_cd9e, 0xc07c_d8dd_d165_c0a6, 0xc049_307c_8b87_cd75, 0xc067_19f8_3940_9cbb],
    ),
    (
        "variance, 7 rows",
        0.25,
        &[
            0xbfe5_2061_efbf_5dbe,
            0xbfb9_f287_24cb_168b,
            0xbfe5_5b94_5904_2c33,
            0x401e_b4a6_33c6_5841,
            0xbfb9_f287_24cb_18b0,
            0x3fdd_dccb_b962_b1b4,
            0x3feb_f9b4_8ed3_95bb,
        ],
    ),
];
