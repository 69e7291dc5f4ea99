//! The element types: `f32` and `f64`, and with the feature `half` also `f16` and `bf16`.

use core::marker::PhantomData;

use crate::Batch;
#[cfg(feature = "half")]
use half::{bf16, f16};

/// An element type of batches: `f32` or `f64`, and with the feature `half` also `half::f16` and `half::bf16`. The trait is
/// sealed; convert other types first.
///
/// Batches of f16 and bf16 are computed as f32 batches of the same values: moments are those of the f32 values, and each
/// output is that of an f32 batch, rounded to the type.
///
/// ```
/// fn total<T: batchnorm::Element>(values: &[T]) -> f64 {
///     values.iter().map(|x| x.to_f64()).sum()
/// }
/// assert_eq!(total(&[0.5f32, 0.25]), 0.75);
/// ```
pub trait Element: Copy + Send + Sync + core::fmt::Debug + PartialEq + 'static + Concrete {
    /// Converts the value to `f64`, exactly.
    ///
    /// ```
    /// use batchnorm::Element;
    /// assert_eq!(0.5f32.to_f64(), 0.5);
    /// ```
    fn to_f64(self) -> f64;

    /// Rounds to the nearest value of this type, ties to even: to f16 and bf16 by way of f32.
    ///
    /// ```
    /// use batchnorm::Element;
    /// assert_eq!(f32::from_f64(0.1), 0.1f32);
    /// ```
    fn from_f64(x: f64) -> Self;
}

/// One variant per element type. Generic calls become concrete here, so that the kernels are compiled in this crate,
/// with its optimisation level, and not in the caller's crate.
pub enum ByElement<S: Slices> {
    /// For `f32`.
    F32(S::Of<f32>),
    /// For `f64`.
    F64(S::Of<f64>),
    /// For `f16`.
    #[cfg(feature = "half")]
    F16(S::Of<f16>),
    /// For `bf16`.
    #[cfg(feature = "half")]
    Bf16(S::Of<bf16>),
}

/// What an operation takes, for each element type.
pub trait Slices {
    /// For one type.
    type Of<T: 'static>;
}

/// Values to read.
pub struct Input<'a>(PhantomData<&'a ()>);

impl<'a> Slices for Input<'a> {
    type Of<T: 'static> = &'a [T];
}

/// Inputs and the output. An input may be missing: the first one, if the operation is in place.
pub struct InOut<'a, const N: usize>(PhantomData<&'a ()>);

impl<'a, const N: usize> Slices for InOut<'a, N> {
    type Of<T: 'static> = ([Option<&'a [T]>; N], &'a mut [T]);
}

/// Batches to read, each optional.
pub struct Inputs<'a, const N: usize>(PhantomData<&'a ()>);

impl<'a, const N: usize> Slices for Inputs<'a, N> {
    type Of<T: 'static> = [Option<Batch<'a, T>>; N];
}

/// Seals [`Element`]: callers can neither implement this trait nor call its methods, because they cannot create an
/// [`Internal`].
pub trait Concrete: Sized {
    /// Wraps values to read with their concrete type.
    fn input(values: &[Self], _: Internal) -> ByElement<Input<'_>>;

    /// Wraps inputs and an output with their concrete type.
    fn in_out<'a, const N: usize>(
        inputs: [Option<&'a [Self]>; N],
        y: &'a mut [Self],
        _: Internal,
    ) -> ByElement<InOut<'a, N>>;

    /// Wraps batches to read, some of which may be left out, with their concrete type.
    fn inputs<const N: usize>(inputs: [Option<Batch<'_, Self>>; N], _: Internal) -> ByElement<Inputs<'_, N>>;
}

/// An argument that only this crate can create.
pub struct Internal(());

pub(crate) const INTERNAL: Internal = Internal(());

impl Element for f32 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the element type is what this does")]
    fn from_f64(x: f64) -> Self {
        x as f32
    }
}

impl Element for f64 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x
    }
}

#[cfg(feature = "half")]
impl Element for f16 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self.to_f32())
    }

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        f16::from_f32(f32::from_f64(x))
    }
}

#[cfg(feature = "half")]
impl Element for bf16 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self.to_f32())
    }

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        bf16::from_f32(f32::from_f64(x))
    }
}

/// An element type that is computed on in f32.
pub(crate) trait SingleElement: Element {
    /// Converts the value to f32, exactly.
    fn to_f32(self) -> f32;
    /// Rounds to the nearest value of this type, ties to even.
    fn from_f32(x: f32) -> Self;
}

impl SingleElement for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        x
    }
}

macro_rules! concrete {
    ($element:ident, $variant:ident) => {
        impl Concrete for $element {
            fn input(values: &[Self], _: Internal) -> ByElement<Input<'_>> {
                ByElement::$variant(values)
            }

            fn in_out<'a, const N: usize>(
                inputs: [Option<&'a [Self]>; N],
                y: &'a mut [Self],
                _: Internal,
            ) -> ByElement<InOut<'a, N>> {
                ByElement::$variant((inputs, y))
            }

            fn inputs<const N: usize>(inputs: [Option<Batch<'_, Self>>; N], _: Internal) -> ByElement<Inputs<'_, N>> {
                ByElement::$variant(inputs)
            }
        }
    };
}

concrete!(f32, F32);
concrete!(f64, F64);

#[cfg(feature = "half")]
macro_rules! half_element {
    ($element:ident, $variant:ident) => {
        concrete!($element, $variant);

        impl SingleElement for $element {
            #[inline(always)]
            fn to_f32(self) -> f32 {
                $element::to_f32(self)
            }

            #[inline(always)]
            fn from_f32(x: f32) -> Self {
                $element::from_f32(x)
            }
        }
    };
}

#[cfg(feature = "half")]
half_element!(f16, F16);
#[cfg(feature = "half")]
half_element!(bf16, Bf16);
