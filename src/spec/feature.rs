//! The moments of one feature, or of as many features as there are lanes.

/// An unevaluated sum of two numbers: the low word is what rounding took from the high one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DoubleDouble<V> {
    pub(crate) high: V,
    pub(crate) low: V,
}

/// Mean and m2, the sum of squared deviations from it. The count is kept beside them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FeatureMoments<V> {
    pub(crate) mean: DoubleDouble<V>,
    pub(crate) m2: DoubleDouble<V>,
}

/// Bit for bit, but for NaN, which equals NaN.
pub(crate) fn same_bits(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
}
