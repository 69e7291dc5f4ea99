//! Lanes: vectors of values, and the operations on them.
//!
//! Kernels are written once, over these traits, and do not depend on instruction sets. Every operation is one IEEE 754
//! operation per lane, rounded once, so the number of lanes cannot change a result. There is no fused multiply-add: it
//! would round once where the portable lanes round twice. (If a product is exact, fusing changes nothing: additions may
//! *run* on the FMA unit as `a * 1 + b`, and squares of f32 values may be added fused.)
//!
//! | | |
//! |---|---|
//! | [`Simd`] | an instruction set: its token and its lanes for each type of computation |
//! | [`Lanes`], [`F64Lanes`] | the arithmetic |
//! | [`LoadStore`] | loads and stores of element types |
//! | [`NonTemporal`] | the fence after non-temporal stores |
//! | [`Isa`] | the choice at run time |
//!
//! `sse` and `x86` hold the crate's only intrinsics and its only `unsafe`.

mod array;
#[cfg(feature = "half")]
mod half;
mod isa;
mod one;
mod portable;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "intrinsics; each use says why it is sound")]
mod sse;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "intrinsics; each use says why it is sound")]
mod x86;

use crate::Element;
use crate::element::SingleElement;

pub use isa::Isa;

/// A vector of values that are computed together.
pub(crate) trait Lanes: Copy {
    /// The type of the computation: f64 or f32.
    type Scalar: Copy + Default + PartialEq + 'static;
    /// Proof that the machine has the instructions that these lanes use. Only detection creates one.
    type Token: Token;
    /// Number of lanes.
    const LANES: usize;

    /// Returns the same value in each lane.
    fn splat(token: Self::Token, x: Self::Scalar) -> Self;
    /// Loads the first values of `from`. Panics if it is shorter than the lanes.
    fn load(token: Self::Token, from: &[Self::Scalar]) -> Self;
    /// Writes the lanes to the start of `to`. Panics if it is shorter than the lanes.
    fn store(self, to: &mut [Self::Scalar]);
    /// Adds, lane by lane.
    fn add(self, other: Self) -> Self;
    /// Subtracts, lane by lane.
    fn sub(self, other: Self) -> Self;
    /// Multiplies, lane by lane.
    fn mul(self, other: Self) -> Self;
    /// Returns the first `first` lanes of `self` and the other lanes of `other`.
    fn blend(self, first: usize, other: Self) -> Self;
    /// Returns, lane by lane, 0.0 where `y <= 0`, and `self` elsewhere, also where `y` is NaN.
    fn zero_where_le_zero(self, y: Self) -> Self;
    /// Returns 0.0 in the lanes that are at most 0, and the other lanes, NaN among them, as they are.
    #[inline(always)]
    fn relu(self) -> Self {
        self.zero_where_le_zero(self)
    }
    /// Rounds the lanes to f32.
    fn round_to_f32(self) -> Self;
}

/// The operations that sums need in addition to [`Lanes`].
pub(crate) trait F64Lanes: Lanes<Scalar = f64> + LoadStore<f64> {
    /// Subtracts on the FMA unit, if there is one: `self * one - other`, where the product is exact. For kernels that
    /// keep the adders busy. `one` is 1 in each lane, hidden from the compiler, which would otherwise turn this back
    /// into a subtraction.
    fn sub_via_fma(self, one: Self, other: Self) -> Self;
    /// Returns `self + x * x`, where `x * x` is exact (`x` is a widened f32), so that fusing does not change the
    /// result.
    fn add_exact_square(self, x: Self) -> Self;
    /// Clears all but the first 26 bits of the significands ([`UPPER_HALF`]). Squares of the results are exact, and so
    /// are their differences from the original values.
    fn upper_half(self) -> Self;
    /// Divides, lane by lane.
    fn div(self, other: Self) -> Self;
    /// Returns the square root of each lane.
    fn sqrt(self) -> Self;
    /// Returns the lanes, but at least `low` and at most `high`. NaN stays NaN.
    fn clip(self, low: Self, high: Self) -> Self;
    /// Returns whether all lanes are 0.
    fn all_zero(self) -> bool;
    /// Writes the first lanes to all of `to`, which is no longer than the lanes.
    fn store_first(self, to: &mut [f64]);
    /// Returns, lane by lane, `then` where `self <= other`, and `otherwise` elsewhere, also for NaN.
    fn select_le(self, other: Self, then: Self, otherwise: Self) -> Self;
}

/// The bits of an f64 that [`F64Lanes::upper_half`] keeps: sign, exponent, and 25 of the 52 stored bits of the
/// significand.
const UPPER_HALF: u64 = !0 << 27;

/// The lanes of the widest vector.
const MOST_LANES: usize = 16;

/// The lanes of the widest f64 vector.
pub(crate) const MOST_F64_LANES: usize = MOST_LANES / 2;

