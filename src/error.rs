//! The error type. Its variants hold what was given and what was expected.

use core::fmt;

use crate::{Activation, Layout};

/// The result type of this crate's functions.
///
/// ```
/// fn checked() -> batchnorm::Result<()> { Ok(()) }
/// assert!(checked().is_ok());
/// ```
pub type Result<T> = core::result::Result<T, Error>;

/// Why a call failed. A failed call leaves everything unchanged.
///
/// Minor versions may add variants and fields, so match with `..`.
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
    /// The length of the slice does not match the layout.
    #[non_exhaustive]
    Length {
        /// The layout.
        layout: Layout,
        /// Number of values in the layout.
        needed: usize,
        /// Number of values in the slice.
        given: usize,
    },
    /// `outer * features * inner` exceeds `isize::MAX`, the most values that a slice can hold.
    #[non_exhaustive]
    Overflow {
        /// The layout.
        layout: Layout,
    },
    /// The outer stride is smaller than an outer block, so that outer blocks would overlap.
    #[non_exhaustive]
    Stride {
        /// The layout.
        layout: Layout,
    },
    /// An empty batch has more features than allowed.
    #[non_exhaustive]
    EmptyTooWide {
        /// Most features allowed in an empty batch.
        most: usize,
        /// Features given.
        given: usize,
    },
    /// Input and output have different layouts, or the rows of a stream have planes.
    #[non_exhaustive]
    LayoutMismatch {
        /// Layout of the input.
        input: Layout,
        /// Layout of the output, or the layout that an [`Accumulator`](crate::Accumulator) or a stream expects.
        output: Layout,
    },
    /// The batch, the statistics or the output slice has a different number of features from the layer or the moments.
    #[non_exhaustive]
    Features {
        /// Features expected.
        expected: usize,
        /// What has these, with a verb: `the layer has`.
        expected_by: &'static str,
        /// Features given.
        given: usize,
        /// What has these, with a verb: `the batch has`.
        given_by: &'static str,
    },
    /// A parameter does not have one value per feature.
    #[non_exhaustive]
    ParameterLength {
        /// The parameter: `weight`, `bias`, `running_mean`, `running_var`, or an array of
        /// [`MomentsParts`](crate::MomentsParts).
        name: &'static str,
        /// Number of features of the layer or of the moments.
        expected: usize,
        /// Number of values given.
        given: usize,
    },
    /// Training needs more values per feature than the `ddof` of the running variance (two by default), because the
    /// variance of fewer is undefined. [`FewValues`](crate::FewValues) has a way out.
    #[non_exhaustive]
    TooFewValues {
        /// Values per feature needed.
        needed: usize,
        /// Values per feature given.
        given: usize,
    },
    /// Merged moments would have more values of a feature than a `u64` counts.
    #[non_exhaustive]
    TooManyValues {
        /// Values of the one side.
        a: u64,
        /// Values of the other side.
        b: u64,
    },
    /// The moments with which a batch is to be normalised are of fewer values than the batch has, so they cannot
    /// include it.
    #[non_exhaustive]
    MomentsTooSmall {
        /// Values per feature of the moments.
        moments: u64,
        /// Values per feature of the batch.
        batch: usize,
    },
    /// A feature of a training batch has a NaN or an infinity, or a variance that exceeds `f64::MAX`, and
    /// [`NonFinite::Refuse`](crate::NonFinite::Refuse) refuses that.
    #[non_exhaustive]
    NonFinite {
        /// The first such feature.
        feature: usize,
        /// Its mean.
        mean: f64,
        /// Its population variance.
        variance: f64,
    },
    /// The layer applies a ReLU ([`Activation::Relu`]), but a backward pass was given no output of
    /// it: [`GradOutput::through_relu`](crate::GradOutput::through_relu) takes it.
    NoReluOutput,
    /// The layer was made [without running statistics](crate::BatchNorm::without_running_stats), but the call needs
    /// them.
    NoRunningStats,
    /// The moments of a backward pass are of a different number of values from its sums or its batch. (A shard is
    /// missing, or the moments are of another batch.)
    #[non_exhaustive]
    Counts {
        /// Values of a feature in the moments.
        expected: u64,
        /// Values of the feature in the sums or in the batch.
        given: u64,
    },
    /// The features of moments have different counts, but a stream, or training a layer, needs one count.
    #[non_exhaustive]
    UnevenCounts {
        /// Values of the first feature.
        a: u64,
        /// Values of another feature.
        b: u64,
    },
    /// There is not enough memory for so many features.
    #[non_exhaustive]
    TooManyFeatures {
        /// Number of features given.
        given: usize,
    },
    /// An array does not have the axis of the features (feature `ndarray`).
    #[non_exhaustive]
    NoSuchAxis {
        /// The axis given, from 0 on.
        axis: usize,
        /// Number of axes of the array.
        dimensions: usize,
    },
    /// The weight of a layer to fold into has the wrong length.
    #[non_exhaustive]
    WeightLength {
        /// Number of values needed.
        needed: usize,
        /// Number of values given.
        given: usize,
    },
    /// The weight of a layer to fold into does not have the same number of values for each pair of channels.
    #[non_exhaustive]
    WeightMultiple {
        /// What the number of values must be a multiple of.
        of: usize,
        /// Number of values given.
        given: usize,
    },
    /// Channels cannot be split into so many groups.
    #[non_exhaustive]
    Groups {
        /// Number of channels: of features, inputs or outputs.
        channels: usize,
        /// Number of groups given.
        groups: usize,
    },
    /// A layer cannot be folded into the one after it, because of its own activation in between.
    #[non_exhaustive]
    ActivationInBetween {
        /// The activation.
        activation: Activation,
    },
    /// An option or a parameter is out of range.
    #[non_exhaustive]
    OutOfRange {
        /// The option or parameter: `eps`, `momentum`, `running_ddof`, `running_var`, or an array of
        /// [`MomentsParts`](crate::MomentsParts).
        name: &'static str,
        /// The allowed values, in words.
        allowed: &'static str,
        /// The value given.
        given: f64,
    },
}

