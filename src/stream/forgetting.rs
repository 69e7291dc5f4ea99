//! How fast an exponentially weighted stream forgets.

use core::f64::consts::LN_2;

use crate::{Error, Result};

/// How fast the weights of older rows fall: the factor `1 - alpha` with each row. The names are those of pandas' `ewm`.
///
/// ```
/// use batchnorm::Forgetting;
///
/// assert_eq!(Forgetting::from_span(19.0)?.alpha(), 0.1);
/// assert_eq!(Forgetting::from_half_life(1.0)?.alpha(), 0.5);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Forgetting {
    alpha: f64,
    adjust: bool,
}

impl Forgetting {
    /// The smoothing factor itself: `0 < alpha <= 1`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for any other number, and for one below 1e-250.
    ///
    /// ```
    /// # use batchnorm::Forgetting;
    /// assert_eq!(Forgetting::from_alpha(0.25)?.alpha(), 0.25);
    /// assert!(Forgetting::from_alpha(0.0).is_err());
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn from_alpha(alpha: f64) -> Result<Self> {
        let in_range = (1e-250..=1.0).contains(&alpha);
        Self::checked(in_range, "alpha", "at least 1e-250 and at most 1", alpha, alpha)
    }

    /// `alpha = 2 / (span + 1)`, for a span of at least 1: the exponential counterpart of a moving average over `span`
    /// rows.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for any other number, and for one above 1e250.
    ///
    /// ```
    /// # use batchnorm::Forgetting;
    /// assert_eq!(Forgetting::from_span(7.0)?.alpha(), 0.25);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn from_span(span: f64) -> Result<Self> {
        let in_range = (1.0..=1e250).contains(&span);
        Self::checked(in_range, "span", "at least 1 and at most 1e250", span, 2.0 / (span + 1.0))
    }

    /// `alpha = 1 - exp(-ln(2) / half_life)`, for a half-life above 0: after `half_life` rows, the weight of a row is
    /// half of what it was.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for any other number, and for one above 1e250.
    ///
    /// ```
    /// # use batchnorm::Forgetting;
    /// let alpha = Forgetting::from_half_life(2.0)?.alpha();
    /// assert!((alpha - (1.0 - 0.5f64.sqrt())).abs() < 1e-15);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn from_half_life(half_life: f64) -> Result<Self> {
        let in_range = half_life > 0.0 && half_life <= 1e250;
        Self::checked(in_range, "half_life", "above 0 and at most 1e250", half_life, one_minus_exp(LN_2 / half_life))
    }

    /// `alpha = 1 / (1 + center_of_mass)`, for a center of mass of at least 0: the mean age of a row, weighted.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for any other number, and for one above 1e250.
    ///
    /// ```
    /// # use batchnorm::Forgetting;
    /// assert_eq!(Forgetting::from_center_of_mass(3.0)?.alpha(), 0.25);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn from_center_of_mass(center_of_mass: f64) -> Result<Self> {
        let in_range = (0.0..=1e250).contains(&center_of_mass);
        let alpha = 1.0 / (1.0 + center_of_mass);
        Self::checked(in_range, "center_of_mass", "at least 0 and at most 1e250", center_of_mass, alpha)
    }

    /// Sets pandas' `adjust` (default: `true`, as there).
    ///
    /// If `true`, all rows enter with weight 1, so that the mean of the first rows is nearly their plain mean:
    /// `mean = sum((1 - alpha)^(n - i) x_i) / sum((1 - alpha)^(n - i))`. If `false`, the first row is the first mean,
    /// as if it had come many times, and after that `mean = (1 - alpha) mean + alpha x`.
    ///
    /// ```
    /// use batchnorm::{Ewm, Forgetting};
    ///
    /// let forgetting = Forgetting::from_alpha(0.5)?;
    /// for (adjust, expected) in [(true, 2.0 / 3.0), (false, 0.5)] {
    ///     let mut stream = Ewm::new(1, forgetting.with_adjust(adjust));
    ///     stream.push(&[0.0])?;
    ///     stream.push(&[1.0])?;
    ///     assert_eq!(stream.mean(0), expected);
    /// }
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn with_adjust(mut self, adjust: bool) -> Self {
        self.adjust = adjust;
        self
    }

    /// Returns the smoothing factor.
    ///
    /// ```
    /// assert_eq!(batchnorm::Forgetting::from_alpha(0.25)?.alpha(), 0.25);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// Returns pandas' `adjust`.
    ///
    /// ```
    /// assert!(batchnorm::Forgetting::from_alpha(0.25)?.adjust());
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn adjust(&self) -> bool {
        self.adjust
    }

    fn checked(in_range: bool, name: &'static str, allowed: &'static str, given: f64, alpha: f64) -> Result<Self> {
        if in_range {
            // Rounding may take a quotient just past 1.
            Ok(Forgetting { alpha: alpha.min(1.0), adjust: true })
        } else {
            Err(Error::OutOfRange { name, allowed, given })
        }
    }
}

/// Returns `1 - exp(-y)` for `y > 0`, by additions and multiplications alone, because the results of `exp` differ
/// between machines.
fn one_minus_exp(y: f64) -> f64 {
    if y > 745.0 {
        return 1.0;
    }
    if y > 0.5 {
        let half = one_minus_exp(y / 2.0);
        return half * (2.0 - half);
    }
    // Taylor's series, y - y^2 / 2 + y^3 / 6 and so on, from the inside.
    (1..=16).rev().fold(1.0, |inner, n| if n == 1 { y * inner } else { 1.0 - y / f64::from(n) * inner })
}
