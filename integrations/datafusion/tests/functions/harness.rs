//! What the tests share: contexts, queries, accumulators as an engine drives them, and bounds.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Schema};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{AggregateUDF, EmitTo};
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::oracle::{Exact, error_in, nearest, ulp};

/// Returns a context with the functions, for so many partitions.
pub(crate) fn context(partitions: usize) -> SessionContext {
    with_config(SessionConfig::new().with_target_partitions(partitions))
}

pub(crate) fn with_config(config: SessionConfig) -> SessionContext {
    let mut ctx = SessionContext::new_with_config(config);
    batchnorm_datafusion::register_all(&mut ctx).expect("a context takes functions");
    ctx
}

/// Registers the table `t`, its rows dealt out to the partitions in slices of `slice` rows.
pub(crate) fn table(ctx: &SessionContext, columns: &[(&str, ArrayRef)], partitions: usize, slice: usize) -> Result<()> {
    let rows = RecordBatch::try_from_iter(columns.iter().map(|(name, column)| (*name, Arc::clone(column))))?;
    let mut parts = vec![Vec::new(); partitions];
    for (i, start) in (0..rows.num_rows()).step_by(slice).enumerate() {
        parts[i % partitions].push(rows.slice(start, slice.min(rows.num_rows() - start)));
    }
    ctx.deregister_table("t")?;
    ctx.register_table("t", Arc::new(MemTable::try_new(rows.schema(), parts)?))?;
    Ok(())
}

/// Runs a query and returns its rows, each column as f64; NULL is `None`.
pub(crate) async fn query(ctx: &SessionContext, sql: &str) -> Result<Vec<Vec<Option<f64>>>> {
    let mut rows = Vec::new();
    for batch in ctx.sql(sql).await?.collect().await? {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| arrow::compute::cast(column, &DataType::Float64))
            .collect::<std::result::Result<_, _>>()?;
        rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|column| number(column, row)).collect()));
    }
    Ok(rows)
}

/// Runs a query of a single row.
pub(crate) async fn row(ctx: &SessionContext, sql: &str) -> Result<Vec<Option<f64>>> {
    let mut rows = query(ctx, sql).await?;
    assert_eq!(rows.len(), 1, "{sql}");
    Ok(rows.remove(0))
}

/// Runs a query that must fail, and returns the message.
pub(crate) async fn error(ctx: &SessionContext, sql: &str) -> String {
    let result = match ctx.sql(sql).await {
        Ok(frame) => frame.collect().await,
        Err(error) => Err(error),
    };
    result.expect_err(sql).strip_backtrace()
}

pub(crate) fn number(column: &dyn Array, row: usize) -> Option<f64> {
    let column = column.as_primitive::<Float64Type>();
    column.is_valid(row).then(|| column.value(row))
}

