//! Mean and variance of each feature: the types that callers hold.

mod into;
mod parts;
mod workspace;

use crate::math::sqrt;
use alloc::vec::Vec;
use core::fmt;

use crate::error::check_features;
use crate::kernels::reduce::Merge;
use crate::kernels::{Arrays, MOMENT_WORDS, MomentArrays, MomentSlices};
use crate::lanes::Isa;
use crate::spec::{same_bits, scalar};
use crate::{Error, Result};

pub use parts::MomentsParts;
pub use workspace::Workspace;

/// Count, mean and sum of squared deviations from the mean (m2) of each feature, in f64.
///
/// [`moments()`](fn@crate::moments) and [`Path::moments`](crate::Path::moments) compute them; [`Moments::update`] and
/// [`Moments::merge`] add rows. The mean has three words and m2 has two (unevaluated sums of f64), so merging keeps its
/// accuracy at a large mean.
///
/// `==` compares counts, means and m2 (all words of each) bit for bit, except that any NaN equals any other NaN.
///
/// ```
/// use batchnorm::{Batch, Layout, moments};
///
/// let x = Batch::new(&[1.0f32, 10.0, 2.0, 10.0, 6.0, 10.0], Layout::nc(3, 2))?;
/// let m = moments(x);
/// assert_eq!(m.counts(), [3, 3]);
/// assert_eq!((m.mean(0), m.variance(0, 1.0)), (3.0, 7.0));
/// assert_eq!((m.mean(1), m.variance(1, 1.0)), (10.0, 0.0));
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Moments {
    counts: Vec<u64>,
    /// High, middle and low words of the means, then high and low words of m2.
    words: [Vec<f64>; MOMENT_WORDS],
}

impl Moments {
    /// Creates the moments of zero rows, as a start for [`Moments::merge`] and [`Moments::update`].
    ///
    /// # Panics
    /// If there is not enough memory for so many features, as `vec![0.0; num_features]` does. [`Moments::try_new`] is
    /// for numbers of features that come from input.
    ///
    /// ```
    /// let m = batchnorm::Moments::new(5);
    /// assert_eq!((m.num_features(), m.count(0)), (5, 0));
    /// assert!(m.mean(0).is_nan());
    /// ```
    pub fn new(num_features: usize) -> Self {
        Self::try_new(num_features).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Like [`Moments::new`], but without a panic.
    ///
    /// # Errors
    /// [`Error::TooManyFeatures`] if there is not enough memory for so many features.
    ///
    /// ```
    /// # use batchnorm::Moments;
    /// assert_eq!(Moments::try_new(5)?, Moments::new(5));
    /// assert!(Moments::try_new(usize::MAX).is_err());
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn try_new(num_features: usize) -> Result<Self> {
        let too_many = |_| Error::TooManyFeatures { given: num_features };
        let mut moments = Moments::default();
        moments.counts.try_reserve_exact(num_features).map_err(too_many)?;
        for words in &mut moments.words {
            words.try_reserve_exact(num_features).map_err(too_many)?;
        }
        moments.resize(num_features, 0);
        Ok(moments)
    }

    /// Returns the number of features.
    ///
    /// ```
    /// assert_eq!(batchnorm::Moments::new(5).num_features(), 5);
    /// ```
    pub fn num_features(&self) -> usize {
        self.counts.len()
    }

    /// Returns the number of values of a feature.
    ///
    /// # Panics
    /// If `feature >= num_features()`.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// assert_eq!(moments(Batch::new(&[0.0f32; 98], Layout::nchw(1, 2, 7, 7))?).count(0), 49);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn count(&self, feature: usize) -> u64 {
        self.counts[feature]
    }

