//! The error type: the same value on every rank.

use std::fmt;

use mpi::Rank;

/// The result type of this crate's functions.
///
/// ```
/// fn checked() -> batchnorm_mpi::Result<()> { Ok(()) }
/// assert!(checked().is_ok());
/// ```
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call failed. All ranks get the same one, and nothing has changed on any of them.
///
/// ```
/// use batchnorm_mpi::Error;
///
/// let error = Error::Rank { rank: 2, reason: "the batch has 5 features, but the layer has 6".into() };
/// assert_eq!(error.to_string(), "rank 2: the batch has 5 features, but the layer has 6");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A rank cannot do its part. (The first such rank, if there are several.)
    Rank {
        /// The rank.
        rank: Rank,
        /// Its reason.
        reason: String,
    },
    /// Two ranks do not make the same call, or not on the same layer.
    Disagreement {
        /// What they disagree on.
        what: &'static str,
        /// Two ranks (the first of the communicator, and the first that differs from it), and what each has.
        ranks: [(Rank, String); 2],
    },
    /// A shard has a NaN, an infinity or too large a variance, and the layer refuses that
    /// ([`NonFinite::Refuse`](batchnorm::NonFinite::Refuse)).
    NonFinite {
        /// The first rank with such a shard. None if all shards are finite, but the variance of all of them is not.
        rank: Option<Rank>,
        /// The feature, with its mean and variance in the whole batch.
        source: batchnorm::Error,
    },
    /// The layer refuses the whole batch, for example because all shards together have one row.
    Layer(batchnorm::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Rank { rank, reason } => write!(f, "rank {rank}: {reason}"),
            Error::Disagreement { what, ranks: [(a, of_a), (b, of_b)] } => {
                write!(f, "the ranks disagree on {what}: rank {a} has {of_a}, but rank {b} has {of_b}")
            }
            Error::NonFinite { rank: Some(rank), source } => write!(f, "the shard of rank {rank}: {source}"),
            Error::NonFinite { rank: None, source } => write!(f, "all shards together: {source}"),
            Error::Layer(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::NonFinite { source, .. } | Error::Layer(source) => Some(source),
            _ => None,
        }
    }
}

/// For the `?` of a program: batches and layers are made by the crate `batchnorm`.
impl From<batchnorm::Error> for Error {
    fn from(error: batchnorm::Error) -> Self {
        Error::Layer(error)
    }
}
