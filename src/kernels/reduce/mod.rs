//! Sums over the rows of a batch, feature by feature, in the canonical order ([`spec::order`](crate::spec::order)).
//!
//! | | |
//! |---|---|
//! | [`term`] | what a value contributes to which sums |
//! | [`accumulator`] | how contributions are accumulated: pairwise or compensated |
//! | [`rows`], [`planes`] | the traversals: where values lie, and how they are prefetched |
//! | [`row_sums`], [`plane_sums`] | the sums of a traversal, for any term: in memory, or in registers |
//! | [`few`] | a traversal for features with few values, one per lane |
//! | [`horizontal`] | the horizontal reduction: from the accumulators of a feature to one |
//! | [`moments`] | the moments of a chunk: the shift, the sums, finalizing and checking (with [`finalize`]) |
//! | [`gradients`] | the sums of a backward pass |
//! | [`merge`] | Chan's formula |
//! | [`tree`] | the tree of chunks, for any kind of result |
//! | `parts` | the same, cut into parts for several threads |
//!
//! A new kind of sum needs a new [`Term`](term::Term), and a [`Reduction`] that defines the result of a chunk and how
//! two results are merged.

mod accumulator;
mod few;
mod finalize;
mod gradients;
mod horizontal;
mod merge;
mod moments;
#[cfg(any(feature = "rayon", test))]
mod parts;
mod plane_sums;
mod planes;
mod row_sums;
mod rows;
mod term;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use gradients::{BatchGradients, SUM_WORDS};
pub(crate) use merge::Merge;
pub(crate) use moments::BatchMoments;
#[cfg(feature = "rayon")]
pub(crate) use parts::Size;
pub(crate) use tree::{Reduction, Tree};
