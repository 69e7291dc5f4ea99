//! burn on its CPU backend (flex), with the functions that its layer calls. Its operations allocate their results.

use burn::tensor::activation::relu;
use burn::tensor::module::{batch_norm, batch_norm_train};
use burn::tensor::{Device, Tensor, TensorData};

use super::Run;
use crate::case::{Case, EPS, MOMENTUM, Op};

pub fn run(case: &Case, op: Op) -> Option<Run<'_>> {
    match (op, case.shape.len()) {
        // Its backward pass needs another backend, and takes the graph of one forward pass with it.
        (Op::Backward, _) => None,
        (_, 2) => Some(ranked::<2>(case, op)),
        _ => Some(ranked::<4>(case, op)),
    }
}

fn ranked<const D: usize>(case: &Case, op: Op) -> Run<'_> {
    let device = Device::flex();
    let per_feature = |values: &[f32]| Tensor::<1>::from_data(TensorData::from(values), &device);
    let x = Tensor::<D>::from_data(TensorData::new(case.x.clone(), case.shape.to_vec()), &device);
    let residual = Tensor::<D>::from_data(TensorData::new(case.other.clone(), case.shape.to_vec()), &device);
    let [weight, bias] = [&case.weight, &case.bias].map(|values| per_feature(values));
    let [mut mean, mut variance] = [&case.mean, &case.variance].map(|values| per_feature(values));
    let eps = EPS.into();
    Box::new(move |result| match op {
        Op::Moments => {
            let (mean, variance) = std::hint::black_box(moments(x.clone()));
            if let Some(result) = result {
                result.extend(values(mean));
                result.extend(values(variance));
            }
        }
        Op::Inference => {
            let y = batch_norm(x.clone(), weight.clone(), bias.clone(), mean.clone(), variance.clone(), eps);
            give(y, result);
        }
        Op::Fused => {
            let y = batch_norm(x.clone(), weight.clone(), bias.clone(), mean.clone(), variance.clone(), eps);
            give(relu(y.add(residual.clone())), result);
        }
        Op::Training | Op::Backward => {
            let out = batch_norm_train(x.clone(), weight.clone(), bias.clone(), eps);
            // The layer does the same, but trains on autodiff devices only.
            mean = mean.clone().mul_scalar(1.0 - MOMENTUM).add(out.mean.mul_scalar(MOMENTUM));
            variance = variance.clone().mul_scalar(1.0 - MOMENTUM).add(out.variance.mul_scalar(MOMENTUM));
            give(out.output, result);
        }
    })
}

fn give<const D: usize>(y: Tensor<D>, result: Option<&mut Vec<f32>>) {
    let y = std::hint::black_box(y);
    if let Some(result) = result {
        result.extend(values(y));
    }
}

fn moments<const D: usize>(x: Tensor<D>) -> (Tensor<2>, Tensor<2>) {
    let features = x.dims()[1];
    // Planes are rearranged feature by feature, because variances are computed over one axis.
    let (x, axis) = if D == 2 {
        (x.reshape([0, features as i32]), 0)
    } else {
        (x.swap_dims(0, 1).reshape([features as i32, -1]), 1)
    };
    let (variance, mean) = x.var_mean_bias(axis);
    (mean, variance)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("floats")
}
