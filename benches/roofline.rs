//! Plots bandwidth against batch size, for every operation and path, together with the machine's limits.
//!
//! ```text
//! cargo bench --bench roofline                          # a minute or two; writes roofline.svg to the target directory
//! cargo bench --bench roofline -- FILE.svg              # writes to FILE.svg, relative to `benches`
//! cargo bench --bench roofline -- ../docs/roofline.svg  # the README's picture
//! ```
//!
//! Batches are f32, `[N, 128]`. Bandwidth counts the bytes that must be moved: those of the batch and, if there is one,
//! of the output. All contenders run in turn, and the fastest round counts. The limits are those of `common/limits.rs`.

#[path = "roofline/chart.rs"]
mod chart;
mod common;
#[path = "roofline/machine.rs"]
mod machine;

use std::path::{Path as File, PathBuf};
use std::process::ExitCode;

use batchnorm::{Isa, Layout, Path};
use chart::{Line, Look, Panel};
use common::args::{Options, Usage};
use common::measure::{Effort, Rounds};
use common::nasty::Kind;
use common::{Bench, Op};
use plotters::style::RGBColor;

const FEATURES: usize = 128;

const EFFORT: Effort = Effort { rounds: 15, seconds: 2.0, turn: 2e-3 };

/// A path that takes longer than this per call, in seconds, does not run on larger batches.
const SLOW: f64 = 0.1;

const USAGE: Usage = Usage {
    name: "roofline",
    about: "Plots bandwidth against batch size, for every operation and path, together with the machine's limits.",
    only: None,
    file: Some((
        ".svg",
        "where to write the plot, relative to `benches` (default: roofline.svg in the target directory)",
    )),
    more: &[],
};

