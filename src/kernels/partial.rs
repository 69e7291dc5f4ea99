//! Moments of some features over some chunks, as the tree passes them around.

use crate::careful::Stats;

/// Writes a view of four arrays, a value each per feature, and what both kinds of view do.
macro_rules! partial {
    ($(#[$doc:meta])* $name:ident, $slice:ty) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name<'a> {
            pub(crate) mean: $slice,
            /// What the mean leaves over: the two are an unevaluated sum.
            pub(crate) rest: $slice,
            pub(crate) m2: $slice,
            /// What m2 leaves over.
            pub(crate) m2_rest: $slice,
        }
    };
}

partial! {
    /// To write. The count is kept beside it: it is the same for all features.
    PartialMut, &'a mut [f64]
}

partial! {
    /// To read.
    #[derive(Clone, Copy)]
    Partial, &'a [f64]
}

/// Arrays of a partial: what scratch space is counted in.
pub(crate) const ARRAYS: usize = 4;

impl<'a> PartialMut<'a> {
    /// The arrays for some features from the start of a scratch, and the rest of it.
    pub(crate) fn from_scratch(scratch: &'a mut [f64], features: usize) -> (Self, &'a mut [f64]) {
        let (own, scratch) = scratch.split_at_mut(ARRAYS * features);
        let (means, squares) = own.split_at_mut(2 * features);
        let (mean, rest) = means.split_at_mut(features);
        let (m2, m2_rest) = squares.split_at_mut(features);
        (PartialMut { mean, rest, m2, m2_rest }, scratch)
    }

    #[inline(always)]
    pub(crate) fn features(&self) -> usize {
        self.mean.len()
    }

    pub(crate) fn as_partial(&self) -> Partial<'_> {
        Partial { mean: self.mean, rest: self.rest, m2: self.m2, m2_rest: self.m2_rest }
    }

    #[inline(always)]
    pub(crate) fn reborrow(&mut self) -> PartialMut<'_> {
        PartialMut { mean: self.mean, rest: self.rest, m2: self.m2, m2_rest: self.m2_rest }
    }

    /// From one feature on.
    #[inline(always)]
    pub(crate) fn from(&mut self, feature: usize) -> PartialMut<'_> {
        PartialMut {
            mean: &mut self.mean[feature..],
            rest: &mut self.rest[feature..],
            m2: &mut self.m2[feature..],
            m2_rest: &mut self.m2_rest[feature..],
        }
    }

    /// One feature alone.
    #[inline(always)]
    pub(crate) fn first(self) -> PartialMut<'a> {
        self.split_at(1).0
    }

    #[inline(always)]
    pub(crate) fn split_at(self, feature: usize) -> (Self, Self) {
        let (mean, mean_b) = self.mean.split_at_mut(feature);
        let (rest, rest_b) = self.rest.split_at_mut(feature);
        let (m2, m2_b) = self.m2.split_at_mut(feature);
        let (m2_rest, m2_rest_b) = self.m2_rest.split_at_mut(feature);
        (
            PartialMut { mean, rest, m2, m2_rest },
            PartialMut { mean: mean_b, rest: rest_b, m2: m2_b, m2_rest: m2_rest_b },
        )
    }

    pub(crate) fn stats(&self, feature: usize) -> Stats {
        self.as_partial().stats(feature)
    }

    pub(crate) fn set(&mut self, feature: usize, stats: Stats) {
        self.mean[feature] = stats.mean;
        self.rest[feature] = stats.rest;
        self.m2[feature] = stats.m2;
        self.m2_rest[feature] = stats.m2_rest;
    }
}

impl Partial<'_> {
    pub(crate) fn stats(&self, feature: usize) -> Stats {
        Stats {
            mean: self.mean[feature],
            rest: self.rest[feature],
            m2: self.m2[feature],
            m2_rest: self.m2_rest[feature],
        }
    }
}
