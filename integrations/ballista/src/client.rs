//! The client.

use std::time::{Duration, Instant};

use ballista::prelude::{SessionConfigExt, SessionContextExt};
use ballista_core::error::{BallistaError, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::address::Address;

/// Returns a context whose queries run on the cluster of a scheduler, given as `HOST:PORT`, in as many partitions as said.
///
/// Files are split into that many partitions, each of which is a task's work; so it should be a few times the number of
/// task slots. The scheduler is asked only when a query runs. Paths of files must mean the same on all machines.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let context = batchnorm_ballista::connect("localhost:50050", 16).await?;
/// assert!(context.state().aggregate_functions().contains_key("var_pop_accurate"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The address is not of the form `HOST:PORT`, or there are 0 partitions.
pub async fn connect(scheduler: &str, partitions: usize) -> Result<SessionContext> {
    let address = Address::parse(scheduler)?;
    let config = SessionConfig::new_with_ballista().with_target_partitions(checked(partitions)?);
    let state = SessionStateBuilder::new().with_default_features().with_config(config).build();
    let mut context = SessionContext::remote_with_state(&format!("df://{address}"), state).await?;
    // After the line above, which replaces all functions.
    batchnorm_datafusion::register_all(&mut context)?;
    Ok(context)
}

/// Returns a context whose queries run in this process, with the same functions, in as many partitions as said.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let context = batchnorm_ballista::local(2)?;
/// let sql = "SELECT var_pop_accurate(x) AS ours, var_pop(x) AS theirs FROM (VALUES (1e16), (1e16 + 2)) AS t(x)";
/// let rows = context.sql(sql).await?.collect().await?;
/// let text = datafusion::arrow::util::pretty::pretty_format_batches(&rows)?.to_string();
/// assert!(text.contains("| 1.0  | 2.0    |"), "{text}");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// There are 0 partitions.
pub fn local(partitions: usize) -> Result<SessionContext> {
    let config = SessionConfig::new().with_target_partitions(checked(partitions)?);
    let mut context = SessionContext::new_with_config(config);
    batchnorm_datafusion::register_all(&mut context)?;
    Ok(context)
}

fn checked(partitions: usize) -> Result<usize> {
    match partitions {
        0 => Err(BallistaError::Configuration("0 partitions; at least 1 is needed".into())),
        _ => Ok(partitions),
    }
}

/// Waits until the scheduler, given as `HOST:PORT`, says that it is ready: that as many executors have registered as its
/// [`min_executors`](crate::SchedulerOptions::min_executors).
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use batchnorm_ballista::{Scheduler, SchedulerOptions, wait_until_ready};
/// use std::time::Duration;
///
/// let scheduler = Scheduler::bind(SchedulerOptions { port: 0, min_executors: 0, ..Default::default() }).await?;
/// let address = scheduler.address().to_string();
/// let serving = tokio::spawn(scheduler.serve());
/// wait_until_ready(&address, Duration::from_secs(10)).await?; // it needs no executor
///
/// serving.abort();
/// assert!(wait_until_ready(&address, Duration::from_millis(300)).await.is_err());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The address is not of the form `HOST:PORT`, or the time is over: the error says what the scheduler said last.
pub async fn wait_until_ready(scheduler: &str, limit: Duration) -> Result<()> {
    let address = Address::parse(scheduler)?;
    let start = Instant::now();
    loop {
        let url = format!("http://{address}/readyz");
        let answer = tokio::task::spawn_blocking(move || ask(&url)).await.map_err(BallistaError::TokioError)?;
        let Err(reason) = answer else { return Ok(()) };
        if start.elapsed() >= limit {
            let message = format!("the scheduler at {address} was not ready within {limit:?}: {reason}");
            return Err(BallistaError::General(message));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Asks once; the error is what was said instead.
fn ask(url: &str) -> std::result::Result<(), String> {
    let request = ureq::get(url).config().http_status_as_error(false).timeout_global(Some(Duration::from_secs(2)));
    let mut response = request.build().call().map_err(|error| error.to_string())?;
    if response.status().is_success() {
        return Ok(());
    }
    Err(response.body_mut().read_to_string().map_err(|error| error.to_string())?.trim().to_string())
}
