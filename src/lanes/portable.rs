//! Lanes on any machine, by `wide`: SSE2 on a default x86-64 build, NEON on aarch64, plain code elsewhere.

use wide::f64x4;

use super::{Lanes, UPPER_HALF};

/// `wide`'s four lanes. `wide` picks instructions when the crate is compiled, so these need no proof.
#[derive(Clone, Copy)]
pub(super) struct Portable(f64x4);

impl Lanes for Portable {
    type Token = ();
    const LANES: usize = 4;

    #[inline(always)]
    fn splat((): (), x: f64) -> Self {
        Portable(f64x4::splat(x))
    }

    #[inline(always)]
    fn load((): (), from: &[f64]) -> Self {
        let [a, b, c, d] = *first(from);
        Portable(f64x4::new([a, b, c, d]))
    }

    #[inline(always)]
    fn load_f32((): (), from: &[f32]) -> Self {
        Portable(f64x4::new(first(from).map(f64::from)))
    }

    #[inline(always)]
    fn load_part((): (), from: &[f64], fill: Self) -> Self {
        let mut lanes = fill.0.to_array();
        for (lane, x) in lanes.iter_mut().zip(from) {
            *lane = *x;
        }
        Portable(f64x4::new(lanes))
    }

    #[inline(always)]
    fn load_part_f32((): (), from: &[f32], fill: Self) -> Self {
        let mut lanes = fill.0.to_array();
        for (lane, x) in lanes.iter_mut().zip(from) {
            *lane = f64::from(*x);
        }
        Portable(f64x4::new(lanes))
    }

    #[inline(always)]
    fn store(self, to: &mut [f64]) {
        *first_mut(to) = self.0.to_array();
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what this does")]
    fn store_f32(self, to: &mut [f32]) {
        *first_mut(to) = self.0.to_array().map(|x| x as f32);
    }

    #[inline(always)]
    fn stream(pair: [Self; 2], to: &mut [f64]) {
        let to: &mut [f64; 8] = to.first_chunk_mut().expect("a slice shorter than its lanes");
        for (lanes, to) in pair.iter().zip(to.as_chunks_mut::<4>().0) {
            for (two, to) in lanes.0.to_array().as_chunks::<2>().0.iter().zip(to.as_chunks_mut::<2>().0) {
                stream16(two, to);
            }
        }
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what this does")]
    fn stream_f32(pair: [Self; 2], to: &mut [f32]) {
        let to: &mut [f32; 8] = to.first_chunk_mut().expect("a slice shorter than its lanes");
        for (lanes, to) in pair.iter().zip(to.as_chunks_mut::<4>().0) {
            stream16(&lanes.0.to_array().map(|x| x as f32), to);
        }
    }

    #[inline(always)]
    fn fence((): ()) {
        #[cfg(target_arch = "x86_64")]
        super::x86::fence();
    }

    #[inline(always)]
    fn prefetch<T>((): (), from: &[T], at: usize) {
        #[cfg(target_arch = "x86_64")]
        super::x86::prefetch(from, at);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (from, at);
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Portable(self.0 + other.0)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Portable(self.0 - other.0)
    }

    #[inline(always)]
    fn sub_beside(self, _: Self, other: Self) -> Self {
        self.sub(other)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Portable(self.0 * other.0)
    }

    #[inline(always)]
    fn add_exact_square(self, x: Self) -> Self {
        Portable(self.0 + x.0 * x.0)
    }

    #[inline(always)]
    fn upper_half(self) -> Self {
        Portable(self.0 & f64x4::splat(f64::from_bits(UPPER_HALF)))
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Portable(self.0 / other.0)
    }

    #[inline(always)]
    fn all_zero(self) -> bool {
        self.0.to_array() == [0.0; 4]
    }
}

#[inline(always)]
fn stream16<T: Copy, const N: usize>(from: &[T; N], to: &mut [T; N]) {
    #[cfg(target_arch = "x86_64")]
    super::x86::stream16(from, to);
    #[cfg(not(target_arch = "x86_64"))]
    to.copy_from_slice(from);
}

#[inline(always)]
fn first<T>(from: &[T]) -> &[T; 4] {
    from.first_chunk().expect("a slice shorter than its lanes")
}

#[inline(always)]
fn first_mut<T>(to: &mut [T]) -> &mut [T; 4] {
    to.first_chunk_mut().expect("a slice shorter than its lanes")
}
