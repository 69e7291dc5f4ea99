//! Parameters per feature, in memory as the kernels load them.

use std::ops::Range;

use crate::lanes::Lanes;
use crate::layout::Layout;
use crate::spec::same_bits;
use crate::tuning::{CACHE_LINE, LAID_OUT_COLUMNS};

/// How much of its beginning is repeated behind an array of parameters: two vectors of the widest lanes.
pub(super) const fn repeated<C>() -> usize {
    2 * 64 / size_of::<C>()
}

/// That of the narrowest type.
const MOST_REPEATED: usize = repeated::<f32>();

/// `P` arrays of parameters with a value each per feature, of the type `C` that is computed in.
///
/// Each array begins again behind its end, so that vectors that cross the end of a row find the next row's parameters; and
/// each begins with a cache line, because vectors that cross one take twice as long to load.
#[derive(Debug)]
pub(crate) struct Parameters<C, const P: usize> {
    features: usize,
    values: Vec<C>,
    /// Where the first array begins: at a cache line.
    start: usize,
}

impl<C, const P: usize> Default for Parameters<C, P> {
    fn default() -> Self {
        Parameters { features: 0, values: Vec::new(), start: 0 }
    }
}

impl<C: Copy + Default, const P: usize> Parameters<C, P> {
    /// Values of a cache line.
    const LINE: usize = CACHE_LINE / size_of::<C>();

    pub(crate) fn features(&self) -> usize {
        self.features
    }

    /// Values of each array.
    fn len(&self) -> usize {
        if self.features == 0 { 0 } else { (self.features + repeated::<C>()).next_multiple_of(Self::LINE) }
    }

    /// Sizes the arrays, has `fill` set a value per feature in each, and repeats their beginnings.
    pub(crate) fn set(&mut self, features: usize, fill: impl FnOnce([&mut [C]; P])) {
        self.features = features;
        let len = self.len();
        self.values.resize(P * len + Self::LINE, C::default());
        self.start = self.values.as_ptr().align_offset(CACHE_LINE).min(Self::LINE);
        let mut values = &mut self.values[self.start..];
        let mut arrays = std::array::from_fn(|_| &mut [][..]);
        for array in &mut arrays {
            (*array, values) = std::mem::take(&mut values).split_at_mut(len);
        }
        fill(arrays.each_mut().map(|array| &mut array[..features]));
        for array in arrays {
            repeat(array, features);
        }
    }

    /// The parameters of one feature.
    pub(crate) fn feature(&self, feature: usize) -> [C; P] {
        self.columns().0.map(|array| array[feature])
    }

    /// Those of all features, one column each.
    pub(super) fn columns(&self) -> Columns<'_, C, P> {
        let len = self.len();
        let mut arrays = [&[][..]; P];
        for (i, array) in arrays.iter_mut().enumerate() {
            *array = self.values.get(self.start + i * len..).map_or(&[][..], |values| &values[..len]);
        }
        Columns(arrays)
    }
}

/// Into memory of its own, which begins elsewhere in a cache line.
impl<C: Copy + Default, const P: usize> Clone for Parameters<C, P> {
    fn clone(&self) -> Self {
        let mut to = Parameters::default();
        to.set(self.features, |arrays| {
            for (to, from) in arrays.into_iter().zip(self.columns().0) {
                to.copy_from_slice(&from[..self.features]);
            }
        });
        to
    }
}

/// Bit for bit, but for NaN, which equals NaN.
impl<const P: usize> PartialEq for Parameters<f64, P> {
    fn eq(&self, other: &Self) -> bool {
        let arrays = self.columns().0.into_iter().zip(other.columns().0);
        self.features == other.features && arrays.into_iter().all(|(a, b)| same_bits(a, b))
    }
}

/// Fills an array from `period` on with what lies before.
#[inline(always)]
fn repeat<C: Copy>(array: &mut [C], period: usize) {
    for at in period..array.len() {
        array[at] = array[at - period];
    }
}

/// Parameters of some columns; more may follow, as many as are [`repeated`].
#[derive(Clone, Copy)]
pub(super) struct Columns<'a, C, const P: usize>([&'a [C]; P]);

impl<'a, C: Copy, const P: usize> Columns<'a, C, P> {
    /// Those of `len` columns from one on.
    #[inline(always)]
    pub(super) fn part(&self, from: usize, len: usize) -> Columns<'a, C, P> {
        let mut arrays = self.0;
        for array in &mut arrays {
            *array = &array[from..][..len];
        }
        Columns(arrays)
    }

    /// Those of as many columns as there are lanes.
    #[inline(always)]
    pub(super) fn load<L: Lanes<Scalar = C>>(&self, token: L::Token, at: usize) -> [L; P] {
        let mut parameters = [L::load(token, &self.0[0][at..]); P];
        for (i, parameter) in parameters.iter_mut().enumerate() {
            *parameter = L::load(token, &self.0[i][at..]);
        }
        parameters
    }

    /// Those of one column in all lanes.
    #[inline(always)]
    pub(super) fn splat<L: Lanes<Scalar = C>>(&self, token: L::Token, at: usize) -> [L; P] {
        let mut parameters = [L::splat(token, self.0[0][at]); P];
        for (i, parameter) in parameters.iter_mut().enumerate() {
            *parameter = L::splat(token, self.0[i][at]);
        }
        parameters
    }
}

/// Parameters repeated like the values of a run of columns.
#[repr(align(64))]
pub(super) struct LaidOut<C, const P: usize>([[C; LAID_OUT_COLUMNS + MOST_REPEATED]; P]);

impl<C: Copy + Default, const P: usize> LaidOut<C, P> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        LaidOut([[C::default(); LAID_OUT_COLUMNS + MOST_REPEATED]; P])
    }

    #[inline(always)]
    pub(super) fn columns(&self) -> Columns<'_, C, P> {
        let mut arrays = [&[][..]; P];
        for (to, from) in arrays.iter_mut().zip(&self.0) {
            *to = from;
        }
        Columns(arrays)
    }

    /// Columns count over interleaved rows; every `inner` of them are one feature's.
    #[inline(always)]
    pub(super) fn fill(&mut self, from: Columns<'_, C, P>, layout: Layout, columns: Range<usize>) {
        let (features, inner) = (layout.features(), layout.inner());
        for (to, from) in self.0.iter_mut().zip(from.0) {
            let mut feature = columns.start / inner % features;
            for at in (0..columns.len()).step_by(inner) {
                to[at..at + inner].fill(from[feature]);
                feature = if feature + 1 == features { 0 } else { feature + 1 };
            }
            repeat(&mut to[..columns.len() + repeated::<C>()], columns.len());
        }
    }
}
