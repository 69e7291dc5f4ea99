//! The frozen layer: evaluation only, with everything that does not depend on the batch computed in advance.

use super::fold::product_sum;
use alloc::vec::Vec;
use core::fmt;

use super::checks::{check_features, check_same};
use crate::exec::Normalization;
use crate::{Batch, BatchMut, Element, Path, Precision, Result};

/// A frozen layer for evaluation: the mean, scale and bias of each feature are computed once. Calls allocate nothing,
/// unless they start work on other threads.
///
/// [`BatchNorm::to_inference`](crate::BatchNorm::to_inference) creates it. It is `Send`, `Sync` and immutable, so all
/// threads can share one.
///
/// | option | default | |
/// |---|---|---|
/// | path | that of the layer | [`Inference::with_path`]; results do not depend on it |
/// | precision | that of the layer | [`Inference::with_precision`] |
/// | activation | that of the layer | [`Inference::with_activation`] |
///
/// `==` compares the precision, the activation, and the mean, scale and bias of each feature bit for bit, except that any NaN equals
/// any other NaN. It ignores the path, because results do not depend on it.
///
/// ```
/// use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
///
/// let norm = BatchNorm::new(64).to_inference();
/// let layout = Layout::nchw(1, 64, 7, 7);
/// let x = vec![0.5f32; 64 * 49];
/// let mut y = vec![0.0f32; 64 * 49];
/// norm.forward(Batch::new(&x, layout)?, BatchMut::new(&mut y, layout)?)?;
/// assert_eq!(y[0], (0.5 / (1.0f64 + 1e-5).sqrt()) as f32);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Inference {
    pub(super) normalization: Normalization,
    pub(super) path: Path,
    pub(super) precision: Precision,
}

impl Inference {
    pub(super) fn new(normalization: Normalization, path: Path, precision: Precision) -> Self {
        Inference { normalization, path, precision }
    }

    pub(super) fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    /// Sets the path (default: that of the layer). All paths give bit-identical results; only speed differs.
    ///
    /// ```
    /// # use batchnorm::{BatchNorm, Isa, Path};
    /// let norm = BatchNorm::new(1).to_inference().with_path(Path::Simd(Isa::detect())); // never on other threads
    /// assert_eq!(norm.path(), Path::Simd(Isa::detect()));
    /// ```
    pub fn with_path(mut self, path: Path) -> Self {
        self.path = path;
        self
    }

    /// Returns the path.
    ///
    /// ```
    /// # use batchnorm::{BatchNorm, Path};
    /// assert_eq!(BatchNorm::new(1).to_inference().path(), Path::Auto);
    /// ```
    pub fn path(&self) -> Path {
        self.path
    }

    /// Sets the arithmetic in which f32 batches are normalised (default: that of the layer, which is
    /// [`Precision::Single`] unless it was changed). f64 batches are always computed in f64.
    ///
    /// ```
    /// # use batchnorm::{BatchNorm, Precision};
    /// let norm = BatchNorm::new(1).to_inference().with_precision(Precision::Double);
    /// assert_eq!(norm.precision(), Precision::Double);
    /// ```
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Returns the arithmetic in which f32 batches are normalised.
    ///
    /// ```
    /// # use batchnorm::{BatchNorm, Precision};
    /// assert_eq!(BatchNorm::new(1).to_inference().precision(), Precision::Single);
    /// ```
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Returns the number of features.
    ///
    /// ```
    /// assert_eq!(batchnorm::BatchNorm::new(7).to_inference().num_features(), 7);
    /// ```
    pub fn num_features(&self) -> usize {
        self.normalization.double.features()
    }

