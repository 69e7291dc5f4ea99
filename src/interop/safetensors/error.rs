//! Why a file was refused.

use std::fmt;

/// The result type of this module.
///
/// ```
/// fn checked() -> batchnorm::safetensors::Result<()> { Ok(()) }
/// assert!(checked().is_ok());
/// ```
pub type Result<T> = std::result::Result<T, Error>;

/// Why a layer could not be read from a file, or written. Names tensors as the file does.
///
/// ```
/// use batchnorm::BatchNorm;
/// use batchnorm::safetensors::{Error, StateDict, Values, write};
///
/// let file = write([("bn1", &BatchNorm::new(2))], Values::F32)?;
/// let error = StateDict::parse(&file)?.layer("bn2").unwrap_err();
/// assert!(matches!(&error, Error::Missing { key, .. } if key == "bn2.running_mean"));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// This is no valid safetensors file.
    #[non_exhaustive]
    File {
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor is missing.
    #[non_exhaustive]
    Missing {
        /// Its name.
        key: String,
    },
    /// There is a tensor that the layer does not have.
    #[non_exhaustive]
    Unexpected {
        /// Its name.
        key: String,
    },
    /// A tensor has the wrong shape.
    #[non_exhaustive]
    Shape {
        /// Its name.
        key: String,
        /// The length that the layer needs, if it is known.
        expected: Option<usize>,
        /// The dimensions in the file.
        given: Vec<usize>,
    },
    /// A tensor has the wrong type.
    #[non_exhaustive]
    Dtype {
        /// Its name.
        key: String,
        /// The types allowed.
        expected: &'static str,
        /// The type in the file.
        given: String,
    },
    /// A number of batches is negative.
    #[non_exhaustive]
    Negative {
        /// The name of the tensor.
        key: String,
    },
    /// The layer refuses a value, or has too many features for the memory.
    #[non_exhaustive]
    Layer {
        /// The prefix of the layer.
        prefix: String,
        /// Why.
        error: crate::Error,
    },
    /// Two layers were to be written under one name.
    #[non_exhaustive]
    Twice {
        /// The name of the first tensor that they share.
        key: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::File { reason } => write!(f, "not a valid safetensors file: {reason}"),
            Error::Missing { key } => write!(f, "`{key}` is missing"),
            Error::Unexpected { key } => write!(f, "`{key}` is not a tensor of this layer"),
            Error::Shape { key, expected: Some(expected), given } => {
                write!(f, "`{key}` has shape {given:?}, but the layer needs [{expected}]")
            }
            Error::Shape { key, expected: None, given } => {
                write!(f, "`{key}` has shape {given:?}, but must have one dimension")
            }
            Error::Dtype { key, expected, given } => write!(f, "`{key}` is {given}, but must be {expected}"),
            Error::Negative { key } => write!(f, "`{key}` is negative"),
            Error::Layer { prefix, error } => write!(f, "layer `{prefix}`: {error}"),
            Error::Twice { key } => write!(f, "two layers have a tensor `{key}`"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Layer { error, .. } => Some(error),
            _ => None,
        }
    }
}
