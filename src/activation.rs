//! Activations: what is applied to a normalised value, and to its sum with a residual, before it is stored.

use crate::Element;

/// The activation that a layer applies to its outputs, in the same pass: a setting of
/// [`BatchNorm`](crate::BatchNorm::with_activation) and [`Inference`](crate::Inference::with_activation).
///
/// The outputs have the bits of the separate steps: normalise and store, then apply [`Activation::apply`] to each
/// value. Other activations are the caller's.
///
/// ```
/// use batchnorm::{Activation, Batch, BatchMut, BatchNorm, Layout};
///
/// let (layout, mut y) = (Layout::nc(2, 1), [0.0f32; 2]);
/// let mut bn = BatchNorm::new(1).with_eps(0.0)?.with_activation(Activation::Relu);
/// bn.forward_train(Batch::new(&[1.0f32, 3.0], layout)?, BatchMut::new(&mut y, layout)?)?;
/// assert_eq!(y, [0.0, 1.0]);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[must_use]
#[non_exhaustive]
pub enum Activation {
    /// The default: values stay as they are.
    #[default]
    None,
    /// ReLU: 0.0 in place of values that are at most 0, -0.0 among them, and other values as they are. NaN stays NaN,
    /// as in PyTorch. (PyTorch's sign of a zero depends on the processor; here no output is -0.0.)
    Relu,
}

impl Activation {
    /// Applies the activation to one value.
    ///
    /// ```
    /// use batchnorm::Activation;
    /// assert_eq!(Activation::Relu.apply(-2.0f32), 0.0);
    /// assert!(Activation::Relu.apply(-0.0f64).is_sign_positive());
    /// assert!(Activation::Relu.apply(f64::NAN).is_nan());
    /// assert_eq!(Activation::None.apply(-2.0f32), -2.0);
    /// ```
    #[must_use]
    pub fn apply<T: Element>(self, x: T) -> T {
        match self {
            Activation::None => x,
            Activation::Relu => {
                if x.to_f64() <= 0.0 {
                    T::from_f64(0.0)
                } else {
                    x
                }
            }
        }
    }
}
