//! Lanes for any machine, from the crate `wide`: SSE2 on a default x86-64 build, NEON on aarch64, plain code elsewhere.

use core::hint::black_box;
use core::ops::{Add, Mul, Sub};

use wide::{f32x4, f64x4};

use super::{F64Lanes, Job, Lanes, LoadStore, NonTemporal, Outlined, OutlinedJob, Simd, Token, UPPER_HALF, array};
use crate::Element;
use crate::math::sqrt_lanes;

/// The token of these lanes. It proves nothing, because `wide` selects its instructions at compile time.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Portable {
    /// Runs a job. Not inlined, like those of the other instruction sets, so that no call pays for the registers of
    /// lanes that it does not use.
    #[inline(never)]
    pub(super) fn run<J: Job>(self, job: J) -> J::Output {
        job.run(self)
    }
}

impl Token for Portable {
    #[inline(always)]
    fn outlined<W: Outlined>(self, work: W) -> W::Output {
        self.run(OutlinedJob(work))
    }
}

impl Simd for Portable {
    type F64 = PortableF64;
    type F32 = PortableF32;

    #[inline(always)]
    fn job<J: Job>(self, job: J) -> J::Output {
        self.run(job)
    }
}

#[derive(Clone, Copy)]
pub(super) struct PortableF64(f64x4);

/// Four lanes, as many as for f64: they fill one register even on the smallest machine.
#[derive(Clone, Copy)]
pub(super) struct PortableF32(f32x4);

pub(super) const LANES: usize = 4;

/// Implements the arithmetic, which is the same for both types.
macro_rules! portable {
    ($name:ident, $vector:ident, $scalar:ty, $add:path, $sub:path, $mul:path, $zero:path, $round:path) => {
        impl Lanes for $name {
            type Scalar = $scalar;
            type Token = Portable;
            const LANES: usize = LANES;

            #[inline(always)]
            fn splat(_: Portable, x: $scalar) -> Self {
                $name($vector::splat(x))
            }

            #[inline(always)]
            fn load(_: Portable, from: &[$scalar]) -> Self {
                $name($vector::new(*first(from)))
            }

            #[inline(always)]
            fn store(self, to: &mut [$scalar]) {
                *first_mut(to) = self.0.to_array();
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                $name($add(self.0, other.0))
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                $name($sub(self.0, other.0))
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                $name($mul(self.0, other.0))
            }

            #[inline(always)]
            fn blend(self, first: usize, other: Self) -> Self {
                // With a mask, because a copy through memory takes several times as long.
                let index = $vector::new([0.0, 1.0, 2.0, 3.0]);
                $name(index.simd_lt($vector::splat(first as $scalar)).select(self.0, other.0))
            }

            #[inline(always)]
            fn zero_where_le_zero(self, y: Self) -> Self {
                $name($zero(self.0, y.0))
            }

            #[inline(always)]
            fn round_to_f32(self) -> Self {
                $name($round(self.0))
            }
        }
    };
}

portable!(PortableF64, f64x4, f64, Add::add, Sub::sub, Mul::mul, zero_f64, round_to_f32);
portable!(PortableF32, f32x4, f32, add_f32, sub_f32, mul_f32, zero_f32, core::convert::identity);

#[inline(always)]
fn zero_f64(x: f64x4, y: f64x4) -> f64x4 {
    y.simd_le(f64x4::ZERO).select(f64x4::ZERO, x)
}

#[inline(always)]
fn round_to_f32(x: f64x4) -> f64x4 {
    f64x4::new(array::map(x.to_array(), |x| f64::from(f32::from_f64(x))))
}

/// Whether vectors of f32 flush subnormal numbers to 0, as those of AltiVec do in the mode that Linux chooses. Compilers
/// use them for four adjacent lanes all the same.
const FLUSHES_F32: bool = cfg!(any(target_arch = "powerpc", target_arch = "powerpc64"));

/// Operates on f32 lanes; where vectors of f32 flush, in f64. A sum, a difference or a product of two f32 that is rounded
/// to f64 and then to f32 is rounded as if once (Figueroa 1995). Compilers know that and would go back to vectors of
/// f32, so the f64 is hidden from them.
macro_rules! operate_f32 {
    ($name:ident, $operator:tt) => {
        #[inline(always)]
        pub(super) fn $name(a: f32x4, b: f32x4) -> f32x4 {
            if !FLUSHES_F32 {
                return a $operator b;
            }
            let (a, b) = (a.to_array(), b.to_array());
            f32x4::new(array::from_fn(|lane| {
                f32::from_f64(black_box(f64::from(a[lane]) $operator f64::from(b[lane])))
            }))
        }
    };
}

operate_f32!(add_f32, +);
operate_f32!(sub_f32, -);
operate_f32!(mul_f32, *);

/// Where vectors of f32 flush, they would compare a subnormal number as 0.
#[inline(always)]
fn zero_f32(x: f32x4, y: f32x4) -> f32x4 {
    if !FLUSHES_F32 {
        return y.simd_le(f32x4::ZERO).select(f32x4::ZERO, x);
    }
    let (x, y) = (x.to_array(), y.to_array());
    f32x4::new(array::from_fn(|i| if black_box(f64::from(y[i])) <= 0.0 { 0.0 } else { x[i] }))
}

impl F64Lanes for PortableF64 {
    #[inline(always)]
    fn sub_via_fma(self, _: Self, other: Self) -> Self {
        self.sub(other)
    }

    #[inline(always)]
    fn add_exact_square(self, x: Self) -> Self {
        PortableF64(self.0 + x.0 * x.0)
    }

    #[inline(always)]
    fn upper_half(self) -> Self {
        PortableF64(self.0 & f64x4::splat(f64::from_bits(UPPER_HALF)))
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        PortableF64(self.0 / other.0)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        PortableF64(sqrt_lanes(self.0))
    }

