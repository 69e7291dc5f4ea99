//! Means and variances of numerically difficult columns against exact arithmetic: grouped and not, in one part and in
//! many.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use batchnorm::{Batch, Element, Layout, moments};

use crate::harness::{
    ANY, GROUPED, Promise, UNGROUPED_F32, UNGROUPED_F64, field, floats, grouped, mean_error, number, ungrouped,
    variance_error,
};
use crate::nasty::{KINDS, Kind, column};
use crate::oracle::exact;

/// Column lengths: at and around the ends of blocks, and of a few of the crate's chunks.
const LENGTHS: [usize; 10] = [1, 2, 3, 15, 16, 17, 33, 300, 4_097, 70_001];

/// How the engine cuts a column: parts that are merged, and rows of a batch.
const CUTS: [(usize, usize); 4] = [(1, usize::MAX), (1, 1000), (3, 8192), (123, 50)];

fn poisoned(kind: Kind) -> bool {
    matches!(kind, Kind::Poisoned | Kind::Infinite)
}

/// Returns the worst errors of mean and variance, as parts of what is promised.
fn worst_errors(
    promise: Promise,
    values: &ArrayRef,
    of: impl Fn(&str) -> Vec<Option<f64>>,
    members: &[Vec<usize>],
) -> [f64; 2] {
    let (means, pop, samp) = (of("mean_accurate"), of("var_pop_accurate"), of("var_samp_accurate"));
    let mut worst = [0.0f64; 2];
    for (group, rows) in members.iter().enumerate() {
        if rows.is_empty() {
            assert_eq!([means[group], pop[group], samp[group]], [None; 3]);
            continue;
        }
        let exact = exact(rows.iter().map(|row| float(values, *row)));
        worst[0] = worst[0].max(promise.mean_error(means[group].expect("rows"), &exact));
        worst[1] = worst[1].max(promise.variance_error(pop[group].expect("rows"), &exact, 0));
        match samp[group] {
            Some(samp) => worst[1] = worst[1].max(promise.variance_error(samp, &exact, 1)),
            None => assert_eq!(rows.len(), 1),
        }
    }
    worst
}

fn float(values: &ArrayRef, row: usize) -> f64 {
    match values.data_type() {
        DataType::Float32 => f64::from(values.as_primitive::<Float32Type>().value(row)),
        _ => values.as_primitive::<Float64Type>().value(row),
    }
}

fn columns(kind: Kind, len: usize) -> [ArrayRef; 2] {
    [
        Arc::new(Float64Array::from(column::<f64>(kind, 7, 0, len))),
        Arc::new(Float32Array::from(column::<f32>(kind, 8, 0, len))),
    ]
}

/// The error is never more than what is promised; the worst of each kind is printed.
#[test]
fn groups_keep_the_promise() {
    for kind in KINDS.into_iter().filter(|kind| !poisoned(*kind)) {
        let mut worst = [0.0f64; 2];
        for len in LENGTHS {
            for values in columns(kind, len) {
                // One group; seven that alternate; and those that a hash finds, among them empty ones.
                for (groups, group_of) in [(1, 0), (7, 1), (1000, 0x9e37_79b9_usize)] {
                    if len > 10_000 && groups == 1000 {
                        continue;
                    }
                    let indices: Vec<usize> = (0..len).map(|row| row * group_of % 65_537 % groups).collect();
                    let mut members = vec![Vec::new(); groups];
                    indices.iter().enumerate().for_each(|(row, group)| members[*group].push(row));
                    for cut in CUTS {
                        let of = |name: &str| {
                            let result = grouped(name, &values, None, &indices, groups, cut).expect("no error");
                            (0..groups).map(|group| number(&result, group)).collect::<Vec<_>>()
                        };
                        let errors = worst_errors(GROUPED, &values, of, &members);
                        worst = [0, 1].map(|i| worst[i].max(errors[i]));
                        // `mean_accurate` has a state of its own; that of variances has a mean, too.
                        let of = |name: &str| match name {
                            "mean_accurate" => {
                                let result =
                                    grouped("moments", &values, None, &indices, groups, cut).expect("no error");
                                let means = field(&result, "mean");
                                (0..groups).map(|group| number(&means, group)).collect()
                            }
                            _ => of(name),
                        };
                        let errors = [errors[0], errors[1], worst_errors(ANY, &values, of, &members)[0]];
                        assert!(
                            errors.iter().all(|error| *error <= 1.0),
                            "{kind:?} {len} {groups} {cut:?}: {errors:?}"
                        );
                    }
                }
            }
        }
        // What the README says of these columns.
        assert!(kind == Kind::TinySquares || worst[1] * GROUPED.variance < 1e-14, "{kind:?}: {worst:?}");
        println!("grouped, {kind:?}: the variance is off by at most {:.1e} of itself", worst[1] * GROUPED.variance);
    }
}

