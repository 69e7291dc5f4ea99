//! The semantics of moments: ddof, merging, accumulating, and special values.

mod common;

use batchnorm::{Accumulator, Batch, Element, Error, Layout, Moments, MomentsParts, Path, Workspace, moments};
use common::by_every_path;
use common::nasty::{KINDS, Kind, batch};
use proptest::prelude::*;

const INF: f64 = f64::INFINITY;

fn column<T: Element>(values: &[T]) -> Moments {
    moments(Batch::new(values, Layout::nc(values.len(), 1)).expect("a batch"))
}

/// Returns mean and m2, after checking that all paths agree on them.
fn mean_m2<T: Element>(values: &[T]) -> (f64, f64) {
    let x = Batch::new(values, Layout::nc(values.len(), 1)).expect("a batch");
    let reference = Path::Scalar.moments(x);
    for (name, given) in by_every_path(|path| path.moments(x)) {
        assert_eq!(given, reference, "{name}: {values:?}");
    }
    (reference.mean(0), reference.m2(0))
}

/// The variance is `m2 / max(0, n - ddof)`, as in numpy and PyTorch.
#[test]
fn ddof() {
    let m = column(&[1.0f64, 2.0, 4.0]);
    let m2 = 14.0 / 3.0;
    for (ddof, variance) in [(0.0, m2 / 3.0), (1.0, m2 / 2.0), (1.5, m2 / 1.5), (-1.0, m2 / 4.0), (2.0, m2)] {
        let error = (m.variance(0, ddof) - variance).abs();
        assert!(error <= 1e-15, "ddof {ddof}: {}", m.variance(0, ddof));
        assert_eq!(m.std_dev(0, ddof), m.variance(0, ddof).sqrt());
    }
    assert_eq!((m.variance(0, 3.0), m.variance(0, 4.0)), (INF, INF));
    assert_eq!(m.std_dev(0, 3.0), INF);
    assert!(m.variance(0, f64::NAN).is_nan());

    let constant = column(&[7.0f64; 3]);
    assert_eq!((constant.variance(0, 0.0), constant.variance(0, 2.0)), (0.0, 0.0));
    assert!(constant.variance(0, 3.0).is_nan() && constant.variance(0, 5.0).is_nan());

    let one = column(&[7.0f32]);
    assert_eq!((one.mean(0), one.variance(0, 0.0)), (7.0, 0.0));
    assert!(one.variance(0, 1.0).is_nan());
}

/// Other tests rely on `==`. It compares everything, including the low words, which only [`Moments::parts`] shows.
#[test]
fn equality() {
    let differ: [(&str, &[f64], &[f64]); 5] = [
        ("the count", &[0.0, 0.0], &[0.0, 0.0, 0.0]),
        ("the mean", &[1.0, 2.0, 3.0], &[2.0, 3.0, 4.0]),
        ("what the mean leaves over", &[1e16, 1e16 + 2.0], &[1e16 - 2.0, 1e16]),
        ("m2", &[-1.0, 1.0], &[-2.0, 2.0]),
        ("what m2 leaves over", &[-1.0, 1.0, -1e-9, 1e-9], &[-1.0, 1.0, -2e-9, 2e-9]),
    ];
    for (what, a, b) in differ {
        assert_eq!(column(a), column(a), "{what}");
        assert_ne!(column(a), column(b), "{what}");
    }
    let last = [column(differ[2].1), column(differ[2].2), column(differ[4].1), column(differ[4].2)];
    assert_eq!((last[0].mean(0), last[0].m2(0)), (last[1].mean(0), last[1].m2(0)));
    assert_eq!((last[2].mean(0), last[2].m2(0)), (last[3].mean(0), last[3].m2(0)));

    let two = |values: &[f64; 4]| moments(Batch::new(values, Layout::nc(2, 2)).expect("a batch"));
    assert_ne!(two(&[0.0, 1.0, 0.0, 2.0]), two(&[0.0, 1.0, 0.0, 3.0]), "the second feature");
    assert_ne!(column(&[0.0, 0.0]), two(&[0.0; 4]), "the number of features");
    assert_eq!(column(&[f64::NAN]), column(&[-f64::NAN]), "a NaN is a NaN");
}

