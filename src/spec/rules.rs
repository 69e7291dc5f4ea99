//! What the definition decides by element type.

use crate::Element;

/// How sums of this element type are kept.
pub(crate) trait ElementRules: Element {
    /// The most that `sum of squares about the shift / m2` may be before a chunk is computed again about a better
    /// shift. For f64 values, of which only deviations are rounded, m2 is off by twice the root of that in 2^-53: 2.2 keeps
    /// it within 3, and a variance within 4 units in its last place. For f32 values the ratio multiplies all rounding:
    /// 16 leaves five digits to spare.
    const MAX_CONDITION: f64;

    /// Whether running sums are compensated: squares of f64 values fill all 53 bits, and sums of nearly equal ones round
    /// the same way again and again.
    const COMPENSATED: bool;

    /// Whether the square of a value is exact in f64: what a shift of 0 is for.
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
