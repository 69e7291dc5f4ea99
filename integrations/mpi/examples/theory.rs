//! The cost of a synchronised batch norm on many ranks, on paper: message sizes, three ways to merge, where the time goes.
//!
//! ```text
//! cargo run --release --example theory                                   # 1,000 ranks, 10,000 features
//! cargo run --release --example theory -- --ranks 8 --features 2048
//! ```
//!
//! The network is two assumed figures. What a rank computes is measured here: a merge, and its own shard.

use std::hint::black_box;
use std::time::Instant;

use batchnorm::{Batch, BatchMut, BatchNorm, Layout, Moments, Path, Result, moments};
use lexopt::prelude::*;

const HELP: &str = "\
Prints what a synchronised batch norm exchanges each step, and for how long, on paper.

usage: theory [--ranks N] [--features N] [--rows N] [--latency US] [--bandwidth GBS]

  --ranks N         default 1000
  --features N      default 10000
  --rows N          of each rank's shard (default 512)
  --latency US      of a message, in microseconds (default 2)
  --bandwidth GBS   of a rank, in each direction, in GB/s (default 12.5: 100 Gbit/s)
  -h, --help        print this
";

struct Options {
    ranks: usize,
    features: usize,
    rows: usize,
    latency: f64,
    bandwidth: f64,
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut options = Options { ranks: 1000, features: 10_000, rows: 512, latency: 2.0, bandwidth: 12.5 };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("ranks") => options.ranks = parser.value()?.parse()?,
            Long("features") => options.features = parser.value()?.parse()?,
            Long("rows") => options.rows = parser.value()?.parse()?,
            Long("latency") => options.latency = parser.value()?.parse()?,
            Long("bandwidth") => options.bandwidth = parser.value()?.parse()?,
            Short('h') | Long("help") => {
                print!("{HELP}");
                return Ok(());
            }
            _ => return Err(argument.unexpected().into()),
        }
    }
    for (name, given, least) in
        [("ranks", options.ranks, 2), ("features", options.features, 1), ("rows", options.rows, 2)]
    {
        if given < least {
            return Err(format!("--{name} is {given}, but needs at least {least}").into());
        }
    }
    print(&options)?;
    Ok(())
}

fn print(options: &Options) -> Result<()> {
    let Options { ranks, features, rows, latency, bandwidth } = *options;
    println!("{ranks} ranks, {features} features, shards of {rows} rows, f32; per layer and step");
    println!("assumed: {latency} us per message, {bandwidth} GB/s per rank and direction");
    let (merge, compute) = (merge_seconds(features)?, shard_seconds(rows, features)?);
    println!(
        "measured here, one thread: merging a feature {:.1} ns, a shard's forward and backward pass {:.1} ms",
        merge * 1e9,
        compute * 1e3
    );
    println!();
    println!(
        "a rank contributes {} forward (6 words per feature), {} backward (5 words), and 2 headers of 192 bytes",
        bytes(features as f64 * 48.0),
        bytes(features as f64 * 40.0)
    );
    println!();
    println!("| merged by            | messages | bytes in | merges | latency | bytes | merging | sum      |");
    println!("|----------------------|----------|----------|--------|---------|-------|---------|----------|");
    let (r, f, words) = (ranks as f64, features as f64, 88.0);
    let levels = r.log2().ceil();
    // Messages that follow one another, bytes that come in, and merges of a feature, of both passes.
    for (name, messages, bytes_in, merges) in [
        ("each rank (gather)", 2.0 * (r - 1.0), (r - 1.0) * f * words, 2.0 * (r - 1.0) * f),
        ("a tree of ranks", 2.0 * 2.0 * levels, 2.0 * levels * f * words, 2.0 * levels * f),
        ("shares of features", 2.0 * (r - 1.0 + levels), 2.0 * (r - 1.0) / r * f * words, 2.0 * (r - 1.0) * f / r),
    ] {
        let times = [messages * latency * 1e-6, bytes_in / bandwidth * 1e-9, merges * merge];
        let [of_latency, of_bytes, of_merges] = times.map(|time| time * 1e3);
        let sum: f64 = times.iter().sum::<f64>() * 1e3;
        println!(
            "| {name:20} | {messages:8.0} | {:>8} | {merges:6.0e} | {of_latency:7.2} | {of_bytes:5.2} | {of_merges:7.2} | {sum:5.2} ms |",
            bytes(bytes_in)
        );
    }
    println!();
    println!("(Times in ms. The headers add 2 x {levels} messages, {:.2} ms.)", 2.0 * levels * latency * 1e-3);
    Ok(())
}

fn bytes(count: f64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "KB")];
    units.iter().find(|(unit, _)| count >= *unit).map_or(format!("{count:.0} B"), |(unit, name)| {
        format!("{:.*} {name}", usize::from(count / unit < 100.0), count / unit)
    })
}

/// The time of rebuilding received moments and merging them, per feature. The shortest of many.
fn merge_seconds(features: usize) -> Result<f64> {
    let data: Vec<f32> = (0..4 * features).map(|at| (at * 7919 % 1000) as f32).collect();
    let one = moments(Batch::new(&data, Layout::nc(4, features))?);
    let mut shortest = f64::INFINITY;
    for _ in 0..200 {
        let mut merged = one.clone();
        let start = Instant::now();
        merged.merge(&Moments::from_parts(black_box(one.parts()))?)?;
        shortest = shortest.min(start.elapsed().as_secs_f64());
        black_box(&merged);
    }
    Ok(shortest / features as f64)
}

/// The time of a training step of one shard, without any exchange. The shortest of several.
fn shard_seconds(rows: usize, features: usize) -> Result<f64> {
    let layout = Layout::nc(rows, features);
    let x: Vec<f32> = (0..rows * features).map(|at| (at * 7919 % 1000) as f32).collect();
    let (mut y, mut dx) = (vec![0.0f32; x.len()], vec![0.0f32; x.len()]);
    let mut bn = BatchNorm::try_new(features)?.with_path(Path::Simd(batchnorm::Isa::detect()));
    let (x, mut shortest) = (Batch::new(&x, layout)?, f64::INFINITY);
    for _ in 0..10 {
        let start = Instant::now();
        bn.forward_train(x, BatchMut::new(&mut y, layout)?)?;
        bn.backward_train(bn.batch_moments(), x, x, BatchMut::new(&mut dx, layout)?)?;
        shortest = shortest.min(start.elapsed().as_secs_f64());
    }
    black_box((&y, &dx));
    Ok(shortest)
}