    /// Returns the scale of each feature, `weight / sqrt(running_var + eps)`: with [`Inference::shift`], the factor of
    /// `y = x * scale + shift`, for folding the layer into a neighbour by hand. Allocates.
    ///
    /// Folding loses accuracy where the mean is large: `x * scale` and `shift` then nearly cancel, and an error of
    /// `|mean| / standard deviation` units of rounding remains. [`Inference::forward`] subtracts the mean first and has
    /// no such error, so the bits differ, too. The scale is 0 where `running_var + eps` is 0, and infinite or 0 where
    /// f64 cannot hold it.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let mut bn = BatchNorm::new(2).with_eps(0.0)?;
    /// bn.set_weight(&[3.0, 1.0])?;
    /// bn.set_bias(&[0.5, 0.0])?;
    /// bn.set_running_mean(&[10.0, 0.0])?;
    /// bn.set_running_var(&[4.0, 1.0])?;
    /// let norm = bn.to_inference();
    /// assert_eq!((norm.scale(), norm.shift()), (vec![1.5, 1.0], vec![-14.5, 0.0]));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn scale(&self) -> Vec<f64> {
        self.folded().map(|[_, scale, _]| scale).collect()
    }

    /// Returns the shift of each feature, `bias - running_mean * scale`, rounded once: see [`Inference::scale`].
    /// Allocates.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let mut bn = BatchNorm::new(1).with_eps(0.0)?;
    /// bn.set_running_mean(&[2.0])?;
    /// assert_eq!(bn.to_inference().shift(), [-2.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn shift(&self) -> Vec<f64> {
        self.folded().map(|[mean, scale, bias]| product_sum(-mean, scale, bias)).collect()
    }

    /// Returns mean, scale and bias of each feature, as they would be if f64 had no limits where it can.
    fn folded(&self) -> impl Iterator<Item = [f64; 3]> {
        let Normalization { double, factored, .. } = &self.normalization;
        let mut factored = factored.iter().peekable();
        (0..double.features()).map(move |feature| match factored.next_if(|factors| factors.feature == feature) {
            Some(factors) => [factors.mean, factors.inverse_deviation * factors.weight, factors.bias],
            None => double.feature(feature),
        })
    }

    /// Normalises `x` by the running statistics and writes the result to `y`.
    ///
    /// # Errors
    /// [`Error::Features`](crate::Error::Features) if the batch has a different number of features from the layer,
    /// [`Error::LayoutMismatch`](crate::Error::LayoutMismatch) if `y` has a different layout from `x`.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let (layout, mut out) = (Layout::nc(1, 1), [0.0f64]);
    /// let norm = BatchNorm::new(1).with_eps(0.0)?.to_inference();
    /// norm.forward(Batch::new(&[5.0], layout)?, BatchMut::new(&mut out, layout)?)?;
    /// assert_eq!(out, [5.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward<T: Element>(&self, x: Batch<'_, T>, y: BatchMut<'_, T>) -> Result<()> {
        check_features(self.num_features(), x.layout())?;
        check_same(x.layout(), y.layout())?;
        self.path.normalize(&self.normalization, self.precision, Some(x), None, y);
        Ok(())
    }

    /// Normalises a batch of f16 or bf16 like [`Inference::forward`], but into f32 (feature `half`): the result is that of
    /// an f32 batch of the same values, not rounded to half precision.
    ///
    /// # Errors
    /// As for [`Inference::forward`].
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// use half::f16;
    ///
    /// let mut bn = BatchNorm::new(1).with_eps(0.0)?;
    /// bn.set_running_mean(&[0.1])?;
    /// let (layout, mut y) = (Layout::nc(2, 1), [0.0f32; 2]);
    /// let x = [f16::ZERO, f16::ONE];
    /// bn.to_inference().forward_to_f32(Batch::new(&x, layout)?, BatchMut::new(&mut y, layout)?)?;
    /// assert_eq!(y, [-0.1, 0.9]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[cfg(feature = "half")]
    #[cfg_attr(docsrs, doc(cfg(feature = "half")))]
    pub fn forward_to_f32<T: crate::HalfElement>(&self, x: Batch<'_, T>, y: BatchMut<'_, f32>) -> Result<()> {
        check_features(self.num_features(), x.layout())?;
        check_same(x.layout(), y.layout())?;
        T::normalize(self.path, &self.normalization, self.precision, x, y);
        Ok(())
    }

    /// Normalises a batch like [`Inference::forward`], but in place.
    ///
    /// # Errors
    /// [`Error::Features`](crate::Error::Features) if the batch has a different number of features from the layer.
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, Layout};
    /// let mut data = [5.0f64];
    /// BatchNorm::new(1).with_eps(0.0)?.to_inference().forward_in_place(BatchMut::new(&mut data, Layout::nc(1, 1))?)?;
    /// assert_eq!(data, [5.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_in_place<T: Element>(&self, x: BatchMut<'_, T>) -> Result<()> {
        check_features(self.num_features(), x.layout())?;
        self.path.normalize(&self.normalization, self.precision, None, None, x);
        Ok(())
    }
}

impl PartialEq for Inference {
    fn eq(&self, other: &Self) -> bool {
        self.precision == other.precision && self.normalization == other.normalization
    }
}

/// Leaves out the parameters, because there may be many.
impl fmt::Debug for Inference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inference")
            .field("num_features", &self.num_features())
            .field("path", &self.path)
            .field("precision", &self.precision)
            .field("activation", &self.activation())
            .finish_non_exhaustive()
    }
}
