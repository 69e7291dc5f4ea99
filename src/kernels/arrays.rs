//! Results per feature, in several arrays of the same length.

use core::ops::Range;

use crate::lanes::{F64Lanes, Lanes};
use crate::spec::{DoubleDouble, FeatureMoments, TripleDouble};

/// `N` arrays to write, each with one value per feature.
#[derive(Debug)]
pub(crate) struct Arrays<'a, const N: usize>(pub(crate) [&'a mut [f64]; N]);

/// The words of a feature's moments: high, middle and low of the mean, high and low of m2. Counts are stored
/// separately.
pub(crate) const MOMENT_WORDS: usize = 5;

/// Moments to write, one array per word.
pub(crate) type MomentArrays<'a> = Arrays<'a, MOMENT_WORDS>;

/// Moments to read, in the same order as [`MomentArrays`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct MomentSlices<'a>(pub(crate) [&'a [f64]; MOMENT_WORDS]);

impl MomentSlices<'_> {
    /// Returns the moments of some of the features.
    pub(crate) fn part(self, features: Range<usize>) -> Self {
        MomentSlices(self.0.map(|words| &words[features.clone()]))
    }
}

impl<'a, const N: usize> Arrays<'a, N> {
    /// Takes arrays for `features` features from the start of a workspace. Returns them and the rest of the workspace.
    pub(crate) fn from_workspace(mut space: &'a mut [f64], features: usize) -> (Self, &'a mut [f64]) {
        let arrays = core::array::from_fn(|_| {
            let (array, others) = core::mem::take(&mut space).split_at_mut(features);
            space = others;
            array
        });
        (Arrays(arrays), space)
    }

    pub(crate) fn features(&self) -> usize {
        self.0.first().map_or(0, |array| array.len())
    }

    pub(crate) fn reborrow(&mut self) -> Arrays<'_, N> {
        Arrays(self.0.each_mut().map(|array| &mut **array))
    }

    /// Returns the arrays of some of the features.
    pub(crate) fn part(&mut self, features: Range<usize>) -> Arrays<'_, N> {
        Arrays(self.0.each_mut().map(|array| &mut array[features.clone()]))
    }

    pub(crate) fn split_at(self, feature: usize) -> (Self, Self) {
        let mut right: [&'a mut [f64]; N] = core::array::from_fn(|_| &mut [][..]);
        let mut left = self.0;
        for (left, right) in left.iter_mut().zip(&mut right) {
            (*left, *right) = core::mem::take(left).split_at_mut(feature);
        }
        (Arrays(left), Arrays(right))
    }

    pub(crate) fn as_slices(&self) -> [&[f64]; N] {
        self.0.each_ref().map(|array| &**array)
    }
}

impl MomentArrays<'_> {
    pub(crate) fn as_moments(&self) -> MomentSlices<'_> {
        MomentSlices(self.as_slices())
    }

    /// Writes the moments of one feature per lane, starting at `feature`.
    #[inline(always)]
    pub(crate) fn store<L: Lanes<Scalar = f64>>(&mut self, feature: usize, moments: FeatureMoments<L>) {
        let [mean, mean_middle, mean_low, m2, m2_low] = &mut self.0;
        moments.mean.high.store(&mut mean[feature..]);
        moments.mean.middle.store(&mut mean_middle[feature..]);
        moments.mean.low.store(&mut mean_low[feature..]);
        moments.m2.high.store(&mut m2[feature..]);
        moments.m2.low.store(&mut m2_low[feature..]);
    }
}

impl MomentArrays<'_> {
    /// Writes the moments of the first `lanes` lanes.
    #[inline(always)]
    pub(crate) fn store_first<L: F64Lanes>(&mut self, feature: usize, lanes: usize, moments: FeatureMoments<L>) {
        if lanes == L::LANES {
            return self.store(feature, moments);
        }
        let FeatureMoments { mean, m2 } = moments;
        for (to, word) in self.0.iter_mut().zip([mean.high, mean.middle, mean.low, m2.high, m2.low]) {
            word.store_first(&mut to[feature..][..lanes]);
        }
    }
}

impl MomentSlices<'_> {
    /// Returns the moments of one feature.
    pub(crate) fn feature(&self, feature: usize) -> FeatureMoments<f64> {
        self.load((), feature)
    }

    /// Loads the moments of one feature per lane, starting at `feature`.
    #[inline(always)]
    pub(crate) fn load<L: Lanes<Scalar = f64>>(&self, token: L::Token, feature: usize) -> FeatureMoments<L> {
        let [mean, mean_middle, mean_low, m2, m2_low] = &self.0;
        FeatureMoments {
            mean: TripleDouble {
                high: L::load(token, &mean[feature..]),
                middle: L::load(token, &mean_middle[feature..]),
                low: L::load(token, &mean_low[feature..]),
            },
            m2: DoubleDouble { high: L::load(token, &m2[feature..]), low: L::load(token, &m2_low[feature..]) },
        }
    }
}
