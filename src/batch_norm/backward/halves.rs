//! The gradients of a training step in two halves, between which shards can be merged: sums, then the inputs' gradients.

use super::means_of;
use crate::batch_norm::BatchNorm;
use crate::batch_norm::checks::check_same;
use crate::exec::OfOutputs;
use crate::gradients::{GradOutput, GradOutputMut, GradientSums, Gradients};
use crate::moments::Workspace;
use crate::spec::backward::Inputs;
use crate::{Batch, BatchMut, Element, Moments, Result};

impl BatchNorm {
    /// Computes the first half of [`BatchNorm::backward_train`]: the sums over the rows of a batch, or of a shard of it.
    /// `moments` are those of the whole batch.
    ///
    /// # Errors
    /// [`Error::Features`] if the batch or the moments have a different number of features from the layer,
    /// [`Error::LayoutMismatch`] if `dy` has a different layout from `x`, [`Error::NoReluOutput`] if the layer applies a
    /// ReLU and `dy` comes without its output.
    ///
    /// [`Error::Features`]: crate::Error::Features
    /// [`Error::LayoutMismatch`]: crate::Error::LayoutMismatch
    /// [`Error::NoReluOutput`]: crate::Error::NoReluOutput
    ///
    /// ```
    /// use batchnorm::{Batch, BatchMut, BatchNorm, Layout, moments};
    ///
    /// // A batch in two shards.
    /// let (layout, bn) = (Layout::nc(2, 1), BatchNorm::new(1).with_eps(0.0)?);
    /// let x = [Batch::new(&[0.0, 2.0], layout)?, Batch::new(&[0.0, 2.0], layout)?];
    /// let dy = [Batch::new(&[1.0, 2.0], layout)?, Batch::new(&[3.0, 4.0], layout)?];
    /// let mut of_all = moments(x[0]);
    /// of_all.merge(&moments(x[1]))?;
    /// let mut sums = bn.backward_sums(&of_all, x[0], dy[0])?;
    /// sums.merge(&bn.backward_sums(&of_all, x[1], dy[1])?)?;
    ///
    /// let mut dx = [0.0; 2];
    /// bn.backward_apply(&of_all, &sums, x[1], dy[1], BatchMut::new(&mut dx, layout)?)?;
    /// assert_eq!((dx, bn.gradients(&of_all, &sums)?.weight()), ([1.0, 1.0], &[2.0][..]));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_sums<'a, T: Element>(
        &self,
        moments: &Moments,
        x: Batch<'_, T>,
        dy: impl Into<GradOutput<'a, T>>,
    ) -> Result<GradientSums> {
        let mut sums = GradientSums::default();
        self.backward_sums_into(moments, x, dy, &mut sums, &mut Workspace::default())?;
        Ok(sums)
    }

    /// Computes the same as [`BatchNorm::backward_sums`], but overwrites existing sums. Reusing them and a workspace,
    /// calls allocate nothing, unless they start work on other threads.
    ///
    /// # Errors
    /// The same as for [`BatchNorm::backward_sums`]. A failed call writes nothing.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchNorm, GradientSums, Layout, Workspace, moments};
    /// let (mut sums, mut workspace) = (GradientSums::default(), Workspace::default());
    /// let x = Batch::new(&[0.0f32, 2.0], Layout::nc(2, 1))?;
    /// BatchNorm::new(1).backward_sums_into(&moments(x), x, x, &mut sums, &mut workspace)?;
    /// assert_eq!(sums.sum_dy_xmu(), [2.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_sums_into<'a, T: Element>(
        &self,
        moments: &Moments,
        x: Batch<'_, T>,
        dy: impl Into<GradOutput<'a, T>>,
        sums: &mut GradientSums,
        workspace: &mut Workspace,
    ) -> Result<()> {
        let dy = dy.into();
        dy.check(self.activation())?;
        self.check_backward(x, dy.layout())?;
        self.check_moments(moments)?;
        let (dy, y) = dy.batches();
        self.sum(means_of(moments), Inputs { dy, x, y }, sums, workspace);
        Ok(())
    }

    /// Computes the second half of [`BatchNorm::backward_train`]: `dx` of a batch, or of a shard of it, from the moments
    /// and the sums of the whole batch.
    ///
    /// # Errors
    /// [`Error::Features`] if the batch, the moments or the sums have a different number of features from the layer,
    /// [`Error::LayoutMismatch`] if `dy` or `dx` has a different layout from `x`, [`Error::Counts`] if the sums are of a
    /// different number of rows from the moments, [`Error::NoReluOutput`] if the layer applies a ReLU and `dy` comes
    /// without its output.
    ///
    /// [`Error::Counts`]: crate::Error::Counts
    /// [`Error::Features`]: crate::Error::Features
    /// [`Error::LayoutMismatch`]: crate::Error::LayoutMismatch
    /// [`Error::NoReluOutput`]: crate::Error::NoReluOutput
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout, moments};
    /// let (layout, mut dx) = (Layout::nc(4, 1), [0.0f64; 4]);
    /// let (x, dy) = (Batch::new(&[0.0, 2.0, 0.0, 2.0], layout)?, Batch::new(&[1.0, 2.0, 3.0, 4.0], layout)?);
    /// let (bn, m) = (BatchNorm::new(1).with_eps(0.0)?, moments(x));
    /// bn.backward_apply(&m, &bn.backward_sums(&m, x, dy)?, x, dy, BatchMut::new(&mut dx, layout)?)?;
    /// assert_eq!(dx, [-1.0, -1.0, 1.0, 1.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_apply<'a, T: Element>(
        &self,
        moments: &Moments,
        sums: &GradientSums,
        x: Batch<'_, T>,
        dy: impl Into<GradOutput<'a, T>>,
        dx: BatchMut<'_, T>,
    ) -> Result<()> {
        let dy = dy.into();
        dy.check(self.activation())?;
        self.check_backward(x, dy.layout())?;
        check_same(x.layout(), dx.layout())?;
        let of_inputs = self.input_gradients::<T>(moments, sums)?;
        let (dy, y) = dy.batches();
        let of_outputs = OfOutputs { dy: Some(dy), y };
        self.path.input_gradient(&of_inputs, self.precision, of_outputs, x, dx);
        Ok(())
    }

    /// Computes the same as [`BatchNorm::backward_apply`], but replaces `dy` by `dx`.
    ///
    /// # Errors
    /// The same as for [`BatchNorm::backward_apply`].
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout, moments};
    /// let (layout, mut dy) = (Layout::nc(2, 1), [1.0f64, 2.0]);
    /// let x = Batch::new(&[0.0, 2.0], layout)?;
    /// let (bn, m) = (BatchNorm::new(1).with_eps(0.0)?, moments(x));
    /// let sums = bn.backward_sums(&m, x, Batch::new(&dy, layout)?)?;
    /// bn.backward_apply_in_place(&m, &sums, x, BatchMut::new(&mut dy, layout)?)?;
    /// assert_eq!(dy, [0.0, 0.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_apply_in_place<'a, T: Element>(
        &self,
        moments: &Moments,
        sums: &GradientSums,
        x: Batch<'_, T>,
        dy: impl Into<GradOutputMut<'a, T>>,
    ) -> Result<()> {
        let mut dy = dy.into();
        dy.check(self.activation())?;
        self.check_backward(x, dy.layout())?;
        let of_inputs = self.input_gradients::<T>(moments, sums)?;
        let (dy, y) = dy.batches();
        self.path.input_gradient(&of_inputs, self.precision, OfOutputs { dy: None, y }, x, dy);
        Ok(())
    }

    /// Returns the gradients with respect to weight and bias that follow from sums: of a whole batch, or the share of a
    /// shard.
    ///
    /// # Errors
    /// [`Error::Features`] if the moments or the sums have a different number of features from the layer.
    ///
    /// [`Error::Features`]: crate::Error::Features
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchNorm, Layout, moments};
    /// let x = Batch::new(&[0.0, 2.0], Layout::nc(2, 1))?;
    /// let (bn, m) = (BatchNorm::new(1).with_eps(0.0)?, moments(x));
    /// assert_eq!(bn.gradients(&m, &bn.backward_sums(&m, x, x)?)?.weight(), [2.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn gradients(&self, moments: &Moments, sums: &GradientSums) -> Result<Gradients> {
        self.check_moments(moments)?;
        self.check_sums(sums)?;
        let mut gradients = Gradients::default();
        self.set_inverse_deviations(moments, &mut gradients.scratch.inverse_deviation);
        gradients.set(sums);
        Ok(gradients)
    }
}
