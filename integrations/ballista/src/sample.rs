//! Tables in Parquet files whose means and variances are known by construction.
//!
//! | column | type | row `i` of `n` | mean | variance (`ddof` 0) |
//! |---|---|---|---|---|
//! | `station` | i32 | `i / 8192 % 8`: a key to group by | | |
//! | `far` | f64 | `1e12 + (i * 4097 % 8192) / 8192` | 1e12 + 8191 / 16384 | (8192² - 1) / (12 * 8192²) |
//! | `pair` | f64 | 1e16, 1e16 + 2, 1e16, .. | 1e16 + 1 | 1 |
//! | `ramp` | f64 | `i`: each file has another mean | (n - 1) / 2 | (n² - 1) / 12 |
//! | `level` | f32 | `i / 8192`, rounded down | (n / 8192 - 1) / 2 | ((n / 8192)² - 1) / 12 |
//! | `holes` | f64 | as `far` where `i * 4097` is even, else null | 1e12 + 4095 / 8192 | (4096² - 1) / (12 * 4096²) |
//! | `noise` | f64 | pseudo-random, 1000 ± 0.5 | | |
//!
//! All values but `noise` are exact. `far`, `pair` and `holes` have the same mean and variance in each file, and `far` in
//! each station.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use ballista_core::error::{BallistaError, Result};
use datafusion::arrow::array::{ArrayRef, Float32Array, Float64Array, Int32Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;

/// Rows of one step of `level`, after which `far`, `pair` and `holes` repeat.
const BLOCK: u64 = 8192;

/// Rows after which each station has had the same number of blocks.
const PERIOD: u64 = 8 * BLOCK;

/// Mean and variance of a column, each within one unit in the last place of the exact value.
///
/// ```
/// let truth = batchnorm_ballista::sample::truths(65_536);
/// let pair = truth.iter().find(|t| t.column == "pair").unwrap();
/// assert_eq!(pair.variance, 1.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truth {
    /// The column's name.
    pub column: &'static str,
    /// Its mean.
    pub mean: f64,
    /// Its variance, with a `ddof` of 0.
    pub variance: f64,
}

/// Returns what is known about a table of `rows` rows, a multiple of 65,536 (otherwise of the rows up to one).
///
/// ```
/// let truths = batchnorm_ballista::sample::truths(1 << 20);
/// let known: Vec<_> = truths.iter().map(|t| t.column).collect();
/// assert_eq!(known, ["far", "pair", "ramp", "level", "holes"]);
/// ```
pub fn truths(rows: u64) -> [Truth; 5] {
    let rows = rows - rows % PERIOD;
    // Of the integers 0, 1, .., n - 1, in steps of `step` from `from`.
    let even = |column, n: u64, step: f64, from: f64| {
        let n = u128::from(n);
        let mean = from + n.saturating_sub(1) as f64 / 2.0 * step;
        Truth { column, mean, variance: (n * n).saturating_sub(1) as f64 / 12.0 * (step * step) }
    };
    [
        even("far", BLOCK, 1.0 / BLOCK as f64, 1e12),
        even("pair", 2, 2.0, 1e16),
        even("ramp", rows, 1.0, 0.0),
        even("level", rows / BLOCK, 1.0, 0.0),
        even("holes", BLOCK / 2, 2.0 / BLOCK as f64, 1e12),
    ]
}

/// Writes a table as so many Parquet files, `part-00000.parquet` and so on, into a folder, which it makes if need be.
/// Returns the number of rows.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// assert_eq!(batchnorm_ballista::sample::write(folder.path(), 2, 65_536)?, 131_072);
/// assert!(batchnorm_ballista::sample::write(folder.path(), 2, 65_536).is_err()); // there are files already
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// There are 0 files; the rows of each are not a multiple of 65,536 above 0, or more than 2^40 in all; the folder has
/// Parquet files already; or it cannot be written.
pub fn write(folder: &Path, files: u32, rows_per_file: u64) -> Result<u64> {
    let rows = u64::from(files).saturating_mul(rows_per_file);
    if rows == 0 || rows > 1 << 40 || !rows_per_file.is_multiple_of(PERIOD) {
        return Err(BallistaError::Configuration(format!(
            "{files} files of {rows_per_file} rows: at least 1 file is needed, of a multiple of {PERIOD} rows, and at most \
             2^40 rows in all"
        )));
    }
    let failed = |error: &dyn std::fmt::Display| BallistaError::General(format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    for entry in std::fs::read_dir(folder).map_err(|error| failed(&error))? {
        let path = entry.map_err(|error| failed(&error))?.path();
        if path.extension().is_some_and(|extension| extension == "parquet") {
            return Err(failed(&format!("has {} already", path.display())));
        }
    }
    for file in 0..files {
        let path = folder.join(format!("part-{file:05}.parquet"));
        write_file(&path, u64::from(file) * rows_per_file, rows_per_file).map_err(|error| failed(&error))?;
    }
    Ok(rows)
}

fn write_file(path: &Path, start: u64, rows: u64) -> std::result::Result<(), Box<dyn std::error::Error>> {
    // Plain values: what a query costs is then its own, not that of a decoder.
    let properties = WriterProperties::builder().set_dictionary_enabled(false).build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, schema(), Some(properties))?;
    for first in (start..start + rows).step_by(PERIOD as usize) {
        writer.write(&batch(first)?)?;
    }
    writer.close()?;
    Ok(())
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("station", DataType::Int32, false),
        Field::new("far", DataType::Float64, false),
        Field::new("pair", DataType::Float64, false),
        Field::new("ramp", DataType::Float64, false),
        Field::new("level", DataType::Float32, false),
        Field::new("holes", DataType::Float64, true),
        Field::new("noise", DataType::Float64, false),
    ]))
}

