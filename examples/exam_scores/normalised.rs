//! The normalised table: each column with mean 0 and standard deviation 1.

use std::fmt::Write as _;
use std::io::{self, Write};

use batchnorm::{Batch, BatchMut, BatchNorm, Layout, moments};
use unicode_width::UnicodeWidthStr;

use super::number::{shortest, significant, without_tiny};
use super::table::{Column, Table};

/// A column whose standard deviation `eps` takes further from 1 than this is worth a note.
const VISIBLE: f64 = 0.995;

/// Decimals of normalised values, which are about 1.
const DECIMALS: usize = 4;

/// Normalises every column in place, as training does. Returns notes about columns that `eps` shrinks. Missing cells
/// stay missing.
pub(crate) fn normalise(table: &mut Table, eps: f64) -> Result<Vec<String>, String> {
    let mut notes = Vec::new();
    for column in &mut table.columns {
        let note = normalise_column(column, eps).map_err(|error| format!("column {:?}: {error}", column.name))?;
        notes.extend(note);
    }
    Ok(notes)
}

fn normalise_column(column: &mut Column, eps: f64) -> Result<Option<String>, batchnorm::Error> {
    let mut values = column.present();
    let layout = Layout::nc(values.len(), 1);
    let variance = moments(Batch::new(&values, layout)?).variance(0, 0.0);
    BatchNorm::new(1).with_eps(eps)?.forward_train_in_place(BatchMut::new(&mut values, layout)?)?;
    let present = column.values.iter_mut().filter(|value| !value.is_nan());
    present.zip(values).for_each(|(to, value)| *to = value);
    let left = (variance / (variance + eps)).sqrt();
    Ok((variance > 0.0 && left < VISIBLE).then(|| {
        let (eps, sd, left) = (shortest(eps), significant(variance.sqrt(), 3), significant(left, 3));
        format!("eps {eps} shrinks column {:?} (sd {sd}) to sd {left}; --eps 0 gives 1", column.name)
    }))
}

/// Prints the columns, aligned, each row with its line in the file.
pub(crate) fn print(table: &Table, out: &mut impl Write) -> io::Result<()> {
    let decimals: Vec<_> = table.columns.iter().map(decimals).collect();
    let widths: Vec<_> = table.columns.iter().zip(&decimals).map(|(column, of)| width(column, *of)).collect();
    let line_width = table.lines.last().map_or(0, |line| line.to_string().len()).max("line".len());
    write!(out, "{:>line_width$}", "line")?;
    for (column, width) in table.columns.iter().zip(&widths) {
        let padding = width - column.name.width();
        write!(out, "  {:padding$}{}", "", column.name)?;
    }
    writeln!(out)?;
    let mut text = String::new();
    for (row, line) in table.lines.iter().enumerate() {
        text.clear();
        let mut written = write!(text, "{line:>line_width$}");
        for ((column, width), decimals) in table.columns.iter().zip(&widths).zip(&decimals) {
            written = written.and_then(|()| text.write_str("  "));
            written = written.and_then(|()| cell(&mut text, column.values[row], *width, *decimals));
        }
        written.map_err(io::Error::other)?;
        writeln!(out, "{text}")?;
    }
    Ok(())
}

/// Writes the columns as CSV, with all digits. Missing cells are empty.
pub(crate) fn write_csv(table: &Table, out: &mut impl Write) -> csv::Result<()> {
    let mut to = csv::Writer::from_writer(out);
    to.write_record(table.columns.iter().map(|column| &column.name))?;
    for row in 0..table.lines.len() {
        to.write_record(table.columns.iter().map(|column| shortest(column.values[row])))?;
    }
    Ok(to.flush()?)
}

/// Returns the width of a column: the longest values are the smallest and the largest.
fn width(column: &Column, decimals: usize) -> usize {
    let extreme = |fold: fn(f64, f64) -> f64| column.values.iter().copied().fold(f64::NAN, fold);
    let lengths = [extreme(f64::min), extreme(f64::max)].map(|x| format!("{x:.decimals$}").len());
    lengths.into_iter().fold(column.name.width(), usize::max)
}

/// Returns the decimals of a column: more where `eps` has made all values small.
fn decimals(column: &Column) -> usize {
    let largest = column.values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let mut decimals = DECIMALS;
    let mut below = 0.1;
    while largest > 0.0 && largest < below && decimals < 3 * DECIMALS {
        decimals += 1;
        below /= 10.0;
    }
    decimals
}

/// Adds a value, or a dash where it is missing.
fn cell(to: &mut String, x: f64, width: usize, decimals: usize) -> std::fmt::Result {
    if x.is_nan() {
        return write!(to, "{:>width$}", "-");
    }
    write!(to, "{:>width$.decimals$}", without_tiny(x, decimals))
}
