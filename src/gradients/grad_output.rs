//! The gradients with respect to the outputs, which the backward pass starts from.

use core::fmt;

use crate::error::check_same;
use crate::{Activation, Batch, BatchMut, Error, Layout, Result};

/// The gradient of the loss with respect to each output of a layer: PyTorch's `grad_output`. A [`Batch`] converts into
/// it by itself; [`GradOutput::through_relu`] adds the output of a ReLU that followed the layer.
///
/// ```
/// use batchnorm::{Batch, GradOutput, Layout};
///
/// let layout = Layout::nc(3, 1);
/// let dy = Batch::new(&[1.0f32, 2.0, 3.0], layout)?;
/// let y = Batch::new(&[0.5f32, 0.0, 2.0], layout)?; // what the ReLU returned
/// let through = GradOutput::through_relu(dy, y)?; // counts as 1, 0, 3
/// assert_eq!(through.layout(), layout);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy)]
#[must_use]
pub struct GradOutput<'a, T> {
    dy: Batch<'a, T>,
    y: Option<Batch<'a, T>>,
}

/// Gradients with respect to the outputs, to be replaced by those with respect to the inputs: [`GradOutput`] for the
/// calls that work in place. A [`BatchMut`] converts into it by itself.
///
/// ```
/// use batchnorm::{Batch, BatchMut, GradOutputMut, Layout};
///
/// let layout = Layout::nc(3, 1);
/// let mut dy = [1.0f32, 2.0, 3.0];
/// let y = Batch::new(&[0.5f32, 0.0, 2.0], layout)?;
/// let through = GradOutputMut::through_relu(BatchMut::new(&mut dy, layout)?, y)?;
/// assert_eq!(through.layout(), layout);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[must_use]
pub struct GradOutputMut<'a, T> {
    dy: BatchMut<'a, T>,
    y: Option<Batch<'a, T>>,
}

impl<'a, T> GradOutput<'a, T> {
    /// Takes the gradients with respect to the outputs of a ReLU, and these outputs, `y`. A gradient counts as 0 where
    /// `y <= 0`; it passes where `y` is positive or NaN, as in PyTorch.
    ///
    /// # Errors
    /// [`Error::LayoutMismatch`] if `y` has a different layout from `dy`.
    ///
    /// ```
    /// # use batchnorm::{Batch, GradOutput, Layout};
    /// let y = Batch::new(&[0.5f32, 0.0, 2.0], Layout::nc(3, 1))?;
    /// assert!(GradOutput::through_relu(Batch::new(&[1.0f32; 3], Layout::nc(3, 1))?, y).is_ok());
    /// assert!(GradOutput::through_relu(Batch::new(&[1.0f32; 3], Layout::nc(1, 3))?, y).is_err());
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn through_relu(dy: Batch<'a, T>, y: Batch<'a, T>) -> Result<Self> {
        check_same(y.layout(), dy.layout())?;
        Ok(GradOutput { dy, y: Some(y) })
    }

    /// Returns an error if the layer applies a ReLU, the output of which is not here.
    pub(crate) fn check(&self, activation: Activation) -> Result<()> {
        if activation == Activation::Relu && self.y.is_none() { Err(Error::NoReluOutput) } else { Ok(()) }
    }

    /// Returns the layout.
    ///
    /// ```
    /// # use batchnorm::{Batch, GradOutput, Layout};
    /// let dy = GradOutput::from(Batch::new(&[1.0f32, 2.0], Layout::nc(2, 1))?);
    /// assert_eq!(dy.layout(), Layout::nc(2, 1));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn layout(&self) -> Layout {
        self.dy.layout()
    }

    /// Returns the gradients and the output of the ReLU.
    pub(crate) fn batches(&self) -> (Batch<'a, T>, Option<Batch<'a, T>>) {
        (self.dy, self.y)
    }
}

impl<'a, T> GradOutputMut<'a, T> {
    /// Takes the gradients with respect to the outputs of a ReLU, and these outputs: see [`GradOutput::through_relu`].
    ///
    /// # Errors
    /// [`Error::LayoutMismatch`] if `y` has a different layout from `dy`.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, GradOutputMut, Layout};
    /// let (layout, mut dy) = (Layout::nc(2, 1), [1.0f32, 2.0]);
    /// let y = Batch::new(&[0.5f32, 0.0], layout)?;
    /// assert!(GradOutputMut::through_relu(BatchMut::new(&mut dy, layout)?, y).is_ok());
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn through_relu(dy: BatchMut<'a, T>, y: Batch<'a, T>) -> Result<Self> {
        check_same(y.layout(), dy.layout())?;
        Ok(GradOutputMut { dy, y: Some(y) })
    }

    /// Returns an error if the layer applies a ReLU, the output of which is not here.
    pub(crate) fn check(&self, activation: Activation) -> Result<()> {
        if activation == Activation::Relu && self.y.is_none() { Err(Error::NoReluOutput) } else { Ok(()) }
    }

    /// Returns the layout.
    ///
    /// ```
    /// # use batchnorm::{BatchMut, GradOutputMut, Layout};
    /// let mut dy = [1.0f32, 2.0];
    /// assert_eq!(GradOutputMut::from(BatchMut::new(&mut dy, Layout::nc(2, 1))?).layout(), Layout::nc(2, 1));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn layout(&self) -> Layout {
        self.dy.layout()
    }

    /// Returns the gradients to replace and the output of the ReLU.
    pub(crate) fn batches(&mut self) -> (BatchMut<'_, T>, Option<Batch<'a, T>>) {
        (self.dy.reborrow(), self.y)
    }
}

impl<'a, T> From<Batch<'a, T>> for GradOutput<'a, T> {
    fn from(dy: Batch<'a, T>) -> Self {
        GradOutput { dy, y: None }
    }
}

impl<'a, T> From<BatchMut<'a, T>> for GradOutputMut<'a, T> {
    fn from(dy: BatchMut<'a, T>) -> Self {
        GradOutputMut { dy, y: None }
    }
}

/// Prints the layout only, because a batch may be large.
impl<T> fmt::Debug for GradOutput<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GradOutput").field("layout", &self.layout()).finish_non_exhaustive()
    }
}

/// Prints the layout only, because a batch may be large.
impl<T> fmt::Debug for GradOutputMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GradOutputMut").field("layout", &self.layout()).finish_non_exhaustive()
    }
}
