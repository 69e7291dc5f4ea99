//! Lanes: how many values one instruction handles, and how.
//!
//! Kernels are written once over these traits and know nothing of instruction sets. Every operation is one IEEE 754
//! operation per lane, rounded once, so the number of lanes cannot change a result. There is no fused multiply-add: it
//! would round once where the portable lanes round twice. (Where a product is exact, fusing changes nothing:
//! additions may *run* on the FMA unit as `a * 1 + b`, and squares of f32 values may be added fused.)
//!
//! | | |
//! |---|---|
//! | [`Simd`] | an instruction set: a token that proves it is there, and its lanes for each type that is computed in |
//! | [`Lanes`], [`F64Lanes`] | the arithmetic |
//! | [`LoadStore`] | element types into lanes and back |
//! | [`NonTemporal`] | stores that bypass the caches, and their fence |
//! | [`Isa`] | the choice at run time |
//!
//! `x86` holds the crate's only intrinsics and its only `unsafe`.

mod isa;
mod one;
mod portable;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "intrinsics; each use says why it is sound")]
mod x86;

use crate::Element;

pub use isa::Isa;

/// A few values that are computed on together.
pub(crate) trait Lanes: Copy {
    /// What is computed in: f64 or f32.
    type Scalar: Copy + Default + PartialEq + 'static;
    /// Proof that the machine has the instructions that these lanes use: only detection makes one.
    type Token: Copy;
    /// How many.
    const LANES: usize;

    /// The same value in each lane.
    fn splat(token: Self::Token, x: Self::Scalar) -> Self;
    /// The first values of `from`. Panics when it is shorter than the lanes.
    fn load(token: Self::Token, from: &[Self::Scalar]) -> Self;
    /// Writes the lanes to the start of `to`. Panics when it is shorter than the lanes.
    fn store(self, to: &mut [Self::Scalar]);
    /// Sum, lane by lane.
    fn add(self, other: Self) -> Self;
    /// Difference, lane by lane.
    fn sub(self, other: Self) -> Self;
    /// Product, lane by lane.
    fn mul(self, other: Self) -> Self;
    /// The first `first` lanes of these, the others of `other`.
    fn blend(self, first: usize, other: Self) -> Self;
}

/// What sums need beyond [`Lanes`].
pub(crate) trait F64Lanes: Lanes<Scalar = f64> {
    /// Difference, on the FMA unit where there is one: `self * one - other`, whose product is exact. For kernels that
    /// keep the adders busy. `one` is 1 in each lane, hidden from the compiler, which would turn this back into a
    /// subtraction.
    fn sub_via_fma(self, one: Self, other: Self) -> Self;
    /// `self + x * x`, where `x * x` is exact (an f32, widened): fused or not is then the same.
    fn add_exact_square(self, x: Self) -> Self;
    /// The values with all but the first 26 bits of their significands cleared ([`UPPER_HALF`]): squares of these are
    /// exact, and so is what they leave over.
    fn upper_half(self) -> Self;
    /// Quotient, lane by lane.
    fn div(self, other: Self) -> Self;
    /// Whether all lanes are 0.
    fn all_zero(self) -> bool;
}

/// The bits of an f64 that [`F64Lanes::upper_half`] keeps: sign, exponent, and 25 of the 52 stored of a significand.
const UPPER_HALF: u64 = !0 << 27;

/// Lanes that load and store elements of type `T`: widened (exactly) and rounded to nearest where `T` is narrower.
pub(crate) trait LoadStore<T>: Lanes {
    /// The first elements of `from`. Panics when it is shorter than the lanes.
    fn load_from(token: Self::Token, from: &[T]) -> Self;
    /// All of `from`, at most as many elements as there are lanes, and `fill` in the lanes after them. (Not for empty
    /// slices: their pointers lie on no page, and a masked load from there takes the processor hundreds of cycles.)
    fn load_partial(token: Self::Token, from: &[T], fill: Self) -> Self;
    /// Writes the lanes to the start of `to`. Panics when it is shorter than the lanes.
    fn store_to(self, to: &mut [T]);
    /// Writes two vectors, one behind the other, past the caches where the address is a multiple of each store's size (a
    /// multiple of a cache line's 64 bytes always is), else as [`LoadStore::store_to`]. Panics when `to` is shorter.
    fn store_non_temporal(pair: [Self; 2], to: &mut [T], stores: &NonTemporal);
}

/// Proof that non-temporal stores will be followed by a fence, which orders them before later stores, so that whoever is
/// told of the memory finds them: dropping this is the fence.
pub(crate) struct NonTemporal(());

impl NonTemporal {
    /// To be kept until the last of the stores.
    #[inline(always)]
    pub(crate) fn begin() -> Self {
        NonTemporal(())
    }
}

impl Drop for NonTemporal {
    #[inline(always)]
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        x86::fence();
    }
}

/// An instruction set. A value is the proof that the machine has it.
pub(crate) trait Simd: Copy {
    /// Its lanes for computing in f64.
    type F64: F64Lanes<Token = Self> + LoadStore<f32> + LoadStore<f64>;
    /// Its lanes for computing in f32: as many bytes, so twice as many lanes.
    type F32: Lanes<Scalar = f32, Token = Self> + LoadStore<f32>;
}

/// An element type that every instruction set loads and stores.
pub(crate) trait LaneElement: Element {
    /// The lanes that compute on it in f64.
    type F64<S: Simd>: F64Lanes<Token = S> + LoadStore<Self>;
}

impl LaneElement for f32 {
    type F64<S: Simd> = S::F64;
}

impl LaneElement for f64 {
    type F64<S: Simd> = S::F64;
}

/// A computation that runs on any instruction set: what [`Isa::run`] instantiates. `run` and all that it calls in its loops
/// must be `#[inline(always)]`, or they are compiled without the instructions; closures are, too.
pub(crate) trait Job {
    /// What it gives.
    type Output;
    /// Does it.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Hints that the cache line of `from[at]` will be read soon. Changes no result and reads nothing: `at` may lie past the end
/// of the slice.
#[inline(always)]
pub(crate) fn prefetch<T>(from: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    x86::prefetch(from, at);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, at);
}
