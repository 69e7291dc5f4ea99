//! Whether a batch fits a layer, and an output its input.

use crate::{Error, Layout, Result};

pub(super) fn check_features(expected: usize, layout: Layout) -> Result<()> {
    crate::error::check_features(("the layer has", expected), ("the batch has", layout.features()))
}

/// The outer strides may differ.
pub(super) fn check_same(input: Layout, output: Layout) -> Result<()> {
    if input.without_gaps() == output.without_gaps() { Ok(()) } else { Err(Error::LayoutMismatch { input, output }) }
}
