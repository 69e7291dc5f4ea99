//! The two types of values, `f32` and `f64`, and what differs between them.

use crate::lanes::Lanes;

/// A value of a batch: `f32` or `f64`. Sealed: other types are converted to these when they are read.
///
/// ```
/// fn total<T: batchnorm::Element>(values: &[T]) -> f64 {
///     values.iter().map(|x| x.to_f64()).sum()
/// }
/// assert_eq!(total(&[0.5f32, 0.25]), 0.75);
/// ```
pub trait Element: Copy + Send + Sync + std::fmt::Debug + PartialEq + 'static + Sealed {
    /// The value as `f64`, exactly.
    ///
    /// ```
    /// use batchnorm::Element;
    /// assert_eq!(0.5f32.to_f64(), 0.5);
    /// ```
    fn to_f64(self) -> f64;

    /// The nearest value of this type, ties to even.
    ///
    /// ```
    /// use batchnorm::Element;
    /// assert_eq!(f32::from_f64(0.1), 0.1f32);
    /// ```
    fn from_f64(x: f64) -> Self;
}

/// What kernels need of an element; not for callers.
pub trait Sealed: Sized {
    /// The most that `sum of squares about the pivot / m2` may be before a chunk is computed again about a better
    /// pivot. For f64 values, of which only deviations are rounded, m2 is off by twice the root of that in 2^-53: 2.2 keeps
    /// it within 3, and a variance within 4 units in its last place. For f32 values the ratio multiplies all rounding:
    /// 16 leaves five digits to spare.
    const MAX_CONDITION: f64;

    /// Whether running sums keep what rounding takes from them: squares of f64 values fill all 53 bits, and sums of
    /// nearly equal ones round the same way again and again.
    const COMPENSATED: bool;

    /// Whether the square of a value is exact in f64: what a pivot of 0 is for.
    const SQUARES_EXACT: bool;

    /// Reads the first lanes of a slice.
    fn load<L: Lanes>(token: L::Token, from: &[Self]) -> L;

    /// Reads all of a slice that is at most as long as the lanes, and `fill` behind it.
    fn load_part<L: Lanes>(token: L::Token, from: &[Self], fill: L) -> L;

    /// Writes lanes to the start of a slice, each rounded once.
    fn store<L: Lanes>(lanes: L, to: &mut [Self]);

    /// Writes two sets of lanes past the caches; see [`Lanes::stream`].
    fn stream<L: Lanes>(pair: [L; 2], to: &mut [Self]);
}

impl Element for f32 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the element type is what this does")]
    fn from_f64(x: f64) -> Self {
        x as f32
    }
}

impl Sealed for f32 {
    const MAX_CONDITION: f64 = 16.0;
    const COMPENSATED: bool = false;
    const SQUARES_EXACT: bool = true;

    #[inline(always)]
    fn load<L: Lanes>(token: L::Token, from: &[Self]) -> L {
        L::load_f32(token, from)
    }

    #[inline(always)]
    fn load_part<L: Lanes>(token: L::Token, from: &[Self], fill: L) -> L {
        L::load_part_f32(token, from, fill)
    }

    #[inline(always)]
    fn store<L: Lanes>(lanes: L, to: &mut [Self]) {
        lanes.store_f32(to);
    }

    #[inline(always)]
    fn stream<L: Lanes>(pair: [L; 2], to: &mut [Self]) {
        L::stream_f32(pair, to);
    }
}

impl Element for f64 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x
    }
}

impl Sealed for f64 {
    const MAX_CONDITION: f64 = 2.2;
    const COMPENSATED: bool = true;
    const SQUARES_EXACT: bool = false;

    #[inline(always)]
    fn load<L: Lanes>(token: L::Token, from: &[Self]) -> L {
        L::load(token, from)
    }

    #[inline(always)]
    fn load_part<L: Lanes>(token: L::Token, from: &[Self], fill: L) -> L {
        L::load_part(token, from, fill)
    }

    #[inline(always)]
    fn store<L: Lanes>(lanes: L, to: &mut [Self]) {
        lanes.store(to);
    }

    #[inline(always)]
    fn stream<L: Lanes>(pair: [L; 2], to: &mut [Self]) {
        L::stream(pair, to);
    }
}