/// The rows of one period.
fn batch(first: u64) -> std::result::Result<RecordBatch, datafusion::arrow::error::ArrowError> {
    let rows = || first..first + PERIOD;
    // 4097 is odd, so this goes through all of a block's values, in no simple order.
    let shuffled = |i: u64| i * 4097 % BLOCK;
    let far = |i| 1e12 + shuffled(i) as f64 / BLOCK as f64;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows().map(|i| (i / BLOCK % 8) as i32).collect::<Int32Array>()),
        Arc::new(rows().map(far).collect::<Float64Array>()),
        Arc::new(rows().map(|i| 1e16 + (i % 2 * 2) as f64).collect::<Float64Array>()),
        Arc::new(rows().map(|i| i as f64).collect::<Float64Array>()),
        Arc::new(rows().map(|i| (i / BLOCK) as f32).collect::<Float32Array>()),
        Arc::new(rows().map(|i| (shuffled(i) % 2 == 0).then(|| far(i))).collect::<Float64Array>()),
        Arc::new(rows().map(|i| 1000.0 + uniform(i)).collect::<Float64Array>()),
    ];
    RecordBatch::try_new(schema(), columns)
}

/// A pseudo-random number in [-0.5, 0.5): the `i`-th of SplitMix64.
fn uniform(i: u64) -> f64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 - 0.5
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Array, AsArray};
    use datafusion::arrow::datatypes::Float64Type;

    /// Sums of exact integers, by plain loops, against the closed forms.
    #[test]
    fn the_closed_forms_hold() {
        let rows = 2 * PERIOD;
        let batches = [batch(0).unwrap(), batch(PERIOD).unwrap()];
        for truth in truths(rows) {
            // Values as multiples of 2^-13 above an offset: far below 2^63, as are the sums of their squares.
            let offset = if truth.mean >= 1e15 {
                1e16
            } else if truth.mean >= 1e11 {
                1e12
            } else {
                0.0
            };
            let (mut n, mut sum, mut squares) = (0i128, 0i128, 0i128);
            for batch in &batches {
                let column = batch.column_by_name(truth.column).unwrap();
                let column = datafusion::arrow::compute::cast(column, &DataType::Float64).unwrap();
                let values = column.as_primitive::<Float64Type>();
                for value in values.iter().flatten() {
                    let units = (value - offset) * 8192.0;
                    assert_eq!(units.fract(), 0.0, "{}", truth.column);
                    (n, sum, squares) = (n + 1, sum + units as i128, squares + (units as i128).pow(2));
                }
                assert_eq!(values.null_count() > 0, truth.column == "holes");
            }
            let variance = (n * squares - sum * sum) as f64 / (n * n) as f64 / 8192f64.powi(2);
            let mean = offset + sum as f64 / n as f64 / 8192.0;
            assert!((variance / truth.variance - 1.0).abs() < 1e-15, "{truth:?}: {variance}");
            assert!((mean / truth.mean - 1.0).abs() < 3e-16, "{truth:?}: {mean}");
        }
    }

    #[test]
    fn impossible_tables_are_refused_with_both_numbers() {
        for (files, rows) in [(0, PERIOD), (3, 0), (3, PERIOD + 1), (u32::MAX, PERIOD)] {
            let message = write(Path::new("never-made"), files, rows).unwrap_err().to_string();
            assert!(message.contains(&format!("{files} files of {rows} rows")), "{message}");
        }
        assert!(!Path::new("never-made").exists());
    }
}
