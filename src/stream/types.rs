//! The types of streams: all rows count the same ([`Welford`]), or older rows count less ([`Ewm`]).

use core::fmt;

use super::methods::stream_methods;
use super::state::State;
use crate::spec::{DoubleDouble, FeatureMoments, RowWeights, Running, TripleDouble, scalar};
use crate::{Batch, BatchMut, Element, Error, Forgetting, Moments, Path, Result, Standardize};

/// Mean and variance of each feature of a stream: rows arrive one by one, and the statistics can be read at any
/// time, in constant time.
///
/// It runs Welford's recurrence (1962) with compensated sums. The result depends on the sequence of rows alone: pushing
/// rows one by one or in any batches, by any [`Path`], gives the same bits. It is accurate at any mean: see
/// [`numerics`](crate::numerics). For whole batches, [`moments()`](fn@crate::moments) and
/// [`Accumulator`](crate::Accumulator) are faster and more accurate.
///
/// Memory: 40 bytes per feature, allocated once. `==` compares the state bit for bit, except that any NaN equals any
/// other NaN; it ignores the path.
///
/// ```
/// use batchnorm::Welford;
///
/// let mut stream = Welford::new(2);
/// for row in [[1.0f32, 10.0], [2.0, 10.0], [6.0, 10.0]] {
///     stream.push(&row)?;
///     println!("{} rows: {} +- {}", stream.count(), stream.mean(0), stream.std_dev(0, 1.0));
/// }
/// assert_eq!((stream.mean(0), stream.variance(0, 1.0)), (3.0, 7.0));
/// assert_eq!((stream.mean(1), stream.variance(1, 1.0)), (10.0, 0.0));
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, PartialEq)]
#[must_use]
pub struct Welford {
    state: State,
}

/// Exponentially weighted mean and variance of each feature of a stream: the weights of older rows fall by the same
/// factor with each new row ([`Forgetting`]). The numbers are those of pandas' `ewm`, for data without gaps.
///
/// It runs the recurrence of [`Welford`] with other weights (West 1979), by the same paths, with the same bits on each;
/// [`numerics`](crate::numerics) has the bound of its mean. A NaN or an infinity is not forgotten: [`Ewm::reset`] starts
/// anew.
///
/// ```
/// use batchnorm::{Ewm, Forgetting};
///
/// // pandas: pd.Series([1.0, 2.0, 6.0]).ewm(alpha=0.5).mean() ends with 4.142857, .var() with 8.214286
/// let mut stream = Ewm::new(1, Forgetting::from_alpha(0.5)?);
/// for x in [1.0, 2.0, 6.0] {
///     stream.push(&[x])?;
/// }
/// assert!((stream.mean(0) - 29.0 / 7.0).abs() < 1e-15);
/// assert!((stream.variance(0, 1.0) - 57.5 / 7.0).abs() < 1e-14);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, PartialEq)]
#[must_use]
pub struct Ewm {
    state: State,
    forgetting: Forgetting,
}

stream_methods!(Welford, "use batchnorm::Welford;", "Welford::new(2)");
stream_methods!(Ewm, "use batchnorm::{Ewm, Forgetting};", "Ewm::new(2, Forgetting::from_alpha(0.25)?)");

impl Welford {
    /// Creates a stream without rows.
    ///
    /// # Panics
    /// If there is not enough memory for so many features, as `vec![0.0; num_features]` does. [`Welford::try_new`] is
    /// for numbers of features that come from input.
    ///
    /// ```
    /// let stream = batchnorm::Welford::new(5);
    /// assert_eq!((stream.num_features(), stream.count()), (5, 0));
    /// ```
    pub fn new(num_features: usize) -> Self {
        Self::try_new(num_features).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Like [`Welford::new`], but without a panic.
    ///
    /// # Errors
    /// [`Error::TooManyFeatures`] if there is not enough memory for so many features.
    ///
    /// ```
    /// # use batchnorm::Welford;
    /// assert_eq!(Welford::try_new(5)?, Welford::new(5));
    /// assert!(Welford::try_new(usize::MAX).is_err());
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn try_new(num_features: usize) -> Result<Self> {
        Ok(Welford { state: State::new(num_features, RowWeights::equal())? })
    }

    /// Returns the variance of a feature so far: `m2 / max(0, count - ddof)`. `ddof` is numpy's `ddof` and PyTorch's
    /// `correction`: 0 gives the population variance, 1 the unbiased variance. If `count <= ddof`, the result is
    /// infinite for a feature that varies and NaN for a constant one. Without rows it is NaN for any `ddof`.
    ///
    /// # Panics
    /// If `feature >= num_features()`.
    ///
    /// ```
    /// # use batchnorm::Welford;
    /// let mut stream = Welford::new(1);
    /// for x in [1.0, 2.0, 6.0] {
    ///     stream.push(&[x])?;
    /// }
    /// assert_eq!(stream.variance(0, 1.0), 7.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn variance(&self, feature: usize, ddof: f64) -> f64 {
        self.state.variance(feature, ddof)
    }

