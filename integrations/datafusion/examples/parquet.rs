//! Writes Parquet files, larger than the memory that the queries may use, and asks for means and variances of them: by
//! this crate's functions and by DataFusion's own, beside the exact numbers.
//!
//! ```sh
//! cargo run --release --example parquet
//! cargo run --release --example parquet -- --size-mb 4096 --memory-mb 64
//! ```

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Float32Array, Float64Array, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Float64Type};
use clap::Parser;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Means and variances of Parquet files that are larger than the memory of the queries.
#[derive(Parser)]
struct Options {
    /// Size of all files together, in MB
    #[arg(long, default_value_t = 64)]
    size_mb: usize,
    /// Limit of the memory pool, in MB
    #[arg(long, default_value_t = 16)]
    memory_mb: usize,
    /// Number of files
    #[arg(long, default_value_t = 4)]
    files: usize,
    /// Partitions of a query: threads that read
    #[arg(long, default_value_t = 2)]
    partitions: usize,
    /// Groups of the grouped query
    #[arg(long, default_value_t = 1000)]
    groups: u32,
    /// Folder for the files; they are deleted at the end
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    if options.files == 0 || options.partitions == 0 || options.groups == 0 {
        return Err("--files, --partitions and --groups must be at least 1".into());
    }
    let folder = match &options.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let exact = write_files(&options, folder.path())?;

    let pool: Arc<dyn MemoryPool> = Arc::new(FairSpillPool::new(options.memory_mb << 20));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool)).build_arc()?;
    let config = SessionConfig::new().with_target_partitions(options.partitions);
    let mut ctx = SessionContext::new_with_config_rt(config, runtime);
    batchnorm_datafusion::register_all(&mut ctx)?;
    ctx.register_parquet("t", &folder.path().to_string_lossy(), ParquetReadOptions::default()).await?;

    for (tail, groups) in [("", 1), (" GROUP BY key", options.groups)] {
        for (column, exact) in [("price", &exact.price), ("weight", &exact.weight)] {
            println!("\n{column}{tail}: exact mean {}, exact variance {}", exact.mean(), exact.variance());
            for [mean, variance] in [["mean_accurate", "var_pop_accurate"], ["avg", "var_pop"]] {
                let sql = format!("SELECT {mean}({column}), {variance}({column}) FROM t{tail}");
                let run = Run { rows: exact.count, pool: &pool };
                let [mean, variance] = run.query(&ctx, &sql).await?;
                let of = if groups == 1 { String::new() } else { format!(" (averages over {groups} groups)") };
                println!("  mean {mean}, variance {variance}{of}");
            }
        }
    }
    println!("\nmost memory of this process: {}", peak_memory().unwrap_or_else(|| "unknown on this system".into()));
    Ok(())
}

/// Exact sums of whole multiples of a power of two about a whole number.
struct Exact {
    base: f64,
    unit: f64,
    count: u64,
    sum: u128,
    squares: u128,
}

impl Exact {
    fn new(base: f64, unit: f64) -> Self {
        Exact { base, unit, count: 0, sum: 0, squares: 0 }
    }

    /// Adds a number of units, and returns the value.
    fn add(&mut self, units: u64) -> f64 {
        self.count += 1;
        self.sum += u128::from(units);
        self.squares += u128::from(units * units);
        self.base + units as f64 * self.unit
    }

    fn mean(&self) -> f64 {
        self.base + self.sum as f64 / self.count as f64 * self.unit
    }

    fn variance(&self) -> f64 {
        let count = u128::from(self.count);
        let m2_times_count = self.squares * count - self.sum * self.sum;
        m2_times_count as f64 / (self.count as f64 * self.count as f64) * self.unit * self.unit
    }
}

/// What is in the columns, exactly.
struct Columns {
    /// 1e12 and up to 1, in steps of 2^-10: f64.
    price: Exact,
    /// 1000 and up to 64, in steps of 2^-10: f32.
    weight: Exact,
}

