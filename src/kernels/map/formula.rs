//! What a value becomes.

use crate::lanes::Lanes;

/// A formula of `P` parameters per feature and `I` inputs of the same layout. An epilogue (an activation, a residual input)
/// is a formula around another.
pub(crate) trait Formula<const P: usize, const I: usize>: Copy {
    /// The same operations in every lane, in any lanes.
    fn apply<L: Lanes>(self, parameters: [L; P], inputs: [L; I]) -> L;
}

/// `(x - mean) * scale + bias`. The difference comes first: folded into `x * scale + shift` the mean would cancel where it is
/// large. In f64 each output is rounded to its type once, so an `f32` is within 0.50001 units in the last place of the
/// exact result, unless `x - mean` and the bias cancel.
#[derive(Clone, Copy)]
pub(crate) struct Normalize;

impl Formula<3, 1> for Normalize {
    #[inline(always)]
    fn apply<L: Lanes>(self, [mean, scale, bias]: [L; 3], [x]: [L; 1]) -> L {
        x.sub(mean).mul(scale).add(bias)
    }
}
