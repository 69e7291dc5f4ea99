//! Measures and normalises a stream, row by row: six channels of a sensor that drifts, steps, drops out and spikes.
//!
//! ```text
//! cargo run --release --example stream                     # tables, and the plot in target/stream.svg
//! cargo run --release --example stream -- --svg FILE.svg   # the plot in another file
//! ```

mod plot;
mod report;
mod sensor;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use batchnorm::{Batch, Ewm, Forgetting, Layout, Standardize, Welford, moments};
use report::Report;
use sensor::{CHANNELS, Sensor};

const ROWS: u64 = 10_000;

/// After so many rows, the weight of a row in the exponentially weighted statistics is a half.
const HALF_LIFE: f64 = 200.0;

/// The largest normalised value.
const CLIP: f64 = 4.0;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let svg = match &args[..] {
        [] => PathBuf::from("target/stream.svg"),
        [flag, file] if flag == "--svg" => PathBuf::from(file),
        _ => {
            eprintln!("usage: stream [--svg FILE.svg]");
            return ExitCode::FAILURE;
        }
    };
    match run(&svg) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stream: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A row as it came, and normalised by the statistics at that time: all rows so far, or mostly the latest.
#[derive(Clone, Copy)]
struct Row {
    raw: [f64; CHANNELS.len()],
    by_all: [f64; CHANNELS.len()],
    by_latest: [f64; CHANNELS.len()],
}

fn run(svg: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut all = Welford::new(CHANNELS.len());
    let mut latest = Ewm::new(CHANNELS.len(), Forgetting::from_half_life(HALF_LIFE)?);
    let options = Standardize::new().with_clip(CLIP)?;
    let (mut report, mut rows) = (Report::default(), Vec::new());
    for raw in Sensor::new(ROWS) {
        let (mut by_all, mut by_latest) = (raw, raw);
        all.push_and_normalize(&raw, &mut by_all, &options)?;
        latest.push_and_normalize(&raw, &mut by_latest, &options)?;
        rows.push(Row { raw, by_all, by_latest });
        if is_power_of_ten(all.count()) {
            report.add(&all, &latest);
        }
    }
    println!("{}", report.table());
    println!("{}", report::clipped(&rows));
    compare_with_batch(&rows, &all)?;
    plot::draw(svg, &rows).map_err(|error| format!("{}: {error}", svg.display()))?;
    println!("The plot is in {}.", svg.display());
    Ok(())
}

fn is_power_of_ten(n: u64) -> bool {
    10u64.pow(n.ilog10()) == n
}

/// Computes the statistics once more, from all rows at once.
fn compare_with_batch(rows: &[Row], stream: &Welford) -> Result<(), Box<dyn std::error::Error>> {
    let data: Vec<f64> = rows.iter().flat_map(|row| row.raw).collect();
    let batch = moments(Batch::new(&data, Layout::nc(rows.len(), CHANNELS.len()))?);
    for (channel, about) in CHANNELS.iter().enumerate() {
        let (mean, sd) = (batch.mean(channel), batch.std_dev(channel, 1.0));
        let (mean_off, sd_off) = (stream.mean(channel) - mean, stream.std_dev(channel, 1.0) - sd);
        // The last place of the mean of a large number is more than that of its standard deviation.
        if mean_off.abs() > 1e-14 * sd + f64::EPSILON * mean.abs() || sd_off.abs() > 1e-13 * sd {
            return Err(format!("{}: the stream is {mean_off:e} and {sd_off:e} off", about.name).into());
        }
    }
    println!("The stream's means and standard deviations are those of one call on all rows.");
    Ok(())
}