/// Writes the files and returns what is in them.
fn write_files(options: &Options, folder: &Path) -> Result<Columns> {
    const BATCH: usize = 65_536;
    let mut columns = Columns { price: Exact::new(1e12, 2f64.powi(-10)), weight: Exact::new(1000.0, 2f64.powi(-10)) };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let started = Instant::now();
    let mut written = 0;
    for file in 0..options.files {
        let path = folder.join(format!("{file}.parquet"));
        let mut writer: Option<ArrowWriter<File>> = None;
        let mut bytes = 0;
        while bytes < (options.size_mb << 20) / options.files {
            let batch = batch(BATCH, options.groups, &mut columns, &mut rng)?;
            let writer = match &mut writer {
                Some(writer) => writer,
                none => none.insert(ArrowWriter::try_new(File::create(&path)?, batch.schema(), Some(properties()))?),
            };
            writer.write(&batch)?;
            bytes = writer.bytes_written() + writer.in_progress_size();
            progress(&format!("writing: {} MB", (written + bytes) >> 20));
        }
        if let Some(writer) = writer {
            writer.close()?;
        }
        written += std::fs::metadata(&path)?.len() as usize;
    }
    let (rows, seconds) = (columns.price.count, started.elapsed().as_secs_f64());
    println!("{rows} rows, {} MB of Parquet in {} files, written in {seconds:.1} s", written >> 20, options.files);
    println!("memory pool: {} MB, partitions: {}", options.memory_mb, options.partitions);
    Ok(columns)
}

/// Without dictionaries or compression, files are as large as their numbers are.
fn properties() -> parquet::file::properties::WriterProperties {
    parquet::file::properties::WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(1 << 17))
        .build()
}

fn batch(len: usize, groups: u32, columns: &mut Columns, rng: &mut ChaCha8Rng) -> Result<RecordBatch> {
    let (mut keys, mut prices, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..len {
        let random = rng.next_u64();
        keys.push((random % u64::from(groups)) as i32);
        prices.push(columns.price.add(random >> 54));
        weights.push(columns.weight.add(random >> 32 & 0xffff) as f32);
    }
    let price: ArrayRef = Arc::new(Float64Array::from(prices));
    let weight: ArrayRef = Arc::new(Float32Array::from(weights));
    let key: ArrayRef = Arc::new(Int32Array::from(keys));
    Ok(RecordBatch::try_from_iter([("key", key), ("price", price), ("weight", weight)])?)
}

/// A query over so many rows.
struct Run<'a> {
    rows: u64,
    pool: &'a Arc<dyn MemoryPool>,
}

impl Run<'_> {
    /// Runs a query, shows its progress, and returns the average of each of its two columns.
    async fn query(&self, ctx: &SessionContext, sql: &str) -> Result<[f64; 2]> {
        let plan = ctx.sql(sql).await?.create_physical_plan().await?;
        let started = Instant::now();
        let mut stream = execute_stream(Arc::clone(&plan), ctx.task_ctx())?;
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        let (mut sums, mut count, mut reserved) = ([0.0; 2], 0.0, 0);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    reserved = reserved.max(self.pool.reserved());
                    let rows = rows_read(plan.as_ref());
                    progress(&format!(
                        "  {:3} %, {:.1} million rows/s, {} KB of the pool",
                        100 * rows as u64 / self.rows.max(1),
                        rows as f64 / started.elapsed().as_secs_f64() / 1e6,
                        self.pool.reserved() >> 10,
                    ));
                }
                batch = stream.next() => {
                    let Some(batch) = batch.transpose()? else { break };
                    for (sum, column) in sums.iter_mut().zip(batch.columns()) {
                        let column = arrow::compute::cast(column, &DataType::Float64)?;
                        *sum += column.as_primitive::<Float64Type>().values().iter().sum::<f64>();
                    }
                    count += batch.num_rows() as f64;
                }
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "  {sql}: {seconds:.2} s, {:.1} million rows/s, at most {} KB of the pool seen",
            self.rows as f64 / seconds / 1e6,
            reserved >> 10
        );
        Ok(sums.map(|sum| sum / count))
    }
}

/// Returns the rows that the scans of a plan have produced so far, by DataFusion's own metrics.
fn rows_read(plan: &dyn ExecutionPlan) -> usize {
    let children = plan.children();
    if children.is_empty() {
        return plan.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0);
    }
    children.iter().map(|child| rows_read(child.as_ref())).sum()
}

/// Shows a line that the next one replaces, on a terminal.
fn progress(line: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        write!(out, "\r{line:<70}\r").ok();
    }
}

/// Returns the most memory that this process has had, where Linux tells.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(format!("{} MB", kilobytes >> 10))
}
