//! Evaluation alone, with everything that does not depend on the batch computed beforehand.

use std::fmt;

use super::{check_features, check_same};
use crate::kernels::map::Parameters;
use crate::{Batch, BatchMut, Element, Path, Result};

/// A layer as evaluation applies it: scale and shift of each feature, computed once. Calls allocate nothing.
///
/// Made by [`crate::BatchNorm::to_inference`]. `Send`, `Sync` and immutable: one serves all threads.
///
/// `==` compares what values are normalised by, bit for bit, but for NaN, which equals NaN; not the path, on which no result
/// depends.
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
    parameters: Parameters<f64, 3>,
    path: Path,
}

impl Inference {
    pub(super) fn new(parameters: Parameters<f64, 3>, path: Path) -> Self {
        Inference { parameters, path }
    }

    /// How to compute; the layer's own path otherwise. Results are the same bits.
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

    /// How this object computes.
    ///
    /// ```
    /// # use batchnorm::{BatchNorm, Path};
    /// assert_eq!(BatchNorm::new(1).to_inference().path(), Path::Auto);
    /// ```
    pub fn path(&self) -> Path {
        self.path
    }

    /// Features of the layer.
    ///
    /// ```
    /// assert_eq!(batchnorm::BatchNorm::new(7).to_inference().num_features(), 7);
    /// ```
    pub fn num_features(&self) -> usize {
        self.parameters.features()
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
    pub fn forward<T: Element>(&self, x: Batch<'_, T>, mut y: BatchMut<'_, T>) -> Result<()> {
        check_features(self.num_features(), x.layout())?;
        check_same(x.layout(), y.layout())?;
        self.path.normalize(&self.parameters, x.layout(), Some(x.data()), y.data_mut());
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
    pub fn forward_in_place<T: Element>(&self, mut x: BatchMut<'_, T>) -> Result<()> {
        check_features(self.num_features(), x.layout())?;
        self.path.normalize(&self.parameters, x.layout(), None, x.data_mut());
        Ok(())
    }
}

impl PartialEq for Inference {
    fn eq(&self, other: &Self) -> bool {
        self.parameters == other.parameters
    }
}

/// No parameters; there may be many.
impl fmt::Debug for Inference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inference")
            .field("num_features", &self.num_features())
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
