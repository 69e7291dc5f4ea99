//! The kernels, written once over lanes: `columns` and `planes` (sums about a pivot, in the two views of a batch; `group`
//! and `fold` are what they share), `finish` (from sums to moments), `chunk` (one chunk), `merge` (Chan's formula), `tree`
//! (the chunks of a batch, serial or on rayon), `variance` and `normalize`.
//!
//! They follow [`crate::order`] and import it, `lanes`, `element` and `careful`; nothing here knows of paths or of the
//! layer.

mod chunk;
mod columns;
mod finish;
mod fold;
mod group;
mod merge;
mod normalize;
mod pair;
mod partial;
mod planes;
mod tree;
mod variance;

pub(crate) use merge::Merge;
pub(crate) use normalize::{Affine, Normalize};
pub(crate) use partial::{ARRAYS, Partial, PartialMut};
pub(crate) use tree::Tree;
pub(crate) use variance::Variances;
