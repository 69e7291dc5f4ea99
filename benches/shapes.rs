//! Looks for shapes that are much slower than others: measures a few hundred shapes of about the same number of values
//! and prints them, the slowest first.
//!
//! ```text
//! cargo bench --bench shapes                                     # 2^20 f32 values, the best instruction set (1 min)
//! cargo bench --bench shapes -- --values 65536 --type f64 --isa avx2
//! cargo bench --bench shapes -- --only moments,3x3 --most 10     # of what has these words, the ten slowest
//! ```
//!
//! GB/s count what must be moved: each value is read, and written if it is normalised. To this come, for each feature,
//! 48 bytes of moments that are written; 16 (f32) or 24 (f64) of inference's parameters that are read; and in training
//! the moments, 16 of weight and bias, and 32 of running statistics that are read and written.
//!
//! The ratio is to the median shape of the same operation. Times are the minimum over the rounds, and what looks slow is
//! measured again, so that a slow moment of the machine does not look like a slow shape.

mod common;

use std::process::ExitCode;

use batchnorm::{Element, Isa, Layout, Path};
use bytemuck::Pod;
use common::args::{Options as Args, Usage};
use common::measure::{Effort, fastest};
use common::nasty::{self, Kind};
use common::{Bench, Op};

const INNER: [usize; 22] =
    [1, 2, 3, 4, 7, 9, 16, 25, 31, 32, 36, 49, 64, 100, 196, 256, 784, 1024, 3136, 12_544, 50_176, 100_000];

const FEATURES: [usize; 20] =
    [1, 2, 3, 5, 8, 16, 31, 64, 100, 128, 256, 512, 1000, 2048, 4096, 16_384, 65_536, 131_072, 262_144, 1_000_000];

const EFFORT: Effort = Effort { rounds: 7, seconds: 1.0, turn: 5e-4 };

/// Shapes whose ratio is below this are measured again, with more rounds.
const LOOKS_SLOW: f64 = 0.7;
const AGAIN: Effort = Effort { rounds: 15, ..EFFORT };

struct Options {
    test: bool,
    values: usize,
    isa: Isa,
    most: usize,
    args: Args,
}

const USAGE: Usage = Usage {
    name: "shapes",
    about: "Looks for shapes that are much slower than others of about the same number of values.",
    only: Some("operation shape"),
    file: None,
    more: &[
        ("values", "about how many values a shape has (default 1048576)"),
        ("type", "f32 (default) or f64"),
        ("isa", "an instruction set of this machine (default: the best)"),
        ("most", "print so many of the slowest alone"),
    ],
};

impl Options {
    fn new(args: Args) -> Result<Self, String> {
        let test = args.test;
        let isa = args.get::<String>("isa")?.map(|name| {
            let unknown = || format!("this machine has no instruction set {name:?}");
            Isa::available().find(|isa| isa.name() == name).ok_or_else(unknown)
        });
        Ok(Options {
            test,
            values: args.get("values")?.unwrap_or(if test { 512 } else { 1 << 20 }),
            isa: isa.transpose()?.unwrap_or(Isa::detect()),
            most: args.get("most")?.unwrap_or(usize::MAX),
            args,
        })
    }
}

fn main() -> ExitCode {
    let args = match USAGE.parse() {
        Ok(args) => args,
        Err(code) => return code,
    };
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: Args) -> Result<ExitCode, String> {
    let element = args.get::<String>("type")?;
    let options = Options::new(args)?;
    let printed = match element.as_deref().unwrap_or("f32") {
        "f32" => sweep::<f32>(&options),
        "f64" => sweep::<f64>(&options),
        other => return Err(format!("no element type {other:?}: f32 or f64")),
    };
    Ok(options.args.exit(printed))
}

/// The fewest seconds per call of one operation on one shape.
struct Measured {
    op: Op,
    layout: Layout,
    seconds: f64,
    rate: f64,
}

/// Measures all shapes and prints them. Returns how many.
fn sweep<T: Element + Pod>(options: &Options) -> usize {
    let layouts = layouts(options.values);
    let most = layouts.iter().filter_map(Layout::checked_len).max().unwrap_or(0);
    let data = nasty::batch::<T>(Kind::Normal, 1, Layout::nc(most, 1));
    let mut measured: Vec<_> = layouts.into_iter().flat_map(|layout| shape(&data, layout, options)).collect();
    if measured.is_empty() {
        return 0;
    }
    println!("| operation | shape | layout | us at best time | GB/s at best time | of the median shape |");
    println!("|---|---|---|---:|---:|---:|");
    for op in Op::BASIC {
        let middle = median(measured.iter().filter(|m| m.op == op));
        for m in measured.iter_mut().filter(|m| m.op == op && m.rate < LOOKS_SLOW * middle && !options.test) {
            m.measure(&mut bench(&data, m.layout, options), options, AGAIN);
        }
        print(measured.iter().filter(|m| m.op == op).collect(), options);
    }
    measured.len()
}

