//! Mean and variance of each feature, as callers hold them.

use std::fmt;

use crate::element::{ByElement, INTERNAL};
use crate::kernels::reduce::Merge;
use crate::kernels::{Arrays, MomentArrays, MomentSlices, Variances};
use crate::lanes::Isa;
use crate::spec::{same_bits, scalar};
use crate::{Element, Error, Result};

/// Count, mean and sum of squared deviations (m2) of each feature, in f64.
///
/// Made by [`crate::moments()`] or [`crate::Path::moments`]; grown by [`Moments::update`] and [`Moments::merge`]. Mean and
/// m2 are double-doubles (unevaluated sums of two f64), so merging at a large mean loses nothing.
///
/// `==` compares counts, means and m2 (both words of each) bit for bit, but for NaN, which equals NaN.
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
    /// The words of the means (high, low), then those of m2.
    words: [Vec<f64>; 4],
}

/// All that [`Moments`] hold, one value per feature in each array: to send them to another process and back with the same
/// bits.
///
/// ```
/// use batchnorm::{Batch, Layout, Moments, moments};
///
/// let m = moments(Batch::new(&[1.0f64, 2.0, 6.0], Layout::nc(3, 1))?);
/// assert_eq!((m.parts().counts, m.parts().means, m.parts().m2s), (&[3][..], &[3.0][..], &[14.0][..]));
/// assert_eq!(Moments::from_parts(m.parts())?, m);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MomentsParts<'a> {
    /// Values of each feature.
    pub counts: &'a [u64],
    /// Means: the high words of double-doubles. NaN where there are no values.
    pub means: &'a [f64],
    /// The low words of the means, at most half a unit in the last place of the high ones.
    pub means_low: &'a [f64],
    /// Sums of squared deviations from the means: high words. 0 where there are no values.
    pub m2s: &'a [f64],
    /// Their low words.
    pub m2s_low: &'a [f64],
}

impl Moments {
    /// Moments of no rows at all: what [`Moments::merge`] and [`Moments::update`] start from.
    ///
    /// ```
    /// let m = batchnorm::Moments::new(5);
    /// assert_eq!((m.num_features(), m.count(0)), (5, 0));
    /// assert!(m.mean(0).is_nan());
    /// ```
    pub fn new(num_features: usize) -> Self {
        let mut moments = Moments::default();
        moments.resize(num_features, 0);
        moments
    }

    /// Moments from their parts, which another process may have sent: checked, and then the same bits.
    ///
    /// # Errors
    /// [`Error::ParameterLength`] where an array has another length than the counts, [`Error::OutOfRange`] where a value
    /// cannot be of any batch: a negative m2, a low word that its high word would absorb into another number, an m2
    /// that is not 0 of fewer than two values.
    ///
    /// ```
    /// use batchnorm::{Moments, MomentsParts};
    ///
    /// let parts = MomentsParts { counts: &[2], means: &[1.0], means_low: &[0.0], m2s: &[0.5], m2s_low: &[0.0] };
    /// assert_eq!(Moments::from_parts(parts)?.variance(0, 1.0), 0.5);
    /// let error = Moments::from_parts(MomentsParts { m2s: &[-0.5], ..parts }).unwrap_err();
    /// assert_eq!(error.to_string(), "m2s must be NaN or at least 0, but is -0.5");
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn from_parts(parts: MomentsParts<'_>) -> Result<Self> {
        let MomentsParts { counts, means, means_low, m2s, m2s_low } = parts;
        let expected = counts.len();
        for (name, array) in [("means", means), ("means_low", means_low), ("m2s", m2s), ("m2s_low", m2s_low)] {
            if array.len() != expected {
                return Err(Error::ParameterLength { name, expected, given: array.len() });
            }
        }
        for feature in 0..expected {
            check_count(counts[feature], means[feature], m2s[feature])?;
            check_words("means_low", means[feature], means_low[feature])?;
            check_words("m2s_low", m2s[feature], m2s_low[feature])?;
        }
        Ok(Moments { counts: counts.to_vec(), words: [means, means_low, m2s, m2s_low].map(<[f64]>::to_vec) })
    }

