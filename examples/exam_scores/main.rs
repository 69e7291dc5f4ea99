//! Computes the moments of a batch and normalises it: the exam scores of six pupils, or the numbers of a CSV file.
//!
//! ```text
//! cargo run --release --example exam_scores
//! cargo run --release --example exam_scores -- FILE.csv
//! ```

mod report;
mod scores;

use std::process::ExitCode;

fn main() -> ExitCode {
    let table = match std::env::args_os().nth(1) {
        None => Ok(scores::exam()),
        Some(path) => scores::read_csv(path.as_ref()),
    };
    match table.and_then(|table| Ok(report::report(&table)?)) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("exam_scores: {error}");
            ExitCode::FAILURE
        }
    }
}