pub(crate) fn floats(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

/// Returns a function of the crate.
pub(crate) fn function(name: &str) -> Arc<AggregateUDF> {
    let found = batchnorm_datafusion::functions().into_iter().find(|function| function.name() == name);
    found.unwrap_or_else(|| panic!("no function {name}"))
}

/// Calls `with` with what an engine passes when it makes an accumulator for a column of this type.
pub(crate) fn with_args<R>(
    function: &AggregateUDF,
    data_type: &DataType,
    with: impl FnOnce(AccumulatorArgs) -> R,
) -> R {
    let field: FieldRef = Arc::new(Field::new("x", data_type.clone(), true));
    let schema = Schema::new(vec![Arc::clone(&field)]);
    let return_type = function.return_type(std::slice::from_ref(data_type)).expect("a type");
    with(AccumulatorArgs {
        return_field: Arc::new(Field::new("f", return_type, true)),
        schema: &schema,
        ignore_nulls: false,
        order_bys: &[],
        is_reversed: false,
        name: "f",
        is_distinct: false,
        exprs: &[],
        expr_fields: &[field],
    })
}

/// Aggregates by groups as an engine does: each part by an accumulator of its own, in batches; then their states are
/// merged. Returns one result per group.
pub(crate) fn grouped(
    name: &str,
    column: &ArrayRef,
    filter: Option<&BooleanArray>,
    group_indices: &[usize],
    groups: usize,
    (parts, batch): (usize, usize),
) -> Result<ArrayRef> {
    let function = function(name);
    let accumulator = || with_args(&function, column.data_type(), |args| function.create_groups_accumulator(args));
    let mut all = accumulator()?;
    let part = column.len().div_ceil(parts).max(1);
    for start in (0..column.len()).step_by(part) {
        let mut one = accumulator()?;
        let end = (start + part).min(column.len());
        for from in (start..end).step_by(batch) {
            let len = batch.min(end - from);
            let filter = filter.map(|filter| filter.slice(from, len));
            one.update_batch(&[column.slice(from, len)], &group_indices[from..from + len], filter.as_ref(), groups)?;
        }
        let indices: Vec<usize> = (0..groups).collect();
        all.merge_batch(&one.state(EmitTo::All)?, &indices, groups)?;
    }
    all.evaluate(EmitTo::All)
}

/// Aggregates without groups as an engine does.
pub(crate) fn ungrouped(name: &str, column: &ArrayRef, (parts, batch): (usize, usize)) -> Result<Option<f64>> {
    let function = function(name);
    let accumulator = || with_args(&function, column.data_type(), |args| function.accumulator(args));
    let mut all = accumulator()?;
    let part = column.len().div_ceil(parts).max(1);
    for start in (0..column.len()).step_by(part) {
        let mut one = accumulator()?;
        let end = (start + part).min(column.len());
        for from in (start..end).step_by(batch) {
            one.update_batch(&[column.slice(from, batch.min(end - from))])?;
        }
        let states = one.state()?;
        let states: Vec<ArrayRef> = states.iter().map(|state| state.to_array()).collect::<Result<_>>()?;
        all.merge_batch(&states)?;
    }
    Ok(number(&all.evaluate()?.to_array()?, 0))
}

/// Returns a field of the structs that `moments` returns.
pub(crate) fn field(structs: &ArrayRef, name: &str) -> ArrayRef {
    Arc::clone(structs.as_struct().column_by_name(name).expect("a field"))
}

/// An error that is allowed: relative of a variance; of a mean in standard deviations and in units in its last place.
#[derive(Clone, Copy)]
pub(crate) struct Promise {
    pub(crate) variance: f64,
    pub(crate) mean: f64,
    pub(crate) units: f64,
}

/// Columns of f64 without GROUP BY: 4 units in the last place are at least `4 u`.
pub(crate) const UNGROUPED_F64: Promise = Promise { variance: 8.0 * U, mean: 2.0 * U, units: 0.5 };

/// Columns of f32 without GROUP BY.
pub(crate) const UNGROUPED_F32: Promise = Promise { variance: 4.6e-13 + U, mean: 3.9e-14, units: 0.5 };

/// What the documentation promises in any plan.
pub(crate) const ANY: Promise = Promise { variance: 2e-11, mean: 3e-13, units: 0.5 };

/// With GROUP BY: variances, and means alone.
pub(crate) const GROUPED: Promise = Promise { mean: 4e-14, units: 0.5 + 1.0 / 262_144.0, ..ANY };

/// A unit in the last place of 1 is `2 u`.
const U: f64 = f64::EPSILON / 2.0;

/// The smallest positive number.
const TINY: f64 = f64::from_bits(1);

impl Promise {
    /// Returns the error of a mean as a part of what is promised.
    pub(crate) fn mean_error(self, given: f64, exact: &Exact) -> f64 {
        error_in(given, &exact.mean, self.units * ulp(&exact.mean) + self.mean * exact.sd() + 2.0 * TINY)
    }

    /// Returns the error of a variance as a part of what is promised.
    pub(crate) fn variance_error(self, given: f64, exact: &Exact, ddof: usize) -> f64 {
        if nearest(&exact.m2).is_infinite() {
            return if given == f64::INFINITY { 0.0 } else { f64::INFINITY };
        }
        let variance = exact.variance(ddof);
        error_in(given, &variance, self.variance * nearest(&variance) + 8.0 * TINY)
    }
}

/// Returns the error of a mean as a part of what is promised in any plan.
pub(crate) fn mean_error(given: f64, exact: &Exact) -> f64 {
    ANY.mean_error(given, exact)
}

/// Returns the error of a variance as a part of what is promised in any plan.
pub(crate) fn variance_error(given: f64, exact: &Exact, ddof: usize) -> f64 {
    ANY.variance_error(given, exact, ddof)
}
