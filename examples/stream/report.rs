//! Tables: how the statistics converge, and how many values were clipped.

use batchnorm::{Ewm, Welford};
use comfy_table::{CellAlignment, Table, presets};

use crate::sensor::CHANNELS;
use crate::{CLIP, HALF_LIFE, Row};

/// The statistics of the channels after some numbers of rows.
#[derive(Default)]
pub(crate) struct Report {
    moments: Vec<Moment>,
}

struct Moment {
    count: u64,
    all: [(f64, f64); CHANNELS.len()],
    latest: [(f64, f64); CHANNELS.len()],
}

impl Report {
    /// Reads the statistics as they are now.
    pub(crate) fn add(&mut self, all: &Welford, latest: &Ewm) {
        self.moments.push(Moment {
            count: all.count(),
            all: std::array::from_fn(|channel| (all.mean(channel), all.std_dev(channel, 1.0))),
            latest: std::array::from_fn(|channel| (latest.mean(channel), latest.std_dev(channel, 1.0))),
        });
    }

    pub(crate) fn table(&self) -> String {
        let mut table = table(&["channel", "rows", "mean", "sd", "weighted mean", "weighted sd"]);
        for (channel, about) in CHANNELS.iter().enumerate() {
            // The name and what is difficult about it are in the first rows of the channel.
            let labels = [format!("{}, {}", about.name, about.unit), format!("  {}", about.about)];
            for (row, moment) in self.moments.iter().enumerate() {
                let label = labels.get(row).cloned().unwrap_or_default();
                let [mean, sd] = digits(moment.all[channel]);
                let [weighted_mean, weighted_sd] = digits(moment.latest[channel]);
                table.add_row([label, moment.count.to_string(), mean, sd, weighted_mean, weighted_sd]);
            }
        }
        let title = "Mean and standard deviation as rows arrive: all rows, and with weights that halve every";
        format!("{title} {HALF_LIFE} rows\n\n{}", lines(&table))
    }
}

/// Returns a table of how many normalised values were clipped.
pub(crate) fn clipped(rows: &[Row]) -> String {
    let mut table = table(&["channel", "by all rows", "by the latest"]);
    for (channel, about) in CHANNELS.iter().enumerate() {
        let count = |value: fn(&Row) -> &[f64]| rows.iter().filter(|row| value(row)[channel].abs() >= CLIP).count();
        let counts = [count(|row| &row.by_all), count(|row| &row.by_latest)];
        table.add_row([about.name.to_string(), counts[0].to_string(), counts[1].to_string()]);
    }
    format!("Normalised values that were clipped to {CLIP} standard deviations\n\n{}", lines(&table))
}

/// Formats a standard deviation to three significant digits, and the mean to the same place.
fn digits((mean, sd): (f64, f64)) -> [String; 2] {
    if sd > 0.0 {
        let places = decimals(sd, 3);
        [format!("{mean:.places$}"), format!("{sd:.places$}")]
    } else {
        // After one row.
        [format!("{mean:.*}", decimals(mean, 3)), "–".into()]
    }
}

/// Returns the decimal places that show so many significant digits.
fn decimals(x: f64, significant: i32) -> usize {
    (significant - 1 - x.abs().log10().floor() as i32).clamp(0, 20) as usize
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn lines(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}