    #[inline(always)]
    fn clip(self, low: Self, high: Self) -> Self {
        let at_most = self.0.simd_gt(high.0).select(high.0, self.0);
        PortableF64(at_most.simd_lt(low.0).select(low.0, at_most))
    }

    #[inline(always)]
    fn all_zero(self) -> bool {
        self.0.to_array() == [0.0; LANES]
    }

    #[inline(always)]
    fn store_first(self, to: &mut [f64]) {
        let lanes = self.0.to_array();
        to.copy_from_slice(&lanes[..to.len()]);
    }

    #[inline(always)]
    fn select_le(self, other: Self, then: Self, otherwise: Self) -> Self {
        PortableF64(self.0.simd_le(other.0).select(then.0, otherwise.0))
    }
}

impl PortableF64 {
    #[inline(always)]
    fn to_f32(self) -> [f32; LANES] {
        array::map(self.0.to_array(), f32::from_f64)
    }
}

impl LoadStore<f64> for PortableF64 {
    #[inline(always)]
    fn load_from(token: Portable, from: &[f64]) -> Self {
        Self::load(token, from)
    }

    #[inline(always)]
    fn load_partial(_: Portable, from: &[f64], fill: Self) -> Self {
        PortableF64(f64x4::new(partial(from, fill.0.to_array())))
    }

    #[inline(always)]
    fn load_strided(_: Portable, from: &[f64], stride: usize) -> Self {
        PortableF64(f64x4::new(array::from_fn(|lane| from[lane * stride].to_f64())))
    }

    #[inline(always)]
    fn store_to(self, to: &mut [f64]) {
        self.store(to);
    }

    #[inline(always)]
    fn store_non_temporal(pair: [Self; 2], to: &mut [f64], _: &NonTemporal) {
        let values = array::map(pair, |lanes| lanes.0.to_array());
        let to = to[..2 * LANES].as_chunks_mut().0;
        for i in 0..2 {
            let [a, b, c, d] = values[i];
            store_16_bytes_f64(&[a, b], &mut to[2 * i]);
            store_16_bytes_f64(&[c, d], &mut to[2 * i + 1]);
        }
    }
}

impl LoadStore<f32> for PortableF64 {
    #[inline(always)]
    fn load_from(_: Portable, from: &[f32]) -> Self {
        PortableF64(f64x4::new(array::map(*first(from), f64::from)))
    }

    #[inline(always)]
    fn load_partial(_: Portable, from: &[f32], fill: Self) -> Self {
        PortableF64(f64x4::new(partial(from, fill.0.to_array())))
    }

    #[inline(always)]
    fn load_strided(_: Portable, from: &[f32], stride: usize) -> Self {
        PortableF64(f64x4::new(array::from_fn(|lane| from[lane * stride].to_f64())))
    }

    #[inline(always)]
    fn store_to(self, to: &mut [f32]) {
        *first_mut(to) = self.to_f32();
    }

    #[inline(always)]
    fn store_non_temporal(pair: [Self; 2], to: &mut [f32], _: &NonTemporal) {
        store_f32(array::map(pair, Self::to_f32), to);
    }
}

impl LoadStore<f32> for PortableF32 {
    #[inline(always)]
    fn load_from(token: Portable, from: &[f32]) -> Self {
        Self::load(token, from)
    }

    #[inline(always)]
    fn load_partial(_: Portable, from: &[f32], fill: Self) -> Self {
        let mut lanes = fill.0.to_array();
        for (lane, x) in lanes.iter_mut().zip(from) {
            *lane = *x;
        }
        PortableF32(f32x4::new(lanes))
    }

    #[inline(always)]
    fn store_to(self, to: &mut [f32]) {
        self.store(to);
    }

    #[inline(always)]
    fn store_non_temporal(pair: [Self; 2], to: &mut [f32], _: &NonTemporal) {
        store_f32(array::map(pair, |lanes| lanes.0.to_array()), to);
    }
}

/// Returns the elements of a slice, at most one per lane, followed by those of `fill`. (Lane by lane, because loading a
/// vector right after parts of it were stored has to wait for these stores. Not inlined: it branches in each lane, and
/// only edges need it.)
#[inline(never)]
fn partial<T: Element>(from: &[T], fill: [f64; LANES]) -> [f64; LANES] {
    let [a, b, c, d] = fill;
    let lane = |i: usize, fill| from.get(i).map_or(fill, |x: &T| x.to_f64());
    [lane(0, a), lane(1, b), lane(2, c), lane(3, d)]
}

#[inline(always)]
fn store_f32(pair: [[f32; LANES]; 2], to: &mut [f32]) {
    let to = to[..2 * LANES].as_chunks_mut().0;
    for i in 0..2 {
        store_16_bytes_f32(&pair[i], &mut to[i]);
    }
}

#[cfg(target_arch = "x86_64")]
use super::sse::{store_16_bytes_f32, store_16_bytes_f64};

/// Stores ordinarily, because there are no non-temporal stores here.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn store_16_bytes_f32(from: &[f32; 4], to: &mut [f32; 4]) {
    *to = *from;
}

/// Stores ordinarily, because there are no non-temporal stores here.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn store_16_bytes_f64(from: &[f64; 2], to: &mut [f64; 2]) {
    *to = *from;
}

#[inline(always)]
pub(super) fn first<T>(from: &[T]) -> &[T; LANES] {
    from.first_chunk().expect("a slice shorter than its lanes")
}

#[inline(always)]
pub(super) fn first_mut<T>(to: &mut [T]) -> &mut [T; LANES] {
    to.first_chunk_mut().expect("a slice shorter than its lanes")
}
