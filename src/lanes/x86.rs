//! AVX2 and AVX-512 lanes. (The intrinsics that every x86-64 processor has are in `sse`.)
//!
//! # Why this is sound
//! A value of [`Avx2`] or [`Avx512`] (the tokens), or of their lanes, exists only if the processor has the
//! instructions: only `detect` creates tokens, and only tokens create lanes. Slices are bounds-checked before a pointer
//! is used; masked loads read no more than the slice. All loads and stores are unaligned, except for non-temporal
//! stores, which check the address.

use core::arch::x86_64::*;

use super::{F64Lanes, Job, Lanes, LoadStore, NonTemporal, Outlined, OutlinedJob, Simd, Token, UPPER_HALF};

/// A vector at any address.
#[repr(C, packed)]
struct Unaligned<V>(V);

/// Loads a vector. (The intrinsics for this have checks where debug assertions are on, and are then not inlined: a
/// debug build of a dependent would take twice as long.)
///
/// # Safety
/// As many values as the vector holds can be read.
#[inline(always)]
unsafe fn read<V: Copy, T>(from: *const T) -> V {
    // SAFETY: the caller's promise; a packed struct has no alignment.
    unsafe { (*from.cast::<Unaligned<V>>()).0 }
}

/// Stores a vector: see [`read`].
///
/// # Safety
/// As many values as the vector holds can be written.
#[inline(always)]
unsafe fn write<V: Copy, T>(to: *mut T, vector: V) {
    // SAFETY: the caller's promise; a packed struct has no alignment.
    unsafe { (*to.cast::<Unaligned<V>>()).0 = vector }
}

