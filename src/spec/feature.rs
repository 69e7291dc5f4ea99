//! The moments of one feature, or of one feature per lane.

/// An unevaluated sum of two numbers. The low word is the rounding error of the high word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DoubleDouble<V> {
    pub(crate) high: V,
    pub(crate) low: V,
}

/// Mean and m2, the sum of squared deviations from the mean. The count is stored separately.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FeatureMoments<V> {
    pub(crate) mean: DoubleDouble<V>,
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
