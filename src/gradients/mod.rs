//! The gradients of a layer: what callers give to the backward pass, and what they get.

mod grad_output;
mod results;
mod sums;

pub use grad_output::{GradOutput, GradOutputMut};
pub use results::Gradients;
pub(crate) use results::Scratch;
pub use sums::{GradientSums, GradientSumsParts};