/// Defines the token of an instruction set. Its features are listed once, so that what is detected is what is compiled
/// for.
macro_rules! instruction_set {
    ($token:ident, [$($feature:tt),+], $f64:ident, $f32:ident) => {
        #[doc = concat!("Proof that the processor has", $(" ", $feature),+, ".")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(super) struct $token(());

        impl $token {
            /// Returns the token if the processor has the features. (`std` caches what the processor reports.)
            #[cfg(feature = "std")]
            pub(super) fn detect() -> Option<Self> {
                ($(std::arch::is_x86_feature_detected!($feature))&&+).then_some($token(()))
            }

            /// Returns the token if the build is for processors that have the features.
            #[cfg(not(feature = "std"))]
            pub(super) fn detect() -> Option<Self> {
                ($(cfg!(target_feature = $feature))&&+).then_some($token(()))
            }

            /// Runs a job compiled for these instructions.
            pub(super) fn run<J: Job>(self, job: J) -> J::Output {
                $(#[target_feature(enable = $feature)])+
                fn compiled<J: Job>(token: $token, job: J) -> J::Output {
                    job.run(token)
                }
                // SAFETY: a token exists, so the processor has the features that `compiled` is compiled for.
                unsafe { compiled(self, job) }
            }
        }

        impl Token for $token {
            #[inline(always)]
            fn outlined<W: Outlined>(self, work: W) -> W::Output {
                self.run(OutlinedJob(work))
            }
        }

        impl Simd for $token {
            type F64 = $f64;
            type F32 = $f32;

            #[inline(always)]
            fn job<J: Job>(self, job: J) -> J::Output {
                self.run(job)
            }
        }
    };
}

instruction_set!(Avx2, ["avx2", "fma", "f16c"], Avx2F64, Avx2F32);
instruction_set!(Avx512, ["avx512f", "avx512vl", "avx512dq", "avx2", "fma", "f16c"], Avx512F64, Avx512F32);

/// Implements the arithmetic of one vector type.
macro_rules! lanes {
    (
        $name:ident, $token:ident, $scalar:ident, $vector:ident, $lanes:literal, $parts:ident,
        $splat:ident, $add:ident, $sub:ident, $mul:ident
    ) => {
        #[doc = concat!(stringify!($lanes), " lanes.")]
        #[derive(Clone, Copy)]
        pub(super) struct $name($vector);

        impl Lanes for $name {
            type Scalar = $scalar;
            type Token = $token;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(_: $token, x: $scalar) -> Self {
                // SAFETY: the token proves the features.
                $name(unsafe { $splat(x) })
            }

            #[inline(always)]
            fn load(_: $token, from: &[$scalar]) -> Self {
                assert!(from.len() >= $lanes, "a slice shorter than its lanes");
                // SAFETY: the token proves the features; the slice has at least as many values as are read.
                $name(unsafe { read(from.as_ptr()) })
            }

            #[inline(always)]
            fn store(self, to: &mut [$scalar]) {
                assert!(to.len() >= $lanes, "a slice shorter than its lanes");
                // SAFETY: lanes exist only with a token; the slice has at least as many values as are written.
                unsafe { write(to.as_mut_ptr(), self.0) }
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                // SAFETY: lanes exist only with a token, which proves the features.
                $name(unsafe { $add(self.0, other.0) })
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                // SAFETY: lanes exist only with a token, which proves the features.
                $name(unsafe { $sub(self.0, other.0) })
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                // SAFETY: lanes exist only with a token, which proves the features.
                $name(unsafe { $mul(self.0, other.0) })
            }

            #[inline(always)]
            fn blend(self, first: usize, other: Self) -> Self {
                // SAFETY: lanes exist only with a token, which proves the features.
                $name(unsafe { $parts::$scalar::blend(first, self.0, other.0) })
            }

            #[inline(always)]
            fn zero_where_le_zero(self, y: Self) -> Self {
                // SAFETY: lanes exist only with a token, which proves the features.
                $name(unsafe { $parts::$scalar::zero_where_le_zero(self.0, y.0) })
            }

            #[inline(always)]
            fn round_to_f32(self) -> Self {
                // SAFETY: lanes exist only with a token, which proves the features.
                $name(unsafe { $parts::$scalar::round_to_f32(self.0) })
            }
        }
    };
}

lanes!(Avx2F64, Avx2, f64, __m256d, 4, avx2_parts, _mm256_set1_pd, _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd);
lanes!(Avx2F32, Avx2, f32, __m256, 8, avx2_parts, _mm256_set1_ps, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps);
lanes!(Avx512F64, Avx512, f64, __m512d, 8, avx512_parts, _mm512_set1_pd, _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd);
lanes!(Avx512F32, Avx512, f32, __m512, 16, avx512_parts, _mm512_set1_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps);

/// Implements the operations that sums need in addition.
macro_rules! f64_lanes {
    (
        $name:ident, $parts:ident, $splat:ident, $mul_sub:ident, $mul_add:ident, $and:ident, $div:ident,
        $sqrt:ident, $min:ident, $max:ident
    ) => {
        impl F64Lanes for $name {
            #[inline(always)]
            fn sub_via_fma(self, one: Self, other: Self) -> Self {
                // SAFETY: lanes exist only with a token, which proves the features.
                $name(unsafe { $mul_sub(self.0, one.0, other.0) })
            }

            #[inline(always)]
            fn add_exact_square(self, x: Self) -> Self {
                // SAFETY: lanes exist only with a token, which proves the features.
                $name(unsafe { $mul_add(x.0, x.0, self.0) })
            }

            #[inline(always)]
            fn upper_half(self) -> Self {
                // SAFETY: lanes exist only with a token, which proves the features.
                $name(unsafe { $and(self.0, $splat(f64::from_bits(UPPER_HALF))) })
            }

            #[inline(always)]
            fn div(self, other: Self) -> Self {
                // SAFETY: lanes exist only with a token, which proves the features.
                $name(unsafe { $div(self.0, other.0) })
            }

            #[inline(always)]
            fn sqrt(self) -> Self {
                // SAFETY: lanes exist only with a token, which proves the features.
                $name(unsafe { $sqrt(self.0) })
            }

            #[inline(always)]
            fn clip(self, low: Self, high: Self) -> Self {
                // If an operand is NaN, these instructions return the second one.
                // SAFETY: lanes exist only with a token, which proves the features.
                $name(unsafe { $max(low.0, $min(high.0, self.0)) })
            }

            #[inline(always)]
            fn all_zero(self) -> bool {
                // SAFETY: lanes exist only with a token, which proves the features.
                unsafe { $parts::f64::all_zero(self.0) }
            }

            #[inline(always)]
            fn store_first(self, to: &mut [f64]) {
                // SAFETY: lanes exist only with a token, which proves the features; no more is written than the slice
                // has.
                unsafe { $parts::f64::store_first(self.0, to) }
            }

            #[inline(always)]
            fn select_le(self, other: Self, then: Self, otherwise: Self) -> Self {
                // SAFETY: lanes exist only with a token, which proves the features.
                $name(unsafe { $parts::f64::select_le(self.0, other.0, then.0, otherwise.0) })
            }
        }
    };
}

f64_lanes!(
    Avx2F64,
    avx2_parts,
    _mm256_set1_pd,
    _mm256_fmsub_pd,
    _mm256_fmadd_pd,
    _mm256_and_pd,
    _mm256_div_pd,
    _mm256_sqrt_pd,
    _mm256_min_pd,
    _mm256_max_pd
);
f64_lanes!(
    Avx512F64,
    avx512_parts,
    _mm512_set1_pd,
    _mm512_fmsub_pd,
    _mm512_fmadd_pd,
    _mm512_and_pd,
    _mm512_div_pd,
    _mm512_sqrt_pd,
    _mm512_min_pd,
    _mm512_max_pd
);

/// Implements loads and stores of an element type: with intrinsics on pointers to one element per lane (twice as many
/// for a pair), or masked.
macro_rules! load_store {
    (
        $name:ident, $token:ident, $element:ident, $lanes:literal,
        load |$from:ident| $load:expr, partial $partial:path, $(strided |$at:ident| $strided:expr,)?
        store |$to:ident, $lane:ident| $store:expr
        $(, non_temporal aligned to $align:literal |$pair_to:ident, $a:ident, $b:ident| $non_temporal:expr)?
    ) => {
        impl LoadStore<$element> for $name {
            #[inline(always)]
            fn load_from(_: $token, from: &[$element]) -> Self {
                assert!(from.len() >= $lanes, "a slice shorter than its lanes");
                let $from = from.as_ptr();
                // SAFETY: the token proves the features; the slice has at least as many elements as are read.
                $name(unsafe { $load })
            }

            #[inline(always)]
            fn load_partial(_: $token, from: &[$element], fill: Self) -> Self {
                // SAFETY: the token proves the features; no more elements are read than the slice has.
                $name(unsafe { $partial(from, fill.0) })
            }

            $(
                #[inline(always)]
                fn load_strided(_: $token, from: &[$element], stride: usize) -> Self {
                    assert!(stride.saturating_mul($lanes - 1) < from.len(), "a slice shorter than its lanes");
                    // SAFETY: the lanes before the last one are read from before it, and the last one is in the slice.
                    let $at = |lane: usize| unsafe { *from.get_unchecked(lane * stride) };
                    // SAFETY: the token proves the features.
                    $name(unsafe { $strided })
                }
            )?

            #[inline(always)]
            fn store_to(self, to: &mut [$element]) {
                assert!(to.len() >= $lanes, "a slice shorter than its lanes");
                let ($to, $lane) = (to.as_mut_ptr(), self.0);
                // SAFETY: lanes exist only with a token; the slice has at least as many elements as are written.
                unsafe { $store }
            }

            $(
                #[inline(always)]
                fn store_non_temporal([a, b]: [Self; 2], to: &mut [$element], _: &NonTemporal) {
                    assert!(to.len() >= 2 * $lanes, "a slice shorter than its lanes");
                    if to.as_ptr().addr().is_multiple_of($align) {
                        let ($pair_to, $a, $b) = (to.as_mut_ptr(), a.0, b.0);
                        // SAFETY: lanes exist only with a token; the slice has at least as many elements as are
                        // written, and its address is a multiple of what each instruction writes.
                        unsafe { $non_temporal }
                    } else {
                        a.store_to(to);
                        LoadStore::<$element>::store_to(b, &mut to[$lanes..]);
                    }
                }
            )?
        }
    };
}

load_store!(
    Avx2F64, Avx2, f64, 4,
    load |from| read(from), partial avx2_parts::f64::load_partial,
    strided |at| _mm256_set_pd(at(3), at(2), at(1), at(0)),
    store |to, x| write(to, x),
    non_temporal aligned to 32 |to, a, b| {
        _mm256_stream_pd(to, a);
        _mm256_stream_pd(to.add(4), b);
    }
);
load_store!(
    Avx2F64, Avx2, f32, 4,
    load |from| _mm256_cvtps_pd(read(from)), partial avx2_parts::f64::widen_partial,
    strided |at| _mm256_cvtps_pd(_mm_set_ps(at(3), at(2), at(1), at(0))),
    store |to, x| write(to, _mm256_cvtpd_ps(x)),
    non_temporal aligned to 32 |to, a, b| {
        _mm256_stream_ps(to, _mm256_set_m128(_mm256_cvtpd_ps(b), _mm256_cvtpd_ps(a)));
    }
);
load_store!(
    Avx2F32, Avx2, f32, 8,
    load |from| read(from), partial avx2_parts::f32::load_partial, store |to, x| write(to, x),
    non_temporal aligned to 32 |to, a, b| {
        _mm256_stream_ps(to, a);
        _mm256_stream_ps(to.add(8), b);
    }
);
load_store!(
    Avx512F64, Avx512, f64, 8,
    load |from| read(from), partial avx512_parts::f64::load_partial,
    strided |at| _mm512_set_pd(at(7), at(6), at(5), at(4), at(3), at(2), at(1), at(0)),
    store |to, x| write(to, x),
    non_temporal aligned to 64 |to, a, b| {
        _mm512_stream_pd(to, a);
        _mm512_stream_pd(to.add(8), b);
    }
);
load_store!(
    Avx512F64, Avx512, f32, 8,
    load |from| _mm512_cvtps_pd(read(from)), partial avx512_parts::f64::widen_partial,
    strided |at| _mm512_cvtps_pd(_mm256_set_ps(at(7), at(6), at(5), at(4), at(3), at(2), at(1), at(0))),
    store |to, x| write(to, _mm512_cvtpd_ps(x)),
    non_temporal aligned to 64 |to, a, b| {
        let low = _mm512_castps256_ps512(_mm512_cvtpd_ps(a));
        _mm512_stream_ps(to, _mm512_insertf32x8::<1>(low, _mm512_cvtpd_ps(b)));
    }
);
load_store!(
    Avx512F32, Avx512, f32, 16,
    load |from| read(from), partial avx512_parts::f32::load_partial, store |to, x| write(to, x),
    non_temporal aligned to 64 |to, a, b| {
        _mm512_stream_ps(to, a);
        _mm512_stream_ps(to.add(16), b);
    }
);

#[cfg(feature = "half")]
mod half;

/// The operations for which the instruction sets have no common form. Masked loads do not read past the slice.
mod avx2_parts {
    pub(super) mod f64 {
        use core::arch::x86_64::*;

        #[inline]
        #[target_feature(enable = "avx2")]
        pub(in super::super) fn zero_where_le_zero(x: __m256d, y: __m256d) -> __m256d {
            _mm256_and_pd(_mm256_cmp_pd::<_CMP_NLE_UQ>(y, _mm256_setzero_pd()), x)
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        pub(in super::super) fn all_zero(x: __m256d) -> bool {
            _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_EQ_OQ>(x, _mm256_setzero_pd())) == 0b1111
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        pub(in super::super) fn store_first(x: __m256d, to: &mut [f64]) {
            let mask = _mm256_cvtepi32_epi64(mask(to.len()));
            // SAFETY: the mask selects the first `len` lanes, at most 4, so nothing past the slice is written.
            unsafe { _mm256_maskstore_pd(to.as_mut_ptr(), mask, x) }
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        pub(in super::super) fn select_le(a: __m256d, b: __m256d, then: __m256d, otherwise: __m256d) -> __m256d {
            _mm256_blendv_pd(otherwise, then, _mm256_cmp_pd::<_CMP_LE_OQ>(a, b))
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        pub(in super::super) fn blend(first: usize, a: __m256d, b: __m256d) -> __m256d {
            _mm256_blendv_pd(b, a, _mm256_castsi256_pd(_mm256_cvtepi32_epi64(mask(first))))
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        pub(in super::super) fn round_to_f32(x: __m256d) -> __m256d {
            _mm256_cvtps_pd(_mm256_cvtpd_ps(x))
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        pub(in super::super) fn load_partial(from: &[f64], fill: __m256d) -> __m256d {
            let mask = _mm256_cvtepi32_epi64(mask(from.len()));
            // SAFETY: the mask selects the first `len` lanes, at most 4, so no value past the slice is read.
            let values = unsafe { _mm256_maskload_pd(from.as_ptr(), mask) };
            _mm256_blendv_pd(fill, values, _mm256_castsi256_pd(mask))
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        pub(in super::super) fn widen_partial(from: &[f32], fill: __m256d) -> __m256d {
            let mask = mask(from.len());
            // SAFETY: the mask selects the first `len` lanes, at most 4, so no value past the slice is read.
            let values = unsafe { _mm_maskload_ps(from.as_ptr(), mask) };
            _mm256_blendv_pd(fill, _mm256_cvtps_pd(values), _mm256_castsi256_pd(_mm256_cvtepi32_epi64(mask)))
        }

        /// Returns a mask with the first `len` lanes set.
        #[inline]
        #[target_feature(enable = "avx2")]
        fn mask(len: usize) -> __m128i {
            _mm_cmpgt_epi32(_mm_set1_epi32(len.min(4) as i32), _mm_setr_epi32(0, 1, 2, 3))
        }
    }

    pub(super) mod f32 {
        use core::arch::x86_64::*;

        #[inline]
        #[target_feature(enable = "avx2")]
        pub(in super::super) fn zero_where_le_zero(x: __m256, y: __m256) -> __m256 {
            _mm256_and_ps(_mm256_cmp_ps::<_CMP_NLE_UQ>(y, _mm256_setzero_ps()), x)
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        pub(in super::super) fn blend(first: usize, a: __m256, b: __m256) -> __m256 {
            _mm256_blendv_ps(b, a, _mm256_castsi256_ps(mask(first)))
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        pub(in super::super) fn round_to_f32(x: __m256) -> __m256 {
            x
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        pub(in super::super) fn load_partial(from: &[f32], fill: __m256) -> __m256 {
            let mask = mask(from.len());
            // SAFETY: the mask selects the first `len` lanes, at most 8, so no value past the slice is read.
            let values = unsafe { _mm256_maskload_ps(from.as_ptr(), mask) };
            _mm256_blendv_ps(fill, values, _mm256_castsi256_ps(mask))
        }

        /// Returns a mask with the first `len` lanes set.
        #[inline]
        #[target_feature(enable = "avx2")]
        fn mask(len: usize) -> __m256i {
            _mm256_cmpgt_epi32(_mm256_set1_epi32(len.min(8) as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
        }
    }
}

/// The same operations as in [`avx2_parts`], for twice as many lanes.
mod avx512_parts {
    pub(super) mod f64 {
        use core::arch::x86_64::*;

        #[inline]
        #[target_feature(enable = "avx512f")]
        pub(in super::super) fn zero_where_le_zero(x: __m512d, y: __m512d) -> __m512d {
            _mm512_maskz_mov_pd(_mm512_cmp_pd_mask::<_CMP_NLE_UQ>(y, _mm512_setzero_pd()), x)
        }

        #[inline]
        #[target_feature(enable = "avx512f")]
        pub(in super::super) fn all_zero(x: __m512d) -> bool {
            _mm512_cmp_pd_mask::<_CMP_EQ_OQ>(x, _mm512_setzero_pd()) == 0xff
        }

        #[inline]
        #[target_feature(enable = "avx512f")]
        pub(in super::super) fn store_first(x: __m512d, to: &mut [f64]) {
            // SAFETY: the mask selects the first `len` lanes, at most 8, so nothing past the slice is written.
            unsafe { _mm512_mask_storeu_pd(to.as_mut_ptr(), mask(to.len()), x) }
        }

        #[inline]
        #[target_feature(enable = "avx512f")]
        pub(in super::super) fn select_le(a: __m512d, b: __m512d, then: __m512d, otherwise: __m512d) -> __m512d {
            _mm512_mask_blend_pd(_mm512_cmp_pd_mask::<_CMP_LE_OQ>(a, b), otherwise, then)
        }

        #[inline]
        #[target_feature(enable = "avx512f")]
        pub(in super::super) fn blend(first: usize, a: __m512d, b: __m512d) -> __m512d {
            _mm512_mask_blend_pd(mask(first), b, a)
        }

        #[inline]
        #[target_feature(enable = "avx512f")]
        pub(in super::super) fn round_to_f32(x: __m512d) -> __m512d {
            _mm512_cvtps_pd(_mm512_cvtpd_ps(x))
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512vl")]
        pub(in super::super) fn load_partial(from: &[f64], fill: __m512d) -> __m512d {
            // SAFETY: the mask selects the first `len` lanes, at most 8, so no value past the slice is read.
            unsafe { _mm512_mask_loadu_pd(fill, mask(from.len()), from.as_ptr()) }
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512vl")]
        pub(in super::super) fn widen_partial(from: &[f32], fill: __m512d) -> __m512d {
            let mask = mask(from.len());
            // SAFETY: the mask selects the first `len` lanes, at most 8, so no value past the slice is read.
            let values = unsafe { _mm256_maskz_loadu_ps(mask, from.as_ptr()) };
            _mm512_mask_cvtps_pd(fill, mask, values)
        }

        #[inline(always)]
        fn mask(len: usize) -> __mmask8 {
            // In 16 bits, because a shift by all 8 would overflow.
            (0xff_u16 >> (8 - len.min(8))) as __mmask8
        }
    }

    pub(super) mod f32 {
        use core::arch::x86_64::*;

        #[inline]
        #[target_feature(enable = "avx512f")]
        pub(in super::super) fn zero_where_le_zero(x: __m512, y: __m512) -> __m512 {
            _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLE_UQ>(y, _mm512_setzero_ps()), x)
        }

        #[inline]
        #[target_feature(enable = "avx512f")]
        pub(in super::super) fn blend(first: usize, a: __m512, b: __m512) -> __m512 {
            _mm512_mask_blend_ps(mask(first), b, a)
        }

        #[inline]
        #[target_feature(enable = "avx512f")]
        pub(in super::super) fn round_to_f32(x: __m512) -> __m512 {
            x
        }

        #[inline]
        #[target_feature(enable = "avx512f")]
        pub(in super::super) fn load_partial(from: &[f32], fill: __m512) -> __m512 {
            // SAFETY: the mask selects the first `len` lanes, at most 16, so no value past the slice is read.
            unsafe { _mm512_mask_loadu_ps(fill, mask(from.len()), from.as_ptr()) }
        }

        #[inline(always)]
        fn mask(len: usize) -> __mmask16 {
            // In 32 bits, because a shift by all 16 would overflow.
            (0xffff_u32 >> (16 - len.min(16))) as __mmask16
        }
    }
}
