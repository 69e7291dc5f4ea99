//! Parameters per feature, stored in the form in which the kernels load them.

use crate::lanes::Lanes;
use crate::spec::same_bits;
use crate::tuning::CACHE_LINE;
use alloc::vec::Vec;

/// Returns how many values from the start of a parameter array are repeated after its end: two vectors of the widest
/// lanes.
pub(super) const fn repeated<C>() -> usize {
    2 * 64 / size_of::<C>()
}

/// `P` arrays of parameters, each with one value per feature, in the type `C` of the computation.
///
/// Each array is followed by a copy of its beginning, so that a vector that crosses the end of a row finds the
/// parameters of the next row. Each array starts at a cache line, because vectors that cross a line boundary take twice
/// as long to load.
#[derive(Debug)]
pub(crate) struct Parameters<C, const P: usize> {
    features: usize,
    values: Vec<C>,
    /// Index at which the first array starts: a cache line boundary.
    start: usize,
}

impl<C, const P: usize> Default for Parameters<C, P> {
    fn default() -> Self {
        Parameters { features: 0, values: Vec::new(), start: 0 }
    }
}

impl<C: Copy + Default, const P: usize> Parameters<C, P> {
    /// Values in a cache line.
    const LINE: usize = CACHE_LINE / size_of::<C>();

    pub(crate) fn features(&self) -> usize {
        self.features
    }

    /// Returns the length of each array, including the repeated values.
    fn len(&self) -> usize {
        if self.features == 0 { 0 } else { (self.features + repeated::<C>()).next_multiple_of(Self::LINE) }
    }

    /// Resizes the arrays, lets `fill` set one value per feature in each, and repeats their beginnings.
    pub(crate) fn set(&mut self, features: usize, fill: impl FnOnce([&mut [C]; P])) {
        let mut arrays = self.resized(features);
        fill(arrays.each_mut().map(|array| &mut array[..features]));
        for array in arrays {
            repeat(array, features);
        }
    }

    /// Resizes the arrays for so many features. What they hold is not yet defined.
    pub(crate) fn resized(&mut self, features: usize) -> [&mut [C]; P] {
        self.features = features;
        let len = self.len();
        self.values.resize(P * len + Self::LINE, C::default());
        self.start = self.values.as_ptr().align_offset(CACHE_LINE).min(Self::LINE);
        let mut values = &mut self.values[self.start..];
        core::array::from_fn(|_| {
            let (array, others) = core::mem::take(&mut values).split_at_mut(len);
            values = others;
            array
        })
    }

    /// Returns the arrays, with one value per feature.
    pub(crate) fn arrays(&self) -> [&[C]; P] {
        self.columns().0.map(|array| &array[..self.features])
    }

    /// Returns the parameters of one feature.
    pub(crate) fn feature(&self, feature: usize) -> [C; P] {
        self.columns().0.map(|array| array[feature])
    }

    /// Returns the parameters of all features, one column per feature.
    pub(super) fn columns(&self) -> Columns<'_, C, P> {
        let len = self.len();
        let mut arrays = [&[][..]; P];
        for (i, array) in arrays.iter_mut().enumerate() {
            *array = self.values.get(self.start + i * len..).map_or(&[][..], |values| &values[..len]);
        }
        Columns(arrays)
    }
}

/// Copies each array, because new memory may start at another offset within a cache line.
impl<C: Copy + Default, const P: usize> Clone for Parameters<C, P> {
    fn clone(&self) -> Self {
        let mut to = Parameters::default();
        to.set(self.features, |arrays| {
            for (to, from) in arrays.into_iter().zip(self.arrays()) {
                to.copy_from_slice(from);
            }
        });
        to
    }
}

/// Compares values bit for bit, except that any NaN equals any other NaN.
impl<const P: usize> PartialEq for Parameters<f64, P> {
    fn eq(&self, other: &Self) -> bool {
        let arrays = self.columns().0.into_iter().zip(other.columns().0);
        self.features == other.features && arrays.into_iter().all(|(a, b)| same_bits(a, b))
    }
}

/// Fills an array from `period` on by repeating its first `period` values. (Of a layer with few features, this is a good
/// part of a training step. Longer copies are slower: they read what several stores have just written.)
#[inline(always)]
fn repeat<C: Copy>(array: &mut [C], period: usize) {
    let (first, others) = array.split_at_mut(period);
    for (to, from) in others.iter_mut().zip(first.iter().cycle()) {
        *to = *from;
    }
}

/// Parameters of a range of columns. More may follow, as many as are [`repeated`].
#[derive(Clone, Copy)]
pub(super) struct Columns<'a, C, const P: usize>(pub(super) [&'a [C]; P]);

impl<'a, C: Copy, const P: usize> Columns<'a, C, P> {
    /// Returns the parameters of `len` columns, starting at `from`.
    #[inline(always)]
    pub(super) fn part(&self, from: usize, len: usize) -> Columns<'a, C, P> {
        let mut arrays = self.0;
        for array in &mut arrays {
            *array = &array[from..][..len];
        }
        Columns(arrays)
    }

    /// Loads the parameters of one column per lane, starting at `at`.
    #[inline(always)]
    pub(super) fn load<L: Lanes<Scalar = C>>(&self, token: L::Token, at: usize) -> [L; P] {
        let mut parameters = [L::load(token, &self.0[0][at..]); P];
        for i in 1..P {
            parameters[i] = L::load(token, &self.0[i][at..]);
        }
        parameters
    }

    /// Loads the parameters of one column into all lanes.
    #[inline(always)]
    pub(super) fn splat<L: Lanes<Scalar = C>>(&self, token: L::Token, at: usize) -> [L; P] {
        let mut parameters = [L::splat(token, self.0[0][at]); P];
        for i in 1..P {
            parameters[i] = L::splat(token, self.0[i][at]);
        }
        parameters
    }
}