    /// All that these moments hold.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f32, 10.0, 3.0, 10.0], Layout::nc(2, 2))?);
    /// assert_eq!(m.parts().m2s, [2.0, 0.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn parts(&self) -> MomentsParts<'_> {
        let [means, means_low, m2s, m2s_low] = &self.words;
        MomentsParts { counts: &self.counts, means, means_low, m2s, m2s_low }
    }

    /// Number of features.
    ///
    /// ```
    /// assert_eq!(batchnorm::Moments::new(5).num_features(), 5);
    /// ```
    pub fn num_features(&self) -> usize {
        self.counts.len()
    }

    /// Number of values of a feature.
    ///
    /// # Panics
    /// Where `feature >= num_features()`, as indexing does.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// assert_eq!(moments(Batch::new(&[0.0f32; 98], Layout::nchw(1, 2, 7, 7))?).count(0), 49);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn count(&self, feature: usize) -> u64 {
        self.counts[feature]
    }

    /// [`Moments::count`] of every feature.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// assert_eq!(moments(Batch::new(&[0.0f32; 98], Layout::nchw(1, 2, 7, 7))?).counts(), [49, 49]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Mean of a feature; NaN where there are no values or some are NaN, infinite where infinities of one sign are
    /// among them.
    ///
    /// # Panics
    /// As [`Moments::count`].
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

    /// [`Moments::mean`] of every feature. ([`Moments::parts`] has the low words, too.)
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

    /// Sum of the squared deviations from the mean; 0 where there are no values, NaN where some are not finite,
    /// infinite where it exceeds `f64::MAX`.
    ///
    /// # Panics
    /// As [`Moments::count`].
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

    /// [`Moments::m2`] of every feature. ([`Moments::parts`] has the low words, too.)
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f32, 10.0, 3.0, 10.0], Layout::nc(2, 2))?);
    /// assert_eq!(m.m2s(), [2.0, 0.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn m2s(&self) -> &[f64] {
        &self.words[2]
    }

    /// `m2 / max(0, count - ddof)`, as numpy's `ddof` and PyTorch's `correction`: 0 gives the population variance, 1
    /// the unbiased one; any real number is allowed. Where `count <= ddof`, a feature that varies gives infinity and
    /// one that does not gives NaN; without values it is NaN for any `ddof`.
    ///
    /// # Panics
    /// As [`Moments::count`].
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

    /// [`Moments::mean`] of every feature, rounded to the type of `out`.
    ///
    /// # Errors
    /// [`Error::Features`] where `out` is not as long as there are features.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f32, 10.0, 2.0, 10.0, 6.0, 10.0], Layout::nc(3, 2))?);
    /// let mut means = [0.0f32; 2];
    /// m.means_into(&mut means)?;
    /// assert_eq!(means, [3.0, 10.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn means_into<T: Element>(&self, out: &mut [T]) -> Result<()> {
        self.check(out.len())?;
        for (out, mean) in out.iter_mut().zip(self.means()) {
            *out = T::from_f64(*mean);
        }
        Ok(())
    }

    /// [`Moments::variance`] of every feature, rounded to the type of `out`; in lanes, which one by one is not. Runs on
    /// the calling thread.
    ///
    /// # Errors
    /// [`Error::Features`] where `out` is not as long as there are features.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f32, 10.0, 2.0, 10.0, 6.0, 10.0], Layout::nc(3, 2))?);
    /// let mut variances = [0.0f32; 2];
    /// m.variances_into(1.0, &mut variances)?;
    /// assert_eq!(variances, [7.0, 0.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn variances_into<T: Element>(&self, ddof: f64, out: &mut [T]) -> Result<()> {
        self.check(out.len())?;
        match self.uniform_count() {
            Some(0) => out.fill(T::from_f64(f64::NAN)),
            Some(count) => {
                let (moments, degrees_of_freedom) = (self.slices(), degrees_of_freedom(count, ddof));
                match T::in_out(None, out, INTERNAL) {
                    ByElement::F32((_, to)) => Isa::detect().run(Variances { moments, degrees_of_freedom, to }),
                    ByElement::F64((_, to)) => Isa::detect().run(Variances { moments, degrees_of_freedom, to }),
                }
            }
            None => {
                for (feature, out) in out.iter_mut().enumerate() {
                    *out = T::from_f64(self.variance(feature, ddof));
                }
            }
        }
        Ok(())
    }

    /// Square root of [`Moments::variance`].
    ///
    /// # Panics
    /// As [`Moments::count`].
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f64, 3.0], Layout::nc(2, 1))?);
    /// assert_eq!(m.std_dev(0, 0.0), 1.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn std_dev(&self, feature: usize, ddof: f64) -> f64 {
        self.variance(feature, ddof).sqrt()
    }

    /// Adds the rows behind other moments: of another shard, another file, another time. Either side may be empty, and
    /// features may have different counts. Runs on the calling thread.
    ///
    /// Shards of whole chunks give the bits of one call where they are merged as one call merges chunks: in order, the left
    /// one of a power of two of chunks, the right one of no more. A chunk is 512 rows (from 64 columns on; of fewer, 512
    /// times the power of two that makes them 64), or `32768 / inner` planes, at least one.
    ///
    /// # Errors
    /// [`Error::Features`] where the other has other features. Nothing changes then.
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
        self.check(other.num_features())?;
        match (self.uniform_count(), other.uniform_count()) {
            (Some(count_a), Some(count_b)) => self.merge_features(0..self.num_features(), count_a, other, count_b),
            _ => {
                for feature in 0..self.num_features() {
                    let (count_a, count_b) = (self.counts[feature], other.counts[feature]);
                    self.merge_features(feature..feature + 1, count_a, other, count_b);
                }
            }
        }
        Ok(())
    }

    /// Merges features that have the same counts.
    fn merge_features(&mut self, features: std::ops::Range<usize>, count_a: u64, other: &Moments, count_b: u64) {
        if count_b == 0 {
            return;
        }
        self.counts[features.clone()].fill(count_a.saturating_add(count_b));
        let b = MomentSlices(other.words.each_ref().map(|words| &words[features.clone()]));
        let a: MomentArrays<'_> = Arrays(self.words.each_mut().map(|words| &mut words[features.clone()]));
        if count_a == 0 {
            for (to, from) in a.0.into_iter().zip(b.0) {
                to.copy_from_slice(from);
            }
        } else {
            Isa::detect().run(Merge { a, count_a, b, count_b });
        }
    }

    /// The count of all features, where they have the same.
    pub(crate) fn uniform_count(&self) -> Option<u64> {
        let (first, others) = self.counts.split_first().unwrap_or((&0, &[]));
        others.iter().all(|count| count == first).then_some(*first)
    }

    fn check(&self, given: usize) -> Result<()> {
        let expected = self.num_features();
        if given == expected { Ok(()) } else { Err(Error::Features { expected, given }) }
    }

    pub(crate) fn slices(&self) -> MomentSlices<'_> {
        MomentSlices(self.words.each_ref().map(|words| &words[..]))
    }

    /// Sizes the arrays for features of `count` values each; those of none are filled.
    pub(crate) fn resize(&mut self, num_features: usize, count: usize) -> MomentArrays<'_> {
        self.counts.clear();
        self.counts.resize(num_features, count as u64);
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

