//! Rows per second of these functions, of DataFusion's own and of one process of the crate `batchnorm`, for several
//! numbers of partitions and of groups. All of one round runs in turn, so that whatever else the machine does hits all.
//!
//! ```sh
//! cargo run --release --example scale
//! cargo run --release --example scale -- --rows 20000000 --rounds 15
//! ```

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch};
use batchnorm::{Batch, Element, Isa, Layout, Path};
use clap::Parser;
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::prelude::{SessionConfig, SessionContext};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Rows per second of these functions beside DataFusion's own.
#[derive(Parser)]
struct Options {
    /// Rows of the table, which is in memory
    #[arg(long, default_value_t = 2_000_000)]
    rows: usize,
    /// Rounds; the fastest and the median count
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Numbers of partitions
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    partitions: Vec<usize>,
    /// Numbers of groups
    #[arg(long, value_delimiter = ',', default_value = "10,1000,1000000")]
    groups: Vec<u64>,
    /// Rows of a batch
    #[arg(long, default_value = "8192", value_parser = clap::value_parser!(u32).range(1..))]
    batch_rows: u32,
}

/// What is measured: names, and the seconds of each round.
struct Case {
    label: String,
    partitions: usize,
    ours: Vec<f64>,
    own: Vec<f64>,
    count: Vec<f64>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let values: Vec<f64> = (0..options.rows).map(|_| 100.0 + (rng.next_u64() >> 11) as f64 * 2f64.powi(-53)).collect();
    let mut columns: Vec<(String, ArrayRef)> = vec![("x".into(), Arc::new(Float64Array::from(values.clone())))];
    let singles: Vec<f32> = values.iter().map(|x| *x as f32).collect();
    columns.push(("y".into(), Arc::new(Float32Array::from(singles.clone()))));
    for groups in &options.groups {
        let key = |_| (rng.next_u64() % groups.max(&1)) as i64;
        columns.push((format!("k{groups}"), Arc::new(Int64Array::from_iter_values((0..options.rows).map(key)))));
    }
    let rows = RecordBatch::try_from_iter(columns)?;

    let groups =
        options.groups.iter().map(|groups| (format!("{groups} groups, f64"), "x", format!(" GROUP BY k{groups}")));
    let whole =
        [("no groups, f64", "x"), ("no groups, f32", "y")].map(|(label, x)| (label.to_string(), x, String::new()));
    let queries: Vec<_> = whole.into_iter().chain(groups).collect();
    let [mut alone, mut alone_f32] = [const { Vec::new() }; 2];
    for _ in 0..options.rounds.max(1) {
        alone.push(one_process(&values));
        alone_f32.push(one_process(&singles));
    }
    let [alone, alone_f32] = [alone, alone_f32].map(|seconds| rate(&seconds, options.rows));
    println!("{} rows, million rows per second: fastest (median) of {} rounds\n", options.rows, options.rounds);
    println!("one process of the crate, one thread: f64 {alone}, f32 {alone_f32}\n");
    println!("| plan | partitions | var_pop_accurate | DataFusion's var_pop | times as fast | count(x + 1) |");
    println!("|---|---:|---:|---:|---:|---:|");
    for (label, x, tail) in queries {
        let mut cases = Vec::new();
        for &partitions in &options.partitions {
            cases.push((context(&rows, partitions, options.batch_rows as usize)?, Case::new(&label, partitions)));
        }
        for _ in 0..options.rounds.max(1) {
            for (ctx, case) in &mut cases {
                case.ours.push(seconds(ctx, &format!("SELECT var_pop_accurate({x}) FROM t{tail}")).await?);
                case.own.push(seconds(ctx, &format!("SELECT var_pop({x}) FROM t{tail}")).await?);
                case.count.push(seconds(ctx, &format!("SELECT count({x} + 1) FROM t{tail}")).await?);
            }
        }
        cases.iter().for_each(|(_, case)| case.print(options.rows));
    }
    Ok(())
}

impl Case {
    fn new(label: &str, partitions: usize) -> Self {
        let (ours, own, count) = Default::default();
        Case { label: label.into(), partitions, ours, own, count }
    }

    fn print(&self, rows: usize) {
        let [ours, own, count] = [&self.ours, &self.own, &self.count].map(|seconds| rate(seconds, rows));
        let [fast, median] = [fastest, median].map(|of| of(&self.own) / of(&self.ours));
        println!("| {} | {} | {ours} | {own} | {fast:.2} ({median:.2}) | {count} |", self.label, self.partitions);
    }
}

/// Deals the rows out to the partitions, a batch at a time.
fn context(rows: &RecordBatch, partitions: usize, batch_rows: usize) -> Result<SessionContext> {
    let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(batch_rows);
    let mut ctx = SessionContext::new_with_config(config);
    batchnorm_datafusion::register_all(&mut ctx)?;
    let mut parts = vec![Vec::new(); partitions];
    for (i, start) in (0..rows.num_rows()).step_by(batch_rows).enumerate() {
        parts[i % partitions].push(rows.slice(start, batch_rows.min(rows.num_rows() - start)));
    }
    ctx.register_table("t", Arc::new(MemTable::try_new(rows.schema(), parts)?))?;
    Ok(ctx)
}

/// Returns how long a query takes, once it is planned.
async fn seconds(ctx: &SessionContext, sql: &str) -> Result<f64> {
    let plan = ctx.sql(sql).await?.create_physical_plan().await?;
    let started = Instant::now();
    let batches = datafusion::physical_plan::collect(plan, ctx.task_ctx()).await?;
    assert!(batches.iter().any(|batch| batch.num_rows() > 0));
    Ok(started.elapsed().as_secs_f64())
}

/// Returns how long the crate itself takes for the column, on one thread.
fn one_process<T: Element>(values: &[T]) -> f64 {
    let started = Instant::now();
    let batch = Batch::new(values, Layout::nc(values.len(), 1)).expect("one column");
    let moments = std::hint::black_box(Path::Simd(Isa::detect()).moments(batch));
    assert_eq!(moments.count(0), values.len() as u64);
    started.elapsed().as_secs_f64()
}

fn fastest(seconds: &[f64]) -> f64 {
    seconds.iter().copied().fold(f64::INFINITY, f64::min)
}

fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn rate(seconds: &[f64], rows: usize) -> String {
    let millions = |seconds: f64| rows as f64 / seconds / 1e6;
    format!("{:.0} ({:.0})", millions(fastest(seconds)), millions(median(seconds)))
}
