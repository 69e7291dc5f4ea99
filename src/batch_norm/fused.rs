//! What a layer does to normalised values in the same pass: a residual to add, and an activation.

use super::checks::{check_features, check_same};
use super::{BatchNorm, Inference};
use crate::{Activation, Batch, BatchMut, Element, Result};

impl BatchNorm {
    /// Sets the activation of the outputs (default: [`Activation::None`]), in training and evaluation;
    /// [`BatchNorm::to_inference`] passes it on. The statistics are those of the inputs, as without it.
    ///
    /// ```
    /// # use batchnorm::{Activation, BatchNorm};
    /// let bn = BatchNorm::new(1).with_activation(Activation::Relu);
    /// assert_eq!(bn.to_inference().activation(), Activation::Relu);
    /// ```
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.normalization.activation = activation;
        self.changed();
        self
    }

    /// Returns the activation of the outputs.
    ///
    /// ```
    /// # use batchnorm::{Activation, BatchNorm};
    /// assert_eq!(BatchNorm::new(1).activation(), Activation::None);
    /// ```
    pub fn activation(&self) -> Activation {
        self.normalization.activation
    }

    /// Trains on a batch like [`BatchNorm::forward_train`], and adds a residual: `y = activation(normalised +
    /// residual)`, as at the end of a block of ResNet.
    ///
    /// The outputs have the bits of the separate steps: normalise and store, add, apply the activation. `residual` has
    /// the layout of `x`; the statistics do not depend on it.
    ///
    /// # Errors
    /// As for [`BatchNorm::forward_train`], and [`Error::LayoutMismatch`](crate::Error::LayoutMismatch) if `residual`
    /// has a different layout from `x`.
    ///
    /// ```
    /// # use batchnorm::{Activation, Batch, BatchMut, BatchNorm, Layout};
    /// let (layout, mut y) = (Layout::nc(2, 1), [0.0f32; 2]);
    /// let (x, residual) = (Batch::new(&[1.0f32, 3.0], layout)?, Batch::new(&[0.5f32, 0.5], layout)?);
    /// let mut bn = BatchNorm::new(1).with_eps(0.0)?.with_activation(Activation::Relu);
    /// bn.forward_train_add(x, residual, BatchMut::new(&mut y, layout)?)?;
    /// assert_eq!(y, [0.0, 1.5]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_train_add<T: Element>(
        &mut self,
        x: Batch<'_, T>,
        residual: Batch<'_, T>,
        y: BatchMut<'_, T>,
    ) -> Result<()> {
        let layout = x.layout();
        check_features(self.num_features, layout)?;
        check_same(layout, residual.layout())?;
        check_same(layout, y.layout())?;
        self.train(Some(x), Some(residual), y)
    }

    /// Trains on a batch like [`BatchNorm::forward_train_add`], but in place: `x` becomes the output.
    ///
    /// # Errors
    /// As for [`BatchNorm::forward_train_add`].
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let (layout, mut data) = (Layout::nc(2, 1), [1.0f64, 3.0]);
    /// let mut bn = BatchNorm::new(1).with_eps(0.0)?;
    /// bn.forward_train_add_in_place(BatchMut::new(&mut data, layout)?, Batch::new(&[0.5, 0.25], layout)?)?;
    /// assert_eq!(data, [-0.5, 1.25]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_train_add_in_place<T: Element>(&mut self, x: BatchMut<'_, T>, residual: Batch<'_, T>) -> Result<()> {
        let layout = x.layout();
        check_features(self.num_features, layout)?;
        check_same(layout, residual.layout())?;
        self.train(None, Some(residual), x)
    }

    /// Evaluates a batch like [`BatchNorm::forward_eval`], and adds a residual: `y = activation(normalised +
    /// residual)`. See [`Inference::forward_add`].
    ///
    /// # Errors
    /// As for [`Inference::forward_add`].
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let (layout, mut y) = (Layout::nc(1, 1), [0.0f32]);
    /// let (x, residual) = (Batch::new(&[5.0f32], layout)?, Batch::new(&[2.0f32], layout)?);
    /// BatchNorm::new(1).with_eps(0.0)?.forward_eval_add(x, residual, BatchMut::new(&mut y, layout)?)?;
    /// assert_eq!(y, [7.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_eval_add<T: Element>(
        &self,
        x: Batch<'_, T>,
        residual: Batch<'_, T>,
        y: BatchMut<'_, T>,
    ) -> Result<()> {
        match self.inference() {
            Some(inference) => inference.forward_add(x, residual, y),
            None => self.batch_inference(x)?.forward_add(x, residual, y),
        }
    }

    /// Evaluates a batch like [`BatchNorm::forward_eval_add`], but in place: `x` becomes the output.
    ///
    /// # Errors
    /// As for [`Inference::forward_add`].
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let (layout, mut data) = (Layout::nc(1, 1), [5.0f64]);
    /// let bn = BatchNorm::new(1).with_eps(0.0)?;
    /// bn.forward_eval_add_in_place(BatchMut::new(&mut data, layout)?, Batch::new(&[2.0], layout)?)?;
    /// assert_eq!(data, [7.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_eval_add_in_place<T: Element>(&self, x: BatchMut<'_, T>, residual: Batch<'_, T>) -> Result<()> {
        match self.inference() {
            Some(inference) => inference.forward_add_in_place(x, residual),
            None => self.batch_inference(x.as_batch())?.forward_add_in_place(x, residual),
        }
    }
}

