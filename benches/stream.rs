//! Measures streams: one row at a time, many rows in a call, and normalising, beside a plain loop of the textbook's
//! recurrence in f64, and beside the other ways to add rows.
//!
//! ```text
//! cargo bench --bench stream                     # everything
//! cargo bench --bench stream -- --only push,376  # rows whose "features operation path type" has all of these words
//! ```
//!
//! The times are nanoseconds per row, the minimum and the median over the rounds. For `rows`, `of plain sum` is the
//! time of a plain sum over the same bytes divided by ours.

mod common;

use std::hint::black_box;
use std::process::ExitCode;

use batchnorm::{Accumulator, Batch, Element, Ewm, Forgetting, Layout, Moments, Path, Standardize, Welford};
use bytemuck::Pod;
use common::args::{Options, Usage};
use common::limits::Limit;
use common::measure::{min_median, seconds};
use common::nasty::{Kind, batch};
use common::paths;

const FEATURES: [usize; 5] = [4, 17, 64, 376, 4096];
const ROUNDS: usize = 101;
const TURN: f64 = 2e-4;

/// The textbook's recurrence, as people write it: a division per value.
struct Textbook {
    count: f64,
    means: Vec<f64>,
    m2s: Vec<f64>,
}

impl Textbook {
    fn new(features: usize) -> Self {
        Textbook { count: 0.0, means: vec![0.0; features], m2s: vec![0.0; features] }
    }

    #[inline(never)]
    fn push<T: Element>(&mut self, row: &[T]) {
        self.count += 1.0;
        for ((x, mean), m2) in row.iter().zip(&mut self.means).zip(&mut self.m2s) {
            let delta = x.to_f64() - *mean;
            *mean += delta / self.count;
            *m2 += delta * (x.to_f64() - *mean);
        }
    }
}

#[derive(Clone, Copy)]
enum Contender {
    Textbook,
    Read,
    Push(Path),
    Rows(Path),
    Normalize(Path),
    Forget(Path),
    /// The other ways to add rows, by the default path.
    Accumulate,
    AccumulateAndRead,
    Update,
}

const USAGE: Usage = Usage {
    name: "stream",
    about: "Measures streams: row by row, many rows in a call, and normalising, beside a plain loop of the textbook's
recurrence in f64.",
    only: Some("features operation path type"),
    file: None,
    more: &[],
};

const LEGEND: &str = "
ns per row    best and median of the rounds
of textbook   best time divided by that of the textbook's loop, which divides for every value
of plain sum  time of a plain sum over the same bytes divided by ours; 1 is as fast as memory";

fn main() -> ExitCode {
    let options = match USAGE.parse() {
        Ok(options) => options,
        Err(code) => return code,
    };
    let mut printed = 0;
    for features in FEATURES {
        measure::<f32>(features, "f32", &options, &mut printed);
        measure::<f64>(features, "f64", &options, &mut printed);
    }
    if printed > 0 {
        println!("{LEGEND}");
    }
    options.exit(printed)
}

fn header() {
    println!(
        "| features | type | operation | path | ns per row, best | ns per row, median | of textbook | of plain sum |"
    );
    println!("|---:|---|---|---|---:|---:|---:|---:|");
}

fn contenders() -> Vec<(String, &'static str, Contender)> {
    let textbook = ("textbook loop".into(), "push", Contender::Textbook);
    let mut contenders = vec![textbook, ("plain sum".into(), "read", Contender::Read)];
    for (name, path) in paths() {
        contenders.push((name.clone(), "push", Contender::Push(path)));
        contenders.push((name.clone(), "rows", Contender::Rows(path)));
        contenders.push((name.clone(), "normalise", Contender::Normalize(path)));
        contenders.push((name, "forget", Contender::Forget(path)));
    }
    for (op, contender) in [
        ("Accumulator::update", Contender::Accumulate),
        ("the same, and moments()", Contender::AccumulateAndRead),
        ("Moments::update", Contender::Update),
    ] {
        contenders.push(("auto".into(), op, contender));
    }
    contenders
}

