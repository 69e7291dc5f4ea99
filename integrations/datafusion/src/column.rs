//! The columns that functions take: of f32 or f64.

use std::fmt::Debug;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{Float32Type, Float64Type};
use batchnorm::Element;
use datafusion_common::{Result, exec_err};

/// The type of a column that needs no cast.
pub(crate) trait Float: ArrowPrimitiveType<Native: Element> + Debug + Send + Sync {}

impl Float for Float32Type {}
impl Float for Float64Type {}

/// Returns the only argument of a function as a column of the type that it was planned for.
pub(crate) fn primitive<T: Float>(values: &[ArrayRef]) -> Result<&PrimitiveArray<T>> {
    let [column] = values else { return exec_err!("a function of one column was given {}", values.len()) };
    match column.as_primitive_opt::<T>() {
        Some(column) => Ok(column),
        None => exec_err!("a function planned for {} was given {}", T::DATA_TYPE, column.data_type()),
    }
}
