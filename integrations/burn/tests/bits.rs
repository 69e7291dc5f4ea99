//! Bit for bit beside direct calls of the crate `batchnorm`, and where results lie in memory.

mod common;

use batchnorm::{Batch, BatchMut, Element, Layout};
use batchnorm_burn::BatchNorm;
use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::module::{Module, Param, RunningState};
use burn::tensor::{DType, Tensor, bf16, f16};
use common::{EPSILON, MOMENTUM, autodiff, flex, list, ours, parameters, tensor};

/// The crate's layer with the parameters of `ours`.
fn direct(features: usize, dtype: DType) -> batchnorm::BatchNorm {
    let [mean, var, gamma, beta] = parameters(features, dtype, &flex()).map(list);
    let make = || {
        let bn = batchnorm::BatchNorm::new(features).with_eps(EPSILON)?.with_momentum(MOMENTUM)?;
        let mut bn = bn.with_running_ddof(0.0)?;
        bn.set_weight(&gamma)?;
        bn.set_bias(&beta)?;
        bn.set_running_mean(&mean)?;
        bn.set_running_var(&var)?;
        Ok::<_, batchnorm::Error>(bn)
    };
    make().expect("a layer")
}

fn split<const D: usize>(shape: [usize; D]) -> Layout {
    Layout::new(shape[0], shape[1], shape[2..].iter().product())
}

fn bits_agree<T: Element + burn::tensor::Element, const D: usize>(shape: [usize; D], parameters: DType) {
    let (dtype, layout) = (T::dtype(), split(shape));
    let x = tensor(shape, 1e3, dtype, &flex());
    let data = x.clone().into_data().try_to_vec::<T>().expect("values");
    let dy = tensor(shape, 0.5, dtype, &flex()).into_data().try_to_vec::<T>().expect("values");
    let bn = ours(shape[1], parameters, &autodiff());
    let name = format!("{shape:?} {dtype:?}, parameters of {parameters:?}");

    let mut crates = direct(shape[1], parameters);
    let (mut y, mut dx) = (data.clone(), data.clone());
    let x_there = Batch::new(&data, layout).expect("x");
    crates.forward_eval(x_there, BatchMut::new(&mut y, layout).expect("y")).expect("runs");
    let values = |tensor: Tensor<D>| tensor.into_data().try_to_vec::<T>().expect("values");
    assert_eq!(values(bn.valid().forward(x.clone())), y, "{name}, inference");

    crates.forward_train(x_there, BatchMut::new(&mut y, layout).expect("y")).expect("runs");
    let x = Tensor::<D>::from_data(x.into_data(), (&autodiff(), dtype)).require_grad();
    let output = bn.forward(x.clone());
    assert_eq!(values(output.clone()), y, "{name}, training");
    let round = |values: &[f64]| list(common::of(values.to_vec(), [shape[1]], parameters, &flex()));
    assert_eq!(list(bn.running_mean.value_sync()), round(crates.running_mean()), "{name}, running mean");
    assert_eq!(list(bn.running_var.value_sync()), round(crates.running_var()), "{name}, running variance");

    let moments = crates.batch_moments().clone();
    let (dy_there, out) = (Batch::new(&dy, layout).expect("dy"), BatchMut::new(&mut dx, layout).expect("dx"));
    let of = crates.backward_train(&moments, x_there, dy_there, out).expect("runs");
    let dy = tensor(shape, 0.5, dtype, &autodiff());
    let gradients = (output * dy).sum().backward();
    assert_eq!(values(x.grad(&gradients).expect("one")), dx, "{name}, gradient of x");
    let grad = |parameter: &Param<Tensor<1>>| list(parameter.grad(&gradients).expect("one"));
    assert_eq!(grad(&bn.gamma), round(of.weight()), "{name}, gradient of gamma");
    assert_eq!(grad(&bn.beta), round(of.bias()), "{name}, gradient of beta");
}

