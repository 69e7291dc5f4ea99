//! The error type. Every variant carries what was given and what was needed.

use std::fmt;

use crate::Layout;

/// What [`crate`] functions return.
///
/// ```
/// fn checked() -> batchnorm::Result<()> { Ok(()) }
/// assert!(checked().is_ok());
/// ```
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call was refused. Nothing was written and no state changed.
///
/// Variants and fields may be added in minor versions: match with `..`.
///
/// ```
/// use batchnorm::{Batch, Error, Layout};
///
/// let error = Batch::new(&[1.0f32; 29], Layout::nc(6, 5)).unwrap_err();
/// assert!(matches!(error, Error::Length { needed: 30, given: 29, .. }));
/// assert_eq!(
///     error.to_string(),
///     "the layout [outer 6, features 5, inner 1] holds 30 values, but the slice has 29"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The slice does not have the length that the layout needs.
    #[non_exhaustive]
    Length {
        /// The layout asked for.
        layout: Layout,
        /// Values that the layout holds.
        needed: usize,
        /// Values that the slice has.
        given: usize,
    },
    /// `outer * features * inner` does not fit in memory.
    #[non_exhaustive]
    Overflow {
        /// The layout asked for.
        layout: Layout,
    },
    /// A batch without values asks for more features than results are made for.
    #[non_exhaustive]
    EmptyTooWide {
        /// Features allowed in an empty batch.
        most: usize,
        /// Features asked for.
        given: usize,
    },
    /// Input and output are laid out differently.
    #[non_exhaustive]
    LayoutMismatch {
        /// Layout of the input.
        input: Layout,
        /// Layout of the output.
        output: Layout,
    },
    /// The batch, the statistics or the slice to write to have another number of features than the layer or the moments.
    #[non_exhaustive]
    Features {
        /// Features expected.
        expected: usize,
        /// Features given.
        given: usize,
    },
    /// A parameter does not have one value per feature.
    #[non_exhaustive]
    ParameterLength {
        /// The parameter: `weight`, `bias`, `running_mean`, `running_var`, or an array of [`crate::MomentsParts`].
        name: &'static str,
        /// Features of the layer or of the moments.
        expected: usize,
        /// Values given.
        given: usize,
    },
    /// Training needs more than one value per feature: the unbiased variance of one value does not exist.
    #[non_exhaustive]
    TooFewValues {
        /// Values per feature needed.
        needed: usize,
        /// Values per feature given.
        given: usize,
    },
    /// An option or a parameter is out of its range.
    #[non_exhaustive]
    OutOfRange {
        /// The option or parameter: `eps`, `momentum`, `running_var`, or an array of [`crate::MomentsParts`].
        name: &'static str,
        /// What is allowed, in words.
        allowed: &'static str,
        /// The value given.
        given: f64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Length { layout, needed, given } => {
                write!(f, "the layout {layout} holds {needed} values, but the slice has {given}")
            }
            Error::Overflow { layout } => {
                write!(f, "the layout {layout} holds more values than a slice can ({})", isize::MAX)
            }
            Error::EmptyTooWide { most, given } => {
                write!(f, "an empty batch may have at most {most} features, but {given} were asked for")
            }
            Error::LayoutMismatch { input, output } => {
                write!(f, "the input is {input}, but the output is {output}")
            }
            Error::Features { expected, given } => {
                write!(f, "expected {expected} features, but {given} were given")
            }
            Error::ParameterLength { name, expected, given } => {
                write!(f, "{name} needs {expected} values, one per feature, but {given} were given")
            }
            Error::TooFewValues { needed, given } => {
                write!(f, "training needs at least {needed} values per feature, but the batch has {given}")
            }
            Error::OutOfRange { name, allowed, given } => {
                write!(f, "{name} must be {allowed}, but is {given}")
            }
        }
    }
}

impl std::error::Error for Error {}
