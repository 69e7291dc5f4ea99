//! The moments of one feature, or of one feature per lane.

use super::{DoubleDouble, TripleDouble};

/// Mean and m2, the sum of squared deviations from the mean. The count is stored separately.
///
/// The mean has three words. Where the standard deviation is near the last place of the mean, the middle word carries
/// the deviations, and the low word keeps merges from rounding it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FeatureMoments<V> {
    pub(crate) mean: TripleDouble<V>,
    pub(crate) m2: DoubleDouble<V>,
}

/// Compares values bit for bit, except that any NaN equals any other NaN.
pub(crate) fn same_bits(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
}

/// Returns `2^exponent`, which must be a normal number. (`powi` does not promise accuracy.)
pub(crate) const fn power_of_two(exponent: i16) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}
