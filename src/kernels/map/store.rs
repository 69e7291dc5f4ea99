//! Whether outputs bypass the caches: the policy, the alignment that it needs, and the fence that must follow.
//!
//! A non-temporal store writes a whole vector to an address that is a multiple of its size. An ordinary store to a cache line
//! that others bypass costs as much as some kilobytes of them; so runs are walked without a break from the first whole
//! line on, and vectors that cross the end of a row or plane take their parameters from both sides.

use super::run::Run;
use crate::lanes::{LoadStore, NonTemporal, prefetch};
use crate::layout::Layout;
use crate::tuning::{CACHE_LINE, LAID_OUT_COLUMNS, NON_TEMPORAL_BYTES, NON_TEMPORAL_PREFETCH, SPLAT_INNER};

/// How the outputs of one call are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StorePolicy {
    Cached,
    NonTemporal,
}

impl StorePolicy {
    /// Large outputs, which would not stay in a cache, bypass it. Never in place, where their lines are in the cache
    /// already; and not where rows of small planes are so wide that they are mapped some columns at a time, because those
    /// do not begin with cache lines.
    pub(crate) fn choose<T>(layout: Layout, in_place: bool, y: &[T]) -> Self {
        let inner = layout.inner();
        let in_parts = (2..SPLAT_INNER).contains(&inner) && layout.features() * inner > LAID_OUT_COLUMNS;
        if !in_place && !in_parts && size_of_val(y) >= NON_TEMPORAL_BYTES {
            StorePolicy::NonTemporal
        } else {
            StorePolicy::Cached
        }
    }
}

/// A policy as the walk follows it.
pub(super) trait Store {
    /// Vectors that one store takes: 1 or 2.
    const VECTORS: usize;

    /// How many values lie before the first that may begin a step.
    fn head<T>(&self, y: &[T]) -> usize;

    /// Writes two vectors to the start of `to`.
    fn pair<L: LoadStore<T>, T>(&self, pair: [L; 2], to: &mut [T]);

    /// Prefetches what is read some time after `at`.
    fn prefetch<T, const I: usize, const IN_PLACE: bool>(&self, run: &Run<'_, T, I, IN_PLACE>, at: usize);
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

    /// The same columns of the next row, to read and to write.
    #[inline(always)]
    fn prefetch<T, const I: usize, const IN_PLACE: bool>(&self, run: &Run<'_, T, I, IN_PLACE>, at: usize) {
        if let Some(next_row) = run.next_row {
            for index in 0..I {
                prefetch(run.input(index), at + next_row);
            }
            prefetch(run.y, at + next_row);
        }
    }
}

pub(super) struct NonTemporalStore(NonTemporal);

impl NonTemporalStore {
    /// To be dropped after the last store: that is the fence.
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
    fn prefetch<T, const I: usize, const IN_PLACE: bool>(&self, run: &Run<'_, T, I, IN_PLACE>, at: usize) {
        let distance = run.next_row.unwrap_or(NON_TEMPORAL_PREFETCH / size_of::<T>());
        for index in 0..I {
            prefetch(run.input(index), at + distance);
        }
    }
}
