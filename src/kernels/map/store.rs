//! Ordinary or non-temporal stores: the policy, the alignment that non-temporal stores need, and the fence that must
//! follow them.
//!
//! A non-temporal store writes a whole vector to an address that is a multiple of its size. An ordinary store to a
//! cache line that also receives non-temporal stores costs as much as non-temporal stores of several kilobytes. So,
//! from the first whole cache line of a run to its last whole step, all stores are non-temporal, and a vector that
//! crosses the end of a row or plane combines the parameters of both sides.

use super::run::Run;
use crate::lanes::{LoadStore, NonTemporal, prefetch};
use crate::tuning::{CACHE_LINE, NON_TEMPORAL_BYTES, NON_TEMPORAL_PREFETCH, OUTPUT_PREFETCH};

/// How the outputs of one call are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StorePolicy {
    Cached,
    NonTemporal,
}

impl StorePolicy {
    /// Chooses non-temporal stores for outputs that are too large to stay in a cache. Never in place, where the cache
    /// lines have just been read.
    pub(crate) fn choose<T>(in_place: bool, y: &[T]) -> Self {
        if !in_place && size_of_val(y) >= NON_TEMPORAL_BYTES { StorePolicy::NonTemporal } else { StorePolicy::Cached }
    }
}

/// A store policy, as the walk applies it.
pub(super) trait Store {
    /// Vectors per step: 1 or 2.
    const VECTORS: usize;

    /// Returns the length of the head: the number of values before the first one at which a step may start.
    fn head<T>(&self, y: &[T]) -> usize;

    /// Writes two vectors to the start of `to`.
    fn pair<L: LoadStore<T>, T>(&self, pair: [L; 2], to: &mut [T]);

    /// Prefetches what is read next, at the prefetch distance from `at`.
    fn prefetch<T, const I: usize>(&self, run: &Run<'_, T, I>, at: usize);

    /// Prefetches what is written next, at the prefetch distance from `at`.
    fn prefetch_output<T, const I: usize>(&self, run: &Run<'_, T, I>, at: usize);
}

pub(super) struct Cached;

impl Store for Cached {
    const VECTORS: usize = 1;

    #[inline(always)]
    fn head<T>(&self, _: &[T]) -> usize {
        0
    }

    #[inline(always)]
    fn pair<L: LoadStore<T>, T>(&self, [a, b]: [L; 2], to: &mut [T]) {
        a.store_to(to);
        b.store_to(&mut to[L::LANES..]);
    }

    /// Prefetches the same columns of the next row, of the inputs and of the output.
    #[inline(always)]
    fn prefetch<T, const I: usize>(&self, run: &Run<'_, T, I>, at: usize) {
        if let Some(next_row) = run.next_row {
            for index in 0..I {
                prefetch(run.input(index), at + next_row);
            }
            prefetch(run.y, at + next_row);
        }
    }

    #[inline(always)]
    fn prefetch_output<T, const I: usize>(&self, run: &Run<'_, T, I>, at: usize) {
        prefetch(run.y, at + OUTPUT_PREFETCH / size_of::<T>());
    }
}

pub(super) struct NonTemporalStore(NonTemporal);

impl NonTemporalStore {
    /// Begins non-temporal stores. Drop the result after the last store: this executes the fence.
    #[inline(always)]
    pub(super) fn begin() -> Self {
        NonTemporalStore(NonTemporal::begin())
    }
}

impl Store for NonTemporalStore {
    const VECTORS: usize = 2;

    #[inline(always)]
    fn head<T>(&self, y: &[T]) -> usize {
        let past = y.as_ptr().addr() % CACHE_LINE;
        (CACHE_LINE - past) % CACHE_LINE / size_of::<T>()
    }

    #[inline(always)]
    fn pair<L: LoadStore<T>, T>(&self, pair: [L; 2], to: &mut [T]) {
        L::store_non_temporal(pair, to, &self.0);
    }

    #[inline(always)]
    fn prefetch<T, const I: usize>(&self, run: &Run<'_, T, I>, at: usize) {
        let distance = run.next_row.unwrap_or(NON_TEMPORAL_PREFETCH / size_of::<T>());
        for index in 0..I {
            prefetch(run.input(index), at + distance);
        }
    }

    #[inline(always)]
    fn prefetch_output<T, const I: usize>(&self, _: &Run<'_, T, I>, _: usize) {}
}