/// Checks that two batches have one shape. Their outer strides may differ.
pub(crate) fn check_same(input: Layout, output: Layout) -> Result<()> {
    if input.without_gaps() == output.without_gaps() { Ok(()) } else { Err(Error::LayoutMismatch { input, output }) }
}

/// Checks that two numbers of features agree. Each comes with what has them, and a verb.
pub(crate) fn check_features(
    (expected_by, expected): (&'static str, usize),
    (given_by, given): (&'static str, usize),
) -> Result<()> {
    if given == expected { Ok(()) } else { Err(Error::Features { expected, expected_by, given, given_by }) }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::Length { layout, needed, given } => {
                let holds = if layout == layout.without_gaps() { "holds" } else { "spans" };
                write!(f, "the layout {layout} {holds} {needed} values, but the slice has {given}")
            }
            Error::Overflow { layout } => {
                write!(f, "the layout {layout} holds more values than a slice can ({})", isize::MAX)
            }
            Error::Stride { layout } => {
                let block = layout.features().saturating_mul(layout.inner());
                write!(f, "the outer stride of the layout {layout} is less than the {block} values of an outer block")
            }
            Error::EmptyTooWide { most, given } => {
                write!(f, "an empty batch may have at most {most} features, but {given} were asked for")
            }
            Error::LayoutMismatch { input, output } => {
                write!(f, "the input is {input}, but the output is {output}")
            }
            Error::Features { expected, expected_by, given, given_by } => {
                let features = if expected == 1 { "feature" } else { "features" };
                write!(f, "{expected_by} {expected} {features}, but {given_by} {given}")
            }
            Error::ParameterLength { name, expected, given } => {
                write!(f, "{name} needs {expected} values, one per feature, but got {given}")
            }
            Error::TooFewValues { needed, given } => {
                let values = if needed == 1 { "value" } else { "values" };
                write!(f, "training needs at least {needed} {values} per feature, but the batch has {given}: ")?;
                write!(f, "the variance of so few is undefined")
            }
            Error::TooManyValues { a, b } => {
                write!(f, "moments of {a} and {b} values cannot be merged: a feature has at most {} values", u64::MAX)
            }
            Error::MomentsTooSmall { moments, batch } => {
                write!(f, "the batch has {batch} values per feature, but the moments are of {moments}")
            }
            Error::NonFinite { feature, mean, variance } => {
                write!(f, "feature {feature} of the batch has a NaN, an infinity or too large a variance: ")?;
                write!(f, "its mean is {mean}, and its variance {variance}")
            }
            Error::NoReluOutput => {
                write!(
                    f,
                    "the layer applies a ReLU, so its backward pass needs its output: `GradOutput::through_relu(dy, y)`"
                )
            }
            Error::NoRunningStats => {
                write!(
                    f,
                    "the layer has no running statistics (made `without_running_stats`, or from a file without them), "
                )?;
                write!(f, "so there are none to set or to freeze for inference")
            }
            Error::Counts { expected, given } => {
                write!(f, "the moments are of {expected} values of a feature, but its gradients are of {given}")
            }
            Error::UnevenCounts { a, b } => {
                write!(f, "the features need one count, but these have {a} and {b} values")
            }
            Error::TooManyFeatures { given } => write!(f, "there is not enough memory for {given} features"),
            Error::NoSuchAxis { axis, dimensions } => {
                write!(f, "there is no axis {axis} in an array of {dimensions} dimensions (the first one is 0)")
            }
            Error::WeightLength { needed, given } => {
                write!(f, "the weight needs {needed} values, but has {given}")
            }
            Error::WeightMultiple { of, given } => {
                write!(f, "the number of values of the weight must be a multiple of {of}, but is {given}")
            }
            Error::Groups { channels, groups } => {
                write!(f, "{channels} channels cannot be split into {groups} groups")
            }
            Error::ActivationInBetween { activation } => {
                write!(f, "a layer with the activation {activation:?} cannot be folded into the layer after it")
            }
            Error::OutOfRange { name, allowed, given } => {
                write!(f, "{name} must be {allowed}, but is {given}")
            }
        }
    }
}

impl core::error::Error for Error {}
