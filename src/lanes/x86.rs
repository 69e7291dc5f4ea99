//! AVX2 and AVX-512 lanes. The only intrinsics of the crate.
//!
//! # Why this is sound
//! A value of [`Avx2`] or [`Avx512`], or of their tokens, exists only where the processor has the instructions: tokens
//! are made by `detect` alone, lanes only from tokens. Slices are bound-checked to a whole array before a pointer is
//! made, and unaligned loads and stores are used throughout.

use std::arch::x86_64::*;

use super::{Job, Lanes, UPPER_HALF};

/// A hint, which every x86-64 processor has.
#[inline(always)]
pub(super) fn prefetch<T>(from: &[T], at: usize) {
    // SAFETY: a prefetch reads nothing and does not fault, whatever the address, so this may lie past the slice (the
    // pointer is made without a claim to the contrary). SSE, which has the instruction, is part of x86-64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(from.as_ptr().wrapping_add(at).cast()) }
}

/// Orders streamed stores before later ones, so that whoever is told of the memory finds them.
#[inline(always)]
pub(super) fn fence() {
    // SAFETY: SSE is part of x86-64.
    unsafe { _mm_sfence() }
}

/// Streams 16 bytes with the instruction that every x86-64 processor has, where the address allows it.
#[inline(always)]
pub(super) fn stream16<T: Copy, const N: usize>(from: &[T; N], to: &mut [T; N]) {
    const { assert!(size_of::<[T; N]>() == 16) };
    if to.as_ptr().addr().is_multiple_of(16) {
        // SAFETY: SSE2 is part of x86-64; both arrays have 16 bytes, the target on a multiple of 16. The caller fences.
        unsafe { _mm_stream_si128(to.as_mut_ptr().cast(), _mm_loadu_si128(from.as_ptr().cast())) }
    } else {
        *to = *from;
    }
}

