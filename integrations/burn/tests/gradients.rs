//! Gradients beside finite differences, and only where they are needed.

mod common;

use batchnorm_burn::BatchNorm;
use burn::module::Param;
use burn::tensor::{DType, Tensor};
use common::{autodiff, list, of, ours, parameters, tensor};

const SHAPE: [usize; 4] = [3, 2, 2, 2];

/// A layer that trains or not, with these gamma and beta.
fn layer(gamma: Vec<f64>, beta: Vec<f64>, trains: bool) -> BatchNorm {
    let bn = ours(2, DType::F64, &autodiff());
    let parameter = |values: Vec<f64>| Param::from_tensor(of(values, [2], DType::F64, &autodiff()));
    let training = bn.training.clone().with_value(trains);
    BatchNorm { gamma: parameter(gamma), beta: parameter(beta), training, ..bn }
}

/// `sum(forward(x) * r)`, with weights that no symmetry cancels.
fn loss(x: Tensor<4>, bn: &BatchNorm) -> Tensor<1> {
    (bn.forward(x) * tensor(SHAPE, 0.3, DType::F64, &autodiff()).powi_scalar(2)).sum()
}

#[test]
fn agree_with_finite_differences() {
    let [_, _, gamma, beta] = parameters(2, DType::F64, &autodiff()).map(list);
    let x = list(tensor(SHAPE, 1.0, DType::F64, &autodiff()));
    for trains in [true, false] {
        let at = |[x, gamma, beta]: [Vec<f64>; 3]| {
            loss(of(x, SHAPE, DType::F64, &autodiff()), &layer(gamma, beta, trains)).into_scalar::<f64>()
        };
        let bn = layer(gamma.clone(), beta.clone(), trains);
        let batch = of(x.clone(), SHAPE, DType::F64, &autodiff()).require_grad();
        let all = loss(batch.clone(), &bn).backward();
        let gradients = [
            list(batch.grad(&all).expect("one")),
            list(bn.gamma.grad(&all).expect("one")),
            list(bn.beta.grad(&all).expect("one")),
        ];
        for (which, gradients) in gradients.iter().enumerate() {
            for (i, gradient) in gradients.iter().enumerate() {
                let moved = |by: f64| {
                    let mut moved = [x.clone(), gamma.clone(), beta.clone()];
                    moved[which][i] += by;
                    at(moved)
                };
                let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                let name = ["x", "gamma", "beta"][which];
                assert!((gradient - difference).abs() < 1e-6, "trains {trains}, {name} {i}: {gradient}, {difference}");
            }
        }
    }
}

/// All subsets of x, gamma and beta: those that need gradients have the gradients of all, the others have none.
#[test]
fn only_what_needs_a_gradient_has_one() {
    let [_, _, gamma, beta] = parameters(2, DType::F64, &autodiff()).map(list);
    for trains in [true, false] {
        let gradients = |needs: [bool; 3]| {
            let mut bn = layer(gamma.clone(), beta.clone(), trains);
            bn.gamma = bn.gamma.set_require_grad(needs[1]);
            bn.beta = bn.beta.set_require_grad(needs[2]);
            let x = tensor(SHAPE, 1.0, DType::F64, &autodiff()).set_require_grad(needs[0]);
            let all = loss(x.clone(), &bn).backward();
            [x.grad(&all).map(list), bn.gamma.grad(&all).map(list), bn.beta.grad(&all).map(list)]
        };
        let of_all = gradients([true; 3]);
        for subset in 1..7 {
            let needs = [0, 1, 2].map(|bit| subset >> bit & 1 == 1);
            for (i, gradient) in gradients(needs).into_iter().enumerate() {
                let expected = needs[i].then(|| of_all[i].clone().expect("one"));
                assert_eq!(gradient.is_some(), needs[i], "{needs:?}");
                let (a, b) = (gradient.unwrap_or_default(), expected.unwrap_or_default());
                common::assert_all_near(&format!("trains {trains}, {needs:?}"), &a, &b, 1e-14);
            }
        }
    }
}

#[test]
fn a_batch_that_two_layers_share_has_the_sum_of_both_gradients() {
    let [_, _, gamma, beta] = parameters(2, DType::F64, &autodiff()).map(list);
    let (a, b) = (layer(gamma.clone(), beta.clone(), true), layer(beta, gamma, false));
    let of = |layers: &[&BatchNorm]| {
        let x = tensor(SHAPE, 1.0, DType::F64, &autodiff()).require_grad();
        let inside = x.clone() * 2.0;
        let losses = layers.iter().map(|bn| loss(inside.clone(), bn));
        let all = losses.reduce(|a, b| a + b).expect("a layer").backward();
        list(x.grad(&all).expect("one"))
    };
    let sum: Vec<f64> = of(&[&a]).into_iter().zip(of(&[&b])).map(|(a, b)| a + b).collect();
    common::assert_all_near("both", &of(&[&a, &b]), &sum, 1e-13);
}

#[test]
fn the_gradient_of_a_view_is_that_of_its_values() {
    let dy = tensor([4, 2, 3], 0.3, DType::F64, &autodiff());
    let gradient = |permuted: bool| {
        let bn = ours(2, DType::F64, &autodiff());
        let x = tensor([4, 2, 3], 1.0, DType::F64, &autodiff()).require_grad();
        // A gradient that comes back through a transposition is a view.
        let y = match permuted {
            true => (bn.forward(x.clone()).swap_dims(1, 2) * dy.clone().swap_dims(1, 2)).swap_dims(1, 2),
            false => bn.forward(x.clone()) * dy.clone(),
        };
        let all = y.powi_scalar(2).sum().backward();
        list(x.grad(&all).expect("one"))
    };
    common::assert_all_near("x", &gradient(true), &gradient(false), 1e-13);
}
