//! What every x86-64 processor has beyond plain loads and stores: prefetches, non-temporal stores and their fence.

use core::arch::x86_64::*;

/// Prefetches a cache line into all levels of the cache, with an instruction that every x86-64 processor has.
#[inline(always)]
pub(super) fn prefetch<T>(from: &[T], at: usize) {
    // SAFETY: a prefetch reads nothing and does not fault, whatever the address, so the address may lie past the slice
    // (`wrapping_add` does not promise otherwise). SSE, which has the instruction, is part of x86-64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(from.as_ptr().wrapping_add(at).cast()) }
}

/// Prefetches a cache line into the second level of the cache.
#[inline(always)]
pub(super) fn prefetch_second_level<T>(from: &[T], at: usize) {
    // SAFETY: as for `prefetch`.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(from.as_ptr().wrapping_add(at).cast()) }
}

/// Orders non-temporal stores before later stores.
#[inline(always)]
pub(super) fn fence() {
    // SAFETY: SSE is part of x86-64.
    unsafe { _mm_sfence() }
}

/// Stores 16 bytes: with a non-temporal store, which every x86-64 processor has, if the address allows it. The caller
/// executes the fence.
#[inline(always)]
pub(super) fn store_16_bytes_f32(from: &[f32; 4], to: &mut [f32; 4]) {
    if to.as_ptr().addr().is_multiple_of(16) {
        // SAFETY: SSE is part of x86-64; both arrays have 16 bytes, the target on a multiple of 16.
        unsafe { _mm_stream_ps(to.as_mut_ptr(), _mm_loadu_ps(from.as_ptr())) }
    } else {
        *to = *from;
    }
}

/// Stores 16 bytes of f64 like [`store_16_bytes_f32`].
#[inline(always)]
pub(super) fn store_16_bytes_f64(from: &[f64; 2], to: &mut [f64; 2]) {
    if to.as_ptr().addr().is_multiple_of(16) {
        // SAFETY: SSE2 is part of x86-64; both arrays have 16 bytes, the target on a multiple of 16.
        unsafe { _mm_stream_pd(to.as_mut_ptr(), _mm_loadu_pd(from.as_ptr())) }
    } else {
        *to = *from;
    }
}