/// Lanes that load and store elements of type `T`. If `T` is narrower, loads widen exactly and stores round to nearest.
pub(crate) trait LoadStore<T>: Lanes {
    /// Loads the first elements of `from`. Panics if it is shorter than the lanes.
    fn load_from(token: Self::Token, from: &[T]) -> Self;
    /// Loads all of `from`, at most one element per lane, and fills the lanes after them from `fill`. (Not for empty
    /// slices: their pointers lie on no page, and a masked load from there takes the processor hundreds of cycles.)
    fn load_partial(token: Self::Token, from: &[T], fill: Self) -> Self;
    /// Loads one element per lane, `stride` elements from one to the next. Panics if `from` is shorter.
    fn load_strided(token: Self::Token, from: &[T], stride: usize) -> Self
    where
        T: Element,
    {
        let mut values = [T::from_f64(0.0); MOST_LANES];
        for (lane, x) in values[..Self::LANES].iter_mut().enumerate() {
            *x = from[lane * stride];
        }
        Self::load_from(token, &values)
    }
    /// Writes the lanes to the start of `to`. Panics if it is shorter than the lanes.
    fn store_to(self, to: &mut [T]);
    /// Writes two vectors one after the other. The stores are non-temporal if the address is a multiple of the size of
    /// each store (a multiple of a cache line's 64 bytes always is), and ordinary like [`LoadStore::store_to`]
    /// otherwise, or where lanes have no such stores. Panics if `to` is shorter than two vectors.
    #[inline(always)]
    fn store_non_temporal([a, b]: [Self; 2], to: &mut [T], _: &NonTemporal) {
        a.store_to(to);
        b.store_to(&mut to[Self::LANES..]);
    }
}

/// Proof that a fence will follow the non-temporal stores: dropping this executes it. The fence orders the stores
/// before later ones, so that a thread that learns of the memory later also sees what was stored.
pub(crate) struct NonTemporal(());

impl NonTemporal {
    /// Begins non-temporal stores. Keep the result until the last of them.
    #[inline(always)]
    pub(crate) fn begin() -> Self {
        NonTemporal(())
    }
}

impl Drop for NonTemporal {
    #[inline(always)]
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        sse::fence();
    }
}

/// Proof that the machine has the instructions of some lanes.
pub(crate) trait Token: Copy {
    /// Runs work in a function of its own that is compiled for these instructions, once per type of work.
    fn outlined<W: Outlined>(self, work: W) -> W::Output;
}

/// A part of a [`Job`] that is not inlined ([`Token::outlined`]). This saves code: several places share the part, and
/// its work is long enough, or rare enough, for the cost of a call not to matter. The rules are those of [`Job`].
pub(crate) trait Outlined {
    /// The result.
    type Output;
    /// Does the work.
    fn run(self) -> Self::Output;
}

/// Outlined work as a job.
struct OutlinedJob<W>(W);

impl<W: Outlined> Job for OutlinedJob<W> {
    type Output = W::Output;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> W::Output {
        self.0.run()
    }
}

/// An instruction set. A value is proof that the machine has it.
pub(crate) trait Simd: Token {
    /// Its lanes for computing in f64.
    type F64: F64Lanes<Token = Self> + LoadStore<f32> + LoadStore<f64> + LoadStoreHalf;
    /// Its lanes for computing in f32.
    type F32: Lanes<Scalar = f32, Token = Self> + LoadStore<f32> + LoadStoreHalf;

    /// Runs another job from within a job: in the function that [`Isa::run`] would call for it.
    #[cfg_attr(not(feature = "half"), expect(dead_code, reason = "jobs of half precision run those of f32"))]
    fn job<J: Job>(self, job: J) -> J::Output;
}

/// An element type that every instruction set loads and stores.
pub(crate) trait LaneElement: Element {
    /// The lanes for computing on it in f64.
    type F64<S: Simd>: F64Lanes<Token = S> + LoadStore<Self>;
}

impl LaneElement for f32 {
    type F64<S: Simd> = S::F64;
}

impl LaneElement for f64 {
    type F64<S: Simd> = S::F64;
}

/// An element type that is computed on in f32.
pub(crate) trait SingleLaneElement: LaneElement + SingleElement {
    /// The lanes for computing on it in f32.
    type F32<S: Simd>: Lanes<Scalar = f32, Token = S> + LoadStore<Self>;
}

impl SingleLaneElement for f32 {
    type F32<S: Simd> = S::F32;
}

/// Lanes that load and store f16 and bf16, if these are element types.
#[cfg(feature = "half")]
pub(crate) trait LoadStoreHalf: LoadStore<::half::f16> + LoadStore<::half::bf16> {}

#[cfg(feature = "half")]
impl<L: LoadStore<::half::f16> + LoadStore<::half::bf16>> LoadStoreHalf for L {}

/// Lanes that load and store f16 and bf16, if these are element types: here they are not.
#[cfg(not(feature = "half"))]
pub(crate) trait LoadStoreHalf {}

#[cfg(not(feature = "half"))]
impl<L> LoadStoreHalf for L {}

/// A computation that runs on any instruction set, instantiated by [`Isa::run`]. `run` and everything that it calls in
/// its loops must be `#[inline(always)]`, or it is compiled without the instructions. Closures are compiled without
/// them, too.
pub(crate) trait Job {
    /// The result.
    type Output;
    /// Runs the computation.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Prefetches the cache line of `from[at]`. This changes no result and reads nothing, so `at` may lie past the end of
/// the slice.
#[inline(always)]
pub(crate) fn prefetch<T>(from: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    sse::prefetch(from, at);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, at);
}

/// Prefetches like [`prefetch`], but into the second level of the cache, for lines that are needed much later: the
/// first level may be no larger than the prefetch distance.
#[inline(always)]
pub(crate) fn prefetch_second_level<T>(from: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    sse::prefetch_second_level(from, at);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, at);
}
