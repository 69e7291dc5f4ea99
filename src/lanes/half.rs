//! Loads and stores of f16 and bf16 for lanes of any machine: f32 lies in between.

use half::{bf16, f16};
use wide::bytemuck::cast;
use wide::{f32x4, i32x4, u32x4};

use super::portable::{LANES, Portable, PortableF32, PortableF64, first, first_mut, mul_f32};
use super::{LaneElement, Lanes, LoadStore, Simd, SingleLaneElement, array};
use crate::element::SingleElement;

/// Implements loads and stores of one type.
macro_rules! load_store {
    ($element:ident, $widen:ident, $narrow:ident) => {
        impl LaneElement for $element {
            type F64<S: Simd> = S::F64;
        }

        impl SingleLaneElement for $element {
            type F32<S: Simd> = S::F32;
        }

        impl LoadStore<$element> for PortableF64 {
            #[inline(always)]
            fn load_from(token: Portable, from: &[$element]) -> Self {
                LoadStore::<f32>::load_from(token, &$widen(first(from)).to_array())
            }

            #[inline(always)]
            fn load_partial(token: Portable, from: &[$element], fill: Self) -> Self {
                let mut values = [0.0; LANES];
                let values = widen_some(from, &mut values);
                LoadStore::<f32>::load_partial(token, values, fill)
            }

            #[inline(always)]
            fn store_to(self, to: &mut [$element]) {
                let mut values = [0f32; LANES];
                self.store_to(&mut values);
                *first_mut(to) = $narrow(f32x4::new(values));
            }
        }

        impl LoadStore<$element> for PortableF32 {
            #[inline(always)]
            fn load_from(token: Portable, from: &[$element]) -> Self {
                Self::load(token, &$widen(first(from)).to_array())
            }

            #[inline(always)]
            fn load_partial(token: Portable, from: &[$element], fill: Self) -> Self {
                let mut values = [0.0; LANES];
                let values = widen_some(from, &mut values);
                LoadStore::<f32>::load_partial(token, values, fill)
            }

            #[inline(always)]
            fn store_to(self, to: &mut [$element]) {
                let mut values = [0f32; LANES];
                self.store(&mut values);
                *first_mut(to) = $narrow(f32x4::new(values));
            }
        }

        impl LoadStore<$element> for f32 {
            #[inline(always)]
            fn load_from((): (), from: &[$element]) -> Self {
                from[0].to_f32()
            }

            #[inline(always)]
            fn load_partial((): (), from: &[$element], fill: Self) -> Self {
                from.first().map_or(fill, |x| x.to_f32())
            }

            #[inline(always)]
            fn store_to(self, to: &mut [$element]) {
                to[0] = $element::from_f32(self);
            }
        }
    };
}

load_store!(f16, widen_f16, narrow_f16);
load_store!(bf16, widen_bf16, narrow_bf16);

/// Widens all of a slice, at most one value per lane.
#[inline(always)]
fn widen_some<'a, T: SingleElement>(from: &[T], to: &'a mut [f32; LANES]) -> &'a [f32] {
    let len = from.len().min(LANES);
    for (to, x) in to.iter_mut().zip(from) {
        *to = x.to_f32();
    }
    &to[..len]
}

// In lanes, unlike those of the crate `half`.

/// Moves the significands to their place. The exponents are 112 apart, and multiplying by that power of two makes
/// subnormal numbers normal, too.
#[inline(always)]
fn widen_f16(x: &[f16; LANES]) -> f32x4 {
    const SCALE: f32 = f32::from_bits((127 + 112) << 23);
    let bits = u32x4::new(array::map(*x, |x| x.to_bits().into()));
    let size = (bits & u32x4::splat(0x7fff)) << 13;
    // (Where vectors of f32 flush, `*` would take a subnormal number for 0.)
    let number = bits_of(mul_f32(cast(size), f32x4::splat(SCALE)));
    let special = size | u32x4::splat(0x7f80_0000);
    cast(select_less(size, 0x0f80_0000, number, special) | ((bits & u32x4::splat(0x8000)) << 16))
}

