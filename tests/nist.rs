//! The univariate data sets of the NIST Statistical Reference Datasets (StRD, "Univariate Summary Statistics") that are
//! given by a rule, with their certified means and standard deviations (15 digits, `n - 1`).
//!
//! `cargo test --release --test nist -- --nocapture` prints log relative errors, the number of digits that are right:
//! `LRE = -log10(|given - certified| / |certified|)`, 15 at most, because the certified values have no more. The data are
//! decimal fractions, which no f64 is: what exact arithmetic on those f64s gives is printed beside, and is the limit.

mod common;

use batchnorm::{Batch, Layout, Path};
use common::by_every_path;
use common::oracle::{Exact, error_in, exact, nearest, rational, root, ulp};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, Zero};

struct Dataset {
    name: &'static str,
    values: Vec<f64>,
    mean: &'static str,
    sd: &'static str,
}

/// `first`, then `a` and `b` in turn, 1001 values.
fn alternating(name: &'static str, mean: &'static str, [first, a, b]: [f64; 3]) -> Dataset {
    let values = std::iter::once(first).chain([a, b].into_iter().cycle().take(1000)).collect();
    Dataset { name, values, mean, sd: "0.1" }
}

fn datasets() -> [Dataset; 5] {
    [
        Dataset { name: "NumAcc1", values: vec![10_000_001.0, 10_000_003.0, 10_000_002.0], mean: "10000002", sd: "1" },
        alternating("NumAcc2", "1.2", [1.2, 1.1, 1.3]),
        alternating("NumAcc3", "1000000.2", [1_000_000.2, 1_000_000.1, 1_000_000.3]),
        alternating("NumAcc4", "10000000.2", [10_000_000.2, 10_000_000.1, 10_000_000.3]),
        Dataset { name: "PiDigits", values: nist_digits(), mean: "4.53480000000000", sd: "2.86733906028871" },
    ]
}

/// The file `PiDigits.dat`: the first 5000 digits of pi, but for the 957th, an 8, where it has a 3. The certified values
/// are those of the file.
fn nist_digits() -> Vec<f64> {
    let mut digits = digits_of_pi(5000);
    assert_eq!(digits[950..960], [8, 1, 8, 5, 7, 7, 8, 0, 5, 3].map(f64::from));
    digits[956] = 3.0;
    digits
}

/// 3, 1, 4, 1, ...: by Machin's formula, `pi = 16 arctan(1/5) - 4 arctan(1/239)`, in integers.
fn digits_of_pi(n: usize) -> Vec<f64> {
    let guard = 10;
    let unit = BigInt::from(10).pow((n + guard) as u32);
    let arctan_of_inverse = |x: u32| {
        let (mut power, mut sum) = (&unit / x, BigInt::zero());
        for i in 0u32.. {
            let term: BigInt = &power / (2 * i + 1);
            if term.is_zero() {
                break;
            }
            sum += if i % 2 == 0 { term } else { -term };
            power /= x * x;
        }
        sum
    };
    let pi: BigInt = arctan_of_inverse(5) * 16 - arctan_of_inverse(239) * 4;
    pi.to_string().bytes().take(n).map(|digit| f64::from(digit - b'0')).collect()
}

/// A decimal fraction, exactly.
fn decimal(text: &str) -> BigRational {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: BigInt = format!("{whole}{fraction}").parse().expect("digits");
    BigRational::new(digits, BigInt::from(10).pow(fraction.len() as u32))
}

/// Log relative error: digits that are right, at most the 15 that are certified.
fn lre(given: &BigRational, certified: &BigRational) -> f64 {
    let error = nearest(&((given - certified).abs() / certified.abs()));
    (-error.log10()).min(15.0)
}

#[test]
fn the_digits_of_pi() {
    let digits = digits_of_pi(5000);
    assert_eq!(digits[..16], [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3].map(f64::from));
    // Six nines in a row, at the 762nd decimal place.
    assert_eq!(digits[762..768], [9.0; 6]);
}

#[test]
fn certified_values() {
    println!("| data set | values | layout | LRE mean | of exact | LRE sd | of exact |");
    println!("|---|---:|---|---:|---:|---:|---:|");
    for Dataset { name, values, mean, sd } in datasets() {
        let (mean, sd) = (decimal(mean), decimal(sd));
        let exact = exact(values.iter().copied());
        for (title, layout) in [
            ("[n, 1]", Layout::nc(values.len(), 1)),
            ("[n, 5]", Layout::nc(values.len(), 5)),
            ("[n, 100]", Layout::nc(values.len(), 100)),
            ("[1, 2, n]", Layout::ncl(1, 2, values.len())),
        ] {
            let data = every_feature(&values, layout);
            let x = Batch::new(&data, layout).expect("a batch");
            let moments = Path::Scalar.moments(x);
            for (path, given) in by_every_path(|path| path.moments(x)) {
                assert_eq!(given, moments, "{name}, {title}, {path}");
            }
            for feature in 0..layout.features() {
                let given = [moments.mean(feature), moments.std_dev(feature, 1.0)];
                let digits = check(&format!("{name}, {title}"), given, &exact, [&mean, &sd]);
                if feature == 0 {
                    let row = digits.map(|lre| format!("{lre:.2}")).join(" | ");
                    println!("| {name} | {} | {title} | {row} |", values.len());
                }
            }
        }
    }
}

/// A batch of which every feature has these values.
fn every_feature(values: &[f64], layout: Layout) -> Vec<f64> {
    let (features, inner) = (layout.features(), layout.inner());
    let place = |at: usize| at / (features * inner) * inner + at % inner;
    (0..layout.checked_len().expect("small")).map(|at| values[place(at)]).collect()
}

/// Mean and sd are those of exact arithmetic on the same f64s, and so are their digits. Gives the LRE of the mean, what
/// exact arithmetic has, and the same of the sd.
fn check(
    name: &str,
    [mean, sd]: [f64; 2],
    exact: &Exact,
    [certified_mean, certified_sd]: [&BigRational; 2],
) -> [f64; 4] {
    let exact_sd = root(&exact.variance(1));
    let error = error_in(mean, &exact.mean, ulp(&exact.mean));
    assert!(error <= 1.0, "{name}: the mean {mean} is {error} ulp off");
    let error = error_in(sd, &exact_sd, ulp(&exact_sd));
    assert!(error <= 2.0, "{name}: the sd {sd} is {error} ulp off");
    let digits = [
        lre(&rational(mean), certified_mean),
        lre(&exact.mean, certified_mean),
        lre(&rational(sd), certified_sd),
        lre(&exact_sd, certified_sd),
    ];
    assert!((digits[0] - digits[1]).abs() < 0.01, "{name}: mean {digits:?}");
    assert!((digits[2] - digits[3]).abs() < 0.01, "{name}: sd {digits:?}");
    digits
}
