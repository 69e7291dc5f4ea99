//! Aggregate functions for [DataFusion](https://datafusion.apache.org): means, variances and standard deviations of
//! columns, by the crate [`batchnorm`], accurate whatever the mean, for up to 2^32 rows.
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
//!
//! # Functions
//!
//! | name | returns |
//! |---|---|
//! | `mean_accurate(x)` | the mean |
//! | `var_pop_accurate(x)`, `var_samp_accurate(x)` | the variance: of a population (divided by n), of a sample (by n - 1) |
//! | `stddev_pop_accurate(x)`, `stddev_samp_accurate(x)` | its square root |
//! | `moments(x)` | all of them, and `count` and `m2`, as a struct, in one pass |
//!
//! All numbers are `Float64`, in the unit of `x` (variances and `m2`, the sum of squared deviations from the mean: in its
//! square); `count` is `UInt64`. NULL as for DataFusion's own functions: rows with NULL are skipped, and the result is
//! NULL if there are no rows, or one for the sample's statistics. `moments` is never NULL: for no rows its count is 0
//! and the numbers in it are NULL.
//!
//! `Float32` and `Float64` columns are read as they are. `Float16` is cast to `Float32`, integers and decimals to
//! `Float64`. What is no number is refused.
//!
//! # Plans
//! - **Without `GROUP BY`** a column goes through the kernel of [`batchnorm`]. On one partition the result has the bits
//!   of one call of [`batchnorm::moments()`], whatever the size of the batches.
//! - **With `GROUP BY`** each group has a state of 32 to 64 bytes (`mean_accurate`: 24).
//! - **Partial states** are a binary column: 8 bytes for a single row (the value itself), otherwise 48, a count and
//!   five f64 (all words of mean and m2; 0 for the m2 of `mean_accurate` with `GROUP BY`), little-endian. Partitions,
//!   spilled groups and other machines merge them. Damage is an error where it shows: a wrong size, a negative m2,
//!   words that do not fit together, too many rows.
//! - **`FILTER (WHERE ..)`** works everywhere.
//! - **`DISTINCT`** works where DataFusion itself turns it into a `GROUP BY`: if all aggregates of the query have the
//!   same DISTINCT argument, and none has a FILTER. Elsewhere it is an error, whose message has an equivalent query.
//! - **Windows**, growing and sliding, are right, too: nothing is subtracted when a row leaves, so an outlier or an
//!   infinity leaves without a trace. A sliding frame takes 64 bytes for each of its rows, plus the vectors'
//!   spare capacity.
//!
//! # Accuracy
//! The relative error of a variance is at most 4 units in the last place without `GROUP BY` (f32: 4.6e-13), and 2e-11
//! with it, for finite values, up to 2^32 of them, whatever their mean and the number of partitions, unless the variance
//! is below 1e-289. Errors observed with `GROUP BY` are below 1e-14, unless
//! squares come near f64's smallest numbers. [`numerics`] has all bounds, the argument for them,
//! the limits, and what becomes of NaN and infinities.
//!
//! # Memory
//! All of it is reported to DataFusion's memory pool. An aggregate without `GROUP BY` keeps up to 32,768 values per
//! partition until they are summed: 256 KiB, or 128 KiB for f32. With `mean_accurate` a group takes 24
//! bytes. With the others it takes 32; once a group has 16 rows, it and all groups found before it take 64.

mod column;
mod function;
mod group;
mod grouped;
mod means;
pub mod numerics;
mod pair;
mod partial;
mod statistic;
mod ungrouped;
mod variances;
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
/// use datafusion::execution::FunctionRegistry;
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

/// Runs the README's examples as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