fn bits_agree_in_all_shapes<T: Element + burn::tensor::Element>(parameters: DType) {
    bits_agree::<T, 2>([200, 3], parameters);
    bits_agree::<T, 2>([1, 40], parameters);
    bits_agree::<T, 3>([4, 3, 10], parameters);
    bits_agree::<T, 4>([2, 5, 6, 7], parameters);
    bits_agree::<T, 4>([3, 64, 33, 31], parameters); // large enough for threads
    bits_agree::<T, 5>([2, 3, 4, 5, 6], parameters);
}

#[test]
fn f32_has_the_bits_of_the_crate() {
    bits_agree_in_all_shapes::<f32>(DType::F32);
    bits_agree_in_all_shapes::<f32>(DType::F64);
}

#[test]
fn f64_has_the_bits_of_the_crate() {
    bits_agree_in_all_shapes::<f64>(DType::F64);
    bits_agree_in_all_shapes::<f64>(DType::F32);
}

#[test]
fn half_precision_has_the_bits_of_the_crate() {
    bits_agree_in_all_shapes::<f16>(DType::F32);
    bits_agree_in_all_shapes::<bf16>(DType::F32);
    bits_agree_in_all_shapes::<f16>(DType::F16);
    bits_agree_in_all_shapes::<bf16>(DType::BF16);
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor.try_into_primitive::<Flex>().expect("on Flex")
}

/// Where the values of a tensor that nobody else holds lie.
fn place<const D: usize>(tensor: Tensor<D>) -> (*const u8, Tensor<D>) {
    let tensor = primitive(tensor);
    assert!(tensor.is_unique());
    (tensor.bytes().as_ptr(), Tensor::from_primitive::<Flex>(tensor))
}

#[test]
fn inference_reuses_a_batch_that_nobody_else_holds() {
    let bn = ours(5, DType::F32, &flex());
    let whole = |shape| tensor(shape, 1.0, DType::F32, &flex());
    let expected = list(bn.forward(whole([3, 5, 4, 6])));
    let (before, x) = place(whole([3, 5, 4, 6]));
    let (after, y) = place(bn.forward(x));
    assert_eq!((before, list(y)), (after, expected.clone()));

    // Permuted, too, and it stays permuted.
    let x = whole([3, 5, 4, 6]).permute([0, 2, 3, 1]);
    let (before, x) = place(Tensor::<4>::from_primitive::<Flex>(primitive(x).to_contiguous()));
    let (after, y) = place(bn.forward(x.permute([0, 3, 1, 2])));
    assert_eq!((before, primitive(y.clone()).is_contiguous(), list(y)), (after, false, expected.clone()));

    // Shared, the batch stays as it is.
    let x = whole([3, 5, 4, 6]);
    let kept = x.clone();
    assert_eq!((list(bn.forward(x)), list(kept)), (expected, list(whole([3, 5, 4, 6]))));
}

#[test]
fn a_training_batch_that_a_gradient_needs_stays_as_it_is() {
    let bn = ours(5, DType::F32, &autodiff());
    let x = tensor([3, 5, 4], 1.0, DType::F32, &autodiff());
    let (values, product) = (list(x.clone()), x * 1.0); // an intermediate result, held by the graph alone
    let y = bn.forward(product);
    let gradients = y.clone().powi_scalar(2).sum().backward();
    let mean = |feature: usize| (0..60).filter(|i| i / 4 % 5 == feature).map(|i| values[i]).sum::<f64>() / 12.0;
    let centered = |i: usize| values[i] - mean(i / 4 % 5);
    let sd = |feature: usize| {
        let squares = (0..60).filter(|i| i / 4 % 5 == feature).map(|i| centered(i).powi(2)).sum::<f64>();
        (squares / 12.0 + EPSILON).sqrt()
    };
    // The gradient of gamma is the sum of 2 * y * normalised, with the batch as it was.
    let y = list(y);
    let expected: Vec<f64> = (0..5)
        .map(|feature| (0..60).filter(|i| i / 4 % 5 == feature).map(|i| 2.0 * y[i] * centered(i) / sd(feature)).sum())
        .collect();
    common::assert_all_near("gamma", &list(bn.gamma.grad(&gradients).expect("one")), &expected, 1e-5);
}

