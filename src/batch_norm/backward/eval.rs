//! The gradients of an evaluation, where the running statistics are constants.

use crate::batch_norm::checks::{check_features, check_same};
use crate::batch_norm::{BatchNorm, Inference};
use crate::exec::OfOutputs;
use crate::gradients::{GradOutput, GradOutputMut, Gradients};
use crate::spec::backward::Inputs;
use crate::{Batch, BatchMut, Element, Error, Result};

impl BatchNorm {
    /// Computes the gradients of an evaluation, where the running statistics are constants:
    ///
    /// ```text
    /// bias   = sum(dy)
    /// weight = sum(dy * (x - running_mean)) / sqrt(running_var + eps)
    /// dx     = dy * weight / sqrt(running_var + eps)
    /// ```
    ///
    /// To leave out `dx`, call [`BatchNorm::backward_eval_parameters`]; to leave out the others, so that nothing is
    /// summed and `x` is not needed, [`BatchNorm::backward_eval_input`].
    ///
    /// # Errors
    /// [`Error::Features`] if the batch has a different number of features from the layer, [`Error::LayoutMismatch`] if
    /// `dy` or `dx` has a different layout from `x`, [`Error::NoReluOutput`] if the layer applies a ReLU and `dy` comes
    /// without its output, [`Error::NoRunningStats`] if the layer has no running statistics: evaluation then normalises by
    /// the batch's own, and [`BatchNorm::backward_train`] is its backward pass.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let (layout, mut dx) = (Layout::nc(2, 1), [0.0f64; 2]);
    /// let (x, dy) = (Batch::new(&[5.0, 7.0], layout)?, Batch::new(&[1.0, 2.0], layout)?);
    /// let mut bn = BatchNorm::new(1).with_eps(0.0)?;
    /// bn.set_running_var(&[4.0])?;
    /// let gradients = bn.backward_eval(x, dy, BatchMut::new(&mut dx, layout)?)?;
    /// assert_eq!((gradients.weight(), gradients.bias(), dx), (&[9.5][..], &[3.0][..], [0.5, 1.0]));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_eval<'a, T: Element>(
        &self,
        x: Batch<'_, T>,
        dy: impl Into<GradOutput<'a, T>>,
        dx: BatchMut<'_, T>,
    ) -> Result<Gradients> {
        let mut gradients = Gradients::default();
        self.backward_eval_into(x, dy, dx, &mut gradients)?;
        Ok(gradients)
    }

    /// Computes the same as [`BatchNorm::backward_eval`], but replaces `dy` by `dx`.
    ///
    /// # Errors
    /// The same as for [`BatchNorm::backward_eval`].
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let (layout, mut dy) = (Layout::nc(2, 1), [1.0f64, 2.0]);
    /// let x = Batch::new(&[5.0, 7.0], layout)?;
    /// let bn = BatchNorm::new(1).with_eps(0.0)?;
    /// assert_eq!(bn.backward_eval_in_place(x, BatchMut::new(&mut dy, layout)?)?.weight(), [19.0]);
    /// assert_eq!(dy, [1.0, 2.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_eval_in_place<'a, T: Element>(
        &self,
        x: Batch<'_, T>,
        dy: impl Into<GradOutputMut<'a, T>>,
    ) -> Result<Gradients> {
        let mut dy = dy.into();
        dy.check(self.activation())?;
        let inference = self.inference().ok_or(Error::NoRunningStats)?;
        self.check_backward(x, dy.layout())?;
        let mut gradients = Gradients::default();
        let (dy, y) = dy.batches();
        self.sum_for_eval(Inputs { dy: dy.as_batch(), x, y }, &mut gradients);
        inference.backward_values(OfOutputs { dy: None, y }, dy);
        Ok(gradients)
    }

    /// Computes the same as [`BatchNorm::backward_eval`], but overwrites an existing [`Gradients`]: see
    /// [`BatchNorm::backward_train_into`].
    ///
    /// # Errors
    /// The same as for [`BatchNorm::backward_eval`]. A failed call writes nothing.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Gradients, Layout};
    /// let (layout, mut dx, mut gradients) = (Layout::nc(2, 1), [0.0f64; 2], Gradients::default());
    /// let (x, dy) = (Batch::new(&[5.0, 7.0], layout)?, Batch::new(&[1.0, 2.0], layout)?);
    /// BatchNorm::new(1).backward_eval_into(x, dy, BatchMut::new(&mut dx, layout)?, &mut gradients)?;
    /// assert_eq!(gradients.bias(), [3.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_eval_into<'a, T: Element>(
        &self,
        x: Batch<'_, T>,
        dy: impl Into<GradOutput<'a, T>>,
        dx: BatchMut<'_, T>,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let dy = dy.into();
        dy.check(self.activation())?;
        let inference = self.inference().ok_or(Error::NoRunningStats)?;
        self.check_backward(x, dy.layout())?;
        check_same(x.layout(), dx.layout())?;
        let (dy, y) = dy.batches();
        self.sum_for_eval(Inputs { dy, x, y }, gradients);
        inference.backward_values(OfOutputs { dy: Some(dy), y }, dx);
        Ok(())
    }

    /// Returns the gradients of an evaluation with respect to weight and bias alone: see [`BatchNorm::backward_eval`].
    ///
    /// # Errors
    /// [`Error::Features`] if the batch has a different number of features from the layer, [`Error::LayoutMismatch`] if
    /// `dy` has a different layout from `x`, [`Error::NoReluOutput`] if the layer applies a ReLU and `dy` comes without
    /// its output, [`Error::NoRunningStats`] if the layer has no running statistics.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchNorm, Layout};
    /// let layout = Layout::nc(2, 1);
    /// let (x, dy) = (Batch::new(&[5.0, 7.0], layout)?, Batch::new(&[1.0, 2.0], layout)?);
    /// assert_eq!(BatchNorm::new(1).with_eps(0.0)?.backward_eval_parameters(x, dy)?.weight(), [19.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_eval_parameters<'a, T: Element>(
        &self,
        x: Batch<'_, T>,
        dy: impl Into<GradOutput<'a, T>>,
    ) -> Result<Gradients> {
        let dy = dy.into();
        dy.check(self.activation())?;
        self.inference().ok_or(Error::NoRunningStats)?;
        self.check_backward(x, dy.layout())?;
        let mut gradients = Gradients::default();
        let (dy, y) = dy.batches();
        self.sum_for_eval(Inputs { dy, x, y }, &mut gradients);
        Ok(gradients)
    }

    /// Computes the gradient of an evaluation with respect to the inputs alone: see [`Inference::backward`].
    ///
    /// # Errors
    /// The same as for [`Inference::backward`].
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let (layout, mut dx) = (Layout::nc(2, 1), [0.0f64; 2]);
    /// let bn = BatchNorm::new(1).with_eps(0.0)?;
    /// bn.backward_eval_input(Batch::new(&[1.0, 2.0], layout)?, BatchMut::new(&mut dx, layout)?)?;
    /// assert_eq!(dx, [1.0, 2.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_eval_input<'a, T: Element>(
        &self,
        dy: impl Into<GradOutput<'a, T>>,
        dx: BatchMut<'_, T>,
    ) -> Result<()> {
        self.inference().ok_or(Error::NoRunningStats)?.backward(dy, dx)
    }
}

