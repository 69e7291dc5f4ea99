//! Batch normalisation for [candle](candle_core) on a CPU, by the crate [`batchnorm`]: a drop-in for
//! [`candle_nn::BatchNorm`], with the same configuration, the same names in a [`VarBuilder`] and the same calls.
//!
//! ```
//! use batchnorm_candle::{BatchNormConfig, batch_norm};
//! use candle_core::{DType, Device, Tensor};
//! use candle_nn::{ModuleT, VarBuilder, VarMap};
//!
//! let variables = VarMap::new();
//! let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
//! let bn = batch_norm(3, BatchNormConfig::default(), vb.pp("bn1"))?; // was candle_nn::batch_norm(..)
//!
//! let x = Tensor::randn(5f32, 2.0, (8, 3, 16, 16), &Device::Cpu)?;
//! let y = bn.forward_t(&x, true)?;
//! assert!(y.mean_all()?.to_scalar::<f32>()?.abs() < 1e-6);
//! let gradients = y.sqr()?.sum_all()?.backward()?;
//! let weight = variables.data().lock().unwrap()["bn1.weight"].clone();
//! assert!(gradients.get(&weight).is_some());
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! What differs from candle's layer:
//!
//! - Mean and variance are computed in f64, in one pass, and the mean is subtracted first: results are right at any
//!   mean, and the same bits on every machine and with any number of threads.
//! - The running variance of a batch with one value per channel stays as it is (there is no unbiased variance; candle's
//!   becomes NaN).
//! - Gradients of training do not go through the running statistics, as in PyTorch.
//! - `remove_mean: false`, an `eps` or a running variance that is negative or not finite, and running statistics of
//!   integers are refused, and so is an empty batch of more than 2^24 channels.
//! - Batch and layer may have different float types: the output has the batch's.
//! - f32 and f64 are computed as they are; f16 and bf16 are widened to f32 before, and rounded after. Contiguous tensors
//!   and channels-last views (those that are contiguous once the channels come last) are read where they are; others are
//!   made contiguous. Devices other than the CPU are refused.

mod layer;
mod ops;

pub use candle_nn::BatchNormConfig;
pub use layer::{BatchNorm, batch_norm};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

#[cfg(doc)]
use candle_nn::VarBuilder;
