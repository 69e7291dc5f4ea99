//! Options of normalising the rows of a stream.

use crate::{Error, Result};

/// How a stream normalises a row: `y = (x - mean) / sqrt(variance + eps)`, clipped or not.
///
/// Where there is no spread to divide by (before two rows have come, or not more than `ddof`), the variance counts as
/// 1; before the first row, the mean counts as 0.
///
/// ```
/// use batchnorm::{Standardize, Welford};
///
/// let options = Standardize::new().with_clip(10.0)?;
/// let mut stream = Welford::new(1);
/// let mut y = [0.0];
/// for x in [0.0, 0.0, 0.0, 2.0] {
///     stream.push_and_normalize(&[x], &mut y, &options)?;
/// }
/// assert!((y[0] - 3.0f64.sqrt()).abs() < 1e-6);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Standardize {
    eps: f64,
    ddof: f64,
    clip: f64,
}

impl Default for Standardize {
    fn default() -> Self {
        Self::new()
    }
}

impl Standardize {
    /// Population variance, `eps = 1e-8`, no clipping.
    ///
    /// ```
    /// use batchnorm::Standardize;
    /// assert_eq!(Standardize::new().eps(), 1e-8);
    /// ```
    pub fn new() -> Self {
        Standardize { eps: 1e-8, ddof: 0.0, clip: f64::INFINITY }
    }

    /// Sets what is added to the variance to avoid dividing by nearly zero (default: 1e-8). With 0, a constant feature
    /// gives NaN.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless it is finite and at least 0.
    ///
    /// ```
    /// # use batchnorm::Standardize;
    /// assert!(Standardize::new().with_eps(-1.0).is_err());
    /// ```
    pub fn with_eps(mut self, eps: f64) -> Result<Self> {
        if !(eps >= 0.0 && eps.is_finite()) {
            return Err(Error::OutOfRange { name: "eps", allowed: "finite and at least 0", given: eps });
        }
        self.eps = eps;
        Ok(self)
    }

    /// Sets `ddof` of the variance (default: 0, the population variance).
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless it is finite.
    ///
    /// ```
    /// # use batchnorm::Standardize;
    /// assert_eq!(Standardize::new().with_ddof(1.0)?.ddof(), 1.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn with_ddof(mut self, ddof: f64) -> Result<Self> {
        if !ddof.is_finite() {
            return Err(Error::OutOfRange { name: "ddof", allowed: "finite", given: ddof });
        }
        self.ddof = ddof;
        Ok(self)
    }

    /// Clips results to `-limit..=limit` (default: infinity, no clipping). NaN stays NaN.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless it is above 0.
    ///
    /// ```
    /// # use batchnorm::Standardize;
    /// assert_eq!(Standardize::new().with_clip(5.0)?.clip(), 5.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn with_clip(mut self, limit: f64) -> Result<Self> {
        if limit.is_nan() || limit <= 0.0 {
            return Err(Error::OutOfRange { name: "clip", allowed: "above 0", given: limit });
        }
        self.clip = limit;
        Ok(self)
    }

    /// Returns what is added to the variance.
    ///
    /// ```
    /// assert_eq!(batchnorm::Standardize::new().eps(), 1e-8);
    /// ```
    pub fn eps(&self) -> f64 {
        self.eps
    }

    /// Returns `ddof` of the variance.
    ///
    /// ```
    /// assert_eq!(batchnorm::Standardize::new().ddof(), 0.0);
    /// ```
    pub fn ddof(&self) -> f64 {
        self.ddof
    }

    /// Returns the largest size of a result.
    ///
    /// ```
    /// assert_eq!(batchnorm::Standardize::new().clip(), f64::INFINITY);
    /// ```
    pub fn clip(&self) -> f64 {
        self.clip
    }
}
