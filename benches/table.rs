//! Every operation by every path, beside the machine's limits in the same run.
//!
//! ```text
//! cargo bench --bench table                       # everything
//! cargo bench --bench table -- --only moments,64  # rows whose "shape operation path type" has all of these words
//! ```
//!
//! What is compared runs in turn, round after round, so that a slow moment of the machine meets all of it; the figures
//! are the minimum and the median of the rounds. `read` sums the same bytes with the vectors of the row's instruction
//! set, `copy` is `memcpy`; the limit of `parallel` and `auto` is taken on all threads.

mod common;

use std::time::Instant;

use batchnorm::{Element, Isa, Path};
use common::{Bench, LARGE, Op, SHAPES, Shape, limits, paths};

const ROUNDS: usize = 15;

/// Shortest round, in seconds: the clock's own time must not count.
const ROUND: f64 = 2e-3;

struct Options {
    /// Run everything once and measure nothing.
    test: bool,
    only: Vec<String>,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only.iter().all(|word| name.contains(word.as_str()))
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let only = args.iter().skip_while(|arg| *arg != "--only").nth(1);
    let options = Options {
        test: args.iter().any(|arg| arg == "--test"),
        only: only.map(|words| words.split(',').map(String::from).collect()).unwrap_or_default(),
    };
    println!("| shape | type | operation | path | GB/s min | GB/s median | of limit min | of limit median |");
    println!("|---|---|---|---|---:|---:|---:|---:|");
    for shape in SHAPES.iter().chain(if options.test { &[] } else { &LARGE[..] }) {
        rows::<f32>(shape, "f32", &options);
        rows::<f64>(shape, "f64", &options);
    }
}

fn rows<T: Element>(shape: &Shape, element: &str, options: &Options) {
    let mut bench: Option<Bench<T>> = None;
    for op in Op::ALL {
        let name = |path: &str| format!("{} {} {path} {element}", shape.name, op.name());
        let slow = |path: Path| path == Path::Scalar && shape.layout.len().is_ok_and(|len| len > 10_000_000);
        let paths: Vec<_> = paths().into_iter().filter(|(path, p)| options.wants(&name(path)) && !slow(*p)).collect();
        if paths.is_empty() {
            continue;
        }
        let bench = bench.get_or_insert_with(|| Bench::new(shape.layout));
        let times = measure(bench, op, &paths, options.test);
        let bytes = op.bytes(bench.x.len(), size_of::<T>()) as f64;
        for ((path, _), [own, limit]) in paths.iter().zip(times) {
            let rate = |time: f64| bytes / time / 1e9;
            let title = format!("| {} | {element} | {} | {path}", shape.name, op.name());
            let figures = [rate(own.0), rate(own.1), limit.0 / own.0, limit.1 / own.1].map(|x| format!("{x:.2}"));
            println!("{title} | {} |", figures.join(" | "));
        }
    }
}

/// (minimum, median) of seconds per call, of each path and of its limit.
fn measure<T: Element>(bench: &mut Bench<T>, op: Op, paths: &[(String, Path)], test: bool) -> Vec<[(f64, f64); 2]> {
    let words = bench.x.len() * size_of::<T>() / 8;
    let (from, mut to) = (vec![1u64; words], vec![2u64; words]);
    let rounds = if test { 1 } else { ROUNDS };
    let mut times = vec![[Vec::new(), Vec::new()]; paths.len()];
    for _ in 0..rounds {
        for ((_, path), times) in paths.iter().zip(&mut times) {
            times[0].push(seconds(test, || bench.run(op, *path)));
            times[1].push(seconds(test, || limit(op, *path, &from, &mut to)));
        }
    }
    times.into_iter().map(|pair| pair.map(min_median)).collect()
}

fn limit(op: Op, path: Path, from: &[u64], to: &mut [u64]) {
    let (isa, all) = match path {
        Path::Simd(isa) => (isa.name(), false),
        Path::Scalar => (Isa::detect().name(), false),
        Path::Auto | Path::Parallel(_) => (Isa::detect().name(), from.len() >= 1 << 16),
    };
    match (op, all) {
        (Op::Moments, false) => _ = std::hint::black_box(limits::read(isa, std::hint::black_box(from))),
        (Op::Moments, true) => _ = std::hint::black_box(limits::read_parallel(isa, std::hint::black_box(from))),
        (_, false) => limits::copy(std::hint::black_box(from), to),
        (_, true) => limits::copy_parallel(std::hint::black_box(from), to),
    }
    std::hint::black_box(to);
}

fn seconds(once: bool, mut run: impl FnMut()) -> f64 {
    let mut calls = 0u32;
    let start = Instant::now();
    // The clock is read rarely where calls are short.
    let mut batch = 1;
    loop {
        for _ in 0..batch {
            run();
        }
        calls += batch;
        let time = start.elapsed().as_secs_f64();
        if once || time >= ROUND {
            return time / f64::from(calls);
        }
        if time < ROUND / 4.0 {
            batch *= 2;
        }
    }
}

fn min_median(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[0], times[times.len() / 2])
}
