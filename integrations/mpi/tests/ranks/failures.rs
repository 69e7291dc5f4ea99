//! Ranks that fail before an exchange, in every way: the job ends in time, with a message that names the rank.

use std::process::ExitCode;
use std::time::Duration;

use batchnorm::{BatchNorm, Layout};
use batchnorm_mpi::SyncBatchNorm;
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;

use super::launch::mpirun;
use super::support::{view, view_mut};

/// Seconds in which a job must have ended.
const LIMIT: u32 = 30;

/// How rank 1 of 3 fails, and what a message must say.
const FAILURES: [(&str, &str); 9] = [
    ("panic", "rank 1 of 3: panicked"),
    ("panic of a thread", "rank 1 of 3: panicked"),
    ("error", "rank 1 of 3: shard-1.bin: not there"),
    // These die without a word, so `mpirun` names them.
    ("exit", "Process name: [[*,1],1]"),
    ("exit as if all were well", "due to process rank 1 with PID"),
    ("abort", "process rank 1 with PID"),
    ("kill", "process rank 1 with PID"),
    // These do not end at all, or end too early. The others have a time limit.
    ("sleep", "forward_train has waited for * Not there: rank 1"),
    ("return", "forward_train has waited for * Not there: rank 1"),
];

/// On each rank: one step together, then rank 1 fails, and the others go on.
pub(crate) fn fail(how: &str) -> ExitCode {
    batchnorm_mpi::run(|world| {
        let bn = SyncBatchNorm::new(BatchNorm::new(1), world);
        let mut bn = if ["sleep", "return"].contains(&how) { bn.with_time_limit(Duration::from_secs(1)) } else { bn };
        for step in 0..3 {
            if step == 1 && world.rank() == 1 {
                match how {
                    "panic" => panic!("as this test wants it"),
                    "panic of a thread" => {
                        let panics = std::thread::spawn(|| panic!("as this test wants it")).join();
                        return Err(format!("a thread has panicked, and nothing ended: {panics:?}"));
                    }
                    "error" => return Err("shard-1.bin: not there".to_string()),
                    "exit" => std::process::exit(3),
                    "exit as if all were well" => std::process::exit(0),
                    "abort" => std::process::abort(),
                    "kill" => kill_myself(),
                    "sleep" => std::thread::sleep(Duration::from_secs(3600)),
                    _ => return Ok(()),
                }
            }
            train(world, &mut bn)?;
        }
        Err("the ranks have gone on without rank 1".into())
    })
}

fn train(world: &SimpleCommunicator, bn: &mut SyncBatchNorm<'_, SimpleCommunicator>) -> Result<(), String> {
    let (x, mut y, layout) = ([f64::from(world.rank()), 5.0], [0.0; 2], Layout::nc(2, 1));
    bn.forward_train(view(&x, layout), view_mut(&mut y, layout)).map_err(|error| error.to_string())
}

fn kill_myself() {
    let me = std::process::id().to_string();
    std::process::Command::new("kill").args(["-KILL", &me]).status().expect("kill is there");
    std::thread::sleep(Duration::from_secs(3600));
}

pub(crate) fn launch_all() -> impl Iterator<Item = (String, Result<(), String>)> {
    FAILURES.into_iter().map(|(how, words)| (format!("rank 1 fails by {how}"), launch(how, words)))
}

fn launch(how: &str, words: &str) -> Result<(), String> {
    let run = mpirun(3, &["--fail", how], LIMIT)?;
    let text = run.text();
    if run.timed_out {
        return Err(format!("a rank hangs: it took more than {LIMIT} s\n{text}"));
    }
    if run.output.status.success() {
        return Err(format!("the job has ended as if all were well\n{text}"));
    }
    if !text.lines().any(|line| matches(line, words)) {
        return Err(format!("no message says \"{words}\"\n{text}"));
    }
    println!("rank 1 fails by {how}: the job ended in {:.1} s, and says so", run.time.as_secs_f64());
    Ok(())
}

/// Whether a line has words in which `*` stands for anything.
fn matches(line: &str, words: &str) -> bool {
    let mut rest = Some(line);
    for part in words.split('*') {
        rest = rest.and_then(|rest| rest.find(part).map(|at| &rest[at + part.len()..]));
    }
    rest.is_some()
}