/// Writes the tokens, the lanes and the entry of one instruction set: they differ in types and intrinsics alone.
macro_rules! lanes {
    (
        $name:ident, $token:ident, $vector:ty, $lanes:literal, $features:literal, [$($feature:tt),+],
        parts $part:ident, splat $splat:ident, load $load:ident, store $store:ident,
        load_f32 $load_f32:ident $widen:ident, store_f32 $store_f32:ident $narrow:ident,
        stream $stream:ident $stream_f32:ident $pair:path, add $add:ident, sub $sub:ident $mul_sub:ident, mul $mul:ident $mul_add:ident, div $div:ident, and $and:ident
    ) => {
        #[doc = concat!("Proof that the processor has ", $features, ".")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(super) struct $token(());

        impl $token {
            /// The proof, if it holds. (`std` caches what the processor says.)
            pub(super) fn detect() -> Option<Self> {
                ($(std::arch::is_x86_feature_detected!($feature))&&+).then_some($token(()))
            }

            /// Runs a job compiled for these instructions.
            pub(super) fn run<J: Job>(self, job: J) -> J::Out {
                #[target_feature(enable = $features)]
                fn compiled<J: Job>(token: $token, job: J) -> J::Out {
                    job.run::<$name>(token)
                }
                // SAFETY: a token exists, so the processor has the features that `compiled` is compiled for.
                unsafe { compiled(self, job) }
            }
        }

        #[doc = concat!(stringify!($lanes), " lanes.")]
        #[derive(Clone, Copy)]
        pub(super) struct $name($vector);

        impl Lanes for $name {
            type Token = $token;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(_: $token, x: f64) -> Self {
                // SAFETY: the token proves the features.
                $name(unsafe { $splat(x) })
            }

            #[inline(always)]
            fn load(_: $token, from: &[f64]) -> Self {
                let from: &[f64; $lanes] = from.first_chunk().expect("a slice shorter than its lanes");
                // SAFETY: the token proves the features; the array has as many values as are read.
                $name(unsafe { $load(from.as_ptr()) })
            }

            #[inline(always)]
            fn load_f32(_: $token, from: &[f32]) -> Self {
                let from: &[f32; $lanes] = from.first_chunk().expect("a slice shorter than its lanes");
                // SAFETY: the token proves the features; the array has as many values as are read.
                $name(unsafe { $widen($load_f32(from.as_ptr())) })
            }

            #[inline(always)]
            fn load_part(_: $token, from: &[f64], fill: Self) -> Self {
                // SAFETY: the token proves the features; no more values are read than the slice has.
                $name(unsafe { $part::f64(from, fill.0) })
            }

            #[inline(always)]
            fn load_part_f32(_: $token, from: &[f32], fill: Self) -> Self {
                // SAFETY: the token proves the features; no more values are read than the slice has.
                $name(unsafe { $part::f32(from, fill.0) })
            }

            #[inline(always)]
            fn store(self, to: &mut [f64]) {
                let to: &mut [f64; $lanes] = to.first_chunk_mut().expect("a slice shorter than its lanes");
                // SAFETY: lanes exist only by a token; the array has as many values as are written.
                unsafe { $store(to.as_mut_ptr(), self.0) }
            }

            #[inline(always)]
            fn store_f32(self, to: &mut [f32]) {
                let to: &mut [f32; $lanes] = to.first_chunk_mut().expect("a slice shorter than its lanes");
                // SAFETY: lanes exist only by a token; the array has as many values as are written.
                unsafe { $store_f32(to.as_mut_ptr(), $narrow(self.0)) }
            }

            #[inline(always)]
            fn stream([a, b]: [Self; 2], to: &mut [f64]) {
                let to: &mut [f64; 2 * $lanes] = to.first_chunk_mut().expect("a slice shorter than its lanes");
                if to.as_ptr().addr().is_multiple_of(8 * $lanes) {
                    // SAFETY: lanes exist only by a token; the array has as many values as are written, and lies on a
                    // multiple of what each instruction writes. The caller fences.
                    unsafe {
                        $stream(to.as_mut_ptr().cast(), a.0);
                        $stream(to.as_mut_ptr().add($lanes).cast(), b.0);
                    }
                } else {
                    a.store(to);
                    b.store(&mut to[$lanes..]);
                }
            }

            #[inline(always)]
            fn stream_f32([a, b]: [Self; 2], to: &mut [f32]) {
                let to: &mut [f32; 2 * $lanes] = to.first_chunk_mut().expect("a slice shorter than its lanes");
                if to.as_ptr().addr().is_multiple_of(size_of_val(to)) {
                    // SAFETY: lanes exist only by a token; the array has as many values as are written, and lies on a
                    // multiple of what the instruction writes. The caller fences.
                    unsafe { $stream_f32(to.as_mut_ptr().cast(), $pair($narrow(a.0), $narrow(b.0))) }
                } else {
                    a.store_f32(to);
                    b.store_f32(&mut to[$lanes..]);
                }
            }

            #[inline(always)]
            fn fence(_: $token) {
                fence();
            }

            #[inline(always)]
            fn prefetch<T>(_: $token, from: &[T], at: usize) {
                prefetch(from, at);
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                // SAFETY: lanes exist only by a token, which proves the features.
                $name(unsafe { $add(self.0, other.0) })
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                // SAFETY: lanes exist only by a token, which proves the features.
                $name(unsafe { $sub(self.0, other.0) })
            }

            #[inline(always)]
            fn sub_beside(self, one: Self, other: Self) -> Self {
                // SAFETY: lanes exist only by a token, which proves the features.
                $name(unsafe { $mul_sub(self.0, one.0, other.0) })
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                // SAFETY: lanes exist only by a token, which proves the features.
                $name(unsafe { $mul(self.0, other.0) })
            }

            #[inline(always)]
            fn add_exact_square(self, x: Self) -> Self {
                // SAFETY: lanes exist only by a token, which proves the features.
                $name(unsafe { $mul_add(x.0, x.0, self.0) })
            }

            #[inline(always)]
            fn upper_half(self) -> Self {
                // SAFETY: lanes exist only by a token, which proves the features.
                $name(unsafe { $and(self.0, $splat(f64::from_bits(UPPER_HALF))) })
            }

            #[inline(always)]
            fn div(self, other: Self) -> Self {
                // SAFETY: lanes exist only by a token, which proves the features.
                $name(unsafe { $div(self.0, other.0) })
            }

            #[inline(always)]
            fn all_zero(self) -> bool {
                // SAFETY: lanes exist only by a token, which proves the features.
                unsafe { $part::all_zero(self.0) }
            }
        }
    };
}

