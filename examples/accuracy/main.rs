//! How far means and variances are from exact arithmetic: this crate, and what is usually written instead.
//!
//! ```text
//! cargo run --release --example accuracy                     # tables, over the columns of tests/common/nasty.rs
//! cargo run --release --example accuracy -- --svg FILE.svg   # and a plot of the error against mean / sd
//! ```
//!
//! The tables are Markdown. Errors of variances are in units in the last place (ulp) of the element type; errors of
//! means are in ulp of the mean plus 2^-53 (f32: 2^-24) standard deviations. Nothing is rounded to the element type
//! before it is compared. ∞ is an overflow, or a nonzero variance where all values are the same.

// The tests' generator and oracle, compiled into this example as well.
#[path = "../../tests/common/nasty.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use more of it")]
mod nasty;
#[path = "../../tests/common/oracle.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use more of it")]
mod oracle;

mod methods;
mod plot;
mod table;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use methods::Value;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let svg = match &args[..] {
        [] => None,
        [flag, file] if flag == "--svg" => Some(PathBuf::from(file)),
        [flag] if flag == "--help" || flag == "-h" => return exit(writeln!(io::stdout(), "{USAGE}")),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = print_table::<f64>().and_then(|()| print_table::<f32>()) {
        return exit(Err(error));
    }
    let Some(file) = svg else { return ExitCode::SUCCESS };
    if let Err(error) = plot::draw(&file) {
        eprintln!("accuracy: {}: {error}", file.display());
        return ExitCode::FAILURE;
    }
    exit(writeln!(io::stdout(), "The plot is in {}.", file.display()))
}

const USAGE: &str = "\
Prints the errors of means and variances by several methods, against exact arithmetic.

usage: accuracy [--svg FILE.svg]

  --svg FILE.svg  also plots the error against mean / sd";

/// Returns the exit code after printing. A reader that has seen enough, such as `head`, is no failure.
fn exit(printed: io::Result<()>) -> ExitCode {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("accuracy: cannot write: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn print_table<T: Value>() -> io::Result<()> {
    let element = std::any::type_name::<T>();
    writeln!(io::stdout(), "### {element}: the worst variance, in ulp\n\n{}\n", table::table(&table::measure::<T>()))
}
