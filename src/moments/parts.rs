//! Moments as plain arrays, to send them to another process and back.

use core::fmt;

use super::Moments;
use crate::spec::power_of_two;
use crate::{Error, Result};

/// The contents of [`Moments`], as arrays with one value per feature. Use it to send moments to another process and to
/// rebuild them there bit for bit.
///
/// ```
/// use batchnorm::{Batch, Layout, Moments, moments};
///
/// let m = moments(Batch::new(&[1.0f64, 2.0, 6.0], Layout::nc(3, 1))?);
/// assert_eq!((m.parts().counts, m.parts().means, m.parts().m2s), (&[3][..], &[3.0][..], &[14.0][..]));
/// assert_eq!(Moments::from_parts(m.parts())?, m);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Default)]
pub struct MomentsParts<'a> {
    /// Number of values of each feature.
    pub counts: &'a [u64],
    /// High words of the means. NaN if there are no values.
    pub means: &'a [f64],
    /// Middle words of the means: each at most 2 units in the last place of its high word or, where values cancel, 2^-49
    /// standard deviations.
    pub means_middle: &'a [f64],
    /// Low words of the means: each at most half a unit in the last place of its middle word.
    pub means_low: &'a [f64],
    /// High words of the sums of squared deviations from the means (m2). 0 if there are no values.
    pub m2s: &'a [f64],
    /// Low words of m2.
    pub m2s_low: &'a [f64],
}

/// Prints the number of features only, because there may be many.
impl fmt::Debug for MomentsParts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MomentsParts").field("num_features", &self.counts.len()).finish_non_exhaustive()
    }
}

impl Moments {
    /// Rebuilds moments from their parts, bit for bit. The parts are checked, because they may come from another
    /// process.
    ///
    /// # Errors
    /// [`Error::ParameterLength`] if an array does not have the same length as the counts. [`Error::OutOfRange`] if a
    /// value cannot come from any batch: a negative m2, a mean of no values that is not NaN, a nonzero m2 of no values
    /// or of one finite value, or a low word of more than half a unit in the last place of its high word (a middle word of
    /// a mean: of more than 2 units and of more than 2^-49 standard deviations).
    ///
    /// ```
    /// use batchnorm::{Moments, MomentsParts};
    ///
    /// let zero = &[0.0];
    /// let parts = MomentsParts { counts: &[2], means: &[1.0], m2s: &[0.5], ..MomentsParts::default() };
    /// let parts = MomentsParts { means_middle: zero, means_low: zero, m2s_low: zero, ..parts };
    /// assert_eq!(Moments::from_parts(parts)?.variance(0, 1.0), 0.5);
    /// let error = Moments::from_parts(MomentsParts { m2s: &[-0.5], ..parts }).unwrap_err();
    /// assert_eq!(error.to_string(), "m2s must be NaN or at least 0, but is -0.5");
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn from_parts(parts: MomentsParts<'_>) -> Result<Self> {
        let MomentsParts { counts, means, means_middle, means_low, m2s, m2s_low } = parts;
        let expected = counts.len();
        for (name, array) in [
            ("means", means),
            ("means_middle", means_middle),
            ("means_low", means_low),
            ("m2s", m2s),
            ("m2s_low", m2s_low),
        ] {
            if array.len() != expected {
                return Err(Error::ParameterLength { name, expected, given: array.len() });
            }
        }
        for feature in 0..expected {
            check_count(counts[feature], means[feature], m2s[feature])?;
            check_middle(counts[feature], [means[feature], means_middle[feature]], m2s[feature])?;
            check_words("means_low", means_middle[feature], means_low[feature])?;
            check_words("m2s_low", m2s[feature], m2s_low[feature])?;
        }
        let words = [means, means_middle, means_low, m2s, m2s_low].map(<[f64]>::to_vec);
        Ok(Moments { counts: counts.to_vec(), words })
    }

    /// Returns the contents of these moments.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f32, 10.0, 3.0, 10.0], Layout::nc(2, 2))?);
    /// assert_eq!(m.parts().m2s, [2.0, 0.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn parts(&self) -> MomentsParts<'_> {
        let [means, means_middle, means_low, m2s, m2s_low] = &self.words;
        MomentsParts { counts: &self.counts, means, means_middle, means_low, m2s, m2s_low }
    }
}

/// Rejects a negative m2, and a mean or an m2 that so few values cannot have.
fn check_count(count: u64, mean: f64, m2: f64) -> Result<()> {
    if m2 < 0.0 {
        return Err(Error::OutOfRange { name: "m2s", allowed: "NaN or at least 0", given: m2 });
    }
    if count == 0 && !mean.is_nan() {
        return Err(Error::OutOfRange { name: "means", allowed: "NaN where there are no values", given: mean });
    }
    if m2 != 0.0 && (count == 0 || count == 1 && mean.is_finite()) {
        return Err(Error::OutOfRange { name: "m2s", allowed: "0 where there are fewer than two values", given: m2 });
    }
    Ok(())
}

/// Checks the middle word of a mean. It may be a little more than half a unit in the last place of the high word after a
/// tie, and many units where values cancel. But the high word and the sum of all words are each within half a unit and
/// `2 u` standard deviations of the mean ([`numerics`](crate::numerics)), so that it is at most a unit and `4 u = 2^-51`
/// deviations. A sum of the two is at most twice the larger one: 2 units, or 2^-50 deviations. Allowed are 2 units, or
/// 2^-49 deviations.
fn check_middle(count: u64, [high, middle]: [f64; 2], m2: f64) -> Result<()> {
    let deviations = middle * middle * count as f64 <= m2 * power_of_two(-98);
    if high.is_finite() && middle.is_finite() && (deviations || middle.abs() <= 2.0 * unit_in_last_place(high)) {
        return Ok(());
    }
    check_words("means_middle", high, middle)
}

/// Checks the words of a double-double: the low word is at most half a unit in the last place of its high word.
fn check_words(name: &'static str, high: f64, low: f64) -> Result<()> {
    // Not `high + low == high`: exactly half a unit may round away from an odd high word.
    if low == 0.0 || high + low == high || high.is_finite() && 2.0 * low.abs() <= unit_in_last_place(high) {
        return Ok(());
    }
    Err(Error::OutOfRange { name, allowed: "at most half a unit in the last place of its high word", given: low })
}

/// Returns the distance from a finite number to the next one of larger size.
fn unit_in_last_place(x: f64) -> f64 {
    let size = x.abs();
    let next = f64::from_bits(size.to_bits() + 1);
    // The largest number has no next one.
    if next.is_finite() { next - size } else { size - f64::from_bits(size.to_bits() - 1) }
}
