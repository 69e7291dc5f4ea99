//! The crate's kernels on tensors of Flex.

mod kernels;
mod memory;

use batchnorm::{BatchNorm, Element, Gradients, Moments};
use burn::backend::TensorMetadata;
use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType};

use kernels::{Evaluate, EvaluateBackward, EvaluateBackwardInput, Train, TrainBackward, map};
use memory::{MemoryOrder, with_float};

/// What one call is given of a layer: parameters and running statistics, one value per channel.
pub(crate) struct Layer<'a> {
    pub(crate) gamma: &'a FlexTensor,
    pub(crate) beta: &'a FlexTensor,
    pub(crate) mean: &'a FlexTensor,
    pub(crate) variance: &'a FlexTensor,
    pub(crate) epsilon: f64,
}

/// Hands the values of a tensor to an expression, whatever their type.
macro_rules! with_values {
    ($tensor:expr, $values:ident => $body:expr) => {{
        let tensor = $tensor.to_contiguous();
        with_float!(tensor.dtype(), Float => {
            let $values = tensor.as_slice::<Float>().expect("a contiguous tensor of this type");
            $body
        })
    }};
}

impl Layer<'_> {
    /// Returns the layer for inference.
    pub(crate) fn frozen(&self) -> BatchNorm {
        self.made(BatchNorm::try_new(self.gamma.shape().num_elements()))
    }

    /// Returns the layer for a training step. As in burn, the running variance is of biased ones.
    pub(crate) fn training(&self, momentum: f64) -> BatchNorm {
        let bn = BatchNorm::try_new(self.gamma.shape().num_elements());
        self.made(bn.and_then(|bn| bn.with_momentum(momentum)?.with_running_ddof(0.0)))
    }

    fn made(&self, bn: batchnorm::Result<BatchNorm>) -> BatchNorm {
        let mut bn = checked(bn.and_then(|bn| bn.with_eps(self.epsilon)));
        checked(with_values!(self.gamma, values => bn.set_weight(values)));
        checked(with_values!(self.beta, values => bn.set_bias(values)));
        checked(with_values!(self.mean, values => bn.set_running_mean(values)));
        checked(with_values!(self.variance, values => bn.set_running_var(values)));
        bn
    }
}

/// What the backward pass of a training step needs besides the batch.
#[derive(Clone, Debug)]
pub(crate) struct Trained {
    weight: Vec<f64>,
    epsilon: f64,
    moments: Moments,
}

impl Trained {
    /// Returns it from a layer that has trained on the batch. (The layer itself holds the step's memory, too.)
    pub(crate) fn of(bn: &BatchNorm) -> Self {
        let weight = bn.weight().expect("a layer with a weight").to_vec();
        Trained { weight, epsilon: bn.eps(), moments: bn.batch_moments().clone() }
    }

    fn layer(&self) -> batchnorm::Result<BatchNorm> {
        let mut bn = BatchNorm::try_new(self.weight.len())?.with_eps(self.epsilon)?;
        bn.set_weight(&self.weight)?;
        Ok(bn)
    }
}

/// Normalises a batch by the running statistics.
pub(crate) fn evaluate(bn: &BatchNorm, x: FlexTensor) -> FlexTensor {
    let order = MemoryOrder::of(&x);
    order.undo(map(order.apply(x), order.layout(), Evaluate(bn)))
}

/// Normalises a batch by its own statistics, and moves the running ones.
pub(crate) fn train(bn: &mut BatchNorm, x: FlexTensor) -> FlexTensor {
    let order = MemoryOrder::of(&x);
    order.undo(map(order.apply(x), order.layout(), Train(bn)))
}

/// Returns the gradients of a training step: of the batch if it is needed, and of weight and bias.
pub(crate) fn train_backward(
    trained: &Trained,
    x: FlexTensor,
    dy: FlexTensor,
    needs_dx: bool,
) -> (Option<FlexTensor>, Gradients) {
    let order = MemoryOrder::of(&x);
    let (x, dy) = (order.apply(x), order.apply(dy));
    let bn = checked(trained.layer());
    let mut gradients = Gradients::default();
    let kernel = TrainBackward { bn: &bn, moments: &trained.moments, x: &x, gradients: &mut gradients };
    if needs_dx {
        let dx = order.undo(map(dy, order.layout(), kernel));
        return (Some(dx), gradients);
    }
    kernel.of_parameters(&dy, order.layout());
    (None, gradients)
}

/// Returns the gradients of an evaluation: of the batch if it is needed, and of weight and bias.
pub(crate) fn evaluate_backward(
    bn: &BatchNorm,
    x: FlexTensor,
    dy: FlexTensor,
    needs_dx: bool,
) -> (Option<FlexTensor>, Gradients) {
    let order = MemoryOrder::of(&x);
    let (x, dy) = (order.apply(x), order.apply(dy));
    let mut gradients = Gradients::default();
    let kernel = EvaluateBackward { bn, x: &x, gradients: &mut gradients };
    if needs_dx {
        let dx = order.undo(map(dy, order.layout(), kernel));
        return (Some(dx), gradients);
    }
    kernel.of_parameters(&dy, order.layout());
    (None, gradients)
}

/// Returns the gradient of an evaluation with respect to the batch.
pub(crate) fn evaluate_backward_input(bn: &BatchNorm, dy: FlexTensor) -> FlexTensor {
    let order = MemoryOrder::of(&dy);
    order.undo(map(order.apply(dy), order.layout(), EvaluateBackwardInput(bn)))
}

/// Returns a tensor of one dimension, rounded to a type.
pub(crate) fn vector(values: &[f64], dtype: DType) -> FlexTensor {
    with_float!(dtype, Float => {
        let rounded: Vec<Float> = values.iter().map(|value| Float::from_f64(*value)).collect();
        FlexTensor::new(Bytes::from_elems(rounded), Layout::contiguous([values.len()].into()), dtype)
    })
}

/// Returns the value, or panics with the crate's message, which names what does not fit.
#[track_caller]
fn checked<T>(result: batchnorm::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("batch norm: {error}"))
}
