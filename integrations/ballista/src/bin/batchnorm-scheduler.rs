//! A Ballista scheduler that knows batchnorm's SQL functions.

use std::process::ExitCode;

use batchnorm_ballista::{Scheduler, SchedulerOptions, end_of_stdin};
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let options = SchedulerOptions::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("batchnorm-scheduler: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: SchedulerOptions) -> Result<(), Box<dyn std::error::Error>> {
    let stop_with_stdin = options.stop_with_stdin;
    let scheduler = Scheduler::bind(options).await?;
    println!("batchnorm-scheduler: listening on {}", scheduler.address());
    tokio::select! {
        ended = scheduler.serve() => Ok(ended?),
        () = end_of_stdin(), if stop_with_stdin => Ok(()),
    }
}
