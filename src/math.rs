//! Replacements for what `std` has but `core` lacks.

use wide::f64x4;

/// Returns the square root. It is correctly rounded, so its bits do not depend on who computes it.
#[cfg(feature = "std")]
#[inline(always)]
pub(crate) fn sqrt(x: f64) -> f64 {
    x.sqrt()
}

/// Returns the square root. It is correctly rounded, so its bits do not depend on who computes it.
#[cfg(not(feature = "std"))]
#[inline(always)]
pub(crate) fn sqrt(x: f64) -> f64 {
    let [root, ..] = sqrt_lanes(f64x4::splat(x)).to_array();
    root
}

/// Returns the square roots, correctly rounded.
#[cfg(feature = "std")]
#[inline(always)]
pub(crate) fn sqrt_lanes(x: f64x4) -> f64x4 {
    x.sqrt()
}

/// Returns the square roots, correctly rounded: the processor's, or else those of `wide`, which follows fdlibm. The
/// latter is wrong for subnormal numbers (as of 1.7.1), so those are scaled by a power of four first. Nothing is rounded on the
/// way: the root of a subnormal number is normal.
#[cfg(not(feature = "std"))]
#[inline(always)]
pub(crate) fn sqrt_lanes(x: f64x4) -> f64x4 {
    const UP: f64 = (1u128 << 108) as f64;
    const DOWN: f64 = 1.0 / (1u64 << 54) as f64;
    let subnormal = x.simd_lt(f64x4::splat(f64::MIN_POSITIVE));
    let root = subnormal.select(x * UP, x).sqrt();
    subnormal.select(root * DOWN, root)
}

/// A value that is computed when it is first asked for. Without the standard library there is no lock, and what holds
/// one cannot be shared by threads.
#[cfg(feature = "std")]
pub(crate) type Lazy<T> = std::sync::OnceLock<T>;
#[cfg(not(feature = "std"))]
pub(crate) type Lazy<T> = core::cell::OnceCell<T>;
