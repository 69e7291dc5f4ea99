//! Plans that reach other parts of the accumulators: rows that skip partial aggregation, sorted groups, groups that are
//! emitted early, and memory that runs out.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use datafusion::error::Result;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::harness::{floats, mean_error, query, table, variance_error, with_config};
use crate::nasty::{Kind, column};
use crate::oracle::exact;

const LEN: usize = 60_000;

/// Checks every group of a query about `LEN` rows of the group `key(row)`.
async fn check(ctx: &SessionContext, partitions: usize, key: impl Fn(usize) -> i64, tail: &str) -> Result<()> {
    let values = column::<f64>(Kind::Offset(1e8), 9, 0, LEN);
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..LEN).map(&key)));
    table(ctx, &[("k", keys), ("x", floats(&values))], partitions, 8192)?;
    let mut members = std::collections::BTreeMap::<i64, Vec<f64>>::new();
    values.iter().enumerate().for_each(|(row, x)| members.entry(key(row)).or_default().push(*x));
    let rows = query(ctx, &format!("SELECT k, mean_accurate(x), var_pop_accurate(x) FROM {tail}")).await?;
    assert_eq!(rows.len(), members.len());
    for row in rows {
        let exact = exact(members[&(row[0].unwrap() as i64)].iter().copied());
        let errors = [mean_error(row[1].unwrap(), &exact), variance_error(row[2].unwrap(), &exact, 0)];
        assert!(errors.iter().all(|error| *error <= 1.0), "{errors:?}");
    }
    Ok(())
}

async fn plan(ctx: &SessionContext, sql: &str) -> Result<String> {
    let batches = ctx.sql(&format!("EXPLAIN ANALYZE {sql}")).await?.collect().await?;
    Ok(arrow::util::pretty::pretty_format_batches(&batches)?.to_string())
}

/// Where most groups have few rows, DataFusion stops aggregating partially: each row becomes a state by itself.
#[tokio::test]
async fn rows_that_skip_partial_aggregation() -> Result<()> {
    let config = SessionConfig::new()
        .with_target_partitions(2)
        .set_u64("datafusion.execution.skip_partial_aggregation_probe_rows_threshold", 1000)
        .set_str("datafusion.execution.skip_partial_aggregation_probe_ratio_threshold", "0.1");
    let ctx = with_config(config);
    check(&ctx, 2, |row| (row % 20_011) as i64, "t GROUP BY k").await?;
    let plan = plan(&ctx, "SELECT k, moments(x) FROM t GROUP BY k").await?;
    let skipped: Vec<&str> =
        plan.match_indices("skipped_aggregation_rows=").map(|(at, _)| &plan[at + 25..][..1]).collect();
    assert!(skipped.iter().any(|digit| *digit != "0"), "no row skipped: {plan}");
    Ok(())
}

/// Long runs of one group go through the crate's kernel, short ones row by row.
#[tokio::test]
async fn runs_of_one_group() -> Result<()> {
    for partitions in [1, 2] {
        let ctx = with_config(SessionConfig::new().with_target_partitions(partitions));
        for run in [100, 256, 300, 5000, 40_000] {
            check(&ctx, partitions, |row| (row / run) as i64, "t GROUP BY k").await?;
        }
        check(&ctx, partitions, |row| if row % 3000 < 700 { 1 } else { (row % 5) as i64 }, "t GROUP BY k").await?;
    }
    Ok(())
}

/// Groups of sorted input are emitted as soon as they are complete.
#[tokio::test]
async fn groups_that_are_emitted_early() -> Result<()> {
    for config in [SessionConfig::new().with_target_partitions(1), SessionConfig::new().with_target_partitions(2)] {
        let ctx = with_config(config.with_batch_size(64));
        check(&ctx, 1, |row| (row % 1009) as i64, "(SELECT * FROM t ORDER BY k LIMIT 60000) GROUP BY k").await?;
    }
    Ok(())
}

/// With less memory than the groups need, they are written to disk and merged.
#[tokio::test]
async fn groups_that_do_not_fit_into_memory() -> Result<()> {
    let pool = Arc::new(FairSpillPool::new(2_000_000));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
    let config = SessionConfig::new().with_target_partitions(1).with_sort_spill_reservation_bytes(100_000);
    let mut ctx = SessionContext::new_with_config_rt(config.with_batch_size(512), runtime);
    batchnorm_datafusion::register_all(&mut ctx)?;
    check(&ctx, 1, |row| (row % 30_011) as i64, "t GROUP BY k").await?;
    let plan = plan(&ctx, "SELECT k, moments(x) FROM t GROUP BY k").await?;
    assert!(plan.contains("spill_count=") && !plan.contains("spill_count=0,"), "nothing was spilled: {plan}");
    Ok(())
}
