//! Batch normalisation for [burn] on a CPU, by the crate [`batchnorm`]: a drop-in for [`burn::nn::BatchNorm`], with the
//! same configuration, the same record and the same calls.
//!
//! ```
//! use batchnorm_burn::BatchNormConfig; // was: use burn::nn::BatchNormConfig;
//! use burn::module::Module;
//! use burn::tensor::{Device, Distribution, Tensor};
//!
//! let device = Device::flex().autodiff();
//! let bn = BatchNormConfig::new(3).init(&device);
//!
//! let x = Tensor::<4>::random([8, 3, 16, 16], Distribution::Normal(5.0, 2.0), &device);
//! let y = bn.forward(x); // an autodiff device: by the batch's own statistics
//! assert!(y.clone().mean().into_scalar::<f32>().abs() < 1e-6);
//! let gradients = y.powi_scalar(2).sum().backward();
//! assert!(bn.gamma.grad(&gradients).is_some());
//!
//! let bn = bn.valid();
//! let x = Tensor::<4>::random([1, 3, 16, 16], Distribution::Normal(5.0, 2.0), &Device::flex());
//! let y = bn.forward(x); // any other device: by the running statistics
//! assert_eq!(y.dims(), [1, 3, 16, 16]);
//! ```
//!
//! It runs on burn's CPU backend, Flex, with or without autodiff: as an operation of its own, which burn's
//! `backend_extension` dispatches. On other devices (a GPU, say) the module calls burn's operations, so that a model can
//! train there and run here.
//!
//! What is as in burn's layer:
//!
//! - Training is chosen by the batch's device (one with autodiff) and the layer's flag `training`, which `freeze` clears.
//! - `running = (1 - momentum) * running + momentum * batch`, with the batch's *biased* variance (PyTorch's running
//!   variance is the unbiased one: that is `n / (n - 1)` times this).
//! - Gradients of training go through the batch's statistics to the input, not through the running ones. Weight and bias
//!   (`gamma`, `beta`) have gradients in training and in inference.
//! - A batch of one value per channel normalises to the bias.
//! - Shapes that do not fit panic, and the message names both.
//!
//! What differs:
//!
//! - Mean and variance are computed in f64, in one pass, and the mean is subtracted first: results are right at any mean,
//!   and the same bits on every machine and with any number of threads. A constant channel becomes exactly its bias.
//! - The running statistics move in f64 and are rounded once.
//! - f16 and bf16 are computed in f32 and f64, and rounded once. Batch and layer may have different float types: the
//!   output has the batch's.
//! - An empty training batch moves nothing (burn's running statistics become NaN).
//! - An `epsilon` or a running variance that is negative panics (burn's outputs are NaN).
//! - Contiguous tensors, and permuted ones (channels last, transposed), are read where they are; other views are copied.
//!   A batch that nobody else holds, and that no gradient needs, is normalised in place.

mod convert;
mod flex;
mod module;
mod ops;

pub use module::{BatchNorm, BatchNormConfig};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