    /// Adds the rows of another stream, as if they had come after those of this one: of another sensor, thread or
    /// machine. Runs on the calling thread.
    ///
    /// The last bits differ from those of a single stream; the result is as accurate.
    ///
    /// # Errors
    /// [`Error::Features`] if `other` has a different number of features, [`Error::TooManyValues`] if there would be
    /// more than `u64::MAX` rows; a failed call leaves everything unchanged.
    ///
    /// ```
    /// # use batchnorm::Welford;
    /// let (mut a, mut b) = (Welford::new(1), Welford::new(1));
    /// a.push(&[1.0])?;
    /// a.push(&[2.0])?;
    /// b.push(&[6.0])?;
    /// a.merge(&b)?;
    /// assert_eq!((a.count(), a.mean(0), a.variance(0, 1.0)), (3, 3.0, 7.0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn merge(&mut self, other: &Welford) -> Result<()> {
        self.state.check("the other has", other.num_features())?;
        let (a, b) = (self.count(), other.count());
        let count = a.checked_add(b).ok_or(Error::TooManyValues { a, b })?;
        if a == 0 {
            self.state.blocks.copy_from_slice(&other.state.blocks);
        } else if b > 0 {
            for feature in 0..self.num_features() {
                let [left, right] = [&self.state, &other.state].map(|state| state.feature(feature).moments());
                let merged = scalar::merge_moments((a as f64, left), (b as f64, right));
                self.state.set_feature(feature, Running::from_moments(merged));
            }
        }
        self.state.weights.set_count(count);
        Ok(())
    }

    /// Returns the moments of all rows so far: with [`Moments::means`] and [`Moments::m2s`] as slices, to merge with
    /// moments of batches or to send to another process.
    ///
    /// ```
    /// # use batchnorm::Welford;
    /// let mut stream = Welford::new(2);
    /// stream.push(&[1.0, 10.0])?;
    /// stream.push(&[3.0, 10.0])?;
    /// assert_eq!((stream.moments().means(), stream.moments().m2s()), (&[2.0, 10.0][..], &[2.0, 0.0][..]));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn moments(&self) -> Moments {
        let mut moments = Moments::default();
        self.moments_into(&mut moments);
        moments
    }

    /// Writes the same moments as [`Welford::moments`] over existing ones, reusing their memory.
    ///
    /// ```
    /// # use batchnorm::{Moments, Welford};
    /// let (mut stream, mut m) = (Welford::new(1), Moments::default());
    /// for x in [1.0, 3.0] {
    ///     stream.push(&[x])?;
    ///     stream.moments_into(&mut m);
    /// }
    /// assert_eq!((m.count(0), m.mean(0)), (2, 2.0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn moments_into(&self, moments: &mut Moments) {
        let mut out = moments.resize(self.num_features(), self.count());
        if self.count() > 0 {
            for feature in 0..self.num_features() {
                out.store(feature, self.state.feature(feature).moments());
            }
        }
    }

    /// Starts from moments: the stream continues as if their rows had been pushed. The moments are as accurate after
    /// that, but the last bits differ from those of a stream that was never interrupted.
    ///
    /// # Errors
    /// [`Error::UnevenCounts`] if features have different counts.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, Welford, moments};
    /// let mut stream = Welford::from_moments(&moments(Batch::new(&[1.0f32, 2.0], Layout::nc(2, 1))?))?;
    /// stream.push(&[6.0])?;
    /// assert_eq!((stream.count(), stream.mean(0), stream.variance(0, 1.0)), (3, 3.0, 7.0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn from_moments(moments: &Moments) -> Result<Self> {
        let mut stream = Self::try_new(moments.num_features())?;
        let count = moments.counts().first().copied().unwrap_or(0);
        if let Some(&other) = moments.counts().iter().find(|&&other| other != count) {
            return Err(Error::UnevenCounts { a: count, b: other });
        }
        if count > 0 {
            let parts = moments.parts();
            for feature in 0..moments.num_features() {
                let mean = TripleDouble {
                    high: parts.means[feature],
                    middle: parts.means_middle[feature],
                    low: parts.means_low[feature],
                };
                let m2 = DoubleDouble { high: parts.m2s[feature], low: parts.m2s_low[feature] };
                stream.state.set_feature(feature, Running::from_moments(FeatureMoments { mean, m2 }));
            }
        }
        stream.state.weights.set_count(count);
        Ok(stream)
    }
}

