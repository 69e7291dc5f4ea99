//! Measures every operation by every path, together with the machine's limits in the same run.
//!
//! ```text
//! cargo bench --bench table                       # everything
//! cargo bench --bench table -- --only moments,64  # rows whose "shape operation path type" has all of these words
//! ```
//!
//! The figures are the minimum and the median over the rounds. The limits are those of `common/limits.rs`, over the
//! same bytes: `plain` is a plain sum, or `memcpy`; `best` is the fastest known way to read or copy them, which from
//! memory may be 1.5 times as fast. Moments of wide rows read them tile by tile: the last figure is the minimum
//! relative to reading in that order.

mod common;

use std::process::ExitCode;

use batchnorm::{Element, Path};
use bytemuck::Pod;
use common::args::{Options, Usage};
use common::measure::{Effort, Rounds};
use common::nasty::Kind;
use common::{Bench, LARGE, Op, SHAPES, Shape, paths};

const EFFORT: Effort = Effort { rounds: 15, seconds: 10.0, turn: 2e-3 };

const USAGE: Usage = Usage {
    name: "table",
    about: "Measures every operation by every path, together with the machine's limits in the same run.",
    only: Some("shape operation path type"),
    file: None,
    more: &[],
};

const LEGEND: &str = "
residual        inference, a residual added, and a ReLU, in one pass
GB/s            bytes that must move per second: each value is read once and, except for moments, written once; a residual
                is read; backward reads inputs and gradients of outputs twice and writes gradients of inputs
best, median    the fastest and the median of the rounds
of plain        time of plain loops over the same bytes (a sum for moments, else memcpy; one more input: a loop that combines
                both), divided by ours; 1 is as fast as memory
of fastest way  the same, with the fastest way of reading or copying that the benches know
of its walk     the same, with reading in the order in which wide rows are read, tile by tile";

fn main() -> ExitCode {
    let options = match USAGE.parse() {
        Ok(options) => options,
        Err(code) => return code,
    };
    let mut printed = 0;
    for shape in SHAPES.iter().chain(if options.test { &[] } else { &LARGE[..] }) {
        rows::<f32>(shape, "f32", &options, &mut printed);
        rows::<f64>(shape, "f64", &options, &mut printed);
    }
    if printed > 0 {
        println!("{LEGEND}");
    }
    options.exit(printed)
}

fn header() {
    let figures = ["GB/s at best time", "GB/s at median time", "of plain, best", "of plain, median"];
    let more = ["of fastest way, best", "of fastest way, median", "of its walk, best"];
    println!("| shape | type | operation | path | {} | {} |", figures.join(" | "), more.join(" | "));
    println!("|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|");
}

fn rows<T: Element + Pod>(shape: &Shape, element: &str, options: &Options, printed: &mut usize) {
    let mut bench: Option<Bench<T>> = None;
    for op in Op::ALL {
        let name = |path: &str| format!("{} {} {path} {element}", shape.name, op.name());
        let slow = |path: Path| path == Path::Scalar && shape.layout.checked_len().is_some_and(|len| len > 10_000_000);
        let paths: Vec<_> = paths().into_iter().filter(|(path, p)| options.wants(&name(path)) && !slow(*p)).collect();
        if paths.is_empty() {
            continue;
        }
        let bench = bench.get_or_insert_with(|| Bench::new(Kind::Normal, shape.layout));
        let only: Vec<_> = paths.iter().map(|(_, path)| *path).collect();
        let rounds = Rounds::measure(bench, op, &only, if options.test { Effort::ONCE } else { EFFORT });
        let bytes = op.bytes(bench.x.len(), size_of::<T>()) as f64;
        for (name, path) in &paths {
            let (own, plain, best) = (rounds.path(*path), rounds.plain(*path), rounds.limit(*path));
            let rate = |time: f64| bytes / time / 1e9;
            let title = format!("| {} | {element} | {} | {name}", shape.name, op.name());
            let ratios = [plain.0 / own.0, plain.1 / own.1, best.0 / own.0, best.1 / own.1];
            let figures: Vec<_> =
                [rate(own.0), rate(own.1)].into_iter().chain(ratios).map(|x| format!("{x:.2}")).collect();
            if *printed == 0 {
                header();
            }
            *printed += 1;
            let walk = rounds.walk(*path).map_or(String::new(), |walk| format!("{:.2}", walk.0 / own.0));
            println!("{title} | {} | {walk} |", figures.join(" | "));
        }
    }
}
