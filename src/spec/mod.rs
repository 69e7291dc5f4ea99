//! The definition of the results: what is computed, and in which order. Nothing here depends on lanes, threads or the
//! layer.
//!
//! - [`order`]: which values are added to which, and when. It depends on the layout alone.
//! - [`scalar`]: the algorithm in plain code, one feature at a time. Start here.
//! - [`backward`]: the gradients of batch normalisation, likewise.
//! - [`grid`]: one feature of a chunk, as both of them add it up.
//! - [`welford`]: the recurrence for rows that arrive one by one, and [`row_weights`], the weights of these rows.
//! - [`epilogue`]: what follows the normalisation of a value: a residual, an activation.
//! - [`fallback`]: the slow path for values that the fast sums cannot handle.
//! - [`feature`]: the type for the moments of one feature.
//! - [`rules`]: the parts of the definition that depend on the element type.

pub(crate) mod backward;
mod double_double;
pub(crate) mod epilogue;
pub(crate) mod fallback;
pub(crate) mod feature;
mod grid;
pub(crate) mod order;
pub(crate) mod row_weights;
pub(crate) mod rules;
pub(crate) mod scalar;
pub(crate) mod welford;

pub(crate) use double_double::{DoubleDouble, TripleDouble, two_product};
pub(crate) use epilogue::Epilogue;
pub(crate) use feature::{FeatureMoments, power_of_two, same_bits};
pub(crate) use order::Order;
pub(crate) use row_weights::RowWeights;
pub(crate) use rules::ElementRules;
pub(crate) use welford::{RowFactors, Running};
