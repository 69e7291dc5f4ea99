//! Elementwise maps with parameters per feature: normalisation, and other operations of this form.
//!
//! | | |
//! |---|---|
//! | [`formula`] | how an output is computed |
//! | [`element`] | how each element type is mapped in f64 |
//! | [`parameters`] | the parameters of each feature |
//! | [`expanded`] | the same, expanded to one per column |
//! | [`run`] | contiguous values to read and to write |
//! | [`store`] | ordinary or non-temporal stores: policy, alignment and fence |
//! | [`walk`] | the traversal of rows and of planes |
//!
//! The computation uses the type of the parameters, f64 or f32.

mod element;
mod expanded;
mod formula;
mod parameters;
mod run;
mod store;
#[cfg(test)]
mod tests;
mod walk;

use crate::kernels::KernelElement;
use crate::lanes::{Job, LoadStore, Simd, SingleLaneElement};
use crate::layout::Layout;
use run::Run;
use store::{Cached, NonTemporalStore};
use walk::Walk;

pub(crate) use element::MapElement;
pub(crate) use formula::{
    Activated, Formula, InputGradient, InputGradientSingle, Normalize, NormalizeSingle, Residual, ScaledGradient,
    ThroughRelu,
};
pub(crate) use parameters::Parameters;
pub(crate) use store::StorePolicy;

/// Maps a run: contiguous values between any two places of the batch.
pub(crate) struct Map<'a, F, C, T, const P: usize, const I: usize> {
    pub(crate) formula: F,
    pub(crate) parameters: &'a Parameters<C, P>,
    pub(crate) layout: Layout,
    /// Where in the batch the run starts.
    pub(crate) start: usize,
    /// The inputs. The first may be `None`: the input is then `y` itself, in place.
    pub(crate) inputs: [Option<&'a [T]>; I],
    pub(crate) y: &'a mut [T],
    pub(crate) store: StorePolicy,
}

/// Computes in f64.
impl<F: Formula<P, I>, T: KernelElement, const P: usize, const I: usize> Job for Map<'_, F, f64, T, P, I> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        T::map_in_f64(self, simd);
    }
}

/// Computes in f32.
impl<F: Formula<P, I>, T: SingleLaneElement, const P: usize, const I: usize> Job for Map<'_, F, f32, T, P, I>
where
    f32: LoadStore<T>,
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.in_lanes::<T::F32<S>>(simd);
    }
}

impl<F: Formula<P, I>, C, T, const P: usize, const I: usize> Map<'_, F, C, T, P, I>
where
    C: LoadStore<T, Scalar = C, Token = ()> + Default,
{
    #[inline(always)]
    fn in_lanes<L: LoadStore<T, Scalar = C>>(self, token: L::Token) {
        let Map { formula, parameters, layout, start, inputs, y, store } = self;
        let (parameters, in_place) = (parameters.columns(), inputs[0].is_none());
        let mut slices = [&[][..]; I];
        for i in 0..I {
            slices[i] = inputs[i].unwrap_or_default();
        }
        let run = Run { inputs: slices, y, in_place, next_row: None };
        match store {
            // In place, stores are never non-temporal.
            StorePolicy::NonTemporal if !in_place => {
                Walk::<F, L, _, T, P, I>::new(token, formula, NonTemporalStore::begin())
                    .batch(parameters, layout, start, run);
            }
            _ => Walk::<F, L, _, T, P, I>::new(token, formula, Cached).batch(parameters, layout, start, run),
        }
    }
}