#[cfg(feature = "serde")]
impl Welford {
    /// Returns the state of a feature.
    pub(crate) fn running(&self, feature: usize) -> Running<f64> {
        self.state.feature(feature)
    }

    pub(crate) fn set_running(&mut self, feature: usize, to: Running<f64>) {
        self.state.set_feature(feature, to);
    }

    pub(crate) fn set_count(&mut self, count: u64) {
        self.state.weights.set_count(count);
    }
}

impl Ewm {
    /// Creates a stream without rows.
    ///
    /// # Panics
    /// If there is not enough memory for so many features, as `vec![0.0; num_features]` does. [`Ewm::try_new`] is for
    /// numbers of features that come from input.
    ///
    /// ```
    /// use batchnorm::{Ewm, Forgetting};
    ///
    /// let stream = Ewm::new(5, Forgetting::from_span(20.0)?);
    /// assert_eq!((stream.num_features(), stream.count()), (5, 0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn new(num_features: usize, forgetting: Forgetting) -> Self {
        Self::try_new(num_features, forgetting).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Like [`Ewm::new`], but without a panic.
    ///
    /// # Errors
    /// [`Error::TooManyFeatures`] if there is not enough memory for so many features.
    ///
    /// ```
    /// # use batchnorm::{Ewm, Forgetting};
    /// assert!(Ewm::try_new(usize::MAX, Forgetting::from_span(20.0)?).is_err());
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn try_new(num_features: usize, forgetting: Forgetting) -> Result<Self> {
        let weights = RowWeights::exponential(forgetting.alpha(), forgetting.adjust());
        Ok(Ewm { state: State::new(num_features, weights)?, forgetting })
    }

    /// Returns how fast the stream forgets.
    ///
    /// ```
    /// # use batchnorm::{Ewm, Forgetting};
    /// assert_eq!(Ewm::new(5, Forgetting::from_span(7.0)?).forgetting().alpha(), 0.25);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forgetting(&self) -> Forgetting {
        self.forgetting
    }

    /// Returns the weighted variance of a feature so far: the weighted sum of squared deviations from the weighted
    /// mean, divided by `sum(w) - ddof * sum(w^2) / sum(w)`. `ddof` 0 is pandas' `var(bias=True)`, and 1 its default,
    /// `var(bias=False)`: NaN after the first row.
    ///
    /// # Panics
    /// If `feature >= num_features()`.
    ///
    /// ```
    /// # use batchnorm::{Ewm, Forgetting};
    /// let mut stream = Ewm::new(1, Forgetting::from_alpha(0.5)?.with_adjust(false));
    /// stream.push(&[0.0])?;
    /// assert!(stream.variance(0, 0.0) == 0.0 && stream.variance(0, 1.0).is_nan());
    /// stream.push(&[1.0])?;
    /// assert_eq!((stream.variance(0, 0.0), stream.variance(0, 1.0)), (0.25, 0.5));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn variance(&self, feature: usize, ddof: f64) -> f64 {
        self.state.variance(feature, ddof)
    }
}
