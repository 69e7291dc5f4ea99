//! Welford's recurrence (1962), row by row, in plain code: the scalar path of streams, written to explain it.
//!
//! The textbook form updates the mean and m2 of a feature by each value:
//!
//! ```text
//! delta = x - mean;   mean += delta / n;   m2 += delta * delta * (n - 1) / n
//! ```
//!
//! Three things go wrong with it. Each addition to the mean is rounded to the mean's last place, each addition to m2 to
//! that of m2, and both errors grow with the number of rows. So here both sums are compensated (Kahan 1965), and the
//! mean is held as a distance from a *shift*. [`RowWeights`] says when the shift moves to the mean:
//! at every power of two, so that the distance never exceeds a few standard deviations, and no error is larger than the
//! data are spread, however large the mean. `tests/proofs/README.md`, "Streams", has the bounds.
//!
//! What depends on the row alone, `1 / n` and `(n - 1) / n`, comes in as [`RowFactors`]: with other factors, this is
//! the exponentially weighted mean and variance (West 1979).

use super::double_double::{triple, two_sum};
use super::{DoubleDouble, FeatureMoments, RowWeights, TripleDouble};
use crate::math::sqrt;

/// Adds the values of one feature, a row each. Returns the weights after them.
pub(crate) fn push_rows(
    mut weights: RowWeights,
    feature: &mut Running<f64>,
    values: impl Iterator<Item = f64>,
) -> RowWeights {
    for x in values {
        if weights.newest_is_all() {
            feature.forget_mean();
        } else if weights.shift_is_due() {
            feature.move_shift();
        }
        if let Some(by) = weights.scale_if_due() {
            feature.scale_m2(by);
        }
        feature.push(x, weights.next());
    }
    weights
}

/// What a row contributes to every feature.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RowFactors {
    /// The share of the row in the total weight, `1 / n`: the mean moves by this part of the deviation.
    pub(crate) share: f64,
    /// The factor of the squared deviation in m2, `(n - 1) / n`.
    pub(crate) square: f64,
}

/// The state of one feature, or of one feature per lane.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Running<V> {
    /// A number near the mean.
    pub(crate) shift: V,
    /// The distance of the mean from the shift: a compensated sum. If a value was not finite, the mean itself: NaN or
    /// an infinity.
    pub(crate) offset: V,
    pub(crate) offset_low: V,
    /// The sum of squared deviations from the mean: a compensated sum.
    pub(crate) m2: V,
    pub(crate) m2_low: V,
}

impl Running<f64> {
    /// Adds a value.
    pub(crate) fn push(&mut self, x: f64, row: RowFactors) {
        let delta = (x - self.shift) - self.offset;

        // mean += delta / n
        let step = delta * row.share + self.offset_low;
        let offset = self.offset + step;
        let offset_low = step - (offset - self.offset);

        // m2 += delta^2 * (n - 1) / n
        let square = delta * row.square * delta + self.m2_low;
        let m2 = self.m2 + square;
        let m2_low = square - (m2 - self.m2);

        if m2_low.is_finite() {
            *self = Running { shift: self.shift, offset, offset_low, m2, m2_low };
        } else if self.offset.is_finite() && delta.is_finite() {
            // Only m2 overflows.
            *self = Running { shift: self.shift, offset, offset_low, m2: f64::INFINITY, m2_low: 0.0 };
        } else {
            // The first such value makes the mean NaN or infinite; after that, infinities of both signs make it NaN.
            let offset = if self.offset.is_finite() { delta } else { self.offset + x };
            *self = Running { shift: self.shift, offset, offset_low: 0.0, m2: f64::NAN, m2_low: 0.0 };
        }
    }

    /// Moves the shift to the mean, and rounds nothing.
    pub(crate) fn move_shift(&mut self) {
        if self.offset.is_finite() {
            let shift = two_sum(self.shift, self.offset);
            let offset = two_sum(shift.low, self.offset_low);
            *self = Running { shift: shift.high, offset: offset.high, offset_low: offset.low, ..*self };
        }
    }

    /// Moves mean and shift to 0, where the next row is the mean. Otherwise `x - shift` would round it.
    pub(crate) fn forget_mean(&mut self) {
        if self.offset.is_finite() {
            *self = Running { shift: 0.0, offset: 0.0, offset_low: 0.0, ..*self };
        }
    }

    /// Multiplies m2 by a power of two.
    pub(crate) fn scale_m2(&mut self, by: f64) {
        self.m2 *= by;
        self.m2_low *= by;
    }

    /// Returns `(x - mean) / sqrt(m2 * per_weight + added)`.
    pub(crate) fn standardize(&self, x: f64, per_weight: f64, added: f64) -> f64 {
        let delta = (x - self.shift) - self.offset - self.offset_low;
        delta / sqrt(self.m2 * per_weight + added)
    }

    /// Returns the moments: the mean and m2 as sums of words that do not overlap.
    pub(crate) fn moments(&self) -> FeatureMoments<f64> {
        let mean = if self.offset.is_finite() {
            triple(self.shift, two_sum(self.offset, self.offset_low))
        } else {
            TripleDouble { high: self.offset, middle: 0.0, low: 0.0 }
        };
        let m2 = match two_sum(self.m2, self.m2_low) {
            m2 if m2.high.is_finite() => m2,
            m2 => DoubleDouble { high: m2.high, low: 0.0 },
        };
        FeatureMoments { mean, m2 }
    }

    /// Starts from moments: the inverse of [`Running::moments`].
    pub(crate) fn from_moments(moments: FeatureMoments<f64>) -> Self {
        let FeatureMoments { mean, m2 } = moments;
        let (shift, offset, offset_low) =
            if mean.high.is_finite() { (mean.high, mean.middle, mean.low) } else { (0.0, mean.high, 0.0) };
        Running { shift, offset, offset_low, m2: m2.high, m2_low: m2.low }
    }
}