/// `means_into` and `variances_into` give the same as the methods for one feature, whether some features need the slow
/// path or none do.
#[test]
fn all_features_at_once_are_as_one_by_one() {
    fn check<T: Element>(m: &Moments, ddof: f64) {
        let one_by_one =
            |of: &dyn Fn(usize) -> f64| (0..m.num_features()).map(|f| T::from_f64(of(f))).collect::<Vec<T>>();
        let bits = |values: &[T]| {
            let values = values.iter().map(|x| x.to_f64());
            values.map(|x| if x.is_nan() { f64::NAN } else { x }.to_bits()).collect::<Vec<_>>()
        };
        let mut given = vec![T::from_f64(-1.0); m.num_features()];
        m.means_into(&mut given).expect("one each");
        assert_eq!(bits(&given), bits(&one_by_one(&|feature| m.mean(feature))));
        m.variances_into(ddof, &mut given).expect("one each");
        assert_eq!(bits(&given), bits(&one_by_one(&|feature| m.variance(feature, ddof))), "ddof {ddof}");
    }
    let rows = 100;
    let all = |feature: usize| KINDS[feature % KINDS.len()];
    let plain = |feature: usize| if feature.is_multiple_of(2) { Kind::Normal } else { Kind::Walk };
    for (features, kind) in
        [(KINDS.len(), &all as &dyn Fn(usize) -> Kind), (1, &plain), (8, &plain), (16, &plain), (43, &plain)]
    {
        let layout = Layout::nc(rows, features);
        let mut data = common::nasty::mixed::<f64>(kind, 1, layout);
        // Variances near the end of f64's range, where splitting numbers into halves overflows: of one feature, and of
        // all.
        let far = |x: &mut f64| *x = 1e153 * x.signum();
        match features {
            43 => data[3..].iter_mut().step_by(features).for_each(far),
            16 => data.iter_mut().for_each(far),
            _ => {}
        }
        for m in [moments(Batch::new(&data, layout).expect("a batch")), Moments::new(features)] {
            for ddof in [
                0.0,
                1.0,
                1.5,
                -1.0,
                99.5,
                100.0,
                101.0,
                -1e269,
                -2e300,
                f64::MIN,
                f64::MAX,
                f64::NEG_INFINITY,
                INF,
                f64::NAN,
            ] {
                check::<f64>(&m, ddof);
                check::<f32>(&m, ddof);
            }
        }
    }
}

#[test]
fn slices_of_another_length_are_refused() {
    let m = column(&[1.0f64, 2.0]);
    let mut out = [-1.0f32; 2];
    for refused in [m.means_into(&mut out), m.variances_into(0.0, &mut out)] {
        assert!(matches!(refused, Err(Error::Features { expected: 1, given: 2, .. })), "{refused:?}");
    }
    assert_eq!(out, [-1.0; 2]);
}

#[test]
fn no_values() {
    for (name, m) in by_every_path(|path| path.moments(Batch::<f32>::new(&[], Layout::nc(0, 3)).expect("a batch"))) {
        assert_eq!((m.num_features(), m.counts()), (3, &[0; 3][..]), "{name}");
        for ddof in [-1.0, 0.0, 1.0] {
            assert!(m.mean(2).is_nan() && m.variance(2, ddof).is_nan(), "{name}");
        }
    }
    let none = moments(Batch::<f64>::new(&[], Layout::nchw(5, 0, 7, 7)).expect("a batch"));
    assert_eq!((none.num_features(), none.counts()), (0, &[][..]));
    assert_eq!(moments(Batch::<f64>::new(&[], Layout::ncl(5, 2, 0)).expect("a batch")).counts(), [0; 2]);
}

#[test]
fn constants_are_exact() {
    for n in [1usize, 2, 3, 7, 8, 9, 127, 1000, 8191, 30_000] {
        for c in [0.1f32, -7.12e9, 1e10, 3.0e38, 1e-45, 16_777_217.0, 0.0] {
            assert_eq!(mean_m2(&vec![c; n]), (f64::from(c), 0.0), "{n} times {c}");
        }
        for c in [0.1f64, -1e300, f64::MAX, -4.9e153 / 7.0, 1e-147 / 3.0, 1e-320, 1e15 + 0.3, 1.0 / 3.0] {
            let values = vec![c; n];
            assert_eq!(mean_m2(&values), (c, 0.0), "{n} times {c}");
            let m = moments(Batch::new(&values, Layout::ncl(1, 1, n)).expect("a batch"));
            assert_eq!((m.mean(0), m.m2(0)), (c, 0.0), "a plane of {n} times {c}");
        }
    }
}

