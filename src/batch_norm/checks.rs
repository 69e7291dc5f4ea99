//! Whether a batch fits a layer, and an output its input.

pub(super) use crate::error::check_same;

use crate::{Layout, Result};

pub(super) fn check_features(expected: usize, layout: Layout) -> Result<()> {
    crate::error::check_features(("the layer has", expected), ("the batch has", layout.features()))
}
