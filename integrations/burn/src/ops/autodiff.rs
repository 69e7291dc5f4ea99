//! The operations with their gradients, as nodes of burn's graph.

use batchnorm::{BatchNorm, Gradients};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::DType;

use crate::flex::{self, Layer, Trained};

/// A tensor of the graph, whatever its checkpoints are.
type Tensor = FloatTensor<Autodiff<Flex>>;

/// The parents of a node: the batch, gamma and beta, as far as they need gradients.
type Parents = Ops<(), 3>;

/// The types of gamma and beta, which their gradients have, too.
type Types = [DType; 2];

pub(super) fn by_batch<C: CheckpointStrategy>(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    [mean, variance]: [Tensor; 2],
    epsilon: f64,
    momentum: f64,
) -> (Tensor, Tensor, Tensor) {
    let types = [gamma.dtype(), beta.dtype()];
    let (gamma, mean, variance) = (gamma.into_parts(), mean.into_primitive(), variance.into_primitive());
    let beta = beta.into_parts();
    let prepared = ByBatch.prepare::<C>([x.node(), gamma.1, beta.1]).compute_bound().stateful();
    let layer = Layer { gamma: &gamma.0, beta: &beta.0, mean: &mean, variance: &variance, epsilon };
    let mut bn = layer.training(momentum);
    let output = match prepared {
        OpsKind::Tracked(mut prepared) => {
            let node = prepared.checkpoint(&x);
            let output = flex::train(&mut bn, x.into_primitive());
            prepared.finish((node, Trained::of(&bn), types), output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(flex::train(&mut bn, x.into_primitive())),
    };
    let moved = |values, like: DType| Tensor::new(flex::vector(values, like));
    (output, moved(bn.running_mean(), mean.dtype()), moved(bn.running_var(), variance.dtype()))
}

/// Training: the batch's statistics depend on the batch.
#[derive(Debug)]
struct ByBatch;

impl Backward<Flex, 3> for ByBatch {
    type State = (NodeId, Trained, Types);

    fn backward(self, ops: Ops<Self::State, 3>, graph: &mut Graph, checkpointer: &mut Checkpointer) {
        let Ops { parents, node, state: (x, trained, types) } = ops;
        let dy = graph.consume::<Flex>(&node);
        let x = checkpointer.retrieve_node_output::<FloatTensor<Flex>>(x);
        let (dx, gradients) = flex::train_backward(&trained, x, dy, parents[0].is_some());
        register(Ops { parents, node, state: () }, graph, dx, Some((gradients, types)));
    }
}

pub(super) fn by_running<C: CheckpointStrategy>(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    [mean, variance]: [Tensor; 2],
    epsilon: f64,
) -> Tensor {
    let types = [gamma.dtype(), beta.dtype()];
    let of_parameters = gamma.is_tracked() || beta.is_tracked();
    let (gamma, mean, variance) = (gamma.into_parts(), mean.into_primitive(), variance.into_primitive());
    let beta = beta.into_parts();
    let prepared = ByRunning.prepare::<C>([x.node(), gamma.1, beta.1]).compute_bound().stateful();
    let bn = Layer { gamma: &gamma.0, beta: &beta.0, mean: &mean, variance: &variance, epsilon }.frozen();
    match prepared {
        OpsKind::Tracked(mut prepared) => {
            // Its own gradient does not need the batch.
            let node = of_parameters.then(|| prepared.checkpoint(&x));
            let output = flex::evaluate(&bn, x.into_primitive());
            prepared.finish((node, bn, types), output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(flex::evaluate(&bn, x.into_primitive())),
    }
}

/// Inference: the running statistics are constants.
#[derive(Debug)]
struct ByRunning;

impl Backward<Flex, 3> for ByRunning {
    type State = (Option<NodeId>, BatchNorm, Types);

    fn backward(self, ops: Ops<Self::State, 3>, graph: &mut Graph, checkpointer: &mut Checkpointer) {
        let Ops { parents, node, state: (x, bn, types) } = ops;
        let dy = graph.consume::<Flex>(&node);
        let (dx, of_parameters) = match x {
            Some(x) => {
                let x = checkpointer.retrieve_node_output::<FloatTensor<Flex>>(x);
                let (dx, gradients) = flex::evaluate_backward(&bn, x, dy, parents[0].is_some());
                (dx, Some((gradients, types)))
            }
            None => (Some(flex::evaluate_backward_input(&bn, dy)), None),
        };
        register(Ops { parents, node, state: () }, graph, dx, of_parameters);
    }
}

/// Registers the gradients that the parents need.
fn register(ops: Parents, graph: &mut Graph, dx: Option<FloatTensor<Flex>>, of_parameters: Option<(Gradients, Types)>) {
    let [x, gamma, beta] = ops.parents;
    if let (Some(x), Some(dx)) = (x, dx) {
        graph.register::<Flex>(x.id, dx);
    }
    if let Some((gradients, types)) = of_parameters {
        if let Some(gamma) = gamma {
            graph.register::<Flex>(gamma.id, flex::vector(gradients.weight(), types[0]));
        }
        if let Some(beta) = beta {
            graph.register::<Flex>(beta.id, flex::vector(gradients.bias(), types[1]));
        }
    }
}