/// NaN and infinities in the first, the middle and the last place.
#[test]
fn not_finite() {
    for n in [1usize, 9, 700, 20_000] {
        for at in [0, n / 2, n - 1] {
            let with = |x: f64| {
                let mut values = vec![1.5f64; n];
                values[at] = x;
                values
            };
            for (x, mean) in [(INF, INF), (-INF, -INF)] {
                let (given, m2) = mean_m2(&with(x));
                assert!(given == mean && m2.is_nan(), "{x} at {at} of {n}: {given}, {m2}");
                let values: Vec<f32> = with(x).into_iter().map(f32::from_f64).collect();
                assert_eq!(mean_m2(&values).0, mean);
            }
            let (mean, m2) = mean_m2(&with(f64::NAN));
            assert!(mean.is_nan() && m2.is_nan());
        }
        let infinities = vec![INF; n];
        assert_eq!(mean_m2(&infinities).0, INF);
        let mut both = infinities;
        both.push(-INF);
        assert!(mean_m2(&both).0.is_nan());
    }
}

/// Sums and squares exceed `f64::MAX`: the mean stays right, and m2 is infinite, as it should be.
#[test]
fn overflow() {
    for n in [2usize, 10, 1000, 20_000] {
        let alternating: Vec<f64> = (0..n).map(|i| if i % 2 == 0 { 1.7e308 } else { -1.7e308 }).collect();
        assert_eq!(mean_m2(&alternating), (0.0, INF), "{n}");
        let mut apart = vec![1.7e308f64; n];
        apart.extend(vec![-1.7e308; n]);
        let (mean, m2) = mean_m2(&apart);
        assert!(mean.abs() <= 4.0 * f64::EPSILON * 1.7e308 && m2 == INF, "{n} of each: {mean}, {m2}");
        let one_sided: Vec<f64> = (0..n).map(|i| if i % 2 == 0 { 1e308 } else { 1.5e308 }).collect();
        let (mean, m2) = mean_m2(&one_sided);
        assert!((mean / 1.25e308 - 1.0).abs() < 1e-15 && m2 == INF, "{mean}, {m2}");
        let large: Vec<f64> = (0..n).map(|i| if i % 2 == 0 { 1e160 } else { 3e160 }).collect();
        let (mean, m2) = mean_m2(&large);
        assert!((mean / 2e160 - 1.0).abs() < 1e-15 && m2 == INF, "{mean}, {m2}");
    }
    // f32 values never overflow f64 sums.
    let (mean, m2) = mean_m2(&[f32::MAX, -f32::MAX]);
    assert_eq!((mean, m2), (0.0, 2.0 * f64::from(f32::MAX) * f64::from(f32::MAX)));
    assert_eq!(mean_m2(&[3e38f32, 3e38]), (f64::from(3e38f32), 0.0));
}

#[test]
fn merging() {
    let (a, b) = (column(&[1.0f64, 2.0, 3.0, 10.0]), column(&[4.0f64, -5.0]));
    let whole = column(&[1.0f64, 2.0, 3.0, 10.0, 4.0, -5.0]);
    let mut merged = a.clone();
    merged.merge(&b).expect("same features");
    assert_eq!((merged.count(0), merged.mean(0)), (6, whole.mean(0)));
    assert!((merged.m2(0) / whole.m2(0) - 1.0).abs() < 1e-15);

    let mut from_nothing = Moments::new(1);
    from_nothing.merge(&a).expect("same features");
    assert_eq!(from_nothing, a);
    from_nothing.merge(&Moments::new(1)).expect("same features");
    assert_eq!(from_nothing, a);
    let mut nothing = Moments::new(1);
    nothing.merge(&Moments::new(1)).expect("same features");
    assert_eq!(nothing, Moments::new(1));

    let before = merged.clone();
    let refused = merged.merge(&Moments::new(2));
    assert!(matches!(refused, Err(Error::Features { expected: 1, given: 2, .. })), "{refused:?}");
    let wide = Batch::new(&[1.0f32, 2.0], Layout::nc(1, 2)).expect("a batch");
    let refused = merged.update(wide);
    assert!(matches!(refused, Err(Error::Features { expected: 1, given: 2, .. })), "{refused:?}");
    assert_eq!(merged, before);
}

