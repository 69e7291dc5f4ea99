//! The kernels, written once and generic over lanes: [`reduce`] (sums over the rows of a batch), [`map`] (elementwise
//! operations), [`stream`] (rows that arrive one by one) and [`variance`]. They follow [`spec`](crate::spec). Nothing
//! here depends on paths or on the layer.

#![allow(clippy::needless_range_loop, reason = "the constructor of `Zip` is not marked inline; see `lanes::array`")]

mod arrays;
mod double_double;
#[cfg(feature = "half")]
pub(crate) mod half;
pub(crate) mod map;
pub(crate) mod reduce;
pub(crate) mod stream;
mod variance;

pub(crate) use arrays::{Arrays, MOMENT_WORDS, MomentArrays, MomentSlices};
pub(crate) use variance::Variances;

use crate::lanes::LaneElement;
use crate::spec::ElementRules;
use map::MapElement;

/// An element type that the kernels can process.
pub(crate) trait KernelElement: ElementRules + LaneElement + MapElement {}

impl<T: ElementRules + LaneElement + MapElement> KernelElement for T {}