    /// Returns [`Moments::count`] of every feature.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// assert_eq!(moments(Batch::new(&[0.0f32; 98], Layout::nchw(1, 2, 7, 7))?).counts(), [49, 49]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Returns the mean of a feature. It is NaN if there are no values, if a value is NaN, or if there are infinities
    /// of both signs; it is infinite if there are infinities of one sign only.
    ///
    /// # Panics
    /// If `feature >= num_features()`.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f32, 2.0, 4.0], Layout::nc(3, 1))?);
    /// assert_eq!(m.mean(0), 7.0 / 3.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn mean(&self, feature: usize) -> f64 {
        self.means()[feature]
    }

    /// Returns [`Moments::mean`] of every feature. ([`Moments::parts`] also returns the low words.)
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f32, 10.0, 3.0, 10.0], Layout::nc(2, 2))?);
    /// assert_eq!(m.means(), [2.0, 10.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn means(&self) -> &[f64] {
        &self.words[0]
    }

    /// Returns the sum of squared deviations from the mean. It is 0 if there are no values, NaN if a value is not
    /// finite, and infinite if it exceeds `f64::MAX`.
    ///
    /// # Panics
    /// If `feature >= num_features()`.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f32, 2.0, 6.0], Layout::nc(3, 1))?);
    /// assert_eq!(m.m2(0), 14.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn m2(&self, feature: usize) -> f64 {
        self.m2s()[feature]
    }

    /// Returns [`Moments::m2`] of every feature. ([`Moments::parts`] also returns the low words.)
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f32, 10.0, 3.0, 10.0], Layout::nc(2, 2))?);
    /// assert_eq!(m.m2s(), [2.0, 0.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn m2s(&self) -> &[f64] {
        &self.words[3]
    }

    /// Returns the variance of a feature: `m2 / max(0, count - ddof)`. `ddof` is numpy's `ddof` and PyTorch's
    /// `correction`: 0 gives the population variance, 1 the unbiased variance. Any real number is allowed. If
    /// `count <= ddof`, the result is infinite for a feature that varies and NaN for a constant one. Without values it
    /// is NaN for any `ddof`.
    ///
    /// # Panics
    /// If `feature >= num_features()`.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f64, 2.0, 6.0], Layout::nc(3, 1))?);
    /// assert_eq!(m.variance(0, 1.0), 7.0);
    /// assert_eq!(m.variance(0, 3.0), f64::INFINITY);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn variance(&self, feature: usize, ddof: f64) -> f64 {
        match self.counts[feature] {
            0 => f64::NAN,
            count => scalar::variance(self.slices().feature(feature).m2, degrees_of_freedom(count, ddof)),
        }
    }

    /// Returns the standard deviation of a feature: the square root of [`Moments::variance`].
    ///
    /// # Panics
    /// If `feature >= num_features()`.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f64, 3.0], Layout::nc(2, 1))?);
    /// assert_eq!(m.std_dev(0, 0.0), 1.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn std_dev(&self, feature: usize, ddof: f64) -> f64 {
        sqrt(self.variance(feature, ddof))
    }

    /// Merges the moments of other rows into these: of another shard, another file or a later batch. Both may be empty,
    /// and features may have different counts. Runs on the calling thread.
    ///
    /// The result is bit-identical to a single call if the shards consist of whole chunks (only the last chunk may be
    /// incomplete) and are merged in the order in which a single call merges chunks: neighbours only, with `2^k` chunks
    /// on the left and at most as many on the right. A chunk is 512 rows if there are at least 64 columns
    /// (`columns = features * inner`). With fewer columns, it is `512 * p` rows, where `p` is the smallest power of two
    /// with `p * columns >= 64`. Where `inner >= 32`, it is `32768 / inner` planes of each feature, but at least one.
    ///
    /// # Errors
    /// [`Error::Features`] if `other` has a different number of features, [`Error::TooManyValues`] if a feature would
    /// have more than `u64::MAX` values; a failed call leaves everything unchanged.
    ///
    /// ```
    /// use batchnorm::{Batch, Layout, moments};
    ///
    /// let mut m = moments(Batch::new(&[1.0f32, 2.0], Layout::nc(2, 1))?);
    /// m.merge(&moments(Batch::new(&[6.0f64], Layout::nc(1, 1))?))?;
    /// assert_eq!((m.count(0), m.mean(0), m.variance(0, 1.0)), (3, 3.0, 7.0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn merge(&mut self, other: &Moments) -> Result<()> {
        self.merge_on(Some(Isa::detect()), other)
    }

    /// Merges on the lanes of an instruction set, or in plain code.
    pub(crate) fn merge_on(&mut self, isa: Option<Isa>, other: &Moments) -> Result<()> {
        self.check("the others have", other.num_features())?;
        for (&a, &b) in self.counts.iter().zip(&other.counts) {
            a.checked_add(b).ok_or(Error::TooManyValues { a, b })?;
        }
        match (self.uniform_count(), other.uniform_count()) {
            (Some(count_a), Some(count_b)) => {
                self.merge_features(isa, 0..self.num_features(), count_a, other, count_b);
            }
            _ => {
                for feature in 0..self.num_features() {
                    let (count_a, count_b) = (self.counts[feature], other.counts[feature]);
                    self.merge_features(isa, feature..feature + 1, count_a, other, count_b);
                }
            }
        }
        Ok(())
    }

    /// Merges a range of features that all have the same counts.
    fn merge_features(
        &mut self,
        isa: Option<Isa>,
        features: core::ops::Range<usize>,
        count_a: u64,
        other: &Moments,
        count_b: u64,
    ) {
        if count_b == 0 {
            return;
        }
        self.counts[features.clone()].fill(count_a + count_b);
        let b = MomentSlices(other.words.each_ref().map(|words| &words[features.clone()]));
        let mut a: MomentArrays<'_> = Arrays(self.words.each_mut().map(|words| &mut words[features.clone()]));
        if count_a == 0 {
            for (to, from) in a.0.into_iter().zip(b.0) {
                to.copy_from_slice(from);
            }
        } else if let Some(isa) = isa {
            isa.run(Merge { a, count_a, b, count_b });
        } else {
            for feature in 0..a.features() {
                let (left, right) = (a.as_moments().feature(feature), b.feature(feature));
                a.store(feature, scalar::merge_moments((count_a as f64, left), (count_b as f64, right)));
            }
        }
    }

    /// Returns the count of all features, if it is the same for all.
    pub(crate) fn uniform_count(&self) -> Option<u64> {
        let (first, others) = self.counts.split_first().unwrap_or((&0, &[]));
        others.iter().all(|count| count == first).then_some(*first)
    }

    /// Makes these equal to `other`, reusing their memory.
    pub(crate) fn copy_from(&mut self, other: &Moments) {
        self.counts.clone_from(&other.counts);
        for (to, from) in self.words.iter_mut().zip(&other.words) {
            to.clone_from(from);
        }
    }

    fn check(&self, given_by: &'static str, given: usize) -> Result<()> {
        check_features(("the moments have", self.num_features()), (given_by, given))
    }

    pub(crate) fn slices(&self) -> MomentSlices<'_> {
        MomentSlices(self.words.each_ref().map(|words| &words[..]))
    }

    /// Resizes the arrays for features with `count` values each. If `count` is 0, fills them with the moments of no
    /// values.
    pub(crate) fn resize(&mut self, num_features: usize, count: u64) -> MomentArrays<'_> {
        self.counts.clear();
        self.counts.resize(num_features, count);
        for words in &mut self.words {
            words.resize(num_features, 0.0);
        }
        if count == 0 {
            self.words.iter_mut().for_each(|words| words.fill(0.0));
            self.words[0].fill(f64::NAN);
        }
        Arrays(self.words.each_mut().map(|words| &mut words[..]))
    }
}

/// Returns `max(0, count - ddof)`.
fn degrees_of_freedom(count: u64, ddof: f64) -> f64 {
    // `f64::max` would turn a NaN `ddof` into 0.
    let degrees_of_freedom = count as f64 - ddof;
    if degrees_of_freedom < 0.0 { 0.0 } else { degrees_of_freedom }
}

/// Compares counts, means and m2 (all words of each) bit for bit, except that any NaN equals any other NaN.
impl PartialEq for Moments {
    fn eq(&self, other: &Self) -> bool {
        self.counts == other.counts && self.words.iter().zip(&other.words).all(|(a, b)| same_bits(a, b))
    }
}

/// Prints the first features only, because there may be many.
impl fmt::Debug for Moments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        let shown = SHOWN.min(self.num_features());
        f.debug_struct("Moments")
            .field("num_features", &self.num_features())
            .field("counts", &&self.counts[..shown])
            .field("means", &&self.means()[..shown])
            .field("m2s", &&self.m2s()[..shown])
            .finish_non_exhaustive()
    }
}
