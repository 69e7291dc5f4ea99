//! The command line.

use std::path::PathBuf;

use lexopt::prelude::{Long, ValueExt};

use crate::pipeline::{Failure, Shape};

const HELP: &str = "\
usage: pipeline [OPTIONS]
Normalises each feature of a file of f32 rows (little-endian, without a header) to mean 0 and variance 1.

  --file FILE      the rows; without it, target/pipeline.f32 is written and used
  --out FILE       where the normalised rows go; without it, they are discarded
  --features N     values in a row (32)
  --rows N         rows of the file that is written first (1000000)
  --part N         rows in a part (4096)
  --threads N      threads that normalise (one less than the machine has, at least 1)
  --help";

pub(crate) struct Args {
    pub(crate) file: PathBuf,
    /// Whether the file is written first.
    pub(crate) make: bool,
    pub(crate) rows: u64,
    pub(crate) out: Option<PathBuf>,
    pub(crate) shape: Shape,
}

impl Args {
    /// Returns `None` if only help was asked for.
    pub(crate) fn parse() -> Result<Option<Self>, Failure> {
        let workers = std::thread::available_parallelism().map_or(1, |threads| threads.get().saturating_sub(1).max(1));
        let (mut file, mut out, mut rows) = (None, None, 1_000_000);
        let mut shape = Shape { features: 32, rows: 4096, parts: 0, workers };
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("file") => file = Some(PathBuf::from(parser.value()?)),
                Long("out") => out = Some(PathBuf::from(parser.value()?)),
                Long("features") => shape.features = parser.value()?.parse()?,
                Long("rows") => rows = parser.value()?.parse()?,
                Long("part") => shape.rows = parser.value()?.parse()?,
                Long("threads") => shape.workers = parser.value()?.parse()?,
                Long("help") => {
                    println!("{HELP}");
                    return Ok(None);
                }
                other => return Err(other.unexpected().into()),
            }
        }
        for (name, number) in [("features", shape.features), ("part", shape.rows), ("threads", shape.workers)] {
            if number == 0 {
                return Err(format!("--{name} must be at least 1, but is 0").into());
            }
        }
        // One for each worker, one that is read, and some that wait.
        shape.parts = 2 * shape.workers.min(1 << 10) + 2;
        let part = shape.features.checked_mul(shape.rows).and_then(|values| values.checked_mul(8 * shape.parts));
        if part.is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err(
                format!("parts of {} rows of {} features do not fit in memory", shape.rows, shape.features).into()
            );
        }
        let make = file.is_none();
        Ok(Some(Args { file: file.unwrap_or_else(|| "target/pipeline.f32".into()), make, rows, out, shape }))
    }
}
