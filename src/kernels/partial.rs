//! Moments of some features over some chunks, as the tree passes them around.

/// Mean, what the mean leaves over, and m2, a value each per feature. The count is kept beside it: it is the same for
/// all features.
#[derive(Debug)]
pub(crate) struct PartialMut<'a> {
    pub(crate) mean: &'a mut [f64],
    pub(crate) rest: &'a mut [f64],
    pub(crate) m2: &'a mut [f64],
}

/// The same, to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partial<'a> {
    pub(crate) mean: &'a [f64],
    pub(crate) rest: &'a [f64],
    pub(crate) m2: &'a [f64],
}

impl<'a> PartialMut<'a> {
    /// Three arrays of `features` values from the start of a scratch, and the rest of it.
    pub(crate) fn from_scratch(scratch: &'a mut [f64], features: usize) -> (Self, &'a mut [f64]) {
        let (mean, scratch) = scratch.split_at_mut(features);
        let (rest, scratch) = scratch.split_at_mut(features);
        let (m2, scratch) = scratch.split_at_mut(features);
        (PartialMut { mean, rest, m2 }, scratch)
    }

    pub(crate) fn features(&self) -> usize {
        self.mean.len()
    }

    pub(crate) fn as_partial(&self) -> Partial<'_> {
        Partial { mean: self.mean, rest: self.rest, m2: self.m2 }
    }

    pub(crate) fn reborrow(&mut self) -> PartialMut<'_> {
        PartialMut { mean: self.mean, rest: self.rest, m2: self.m2 }
    }

    pub(crate) fn split_at(self, feature: usize) -> (Self, Self) {
        let (mean, mean_b) = self.mean.split_at_mut(feature);
        let (rest, rest_b) = self.rest.split_at_mut(feature);
        let (m2, m2_b) = self.m2.split_at_mut(feature);
        (PartialMut { mean, rest, m2 }, PartialMut { mean: mean_b, rest: rest_b, m2: m2_b })
    }
}
