//! What the tests share.
#![allow(dead_code, unreachable_pub)] // each test uses a part of it

pub mod cluster;
pub mod exact;

use std::path::Path;

use cluster::{Cluster, Programs, Size};
use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::prelude::{ParquetReadOptions, SessionContext};

/// A cluster of the programs of this crate.
pub async fn start(size: &Size) -> Cluster {
    let programs = Programs {
        scheduler: vec![env!("CARGO_BIN_EXE_batchnorm-scheduler").into()],
        executor: vec![env!("CARGO_BIN_EXE_batchnorm-executor").into()],
    };
    Cluster::start(&programs, size).await
}

/// Two executors of one slot each; an executor is lost after two seconds, a query without any after two more.
pub const SMALL: Size = Size { executors: 2, slots: 1, executor_timeout: 2, no_executors_timeout: 2 };

/// Registers a folder as the table `t`.
pub async fn register(context: &SessionContext, folder: &Path) {
    let path = folder.to_str().expect("a path in UTF-8");
    context.register_parquet("t", path, ParquetReadOptions::default()).await.expect("a table");
}

/// All rows of a query.
pub async fn rows(context: &SessionContext, sql: &str) -> RecordBatch {
    let frame = context.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let batches = frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let schema = batches.first().unwrap_or_else(|| panic!("{sql}: no rows")).schema();
    concat_batches(&schema, &batches).expect("batches of one schema")
}

/// The column of that name, as f64; nulls are left out.
pub fn numbers(batch: &RecordBatch, column: &str) -> Vec<f64> {
    let column = batch.column_by_name(column).unwrap_or_else(|| panic!("no {column} in {}", batch.schema()));
    let column = cast(column, &DataType::Float64).expect("a number");
    column.as_primitive::<Float64Type>().iter().flatten().collect()
}

/// The only value of a column.
pub fn number(batch: &RecordBatch, column: &str) -> f64 {
    let numbers = numbers(batch, column);
    assert_eq!((numbers.len(), batch.num_rows()), (1, 1), "{column}");
    numbers[0]
}
