//! The operations that burn dispatches, on Flex and with autodiff.

mod autodiff;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::{Autodiff, Backend, Flex, backend_extension, tensor::FloatTensor};

use crate::flex::{self, Layer};

/// Batch normalisation of `[N, C, ...]`, with parameters and statistics of `[C]`.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait BatchNormOps: Backend {
    /// Normalises by running statistics.
    fn batch_norm_by_running(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    /// Normalises by the batch's own statistics, and returns with the output the running mean and variance, moved.
    fn batch_norm_by_batch(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        epsilon: f64,
        momentum: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl BatchNormOps for Flex {
    fn batch_norm_by_running(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let layer = Layer { gamma: &gamma, beta: &beta, mean: &mean, variance: &variance, epsilon };
        flex::evaluate(&layer.frozen(), x)
    }

    fn batch_norm_by_batch(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        epsilon: f64,
        momentum: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let layer = Layer { gamma: &gamma, beta: &beta, mean: &mean, variance: &variance, epsilon };
        let mut bn = layer.training(momentum);
        let output = flex::train(&mut bn, x);
        (output, flex::vector(bn.running_mean(), mean.dtype()), flex::vector(bn.running_var(), variance.dtype()))
    }
}

impl<C: CheckpointStrategy> BatchNormOps for Autodiff<Flex, C> {
    fn batch_norm_by_running(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        autodiff::by_running::<C>(x, gamma, beta, [mean, variance], epsilon)
    }

    fn batch_norm_by_batch(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        epsilon: f64,
        momentum: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        autodiff::by_batch::<C>(x, gamma, beta, [mean, variance], epsilon, momentum)
    }
}