impl Inference {
    /// Computes the gradient with respect to the inputs: `dx = dy * weight / sqrt(running_var + eps)`, in f64 for either
    /// element type, rounded once. Mean and variance are constants, so nothing is summed and the inputs are not needed.
    /// (For the gradients of weight and bias, see [`BatchNorm::backward_eval`].)
    ///
    /// # Errors
    /// [`Error::Features`] if the batch has a different number of features from the layer, [`Error::LayoutMismatch`] if
    /// `dx` has a different layout from `dy`, [`Error::NoReluOutput`] if a ReLU is applied and `dy` comes without its
    /// output.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let (layout, mut dx) = (Layout::nc(2, 1), [0.0f64; 2]);
    /// let norm = BatchNorm::new(1).with_eps(3.0)?.to_inference();
    /// norm.backward(Batch::new(&[1.0, 2.0], layout)?, BatchMut::new(&mut dx, layout)?)?;
    /// assert_eq!(dx, [0.5, 1.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward<'a, T: Element>(&self, dy: impl Into<GradOutput<'a, T>>, dx: BatchMut<'_, T>) -> Result<()> {
        let dy = dy.into();
        dy.check(self.activation())?;
        check_features(self.num_features(), dy.layout())?;
        check_same(dy.layout(), dx.layout())?;
        let (of_outputs, y) = dy.batches();
        self.backward_values(OfOutputs { dy: Some(of_outputs), y }, dx);
        Ok(())
    }

    /// Computes the same as [`Inference::backward`], but replaces `dy` by `dx`.
    ///
    /// # Errors
    /// [`Error::Features`] if the batch has a different number of features from the layer, [`Error::NoReluOutput`] if a
    /// ReLU is applied and `dy` comes without its output.
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, Layout};
    /// let mut dy = [1.0f64, 2.0];
    /// let norm = BatchNorm::new(1).with_eps(3.0)?.to_inference();
    /// norm.backward_in_place(BatchMut::new(&mut dy, Layout::nc(2, 1))?)?;
    /// assert_eq!(dy, [0.5, 1.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_in_place<'a, T: Element>(&self, dy: impl Into<GradOutputMut<'a, T>>) -> Result<()> {
        let mut dy = dy.into();
        let layout = dy.layout();
        dy.check(self.activation())?;
        check_features(self.num_features(), layout)?;
        let (dx, y) = dy.batches();
        self.backward_values(OfOutputs { dy: None, y }, dx);
        Ok(())
    }

    fn backward_values<T: Element>(&self, of_outputs: OfOutputs<'_, T>, dx: BatchMut<'_, T>) {
        self.path().scaled_gradient(self.normalization(), of_outputs, dx);
    }
}
