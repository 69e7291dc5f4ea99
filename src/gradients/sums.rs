//! The sums from which all gradients follow.

use alloc::vec::Vec;
use core::fmt;

use crate::error::check_features;
use crate::kernels::Arrays;
use crate::kernels::reduce::SUM_WORDS;
use crate::spec::backward::{self, FeatureSums};
use crate::spec::{DoubleDouble, same_bits};
use crate::{Error, Result};

/// The sums of a backward pass, per feature: of `dy`, and of `dy * (x - mean)`. Each has two words (an unevaluated sum
/// of two f64), so that merging rounds nothing.
///
/// [`BatchNorm::backward_sums`](crate::BatchNorm::backward_sums) computes them,
/// [`BatchNorm::backward_apply`](crate::BatchNorm::backward_apply) and
/// [`BatchNorm::gradients`](crate::BatchNorm::gradients) use them. If a batch is spread over several machines, each sums
/// its own shard about the mean of all, and [`GradientSums::merge`] adds up the shards (PyTorch's `SyncBatchNorm`
/// reduces the same two sums, `sum_dy` and `sum_dy_xmu`).
///
/// `==` compares counts and sums (both words of each) bit for bit, except that any NaN equals any other NaN.
///
/// ```
/// use batchnorm::{Batch, BatchNorm, Layout, moments};
///
/// let layout = Layout::nc(3, 1);
/// let (x, dy) = (Batch::new(&[1.0f32, 2.0, 6.0], layout)?, Batch::new(&[1.0f32, 0.0, 2.0], layout)?);
/// let sums = BatchNorm::new(1).backward_sums(&moments(x), x, dy)?;
/// assert_eq!((sums.sum_dy(), sums.sum_dy_xmu()), (&[3.0][..], &[-2.0 + 2.0 * 3.0][..]));
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct GradientSums {
    counts: Vec<u64>,
    /// High and low words of the sums of `dy`, then of the sums of `dy * (x - mean)`.
    words: [Vec<f64>; SUM_WORDS],
}

/// The contents of [`GradientSums`], as arrays with one value per feature. Use it to send sums to another process and
/// to rebuild them there bit for bit.
///
/// ```
/// use batchnorm::{GradientSums, GradientSumsParts};
///
/// let zero = &[0.0][..];
/// let parts = GradientSumsParts { counts: &[4], sum_dy: &[1.5], sum_dy_low: zero, sum_dy_xmu: zero, sum_dy_xmu_low: zero };
/// assert_eq!(GradientSums::from_parts(parts)?.parts().sum_dy, [1.5]);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Default)]
pub struct GradientSumsParts<'a> {
    /// Number of values of each feature.
    pub counts: &'a [u64],
    /// High words of the sums of `dy`.
    pub sum_dy: &'a [f64],
    /// Low words of the sums of `dy`: each at most half a unit in the last place of its high word.
    pub sum_dy_low: &'a [f64],
    /// High words of the sums of `dy * (x - mean)`.
    pub sum_dy_xmu: &'a [f64],
    /// Low words of the sums of `dy * (x - mean)`: each at most half a unit in the last place of its high word.
    pub sum_dy_xmu_low: &'a [f64],
}

/// Prints the number of features only, because there may be many.
impl fmt::Debug for GradientSumsParts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GradientSumsParts").field("num_features", &self.counts.len()).finish_non_exhaustive()
    }
}

impl GradientSums {
    /// Returns the number of features.
    ///
    /// ```
    /// assert_eq!(batchnorm::GradientSums::default().num_features(), 0);
    /// ```
    #[must_use]
    pub fn num_features(&self) -> usize {
        self.counts.len()
    }