/// `max(0, count - ddof)`.
fn degrees_of_freedom(count: u64, ddof: f64) -> f64 {
    // Not `max`: it would hide a NaN ddof.
    let freedom = count as f64 - ddof;
    if freedom < 0.0 { 0.0 } else { freedom }
}

/// What few values cannot have, and what no values can have.
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

/// The words of a double-double: the low one is rounded away where the two are added.
fn check_words(name: &'static str, high: f64, low: f64) -> Result<()> {
    if low == 0.0 || high + low == high {
        return Ok(());
    }
    Err(Error::OutOfRange { name, allowed: "at most half a unit in the last place of its high word", given: low })
}

/// Equal where counts, means and m2 (both words of each) are equal, bit for bit but for NaN, which equals NaN.
impl PartialEq for Moments {
    fn eq(&self, other: &Self) -> bool {
        self.counts == other.counts && self.words.iter().zip(&other.words).all(|(a, b)| same_bits(a, b))
    }
}

/// The first features; there may be many.
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

/// Memory that a call computes in, kept from call to call so that later ones allocate nothing. It grows to what the
/// largest call needed; a clone begins empty.
///
/// ```
/// use batchnorm::{Batch, Layout, Moments, Path, Workspace};
///
/// let (mut m, mut workspace) = (Moments::default(), Workspace::default());
/// for batch in [[1.0f32, 3.0], [2.0, 6.0]] {
///     Path::Auto.moments_into(Batch::new(&batch, Layout::nc(2, 1))?, &mut m, &mut workspace);
/// }
/// assert_eq!(m.mean(0), 4.0);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Default)]
pub struct Workspace(Vec<f64>);

impl Workspace {
    /// So many values, whatever they are.
    pub(crate) fn of(&mut self, len: usize) -> &mut [f64] {
        if self.0.len() < len {
            self.0.resize(len, 0.0);
        }
        &mut self.0[..len]
    }
}

impl Clone for Workspace {
    fn clone(&self) -> Self {
        Workspace::default()
    }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").field("bytes", &size_of_val(&self.0[..])).finish()
    }
}
