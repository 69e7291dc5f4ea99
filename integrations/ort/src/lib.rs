//! Batch normalisation for ONNX Runtime.

mod convert;
mod kernel;
mod layout;
mod operator;
mod parameters;
mod pieces;

pub use convert::{ConvertError, Converted, Converter, Reason, convert};
pub use operator::operators;

/// The domain.
pub const DOMAIN: &str = "ai.batchnorm";
const OP_TYPE: &str = "BatchNormalization";
const VERSION: u32 = 1;
