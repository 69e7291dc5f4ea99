//! Why a model cannot be read, and why a node is left as it is.

use std::fmt;

use prost::DecodeError;

/// Why a model cannot be converted.
///
/// ```
/// use batchnorm_ort::{ConvertError, convert};
///
/// assert!(matches!(convert(b"not a model"), Err(ConvertError::Decode(_))));
/// assert_eq!(convert(b"").unwrap_err().to_string(), "the model has no graph: is it an ONNX file?");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ConvertError {
    /// The bytes are no ONNX model, or only a part of one.
    Decode(DecodeError),
    /// The message can be read, but has no graph.
    NoGraph,
    /// Graphs lie within graphs (as in the branches of an `If`), deeper than allowed.
    #[non_exhaustive]
    TooDeep {
        /// Most levels allowed.
        most: usize,
    },
    /// The model imports another version of this crate's domain than the one that converted nodes need.
    #[non_exhaustive]
    OtherVersion {
        /// The version that converted nodes need.
        needed: i64,
        /// The version that the model imports.
        given: i64,
    },
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConvertError::Decode(error) => write!(f, "the model cannot be read as ONNX: {error}"),
            ConvertError::NoGraph => write!(f, "the model has no graph: is it an ONNX file?"),
            ConvertError::TooDeep { most } => write!(f, "the model has graphs within graphs, more than {most} deep"),
            ConvertError::OtherVersion { needed, given } => {
                write!(f, "the model imports version {given} of the domain {}, but needs {needed}", crate::DOMAIN)
            }
        }
    }
}

impl std::error::Error for ConvertError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConvertError::Decode(error) => Some(error),
            _ => None,
        }
    }
}

impl From<DecodeError> for ConvertError {
    fn from(error: DecodeError) -> Self {
        ConvertError::Decode(error)
    }
}

/// Why a node is left to ONNX Runtime.
///
/// ```
/// let reason = batchnorm_ort::Reason::FoldedIntoConv;
/// assert_eq!(reason.to_string(), "ONNX Runtime folds it into the convolution before it");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Operator sets before 7 have other inputs and attributes.
    #[non_exhaustive]
    OldOpset {
        /// The version that the model imports; 0: none.
        version: i64,
    },
    /// The training mode of operator sets 7 to 13 has other outputs: the saved mean and variance, too.
    #[non_exhaustive]
    OldTraining {
        /// How many outputs the node has.
        outputs: usize,
    },
    /// Operator set 7 with `spatial = 0`: statistics of each position, not of each channel.
    NotSpatial,
    /// [`Converter::leave_foldable`](crate::Converter::leave_foldable) is set, and ONNX Runtime folds the node.
    FoldedIntoConv,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::OldOpset { version } => {
                write!(f, "it is of operator set {version}, but only 7 and newer are converted")
            }
            Reason::OldTraining { outputs } => {
                write!(
                    f,
                    "it has {outputs} outputs, but operator sets before 14 are converted with 1 only (no training)"
                )
            }
            Reason::NotSpatial => write!(f, "spatial = 0: it has statistics of each position"),
            Reason::FoldedIntoConv => write!(f, "ONNX Runtime folds it into the convolution before it"),
        }
    }
}
