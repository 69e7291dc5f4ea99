//! Lanes: how many f64 values one instruction handles, and how.
//!
//! Kernels are written once over [`Lanes`] and know nothing of instruction sets. Every operation here is one IEEE 754
//! operation per lane, rounded once, so the number of lanes cannot change a result. There is no fused multiply-add: it
//! would round once where the portable lanes round twice. (Where a product is exact, fusing changes nothing:
//! additions may *run* on the multiply-add unit as `a * 1 + b`, and squares of f32 values may be added fused.)
//!
//! This folder imports nothing of the crate. `x86` holds its only intrinsics and its only `unsafe`.

mod isa;
mod portable;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "intrinsics; each use says why it is sound")]
mod x86;

pub use isa::Isa;

/// The bits of an f64 that [`Lanes::upper_half`] keeps: sign, exponent, and 25 of the 52 that are stored of a significand.
const UPPER_HALF: u64 = !0 << 27;

/// A few f64 values that are computed on together.
pub trait Lanes: Copy {
    /// Proof that the machine has the instructions that these lanes use: only detection makes one.
    type Token: Copy;
    /// How many.
    const LANES: usize;

    /// The same value in each lane.
    fn splat(token: Self::Token, x: f64) -> Self;
    /// The first values of `from`. Panics when it is shorter than the lanes.
    fn load(token: Self::Token, from: &[f64]) -> Self;
    /// The first values of `from`, widened (exactly). Panics when it is shorter than the lanes.
    fn load_f32(token: Self::Token, from: &[f32]) -> Self;
    /// All of `from`, at most as many values as there are lanes, and `fill` in the lanes after them. (Not for empty
    /// slices: their pointers lie on no page, and a masked load from there takes the processor hundreds of cycles.)
    fn load_part(token: Self::Token, from: &[f64], fill: Self) -> Self;
    /// The same, widened.
    fn load_part_f32(token: Self::Token, from: &[f32], fill: Self) -> Self;
    /// Writes the lanes to the start of `to`. Panics when it is shorter than the lanes.
    fn store(self, to: &mut [f64]);
    /// Writes the lanes, rounded to nearest, to the start of `to`. Panics when it is shorter than the lanes.
    fn store_f32(self, to: &mut [f32]);
    /// Writes two sets of lanes, one behind the other, past the caches where the address allows it: a multiple of a
    /// cache line's 64 bytes. To be followed by [`Lanes::fence`]. Panics when `to` is shorter.
    fn stream(pair: [Self; 2], to: &mut [f64]);
    /// The same, rounded to nearest; the address is a multiple of what is written.
    fn stream_f32(pair: [Self; 2], to: &mut [f32]);
    /// Makes streamed stores visible in order: called before their memory is handed on.
    fn fence(token: Self::Token);
    /// Asks for the cache line of a value that will be read soon. Changes no result, and reads nothing: `at` may lie past
    /// the end of the slice.
    fn prefetch<T>(token: Self::Token, from: &[T], at: usize);
    /// Sum, lane by lane.
    fn add(self, other: Self) -> Self;
    /// Difference, lane by lane.
    fn sub(self, other: Self) -> Self;
    /// Difference, lane by lane, on the multiply-add unit where there is one: `self * one - other`, whose product is
    /// exact. For kernels that keep the adders busy. `one` is 1 in each lane, hidden from the compiler, which would
    /// turn this back into a subtraction.
    fn sub_beside(self, one: Self, other: Self) -> Self;
    /// Product, lane by lane.
    fn mul(self, other: Self) -> Self;
    /// `self + x * x`, lane by lane, where `x * x` is exact (an f32, widened): fused or not is then the same.
    fn add_exact_square(self, x: Self) -> Self;
    /// The values with all but the first 26 bits of their significands cleared ([`UPPER_HALF`]): squares of these are
    /// exact, and so is what they leave over.
    fn upper_half(self) -> Self;
    /// Quotient, lane by lane.
    fn div(self, other: Self) -> Self;
    /// Whether all lanes are 0.
    fn all_zero(self) -> bool;
}

/// A computation that runs on any lanes: what [`Isa::run`] instantiates. `run` and all that it calls in its loops must
/// be `#[inline(always)]`, or they are compiled without the instructions of the lanes; closures are, too.
pub(crate) trait Job {
    /// What it gives.
    type Out;
    /// Does it.
    fn run<L: Lanes>(self, token: L::Token) -> Self::Out;
}

/// One value: the end of a slice that no longer fills the lanes runs through the same kernel.
impl Lanes for f64 {
    type Token = ();
    const LANES: usize = 1;

    #[inline(always)]
    fn splat((): (), x: f64) -> Self {
        x
    }

    #[inline(always)]
    fn load((): (), from: &[f64]) -> Self {
        from[0]
    }

    #[inline(always)]
    fn load_f32((): (), from: &[f32]) -> Self {
        f64::from(from[0])
    }

    #[inline(always)]
    fn load_part((): (), from: &[f64], fill: Self) -> Self {
        from.first().copied().unwrap_or(fill)
    }

    #[inline(always)]
    fn load_part_f32((): (), from: &[f32], fill: Self) -> Self {
        from.first().map_or(fill, |x| f64::from(*x))
    }

    #[inline(always)]
    fn store(self, to: &mut [f64]) {
        to[0] = self;
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what this does")]
    fn store_f32(self, to: &mut [f32]) {
        to[0] = self as f32;
    }

    #[inline(always)]
    fn stream([a, b]: [Self; 2], to: &mut [f64]) {
        (to[0], to[1]) = (a, b);
    }

    #[inline(always)]
    fn stream_f32([a, b]: [Self; 2], to: &mut [f32]) {
        a.store_f32(to);
        b.store_f32(&mut to[1..]);
    }

    #[inline(always)]
    fn fence((): ()) {}

    #[inline(always)]
    fn prefetch<T>((): (), _: &[T], _: usize) {}

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self + other
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self - other
    }

    #[inline(always)]
    fn sub_beside(self, _: Self, other: Self) -> Self {
        self - other
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self * other
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
    fn all_zero(self) -> bool {
        self == 0.0
    }
}
