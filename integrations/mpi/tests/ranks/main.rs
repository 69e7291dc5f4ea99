//! Runs this program on 1 to 4 ranks, and each way in which a rank can fail. Every run has a time limit.
//!
//! The oracle of the results is the crate `batchnorm` in one process, which its own tests compare with exact arithmetic;
//! where ranks do not hold whole chunks, it is exact integer arithmetic.

mod bits;
mod bounds;
mod data;
mod errors;
mod failures;
#[path = "../common/launch.rs"]
mod launch;
mod nan;
mod support;

use std::process::ExitCode;

use launch::mpirun;
use mpi::topology::SimpleCommunicator;

/// Seconds that a run of all checks may take, on a machine with few cores that others use, too.
const LIMIT: u32 = 120;

type Check = fn(&SimpleCommunicator);

/// Checks that all ranks run together.
const CHECKS: [(&str, Check); 8] = [
    ("whole chunks have the bits of one process", bits::whole_chunks),
    ("so do the two groups of a split communicator", bits::split_communicator),
    ("blocks of features change no bit, and bytes are those of the theory", bits::blocks_and_bytes),
    ("other shards stay within the bounds", bounds::uneven_shards),
    ("moments and sums without a layer", bounds::without_a_layer),
    ("NaN on one rank", nan::on_one_rank),
    ("errors are the same on all ranks", errors::on_all_ranks),
    ("the layer is as it was after an error", errors::nothing_has_changed),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--checks"] => batchnorm_mpi::run(|world| {
            CHECKS.iter().for_each(|(name, check)| support::run_check(world, name, *check));
            Ok::<(), String>(())
        }),
        ["--fail", how] => failures::fail(how),
        // What `cargo test` may pass to any test.
        _ => launch_all(),
    }
}

fn launch_all() -> ExitCode {
    let checks = (1..=4).map(|ranks| (format!("{ranks} ranks"), run_checks(ranks)));
    let all = checks.chain(failures::launch_all());
    let mut failed = 0;
    for (name, outcome) in all {
        if let Err(why) = outcome {
            failed += 1;
            println!("FAILED: {name}\n{why}");
        }
    }
    println!("{}", if failed == 0 { "all runs: ok".into() } else { format!("{failed} runs failed") });
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_checks(ranks: usize) -> Result<(), String> {
    let run = mpirun(ranks, &["--checks"], LIMIT)?;
    let text = run.text();
    if run.timed_out {
        return Err(format!("it took more than {LIMIT} s\n{text}"));
    }
    let done = CHECKS.iter().filter(|(name, _)| text.lines().any(|line| line == format!("ok: {name}"))).count();
    if !run.output.status.success() || done < CHECKS.len() {
        return Err(format!("{done} of {} checks are ok; {}\n{text}", CHECKS.len(), run.output.status));
    }
    println!("{ranks} ranks: {done} checks ok ({:.1} s)", run.time.as_secs_f64());
    Ok(())
}
