//! Placeholder

mod accumulator;
mod batch;
mod batch_norm;
mod careful;
mod element;
mod error;
mod facade;
mod kernels;
mod lanes;
mod layout;
mod moments;
mod order;
mod paths;

pub use accumulator::Accumulator;
pub use batch::{Batch, BatchMut};
pub use batch_norm::{BatchNorm, Inference};
pub use element::Element;
pub use error::{Error, Result};
pub use facade::{parallel, scalar, simd};
pub use lanes::Isa;
pub use layout::Layout;
pub use moments::Moments;
pub use paths::Path;

/// Moments of each feature of a batch, by [`Path::Auto`].
///
/// ```
/// use batchnorm::{Batch, Layout, moments};
///
/// let m = moments(Batch::new(&[1.0f32, 2.0, 6.0], Layout::nc(3, 1))?);
/// assert_eq!((m.mean(0), m.variance(0, 1.0)), (3.0, 7.0));
/// # Ok::<(), batchnorm::Error>(())
/// ```
pub fn moments<T: Element>(x: Batch<'_, T>) -> Moments {
    Path::Auto.moments(x)
}
