//! The kernels, written once over lanes: `sums` (deviations from a pivot, over the rows that `rows` gives), `chunk` (the
//! moments of one chunk), `merge` (Chan's formula), `tree` (the chunks of a batch, serial or on rayon) and `normalize`.
//!
//! They follow [`crate::order`] and import it, `lanes`, `element` and `careful`; nothing here knows of paths or of the
//! layer.

mod chunk;
mod fold;
mod merge;
mod normalize;
mod pair;
mod partial;
mod rows;
mod sums;
mod tree;

pub(crate) use merge::Merge;
pub(crate) use normalize::{Affine, Normalize};
pub(crate) use partial::{ARRAYS, Partial, PartialMut};
pub(crate) use tree::Tree;
