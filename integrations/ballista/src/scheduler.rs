//! The scheduler.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ballista_core::error::{BallistaError, Result};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use ballista_scheduler::scheduler_server::SchedulerServer;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tokio::net::TcpListener;

use crate::functions::session_state;

/// The options of a scheduler, which are those of the program `batchnorm-scheduler`.
///
/// ```
/// use batchnorm_ballista::SchedulerOptions;
/// use clap::Parser;
///
/// let options = SchedulerOptions::try_parse_from(["batchnorm-scheduler", "--port", "0", "--min-executors", "2"])?;
/// assert_eq!(options, SchedulerOptions { port: 0, min_executors: 2, ..Default::default() });
/// # Ok::<(), clap::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, clap::Parser)]
#[command(name = "batchnorm-scheduler", version)]
#[command(about = "A Ballista scheduler that knows batchnorm's SQL functions", long_about = None)]
pub struct SchedulerOptions {
    /// Address to listen on; 0.0.0.0 for all
    #[arg(long, value_name = "IP", default_value_t = Self::default().bind_host)]
    pub bind_host: IpAddr,

    /// Port to listen on, for clients and executors; 0 for any free one
    #[arg(long, default_value_t = Self::default().port)]
    pub port: u16,

    /// Name or address by which executors reach this scheduler
    #[arg(long, value_name = "HOST", default_value_t = Self::default().external_host)]
    pub external_host: String,

    /// Executors that must have registered before `GET /readyz` says 200 (`batchnorm-sql --wait` waits for it)
    #[arg(long, value_name = "N", default_value_t = Self::default().min_executors)]
    pub min_executors: usize,

    /// Seconds without a heartbeat after which an executor is lost, and its tasks run elsewhere; more than the executors'
    /// --heartbeat
    #[arg(long, value_name = "SECONDS", default_value_t = Self::default().executor_timeout)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub executor_timeout: u64,

    /// Seconds to wait for a new executor when the last one is lost, before the running queries fail
    #[arg(long, value_name = "SECONDS", default_value_t = Self::default().no_executors_timeout)]
    pub no_executors_timeout: u64,

    /// Stop when standard input ends: for a parent process that may die
    #[arg(long)]
    pub stop_with_stdin: bool,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        SchedulerOptions {
            bind_host: Ipv4Addr::LOCALHOST.into(),
            port: 50_050,
            external_host: "localhost".into(),
            min_executors: 1,
            executor_timeout: 30,
            no_executors_timeout: 30,
            stop_with_stdin: false,
        }
    }
}

impl SchedulerOptions {
    fn config(&self, port: u16) -> SchedulerConfig {
        let mut config = SchedulerConfig::default()
            .with_hostname(&self.external_host)
            .with_port(port)
            // Tasks in turn to each executor: by default one is filled before the next gets any.
            .with_task_distribution(TaskDistributionPolicy::RoundRobin)
            .with_no_executors_grace_period_seconds(self.no_executors_timeout)
            .with_override_session_builder(Arc::new(session_state));
        config.bind_host = self.bind_host.to_string();
        config.min_ready_executors = self.min_executors;
        config.executor_timeout_seconds = self.executor_timeout;
        config.expire_dead_executor_interval_seconds = self.executor_timeout.div_ceil(4).min(15);
        config
    }
}

/// A scheduler that listens, and then serves: [`crate`] has an example.
///
/// It is Ballista's, with its defaults, but for the functions, a heartbeat that is missed sooner, and tasks that are
/// dealt out in turn.
pub struct Scheduler {
    address: SocketAddr,
    listener: TcpListener,
    server: SchedulerServer<LogicalPlanNode, PhysicalPlanNode>,
}

impl Scheduler {
    /// Opens the port and makes the scheduler.
    ///
    /// ```
    /// use batchnorm_ballista::{Scheduler, SchedulerOptions};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let scheduler = Scheduler::bind(SchedulerOptions { port: 0, ..Default::default() }).await?;
    /// let taken = SchedulerOptions { port: scheduler.address().port(), ..Default::default() };
    /// assert!(Scheduler::bind(taken).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The port is taken, or the address is not this machine's.
    pub async fn bind(options: SchedulerOptions) -> Result<Self> {
        let wanted = SocketAddr::new(options.bind_host, options.port);
        let listener = TcpListener::bind(wanted)
            .await
            .map_err(|error| BallistaError::General(format!("cannot listen on {wanted}: {error}")))?;
        let address = listener.local_addr()?;
        let config = options.config(address.port());
        config.validate()?;
        let cluster = BallistaCluster::new_from_config(&config).await?;
        let server = create_scheduler(cluster, Arc::new(config)).await?;
        Ok(Scheduler { address, listener, server })
    }

    /// Returns the address that it listens on, with the port that was chosen.
    ///
    /// ```
    /// # use batchnorm_ballista::{Scheduler, SchedulerOptions};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let scheduler = Scheduler::bind(SchedulerOptions { port: 0, ..Default::default() }).await?;
    /// assert_ne!(scheduler.address().port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves clients and executors until the future is dropped; [`crate`] has an example.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(self) -> Result<()> {
        start_grpc_service_with_listener(self.listener, self.server).await
    }
}
