//! An inference pipeline: a thread reads rows of a file in parts, others normalise the parts, sharing one inference
//! object, and the main thread takes them in order. Memory is bounded by a few parts, however large the file is.
//!
//! ```text
//! cargo run --release --example pipeline                # writes a file of a million rows, then normalises it
//! cargo run --release --example pipeline -- --help
//! ```
//!
//! The file is read twice: for the statistics of all rows, then to normalise it. Both have the bits of one call on the
//! whole file.

mod args;
mod pipeline;
mod progress;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use args::Args;
use batchnorm::{Accumulator, Batch, BatchMut, BatchNorm, Inference, Isa, Layout, Moments, Path};
use pipeline::{Failure, Shape};
use progress::Progress;

fn main() -> ExitCode {
    match Args::parse().and_then(|args| args.map_or(Ok(()), |args| normalise_file(&args, &mut stdout().lock()))) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the report has seen enough.
        Err(error)
            if error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("pipeline: {error}");
            ExitCode::FAILURE
        }
    }
}

fn normalise_file(args: &Args, report: &mut impl Write) -> Result<(), Failure> {
    let mut shape = args.shape;
    let of_file = |error: io::Error| format!("{}: {error}", args.file.display());
    let open = || File::open(&args.file).map_err(of_file);
    if args.make {
        make_file(args)?;
    }
    let metadata = open()?.metadata().map_err(of_file)?;
    if !metadata.is_file() {
        return Err(format!("{}: not a regular file, so it cannot be read twice", args.file.display()).into());
    }
    if let Some(out) = &args.out
        && let (Ok(out), Ok(file)) = (out.canonicalize(), args.file.canonicalize())
        && out == file
    {
        return Err(format!("{}: the output must be another file than the input", file.display()).into());
    }
    let rows = metadata.len() / (shape.features * size_of::<f32>()) as u64;
    // A part is no larger than the file.
    shape.rows = shape.rows.min(usize::try_from(rows)?.max(1));
    writeln!(report, "{}: {rows} rows of {} features", args.file.display(), shape.features)?;
    writeln!(
        report,
        "{} threads, {} parts of {} rows: {} KiB of buffers",
        shape.workers,
        shape.parts,
        shape.rows,
        shape.memory() >> 10
    )?;

    let mut progress = Progress::new("statistics", rows);
    let statistics = measure(open()?, shape, |rows| progress.add(rows))?;
    writeln!(report, "{}", progress.total())?;

    let norm = freeze(&statistics)?;
    let mut out = args.out.as_deref().map(Output::create).transpose()?;
    let mut outputs = accumulator(shape)?;
    let mut progress = Progress::new("normalising", rows);
    normalise(open()?, shape, &norm, |y, bytes| {
        outputs.update(y)?;
        progress.add(y.layout().outer());
        if let Some(out) = &mut out {
            out.file.write_all(bytes)?;
        }
        Ok(())
    })?;
    let outputs = outputs.moments();
    if outputs.counts() != statistics.counts() {
        let [before, after] = [&statistics, &outputs].map(|moments| moments.count(0));
        return Err(format!("{}: had {before} rows, and then {after}", args.file.display()).into());
    }
    if let Some(out) = out {
        out.finish()?;
    }
    writeln!(report, "{}", progress.total())?;
    compare(&statistics, &outputs, report)?;
    Ok(())
}

/// A file that has its name only when it is complete.
struct Output {
    file: BufWriter<File>,
    part: PathBuf,
    name: PathBuf,
}

impl Output {
    fn create(name: &std::path::Path) -> Result<Self, Failure> {
        let mut part = name.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::create(&part).map_err(|error| format!("{}: {error}", part.display()))?;
        Ok(Output { file: BufWriter::new(file), part, name: name.to_owned() })
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.file.flush()?;
        Ok(std::fs::rename(&self.part, &self.name)?)
    }
}

/// Returns the statistics of all rows: the bits of one call on the whole, because the accumulator gets them in order.
fn measure(source: impl Read + Send, shape: Shape, mut progress: impl FnMut(usize)) -> Result<Moments, Failure> {
    let mut rows = accumulator(shape)?;
    let take = |part: &mut pipeline::Part| {
        let layout = Layout::nc(part.values().len() / shape.features, shape.features);
        rows.update(Batch::new(part.values(), layout)?)?;
        progress(layout.outer());
        Ok(())
    };
    pipeline::run(source, shape, |_| Ok(()), take)?;
    Ok(rows.moments())
}

/// Normalises all rows. `take` gets them in order, as values and as bytes.
fn normalise(
    source: impl Read + Send,
    shape: Shape,
    norm: &Inference,
    mut take: impl FnMut(Batch<'_, f32>, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // Every worker calls the same object, each on a part of its own.
    let work = |part: &mut pipeline::Part| {
        let layout = Layout::nc(part.values().len() / shape.features, shape.features);
        norm.forward_in_place(BatchMut::new(part.values_mut(), layout)?)?;
        part.encode();
        Ok(())
    };
    pipeline::run(source, shape, work, |part| {
        let layout = Layout::nc(part.values().len() / shape.features, shape.features);
        take(Batch::new(part.values(), layout)?, part.bytes())
    })
}

/// Returns a layer with these statistics that runs on the thread of its caller.
fn freeze(statistics: &Moments) -> Result<Inference, Failure> {
    let features = statistics.num_features();
    let mut variances = vec![0.0; features];
    statistics.variances_into(0.0, &mut variances)?;
    let mut bn = BatchNorm::new(features).without_affine();
    bn.set_running_mean(statistics.means())?;
    bn.set_running_var(&variances)?;
    Ok(bn.to_inference().with_path(Path::Simd(Isa::detect())))
}

fn accumulator(shape: Shape) -> Result<Accumulator<f32>, Failure> {
    Ok(Accumulator::new(shape.features, 1)?.with_path(Path::Simd(Isa::detect())))
}

/// Writes a file of rows whose features differ in mean and spread.
fn make_file(args: &Args) -> Result<(), Failure> {
    let file = File::create(&args.file).map_err(|error| format!("{}: {error}", args.file.display()))?;
    let mut out = BufWriter::new(file);
    let mut state = 1u64;
    for _ in 0..args.rows {
        for feature in 0..args.shape.features {
            // Knuth's linear congruential generator (MMIX); its upper bits are the random ones.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let uniform = (state >> 40) as f32 / (1u64 << 24) as f32;
            let value = 10.0 * feature as f32 + (1.0 + feature as f32) * uniform;
            out.write_all(&value.to_le_bytes())?;
        }
    }
    out.flush()?;
    Ok(())
}

fn compare(before: &Moments, after: &Moments, report: &mut impl Write) -> io::Result<()> {
    writeln!(report, "\nfeature | mean, before  | after    | deviation, before | after")?;
    let features = before.num_features();
    for feature in (0..features).take(3).chain((3..features).skip(features.saturating_sub(4))) {
        let (means, sds) = ([before, after].map(|m| m.mean(feature)), [before, after].map(|m| m.std_dev(feature, 0.0)));
        writeln!(report, "{feature:7} | {:13.6} | {:8.1e} | {:17.6} | {:.6}", means[0], means[1], sds[0], sds[1])?;
    }
    Ok(())
}
