//! Starting and ending an MPI program so that no rank waits for one that has failed.

use std::fmt::Display;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mpi::Threading;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};

use crate::exchange::{end, say};

/// Runs an MPI program: starts MPI, calls `program` with the communicator of all ranks, and ends MPI.
///
/// If `program` fails or panics on a rank, this ends the job on all ranks, with a message that names the rank, and exit
/// code 1. (Left to itself, such a rank would wait in `MPI_Finalize` for the others, and they for it in their next
/// exchange.) A panic of any thread ends the job, even one that something would catch.
///
/// The program may start threads, as [`Path::Parallel`](batchnorm::Path::Parallel) does, but only its main thread may
/// use the communicator.
///
/// ```no_run
/// # use batchnorm_mpi::run;
/// use mpi::traits::Communicator;
///
/// fn main() -> std::process::ExitCode {
///     run(|world| {
///         let file = format!("shard-{}.bin", world.rank());
///         let shard = std::fs::read(&file).map_err(|error| format!("{file}: {error}"))?;
///         println!("rank {} has {} bytes", world.rank(), shard.len());
///         Ok::<(), String>(()) // a missing file ends the job: "rank 2 of 4: shard-2.bin: No such file ..."
///     })
/// }
/// ```
#[must_use = "the program's exit code says whether it failed"]
pub fn run<E: Display>(program: impl FnOnce(&SimpleCommunicator) -> Result<(), E>) -> ExitCode {
    let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else {
        eprintln!("MPI is running already, so `run` cannot start it");
        return ExitCode::FAILURE;
    };
    let world = universe.world();
    // A communicator of its own, because the others may be in the middle of anything on that of the program.
    let ended = world.duplicate();
    end_on_panic();
    let done = program(&world);
    if let Err(error) = &done {
        say(&world, &error.to_string());
    }
    // Those that have failed do not wait long: the others may wait for them. (The others wait here rather than in
    // `MPI_Finalize`: if a rank is there when a job is aborted, Open MPI's `mpirun` may hang.)
    if !all_end(&ended, done.as_ref().err().map(|_| Duration::from_millis(500))) {
        end(&world, world.rank() as usize);
    }
    // Without panics to come, because MPI ends now.
    drop(std::panic::take_hook());
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Waits until all ranks have come here, as they do after an error of a collective call, too. Returns whether they have.
fn all_end(ended: &SimpleCommunicator, limit: Option<Duration>) -> bool {
    let (start, mut barrier) = (Instant::now(), ended.immediate_barrier());
    while limit.is_none_or(|limit| start.elapsed() < limit) {
        match barrier.test() {
            Ok(_) => return true,
            Err(waiting) => barrier = waiting,
        }
        // Other ranks may need the core.
        std::thread::sleep(Duration::from_micros(500));
    }
    // It cannot be taken back, and must not be waited for.
    std::mem::forget(barrier);
    false
}

/// Ends the job if any thread of this rank panics.
fn end_on_panic() {
    let earlier = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        earlier(panic);
        let world = SimpleCommunicator::world();
        say(&world, "panicked, so the job ends");
        end(&world, world.rank() as usize);
    }));
}
