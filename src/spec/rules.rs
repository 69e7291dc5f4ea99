//! The parts of the definition that depend on the element type.

use crate::Element;

/// How values of this element type are summed.
pub(crate) trait ElementRules: Element {
    /// Largest accepted ratio of the sum of squares about the shift to m2. Above it, a chunk is recomputed about a
    /// better shift. For f64 values only the deviations are rounded, and the relative error of m2 is at most twice the
    /// square root of the ratio, times 2^-53: a ratio of 2.2 keeps it within 3 times 2^-53, and a variance within 4
    /// units in its last place. For f32 values the ratio multiplies all rounding errors: 16 leaves five digits to
    /// spare.
    const MAX_CONDITION: f64;

    /// Whether running sums are compensated. They are for f64 values, because squares of f64 values fill all 53 bits,
    /// and sums of nearly equal squares round the same way again and again.
    const COMPENSATED: bool;

    /// Whether the square of a value is exact in f64. If it is, a shift of 0 saves the subtraction and keeps all
    /// squares exact.
    const SQUARES_EXACT: bool;
}

impl ElementRules for f32 {
    const MAX_CONDITION: f64 = 16.0; // CONDITION_F32
    const COMPENSATED: bool = false;
    const SQUARES_EXACT: bool = true;
}

impl ElementRules for f64 {
    const MAX_CONDITION: f64 = 2.2; // CONDITION_F64
    const COMPENSATED: bool = true;
    const SQUARES_EXACT: bool = false;
}

/// Their values are f32 values.
#[cfg(feature = "half")]
impl ElementRules for half::f16 {
    const MAX_CONDITION: f64 = f32::MAX_CONDITION;
    const COMPENSATED: bool = f32::COMPENSATED;
    const SQUARES_EXACT: bool = f32::SQUARES_EXACT;
}

#[cfg(feature = "half")]
impl ElementRules for half::bf16 {
    const MAX_CONDITION: f64 = f32::MAX_CONDITION;
    const COMPENSATED: bool = f32::COMPENSATED;
    const SQUARES_EXACT: bool = f32::SQUARES_EXACT;
}