#[test]
fn columns_keep_the_promise() {
    for kind in KINDS.into_iter().filter(|kind| !poisoned(*kind)) {
        for len in LENGTHS {
            for values in columns(kind, len) {
                for cut in CUTS {
                    let of = |name: &str| vec![ungrouped(name, &values, cut).expect("no error")];
                    let single = *values.data_type() == DataType::Float32;
                    let promise = if single { UNGROUPED_F32 } else { UNGROUPED_F64 };
                    let errors = worst_errors(promise, &values, of, &[(0..len).collect()]);
                    assert!(errors.iter().all(|error| *error <= 1.0), "{kind:?} {len} {cut:?}: {errors:?}");
                }
            }
        }
    }
}

/// The first value is the shift at first, so it is where a group is weakest: far from all others, by any distance.
#[test]
fn an_outlier_first_costs_no_digits() {
    for exponent in -30..60 {
        for len in [2, 3, 5, 15, 16, 17, 31, 32, 100, 1000] {
            let mut values = column::<f64>(Kind::Normal, 3, exponent as u64, len);
            values[0] = 2f64.powi(exponent);
            let exact = exact(values.iter().copied());
            let result = grouped("var_pop_accurate", &floats(&values), None, &vec![0; len], 1, (1, 100)).unwrap();
            let error = variance_error(number(&result, 0).unwrap(), &exact, 0);
            assert!(error <= 1.0, "2^{exponent}, {len}: {error}");
        }
    }
}

/// Squares that come near the largest f64, and pass it, in the middle of a block or at its end.
#[test]
fn large_squares_cost_no_digits() {
    let mut worst = 0.0f64;
    for exponent in 470..=512 {
        for len in [2, 3, 15, 16, 17, 32, 33, 500] {
            let scale = 2f64.powi(exponent);
            let values: Vec<f64> =
                column::<f64>(Kind::Normal, 5, exponent as u64, len).iter().map(|x| x * scale).collect();
            let exact = exact(values.iter().copied());
            for cut in [(1, 100), (3, 7)] {
                let of =
                    |name| number(&grouped(name, &floats(&values), None, &vec![0; len], 1, cut).unwrap(), 0).unwrap();
                let errors = [
                    variance_error(of("var_pop_accurate"), &exact, 0),
                    GROUPED.mean_error(of("mean_accurate"), &exact),
                ];
                assert!(errors.iter().all(|error| *error <= 1.0), "2^{exponent}, {len}, {cut:?}: {errors:?}");
                worst = errors.into_iter().fold(worst, f64::max);
            }
        }
    }
    println!("large squares: at most {worst:.1e} of what is promised");
}

/// Values whose squares are above what groups sum, many in a group, and values whose squares are below f64's smallest
/// normal number: among others, so that each is added by itself, and as partial states.
#[test]
fn extreme_squares_cost_no_digits() {
    fn check(label: &str, values: &[f64], groups: usize, cuts: &[(usize, usize)], most: f64) {
        let indices: Vec<usize> = (0..values.len()).map(|row| row % groups).collect();
        let expected: Vec<_> =
            (0..groups).map(|group| exact(values[group..].iter().step_by(groups).copied())).collect();
        for cut in cuts {
            let of = |name| grouped(name, &floats(values), None, &indices, groups, *cut).unwrap();
            let (variances, moments, alone) =
                (of("var_pop_accurate"), field(&of("moments"), "mean"), of("mean_accurate"));
            for (group, exact) in expected.iter().enumerate() {
                let [variance, mean, alone] = [&variances, &moments, &alone].map(|all| number(all, group).unwrap());
                assert!(variance.is_sign_positive(), "{label}, {cut:?}: variance {variance}");
                let errors =
                    [variance_error(variance, exact, 0), mean_error(mean, exact), GROUPED.mean_error(alone, exact)];
                assert!(errors[0] <= most && errors[1] <= 1.0 && errors[2] <= 1.0, "{label}, {cut:?}: {errors:?}");
            }
        }
    }
    let noise = column::<f64>(Kind::Normal, 7, 0, 60_000);
    let large: Vec<f64> = noise.iter().map(|x| 2f64.powi(526) + 2f64.powi(500) * x).collect();
    // Far below the promise, because errors that grow with the rows would not reach it with so few.
    check("2^526 + 2^500 x", &large, 2, &[(1, 60_000), (3, 1000)], 1e-3);
    for exponent in (-545..=-525).chain([-1000]) {
        for len in [3, 15, 16, 17, 40] {
            let small: Vec<f64> = noise[..5 * len].iter().map(|x| x * 2f64.powi(exponent)).collect();
            check(&format!("2^{exponent} x, {len}"), &small, 5, &[(1, 1000), (3, 7), (5, 2)], 1.0);
        }
        let few = [0.0, 1.5, 1.5, 0.0, 1.5].map(|x| x * 2f64.powi(exponent));
        check(&format!("2^{exponent}, few"), &few, 1, &[(1, 5), (2, 1)], 1.0);
    }
}

