//! Loads and stores of f16 and bf16 for lanes of any machine: f32 lies in between.

use half::{bf16, f16};

use super::portable::{LANES, Portable, PortableF32, PortableF64};
use super::{LaneElement, Simd};
use super::{Lanes, LoadStore, NonTemporal, SingleLaneElement};
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
                LoadStore::<f32>::load_from(token, &widened(from, $widen))
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
                narrow(&values, to, $narrow);
            }

            #[inline(always)]
            fn store_non_temporal([a, b]: [Self; 2], to: &mut [$element], _: &NonTemporal) {
                a.store_to(to);
                b.store_to(&mut to[LANES..]);
            }
        }

        impl LoadStore<$element> for PortableF32 {
            #[inline(always)]
            fn load_from(token: Portable, from: &[$element]) -> Self {
                Self::load(token, &widened(from, $widen))
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
                narrow(&values, to, $narrow);
            }

            #[inline(always)]
            fn store_non_temporal([a, b]: [Self; 2], to: &mut [$element], _: &NonTemporal) {
                a.store_to(to);
                b.store_to(&mut to[LANES..]);
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

            #[inline(always)]
            fn store_non_temporal([a, b]: [Self; 2], to: &mut [$element], _: &NonTemporal) {
                (to[0], to[1]) = ($element::from_f32(a), $element::from_f32(b));
            }
        }
    };
}

load_store!(f16, widen_f16, narrow_f16);
load_store!(bf16, widen_bf16, narrow_bf16);

#[inline(always)]
fn widened<T: Copy>(from: &[T], widen: impl Fn(T) -> f32) -> [f32; LANES] {
    let values: &[T; LANES] = from.first_chunk().expect("a slice shorter than its lanes");
    values.map(widen)
}

/// Widens all of a slice, at most one value per lane.
#[inline(always)]
fn widen_some<'a, T: SingleElement>(from: &[T], to: &'a mut [f32; LANES]) -> &'a [f32] {
    let len = from.len().min(LANES);
    for (to, x) in to.iter_mut().zip(from) {
        *to = x.to_f32();
    }
    &to[..len]
}

#[inline(always)]
fn narrow<T>(from: &[f32; LANES], to: &mut [T], narrow: impl Fn(f32) -> T) {
    let to: &mut [T; LANES] = to.first_chunk_mut().expect("a slice shorter than its lanes");
    *to = from.map(narrow);
}

// These conversions do not branch, so that the compiler makes lanes of them. Those of the crate `half` do.

/// Moves the significand to its place. The exponents are 112 apart, and multiplying by that power of two makes subnormal
/// numbers normal, too.
#[inline(always)]
fn widen_f16(x: f16) -> f32 {
    const SCALE: f32 = f32::from_bits((127 + 112) << 23);
    let bits = u32::from(x.to_bits());
    let size = (bits & 0x7fff) << 13;
    let number = (f32::from_bits(size) * SCALE).to_bits();
    let special = size | 0x7f80_0000;
    f32::from_bits((if size < 0x0f80_0000 { number } else { special }) | (bits & 0x8000) << 16)
}

/// Rounds to nearest, ties to even. Adding 0.5 rounds what becomes subnormal at its last place.
#[inline(always)]
fn narrow_f16(x: f32) -> f16 {
    const SMALLEST_NORMAL: u32 = 113 << 23;
    const TOO_LARGE: u32 = (127 + 16) << 23;
    let size = x.to_bits() & 0x7fff_ffff;
    let subnormal = (f32::from_bits(size) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    let odd = (size >> 13) & 1;
    let normal = size.wrapping_add(0xfff + odd).wrapping_sub(112 << 23) >> 13;
    let rounded = if size < SMALLEST_NORMAL { subnormal } else { normal };
    let special = if size > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
    let rounded = if size < TOO_LARGE { rounded } else { special };
    f16::from_bits((rounded | x.to_bits() >> 16 & 0x8000) as u16)
}

/// A bf16 is the upper half of an f32.
#[inline(always)]
fn widen_bf16(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

/// Rounds to nearest, ties to even: adds what carries into the upper half. NaN becomes quiet, so that it does not round to
/// an infinity.
#[inline(always)]
fn narrow_bf16(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    bf16::from_bits(((if x.is_nan() { bits | 0x0040_0000 } else { rounded }) >> 16) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

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
