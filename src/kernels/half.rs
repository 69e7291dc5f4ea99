//! Conversions of f16 and bf16 values, for what is computed by the kernels of f32.

use crate::lanes::{Lanes, LoadStore, Simd, SingleLaneElement};

/// Converts values to f32, exactly. Both slices have one length.
#[inline(always)]
pub(crate) fn widen<S: Simd, T: SingleLaneElement>(simd: S, x: &[T], y: &mut [f32]) {
    let lanes = <T::F32<S> as Lanes>::LANES;
    let full = y.len() - y.len() % lanes;
    for at in (0..full).step_by(lanes) {
        <T::F32<S> as LoadStore<T>>::load_from(simd, &x[at..]).store(&mut y[at..]);
    }
    for at in full..y.len() {
        y[at] = x[at].to_f32();
    }
}

/// Rounds f32 values to the element type. Both slices have one length.
#[inline(always)]
pub(crate) fn narrow<S: Simd, T: SingleLaneElement>(simd: S, x: &[f32], y: &mut [T]) {
    let lanes = <T::F32<S> as Lanes>::LANES;
    let full = y.len() - y.len() % lanes;
    for at in (0..full).step_by(lanes) {
        T::F32::<S>::load(simd, &x[at..]).store_to(&mut y[at..]);
    }
    for at in full..y.len() {
        y[at] = T::from_f32(x[at]);
    }
}