impl Inference {
    /// Sets the activation of the outputs (default: that of the layer, which is [`Activation::None`] unless it was
    /// changed).
    ///
    /// ```
    /// # use batchnorm::{Activation, Batch, BatchMut, BatchNorm, Layout};
    /// let norm = BatchNorm::new(1).with_eps(0.0)?.to_inference().with_activation(Activation::Relu);
    /// let (layout, mut y) = (Layout::nc(2, 1), [0.0f32; 2]);
    /// norm.forward(Batch::new(&[-5.0f32, 5.0], layout)?, BatchMut::new(&mut y, layout)?)?;
    /// assert_eq!(y, [0.0, 5.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.normalization.activation = activation;
        self
    }

    /// Returns the activation of the outputs.
    ///
    /// ```
    /// # use batchnorm::{Activation, BatchNorm};
    /// assert_eq!(BatchNorm::new(1).to_inference().activation(), Activation::None);
    /// ```
    pub fn activation(&self) -> Activation {
        self.normalization.activation
    }

    /// Normalises `x` like [`Inference::forward`], and adds a residual: `y = activation(normalised + residual)`, as at
    /// the end of a block of ResNet.
    ///
    /// The outputs have the bits of the separate steps: normalise and store, add, apply the activation. `residual` has
    /// the layout of `x`.
    ///
    /// # Errors
    /// [`Error::Features`](crate::Error::Features) if the batch has a different number of features from the layer,
    /// [`Error::LayoutMismatch`](crate::Error::LayoutMismatch) if `residual` or `y` has a different layout from `x`.
    ///
    /// ```
    /// # use batchnorm::{Activation, Batch, BatchMut, BatchNorm, Layout};
    /// let norm = BatchNorm::new(1).with_eps(0.0)?.to_inference().with_activation(Activation::Relu);
    /// let (layout, mut y) = (Layout::nc(2, 1), [0.0f32; 2]);
    /// let (x, residual) = (Batch::new(&[-5.0f32, 5.0], layout)?, Batch::new(&[6.0f32, -6.0], layout)?);
    /// norm.forward_add(x, residual, BatchMut::new(&mut y, layout)?)?;
    /// assert_eq!(y, [1.0, 0.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_add<T: Element>(&self, x: Batch<'_, T>, residual: Batch<'_, T>, y: BatchMut<'_, T>) -> Result<()> {
        let layout = x.layout();
        check_features(self.num_features(), layout)?;
        check_same(layout, residual.layout())?;
        check_same(layout, y.layout())?;
        self.path.normalize(&self.normalization, self.precision, Some(x), Some(residual), y);
        Ok(())
    }

    /// Normalises a batch like [`Inference::forward_add`], but in place: `x` becomes the output.
    ///
    /// # Errors
    /// As for [`Inference::forward_add`].
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let (layout, mut data) = (Layout::nc(1, 1), [5.0f64]);
    /// let norm = BatchNorm::new(1).with_eps(0.0)?.to_inference();
    /// norm.forward_add_in_place(BatchMut::new(&mut data, layout)?, Batch::new(&[2.0], layout)?)?;
    /// assert_eq!(data, [7.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_add_in_place<T: Element>(&self, x: BatchMut<'_, T>, residual: Batch<'_, T>) -> Result<()> {
        let layout = x.layout();
        check_features(self.num_features(), layout)?;
        check_same(layout, residual.layout())?;
        self.path.normalize(&self.normalization, self.precision, None, Some(residual), x);
        Ok(())
    }
}
