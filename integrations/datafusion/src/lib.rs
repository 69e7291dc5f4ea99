//! Aggregate functions for [DataFusion](https://datafusion.apache.org): means, variances and standard deviations of
//! columns, by the crate [`batchnorm`], accurate to rounding whatever the mean and the number of rows.
//!
//! ```
//! use arrow::array::AsArray;
//! use arrow::datatypes::Float64Type;
//! use datafusion::prelude::SessionContext;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> datafusion::error::Result<()> {
//! let mut ctx = SessionContext::new();
//! batchnorm_datafusion::register_all(&mut ctx)?;
//! let sql = "SELECT var_pop_accurate(x), var_pop(x) FROM (VALUES (1e16), (1e16 + 2)) AS t(x)";
//! let rows = ctx.sql(sql).await?.collect().await?;
//! let number = |column: usize| rows[0].column(column).as_primitive::<Float64Type>().value(0);
//! assert_eq!(number(0), 1.0);
//! println!("DataFusion's own: {}", number(1)); // 2
//! # Ok(())
//! # }
//! ```

mod column;
mod function;
mod group;
mod grouped;
mod pair;
mod partial;
mod statistic;
mod ungrouped;
mod window;

use std::sync::Arc;

use datafusion_common::{DataFusionError, Result};
use datafusion_expr::AggregateUDF;
use datafusion_expr::registry::FunctionRegistry;

use function::Function;
use statistic::Statistic;

/// Returns all functions: `mean_accurate`, `var_pop_accurate`, `var_samp_accurate`, `stddev_pop_accurate`,
/// `stddev_samp_accurate` and `moments`.
///
/// ```
/// let names: Vec<_> = batchnorm_datafusion::functions().iter().map(|f| f.name().to_string()).collect();
/// assert!(names.contains(&"var_pop_accurate".to_string()));
/// ```
pub fn functions() -> Vec<Arc<AggregateUDF>> {
    [
        ("mean_accurate", Statistic::Mean),
        ("var_pop_accurate", Statistic::VarPop),
        ("var_samp_accurate", Statistic::VarSamp),
        ("stddev_pop_accurate", Statistic::StddevPop),
        ("stddev_samp_accurate", Statistic::StddevSamp),
        ("moments", Statistic::Moments),
    ]
    .map(|(name, statistic)| Arc::new(AggregateUDF::new_from_impl(Function::new(name, statistic))))
    .to_vec()
}

/// Registers all [`functions`]: in a `SessionContext`, in a `SessionState`, or in what else holds functions.
///
/// # Errors
/// If the registry does not accept new functions.
///
/// ```
/// use datafusion::prelude::SessionContext;
///
/// let mut ctx = SessionContext::new();
/// batchnorm_datafusion::register_all(&mut ctx)?;
/// assert!(ctx.udaf("moments").is_ok());
/// # Ok::<(), datafusion::error::DataFusionError>(())
/// ```
pub fn register_all(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for function in functions() {
        registry.register_udaf(function)?;
    }
    Ok(())
}

/// Wraps an error of the crate.
fn external(error: batchnorm::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
