//! The command line of our benches: the same options everywhere, and a message for anything else.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use lexopt::prelude::*;

/// What a bench is for, and what it takes beside `--test` and `--help`.
#[derive(Clone, Copy)]
pub struct Usage {
    pub name: &'static str,
    pub about: &'static str,
    /// If rows can be chosen by words: what the words are looked for in.
    pub only: Option<&'static str>,
    /// If the bench writes a file: how its name ends, and what is written.
    pub file: Option<(&'static str, &'static str)>,
    /// Options of this bench alone, each with a value: their names, and what they mean.
    pub more: &'static [(&'static str, &'static str)],
}

pub struct Options {
    /// Run everything once and measure nothing.
    pub test: bool,
    only: Vec<String>,
    pub file: Option<PathBuf>,
    more: Vec<(&'static str, String)>,
}

impl Options {
    /// Returns the value of one of the bench's own options, or a message if it is none of its type.
    pub fn get<T: FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let value = self.more.iter().rev().find(|(own, _)| *own == name).map(|(_, value)| value);
        let wrong = |value: &String| format!("--{name} cannot be {value:?}; --help lists the options");
        value.map(|value| value.parse().map_err(|_| wrong(value))).transpose()
    }

    /// Returns whether a row with this name has all of the words that were asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.only.iter().all(|word| name.contains(word.as_str()))
    }

    /// Returns the exit code of a bench that printed so many rows: none means that the words fit no row.
    pub fn exit(&self, rows: usize) -> ExitCode {
        if rows > 0 {
            return ExitCode::SUCCESS;
        }
        eprintln!("error: no row has all of the words in --only {}; --help says what is searched", self.only.join(","));
        ExitCode::FAILURE
    }
}

impl Usage {
    /// Returns the options, or the exit code if there is nothing to measure.
    pub fn parse(&self) -> Result<Options, ExitCode> {
        self.options(lexopt::Parser::from_env()).map_err(|error| {
            eprintln!("error: {error}; --help lists the options");
            ExitCode::from(2)
        })?
    }

    fn options(&self, mut parser: lexopt::Parser) -> Result<Result<Options, ExitCode>, lexopt::Error> {
        let mut options = Options { test: false, only: Vec::new(), file: None, more: Vec::new() };
        while let Some(arg) = parser.next()? {
            match arg {
                // Cargo passes this.
                Long("bench") => {}
                Long("test") => options.test = true,
                Long("only") if self.only.is_some() => {
                    let words = parser.value()?.string()?;
                    options.only.extend(words.split(',').map(String::from));
                }
                Short('h') | Long("help") => {
                    print!("{}", self.help());
                    return Ok(Err(ExitCode::SUCCESS));
                }
                Long(name) if self.own(name).is_some() => {
                    let own = self.own(name).unwrap_or_default();
                    options.more.push((own, parser.value()?.string()?));
                }
                Value(file) if options.file.is_none() && self.takes(&file.to_string_lossy()) => {
                    options.file = Some(file.into());
                }
                _ => return Err(arg.unexpected()),
            }
        }
        Ok(Ok(options))
    }

    fn own(&self, name: &str) -> Option<&'static str> {
        self.more.iter().map(|(own, _)| *own).find(|own| *own == name)
    }

    fn takes(&self, file: &str) -> bool {
        self.file.is_some_and(|(end, _)| file.ends_with(end))
    }

    fn help(&self) -> String {
        let Usage { name, about, only, file, more } = self;
        let mut text = format!("{about}\n\nusage: cargo bench --bench {name} [-- OPTIONS");
        text += &file.map(|(end, _)| format!(" FILE{end}")).unwrap_or_default();
        text += "]\n\n";
        if let Some((end, what)) = file {
            text += &format!("  FILE{end:<9} {what}\n");
        }
        if let Some(searched) = only {
            text += &format!("  --only A,B    rows alone whose \"{searched}\" has all of these words\n");
        }
        for (name, what) in *more {
            let option = format!("--{name} X");
            text += &format!("  {option:<13} {what}\n");
        }
        text + "  --test        runs everything once, to check that it works\n  -h, --help    prints this\n"
    }
}
