//! Writes a table whose means and variances are known by construction.

use std::path::PathBuf;
use std::process::ExitCode;

use batchnorm_ballista::sample;
use clap::Parser;

/// Writes a table as Parquet files, and prints what its means and variances must be
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Folder to write to
    folder: PathBuf,

    /// Files, each of them the same number of rows
    #[arg(long, default_value_t = 8)]
    files: u32,

    /// Rows of each file: a multiple of 65536
    #[arg(long, default_value_t = 1 << 18)]
    rows_per_file: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match sample::write(&options.folder, options.files, options.rows_per_file) {
        Ok(rows) => {
            println!("{rows} rows in {} files in {}", options.files, options.folder.display());
            for truth in sample::truths(rows) {
                println!("{:<6} mean {:e}  variance {:e}", truth.column, truth.mean, truth.variance);
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("batchnorm-sample: {error}");
            ExitCode::FAILURE
        }
    }
}
