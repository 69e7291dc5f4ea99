//! What the standard library has and `core` has not.

/// Returns the square root. It is correctly rounded, so its bits do not depend on who computes it.
#[cfg(feature = "std")]
#[inline(always)]
pub(crate) fn sqrt(x: f64) -> f64 {
    x.sqrt()
}

/// Returns the square root. `wide` has the processor's, or else fdlibm's, which is correctly rounded, too.
#[cfg(not(feature = "std"))]
#[inline(always)]
pub(crate) fn sqrt(x: f64) -> f64 {
    let [root, _] = wide::f64x2::splat(x).sqrt().to_array();
    root
}

/// A value that is computed when it is first asked for. Without the standard library there is no lock, and what holds
/// one cannot be shared by threads.
#[cfg(feature = "std")]
pub(crate) type Lazy<T> = std::sync::OnceLock<T>;
#[cfg(not(feature = "std"))]
pub(crate) type Lazy<T> = core::cell::OnceCell<T>;
