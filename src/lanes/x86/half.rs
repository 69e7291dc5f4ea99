//! Loads and stores of f16 and bf16. f32 lies in between. f16 is converted by the processor, bf16 by integer operations:
//! the processor's instruction would flush subnormal numbers.

use core::arch::x86_64::*;

use half::{bf16, f16};

use super::{Avx2, Avx2F32, Avx2F64, Avx512, Avx512F32, Avx512F64, avx2_parts, avx512_parts, read, write};
use crate::element::SingleElement;
use crate::lanes::{LoadStore, NonTemporal};

/// Rounds to nearest, ties to even.
const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT;

load_store!(
    Avx2F32, Avx2, f16, 8,
    load |from| _mm256_cvtph_ps(read(from)), partial partial::avx2_f32,
    store |to, x| write(to, _mm256_cvtps_ph::<NEAREST>(x)),
    non_temporal aligned to 32 |to, a, b| {
        let (a, b) = (_mm256_cvtps_ph::<NEAREST>(a), _mm256_cvtps_ph::<NEAREST>(b));
        _mm256_stream_si256(to.cast(), _mm256_set_m128i(b, a));
    }
);
load_store!(
    Avx2F32, Avx2, bf16, 8,
    load |from| widen_bf16(read(from)), partial partial::avx2_f32,
    store |to, x| write(to, narrow_bf16(x)),
    non_temporal aligned to 32 |to, a, b| {
        _mm256_stream_si256(to.cast(), _mm256_set_m128i(narrow_bf16(b), narrow_bf16(a)));
    }
);
load_store!(
    Avx2F64, Avx2, f16, 4,
    load |from| _mm256_cvtps_pd(_mm_cvtph_ps(_mm_loadl_epi64(from.cast()))), partial partial::avx2_f64,
    store |to, x| _mm_storel_epi64(to.cast(), _mm_cvtps_ph::<NEAREST>(_mm256_cvtpd_ps(x)))
);
load_store!(
    Avx2F64, Avx2, bf16, 4,
    load |from| {
        let low = _mm_cvtepu16_epi32(_mm_loadl_epi64(from.cast()));
        _mm256_cvtps_pd(_mm_castsi128_ps(_mm_slli_epi32::<16>(low)))
    },
    partial partial::avx2_f64,
    store |to, x| _mm_storel_epi64(to.cast(), narrow_bf16(_mm256_castps128_ps256(_mm256_cvtpd_ps(x))))
);
load_store!(
    Avx512F32, Avx512, f16, 16,
    load |from| _mm512_cvtph_ps(read(from)), partial partial::avx512_f32,
    store |to, x| write(to, _mm512_cvtps_ph::<NEAREST>(x)),
    non_temporal aligned to 64 |to, a, b| {
        let low = _mm512_castsi256_si512(_mm512_cvtps_ph::<NEAREST>(a));
        _mm512_stream_si512(to.cast(), _mm512_inserti64x4::<1>(low, _mm512_cvtps_ph::<NEAREST>(b)));
    }
);
load_store!(
    Avx512F32, Avx512, bf16, 16,
    load |from| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(read(from)))),
    partial partial::avx512_f32,
    store |to, x| write(to, narrow_bf16_512(x)),
    non_temporal aligned to 64 |to, a, b| {
        let low = _mm512_castsi256_si512(narrow_bf16_512(a));
        _mm512_stream_si512(to.cast(), _mm512_inserti64x4::<1>(low, narrow_bf16_512(b)));
    }
);
load_store!(
    Avx512F64, Avx512, f16, 8,
    load |from| _mm512_cvtps_pd(_mm256_cvtph_ps(read(from))), partial partial::avx512_f64,
    store |to, x| write(to, _mm256_cvtps_ph::<NEAREST>(_mm512_cvtpd_ps(x)))
);
load_store!(
    Avx512F64, Avx512, bf16, 8,
    load |from| _mm512_cvtps_pd(widen_bf16(read(from))), partial partial::avx512_f64,
    store |to, x| write(to, narrow_bf16(_mm512_cvtpd_ps(x)))
);

/// A bf16 is the upper half of an f32.
#[inline]
#[target_feature(enable = "avx2")]
fn widen_bf16(x: __m128i) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(x)))
}

/// Rounds to nearest, ties to even: adds what carries into the upper half if the lower half is more than 0x8000, or
/// equal to it and the upper half is odd. NaN becomes quiet, so that it does not round to an infinity.
#[inline]
#[target_feature(enable = "avx2")]
fn narrow_bf16(x: __m256) -> __m128i {
    let bits = _mm256_castps_si256(x);
    let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
    let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
    let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
    let upper = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan));
    // Packs each 128-bit half by itself.
    let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(upper, upper));
    _mm256_castsi256_si128(packed)
}

/// [`narrow_bf16`] for twice as many lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn narrow_bf16_512(x: __m512) -> __m256i {
    let bits = _mm512_castps_si512(x);
    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
    let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
    let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
    _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(_mm512_mask_blend_epi32(nan, rounded, quiet)))
}

/// The first values of a vector, by way of memory: only edges need them.
mod partial {
    use super::*;

    fn widened<T: SingleElement, const N: usize>(from: &[T]) -> ([f32; N], usize) {
        let mut values = [0.0; N];
        for (value, x) in values.iter_mut().zip(from) {
            *value = x.to_f32();
        }
        (values, from.len().min(N))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn avx2_f32<T: SingleElement>(from: &[T], fill: __m256) -> __m256 {
        let (values, len) = widened::<T, 8>(from);
        avx2_parts::f32::load_partial(&values[..len], fill)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn avx2_f64<T: SingleElement>(from: &[T], fill: __m256d) -> __m256d {
        let (values, len) = widened::<T, 4>(from);
        avx2_parts::f64::widen_partial(&values[..len], fill)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(super) fn avx512_f32<T: SingleElement>(from: &[T], fill: __m512) -> __m512 {
        let (values, len) = widened::<T, 16>(from);
        avx512_parts::f32::load_partial(&values[..len], fill)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(super) fn avx512_f64<T: SingleElement>(from: &[T], fill: __m512d) -> __m512d {
        let (values, len) = widened::<T, 8>(from);
        avx512_parts::f64::widen_partial(&values[..len], fill)
    }
}
