//! The module and its configuration.

use burn::backend::{Dispatch, DispatchDevice, tensor::FloatTensor};
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Flag, Initializer, Module, ModuleDisplay, Param, RunningState};
use burn::tensor::{DType, Device, Tensor, assert_shape};

use crate::ops::BatchNormOps;

/// Configuration of [`BatchNorm`]: that of [`burn::nn::BatchNormConfig`], with the same names in a file.
///
/// ```
/// use batchnorm_burn::BatchNormConfig;
///
/// let config = BatchNormConfig::new(64).with_momentum(0.05);
/// assert_eq!((config.num_features, config.epsilon, config.momentum), (64, 1e-5, 0.05));
/// assert_eq!(config.init(&burn::tensor::Device::flex()).gamma.dims(), [64]);
/// ```
#[derive(Config, Debug)]
pub struct BatchNormConfig {
    /// The number of features (channels): at least 1.
    pub num_features: usize,
    /// What is added to the variance: positive and finite. Default: 1e-5.
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// The share of a batch in the running statistics, within 0 and 1. Default: 0.1.
    #[config(default = 0.1)]
    pub momentum: f64,
}

impl BatchNormConfig {
    /// Creates the module: `gamma` and the running variance are 1, `beta` and the running mean 0.
    ///
    /// # Panics
    /// If `num_features` is 0, `epsilon` is not positive and finite, or `momentum` is not within 0 and 1.
    ///
    /// ```
    /// use batchnorm_burn::BatchNormConfig;
    /// use burn::tensor::{Device, Tensor};
    ///
    /// let bn = BatchNormConfig::new(2).with_epsilon(1e-12).init(&Device::flex());
    /// let y = bn.forward(Tensor::<2>::from_floats([[3.0, -4.0]], &Device::flex()));
    /// assert_eq!(y.into_data().try_to_vec::<f32>().unwrap(), [3.0, -4.0]);
    /// ```
    pub fn init(&self, device: &Device) -> BatchNorm {
        let BatchNormConfig { num_features, epsilon, momentum } = *self;
        assert!(num_features > 0, "num_features must be at least 1, but is 0");
        assert!(epsilon.is_finite() && epsilon > 0.0, "epsilon must be positive and finite, but is {epsilon}");
        assert!((0.0..=1.0).contains(&momentum), "momentum must be within 0 and 1, but is {momentum}");
        BatchNorm {
            gamma: Initializer::Ones.init([num_features], device),
            beta: Initializer::Zeros.init([num_features], device),
            training: Param::from_bool(true),
            running_mean: RunningState::new(Tensor::zeros([num_features], device)),
            running_var: RunningState::new(Tensor::ones([num_features], device)),
            momentum,
            epsilon,
        }
    }
}

/// Batch normalisation over the second dimension of `[N, C, ...]`: a drop-in for [`burn::nn::BatchNorm`], with the same
/// fields and the same record. [`BatchNormConfig::init`] creates it.
///
/// `y = (x - mean) / sqrt(variance + epsilon) * gamma + beta` per channel. The crate's page says what is as in burn's
/// layer and what is not.
///
/// ```
/// use batchnorm_burn::BatchNormConfig;
/// use burn::module::{Module, Param};
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::flex().autodiff();
/// let bn = BatchNormConfig::new(1).with_momentum(0.5).init(&device);
/// let y = bn.forward(Tensor::<2>::from_floats([[1.0], [3.0]], &device));
/// assert!((y.into_data().try_to_vec::<f32>().unwrap()[1] - 1.0).abs() < 1e-5);
///
/// let frozen = bn.valid();
/// assert_eq!(frozen.running_mean.value().into_scalar::<f32>(), 1.0); // 0.5 * 0 + 0.5 * 2
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct BatchNorm {
    /// The weight, `[num_features]`.
    pub gamma: Param<Tensor<1>>,
    /// The bias, `[num_features]`.
    pub beta: Param<Tensor<1>>,
    /// Whether the layer trains where the device has autodiff.
    pub training: Param<Flag>,
    /// The running mean, `[num_features]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// The running variance (of biased ones), `[num_features]`.
    pub running_var: RunningState<Tensor<1>>,
    /// The share of a batch in the running statistics.
    pub momentum: f64,
    /// What is added to the variance.
    pub epsilon: f64,
}

impl BatchNorm {
    /// Normalises `[N, num_features, ...]`: in training by the batch's statistics, which also move the running ones, and
    /// otherwise by the running ones. It trains if the batch is on a device with autodiff and the flag `training` is set.
    ///
    /// # Panics
    /// If the batch has fewer than two dimensions or another number of channels, if parameters and running statistics
    /// differ in length, if `epsilon` or a running variance is negative, or if the batch is not of f16, bf16, f32 or f64.
    ///
    /// ```
    /// use batchnorm_burn::BatchNormConfig;
    /// use burn::tensor::{Device, Tensor};
    ///
    /// let bn = BatchNormConfig::new(3).init(&Device::flex().autodiff());
    /// let train = bn.forward(Tensor::<3>::ones([4, 3, 5], &Device::flex().autodiff()));
    /// assert_eq!(train.into_data().try_to_vec::<f32>().unwrap(), [0.0; 60]); // constant: exactly the bias
    /// ```
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let [num_features] = self.gamma.shape().dims();
        assert_shape!(input, [_, num_features, ..]);
        let device = input.device();
        if !on_flex(&device) {
            return burn::nn::BatchNorm::from(self.clone()).forward(input);
        }
        match device.is_autodiff() && self.training.is_enabled() {
            true => self.forward_train(input, &device),
            false => self.forward_inference(input, &device),
        }
    }

    fn forward_inference<const D: usize>(&self, input: Tensor<D>, device: &Device) -> Tensor<D> {
        Tensor::from_dispatch(Dispatch::batch_norm_by_running(
            floats(input),
            floats(self.gamma.val()),
            floats(self.beta.val()),
            floats(self.running_mean.value().to_device(device)),
            floats(self.running_var.value().to_device(device)),
            self.epsilon,
        ))
    }

    fn forward_train<const D: usize>(&self, input: Tensor<D>, device: &Device) -> Tensor<D> {
        let (output, mean, var) = Dispatch::batch_norm_by_batch(
            floats(input),
            floats(self.gamma.val()),
            floats(self.beta.val()),
            floats(self.running_mean.value_sync().to_device(device)),
            floats(self.running_var.value_sync().to_device(device)),
            self.epsilon,
            self.momentum,
        );
        self.running_mean.update(Tensor::from_dispatch(mean));
        self.running_var.update(Tensor::from_dispatch(var));
        Tensor::from_dispatch(output)
    }
}

/// Says whether this crate's operations run on a device.
fn on_flex(device: &Device) -> bool {
    match device.as_dispatch() {
        DispatchDevice::Autodiff(device) => matches!(**device, DispatchDevice::Flex(_)),
        device => matches!(device, DispatchDevice::Flex(_)),
    }
}

/// Returns what an operation takes: quantised tensors as floats.
fn floats<const D: usize>(tensor: Tensor<D>) -> FloatTensor<Dispatch> {
    match tensor.dtype() {
        DType::QFloat(_) => tensor.dequantize().into_dispatch(),
        _ => tensor.into_dispatch(),
    }
}

impl ModuleDisplay for BatchNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [num_features] = self.beta.shape().dims();
        let content =
            content.add("num_features", &num_features).add("momentum", &self.momentum).add("epsilon", &self.epsilon);
        match self.training.is_enabled() {
            true => content.optional(),
            false => content.add("training", &self.training).optional(),
        }
    }
}
