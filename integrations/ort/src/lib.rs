//! Batch normalisation for [ONNX Runtime](ort) on a CPU, by the crate [`batchnorm`]: a custom operator, and what makes a
//! model use it.
//!
//! ```
//! # if std::env::var_os("ORT_DYLIB_PATH").is_none() { return Ok(()) }
//! use ort::{session::Session, value::Tensor};
//!
//! let model = batchnorm_ort::convert(include_bytes!("../tests/data/tiny.onnx"))?.into_model(); // std::fs::read(..)?
//! let env = ort::init().build()?;
//! let mut session = Session::builder(&env)?
//!     .with_operators(batchnorm_ort::operators()?)?
//!     .commit_from_memory(&model)?;
//! let x = Tensor::from_array(([1, 2, 3], vec![1f32, 2.0, 3.0, 4.0, 5.0, 6.0]))?;
//! let y = session.run(ort::inputs![x])?;
//! assert_eq!(y[0].try_extract_tensor::<f32>()?.1, [0.0, 1.0, 2.0, -1.5, -1.0, -0.5]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`operators`] returns the domain [`DOMAIN`], whose operator `BatchNormalization` has ONNX's inputs, outputs and
//! attributes. ONNX Runtime does not let anyone replace its own operators, so [`convert`] moves the nodes of a model to that
//! domain.
//!
//! # What differs from ONNX Runtime's own
//! - The mean is subtracted first, and statistics are summed up in f64: results are right at any mean, and the same bits
//!   on every machine and with any number of threads.
//! - All combinations of f16, bf16, f32 and f64 that ONNX allows run.
//! - An `epsilon` or a variance that is negative, or an `epsilon` or `momentum` that is not finite, is refused.
//! - A training step on an empty batch leaves the running statistics as they are.
//! - ONNX Runtime does not know what the operator does, so it neither folds it into a convolution nor keeps its own blocked
//!   layout of convolutions across it: see [`Converter::leave_foldable`] and [`Converter::fuse_relu`].
//!
//! # Threads and memory
//! Inference runs on the threads of the session (`with_intra_threads`), a training step on the one that calls. Parameters
//! are prepared in the first call, and again when an input has changed; those that are part of the model are not looked
//! at again. The output takes the place of the input where ONNX Runtime allows it, and the operator allocates nothing of
//! its own in inference, unless it hands work to other threads (`ort` allocates for each tensor that it shows to an
//! operator).

mod convert;
mod kernel;
mod layout;
mod operator;
mod parameters;
mod pieces;

pub use convert::{ConvertError, Converted, Converter, Reason, convert};
pub use operator::operators;

/// The domain of the operator: nodes that are to use it have this domain, and models import version 1 of it.
///
/// ```
/// let converted = batchnorm_ort::convert(include_bytes!("../tests/data/tiny.onnx"))?;
/// let domain = batchnorm_ort::DOMAIN.as_bytes();
/// assert!(converted.model().windows(domain.len()).any(|part| part == domain));
/// # Ok::<(), batchnorm_ort::ConvertError>(())
/// ```
pub const DOMAIN: &str = "ai.batchnorm";

const OP_TYPE: &str = "BatchNormalization";
const VERSION: u32 = 1;
/// The attribute beyond ONNX's, and its value.
const ACTIVATION: &str = "activation";
const RELU: &str = "Relu";

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
