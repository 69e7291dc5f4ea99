//! Rows per second on 1, 2 and 4 executors, and in one process with as many partitions; and what the processes send each
//! other.
//!
//!     cargo run --release --example scale -- --rows 67108864 --repeat 9

#[path = "../tests/common/cluster.rs"]
#[allow(dead_code, unreachable_pub)] // the tests use more of it
mod cluster;

use std::time::Instant;

use batchnorm_ballista::{
    Executor, ExecutorOptions, Scheduler, SchedulerOptions, connect, end_of_stdin, local, sample,
};
use clap::Parser;
use cluster::{Cluster, Programs, Size};
use datafusion::prelude::{ParquetReadOptions, SessionContext};

/// Measures rows per second on 1, 2 and 4 executors, and in one process
#[derive(Parser)]
struct Options {
    /// Rows, a multiple of 8 * 65536: Parquet files of 48 bytes a row, in the temporary folder, deleted at the end
    #[arg(long, default_value_t = 1 << 22)]
    rows: u64,

    /// Rounds; each runs every query once
    #[arg(long, default_value_t = 3)]
    repeat: usize,
}

const FILES: u32 = 8;
const COUNTS: [usize; 3] = [1, 2, 4];

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // This program is also the scheduler and the executors, so that nothing else needs to be built before it runs.
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("as-scheduler") => {
            let scheduler = Scheduler::bind(SchedulerOptions::parse_from(arguments_of("scheduler", arguments))).await?;
            println!("batchnorm-scheduler: listening on {}", scheduler.address());
            tokio::select! { ended = scheduler.serve() => Ok(ended?), () = end_of_stdin() => Ok(()) }
        }
        Some("as-executor") => {
            let executor = Executor::new(ExecutorOptions::parse_from(arguments_of("executor", arguments)))?;
            tokio::select! { ended = executor.run() => Ok(ended?), () = end_of_stdin() => Ok(()) }
        }
        _ => measure(&Options::parse()).await,
    }
}

fn arguments_of(name: &str, rest: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    std::iter::once(name.to_string()).chain(rest)
}

struct Case {
    name: String,
    context: SessionContext,
    /// Seconds of each round.
    times: Vec<f64>,
}

async fn measure(options: &Options) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let rows = sample::write(folder.path(), FILES, options.rows / u64::from(FILES))?;
    let program = std::env::current_exe()?.display().to_string();
    let programs = Programs {
        scheduler: vec![program.clone(), "as-scheduler".into()],
        executor: vec![program, "as-executor".into()],
    };
    let (mut clusters, mut cases) = (Vec::new(), Vec::new());
    for count in COUNTS {
        let size = Size { executors: count, slots: 1, executor_timeout: 30, no_executors_timeout: 30 };
        let cluster = Cluster::start(&programs, &size).await;
        let context = connect(&cluster.address, FILES as usize).await?;
        cases.push(Case { name: format!("executors: {count}, of one slot"), context, times: Vec::new() });
        clusters.push(cluster);
        let name = format!("one process, partitions: {count}");
        cases.push(Case { name, context: local(count)?, times: Vec::new() });
    }
    for case in &cases {
        let path = folder.path().to_str().ok_or("a path that is not UTF-8")?;
        case.context.register_parquet("t", path, ParquetReadOptions::default()).await?;
    }
    println!("{rows} rows in {FILES} files, f64; million rows per second: median (best) of {} rounds", options.repeat);
    println!("{:<30} {:>20} {:>20}", "", "var_pop_accurate", "DataFusion's var_pop");
    let ours = rounds(&mut cases, "var_pop_accurate(noise)", options.repeat).await?;
    let theirs = rounds(&mut cases, "var_pop(noise)", options.repeat).await?;
    let speed = |seconds: f64| rows as f64 / seconds / 1e6;
    for (case, (ours, theirs)) in cases.iter().zip(ours.iter().zip(&theirs)) {
        let cell = |(median, best): (f64, f64)| format!("{:.1} ({:.1})", speed(median), speed(best));
        println!("{:<30} {:>20} {:>20}", case.name, cell(*ours), cell(*theirs));
    }
    print_shuffled(&cases[2].context, &clusters[1]).await
}

/// Median and best time of each case.
async fn rounds(cases: &mut [Case], function: &str, repeat: usize) -> Result<Vec<(f64, f64)>, Failure> {
    let sql = format!("SELECT {function} FROM t");
    for case in cases.iter_mut() {
        case.times.clear();
        case.context.sql(&sql).await?.collect().await?; // warm: files in the cache, connections made
    }
    for _ in 0..repeat.max(1) {
        for case in cases.iter_mut() {
            let start = Instant::now();
            case.context.sql(&sql).await?.collect().await?;
            case.times.push(start.elapsed().as_secs_f64());
        }
    }
    let summary = cases.iter_mut().map(|case| {
        case.times.sort_by(f64::total_cmp);
        (case.times[case.times.len() / 2], case.times[0])
    });
    Ok(summary.collect())
}

/// What the executors of a cluster write for one query.
async fn print_shuffled(context: &SessionContext, cluster: &Cluster) -> Result<(), Failure> {
    let files = || cluster.executors.iter().flat_map(|executor| executor.shuffled()).collect::<Vec<_>>();
    let before = files();
    context.sql("SELECT var_pop_accurate(noise) FROM t").await?.collect().await?;
    let new: Vec<_> = files().into_iter().filter(|file| !before.contains(file)).collect();
    println!("one query on {} executors writes these files, of states and of the result:", cluster.executors.len());
    for (path, bytes) in new {
        let tail: Vec<_> = path.iter().rev().take(3).map(|part| part.to_string_lossy()).collect();
        println!("{:>8} bytes  {}", bytes, tail.into_iter().rev().collect::<Vec<_>>().join("/"));
    }
    Ok(())
}
