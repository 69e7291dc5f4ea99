//! Two executors over partitioned Parquet files, against exact arithmetic and against one process.

mod common;

use std::path::Path;

use batchnorm_ballista::{connect, local, sample};
use common::exact::{error, mean_and_variance};
use common::{SMALL, number, numbers, register, rows, start};
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{Float64Type, UInt64Type};
use datafusion::prelude::SessionContext;

/// What `batchnorm-datafusion` promises, for any partitions and any order of merges.
struct Bound {
    /// Largest relative error of a variance.
    variance: f64,
    /// What a mean may be off beyond half a unit in its last place, in standard deviations.
    mean: f64,
}

/// Of f64 columns without `GROUP BY`, beside the variance's 4 units in the last place.
const F64: Bound = Bound { variance: 4.0 * f64::EPSILON, mean: f64::EPSILON };
/// Of f32 columns without `GROUP BY`.
const F32: Bound = Bound { variance: 4.6e-13, mean: 3.9e-14 };
/// With `GROUP BY`.
const GROUPED: Bound = Bound { variance: 2e-11, mean: 3e-13 };

const COLUMNS: [(&str, Bound); 6] =
    [("far", F64), ("pair", F64), ("ramp", F64), ("level", F32), ("holes", F64), ("noise", F64)];

/// The distance from a number to the next.
fn ulp(x: f64) -> f64 {
    x.abs().next_up() - x.abs()
}

/// Checks all functions on all columns against exact arithmetic on their values.
async fn check(context: &SessionContext, what: &str, values: &[Vec<f64>]) {
    for ((column, bound), values) in COLUMNS.iter().zip(values) {
        let sql = format!(
            "SELECT mean_accurate({column}) AS mean, var_pop_accurate({column}) AS v, var_samp_accurate({column}) AS vs, \
             stddev_pop_accurate({column}) AS s, stddev_samp_accurate({column}) AS ss, var_pop({column}) AS theirs FROM t"
        );
        let answer = rows(context, &sql).await;
        let get = |name| number(&answer, name);
        let (mean, variance) = mean_and_variance(values.iter().copied());
        let exact = variance.to_f64().value();
        let sd = exact.sqrt();

        let mean_error = (error(get("mean"), &mean) - ulp(get("mean")) / 2.0).max(0.0) / sd;
        let variance_error = error(get("v"), &variance);
        println!(
            "{what}, {column}: variance {:.2} ulp off (DataFusion's {:.1e}), mean {mean_error:.1e} sd beyond its rounding",
            variance_error / ulp(exact),
            error(get("theirs"), &variance) / ulp(exact),
        );
        assert!(mean_error <= bound.mean, "{what}, {column}: the mean is {mean_error:e} sd off beyond its rounding");
        assert!(variance_error / exact <= bound.variance, "{what}, {column}: {} for {exact}", get("v"));

        // The others follow from the variance, by a few operations.
        let n = values.len() as f64;
        let near = |name, exact: f64| {
            let relative = (get(name) / exact - 1.0).abs();
            assert!(relative <= bound.variance + 4.0 * f64::EPSILON, "{what}, {name}({column}): {relative:e} off");
        };
        near("vs", exact * (n / (n - 1.0)));
        near("s", sd);
        near("ss", sd * (n / (n - 1.0)).sqrt());
    }
}

/// The values of each column, read in this process.
async fn values(context: &SessionContext) -> Vec<Vec<f64>> {
    let mut all = Vec::new();
    for (column, _) in COLUMNS {
        let batch = rows(context, &format!("SELECT {column} FROM t")).await;
        all.push(numbers(&batch, column));
    }
    all
}

fn table(folder: &Path) -> u64 {
    sample::write(folder, 8, 65_536).expect("a table")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bound_holds_for_any_partitions_in_one_process_and_on_a_cluster() {
    let folder = tempfile::tempdir().unwrap();
    table(folder.path());
    let cluster = start(&SMALL).await;
    let alone = local(1).unwrap();
    register(&alone, folder.path()).await;
    let values = values(&alone).await;
    let mut contexts = vec![("one process, 1 partition".to_string(), alone)];
    for partitions in [1, 2, 3, 8, 16] {
        let context = connect(&cluster.address, partitions).await.unwrap();
        register(&context, folder.path()).await;
        contexts.push((format!("two executors, {partitions} partitions"), context));
    }
    for (what, context) in &contexts {
        check(context, what, &values).await;
    }
    for executor in &cluster.executors {
        assert!(!executor.shuffled().is_empty(), "an executor had no work: {}", executor.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_filters_nulls_and_structs_cross_the_wire() {
    let folder = tempfile::tempdir().unwrap();
    let n = table(folder.path());
    let cluster = start(&SMALL).await;
    let context = connect(&cluster.address, 8).await.unwrap();
    register(&context, folder.path()).await;

    let sql = "SELECT station, mean_accurate(far) AS mean, var_pop_accurate(far) AS v, count(*) AS n \
               FROM t GROUP BY station ORDER BY station";
    let answer = rows(&context, sql).await;
    assert_eq!(numbers(&answer, "station"), (0..8).map(f64::from).collect::<Vec<_>>());
    assert_eq!(numbers(&answer, "n"), [n as f64 / 8.0; 8]);
    let [far, _, _, _, holes] = sample::truths(n); // of each station, too
    for (mean, variance) in numbers(&answer, "mean").into_iter().zip(numbers(&answer, "v")) {
        assert!((variance / far.variance - 1.0).abs() <= GROUPED.variance, "{variance} for {far:?}");
        assert!((mean - far.mean).abs() <= ulp(mean) + GROUPED.mean * far.variance.sqrt(), "{mean} for {far:?}");
    }

    let sql = "SELECT var_pop_accurate(far) FILTER (WHERE station < 4) AS some, \
               var_pop_accurate(far) FILTER (WHERE station > 99) AS none FROM t";
    let answer = rows(&context, sql).await;
    assert!((number(&answer, "some") / far.variance - 1.0).abs() <= F64.variance);
    assert!(answer.column_by_name("none").unwrap().is_null(0), "no rows: null");

    let answer = rows(&context, "SELECT moments(holes) AS m FROM t").await;
    let moments = answer.column_by_name("m").unwrap().as_struct();
    let count = moments.column_by_name("count").unwrap().as_primitive::<UInt64Type>().value(0);
    let variance = moments.column_by_name("var_pop").unwrap().as_primitive::<Float64Type>().value(0);
    assert_eq!(count, n / 2, "nulls do not count");
    assert!((variance / holes.variance - 1.0).abs() <= F64.variance, "{variance} for {holes:?}");
}
