//! Prints a Markdown table, row by row as results arrive.

use crate::case::{Case, Op};
use crate::peers::Contender;
use crate::timing::Times;
use crate::versions::versions;

pub fn header(threads: usize, rounds: usize) {
    let mut peers = vec!["ndarray", "faer", "candle-nn"];
    peers.extend(cfg!(feature = "burn").then_some("burn"));
    println!("{}", versions(&peers));
    println!("threads: {threads}; rounds: {rounds}; lanes of this crate: {}\n", batchnorm::Isa::detect().name());
    println!("Time of one call; x: how many times as long as this crate took (above 1, this crate is faster).\n");
    row(["shape", "operation", "peer", "min", "median", "x min", "x median"].map(String::from));
    println!("|---|---|---|---:|---:|---:|---:|");
}

/// Prints the rows of a case. The first contender is this crate.
pub fn rows(case: &Case, op: Op, contenders: &[Contender<'_>], times: &[Times]) {
    let this = times[0];
    for (contender, times) in contenders.iter().zip(times) {
        row([
            case.name(),
            op.to_string(),
            contender.name.to_string(),
            duration(times.min),
            duration(times.median),
            format!("{:.2}", times.min / this.min),
            format!("{:.2}", times.median / this.median),
        ]);
    }
}

fn row([shape, op, peer, min, median, x_min, x_median]: [String; 7]) {
    println!("| {shape:<11} | {op:<9} | {peer:<14} | {min:>9} | {median:>9} | {x_min:>7} | {x_median:>8} |");
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.1} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.2} µs", s * 1e6),
        s => format!("{:.2} ms", s * 1e3),
    }
}
