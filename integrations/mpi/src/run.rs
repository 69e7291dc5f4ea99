//! Starting and ending an MPI program so that no rank waits for one that has failed.

use std::fmt::Display;
use std::process::ExitCode;

use mpi::Threading;
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;

use crate::exchange::end;

/// Runs an MPI program: starts MPI, calls `program` with the communicator of all ranks, and ends MPI.
///
/// If `program` fails or panics on a rank, this ends the job on all ranks, with a message that names the rank. (Left to
/// itself, such a rank would wait in `MPI_Finalize` for the others, and they for it in their next exchange.) A panic of
/// any thread ends the job, even one that something would catch.
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
pub fn run<E: Display>(program: impl FnOnce(&SimpleCommunicator) -> Result<(), E>) -> ExitCode {
    let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else {
        eprintln!("MPI is running already, so `run` cannot start it");
        return ExitCode::FAILURE;
    };
    let world = universe.world();
    end_on_panic();
    if let Err(error) = program(&world) {
        end(&world, &format!("rank {} of {}: {error}\n", world.rank(), world.size()));
    }
    // Without panics to come, because MPI ends now.
    drop(std::panic::take_hook());
    ExitCode::SUCCESS
}

/// Ends the job if any thread of this rank panics.
fn end_on_panic() {
    let earlier = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        earlier(panic);
        let world = SimpleCommunicator::world();
        end(&world, &format!("rank {} of {}: panicked, so the job ends\n", world.rank(), world.size()));
    }));
}
