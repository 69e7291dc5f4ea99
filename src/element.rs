//! The element types: `f32` and `f64`.

/// An element type of batches: `f32` or `f64`. The trait is sealed; convert other types first.
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

    /// Rounds to the nearest value of this type, ties to even.
    ///
    /// ```
    /// use batchnorm::Element;
    /// assert_eq!(f32::from_f64(0.1), 0.1f32);
    /// ```
    fn from_f64(x: f64) -> Self;
}

/// One variant per element type. Generic calls become concrete here, so that the kernels are compiled in this crate,
/// with its optimisation level, and not in the caller's crate.
pub enum ByElement<A, B> {
    /// For `f32`.
    F32(A),
    /// For `f64`.
    F64(B),
}

/// Values to read.
pub(crate) type Input<'a> = ByElement<&'a [f32], &'a [f64]>;

/// Inputs and an output, of one type.
pub(crate) type Slices<'a, T, const N: usize> = ([Option<&'a [T]>; N], &'a mut [T]);

/// Inputs and the output. An input may be missing: the first one, if the operation is in place.
pub(crate) type InOut<'a, const N: usize> = ByElement<Slices<'a, f32, N>, Slices<'a, f64, N>>;

/// Several inputs, each optional.
pub(crate) type Inputs<'a, const N: usize> = ByElement<[Option<&'a [f32]>; N], [Option<&'a [f64]>; N]>;

/// Seals [`Element`]: callers can neither implement this trait nor call its methods, because they cannot create an
/// [`Internal`].
pub trait Concrete: Sized {
    /// Wraps values to read with their concrete type.
    fn input(values: &[Self], _: Internal) -> Input<'_>;

    /// Wraps inputs and an output with their concrete type.
    fn in_out<'a, const N: usize>(inputs: [Option<&'a [Self]>; N], y: &'a mut [Self], _: Internal) -> InOut<'a, N>;

    /// Wraps several inputs, some of which may be left out, with their concrete type.
    fn inputs<const N: usize>(inputs: [Option<&[Self]>; N], _: Internal) -> Inputs<'_, N>;
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

impl Concrete for f32 {
    fn input(values: &[Self], _: Internal) -> Input<'_> {
        ByElement::F32(values)
    }

    fn in_out<'a, const N: usize>(inputs: [Option<&'a [Self]>; N], y: &'a mut [Self], _: Internal) -> InOut<'a, N> {
        ByElement::F32((inputs, y))
    }

    fn inputs<const N: usize>(inputs: [Option<&[Self]>; N], _: Internal) -> Inputs<'_, N> {
        ByElement::F32(inputs)
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

impl Concrete for f64 {
    fn input(values: &[Self], _: Internal) -> Input<'_> {
        ByElement::F64(values)
    }

    fn in_out<'a, const N: usize>(inputs: [Option<&'a [Self]>; N], y: &'a mut [Self], _: Internal) -> InOut<'a, N> {
        ByElement::F64((inputs, y))
    }

    fn inputs<const N: usize>(inputs: [Option<&[Self]>; N], _: Internal) -> Inputs<'_, N> {
        ByElement::F64(inputs)
    }
}
