//! Sums over the rows of a batch, feature by feature, in the canonical order ([`crate::spec::order`]).
//!
//! | | |
//! |---|---|
//! | [`term`] | what a value contributes to which sums |
//! | [`accumulator`] | how it is accumulated: pairwise or compensated |
//! | [`rows`], [`planes`] | the two traversals: they walk, load and prefetch, for any term |
//! | [`horizontal`] | the accumulators of a feature become one |
//! | [`moments`] | moments of a chunk: the shift before, finalizing and checking after (with [`finalize`]) |
//! | [`merge`] | Chan's formula |
//! | [`tree`] | the chunks of a batch, on one thread or several, for anything that chunks yield |
//!
//! A new sum is a new [`term::Term`], and a [`tree::Reduction`] that says what a chunk yields and how two are merged.

mod accumulator;
mod finalize;
mod horizontal;
mod merge;
mod moments;
mod planes;
mod rows;
mod term;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use merge::Merge;
pub(crate) use moments::BatchMoments;
pub(crate) use tree::{Join, Reduction, Serial, Tree};
