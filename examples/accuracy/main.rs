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

use std::path::PathBuf;
use std::process::ExitCode;

use methods::Value;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let svg = match &args[..] {
        [] => None,
        [flag, file] if flag == "--svg" => Some(PathBuf::from(file)),
        _ => {
            eprintln!("usage: accuracy [--svg FILE.svg]");
            return ExitCode::FAILURE;
        }
    };
    print_table::<f64>();
    print_table::<f32>();
    if let Some(file) = svg {
        if let Err(error) = plot::draw(&file) {
            eprintln!("accuracy: {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
        println!("The plot is in {}.", file.display());
    }
    ExitCode::SUCCESS
}

fn print_table<T: Value>() {
    let element = std::any::type_name::<T>();
    println!("### {element}: the worst variance, in ulp\n\n{}\n", table::table(&table::measure::<T>()));
}
