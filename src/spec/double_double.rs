//! Numbers of two and three words, and their arithmetic in plain f64.

/// An unevaluated sum of two numbers. The low word is the rounding error of the high word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DoubleDouble<V> {
    pub(crate) high: V,
    pub(crate) low: V,
}

/// An unevaluated sum of three numbers. Each word is at most half a unit in the last place of the word before it,
/// unless the words from which [`triple`] made them cancel: a middle word may then exceed that by up to `2^-53` times
/// the words that cancelled. A mean is so much smaller than these only if its values cancel, and then the excess is far
/// below `u` standard deviations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TripleDouble<V> {
    pub(crate) high: V,
    pub(crate) middle: V,
    pub(crate) low: V,
}

/// Returns `a + b` as a rounded sum and its exact error (Knuth 1969).
pub(super) fn two_sum(a: f64, b: f64) -> DoubleDouble<f64> {
    let high = a + b;
    let b_part = high - a;
    DoubleDouble { high, low: (a - (high - b_part)) + (b - b_part) }
}

/// Returns `a * b` as a rounded product and its error (Dekker 1971).
pub(crate) fn two_product(a: f64, b: f64) -> DoubleDouble<f64> {
    // Splits a number into its upper 26 bits and the rest (Veltkamp 1968), so that products of the parts are exact.
    let split = |x: f64| {
        let large = x * 134_217_729.0; // 2^27 + 1
        let high = large - (large - x);
        (high, x - high)
    };
    let high = a * b;
    let ((a, a_low), (b, b_low)) = (split(a), split(b));
    DoubleDouble { high, low: a * b - high + a * b_low + a_low * b + a_low * b_low }
}

/// Returns the sum of two double-doubles.
pub(super) fn sum(a: DoubleDouble<f64>, b: DoubleDouble<f64>) -> DoubleDouble<f64> {
    let s = two_sum(a.high, b.high);
    two_sum(s.high, s.low + (a.low + b.low))
}

/// Returns the product of two double-doubles.
pub(super) fn product(a: DoubleDouble<f64>, b: DoubleDouble<f64>) -> DoubleDouble<f64> {
    let p = two_product(a.high, b.high);
    two_sum(p.high, p.low + (a.high * b.low + a.low * b.high))
}

/// Divides a double-double by a number.
pub(super) fn quotient(a: DoubleDouble<f64>, b: f64) -> DoubleDouble<f64> {
    let quotient = a.high / b;
    let p = two_product(quotient, b);
    DoubleDouble { high: quotient, low: (a.high - p.high - p.low + a.low) / b }
}

/// Returns the sum of a number and a double-double, exactly.
pub(super) fn triple(base: f64, offset: DoubleDouble<f64>) -> TripleDouble<f64> {
    let s = two_sum(base, offset.high);
    let t = two_sum(s.low, offset.low);
    let high = two_sum(s.high, t.high);
    let middle = two_sum(high.low, t.low);
    TripleDouble { high: high.high, middle: middle.high, low: middle.low }
}

/// Returns `a - b`. The error is at most `20 u^3` of the larger one and `5 u^2` of the difference.
pub(super) fn difference(a: TripleDouble<f64>, b: TripleDouble<f64>) -> DoubleDouble<f64> {
    let high = two_sum(a.high, -b.high);
    let middle = two_sum(a.middle, -b.middle);
    let s = sum(high, middle);
    two_sum(s.high, s.low + (a.low - b.low))
}