/// Rounds to nearest, ties to even. Adding 0.5 rounds what becomes subnormal at its last place.
#[inline(always)]
fn narrow_f16(x: f32x4) -> [f16; LANES] {
    const SMALLEST_NORMAL: i32 = 113 << 23;
    const TOO_LARGE: i32 = (127 + 16) << 23;
    const INFINITY: i32 = 0x7f80_0000;
    let size = bits_of(x) & u32x4::splat(0x7fff_ffff);
    let half = f32x4::splat(0.5);
    let subnormal = bits_of(cast::<u32x4, f32x4>(size) + half) - bits_of(half);
    let odd = (size >> 13) & u32x4::splat(1);
    let normal = (size + u32x4::splat(0xfff) + odd - u32x4::splat(112 << 23)) >> 13;
    let rounded = select_less(size, SMALLEST_NORMAL, subnormal, normal);
    let special = select_less(size, INFINITY + 1, u32x4::splat(0x7c00), u32x4::splat(0x7e00));
    let sign: u32x4 = (bits_of(x) >> 16) & u32x4::splat(0x8000);
    let all = select_less(size, TOO_LARGE, rounded, special) | sign;
    array::map(all.to_array(), |bits| f16::from_bits(bits as u16))
}

/// A bf16 is the upper half of an f32.
#[inline(always)]
fn widen_bf16(x: &[bf16; LANES]) -> f32x4 {
    cast(u32x4::new(array::map(*x, |x| x.to_bits().into())) << 16)
}

/// Rounds to nearest, ties to even: adds what carries into the upper half. NaN becomes quiet, so that it does not round to
/// an infinity.
#[inline(always)]
fn narrow_bf16(x: f32x4) -> [bf16; LANES] {
    let bits = bits_of(x);
    let odd: u32x4 = (bits >> 16) & u32x4::splat(1);
    let rounded = bits + u32x4::splat(0x7fff) + odd;
    let (size, quiet) = (bits & u32x4::splat(0x7fff_ffff), bits | u32x4::splat(0x0040_0000));
    let all: u32x4 = select_less(size, 0x7f80_0001, rounded, quiet) >> 16;
    array::map(all.to_array(), |bits| bf16::from_bits(bits as u16))
}

#[inline(always)]
fn bits_of(x: f32x4) -> u32x4 {
    cast(x)
}

/// Returns, lane by lane, `then` where `x < limit`, and `otherwise` elsewhere. (For `x` without its upper bit: integers of
/// SSE2 are compared with their sign.)
#[inline(always)]
fn select_less(x: u32x4, limit: i32, then: u32x4, otherwise: u32x4) -> u32x4 {
    let less = cast::<u32x4, i32x4>(x).simd_lt(i32x4::splat(limit));
    cast::<i32x4, u32x4>(less).bitselect(then, otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrow_f16(x: f32) -> f16 {
        let [.., last] = super::narrow_f16(f32x4::new([1.0, 2.0, 3.0, x]));
        last
    }

    fn narrow_bf16(x: f32) -> bf16 {
        let [first, ..] = super::narrow_bf16(f32x4::new([x, 2.0, 3.0, 1.0]));
        first
    }

    fn widen_f16(x: f16) -> f32 {
        super::widen_f16(&[f16::ONE, x, f16::ONE, f16::ONE]).to_array()[1]
    }

    fn widen_bf16(x: bf16) -> f32 {
        super::widen_bf16(&[bf16::ONE, bf16::ONE, x, bf16::ONE]).to_array()[2]
    }

    /// Beside the crate `half`: all patterns, and the f32 at and next to those halfway between two of them.
    #[test]
    fn conversions_are_those_of_half() {
        for bits in 0..=u16::MAX {
            let (f, b) = (f16::from_bits(bits), bf16::from_bits(bits));
            assert!(widen_f16(f).to_bits() == f.to_f32().to_bits() || f.is_nan() && widen_f16(f).is_nan(), "{bits:x}");
            assert!(
                widen_bf16(b).to_bits() == b.to_f32().to_bits() || b.is_nan() && widen_bf16(b).is_nan(),
                "{bits:x}"
            );
            for wide in [f.to_f32().to_bits(), b.to_f32().to_bits()] {
                for half in [0, 1 << 12, 1 << 15, 1 << 11, 1 << 22] {
                    for next in [-1, 0, 1] {
                        let x = f32::from_bits(wide.wrapping_add(half).wrapping_add_signed(next));
                        let (f, b) = (f16::from_f32(x), bf16::from_f32(x));
                        assert!(narrow_f16(x) == f || f.is_nan() && narrow_f16(x).is_nan(), "{x:e}");
                        assert!(narrow_bf16(x) == b || b.is_nan() && narrow_bf16(x).is_nan(), "{x:e}");
                        assert_eq!(narrow_f16(x).is_sign_negative(), x.is_sign_negative(), "{x:e}");
                    }
                }
            }
        }
        // What becomes a subnormal f16: all places at which it is rounded.
        for bits in (0..0x3900_0000u32).step_by(1 << 10) {
            for bits in [bits.wrapping_sub(1), bits, bits + 1] {
                let x = f32::from_bits(bits);
                assert!(narrow_f16(x) == f16::from_f32(x) || x.is_nan(), "{x:e}");
            }
        }
    }
}
