//! Batches and layers that several tests use.
#![allow(dead_code, reason = "each test uses a part")]

use batchnorm_burn::BatchNorm;
use burn::module::{Param, RunningState};
use burn::tensor::{DType, Device, Tensor, TensorData};

pub(crate) fn flex() -> Device {
    Device::flex()
}

pub(crate) fn autodiff() -> Device {
    Device::flex().autodiff()
}

/// Values of no pattern that matters, about a mean.
pub(crate) fn values(len: usize, mean: f64) -> Vec<f64> {
    (0..len).map(|i| ((i * 7919 + 13) % 1009) as f64 / 200.0 - 2.5 + mean).collect()
}

pub(crate) fn tensor<const D: usize>(shape: [usize; D], mean: f64, dtype: DType, device: &Device) -> Tensor<D> {
    of(values(shape.iter().product(), mean), shape, dtype, device)
}

pub(crate) fn of<const D: usize>(values: Vec<f64>, shape: [usize; D], dtype: DType, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (device, dtype))
}

pub(crate) fn list<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_data_dtype(DType::F64).expect("floats").try_to_vec().expect("of f64")
}

pub(crate) fn assert_near<const D: usize>(name: &str, a: Tensor<D>, b: Tensor<D>, most: f64) {
    assert_eq!((a.dims(), a.dtype()), (b.dims(), b.dtype()), "{name}");
    assert_all_near(name, &list(a), &list(b), most);
}

pub(crate) fn assert_all_near(name: &str, a: &[f64], b: &[f64], most: f64) {
    assert_eq!(a.len(), b.len(), "{name}");
    for (at, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= most * (1.0 + b.abs()), "{name}, value {at}: {a} and {b}");
    }
}

/// Mean, variance, weight and bias of a layer.
pub(crate) fn parameters(features: usize, dtype: DType, device: &Device) -> [Tensor<1>; 4] {
    [0.5, 3.0, 1.5, -0.25].map(|mean| tensor([features], mean, dtype, device))
}

pub(crate) const EPSILON: f64 = 1e-3;
pub(crate) const MOMENTUM: f64 = 0.3;

/// burn's layer with these parameters.
pub(crate) fn theirs(features: usize, dtype: DType, device: &Device) -> burn::nn::BatchNorm {
    let [mean, var, gamma, beta] = parameters(features, dtype, device);
    burn::nn::BatchNorm {
        gamma: Param::from_tensor(gamma),
        beta: Param::from_tensor(beta),
        training: Param::from_bool(true),
        running_mean: RunningState::new(mean),
        running_var: RunningState::new(var),
        momentum: MOMENTUM,
        epsilon: EPSILON,
    }
}

/// This crate's layer with the same parameters, and running statistics of its own.
pub(crate) fn ours(features: usize, dtype: DType, device: &Device) -> BatchNorm {
    theirs(features, dtype, device).into()
}

/// The message of a panic.
pub(crate) fn message<T>(run: impl FnOnce() -> T) -> String {
    let panic = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(_) => panic!("no panic"),
        Err(panic) => panic,
    };
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic.downcast::<&str>().expect("a message").to_string(),
    }
}