/// Values whose sum is past the largest f64, though their mean is not, one by one, as a run and as partial states.
#[test]
fn large_sums_cost_no_digits() {
    for exponent in (890..=1020).step_by(2) {
        for (len, mean) in [(1, 0.0), (2, 2.0), (7, 3.0), (40, 0.0), (40, 2.0), (1000, 2.0)] {
            let noise = column::<f64>(Kind::Normal, 9, exponent as u64, len);
            // At most 8 * 2^1020, as no noise is beyond 5.
            let values: Vec<f64> = noise.iter().map(|x| (x + mean) * 2f64.powi(exponent)).collect();
            let exact = exact(values.iter().copied());
            for cut in [(1, 2000), (1, 7), (3, 100), (len, 1)] {
                let given = grouped("mean_accurate", &floats(&values), None, &vec![0; len], 1, cut).unwrap();
                let error = GROUPED.mean_error(number(&given, 0).unwrap(), &exact);
                assert!(error <= 1.0, "2^{exponent} (x + {mean}), {len}, {cut:?}: {error}");
            }
        }
    }
    // Sums past the largest f64, of both signs, in turn.
    let both = [f64::MAX, f64::MAX, 1e300, f64::MIN, f64::MIN, f64::MAX, f64::MAX, f64::MAX];
    for cut in [(1, 10), (2, 4), (8, 1)] {
        let given = grouped("mean_accurate", &floats(&both), None, &[0; 8], 1, cut).unwrap();
        let error = GROUPED.mean_error(number(&given, 0).unwrap(), &exact(both.iter().copied()));
        assert!(error <= 1.0, "{cut:?}: {error}");
    }
}

/// On one partition, whatever the batches, a column has the bits of one call of the crate.
#[test]
fn a_column_has_the_bits_of_one_call() {
    fn check<T: Element>(values: &[T], column: ArrayRef) {
        let expected = moments(Batch::new(values, Layout::nc(values.len(), 1)).unwrap());
        let [variance, mean] = [expected.variance(0, 1.0), expected.mean(0)];
        for batch in [77, 1000, 8192, 50_000, usize::MAX] {
            let given = ["var_samp_accurate", "mean_accurate"]
                .map(|name| ungrouped(name, &column, (1, batch)).unwrap().expect("rows").to_bits());
            assert_eq!(given, [variance.to_bits(), mean.to_bits()], "batches of {batch}");
        }
    }
    for kind in [Kind::Normal, Kind::Offset(1e12), Kind::Spread, Kind::Walk] {
        let values = column::<f64>(kind, 1, 0, 200_003);
        check(&values, floats(&values));
        let values = column::<f32>(kind, 1, 0, 200_003);
        check(&values, Arc::new(Float32Array::from(values.clone())));
    }
}

/// What NaN, infinities and overflow become: what the documentation says, in one part and in many.
#[test]
fn what_is_not_finite_stays_in_its_group() {
    let infinity = f64::INFINITY;
    let cases: [(&[f64], f64, f64); 8] = [
        (&[1.0, f64::NAN, 3.0], f64::NAN, f64::NAN),
        (&[f64::NAN], f64::NAN, f64::NAN),
        (&[infinity], infinity, f64::NAN),
        (&[1.0, 2.0, -infinity, 5.0, -infinity], -infinity, f64::NAN),
        (&[infinity, 1.0, -infinity], f64::NAN, f64::NAN),
        (&[f64::MAX, f64::MAX, f64::MAX], f64::MAX, 0.0),
        (&[1e200, 3e200, 2e200], 2e200, infinity),
        (&[f64::MAX, -f64::MAX], 0.0, infinity),
    ];
    for (values, mean, variance) in cases {
        // Between them, rows of another group.
        let (mut rows, mut indices) = (Vec::new(), Vec::new());
        for x in values {
            rows.extend([*x, 4.0, 6.0]);
            indices.extend([0, 1, 1]);
        }
        for cut in [(1, 100), (2, 1), (3, 2), (100, 1)] {
            let of = |name: &str| {
                let result = grouped(name, &floats(&rows), None, &indices, 2, cut).unwrap();
                [0, 1].map(|group| number(&result, group).expect("rows"))
            };
            let ([a, other_mean], [b, other_variance]) = (of("mean_accurate"), of("var_pop_accurate"));
            assert!(same(other_mean, 5.0) && same(other_variance, 1.0), "{other_mean} {other_variance}");
            let column = |name: &str| ungrouped(name, &floats(values), cut).unwrap().expect("rows");
            for (a, b) in [(a, b), (column("mean_accurate"), column("var_pop_accurate"))] {
                assert!(same(a, mean) && same(b, variance), "{values:?} {cut:?}: {a} {b}");
            }
        }
    }
}

fn same(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-15 * b.abs()
}
