//! Which paths run, on which instruction sets, on how many threads.

use std::str::FromStr;

use batchnorm::{Isa, Path};
use rayon::ThreadPool;
#[cfg(feature = "rayon")]
use rayon::ThreadPoolBuilder;

/// All instruction sets that a machine may have.
const ISAS: [&str; 3] = ["portable", "avx2", "avx512"];

/// Numbers of threads for the parallel path, unless one was requested.
const THREADS: [usize; 4] = [1, 2, 3, 7];

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum PathName {
    Scalar,
    Simd,
    Parallel,
}

impl FromStr for PathName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "scalar" => Ok(PathName::Scalar),
            "simd" => Ok(PathName::Simd),
            "parallel" => Ok(PathName::Parallel),
            _ => Err("must be scalar, simd or parallel".into()),
        }
    }
}

/// What was requested. Without a path, all of them.
#[derive(Default)]
pub(crate) struct Request {
    pub(crate) path: Option<PathName>,
    pub(crate) isa: Option<String>,
    pub(crate) threads: Option<usize>,
}

impl Request {
    pub(crate) fn check(&self) -> Result<(), String> {
        match &self.isa {
            Some(isa) if isa != "best" && !ISAS.contains(&isa.as_str()) => {
                Err(format!("--isa must be best or one of {}, not {isa}", ISAS.join(", ")))
            }
            Some(_) if self.path == Some(PathName::Scalar) => {
                Err("--isa applies only to --path simd and parallel".into())
            }
            _ if self.threads == Some(0) => Err("--threads must be at least 1".into()),
            _ => Ok(()),
        }
    }

    fn wants(&self, path: PathName) -> bool {
        self.path.is_none_or(|wanted| wanted == path)
    }
}

/// One way to compute everything.
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) path: Path,
    pool: Option<ThreadPool>,
}

impl Run {
    pub(crate) fn install<R: Send>(&self, compute: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(compute),
            None => compute(),
        }
    }
}

/// Returns the runs of a request, and the instruction sets of it that this machine lacks.
pub(crate) fn choose(request: &Request) -> (Vec<Run>, Vec<String>) {
    let (mut runs, mut missing) = (Vec::new(), Vec::new());
    if request.wants(PathName::Scalar) && request.isa.is_none() {
        runs.push(Run { name: "scalar".into(), path: Path::Scalar, pool: None });
    }
    let (simd, parallel) = (request.wants(PathName::Simd), request.wants(PathName::Parallel));
    if !simd && !parallel {
        return (runs, missing);
    }
    // If a path was named, the best instruction set, unless one was named. Otherwise all of them.
    let best = Isa::detect().name();
    let names = match request.isa.as_deref() {
        Some("best") => vec![best],
        Some(isa) => vec![isa],
        None if request.path.is_some() => vec![best],
        None => ISAS.to_vec(),
    };
    for name in names {
        let Some(isa) = Isa::available().find(|isa| isa.name() == name) else {
            missing.push(name.to_string());
            continue;
        };
        if simd {
            runs.push(Run { name: format!("simd on {isa}"), path: Path::Simd(isa), pool: None });
        }
        let threads = request.threads.map_or(THREADS.to_vec(), |n| vec![n]);
        for n in threads.into_iter().filter(|_| parallel) {
            #[cfg(feature = "rayon")]
            runs.push(Run {
                name: format!("parallel on {isa}, {n} threads"),
                path: Path::Parallel(isa),
                pool: Some(ThreadPoolBuilder::new().num_threads(n).build().expect("threads")),
            });
            #[cfg(not(feature = "rayon"))]
            missing.push(format!("{isa} on {n} threads"));
        }
    }
    (runs, missing)
}
