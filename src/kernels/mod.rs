//! The kernels, written once over lanes: [`reduce`] (sums over the rows of a batch), [`map`] (each value by itself), and
//! [`variance`]. They follow [`crate::spec`]; nothing here knows of paths or of the layer.

mod arrays;
mod double_double;
pub(crate) mod map;
pub(crate) mod reduce;
mod variance;

pub(crate) use arrays::{Arrays, MomentArrays, MomentSlices};
pub(crate) use variance::Variances;

use crate::lanes::LaneElement;
use crate::spec::ElementRules;

/// An element type as kernels need it.
pub(crate) trait KernelElement: ElementRules + LaneElement {}

impl<T: ElementRules + LaneElement> KernelElement for T {}
