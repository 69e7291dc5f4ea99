//! Times `batchnorm` and other crates: see README.md.

mod case;
mod peers;
mod report;
mod timing;
mod versions;

use case::{Case, Op, SHAPES};

const USAGE: &str = "options: --threads N (default 1), --rounds N (default 15), --shape SHAPE (as in the table)";

fn main() {
    let options = Options::read(std::env::args().skip(1)).unwrap_or_else(|wrong| {
        eprintln!("{wrong}\n{USAGE}");
        std::process::exit(2);
    });
    for name in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        // SAFETY: no thread has been started yet, so nothing reads the environment at the same time.
        unsafe { std::env::set_var(name, options.threads.to_string()) };
    }
    report::header(options.threads, options.rounds);
    for shape in SHAPES {
        let case = Case::new(shape);
        if options.shape.as_ref().is_some_and(|only| *only != case.name()) {
            continue;
        }
        for op in Op::ALL {
            let mut contenders = peers::contenders(&case, op);
            peers::check(&case, op, &mut contenders);
            let times = timing::race(&mut contenders, options.rounds);
            report::rows(&case, op, &contenders, &times);
        }
    }
}

struct Options {
    threads: usize,
    rounds: usize,
    shape: Option<String>,
}

impl Options {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Options { threads: 1, rounds: 15, shape: None };
        while let Some(name) = args.next() {
            let value = args.next().ok_or(format!("{name} has no value"))?;
            let count = || value.parse().ok().filter(|n| *n > 0).ok_or(format!("{name} {value}: not a count"));
            match name.as_str() {
                "--threads" => options.threads = count()?,
                "--rounds" => options.rounds = count()?,
                "--shape" => options.shape = Some(value),
                _ => return Err(format!("{name}: unknown")),
            }
        }
        Ok(options)
    }
}
