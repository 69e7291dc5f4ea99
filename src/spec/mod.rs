//! The definition: what is computed, and in which order. Nothing here knows of lanes, threads or the layer.
//!
//! - [`order`]: which values are added to which, and when; a function of the layout alone.
//! - [`scalar`]: the algorithm in plain code, one feature at a time. Start here.
//! - [`fallback`]: what happens to values that fast sums cannot handle.
//! - [`feature`]: the moments of one feature, as all of these hand them on.
//! - [`rules`]: what the definition decides by element type.

pub(crate) mod fallback;
pub(crate) mod feature;
pub(crate) mod order;
pub(crate) mod rules;
pub(crate) mod scalar;

pub(crate) use feature::{DoubleDouble, FeatureMoments, same_bits};
pub(crate) use order::Order;
pub(crate) use rules::ElementRules;
