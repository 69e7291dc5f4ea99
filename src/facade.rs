//! The paths as modules with the same functions, for callers who name one in their code.

/// Writes the functions of one path: they differ in the path alone.
macro_rules! path_module {
    ($(#[$doc:meta])* $name:ident, $path:expr) => {
        $(#[$doc])*
        pub mod $name {
            use crate::{Batch, BatchMut, BatchNorm, Element, Moments, Path, Result};

            fn path() -> Path {
                $path
            }

            /// Moments of each feature: [`Path::moments`].
            ///
            /// ```
            /// # use batchnorm::{Batch, Layout};
            #[doc = concat!("let m = batchnorm::", stringify!($name), "::moments(Batch::new(&[1.0f32, 2.0, 6.0], Layout::nc(3, 1))?);")]
            /// assert_eq!((m.mean(0), m.variance(0, 1.0)), (3.0, 7.0));
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn moments<T: Element>(x: Batch<'_, T>) -> Moments {
                path().moments(x)
            }

            /// The same into moments that exist: [`Path::moments_into`].
            ///
            /// ```
            /// # use batchnorm::{Batch, Layout, Moments};
            /// let mut m = Moments::default();
            #[doc = concat!("batchnorm::", stringify!($name), "::moments_into(Batch::new(&[1.0f32, 2.0, 6.0], Layout::nc(3, 1))?, &mut m);")]
            /// assert_eq!(m.mean(0), 3.0);
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn moments_into<T: Element>(x: Batch<'_, T>, moments: &mut Moments) {
                path().moments_into(x, moments);
            }

            /// Training: [`BatchNorm::forward_train`].
            ///
            /// # Errors
            /// As there.
            ///
            /// ```
            /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
            /// let (layout, mut out) = (Layout::nc(2, 1), [0.0f32; 2]);
            /// let mut bn = BatchNorm::new(1).with_eps(0.0)?;
            /// let (x, y) = (Batch::new(&[1.0f32, 3.0], layout)?, BatchMut::new(&mut out, layout)?);
            #[doc = concat!("batchnorm::", stringify!($name), "::forward_train(&mut bn, x, y)?;")]
            /// assert_eq!(out, [-1.0, 1.0]);
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn forward_train<T: Element>(bn: &mut BatchNorm, x: Batch<'_, T>, y: BatchMut<'_, T>) -> Result<()> {
                bn.forward_train_by(path(), x, y)
            }

            /// Training in place: [`BatchNorm::forward_train_in_place`].
            ///
            /// # Errors
            /// As there.
            ///
            /// ```
            /// # use batchnorm::{BatchMut, BatchNorm, Layout};
            /// let (layout, mut data) = (Layout::nc(2, 1), [1.0f32, 3.0]);
            /// let mut bn = BatchNorm::new(1).with_eps(0.0)?;
            #[doc = concat!("batchnorm::", stringify!($name), "::forward_train_in_place(&mut bn, BatchMut::new(&mut data, layout)?)?;")]
            /// assert_eq!(data, [-1.0, 1.0]);
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn forward_train_in_place<T: Element>(bn: &mut BatchNorm, x: BatchMut<'_, T>) -> Result<()> {
                bn.forward_train_in_place_by(path(), x)
            }

            /// Evaluation: [`BatchNorm::forward_eval`].
            ///
            /// # Errors
            /// As there.
            ///
            /// ```
            /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
            /// let (layout, mut out) = (Layout::nc(2, 1), [0.0f32; 2]);
            /// let bn = BatchNorm::new(1).with_eps(0.0)?;
            /// let (x, y) = (Batch::new(&[1.0f32, 3.0], layout)?, BatchMut::new(&mut out, layout)?);
            #[doc = concat!("batchnorm::", stringify!($name), "::forward_eval(&bn, x, y)?;")]
            /// assert_eq!(out, [1.0, 3.0]);
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn forward_eval<T: Element>(bn: &BatchNorm, x: Batch<'_, T>, y: BatchMut<'_, T>) -> Result<()> {
                bn.inference().forward_by(path(), x, y)
            }

            /// Evaluation in place: [`BatchNorm::forward_eval_in_place`].
            ///
            /// # Errors
            /// As there.
            ///
            /// ```
            /// # use batchnorm::{BatchMut, BatchNorm, Layout};
            /// let (layout, mut data) = (Layout::nc(2, 1), [1.0f32, 3.0]);
            /// let bn = BatchNorm::new(1).with_eps(0.0)?;
            #[doc = concat!("batchnorm::", stringify!($name), "::forward_eval_in_place(&bn, BatchMut::new(&mut data, layout)?)?;")]
            /// assert_eq!(data, [1.0, 3.0]);
            /// # Ok::<(), batchnorm::Error>(())
            /// ```
            pub fn forward_eval_in_place<T: Element>(bn: &BatchNorm, x: BatchMut<'_, T>) -> Result<()> {
                bn.inference().forward_in_place_by(path(), x)
            }
        }
    };
}

path_module! {
    /// The reference path: plain code, one feature at a time ([`crate::Path::Scalar`]).
    scalar, Path::Scalar
}

path_module! {
    /// Explicit lanes on the calling thread, the best that the machine has ([`crate::Path::Simd`]).
    simd, Path::Simd(crate::Isa::detect())
}

path_module! {
    /// Lanes on the threads of rayon's current pool ([`crate::Path::Parallel`]).
    parallel, Path::Parallel(crate::Isa::detect())
}
