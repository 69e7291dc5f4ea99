//! What follows the normalisation of a value, as separate steps. The kernels do the same in one pass.

use super::fallback::ranges;
use crate::layout::Layout;
use crate::{Activation, Element};

/// `y = activation(normalised + residual)`, where the normalised value is rounded to the element type, and the sum
/// again.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue<'a, T> {
    /// One value per value of the batch, in the same layout.
    pub(crate) residual: Option<&'a [T]>,
    pub(crate) activation: Activation,
}

impl<T: Element> Epilogue<'_, T> {
    /// Completes the outputs of a batch, which are normalised.
    pub(crate) fn apply(self, y: &mut [T]) {
        for (at, y) in y.iter_mut().enumerate() {
            *y = self.complete(at, *y);
        }
    }

    /// Completes the outputs of one feature of a batch that has values.
    pub(crate) fn apply_to_feature(self, layout: Layout, feature: usize, y: &mut [T]) {
        for at in ranges(layout, feature, y.len()).flatten() {
            y[at] = self.complete(at, y[at]);
        }
    }

    /// A sum of two f32 that is rounded to f64 and then to f32 is rounded as if once (Figueroa 1995).
    fn complete(self, at: usize, normalised: T) -> T {
        let sum = match self.residual {
            Some(residual) => T::from_f64(normalised.to_f64() + residual[at].to_f64()),
            None => normalised,
        };
        self.activation.apply(sum)
    }
}