/// Returns all shapes of about so many values.
fn layouts(values: usize) -> Vec<Layout> {
    let mut layouts = Vec::new();
    for inner in INNER {
        for features in FEATURES {
            let outer = (values + inner * features / 2) / (inner * features);
            if outer > 0 {
                layouts.push(Layout::new(outer, features, inner));
            }
        }
    }
    layouts
}

/// Measures every operation that the options ask for on one shape.
fn shape<T: Element + Pod>(data: &[T], layout: Layout, options: &Options) -> Vec<Measured> {
    // Training needs two values.
    let ops =
        Op::BASIC.into_iter().filter(|op| options.wants(*op, layout) && (*op != Op::Training || layout.count() > 1));
    let mut measured: Vec<_> = ops.map(|op| Measured { op, layout, seconds: f64::INFINITY, rate: 0.0 }).collect();
    if !measured.is_empty() {
        let mut bench = bench(data, layout, options);
        let effort = if options.test { Effort::ONCE } else { EFFORT };
        measured.iter_mut().for_each(|m| m.measure(&mut bench, options, effort));
    }
    measured
}

fn bench<T: Element + Pod>(data: &[T], layout: Layout, options: &Options) -> Bench<T> {
    let len = layout.checked_len().expect("a shape of the sweep");
    Bench::of(&data[..len], layout, &[Path::Simd(options.isa)])
}

impl Measured {
    /// Measures, and keeps the fewest seconds so far.
    fn measure<T: Element + Pod>(&mut self, bench: &mut Bench<T>, options: &Options, effort: Effort) {
        let per_feature = match self.op {
            Op::Moments => 48,
            Op::Inference => [16, 24][usize::from(size_of::<T>() > 4)],
            Op::Training => 48 + 16 + 32,
            Op::Residual | Op::Backward => unreachable!("shapes measures Op::BASIC"),
        };
        let bytes = self.op.bytes(bench.x.len(), size_of::<T>()) + per_feature * self.layout.features();
        self.seconds = self.seconds.min(fastest(bench, self.op, Path::Simd(options.isa), effort));
        self.rate = bytes as f64 / self.seconds / 1e9;
    }
}

impl Options {
    fn wants(&self, op: Op, layout: Layout) -> bool {
        self.args.wants(&format!("{} {}", op.name(), name(layout)))
    }
}

/// Prints the shapes of one operation, the slowest first, then how the slowest and the slowest tenth stand.
fn print(mut measured: Vec<&Measured>, options: &Options) {
    measured.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let middle = median(measured.iter().copied());
    for m in measured.iter().take(options.most) {
        let op = m.op.name();
        let sizes = format!("{}, {}, {}", m.layout.outer(), m.layout.features(), m.layout.inner());
        let (us, ratio) = (m.seconds * 1e6, m.rate / middle);
        println!("| {op} | {} | [{sizes}] | {us:.2} | {:.2} | {ratio:.2} |", name(m.layout), m.rate);
    }
    if let (Some(slowest), Some(tenth)) = (measured.first(), measured.get(measured.len() / 10)) {
        let ratio = |m: &Measured| m.rate / middle;
        println!(
            "\n{}: {} shapes, {middle:.2} GB/s in the median; the slowest {:.2} of it, the slowest tenth up to {:.2}\n",
            slowest.op.name(),
            measured.len(),
            ratio(slowest),
            ratio(tenth)
        );
    }
}

fn median<'a>(measured: impl Iterator<Item = &'a Measured>) -> f64 {
    let mut rates: Vec<_> = measured.map(|m| m.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Returns a shape as a person would say it.
fn name(layout: Layout) -> String {
    let (outer, features, inner) = (layout.outer(), layout.features(), layout.inner());
    if inner == 1 {
        return format!("{outer} rows of {features} columns");
    }
    let side = inner.isqrt();
    let planes = if side * side == inner { format!("{side}x{side} planes") } else { format!("sequences of {inner}") };
    format!("{planes} of {features} channels, {outer} samples")
}
