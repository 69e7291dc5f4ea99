//! Runs SQL with batchnorm's functions, on a Ballista cluster or in this process.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use batchnorm_ballista::{connect, local, wait_until_ready};
use clap::Parser;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::ParquetReadOptions;

/// Runs SQL with batchnorm's functions, on a Ballista cluster or in this process
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The query, such as "SELECT var_pop_accurate(x) FROM t"
    sql: String,

    /// Scheduler of the cluster to run it on [default: this process]
    #[arg(long, value_name = "HOST:PORT")]
    scheduler: Option<String>,

    /// A table: a Parquet file, or a folder of such files. Its path must mean the same on all machines. Can be repeated
    #[arg(long = "table", value_name = "NAME=PATH", value_parser = parse_table)]
    tables: Vec<(String, String)>,

    /// Partitions to split the work into; a few for each task slot
    #[arg(long, value_name = "N", default_value_t = 8)]
    partitions: usize,

    /// Seconds to wait until the scheduler has its --min-executors
    #[arg(long, value_name = "SECONDS", requires = "scheduler")]
    wait: Option<u64>,

    /// Seconds after which to give up
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    timeout: u64,

    /// Print how long the query took
    #[arg(long)]
    time: bool,
}

/// Splits `NAME=PATH`; the path becomes absolute, because other processes read it.
fn parse_table(text: &str) -> Result<(String, String), String> {
    let (name, path) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("must be NAME=PATH")?;
    let path = std::fs::canonicalize(path).map_err(|error| format!("{path}: {error}"))?;
    let path = path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))?;
    Ok((name.to_string(), path.to_string()))
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error")).init();
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("batchnorm-sql: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let context = match &options.scheduler {
        Some(scheduler) => {
            if let Some(seconds) = options.wait {
                wait_until_ready(scheduler, Duration::from_secs(seconds)).await?;
            }
            connect(scheduler, options.partitions).await?
        }
        None => local(options.partitions)?,
    };
    for (name, path) in &options.tables {
        context.register_parquet(name.as_str(), path, ParquetReadOptions::default()).await?;
    }
    let start = Instant::now();
    let query = async { context.sql(&options.sql).await?.collect().await };
    let limit = Duration::from_secs(options.timeout);
    let batches = tokio::time::timeout(limit, query).await.map_err(|_| format!("no result within {limit:?}"))??;
    println!("{}", pretty_format_batches(&batches)?);
    if options.time {
        println!("{:.3} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}
