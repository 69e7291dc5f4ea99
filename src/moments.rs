//! What the moments of a batch are to a caller.

use crate::kernels::{Merge, Partial, PartialMut};
use crate::lanes::Isa;
use crate::{Batch, Element, Error, Path, Result};

/// Count, mean and sum of squared deviations (m2) of each feature, in f64.
///
/// Made by [`crate::moments()`] or a path's `moments`; grown by [`Moments::update`] and [`Moments::merge`]. All features
/// have the same count. Inside, mean and m2 are pairs of f64 values, so merging at a large mean loses nothing.
///
/// ```
/// use batchnorm::{Batch, Layout, moments};
///
/// let x = Batch::new(&[1.0f32, 10.0, 2.0, 10.0, 6.0, 10.0], Layout::nc(3, 2))?;
/// let m = moments(x);
/// assert_eq!(m.count(), 3);
/// assert_eq!((m.mean(0), m.variance(0, 1.0)), (3.0, 7.0));
/// assert_eq!((m.mean(1), m.variance(1, 1.0)), (10.0, 0.0));
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Moments {
    count: u64,
    mean: Vec<f64>,
    rest: Vec<f64>,
    m2: Vec<f64>,
    m2_rest: Vec<f64>,
    /// Space that [`Moments::fill`] computes in, kept for the next call.
    scratch: Vec<f64>,
}

impl Moments {
    /// Moments of no rows at all: what [`Moments::merge`] and [`Moments::update`] start from.
    ///
    /// ```
    /// let m = batchnorm::Moments::new(5);
    /// assert_eq!((m.num_features(), m.count()), (5, 0));
    /// assert!(m.mean(0).is_nan());
    /// ```
    pub fn new(num_features: usize) -> Self {
        let zeros = vec![0.0; num_features];
        Moments {
            count: 0,
            mean: zeros.clone(),
            rest: zeros.clone(),
            m2: zeros.clone(),
            m2_rest: zeros,
            scratch: Vec::new(),
        }
    }

    /// Features.
    ///
    /// ```
    /// assert_eq!(batchnorm::Moments::new(5).num_features(), 5);
    /// ```
    pub fn num_features(&self) -> usize {
        self.mean.len()
    }

