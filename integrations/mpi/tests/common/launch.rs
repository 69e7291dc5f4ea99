//! Starts this program again on several ranks.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// What a run has printed, and how it ended.
pub(crate) struct Run {
    pub(crate) output: Output,
    pub(crate) time: Duration,
    /// Whether it took longer than its limit. (The exit code does not tell: `mpirun` passes on those of ranks.)
    pub(crate) timed_out: bool,
}

impl Run {
    pub(crate) fn text(&self) -> String {
        [&self.output.stdout, &self.output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
    }
}

/// Runs this program by `mpirun`, for at most so many seconds.
pub(crate) fn mpirun(ranks: usize, arguments: &[&str], seconds: u32) -> Result<Run, String> {
    let start = Instant::now();
    let output = command(ranks, arguments, seconds).map_err(|error| format!("timeout mpirun: {error}"))?;
    let time = start.elapsed();
    Ok(Run { output, time, timed_out: time >= Duration::from_secs(seconds.into()) })
}

fn command(ranks: usize, arguments: &[&str], seconds: u32) -> std::io::Result<Output> {
    let program = std::env::current_exe()?;
    Command::new("timeout")
        // A second signal, if the first one is not enough.
        .args(["--kill-after=5", &seconds.to_string(), "mpirun", "--allow-run-as-root", "--oversubscribe"])
        .args(["--bind-to", "none", "-n", &ranks.to_string()])
        .arg(program)
        .args(arguments)
        // Ranks share the machine here: few threads each, and who waits lets others run.
        .env("RAYON_NUM_THREADS", "2")
        .env("OMPI_MCA_mpi_yield_when_idle", "1")
        .output()
}
