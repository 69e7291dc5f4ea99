//! Streams: every path and every split into batches gives the same bits, and the numbers are right.

mod common;

use batchnorm::{
    Batch, BatchMut, Element, Error, Ewm, Forgetting, Layout, Moments, MomentsParts, Standardize, Welford, moments,
};
use common::nasty::{KINDS, Kind, batch};
use common::{assert_same_bits, by_every_path};
use proptest::prelude::*;

fn nc<T: Element>(data: &[T], features: usize) -> Batch<'_, T> {
    Batch::new(data, Layout::nc(data.len() / features, features)).expect("whole rows")
}

/// All numbers of a stream, and rows normalised by it.
trait Stream: Clone + Send + Sync + PartialEq + std::fmt::Debug {
    fn rows<T: Element>(&mut self, x: Batch<'_, T>);
    fn row<T: Element>(&mut self, row: &[T]);
    fn numbers<T: Element>(&self, rows: Batch<'_, T>) -> Vec<f64>;
    fn by(self, path: batchnorm::Path) -> Self;
}

macro_rules! stream {
    ($stream:ty) => {
        impl Stream for $stream {
            fn rows<T: Element>(&mut self, x: Batch<'_, T>) {
                self.push_rows(x).expect("fits");
            }
            fn row<T: Element>(&mut self, row: &[T]) {
                self.push(row).expect("fits");
            }
            fn numbers<T: Element>(&self, rows: Batch<'_, T>) -> Vec<f64> {
                let features = self.num_features();
                let mut numbers = vec![0.0; 4 * features];
                self.means_into(&mut numbers[..features]).expect("fits");
                self.variances_into(0.0, &mut numbers[features..2 * features]).expect("fits");
                self.variances_into(1.0, &mut numbers[2 * features..3 * features]).expect("fits");
                self.std_devs_into(1.0, &mut numbers[3 * features..]).expect("fits");
                let mut y = rows.data().to_vec();
                let clipped = Standardize::new().with_ddof(1.0).and_then(|s| s.with_clip(2.5)).expect("in range");
                for options in [Standardize::new(), clipped] {
                    let y = BatchMut::new(&mut y, rows.layout()).expect("fits");
                    self.normalize_rows_into(rows, y, &options).expect("fits");
                }
                numbers.extend(y.iter().map(|y| y.to_f64()));
                numbers
            }
            fn by(self, path: batchnorm::Path) -> Self {
                self.with_path(path)
            }
        }
    };
}

stream!(Welford);
stream!(Ewm);

/// Pushes the rows by every path in several splits, and compares all numbers and the state with the scalar path, which
/// takes all rows at once.
fn check<S: Stream, T: Element>(name: &str, new: S, data: &[T], features: usize) {
    let x = nc(data, features);
    let sample = nc(&data[..data.len().min(5 * features)], features);
    let mut expected = new.clone().by(batchnorm::Path::Scalar);
    expected.rows(x);
    let numbers = expected.numbers(sample);
    for (path_name, (given, given_numbers)) in by_every_path(|path| {
        let mut given = new.clone().by(path);
        // One by one, then in growing batches.
        let (mut at, mut len) = (0, 1);
        while at < data.len() {
            let next = (at + len * features).min(data.len());
            if len == 1 {
                given.row(&data[at..next])
            } else {
                given.rows(nc(&data[at..next], features))
            }
            len = if at < 20 * features { 1 } else { len * 2 + 1 };
            at = next;
        }
        let numbers = given.numbers(sample);
        (given, numbers)
    }) {
        let name = format!("{name}, {features} features, {}, {path_name}", std::any::type_name::<T>());
        assert_same_bits(&name, &numbers, &given_numbers);
        assert!(given == expected, "{name}: {given:?} is not {expected:?}");
    }
}

fn check_all<T: Element>(kind: Kind, seed: u64, rows: usize, features: usize, alpha: f64, adjust: bool) {
    let data = batch::<T>(kind, seed, Layout::nc(rows, features));
    let forgetting = Forgetting::from_alpha(alpha).expect("in range").with_adjust(adjust);
    check(&format!("{kind:?}, seed {seed}, {rows} rows"), Welford::new(features), &data, features);
    let name = format!("{kind:?}, seed {seed}, {rows} rows, alpha {alpha}, {adjust}");
    check(&name, Ewm::new(features, forgetting), &data, features);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn paths_and_splits_agree(
        kind in proptest::sample::select(&KINDS[..]),
        seed: u64,
        shape in prop_oneof![(1..400usize, 1..40usize), (1..3000usize, 1..5usize), (1..40usize, 30..700usize)],
        alpha in prop_oneof![0.001..1.0, Just(1.0), Just(0.5), Just(1e-9), Just(0.999_999)],
        adjust: bool,
    ) {
        check_all::<f32>(kind, seed, shape.0, shape.1, alpha, adjust);
        check_all::<f64>(kind, seed, shape.0, shape.1, alpha, adjust);
    }
}

#[test]
fn every_width_agrees() {
    for features in (1..=70).chain([255, 256, 257, 1031]) {
        check_all::<f32>(Kind::Poisoned, 1, 67, features, 0.1, true);
        check_all::<f64>(Kind::OutlierFirst, 2, 67, features, 0.9, false);
    }
}

/// Values that overflow, underflow or are not finite, in any order.
#[test]
fn extreme_values_agree() {
    let extreme = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN,
        1e308,
        -9e307,
        1e154,
        -1.4e154,
        1e135,
        1e20,
        1.0,
        -3.0,
        0.0,
        -0.0,
        1e-154,
        -1e-162,
        f64::MIN_POSITIVE,
        -5e-324,
        1e-310,
    ];
    let mut state = 5u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for case in 0..200 {
        // NaN and infinities in every fourth case: they end a feature.
        let lowest = if case % 4 == 0 { 0 } else { [3, 7, 9][case % 3] };
        let features = 1 + next(19);
        let data: Vec<f64> =
            (0..features * (2 + next(70))).map(|_| extreme[lowest + next(extreme.len() - lowest)]).collect();
        let alpha = [1.0, 1.0 - f64::EPSILON, 0.999, 0.5, 0.03, 1e-9, 1e-250][case % 7];
        let forgetting = Forgetting::from_alpha(alpha).expect("in range").with_adjust(case % 2 == 0);
        check(&format!("case {case}"), Welford::new(features), &data, features);
        check(&format!("case {case}, alpha {alpha}"), Ewm::new(features, forgetting), &data, features);
        let single: Vec<f32> = data.iter().map(|x| *x as f32).collect();
        check(&format!("case {case}, f32"), Welford::new(features), &single, features);
    }
}

/// Long streams: many moves of the shift, and many changes of the unit of m2.
#[test]
fn long_streams_agree() {
    check_all::<f32>(Kind::Walk, 3, 60_000, 9, 0.05, true);
    check_all::<f64>(Kind::Steps(30_000), 4, 70_000, 4, 1e-4, false);
    check_all::<f64>(Kind::Offset(1e12), 5, 3000, 1000, 0.7, true);
}

/// pandas 3.1.1: `pd.Series([1, 4, 2, 8, 5, 7]).ewm(alpha=0.3, adjust=...)`, `.mean()` and `.var(bias=...)`.
/// (`tests/data/ewm.py` prints them.)
#[test]
fn the_numbers_are_those_of_pandas() {
    for (adjust, mean, biased, unbiased) in PANDAS {
        let forgetting = Forgetting::from_alpha(0.3).expect("in range").with_adjust(adjust);
        let mut stream = Ewm::new(1, forgetting);
        for (row, x) in [1.0, 4.0, 2.0, 8.0, 5.0, 7.0].into_iter().enumerate() {
            stream.push(&[x]).expect("fits");
            let near = |given: f64, expected: f64| (given - expected).abs() <= 1e-14 * expected.abs();
            assert!(near(stream.mean(0), mean[row]), "{adjust}, row {row}: {} {}", stream.mean(0), mean[row]);
            assert!(near(stream.variance(0, 0.0), biased[row]), "{adjust}, row {row}: {}", stream.variance(0, 0.0));
            let given = stream.variance(0, 1.0);
            assert!(if row == 0 { given.is_nan() } else { near(given, unbiased[row]) }, "{adjust}, row {row}: {given}");
        }
    }
}

include!("data/ewm.in");

/// The result of merging is as right as that of one stream, empty streams change nothing, and moments go both ways.
#[test]
fn streams_merge() {
    let data = batch::<f64>(Kind::Offset(1e8), 6, Layout::nc(1000, 7));
    let whole = moments(nc(&data, 7));
    for at in [0, 1, 2, 500, 999, 1000] {
        let (mut a, mut b) = (Welford::new(7), Welford::new(7));
        a.push_rows(nc(&data[..at * 7], 7)).expect("fits");
        b.push_rows(nc(&data[at * 7..], 7)).expect("fits");
        a.merge(&b).expect("same features");
        let restored = Welford::from_moments(&a.moments()).expect("one count");
        assert_eq!(restored.moments(), a.moments());
        for feature in 0..7 {
            assert!((a.variance(feature, 1.0) / whole.variance(feature, 1.0) - 1.0).abs() < 1e-14);
            // Each is within half a unit in the last place and a few u of the standard deviation, which is 1.
            assert!((a.mean(feature) - whole.mean(feature)).abs() <= 1.6e-8, "one unit in the last place");
        }
        assert_eq!(a.count(), 1000);
    }
}

#[test]
fn mistakes_are_named_and_change_nothing() {
    let mut stream = Welford::new(2);
    stream.push(&[1.0, 2.0]).expect("fits");
    let before = stream.clone();
    assert_eq!(stream.push(&[1.0f32; 3]).unwrap_err().to_string(), "the stream has 2 features, but the row has 3");
    let planes = Batch::new(&[0.0f32; 8], Layout::new(1, 2, 4)).expect("a batch");
    assert!(matches!(stream.push_rows(planes), Err(Error::LayoutMismatch { .. })));
    assert!(stream.push_and_normalize(&[1.0, 2.0], &mut [0.0; 3], &Standardize::new()).is_err());
    assert!(stream.means_into(&mut [0.0f32; 1]).is_err());
    assert!(stream.merge(&Welford::new(3)).is_err());
    assert!(stream == before);
    for alpha in [0.0, -0.5, 1.5, f64::NAN, f64::INFINITY, 1e-310] {
        assert!(Forgetting::from_alpha(alpha).is_err());
        assert!(alpha == 1.5 || alpha == 1e-310 || Forgetting::from_half_life(alpha).is_err(), "{alpha}");
    }
    assert!(Forgetting::from_span(0.5).is_err() && Forgetting::from_center_of_mass(-0.1).is_err());
    for limit in [0.0, -1.0, f64::NAN] {
        assert!(Standardize::new().with_clip(limit).is_err());
    }
    let zero = &[0.0; 2];
    let uneven = MomentsParts { counts: &[3, 2], means: &[1.0; 2], m2s: &[0.5; 2], ..MomentsParts::default() };
    let uneven = MomentsParts { means_middle: zero, means_low: zero, m2s_low: zero, ..uneven };
    let error = Welford::from_moments(&Moments::from_parts(uneven).expect("in range")).unwrap_err();
    assert_eq!(error.to_string(), "the features need one count, but these have 3 and 2 values");
    let many = MomentsParts { counts: &[u64::MAX; 2], ..uneven };
    let mut full = Welford::from_moments(&Moments::from_parts(many).expect("in range")).expect("one count");
    let before = full.clone();
    assert!(matches!(full.merge(&stream), Err(Error::TooManyValues { .. })) && full == before);
}

/// Batches without rows, and streams without features, by every path.
/// A stream that was reset gives the bits of a new one.
#[test]
fn a_reset_forgets_everything() {
    fn check<S: Stream>(new: &S, reset: impl Fn(&mut S)) {
        let (before, data) =
            (batch::<f64>(Kind::Offset(1e6), 3, Layout::nc(5000, 3)), batch(Kind::Normal, 4, Layout::nc(40, 3)));
        let (mut reused, mut fresh) = (new.clone(), new.clone());
        reused.rows(nc(&before, 3));
        reset(&mut reused);
        assert_eq!(reused, fresh);
        reused.rows(nc::<f64>(&data, 3));
        fresh.rows(nc(&data, 3));
        assert_same_bits("after a reset", &fresh.numbers(nc(&data, 3)), &reused.numbers(nc(&data, 3)));
    }
    check(&Welford::new(3), Welford::reset);
    // So fast that the unit of the weights changes every 30 rows.
    let forgetting = [1e-3, 0.5, 1.0 - 1e-9, 1.0].map(|alpha| Forgetting::from_alpha(alpha).expect("in range"));
    for forgetting in forgetting.into_iter().flat_map(|f| [f, f.with_adjust(false)]) {
        check(&Ewm::new(3, forgetting), Ewm::reset);
    }
}

#[test]
fn empty_rows_and_no_features() {
    let empty = Batch::<f64>::new(&[], Layout::nc(0, 40)).expect("no rows");
    for (name, (none, nothing)) in by_every_path(|path| {
        let (mut none, mut nothing) = (Welford::new(40).with_path(path), Welford::new(0).with_path(path));
        none.push_rows(empty).expect("fits");
        nothing.push_rows(Batch::<f32>::new(&[], Layout::nc(5, 0)).expect("no features")).expect("fits");
        nothing.push::<f64>(&[]).expect("fits");
        (none, nothing)
    }) {
        assert!(none == Welford::new(40) && nothing.count() == 6, "{name}: {none:?}, {nothing:?}");
    }
}

/// A value that is not finite stays in its feature, and the numbers are those of the table of poisoned input.
#[test]
fn poison_stays_in_its_feature() {
    let inf = f64::INFINITY;
    for (values, mean, variance) in [
        ([1.0, f64::NAN, 2.0], f64::NAN, f64::NAN),
        ([1.0, inf, 2.0], inf, f64::NAN),
        ([-inf, 1.0, 2.0], -inf, f64::NAN),
        ([inf, 1.0, -inf], f64::NAN, f64::NAN),
        ([inf, f64::NAN, inf], f64::NAN, f64::NAN),
        ([1e200, -1e200, 4e200], 4.0 / 3.0 * 1e200, inf),
        ([f64::MAX, f64::MIN, 0.0], -inf, f64::NAN),
    ] {
        for (name, stream) in by_every_path(|path| {
            let mut stream = Welford::new(11).with_path(path);
            for x in values {
                let row: [f64; 11] = std::array::from_fn(|i| if i == 5 { x } else { i as f64 });
                stream.push(&row).expect("fits");
            }
            stream
        }) {
            for feature in 0..11 {
                let (given_mean, given) = (stream.mean(feature), stream.variance(feature, 0.0));
                if feature == 5 {
                    let same = |a: f64, b: f64| a.is_nan() && b.is_nan() || a == b || (a / b - 1.0).abs() < 1e-15;
                    assert!(same(given_mean, mean) && same(given, variance), "{name} {values:?}: {given_mean} {given}");
                } else {
                    assert_eq!((given_mean, given), (feature as f64, 0.0), "{name} {values:?}");
                }
            }
        }
    }
}

/// Before two rows have come, the variance counts as 1, and before the first, the mean as 0.
#[test]
fn first_rows_normalise_as_documented() {
    let options = Standardize::new().with_eps(0.0).expect("in range").with_clip(3.0).expect("in range");
    let (mut stream, mut y) = (Welford::new(2), [0.0; 2]);
    stream.normalize_into(&[2.0, f64::NAN], &mut y, &options).expect("fits");
    assert!(y[0] == 2.0 && y[1].is_nan());
    stream.push(&[1.0, 5.0]).expect("fits");
    stream.normalize_into(&[2.5, -500.0], &mut y, &options).expect("fits");
    assert_eq!(y, [1.5, -3.0]);
    stream.push(&[1.0, 7.0]).expect("fits");
    stream.normalize_into(&[1.0, 7.0], &mut y, &options).expect("fits");
    assert!(y[0].is_nan() && y[1] == 1.0, "0 / 0 without eps");
}
