//! Evaluation alone, with everything that does not depend on the batch computed beforehand.

use super::{check_features, check_same};
use crate::kernels::Affine;
use crate::{Batch, BatchMut, Element, Path, Result};

/// A layer as evaluation applies it: scale and shift of each feature, computed once. Calls allocate nothing.
///
/// Made by [`crate::BatchNorm::to_inference`]. `Send`, `Sync` and immutable: one serves all threads.
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
#[derive(Clone, Debug, PartialEq)]
pub struct Inference {
    affine: Affine,
}

impl Inference {
    pub(super) fn new(affine: Affine) -> Self {
        Inference { affine }
    }

    /// Features of the layer.
    ///
    /// ```
    /// assert_eq!(batchnorm::BatchNorm::new(7).to_inference().num_features(), 7);
    /// ```
    pub fn num_features(&self) -> usize {
        self.affine.features()
    }

    /// Normalises `x` by the running statistics and writes to `y`.
    ///
    /// # Errors
    /// [`crate::Error::Features`] where the batch has other features than the layer,
    /// [`crate::Error::LayoutMismatch`] where `y` is laid out differently.
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
        self.forward_by(Path::Auto, x, y)
    }

    /// [`Inference::forward`] by a chosen path.
    ///
    /// # Errors
    /// As [`Inference::forward`].
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout, Path};
    /// # let (layout, mut out) = (Layout::nc(1, 1), [0.0f64]);
    /// let norm = BatchNorm::new(1).to_inference();
    /// norm.forward_by(Path::Scalar, Batch::new(&[5.0], layout)?, BatchMut::new(&mut out, layout)?)?;
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_by<T: Element>(&self, path: Path, x: Batch<'_, T>, mut y: BatchMut<'_, T>) -> Result<()> {
        check_features(self.num_features(), x.layout())?;
        check_same(x.layout(), y.layout())?;
        path.normalize(&self.affine, x.layout(), Some(x.data()), y.data_mut());
        Ok(())
    }

    /// [`Inference::forward`] in place.
    ///
    /// # Errors
    /// [`crate::Error::Features`] where the batch has other features than the layer.
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, Layout};
    /// let mut data = [5.0f64];
    /// BatchNorm::new(1).with_eps(0.0)?.to_inference().forward_in_place(BatchMut::new(&mut data, Layout::nc(1, 1))?)?;
    /// assert_eq!(data, [5.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_in_place<T: Element>(&self, x: BatchMut<'_, T>) -> Result<()> {
        self.forward_in_place_by(Path::Auto, x)
    }

    /// [`Inference::forward_in_place`] by a chosen path.
    ///
    /// # Errors
    /// As [`Inference::forward_in_place`].
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, Layout, Path};
    /// let mut data = [5.0f64];
    /// BatchNorm::new(1).to_inference().forward_in_place_by(Path::Scalar, BatchMut::new(&mut data, Layout::nc(1, 1))?)?;
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_in_place_by<T: Element>(&self, path: Path, mut x: BatchMut<'_, T>) -> Result<()> {
        check_features(self.num_features(), x.layout())?;
        path.normalize(&self.affine, x.layout(), None, x.data_mut());
        Ok(())
    }
}
