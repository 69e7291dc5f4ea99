//! Mean, variance and normalised values of a table: the exam scores of six pupils, or the columns of CSV files.
//!
//! ```text
//! cargo run --release --example exam_scores                            # the scores, by every path of this machine
//! cargo run --release --example exam_scores -- FILE.csv                # a summary of each column
//! cargo run --release --example exam_scores -- --normalised FILE.csv   # the table, normalised
//! cargo run --release --example exam_scores -- --help                  # all options
//! ```

mod args;
mod dialect;
mod grid;
mod normalised;
pub(crate) mod number;
pub(crate) mod report;
pub(crate) mod scores;
mod summary;
pub(crate) mod table;

use std::ffi::OsString;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use args::{Options, Request};

fn main() -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    run(std::env::args_os().skip(1), &mut out, &mut io::stderr()).into()
}

/// Why the program stops.
enum Failure {
    /// What is wrong with a file.
    File(String),
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

impl From<csv::Error> for Failure {
    fn from(error: csv::Error) -> Self {
        Failure::Output(match error.into_kind() {
            csv::ErrorKind::Io(error) => error,
            kind => io::Error::other(format!("{kind:?}")),
        })
    }
}

/// Runs the program and returns its exit code: 0, 1 where a file or the output is wrong, or 2 for wrong arguments.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>, out: &mut impl Write, messages: &mut impl Write) -> u8 {
    let result = match args::parse(args) {
        Ok(Request::Help) => out.write_all(args::HELP.as_bytes()).map(|()| 0).map_err(Failure::Output),
        Ok(Request::BuiltIn) => built_in(out),
        Ok(Request::Files(options)) => files(&options, out, messages),
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(messages, "exam_scores: {error}; --help lists the options");
            return 2;
        }
    };
    match result.and_then(|code| Ok(out.flush().map(|()| code)?)) {
        Ok(code) => code,
        // The reader, such as `head`, has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(Failure::Output(error)) => {
            let _ = writeln!(messages, "exam_scores: cannot write: {error}");
            1
        }
        Err(Failure::File(error)) => {
            let _ = writeln!(messages, "exam_scores: {error}");
            1
        }
    }
}

fn built_in(out: &mut impl Write) -> Result<u8, Failure> {
    let text = report::report(&scores::exam()).map_err(|error| Failure::File(error.to_string()))?;
    out.write_all(text.as_bytes())?;
    Ok(0)
}

/// Prints what was asked for about each file. A file that is wrong does not keep the others from being printed.
fn files(options: &Options, out: &mut impl Write, messages: &mut impl Write) -> Result<u8, Failure> {
    let mut code = 0;
    if options.csv && !options.normalised {
        summary::write_csv_header(out)?;
    }
    for (at, path) in options.files.iter().enumerate() {
        let name = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
        if at > 0 && !options.csv {
            writeln!(out)?;
        }
        match file(path, &name, options, out) {
            Ok(notes) => {
                // The notes follow what they are about, also where both go to the same terminal.
                out.flush()?;
                for note in notes {
                    let _ = writeln!(messages, "{name}: note: {note}");
                }
            }
            Err(Failure::File(error)) => {
                out.flush()?;
                let _ = writeln!(messages, "exam_scores: {name}: {error}");
                code = 1;
            }
            Err(output) => return Err(output),
        }
    }
    Ok(code)
}

/// Prints one file and returns notes about it.
fn file(path: &Path, name: &str, options: &Options, out: &mut impl Write) -> Result<Vec<String>, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::File(error.to_string());
    let bytes = read(path).map_err(|error| wrong(&error))?;
    let mut table = table::parse(&bytes, &options.reading).map_err(|error| wrong(&error))?;
    drop(bytes);
    let mut notes = std::mem::take(&mut table.notes);
    let title = format!("{name}: {} rows, {} columns", table.lines.len(), table.columns.len());
    if options.normalised {
        notes.extend(normalised::normalise(&mut table, options.eps).map_err(Failure::File)?);
        if options.csv {
            normalised::write_csv(&table, out)?;
        } else {
            writeln!(out, "{title}, normalised")?;
            normalised::print(&table, out)?;
        }
    } else {
        let summaries = summary::summarise(&table).map_err(|error| wrong(&error))?;
        if options.csv {
            summary::write_csv(&summaries, name, out)?;
        } else {
            writeln!(out, "{title}")?;
            summary::print(&summaries, options.digits, out)?;
        }
    }
    Ok(notes)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path != Path::new("-") {
        return std::fs::read(path);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}