fn measure<T: Element + Pod>(features: usize, element: &str, options: &Options, printed: &mut usize) {
    let test = options.test;
    let contenders: Vec<_> = contenders()
        .into_iter()
        .filter(|(name, op, contender)| {
            matches!(contender, Contender::Textbook | Contender::Read)
                || options.wants(&format!("{features} {op} {name} {element}"))
        })
        .collect();
    if contenders.len() == 2 {
        return;
    }
    let mut bench = Bench::<T>::new(features);
    let mut times = vec![Vec::new(); contenders.len()];
    for _ in 0..if test { 1 } else { ROUNDS } {
        for ((_, _, contender), times) in contenders.iter().zip(&mut times) {
            times.push(bench.time(*contender, if test { 0.0 } else { TURN }));
        }
    }
    let times: Vec<_> = times.into_iter().map(min_median).collect();
    if *printed == 0 {
        header();
    }
    *printed += contenders.len();
    for ((name, op, contender), (min, median)) in contenders.iter().zip(&times) {
        let read = match contender {
            Contender::Rows(_) => format!("{:.2}", times[1].0 / min),
            _ => String::new(),
        };
        let (ns, ns_median, ratio) = (min * 1e9, median * 1e9, min / times[0].0);
        println!("| {features} | {element} | {op} | {name} | {ns:.1} | {ns_median:.1} | {ratio:.2} | {read} |");
    }
}

/// Streams and rows.
struct Bench<T> {
    features: usize,
    data: Vec<T>,
    out: Vec<T>,
    textbook: Textbook,
    stream: Welford,
    weighted: Ewm,
}

impl<T: Element + Pod> Bench<T> {
    fn new(features: usize) -> Self {
        // About 4 MiB: out of the second-level cache, in the third.
        let rows = (4 << 20) / size_of::<T>() / features;
        let data = batch::<T>(Kind::Normal, 1, Layout::nc(rows, features));
        let forgetting = Forgetting::from_half_life(100.0).expect("in range");
        Bench {
            features,
            out: vec![T::from_f64(0.0); features],
            data,
            textbook: Textbook::new(features),
            stream: Welford::new(features),
            weighted: Ewm::new(features, forgetting),
        }
    }

    /// Returns the seconds per row.
    fn time(&mut self, contender: Contender, turn: f64) -> f64 {
        let Bench { features, data, out, textbook, stream, weighted } = self;
        let rows = data.len() / *features;
        let few = 64.min(rows);
        let by_row = &data[..few * *features];
        let options = Standardize::new();
        match contender {
            Contender::Textbook => {
                seconds(turn, || by_row.chunks_exact(*features).for_each(|row| textbook.push(black_box(row))))
                    / few as f64
            }
            Contender::Read => {
                let (values, limit) = (bytemuck::cast_slice(&data[..]), Limit::plain_read());
                seconds(turn, || limit.run(black_box(values), &[], &mut [])) / rows as f64
            }
            Contender::Push(path) => {
                let mut stream = std::mem::replace(stream, Welford::new(0)).with_path(path);
                let time = seconds(turn, || {
                    by_row.chunks_exact(*features).for_each(|row| stream.push(black_box(row)).expect("fits"));
                });
                self.stream = stream;
                time / few as f64
            }
            Contender::Rows(path) => {
                let mut stream = std::mem::replace(stream, Welford::new(0)).with_path(path);
                let x = Batch::new(&data[..], Layout::nc(rows, *features)).expect("whole rows");
                let time = seconds(turn, || stream.push_rows(black_box(x)).expect("fits"));
                self.stream = stream;
                time / rows as f64
            }
            Contender::Normalize(path) => {
                let mut stream = std::mem::replace(stream, Welford::new(0)).with_path(path);
                let time = seconds(turn, || {
                    for row in by_row.chunks_exact(*features) {
                        stream.push_and_normalize(black_box(row), out, &options).expect("fits");
                    }
                });
                self.stream = stream;
                time / few as f64
            }
            Contender::Accumulate | Contender::AccumulateAndRead => {
                let mut rows = Accumulator::<T>::new(*features, 1).expect("a shape");
                let time = seconds(turn, || {
                    for row in by_row.chunks_exact(*features) {
                        rows.update(Batch::new(black_box(row), Layout::nc(1, *features)).expect("a row"))
                            .expect("fits");
                        if matches!(contender, Contender::AccumulateAndRead) {
                            let _ = black_box(rows.moments());
                        }
                    }
                });
                time / few as f64
            }
            Contender::Update => {
                let mut moments = Moments::new(*features);
                let time = seconds(turn, || {
                    for row in by_row.chunks_exact(*features) {
                        moments
                            .update(Batch::new(black_box(row), Layout::nc(1, *features)).expect("a row"))
                            .expect("fits");
                    }
                });
                time / few as f64
            }
            Contender::Forget(path) => {
                let mut stream = std::mem::replace(weighted, Ewm::new(0, weighted.forgetting())).with_path(path);
                let time = seconds(turn, || {
                    by_row.chunks_exact(*features).for_each(|row| stream.push(black_box(row)).expect("fits"));
                });
                self.weighted = stream;
                time / few as f64
            }
        }
    }
}