fn main() -> ExitCode {
    let options = match USAGE.parse() {
        Ok(options) => options,
        Err(code) => return code,
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the file to write, by default beside what Cargo builds.
fn file(options: &Options) -> PathBuf {
    let temporary = File::new(env!("CARGO_TARGET_TMPDIR"));
    let default = if options.test { temporary.join("roofline.svg") } else { temporary.with_file_name("roofline.svg") };
    options.file.clone().unwrap_or(default)
}

fn run(options: &Options) -> Result<(), String> {
    let file = file(options);
    let unwritable = |error| format!("cannot write {}: {error}", file.display());
    // Check this before spending time. An existing file keeps its contents until the end.
    std::fs::OpenOptions::new().append(true).create(true).open(&file).map_err(unwritable)?;
    let panels: Vec<_> = Op::BASIC.into_iter().map(|op| panel(op, options.test)).collect();
    let svg = chart::draw(&panels, &notes()).map_err(|error| format!("cannot draw: {error}"))?;
    std::fs::write(&file, svg).map_err(unwritable)?;
    println!("\nGB/s at best time: bytes that must move per second. limit: the fastest way of reading or copying them");
    println!("wrote {}", file.display());
    Ok(())
}

/// A line in the chart of each operation: its name, its look, and the path, or the path whose limit it is.
struct Subject {
    name: String,
    look: Look,
    path: Path,
    limit: bool,
}

/// Returns the lines of the charts, in colours that colour-blind readers can tell apart (Okabe and Ito).
fn subjects() -> Vec<Subject> {
    let best = Isa::detect();
    let subject = |name: String, (r, g, b), path, limit| {
        let width = if path == Path::Auto { 6 } else { 2 };
        Subject { name, look: Look { color: RGBColor(r, g, b), dashed: limit, width }, path, limit }
    };
    let simd = |isa: Isa| {
        let color = match isa.name() {
            "avx512" => (0x00, 0x72, 0xb2),
            "avx2" => (0x00, 0x9e, 0x73),
            _ => (0xe6, 0x9f, 0x00),
        };
        subject(format!("simd {isa}"), color, Path::Simd(isa), false)
    };
    let mut subjects = vec![
        // The first line lies under the others.
        subject("auto: the default".into(), (0x9c, 0xd8, 0xf7), Path::Auto, false),
        subject("limit, all threads".into(), (0x00, 0x00, 0x00), Path::Parallel(best), true),
        subject("limit, one thread".into(), (0x80, 0x80, 0x80), Path::Simd(best), true),
        subject(format!("parallel {best}"), (0xd5, 0x5e, 0x00), Path::Parallel(best), false),
    ];
    subjects.extend(Isa::available().map(simd).collect::<Vec<_>>().into_iter().rev());
    subjects.push(subject("scalar".into(), (0xcc, 0x79, 0xa7), Path::Scalar, false));
    subjects
}

fn panel(op: Op, test: bool) -> Panel {
    let subjects = subjects();
    println!("\n{}, GB/s\n", op.name());
    println!("| batch | {} |", subjects.iter().map(|subject| subject.name.as_str()).collect::<Vec<_>>().join(" | "));
    println!("|---:|{}", "---:|".repeat(subjects.len()));
    let mut points = vec![Vec::new(); subjects.len()];
    let mut slow = Vec::new();
    for bytes in (14..if test { 17 } else { 30 }).map(|log| 1usize << log) {
        let mut bench = Bench::<f32>::new(Kind::Normal, Layout::nc(bytes / size_of::<f32>() / FEATURES, FEATURES));
        let paths: Vec<_> = subjects.iter().map(|s| s.path).filter(|path| !slow.contains(path)).collect();
        let rounds = Rounds::measure(&mut bench, op, &paths, if test { Effort::ONCE } else { EFFORT });
        slow.extend(paths.into_iter().filter(|path| rounds.path(*path).0 > SLOW));
        let mut cells = Vec::new();
        for (subject, points) in subjects.iter().zip(&mut points) {
            let time = if subject.limit { rounds.limit(subject.path).0 } else { rounds.path(subject.path).0 };
            let rate = op.bytes(bench.x.len(), size_of::<f32>()) as f64 / time / 1e9;
            if time.is_finite() {
                points.push((bytes as f64, rate));
            }
            cells.push(if time.is_finite() { format!("{rate:.1}") } else { String::new() });
        }
        println!("| {} | {} |", chart::size(bytes as u64), cells.join(" | "));
    }
    let (bytes, buffers) = match op {
        Op::Moments => ("batch read", 1),
        Op::Inference | Op::Training => ("batch read, output written", 2),
        Op::Residual | Op::Backward => unreachable!("the roofline draws BASIC"),
    };
    let lines = subjects.into_iter().zip(points);
    Panel {
        title: format!("{}: {bytes}", op.name()),
        lines: lines.map(|(Subject { name, look, .. }, points)| Line { name, look, points }).collect(),
        marks: machine::caches().into_iter().map(|(name, size)| (name, size as f64 / f64::from(buffers))).collect(),
    }
}

/// Returns the notes below the legend.
fn notes() -> Vec<String> {
    let commit = machine::commit().map(|commit| format!("commit {commit}, ")).unwrap_or_default();
    let processor = machine::processor().unwrap_or(std::env::consts::ARCH.into());
    let caches: Vec<_> =
        machine::caches().iter().map(|(name, bytes)| format!("{name} {}", chart::size(*bytes))).collect();
    let mut notes = vec![
        format!("f32, [N, {FEATURES}]; bandwidth of the bytes that must move"),
        "limit: the fastest of several ways to read (moments)".into(),
        "or copy (the others) the same bytes, doing nothing else".into(),
        format!("scalar ends where a call takes more than {SLOW} s"),
    ];
    if !caches.is_empty() {
        notes.push("dotted: batch (and output) fill a cache".into());
    }
    notes.push(format!("{processor}, {} threads", rayon::current_num_threads()));
    notes.extend((!caches.is_empty()).then(|| caches.join(", ")));
    notes.push(format!("{commit}cargo bench --bench roofline"));
    notes
}
