//! Prints a Markdown table, row by row as results arrive.

use crate::case::{Case, Op};
use crate::peers::Contender;
use crate::timing::Times;

/// The manifest that pins the versions of the peers.
const MANIFEST: &str = include_str!("../Cargo.toml");
const OWN_MANIFEST: &str = include_str!("../../../Cargo.toml");

pub fn header(threads: usize, rounds: usize) {
    println!("{}", versions().join(", "));
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

fn versions() -> Vec<String> {
    let own = version(OWN_MANIFEST, "version").into_iter().map(|version| format!("batchnorm {version}"));
    let peers = ["ndarray", "faer", "candle-nn"].into_iter().chain(cfg!(feature = "burn").then_some("burn"));
    own.chain(peers.filter_map(|name| version(MANIFEST, name).map(|version| format!("{name} {version}")))).collect()
}

/// Returns the version in the manifest's line of `key`: the pinned version of a dependency, or the package's own.
fn version<'a>(manifest: &'a str, key: &str) -> Option<&'a str> {
    // A feature may have the same name; its line has no version.
    manifest.lines().find_map(|line| {
        let value = line.strip_prefix(key)?.strip_prefix(" = ")?;
        value
            .split('"')
            .map(|part| part.trim_start_matches('='))
            .find(|part| part.starts_with(|c: char| c.is_ascii_digit()))
    })
}
