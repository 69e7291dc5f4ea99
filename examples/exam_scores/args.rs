//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use batchnorm::BatchNorm;
use lexopt::prelude::*;

use super::table::{Missing, Reading};

pub(crate) const HELP: &str = "\
Mean, variance and normalised values of the columns of a table.

usage: exam_scores                       the built-in exam scores, by every path of this machine
       exam_scores [OPTIONS] FILE...     a summary of each column of CSV files ('-' is standard input)
       exam_scores --normalised FILE...  the table itself, each column with mean 0 and standard deviation 1

what is printed
  --normalised        the normalised table instead of the summary (also: --normalized)
  --csv               CSV with all digits instead of an aligned table
  --digits N          significant digits of the summary (1 to 17; default 6)
  --eps EPS           is added to the variance before normalising (default 1e-5, as in PyTorch; 0 for none)

how files are read
  --header WHICH      yes: the first line has the names; no: it has data; auto (default): it has the names if it has
                      text where the second line has a number
  --delimiter WHICH   comma, semicolon or tab (default: the one that splits the first lines evenly)
  --decimal WHICH     point or comma (default: the one in use; in files delimited by commas, the point)
  --skip-text         leave out columns that have text, and name them
  --missing WHAT      cells that are empty, NA, N/A, NaN, null, none, - or ?
                      refuse: an error (default); skip-row: leave out the row; skip-cell: leave out the cell alone

  -h, --help          print this
";

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Request {
    Help,
    /// The built-in scores.
    BuiltIn,
    Files(Options),
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) reading: Reading,
    pub(crate) normalised: bool,
    pub(crate) csv: bool,
    pub(crate) digits: usize,
    pub(crate) eps: f64,
}

/// Parses the arguments after the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(args);
    let reading = Reading::default();
    let mut options = Options { files: Vec::new(), reading, normalised: false, csv: false, digits: 6, eps: 1e-5 };
    let mut any = false;
    while let Some(arg) = parser.next()? {
        any |= !matches!(arg, Value(_));
        match arg {
            Short('h') | Long("help") => return Ok(Request::Help),
            Long("normalised" | "normalized") => options.normalised = true,
            Long("csv") => options.csv = true,
            Long("digits") => options.digits = parser.value()?.parse()?,
            Long("eps") => options.eps = parser.value()?.parse()?,
            Long("header") => {
                let choices = [("auto", None), ("yes", Some(true)), ("no", Some(false))];
                options.reading.header = choose("--header", &parser.value()?, &choices)?;
            }
            Long("delimiter") => {
                let names = [("comma", b','), ("semicolon", b';'), ("tab", b'\t'), (",", b','), (";", b';')];
                options.reading.delimiter = Some(choose("--delimiter", &parser.value()?, &names)?);
            }
            Long("decimal") => {
                let choices = [("point", b'.'), ("comma", b',')];
                options.reading.decimal = Some(choose("--decimal", &parser.value()?, &choices)?);
            }
            Long("skip-text") => options.reading.skip_text = true,
            Long("missing") => {
                let choices =
                    [("refuse", Missing::Refuse), ("skip-row", Missing::SkipRow), ("skip-cell", Missing::SkipCell)];
                options.reading.missing = choose("--missing", &parser.value()?, &choices)?;
            }
            Value(file) => options.files.push(file.into()),
            _ => return Err(arg.unexpected()),
        }
    }
    check(&options)?;
    match options.files.is_empty() {
        true if any => Err("these options need a FILE".into()),
        true => Ok(Request::BuiltIn),
        false => Ok(Request::Files(options)),
    }
}

/// Rejects what can be known to be wrong before a file is read.
fn check(options: &Options) -> Result<(), lexopt::Error> {
    if !(1..=17).contains(&options.digits) {
        return Err(format!("--digits must be from 1 to 17, but is {}", options.digits).into());
    }
    if let Err(error) = BatchNorm::new(1).with_eps(options.eps) {
        return Err(format!("--eps: {error}").into());
    }
    if options.csv && options.normalised && options.files.len() > 1 {
        return Err("--normalised --csv takes one FILE, because tables of several would run together".into());
    }
    Ok(())
}

/// Returns the choice that is named by the value of an option.
fn choose<T: Copy>(option: &str, value: &OsString, choices: &[(&str, T)]) -> Result<T, lexopt::Error> {
    let found = choices.iter().find(|(name, _)| value == *name);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).filter(|name| name.len() > 1).collect();
        format!("{option} must be one of {}, but is {value:?}", names.join(", ")).into()
    })
}
