//! The executor.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_core::error::{BallistaError, Result};
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::address::Address;
use crate::functions::function_registry;
use crate::ports;

/// The options of an executor, which are those of the program `batchnorm-executor`.
///
/// ```
/// use batchnorm_ballista::ExecutorOptions;
/// use clap::Parser;
///
/// let options = ExecutorOptions::try_parse_from(["batchnorm-executor", "--scheduler", "node1:50050", "--task-slots", "4"])?;
/// let expected = ExecutorOptions { scheduler: "node1:50050".into(), task_slots: Some(4), ..Default::default() };
/// assert_eq!(options, expected);
/// # Ok::<(), clap::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, clap::Parser)]
#[command(name = "batchnorm-executor", version)]
#[command(about = "A Ballista executor that knows batchnorm's SQL functions", long_about = None)]
pub struct ExecutorOptions {
    /// Scheduler to register with
    #[arg(long, value_name = "HOST:PORT", default_value_t = Self::default().scheduler)]
    pub scheduler: String,

    /// Seconds to wait for the scheduler to listen
    #[arg(long, value_name = "SECONDS", default_value_t = Self::default().connect_timeout)]
    pub connect_timeout: u64,

    /// Address to listen on; 0.0.0.0 for all
    #[arg(long, value_name = "IP", default_value_t = Self::default().bind_host)]
    pub bind_host: IpAddr,

    /// Name or address by which scheduler, clients and other executors reach this one [default: where the scheduler sees
    /// it come from]
    #[arg(long, value_name = "HOST")]
    pub external_host: Option<String>,

    /// Port from which results and shuffled rows are fetched; 0 for any free one
    #[arg(long, default_value_t = Self::default().port)]
    pub port: u16,

    /// Port to which the scheduler sends tasks; 0 for any free one
    #[arg(long, value_name = "PORT", default_value_t = Self::default().grpc_port)]
    pub grpc_port: u16,

    /// Folder for shuffled rows and results [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,

    /// Partitions that are computed at the same time [default: one per core]
    #[arg(long, value_name = "N", value_parser = parse_slots)]
    pub task_slots: Option<usize>,

    /// MiB of memory for sorts, joins and groups, shared out to the task slots; beyond it they spill or fail [default: 70%
    /// of the machine's]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..1 << 40))]
    pub memory: Option<u64>,

    /// Seconds between heartbeats
    #[arg(long, value_name = "SECONDS", default_value_t = Self::default().heartbeat)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub heartbeat: u64,

    /// Stop when standard input ends: for a parent process that may die
    #[arg(long)]
    pub stop_with_stdin: bool,
}

impl Default for ExecutorOptions {
    fn default() -> Self {
        ExecutorOptions {
            scheduler: "localhost:50050".into(),
            connect_timeout: 30,
            bind_host: Ipv4Addr::LOCALHOST.into(),
            external_host: None,
            port: 50_051,
            grpc_port: 50_052,
            work_dir: None,
            task_slots: None,
            memory: None,
            heartbeat: 5,
            stop_with_stdin: false,
        }
    }
}

fn parse_slots(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".into()),
        Ok(slots) => Ok(slots),
        Err(error) => Err(error.to_string()),
    }
}

/// An executor, ready to run: [`crate`] has an example.
pub struct Executor {
    config: ExecutorProcessConfig,
    scheduler: Address,
    connect_timeout: Duration,
    /// Deleted with the executor.
    _temporary: Option<TempDir>,
}

impl Executor {
    /// Checks the options, chooses free ports and makes the work folder.
    ///
    /// ```
    /// use batchnorm_ballista::{Executor, ExecutorOptions};
    ///
    /// assert!(Executor::new(ExecutorOptions::default()).is_ok());
    /// let error = Executor::new(ExecutorOptions { scheduler: "node1".into(), ..Default::default() }).err().unwrap();
    /// assert!(error.to_string().contains("node1"));
    /// ```
    ///
    /// # Errors
    /// The scheduler is not of the form `HOST:PORT`, there is no task slot, no free port, or the work folder cannot be
    /// made.
    pub fn new(options: ExecutorOptions) -> Result<Self> {
        let scheduler = Address::parse(&options.scheduler)?;
        let temporary = options.work_dir.is_none().then(TempDir::new).transpose()?;
        let work_dir = match (&options.work_dir, &temporary) {
            (Some(given), _) => {
                std::fs::create_dir_all(given)
                    .map_err(|error| BallistaError::General(format!("cannot make {}: {error}", given.display())))?;
                given.display().to_string()
            }
            (None, Some(temporary)) => temporary.path().display().to_string(),
            (None, None) => unreachable!("made above"),
        };
        let defaults = ExecutorProcessConfig::default();
        let vcores = options.task_slots.unwrap_or(defaults.vcores);
        if vcores == 0 {
            return Err(BallistaError::Configuration("0 task slots; at least 1 is needed".into()));
        }
        let config = ExecutorProcessConfig {
            bind_host: options.bind_host.to_string(),
            external_host: options.external_host,
            port: ports::or_free(options.port, options.bind_host)?,
            grpc_port: ports::or_free(options.grpc_port, options.bind_host)?,
            scheduler_host: scheduler.host.clone(),
            scheduler_port: scheduler.port,
            vcores,
            work_dir: Some(work_dir),
            memory_pool_size: options.memory.map(|mib| mib << 20),
            executor_heartbeat_interval_seconds: options.heartbeat,
            override_function_registry: Some(Arc::new(function_registry()?)),
            ..defaults
        };
        let connect_timeout = Duration::from_secs(options.connect_timeout);
        Ok(Executor { config, scheduler, connect_timeout, _temporary: temporary })
    }

    /// Registers with the scheduler, and runs tasks until SIGTERM, Ctrl-C or the scheduler stops it; [`crate`] has an
    /// example. It then finishes the tasks that it runs.
    ///
    /// # Errors
    /// The scheduler is not there, or a port is taken.
    pub async fn run(self) -> Result<()> {
        wait_for(&self.scheduler, self.connect_timeout).await?;
        start_executor_process(Arc::new(self.config)).await
    }
}

/// Waits until something listens. (The time limit of Ballista's own loop never passes in version 55.)
async fn wait_for(scheduler: &Address, limit: Duration) -> Result<()> {
    let start = Instant::now();
    while let Err(error) = TcpStream::connect((scheduler.name(), scheduler.port)).await {
        if start.elapsed() >= limit {
            let message = format!("no scheduler at {scheduler} within {limit:?}: {error}");
            return Err(BallistaError::GrpcConnectionError(message));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_scheduler_it_gives_up_in_time() {
        let port = ports::or_free(0, Ipv4Addr::LOCALHOST.into()).unwrap();
        let options =
            ExecutorOptions { scheduler: format!("127.0.0.1:{port}"), connect_timeout: 0, ..Default::default() };
        let error = Executor::new(options).unwrap().run().await.unwrap_err();
        assert!(error.to_string().contains(&format!("no scheduler at 127.0.0.1:{port}")), "{error}");
    }
}
