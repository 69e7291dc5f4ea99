//! Calls of the crate: from one batch to another, or in place.

use batchnorm::{Batch, BatchMut, BatchNorm, GradOutput, Gradients, Layout, Moments, Result};
use burn::backend::flex::{FlexTensor, Layout as FlexLayout};
use burn::tensor::Bytes;

use super::checked;
use super::memory::{Float, with_float};

/// A call that makes one batch of another.
pub(super) trait Kernel {
    fn run<T: Float>(self, from: Batch<'_, T>, to: BatchMut<'_, T>) -> Result<()>;
    fn run_in_place<T: Float>(self, batch: BatchMut<'_, T>) -> Result<()>;
}

/// Runs a kernel on a contiguous tensor: in place, unless somebody else holds its values.
pub(super) fn map(mut from: FlexTensor, layout: Layout, kernel: impl Kernel) -> FlexTensor {
    let (start, end) = from.layout().contiguous_offsets().expect("a contiguous tensor");
    with_float!(from.dtype(), T => {
        if let Some(values) = from.try_storage_mut::<T>() {
            checked(BatchMut::new(&mut values[start..end], layout).and_then(|batch| kernel.run_in_place(batch)));
            return from;
        }
        let mut to = vec![<T as batchnorm::Element>::from_f64(0.0); end - start];
        let values = &from.storage::<T>()[start..end];
        checked(Batch::new(values, layout).and_then(|from| kernel.run(from, BatchMut::new(&mut to, layout)?)));
        FlexTensor::new(Bytes::from_elems(to), FlexLayout::contiguous(from.layout().shape().clone()), from.dtype())
    })
}

/// Returns a contiguous tensor as a batch.
fn batch<T: Float>(tensor: &FlexTensor, layout: Layout) -> Result<Batch<'_, T>> {
    Batch::new(tensor.as_slice::<T>().expect("a contiguous tensor, of one type with its gradient"), layout)
}

/// Inference.
pub(super) struct Evaluate<'a>(pub(super) &'a BatchNorm);

impl Kernel for Evaluate<'_> {
    fn run<T: Float>(self, x: Batch<'_, T>, y: BatchMut<'_, T>) -> Result<()> {
        self.0.forward_eval(x, y)
    }

    fn run_in_place<T: Float>(self, x: BatchMut<'_, T>) -> Result<()> {
        self.0.forward_eval_in_place(x)
    }
}

/// A training step.
pub(super) struct Train<'a>(pub(super) &'a mut BatchNorm);

impl Kernel for Train<'_> {
    fn run<T: Float>(self, x: Batch<'_, T>, y: BatchMut<'_, T>) -> Result<()> {
        self.0.forward_train(x, y)
    }

    fn run_in_place<T: Float>(self, x: BatchMut<'_, T>) -> Result<()> {
        self.0.forward_train_in_place(x)
    }
}

/// From the gradient of a training step's outputs to that of its inputs, and those of weight and bias.
pub(super) struct TrainBackward<'a> {
    pub(super) bn: &'a BatchNorm,
    pub(super) moments: &'a Moments,
    pub(super) x: &'a FlexTensor,
    pub(super) gradients: &'a mut Gradients,
}

impl TrainBackward<'_> {
    /// Computes the gradients of weight and bias alone.
    pub(super) fn of_parameters(self, dy: &FlexTensor, layout: Layout) {
        *self.gradients = checked(with_float!(dy.dtype(), T => batch::<T>(dy, layout).and_then(|dy| {
            let sums = self.bn.backward_sums(self.moments, batch(self.x, layout)?, dy)?;
            self.bn.gradients(self.moments, &sums)
        })));
    }
}

impl Kernel for TrainBackward<'_> {
    fn run<T: Float>(self, dy: Batch<'_, T>, dx: BatchMut<'_, T>) -> Result<()> {
        self.bn.backward_train_into(self.moments, batch(self.x, dy.layout())?, dy, dx, self.gradients)
    }

    fn run_in_place<T: Float>(self, dy: BatchMut<'_, T>) -> Result<()> {
        self.bn.backward_train_in_place_into(self.moments, batch(self.x, dy.layout())?, dy, self.gradients)
    }
}

/// From the gradient of an evaluation's outputs to that of its inputs, and those of weight and bias.
pub(super) struct EvaluateBackward<'a> {
    pub(super) bn: &'a BatchNorm,
    pub(super) x: &'a FlexTensor,
    pub(super) gradients: &'a mut Gradients,
}

impl EvaluateBackward<'_> {
    /// Computes the gradients of weight and bias alone.
    pub(super) fn of_parameters(self, dy: &FlexTensor, layout: Layout) {
        *self.gradients = checked(with_float!(dy.dtype(), T => batch::<T>(dy, layout).and_then(|dy| {
            self.bn.backward_eval_parameters(batch(self.x, layout)?, GradOutput::from(dy))
        })));
    }
}

impl Kernel for EvaluateBackward<'_> {
    fn run<T: Float>(self, dy: Batch<'_, T>, dx: BatchMut<'_, T>) -> Result<()> {
        self.bn.backward_eval_into(batch(self.x, dy.layout())?, dy, dx, self.gradients)
    }

    fn run_in_place<T: Float>(self, dy: BatchMut<'_, T>) -> Result<()> {
        *self.gradients = self.bn.backward_eval_in_place(batch(self.x, dy.layout())?, dy)?;
        Ok(())
    }
}

/// From the gradient of an evaluation's outputs to that of its inputs.
pub(super) struct EvaluateBackwardInput<'a>(pub(super) &'a BatchNorm);

impl Kernel for EvaluateBackwardInput<'_> {
    fn run<T: Float>(self, dy: Batch<'_, T>, dx: BatchMut<'_, T>) -> Result<()> {
        self.0.backward_eval_input(dy, dx)
    }

    fn run_in_place<T: Float>(self, dy: BatchMut<'_, T>) -> Result<()> {
        self.0.to_inference().backward_in_place(dy)
    }
}
