//! The backward pass.

use batchnorm::{Activation, Batch, BatchMut, Element, GradOutput, GradientSums, Gradients, Moments};
use mpi::traits::Communicator;

use super::{Able, SyncBatchNorm, check_layout, part};
use crate::error::{Error, Result};
use crate::header::{Call, Header};
use crate::plan::Shape;

impl<C: Communicator> SyncBatchNorm<'_, C> {
    /// Computes the gradients of a training step: `dx` of this rank's shard, and those of weight and bias of the whole
    /// batch, the same bits on every rank. (So they must not be added up over ranks again.) Collective.
    ///
    /// `moments` are those of the whole batch, [`BatchNorm::batch_moments`](batchnorm::BatchNorm::batch_moments) after
    /// the forward pass; `dy` is the gradient with respect to this rank's outputs. The formulas are those of
    /// [`BatchNorm::backward_train`](batchnorm::BatchNorm::backward_train).
    ///
    /// # Errors
    /// [`Error::Rank`] if `x` or the moments of a rank have a different number of features from the layer, if `dy` or `dx`
    /// has a different layout from `x`, or if the layer applies a ReLU (then it is
    /// [`SyncBatchNorm::backward_train_through_relu`]). [`Error::Disagreement`] if the ranks make different calls or have
    /// different element types, options or moments. [`Error::Layer`] if the moments are of a different number of values
    /// from the shards ([`Counts`](batchnorm::Error::Counts)). Each is the same on all ranks, and nothing is written.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// # use mpi::traits::Communicator;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// let (layout, mut y, mut dx) = (Layout::nc(4, 1), [0.0f64; 4], [0.0; 4]);
    /// // The same four rows on every rank.
    /// let (x, dy) = (Batch::new(&[0.0, 2.0, 0.0, 2.0], layout)?, Batch::new(&[1.0, 2.0, 3.0, 4.0], layout)?);
    /// let mut bn = batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(1).with_eps(0.0)?, world);
    /// bn.forward_train(x, BatchMut::new(&mut y, layout)?)?;
    /// let gradients = bn.backward_train(bn.layer().batch_moments(), x, dy, BatchMut::new(&mut dx, layout)?)?;
    /// assert_eq!(dx, [-1.0, -1.0, 1.0, 1.0]);
    /// assert_eq!(gradients.bias(), [10.0 * f64::from(world.size())]);
    /// # Ok::<(), batchnorm_mpi::Error>(())
    /// # }) }
    /// ```
    pub fn backward_train<T: Element>(
        &self,
        moments: &Moments,
        x: Batch<'_, T>,
        dy: Batch<'_, T>,
        dx: BatchMut<'_, T>,
    ) -> Result<Gradients> {
        let able = match self.bn.activation() {
            Activation::Relu => Err("the layer applies a ReLU, so call backward_train_through_relu".into()),
            _ => Ok(()),
        };
        self.backward(moments, x, dy, None, dx, able)
    }

    /// Computes the gradients of a training step like [`SyncBatchNorm::backward_train`], through a ReLU. `y` are the
    /// outputs of that ReLU: a gradient counts as 0 where `y <= 0`.
    ///
    /// # Errors
    /// As for [`SyncBatchNorm::backward_train`], and [`Error::Rank`] if `y` has a different layout from `x`.
    ///
    /// ```
    /// # use batchnorm::{Activation, Batch, BatchMut, BatchNorm, Layout};
    /// # use mpi::traits::Communicator;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// let (layout, mut y, mut dx) = (Layout::nc(2, 1), [0.0f64; 2], [0.0; 2]);
    /// let (x, dy) = (Batch::new(&[0.0, 2.0], layout)?, Batch::new(&[1.0, 3.0], layout)?);
    /// let bn = BatchNorm::new(1).with_activation(Activation::Relu);
    /// let mut bn = batchnorm_mpi::SyncBatchNorm::new(bn, world);
    /// bn.forward_train(x, BatchMut::new(&mut y, layout)?)?;
    /// let (y, moments) = (Batch::new(&y, layout)?, bn.layer().batch_moments());
    /// let gradients = bn.backward_train_through_relu(moments, x, dy, y, BatchMut::new(&mut dx, layout)?)?;
    /// assert_eq!(gradients.bias(), [3.0 * f64::from(world.size())]);
    /// # Ok::<(), batchnorm_mpi::Error>(())
    /// # }) }
    /// ```
    pub fn backward_train_through_relu<T: Element>(
        &self,
        moments: &Moments,
        x: Batch<'_, T>,
        dy: Batch<'_, T>,
        y: Batch<'_, T>,
        dx: BatchMut<'_, T>,
    ) -> Result<Gradients> {
        self.backward(moments, x, dy, Some(y), dx, check_layout("y", y.layout(), x.layout()))
    }

    fn backward<T: Element>(
        &self,
        moments: &Moments,
        x: Batch<'_, T>,
        dy: Batch<'_, T>,
        y: Option<Batch<'_, T>>,
        dx: BatchMut<'_, T>,
        able: Able,
    ) -> Result<Gradients> {
        let able = able
            .and_then(|()| self.check_features("batch has", x.layout().features()))
            .and_then(|()| self.check_features("moments have", moments.num_features()))
            .and_then(|()| check_layout("dy", dy.layout(), x.layout()))
            .and_then(|()| check_layout("dx", dx.layout(), x.layout()));
        let call = Call::BackwardTrain;
        let header = Header::new(call).with_options(&self.bn).with_element::<T>().with_shape(Shape::of(x.layout()));
        let meeting = self.exchange.meet(call, header.with_moments(moments), able)?;

        let sum = |node| {
            let blocks = || meeting.blocks(&node);
            let dy = through(part(dy, blocks()), y.map(|y| part(y, blocks())))?;
            self.bn.backward_sums(moments, part(x, blocks()), dy)
        };
        let parts = meeting.nodes().into_iter().map(sum).collect::<batchnorm::Result<Vec<GradientSums>>>();
        let parts = parts.expect("features and layouts fit");
        let sums = self.exchange.merge(&meeting, &parts.iter().collect::<Vec<_>>())?;
        // From here on nothing can fail on one rank alone.
        let gradients = self.bn.gradients(moments, &sums).map_err(Error::Layer)?;
        let dy = through(dy, y).map_err(Error::Layer)?;
        self.bn.backward_apply(moments, &sums, x, dy, dx).map_err(Error::Layer)?;
        Ok(gradients)
    }
}

/// Returns the gradients with respect to the outputs, through a ReLU if there is one.
fn through<'a, T>(dy: Batch<'a, T>, y: Option<Batch<'a, T>>) -> batchnorm::Result<GradOutput<'a, T>> {
    match y {
        Some(y) => GradOutput::through_relu(dy, y),
        None => Ok(GradOutput::from(dy)),
    }
}