lanes! {
    Avx2, Avx2Token, __m256d, 4, "avx2,fma", ["avx2", "fma"],
    parts avx2_parts, splat _mm256_set1_pd, load _mm256_loadu_pd, store _mm256_storeu_pd,
    load_f32 _mm_loadu_ps _mm256_cvtps_pd, store_f32 _mm_storeu_ps _mm256_cvtpd_ps,
    stream _mm256_stream_pd _mm256_stream_ps avx2_parts::pair, add _mm256_add_pd, sub _mm256_sub_pd _mm256_fmsub_pd, mul _mm256_mul_pd _mm256_fmadd_pd, div _mm256_div_pd, and _mm256_and_pd
}

lanes! {
    Avx512, Avx512Token, __m512d, 8, "avx512f,avx512vl,avx512dq,avx2,fma", ["avx512f", "avx512vl", "avx512dq", "avx2", "fma"],
    parts avx512_parts, splat _mm512_set1_pd, load _mm512_loadu_pd, store _mm512_storeu_pd,
    load_f32 _mm256_loadu_ps _mm512_cvtps_pd, store_f32 _mm256_storeu_ps _mm512_cvtpd_ps,
    stream _mm512_stream_pd _mm512_stream_ps avx512_parts::pair, add _mm512_add_pd, sub _mm512_sub_pd _mm512_fmsub_pd, mul _mm512_mul_pd _mm512_fmadd_pd, div _mm512_div_pd, and _mm512_and_pd
}

/// What the instruction sets have no common shape for: joining halves, and masked loads, which do not read past the
/// slice.
mod avx2_parts {
    use super::*;

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn pair(low: __m128, high: __m128) -> __m256 {
        _mm256_set_m128(high, low)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn all_zero(x: __m256d) -> bool {
        _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_EQ_OQ>(x, _mm256_setzero_pd())) == 0b1111
    }

    /// Four lanes set, then four not: a mask of `n` lanes starts `n` before the middle.
    const MASKS: [i32; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn f64(from: &[f64], fill: __m256d) -> __m256d {
        // SAFETY: the mask has the first `len` lanes, at most 4, so no value past the slice is read.
        unsafe {
            let mask = _mm256_cvtepi32_epi64(mask(from.len()));
            _mm256_blendv_pd(fill, _mm256_maskload_pd(from.as_ptr(), mask), _mm256_castsi256_pd(mask))
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn f32(from: &[f32], fill: __m256d) -> __m256d {
        // SAFETY: the mask has the first `len` lanes, at most 4, so no value past the slice is read.
        unsafe {
            let mask = mask(from.len());
            let values = _mm256_cvtps_pd(_mm_maskload_ps(from.as_ptr(), mask));
            _mm256_blendv_pd(fill, values, _mm256_castsi256_pd(_mm256_cvtepi32_epi64(mask)))
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn mask(len: usize) -> __m128i {
        let lanes: &[i32; 4] = MASKS[4 - len.min(4)..][..4].try_into().expect("four");
        // SAFETY: an array of four is read.
        unsafe { _mm_loadu_si128(lanes.as_ptr().cast()) }
    }
}

/// As [`avx2_parts`], eight lanes.
mod avx512_parts {
    use super::*;

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq")]
    pub(super) fn pair(low: __m256, high: __m256) -> __m512 {
        _mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn all_zero(x: __m512d) -> bool {
        _mm512_cmp_pd_mask::<_CMP_EQ_OQ>(x, _mm512_setzero_pd()) == 0xff
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(super) fn f64(from: &[f64], fill: __m512d) -> __m512d {
        // SAFETY: the mask has the first `len` lanes, at most 8, so no value past the slice is read.
        unsafe { _mm512_mask_loadu_pd(fill, mask(from.len()), from.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(super) fn f32(from: &[f32], fill: __m512d) -> __m512d {
        let mask = mask(from.len());
        // SAFETY: the mask has the first `len` lanes, at most 8, so no value past the slice is read.
        let values = unsafe { _mm256_maskz_loadu_ps(mask, from.as_ptr()) };
        _mm512_mask_cvtps_pd(fill, mask, values)
    }

    #[inline(always)]
    fn mask(len: usize) -> __mmask8 {
        // In 16 bits, because all 8 may have to go.
        (0xff_u16 >> (8 - len.min(8))) as __mmask8
    }
}
