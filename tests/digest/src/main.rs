//! Hashes the bits of every result, by every path, to compare them between machines.
//!
//! ```text
//! cargo run --release                                # all paths of this machine; prints the digests
//! cargo run --release -- --expect expected.txt       # and compares them with those of other machines
//! cargo run --release -- --write expected.txt        # or writes them, after a change of the canonical order
//! cargo run --release -- --path parallel --isa avx2 --threads 3
//! ```
//!
//! `--path` is scalar, simd or parallel. `--isa` is portable, avx2, avx512 or best (the default, if a path is named).
//! Exit codes: 0 if all digests agree; 1 if some do not; 2 for a wrong argument or file; 77 if this machine lacks what
//! was requested.

mod batches;
mod layer;
// The tests' generator, compiled into this program as well.
#[path = "../../common/nasty.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use more of it")]
mod nasty;
mod outputs;
mod runs;
mod streams;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;
use runs::{Request, Run};

const NOT_RUN: u8 = 77;

fn main() -> ExitCode {
    let Arguments { request, expect, write } = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => return failure(error),
    };
    let (runs, missing) = runs::choose(&request);
    for name in missing {
        println!("NOT RUN: {name}: this machine lacks it");
    }
    if runs.is_empty() {
        return ExitCode::from(NOT_RUN);
    }
    let expected = match expect.map(std::fs::read_to_string).transpose() {
        Ok(expected) => expected.map(|text| built(&text)),
        Err(error) => return failure(error),
    };
    if cfg!(not(feature = "half")) {
        if write.is_some() {
            return failure("--write needs the feature half");
        }
        println!("NOT RUN: f16 and bf16: built without them");
    }
    let digests = outputs::digests(&runs);
    if !agree(&runs, &digests, expected.as_deref().unwrap_or(&digests[0])) {
        return ExitCode::FAILURE;
    }
    match write.map(|file| std::fs::write(file, &digests[0])).transpose() {
        Ok(Some(())) => {}
        Ok(None) if expected.is_some() => {}
        Ok(None) => print!("{}", digests[0]),
        Err(error) => return failure(error),
    }
    ExitCode::SUCCESS
}

/// Returns the lines of the element types that this program was built with.
fn built(expected: &str) -> String {
    let half = |line: &&str| line.contains(", f16, ") || line.contains(", bf16, ");
    expected.lines().filter(|line| cfg!(feature = "half") || !half(line)).map(|line| format!("{line}\n")).collect()
}

fn failure(error: impl Display) -> ExitCode {
    eprintln!("digest: {error}");
    ExitCode::from(2)
}

#[derive(Default)]
struct Arguments {
    request: Request,
    expect: Option<PathBuf>,
    write: Option<PathBuf>,
}

fn arguments() -> Result<Arguments, lexopt::Error> {
    let mut arguments = Arguments::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("path") => arguments.request.path = Some(parser.value()?.parse()?),
            Long("isa") => arguments.request.isa = Some(parser.value()?.string()?),
            Long("threads") => arguments.request.threads = Some(parser.value()?.parse()?),
            Long("expect") => arguments.expect = Some(parser.value()?.into()),
            Long("write") => arguments.write = Some(parser.value()?.into()),
            other => return Err(other.unexpected()),
        }
    }
    arguments.request.check()?;
    Ok(arguments)
}

/// Prints whether each run agrees, and the sections in which it does not.
fn agree(runs: &[Run], digests: &[String], expected: &str) -> bool {
    let mut agree = true;
    for (run, given) in runs.iter().zip(digests) {
        let differing = differing_sections(expected, given);
        println!("{}: {}", run.name, if differing.is_empty() { "agrees" } else { "DIFFERS" });
        for section in &differing {
            println!("  {section}");
        }
        agree &= differing.is_empty();
    }
    agree
}

/// Returns the sections whose lines are not in both texts.
fn differing_sections(expected: &str, given: &str) -> BTreeSet<String> {
    let lines = |text: &str| text.lines().map(String::from).collect::<BTreeSet<_>>();
    let (expected, given) = (lines(expected), lines(given));
    let section = |line: &String| line.split_once("  ").map_or(line.clone(), |(_, section)| section.to_string());
    expected.symmetric_difference(&given).map(section).collect()
}