    /// Returns the number of values of each feature.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchNorm, Layout, moments};
    /// let x = Batch::new(&[1.0f32, 2.0, 6.0], Layout::nc(3, 1))?;
    /// assert_eq!(BatchNorm::new(1).backward_sums(&moments(x), x, x)?.counts(), [3]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Returns the sum of `dy` of each feature.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchNorm, Layout, moments};
    /// let x = Batch::new(&[1.0f32, 2.0, 6.0], Layout::nc(3, 1))?;
    /// assert_eq!(BatchNorm::new(1).backward_sums(&moments(x), x, x)?.sum_dy(), [9.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn sum_dy(&self) -> &[f64] {
        &self.words[0]
    }

    /// Returns the sum of `dy * (x - mean)` of each feature.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchNorm, Layout, moments};
    /// let x = Batch::new(&[1.0f32, 2.0, 6.0], Layout::nc(3, 1))?;
    /// assert_eq!(BatchNorm::new(1).backward_sums(&moments(x), x, x)?.sum_dy_xmu(), [14.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn sum_dy_xmu(&self) -> &[f64] {
        &self.words[2]
    }

    /// Adds the sums of other rows, which must have been taken about the same means. Runs on the calling thread.
    ///
    /// The result is bit-identical to that of a single call if the shards consist of whole chunks and are merged in the
    /// order in which a single call merges them: see [`Moments::merge`](crate::Moments::merge). With any others it
    /// differs by what a single call may round.
    ///
    /// # Errors
    /// [`Error::Features`] if `other` has a different number of features, [`Error::TooManyValues`] if a feature would
    /// have more than `u64::MAX` values; a failed call leaves everything unchanged.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchNorm, Layout, moments};
    /// let (a, b) = (Batch::new(&[1.0f32, 2.0], Layout::nc(2, 1))?, Batch::new(&[6.0f32], Layout::nc(1, 1))?);
    /// let mut of_all = moments(a);
    /// of_all.merge(&moments(b))?;
    /// let bn = BatchNorm::new(1);
    /// let mut sums = bn.backward_sums(&of_all, a, a)?;
    /// sums.merge(&bn.backward_sums(&of_all, b, b)?)?;
    /// assert_eq!((sums.counts(), sums.sum_dy(), sums.sum_dy_xmu()), (&[3][..], &[9.0][..], &[14.0][..]));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn merge(&mut self, other: &GradientSums) -> Result<()> {
        let (these, others) = (self.num_features(), other.num_features());
        check_features(("these sums have", these), ("the others have", others))?;
        for (&a, &b) in self.counts.iter().zip(&other.counts) {
            a.checked_add(b).ok_or(Error::TooManyValues { a, b })?;
        }
        for feature in 0..these {
            let (count_a, count_b) = (self.counts[feature], other.counts[feature]);
            self.counts[feature] = count_a + count_b;
            if count_a == 0 {
                self.set(feature, other.feature(feature));
            } else if count_b > 0 {
                self.set(feature, backward::merge(self.feature(feature), other.feature(feature)));
            }
        }
        Ok(())
    }

    /// Returns the contents of these sums.
    ///
    /// ```
    /// # use batchnorm::GradientSums;
    /// assert!(GradientSums::default().parts().counts.is_empty());
    /// ```
    #[must_use]
    pub fn parts(&self) -> GradientSumsParts<'_> {
        let [sum_dy, sum_dy_low, sum_dy_xmu, sum_dy_xmu_low] = &self.words;
        GradientSumsParts { counts: &self.counts, sum_dy, sum_dy_low, sum_dy_xmu, sum_dy_xmu_low }
    }

    /// Rebuilds sums from their parts, bit for bit. The parts are checked, because they may come from another process.
    ///
    /// # Errors
    /// [`Error::ParameterLength`] if an array does not have the same length as the counts. [`Error::OutOfRange`] if a
    /// low word is more than half a unit in the last place of its high word, or not 0 where that is not finite.
    ///
    /// ```
    /// # use batchnorm::{GradientSums, GradientSumsParts};
    /// let one = &[1.0][..];
    /// let parts = GradientSumsParts { counts: &[4], sum_dy: one, sum_dy_low: one, sum_dy_xmu: one, sum_dy_xmu_low: one };
    /// assert!(GradientSums::from_parts(parts).is_err());
    /// ```
    pub fn from_parts(parts: GradientSumsParts<'_>) -> Result<Self> {
        let GradientSumsParts { counts, sum_dy, sum_dy_low, sum_dy_xmu, sum_dy_xmu_low } = parts;
        let expected = counts.len();
        for (name, array) in [
            ("sum_dy", sum_dy),
            ("sum_dy_low", sum_dy_low),
            ("sum_dy_xmu", sum_dy_xmu),
            ("sum_dy_xmu_low", sum_dy_xmu_low),
        ] {
            if array.len() != expected {
                return Err(Error::ParameterLength { name, expected, given: array.len() });
            }
        }
        for (name, high, low) in [("sum_dy_low", sum_dy, sum_dy_low), ("sum_dy_xmu_low", sum_dy_xmu, sum_dy_xmu_low)] {
            for (high, low) in high.iter().zip(low) {
                if *low != 0.0 && !(high.is_finite() && high + low == *high) {
                    let allowed = "at most half a unit in the last place of its high word";
                    return Err(Error::OutOfRange { name, allowed, given: *low });
                }
            }
        }
        let words = [sum_dy, sum_dy_low, sum_dy_xmu, sum_dy_xmu_low].map(<[f64]>::to_vec);
        Ok(GradientSums { counts: counts.to_vec(), words })
    }

    fn feature(&self, feature: usize) -> FeatureSums<f64> {
        let [dy, dy_low, products, products_low] = self.words.each_ref().map(|words| words[feature]);
        FeatureSums {
            dy: DoubleDouble { high: dy, low: dy_low },
            products: DoubleDouble { high: products, low: products_low },
        }
    }

    fn set(&mut self, feature: usize, sums: FeatureSums<f64>) {
        let values = [sums.dy.high, sums.dy.low, sums.products.high, sums.products.low];
        for (words, value) in self.words.iter_mut().zip(values) {
            words[feature] = value;
        }
    }

    /// Resizes the arrays for features with `count` values each. Their contents are unspecified.
    pub(crate) fn resize(&mut self, num_features: usize, count: u64) -> Arrays<'_, SUM_WORDS> {
        self.counts.clear();
        self.counts.resize(num_features, count);
        for words in &mut self.words {
            words.resize(num_features, 0.0);
        }
        Arrays(self.words.each_mut().map(|words| &mut words[..]))
    }
}

impl PartialEq for GradientSums {
    fn eq(&self, other: &Self) -> bool {
        self.counts == other.counts && self.words.iter().zip(&other.words).all(|(a, b)| same_bits(a, b))
    }
}

/// Prints the first features only, because there may be many.
impl fmt::Debug for GradientSums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        let shown = SHOWN.min(self.num_features());
        f.debug_struct("GradientSums")
            .field("num_features", &self.num_features())
            .field("counts", &&self.counts[..shown])
            .field("sum_dy", &&self.sum_dy()[..shown])
            .field("sum_dy_xmu", &&self.sum_dy_xmu()[..shown])
            .finish_non_exhaustive()
    }
}
