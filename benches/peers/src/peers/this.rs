//! This crate, reusing its memory.

use batchnorm::{Activation, BatchMut, BatchNorm, Gradients, Moments, Path, Workspace};

use super::Run;
use crate::case::{Case, Op};

pub fn run(case: &Case, op: Op) -> Run<'_> {
    let (x, layout) = (case.batch(), case.layout());
    let mut norm = layer(case).expect("parameters of the layer");
    let mut y = vec![0.0f32; case.x.len()];
    match op {
        Op::Moments => {
            let (mut moments, mut workspace) = (Moments::default(), Workspace::default());
            // The peers return arrays of f32, so this does, too.
            let mut means = vec![0.0f32; case.features()];
            let mut variances = means.clone();
            Box::new(move |result| {
                Path::Auto.moments_into(x, &mut moments, &mut workspace);
                moments.means_into(&mut means).expect("one each");
                moments.variances_into(0.0, &mut variances).expect("one each");
                if let Some(result) = result {
                    result.extend(means.iter().chain(&variances));
                }
            })
        }
        Op::Inference => {
            let inference = norm.to_inference();
            Box::new(move |result| {
                let out = BatchMut::new(&mut y, layout).expect("as long as the input");
                inference.forward(x, out).expect("same layout");
                result.into_iter().for_each(|result| result.extend(&y));
            })
        }
        Op::Training => Box::new(move |result| {
            let out = BatchMut::new(&mut y, layout).expect("as long as the input");
            norm.forward_train(x, out).expect("same layout");
            result.into_iter().for_each(|result| result.extend(&y));
        }),
        Op::Fused => {
            let inference = norm.to_inference().with_activation(Activation::Relu);
            Box::new(move |result| {
                let out = BatchMut::new(&mut y, layout).expect("as long as the input");
                inference.forward_add(x, case.other(), out).expect("same layout");
                result.into_iter().for_each(|result| result.extend(&y));
            })
        }
        Op::Backward => {
            let (moments, mut gradients) = (norm.measure(x).expect("same features"), Gradients::default());
            Box::new(move |result| {
                let out = BatchMut::new(&mut y, layout).expect("as long as the input");
                norm.backward_train_into(&moments, x, case.other(), out, &mut gradients).expect("same layout");
                result.into_iter().for_each(|result| result.extend(&y));
            })
        }
    }
}

fn layer(case: &Case) -> batchnorm::Result<BatchNorm> {
    let mut norm = BatchNorm::new(case.features());
    norm.set_weight(&case.weight)?;
    norm.set_bias(&case.bias)?;
    norm.set_running_mean(&case.mean)?;
    norm.set_running_var(&case.variance)?;
    Ok(norm)
}
