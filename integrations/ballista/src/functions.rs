//! The functions, for the processes of a cluster.

use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::utils::{default_config_producer, default_session_builder};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::prelude::SessionConfig;

/// Returns a session with Ballista's functions and those of [`batchnorm_datafusion`]: the session builder of a scheduler.
///
/// ```
/// use ballista_scheduler::config::SchedulerConfig;
/// use std::sync::Arc;
///
/// let config = SchedulerConfig::default()
///     .with_override_session_builder(Arc::new(batchnorm_ballista::session_state));
/// # assert!(config.override_session_builder.is_some());
/// ```
///
/// # Errors
/// What DataFusion says when it refuses a configuration or a function.
pub fn session_state(config: SessionConfig) -> Result<SessionState> {
    let mut state = default_session_builder(config)?;
    batchnorm_datafusion::register_all(&mut state)?;
    Ok(state)
}

/// Returns the same functions as [`session_state`], as an executor takes them.
///
/// ```
/// use ballista_executor::executor_process::ExecutorProcessConfig;
/// use std::sync::Arc;
///
/// let functions = Arc::new(batchnorm_ballista::function_registry()?);
/// assert!(functions.aggregate_functions.contains_key("var_pop_accurate"));
/// let config = ExecutorProcessConfig { override_function_registry: Some(functions), ..Default::default() };
/// # assert!(config.override_function_registry.is_some());
/// # Ok::<(), datafusion::error::DataFusionError>(())
/// ```
///
/// # Errors
/// As [`session_state`].
pub fn function_registry() -> Result<BallistaFunctionRegistry> {
    Ok(BallistaFunctionRegistry::from(&session_state(default_config_producer())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::FunctionRegistry;

    #[test]
    fn the_stock_registry_lacks_the_functions_and_this_one_keeps_its_own() {
        let (stock, ours) = (BallistaFunctionRegistry::default(), function_registry().unwrap());
        for function in batchnorm_datafusion::functions() {
            assert!(stock.udaf(function.name()).is_err(), "{}", function.name());
            assert!(ours.udaf(function.name()).is_ok(), "{}", function.name());
        }
        assert!(stock.udafs().is_subset(&ours.udafs()));
        assert!(stock.udfs().is_subset(&ours.udfs()));
        assert!(stock.udwfs().is_subset(&ours.udwfs()));
        assert!(stock.higher_order_function_names().is_subset(&ours.higher_order_function_names()));
    }
}
