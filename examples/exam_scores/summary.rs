//! The summary: what each column of a table holds.

use std::io::{self, Write};

use batchnorm::{Batch, Layout, moments};

use super::grid::grid;
use super::number::{datum, shortest, significant};
use super::table::{Column, Table};

pub(crate) struct Summary<'a> {
    name: &'a str,
    count: u64,
    /// Mean, standard deviation, unbiased and population variance.
    moments: [f64; 4],
    min: f64,
    max: f64,
}

impl<'a> Summary<'a> {
    fn of(column: &'a Column) -> Result<Self, batchnorm::Error> {
        let values = column.present();
        let m = moments(Batch::new(&values, Layout::nc(values.len(), 1))?);
        Ok(Summary {
            name: &column.name,
            count: m.count(0),
            moments: [m.mean(0), m.std_dev(0, 1.0), m.variance(0, 1.0), m.variance(0, 0.0)],
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

/// Summarises every column of a table.
pub(crate) fn summarise(table: &Table) -> Result<Vec<Summary<'_>>, batchnorm::Error> {
    table.columns.iter().map(Summary::of).collect()
}

/// Prints summaries as an aligned table.
pub(crate) fn print(summaries: &[Summary<'_>], digits: usize, out: &mut impl Write) -> io::Result<()> {
    let names = ["column", "count", "mean", "sd", "var (ddof 1)", "var (ddof 0)", "min", "max"];
    let mut rows = vec![names.map(String::from).to_vec()];
    for Summary { name, count, moments, min, max } in summaries {
        let moments = moments.map(|x| significant(x, digits));
        let ends = [datum(*min, digits), datum(*max, digits)];
        rows.push([name.to_string(), count.to_string()].into_iter().chain(moments).chain(ends).collect());
    }
    write!(out, "{}", grid(&rows))?;
    writeln!(out, "ddof 1: unbiased variance, sd is its square root; ddof 0: population variance")
}

/// Writes the names of the columns that [`write_csv`] writes.
pub(crate) fn write_csv_header(out: &mut impl Write) -> csv::Result<()> {
    let names = ["file", "column", "count", "mean", "sd", "variance_ddof1", "variance_ddof0", "min", "max"];
    let mut to = csv::Writer::from_writer(out);
    to.write_record(names)?;
    Ok(to.flush()?)
}

/// Writes summaries as CSV, with all digits.
pub(crate) fn write_csv(summaries: &[Summary<'_>], file: &str, out: &mut impl Write) -> csv::Result<()> {
    let mut to = csv::Writer::from_writer(out);
    for Summary { name, count, moments, min, max } in summaries {
        let numbers = moments.iter().chain([min, max]).map(|x| shortest(*x));
        to.write_record([file.to_string(), name.to_string(), count.to_string()].into_iter().chain(numbers))?;
    }
    Ok(to.flush()?)
}