    /// Values per feature.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// assert_eq!(moments(Batch::new(&[0.0f32; 98], Layout::nchw(1, 2, 7, 7))?).count(), 49);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean of a feature; NaN where there are no values or some are NaN, infinite where infinities of one sign are
    /// among them.
    ///
    /// # Panics
    /// Where `feature >= num_features()`, as indexing does.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f32, 2.0, 4.0], Layout::nc(3, 1))?);
    /// assert_eq!(m.mean(0), 7.0 / 3.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn mean(&self, feature: usize) -> f64 {
        let mean = self.mean[feature];
        if self.count == 0 { f64::NAN } else { mean }
    }

    /// Sum of the squared deviations from the mean; 0 where there are no values, NaN where some are not finite,
    /// infinite where it exceeds `f64::MAX`.
    ///
    /// # Panics
    /// As [`Moments::mean`].
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f32, 2.0, 6.0], Layout::nc(3, 1))?);
    /// assert_eq!(m.m2(0), 14.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn m2(&self, feature: usize) -> f64 {
        self.m2[feature]
    }

    /// `m2 / max(0, count - ddof)`, as numpy's `ddof` and PyTorch's `correction`: 0 gives the population variance, 1
    /// the unbiased one; any real number is allowed. Where `count <= ddof`, a feature that varies gives infinity and
    /// one that does not gives NaN; without values it is NaN for any `ddof`.
    ///
    /// # Panics
    /// As [`Moments::mean`].
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f64, 2.0, 6.0], Layout::nc(3, 1))?);
    /// assert_eq!(m.variance(0, 1.0), 7.0);
    /// assert_eq!(m.variance(0, 3.0), f64::INFINITY);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn variance(&self, feature: usize, ddof: f64) -> f64 {
        if self.count == 0 { f64::NAN } else { self.partial().variance(feature, self.freedom(ddof)) }
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
        for (feature, out) in out.iter_mut().enumerate() {
            *out = T::from_f64(self.mean(feature));
        }
        Ok(())
    }

    /// [`Moments::variance`] of every feature, rounded to the type of `out`; in lanes, which one by one is not.
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
        if self.count == 0 {
            out.fill(T::from_f64(f64::NAN));
        } else {
            Path::Auto.variances(self.partial(), self.freedom(ddof), out);
        }
        Ok(())
    }

    /// Square root of [`Moments::variance`].
    ///
    /// # Panics
    /// As [`Moments::mean`].
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

    /// Adds the rows of another batch: merges its moments, computed by [`Path::Auto`].
    ///
    /// The last bits depend on how the rows were split; [`crate::Accumulator`] gives the bits of one call for any split.
    /// Many small batches at a mean of 1e15 standard deviations or more lose up to half a unit each; elsewhere the result is
    /// as accurate as one call's.
    ///
    /// # Errors
    /// [`Error::Features`] where the batch has other features. Nothing changes then.
    ///
    /// ```
    /// use batchnorm::{Batch, Layout, Moments};
    ///
    /// let mut m = Moments::new(1);
    /// m.update(Batch::new(&[1.0f32, 2.0], Layout::nc(2, 1))?)?;
    /// m.update(Batch::new(&[6.0f32], Layout::nc(1, 1))?)?;
    /// assert_eq!((m.count(), m.mean(0), m.variance(0, 1.0)), (3, 3.0, 7.0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn update<T: Element>(&mut self, x: Batch<'_, T>) -> Result<()> {
        self.check(x.layout().features())?;
        self.merge(&Path::Auto.moments(x))
    }

    /// Adds the rows behind other moments: of another shard, another file, another time. Either side may be empty.
    ///
    /// Shards of whole chunks give the bits of one call where they are joined as one call joins chunks: in order, the left
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
    /// assert_eq!((m.count(), m.mean(0), m.variance(0, 1.0)), (3, 3.0, 7.0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn merge(&mut self, other: &Moments) -> Result<()> {
        self.check(other.num_features())?;
        if other.count == 0 {
            return Ok(());
        }
        let (count_a, count_b) = (self.count, other.count);
        if count_a == 0 {
            self.mean.copy_from_slice(&other.mean);
            self.rest.copy_from_slice(&other.rest);
            self.m2.copy_from_slice(&other.m2);
            self.m2_rest.copy_from_slice(&other.m2_rest);
        } else {
            Isa::detect().run(Merge { a: self.partial_mut(), count_a, b: other.partial(), count_b });
        }
        self.count = count_a.saturating_add(count_b);
        Ok(())
    }

    /// `max(0, count - ddof)`.
    fn freedom(&self, ddof: f64) -> f64 {
        // Not `max`: it would hide a NaN ddof.
        let freedom = self.count as f64 - ddof;
        if freedom < 0.0 { 0.0 } else { freedom }
    }

    fn check(&self, given: usize) -> Result<()> {
        let expected = self.num_features();
        if given == expected { Ok(()) } else { Err(Error::Features { expected, given }) }
    }

    /// Gives back the space of [`Moments::fill`].
    pub(crate) fn drop_scratch(&mut self) {
        self.scratch = Vec::new();
    }

    pub(crate) fn partial(&self) -> Partial<'_> {
        Partial { mean: &self.mean, rest: &self.rest, m2: &self.m2, m2_rest: &self.m2_rest }
    }

    fn partial_mut(&mut self) -> PartialMut<'_> {
        PartialMut { mean: &mut self.mean, rest: &mut self.rest, m2: &mut self.m2, m2_rest: &mut self.m2_rest }
    }

    /// Sizes the arrays for a batch and has `compute` fill them, with `scratch_len` values of space beside.
    pub(crate) fn fill(
        &mut self,
        num_features: usize,
        count: usize,
        scratch_len: usize,
        compute: impl FnOnce(PartialMut<'_>, &mut [f64]),
    ) {
        self.count = count as u64;
        for values in [&mut self.mean, &mut self.rest, &mut self.m2, &mut self.m2_rest] {
            values.resize(num_features, 0.0);
        }
        if count == 0 {
            for values in [&mut self.mean, &mut self.rest, &mut self.m2, &mut self.m2_rest] {
                values.fill(0.0);
            }
            return;
        }
        if self.scratch.len() < scratch_len {
            self.scratch.resize(scratch_len, 0.0);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        compute(self.partial_mut(), &mut scratch);
        self.scratch = scratch;
    }
}

/// Equal where count, means and m2 (both halves of each) are equal, bit for bit but for NaN, which equals NaN.
impl PartialEq for Moments {
    fn eq(&self, other: &Self) -> bool {
        fn same(a: &[f64], b: &[f64]) -> bool {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
        }
        self.count == other.count
            && same(&self.mean, &other.mean)
            && same(&self.rest, &other.rest)
            && same(&self.m2, &other.m2)
            && same(&self.m2_rest, &other.m2_rest)
    }
}
