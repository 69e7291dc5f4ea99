//! candle-nn's layer, and moments computed as the layer does. Its operations allocate their results.

use candle_core::{Device, Result, Tensor, Var};
use candle_nn::{BatchNorm, ModuleT};

use super::Run;
use crate::case::{Case, EPS, MOMENTUM, Op};

pub fn run(case: &Case, op: Op) -> Run<'_> {
    if op == Op::Backward {
        return backward(case).expect("a graph of floats");
    }
    let x = Tensor::from_slice(&case.x, case.shape, &Device::Cpu).expect("as long as the shape");
    let norm = layer(case).expect("parameters of the layer");
    let (features, count) = (case.features(), case.layout().count() as f32);
    let residual = Tensor::from_slice(&case.other, case.shape, &Device::Cpu).expect("as long as the shape");
    Box::new(move |result| {
        let out = match op {
            Op::Moments => moments(&x).expect("a batch of floats"),
            Op::Inference => vec![norm.forward_t(&x, false).expect("a batch of the layer's features")],
            Op::Fused => vec![fused(&norm, &x, &residual).expect("a batch of the layer's features")],
            Op::Training | Op::Backward => vec![norm.forward_t(&x, true).expect("a batch of the layer's features")],
        };
        let out = std::hint::black_box(out);
        let Some(result) = result else { return };
        out.iter().for_each(|tensor| result.extend(values(tensor).expect("floats")));
        if op == Op::Moments {
            // Its variance is unbiased; the others are not.
            let biased = (count - 1.0) / count;
            result[features..].iter_mut().for_each(|variance| *variance *= biased);
        }
    })
}

fn fused(norm: &BatchNorm, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
    (norm.forward_t(x, false)? + residual)?.relu()
}

/// The backward pass of its autograd over a graph that is made once: it includes a product with `dy` and a sum.
fn backward(case: &Case) -> Result<Run<'_>> {
    let x = Var::from_slice(&case.x, case.shape, &Device::Cpu)?;
    let dy = Tensor::from_slice(&case.other, case.shape, &Device::Cpu)?;
    let loss = (layer(case)?.forward_t(&x, true)? * dy)?.sum_all()?;
    Ok(Box::new(move |result| {
        let gradients = std::hint::black_box(loss.backward().expect("a graph of floats"));
        if let Some(result) = result {
            let dx = gradients.get(&x).expect("a variable of the graph");
            result.extend(values(dx).expect("floats"));
        }
    }))
}

/// Returns `[mean, variance]`. There is no variance over several axes, so planes are rearranged feature by feature, as
/// in its training.
fn moments(x: &Tensor) -> Result<Vec<Tensor>> {
    if x.rank() == 2 {
        return Ok(vec![x.mean_keepdim(0)?, x.var_keepdim(0)?]);
    }
    let by_feature = x.transpose(0, 1)?.flatten_from(1)?;
    Ok(vec![by_feature.mean_keepdim(1)?, by_feature.var_keepdim(1)?])
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.contiguous()?.flatten_all()?.to_vec1()
}

fn layer(case: &Case) -> Result<BatchNorm> {
    let features = case.features();
    let tensor = |values: &[f32]| Tensor::from_slice(values, features, &Device::Cpu);
    let variable =
        |values: &[f32]| Ok::<_, candle_core::Error>(Var::from_slice(values, features, &Device::Cpu)?.into_inner());
    BatchNorm::new_with_momentum(
        features,
        tensor(&case.mean)?,
        tensor(&case.variance)?,
        variable(&case.weight)?,
        variable(&case.bias)?,
        EPS.into(),
        MOMENTUM.into(),
    )
}