/// Shards of whole chunks (512 rows of 70 columns; 10 planes of 3136), split and merged like the canonical tree: in
/// order, with `2^k` chunks on the left.
#[test]
fn merging_whole_chunks_gives_the_bits_of_one_call() {
    for (chunk, features, inner) in [(512, 70, 1), (10, 3, 3136)] {
        let layout = Layout::new(6 * chunk + 5, features, inner);
        let data: Vec<f64> = batch(Kind::Offset(1e6), 5, layout);
        let shard = |from: usize, to: usize| {
            let row = features * inner;
            let rows = &data[from * row..to * row];
            moments(Batch::new(rows, Layout::new(to - from, features, inner)).expect("rows"))
        };
        let joined = |mut a: Moments, b: Moments| {
            a.merge(&b).expect("same features");
            a
        };
        let left = joined(shard(0, 2 * chunk), joined(shard(2 * chunk, 3 * chunk), shard(3 * chunk, 4 * chunk)));
        let right = joined(shard(4 * chunk, 6 * chunk), shard(6 * chunk, 6 * chunk + 5));
        assert_eq!(joined(left, right), shard(0, 6 * chunk + 5), "{layout}");
    }
}

/// Shards far from zero, with very different counts.
#[test]
fn merging_keeps_the_digits() {
    let at = |mean: f64, n: usize| -> Vec<f64> { (0..n).map(|i| mean + (i % 7) as f64).collect() };
    for (mean, n_a, n_b) in [(1e12, 1, 7), (1e12, 7000, 7), (-1e15, 7, 70_000)] {
        let (a, b) = (at(mean, n_a), at(mean, n_b));
        let mut merged = column(&a);
        merged.update(Batch::new(&b, Layout::nc(n_b, 1)).expect("a batch")).expect("same features");
        let exact = common::oracle::exact(a.into_iter().chain(b));
        let variance = exact.variance(0);
        let error = common::oracle::error_in(merged.variance(0, 0.0), &variance, common::oracle::ulp(&variance));
        assert!(error <= 4.0, "{mean}, {n_a} and {n_b}: {error} ulp");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// For any split of the rows, the result is bit-identical to a single call, and calls of `moments` in between
    /// change nothing.
    #[test]
    fn accumulating_in_any_split(
        kind in proptest::sample::select(&KINDS[..]),
        seed: u64,
        (features, inner) in prop_oneof![
            (1..12usize, Just(1usize)), (60..140usize, Just(1)), (1..5usize, 2..80usize), (1..3usize, 32_760..32_780usize),
        ],
        cuts in proptest::collection::vec(0..1500usize, 1..12),
    ) {
        let rows = cuts.iter().sum::<usize>() % (400_000 / (features * inner)).max(2);
        let layout = Layout::new(rows, features, inner);
        let data = batch::<f64>(kind, seed, layout);
        let mut streamed = Accumulator::new(features, inner).expect("a shape");
        let mut rest = &data[..];
        for cut in cuts.iter().cycle().map(|cut| cut + 1) {
            let outer = cut.min(rest.len() / (features * inner));
            let (piece, tail) = rest.split_at(outer * features * inner);
            streamed.update(Batch::new(piece, Layout::new(outer, features, inner)).expect("a batch")).expect("adds");
            rest = tail;
            if rest.is_empty() {
                break;
            }
            prop_assert_eq!(streamed.moments().num_features(), features);
        }
        prop_assert_eq!(streamed.moments(), Path::Scalar.moments(Batch::new(&data, layout).expect("a batch")));
    }
}

#[test]
fn accumulators_refuse_other_shapes() {
    let mut rows = Accumulator::<f32>::new(3, 2).expect("a shape");
    rows.update(Batch::new(&[1.0; 12], Layout::new(2, 3, 2)).expect("a batch")).expect("adds");
    let before = rows.moments();
    let other = Layout::new(2, 2, 3);
    let error = rows.update(Batch::new(&[1.0; 12], other).expect("a batch")).expect_err("refused");
    let Error::LayoutMismatch { input, output, .. } = error else { panic!("{error}") };
    assert_eq!((input, output), (other, Layout::new(2, 3, 2)));
    assert_eq!(rows.moments(), before);
    assert!(Accumulator::<f32>::new(usize::MAX, 2).is_err());
    assert!(Accumulator::<f32>::new(1 << 40, 1).is_err());
}

/// Moments can be reused for other shapes.
#[test]
fn moments_into_forgets() {
    let (mut m, mut workspace) = (Moments::default(), Workspace::default());
    for layout in [Layout::nc(2000, 3), Layout::nc(0, 4), Layout::nc(3, 700), Layout::nchw(2, 2, 100, 100)] {
        let data = batch::<f32>(Kind::Normal, 3, layout);
        let x = Batch::new(&data, layout).expect("a batch");
        Path::Auto.moments_into(x, &mut m, &mut workspace);
        assert_eq!(m, Path::Scalar.moments(x));
    }
}

/// Standard deviations of all features have the bits of each: over several blocks, and where counts differ.
#[test]
fn std_devs_of_all_features() {
    let layout = Layout::nc(5, 131);
    let data: Vec<f64> = batch(Kind::Normal, 1, layout);
    let mut m = moments(Batch::new(&data, layout).expect("a batch"));
    let check = |m: &Moments| {
        for ddof in [0.0, 1.0, 5.0, 6.5] {
            let (mut double, mut single) = (vec![0.0f64; m.num_features()], vec![0.0f32; m.num_features()]);
            m.std_devs_into(ddof, &mut double).expect("one each");
            m.std_devs_into(ddof, &mut single).expect("one each");
            let expected: Vec<f64> = (0..m.num_features()).map(|feature| m.std_dev(feature, ddof)).collect();
            assert_eq!(common::bits(&double), common::bits(&expected), "ddof {ddof}");
            let rounded: Vec<f32> = expected.iter().map(|x| f32::from_f64(*x)).collect();
            assert_eq!(common::bits(&single), common::bits(&rounded), "ddof {ddof}");
        }
    };
    check(&m);
    assert!(matches!(m.std_devs_into(0.0, &mut [0.0f32; 3]), Err(Error::Features { expected: 131, given: 3, .. })));
    let counts: Vec<u64> = (0..131).map(|feature| 5 + feature % 2).collect();
    m = Moments::from_parts(MomentsParts { counts: &counts, ..m.parts() }).expect("moments");
    check(&m);
    check(&Moments::new(3));
    assert_eq!(format!("{:?}", m.parts()), "MomentsParts { num_features: 131, .. }");
}

/// All words can be sent: also a middle word of half a unit in the last place of its high word, or more where values cancel,
/// as some of these columns have it.
#[test]
fn merged_moments_can_be_rebuilt() {
    let (mut ties, mut all) = (0, 0);
    for kind in KINDS {
        for (seed, rows) in (0..40).zip([2, 3, 7, 24, 100, 511].into_iter().cycle()) {
            let layout = Layout::nc(rows, 8);
            let mut m = Moments::new(8);
            for shard in 0..4 {
                let data = batch::<f64>(kind, 4 * seed + shard, layout);
                m.merge(&moments(Batch::new(&data, layout).expect("a batch"))).expect("same features");
                let rebuilt = Moments::from_parts(m.parts()).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
                assert_eq!(rebuilt, m, "{kind:?}, seed {seed}, {rows} rows");
                let parts = m.parts();
                let tie = |(high, middle): (&f64, &f64)| high.is_finite() && high + middle != *high;
                ties += parts.means.iter().zip(parts.means_middle).filter(|words| tie(*words)).count();
                all += 8;
            }
        }
    }
    assert!(ties > 0, "none of {all} means has such a middle word: the test shows nothing");
}

/// Words that no batch has are refused.
#[test]
fn damaged_words_are_refused() {
    let unit = f64::EPSILON;
    let rebuilt = |middle: f64, low: f64, m2: f64, m2_low: f64| {
        Moments::from_parts(MomentsParts {
            counts: &[4],
            means: &[1.0],
            means_middle: &[middle],
            means_low: &[low],
            m2s: &[m2],
            m2s_low: &[m2_low],
        })
    };
    let name = |error: Error| match error {
        Error::OutOfRange { name, .. } => name,
        error => panic!("{error:?}"),
    };
    // 2 units are allowed, and 3 only where the deviations are large.
    assert!(rebuilt(2.0 * unit, unit * unit, 1e-30, 0.0).is_ok());
    assert!(rebuilt(3.0 * unit, 0.0, 1.0, 0.0).is_ok());
    assert_eq!(rebuilt(3.0 * unit, 0.0, 1e-30, 0.0).map_err(name), Err("means_middle"));
    assert_eq!(rebuilt(f64::INFINITY, 0.0, 1.0, 0.0).map_err(name), Err("means_middle"));
    assert_eq!(rebuilt(unit / 2.0, unit * unit, 1.0, 0.0).map_err(name), Err("means_low"));
    assert_eq!(rebuilt(0.0, 0.0, 1.0, 0.6 * unit).map_err(name), Err("m2s_low"));
    assert!(rebuilt(0.0, 0.0, 1.0, 0.5 * unit).is_ok());
}
