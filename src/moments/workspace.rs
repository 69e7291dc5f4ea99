//! Memory that a call computes in.

use alloc::vec::Vec;
use core::fmt;

/// Scratch memory that is reused from call to call, so that later calls on one thread allocate nothing. It grows to the
/// size that the largest call needed. A clone starts empty.
///
/// ```
/// use batchnorm::{Batch, Layout, Moments, Path, Workspace};
///
/// let (mut m, mut workspace) = (Moments::default(), Workspace::default());
/// for batch in [[1.0f32, 3.0], [2.0, 6.0]] {
///     Path::Auto.moments_into(Batch::new(&batch, Layout::nc(2, 1))?, &mut m, &mut workspace);
/// }
/// assert_eq!(m.mean(0), 4.0);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Default)]
pub struct Workspace(Vec<f64>);

impl Workspace {
    /// Returns `len` values with unspecified contents, growing the memory if needed.
    pub(crate) fn of(&mut self, len: usize) -> &mut [f64] {
        if self.0.len() < len {
            self.0.resize(len, 0.0);
        }
        &mut self.0[..len]
    }
}

impl Clone for Workspace {
    fn clone(&self) -> Self {
        Workspace::default()
    }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").field("bytes", &size_of_val(&self.0[..])).finish()
    }
}
