//! A single lane, so that the tail of a slice, which does not fill wider lanes, runs through the same kernel.

use super::{F64Lanes, Lanes, LoadStore, Outlined, Token, UPPER_HALF};
use crate::Element;

impl Token for () {
    #[inline(always)]
    fn outlined<W: Outlined>(self, work: W) -> W::Output {
        work.run()
    }
}

/// Implements the arithmetic, which is the same for both types.
macro_rules! one_lane {
    ($scalar:ty) => {
        impl Lanes for $scalar {
            type Scalar = $scalar;
            type Token = ();
            const LANES: usize = 1;

            #[inline(always)]
            fn splat((): (), x: $scalar) -> Self {
                x
            }

            #[inline(always)]
            fn load((): (), from: &[$scalar]) -> Self {
                from[0]
            }

            #[inline(always)]
            fn store(self, to: &mut [$scalar]) {
                to[0] = self;
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self + other
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self - other
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self * other
            }

            #[inline(always)]
            fn blend(self, first: usize, other: Self) -> Self {
                if first == 0 { other } else { self }
            }

            #[inline(always)]
            fn zero_where_le_zero(self, y: Self) -> Self {
                if y <= 0.0 { 0.0 } else { self }
            }

            #[inline(always)]
            #[allow(clippy::cast_possible_truncation, reason = "rounding to f32 is what this does")]
            #[allow(clippy::unnecessary_cast, reason = "for f64")]
            fn round_to_f32(self) -> Self {
                <$scalar>::from(self as f32)
            }
        }
    };
}

one_lane!(f64);
one_lane!(f32);

impl F64Lanes for f64 {
    #[inline(always)]
    fn sub_via_fma(self, _: Self, other: Self) -> Self {
        self - other
    }

    #[inline(always)]
    fn add_exact_square(self, x: Self) -> Self {
        self + x * x
    }

    #[inline(always)]
    fn upper_half(self) -> Self {
        f64::from_bits(self.to_bits() & UPPER_HALF)
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self / other
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        crate::math::sqrt(self)
    }

    #[inline(always)]
    fn clip(self, low: Self, high: Self) -> Self {
        if self > high {
            high
        } else if self < low {
            low
        } else {
            self
        }
    }

    #[inline(always)]
    fn all_zero(self) -> bool {
        self == 0.0
    }

    #[inline(always)]
    fn store_first(self, to: &mut [f64]) {
        to.fill(self);
    }

    #[inline(always)]
    fn select_le(self, other: Self, then: Self, otherwise: Self) -> Self {
        if self <= other { then } else { otherwise }
    }
}

impl<T: Element> LoadStore<T> for f64 {
    #[inline(always)]
    fn load_from((): (), from: &[T]) -> Self {
        from[0].to_f64()
    }

    #[inline(always)]
    fn load_partial((): (), from: &[T], fill: Self) -> Self {
        from.first().map_or(fill, |x| x.to_f64())
    }

    #[inline(always)]
    fn store_to(self, to: &mut [T]) {
        to[0] = T::from_f64(self);
    }
}

impl LoadStore<f32> for f32 {
    #[inline(always)]
    fn load_from((): (), from: &[f32]) -> Self {
        from[0]
    }

    #[inline(always)]
    fn load_partial((): (), from: &[f32], fill: Self) -> Self {
        from.first().copied().unwrap_or(fill)
    }

    #[inline(always)]
    fn store_to(self, to: &mut [f32]) {
        to[0] = self;
    }
}
