//! A Ballista executor that knows batchnorm's SQL functions.

use std::process::ExitCode;

use batchnorm_ballista::{Executor, ExecutorOptions, end_of_stdin};
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let options = ExecutorOptions::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("batchnorm-executor: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: ExecutorOptions) -> Result<(), Box<dyn std::error::Error>> {
    let stop_with_stdin = options.stop_with_stdin;
    let executor = Executor::new(options)?;
    tokio::select! {
        ended = executor.run() => Ok(ended?),
        () = end_of_stdin(), if stop_with_stdin => Ok(()),
    }
}
