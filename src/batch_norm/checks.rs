//! Whether a batch fits a layer, and an output its input.

use crate::{Error, Layout, Result};

pub(super) fn check_features(expected: usize, layout: Layout) -> Result<()> {
    let given = layout.features();
    if given == expected { Ok(()) } else { Err(Error::Features { expected, given }) }
}

pub(super) fn check_same(input: Layout, output: Layout) -> Result<()> {
    if input == output { Ok(()) } else { Err(Error::LayoutMismatch { input, output }) }
}