#[test]
fn views_have_the_values_of_copies() {
    let whole = tensor([3, 5, 4, 6], 1.0, DType::F64, &flex());
    let copied = |view: Tensor<4>| Tensor::<4>::from_data(view.into_data(), (&flex(), DType::F64));
    let wide = tensor([3, 9, 4, 12], 1.0, DType::F64, &flex());
    let views = [
        ("channels last", copied(whole.clone().permute([0, 2, 3, 1])).permute([0, 3, 1, 2])),
        ("channels first", copied(whole.clone().permute([1, 0, 2, 3])).permute([1, 0, 2, 3])),
        ("planes transposed", copied(whole.clone().swap_dims(2, 3)).swap_dims(2, 3)),
        ("reversed", copied(whole.clone().permute([3, 2, 1, 0])).permute([3, 2, 1, 0])),
        ("a part", wide.clone().slice([0..3, 2..7, 0..4, 3..9])),
        ("every second", wide.slice(burn::tensor::s![.., 0..5, .., ..;2])),
        ("flipped", whole.clone().flip([1, 3])),
        ("repeated", whole.clone().slice([0..1, 0..5, 0..4, 0..6]).expand([3, 5, 4, 6])),
        ("one channel's", copied(whole.slice([0..3, 0..5, 0..1, 0..6])).expand([3, 5, 4, 6])),
    ];
    for (name, view) in views {
        assert!(!primitive(view.clone()).is_contiguous(), "{name}");
        let copy = copied(view.clone());
        let bn = ours(5, DType::F64, &flex());
        common::assert_near(name, bn.forward(view.clone()), bn.forward(copy.clone()), 1e-15);

        let r = tensor([3, 5, 4, 6], 0.3, DType::F64, &autodiff());
        let train = |x: Tensor<4>| {
            let (bn, x) = (ours(5, DType::F64, &autodiff()), Tensor::from_inner(x).require_grad());
            let y = bn.forward(x.clone());
            let gradients = (y.clone() * r.clone()).sum().backward();
            let dx = x.grad(&gradients).expect("one");
            (y.inner(), dx, bn.gamma.grad(&gradients).expect("one"), bn.running_var.value_sync().inner())
        };
        // (Sums in another order have other bits.)
        let (a, b) = (train(view), train(copy));
        common::assert_near(name, a.0, b.0, 1e-13);
        common::assert_near(name, a.1, b.1, 1e-12);
        common::assert_near(name, a.2, b.2, 1e-12);
        common::assert_near(name, a.3, b.3, 1e-14);
    }
}

#[test]
fn parameters_may_be_views() {
    let [mean, var, gamma, beta] = parameters(10, DType::F32, &flex());
    let half = |tensor: Tensor<1>| tensor.slice(burn::tensor::s![..;2]);
    let layer = |of: fn(Tensor<1>) -> Tensor<1>| BatchNorm {
        gamma: Param::from_tensor(of(half(gamma.clone()))),
        beta: Param::from_tensor(of(half(beta.clone()))),
        running_mean: RunningState::new(of(half(mean.clone()))),
        running_var: RunningState::new(of(half(var.clone()))),
        ..ours(5, DType::F32, &flex())
    };
    assert!(!primitive(layer(|view| view).gamma.val()).is_contiguous());
    let copies = layer(|view| Tensor::from_data(view.into_data(), (&flex(), DType::F32)));
    let x = tensor([7, 5], 1.0, DType::F32, &flex());
    assert_eq!(list(layer(|view| view).forward(x.clone())), list(copies.forward(x)));
}
