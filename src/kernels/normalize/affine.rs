//! What values are normalised by: per feature, laid out like a run of columns, and in lanes.

use std::ops::Range;

use crate::lanes::Lanes;
use crate::layout::Layout;

/// Columns that parameters are laid out for at a time.
pub(super) const COLUMNS: usize = 128;

/// What each feature is normalised by. The difference comes first, in f64: folded into `x * scale + shift` the mean would
/// cancel where it is large. What the mean leaves over is folded into the bias: it is no farther from 0 than any
/// `x - mean` (the mean is the nearest f64), so nothing cancels. Each output is rounded to its type once, so an `f32` is
/// within 0.50001 units in the last place of the exact result, unless `x - mean` and the bias cancel.
///
/// Each array begins again behind its end, so that lanes that cross the end of a row find the next row's parameters; and
/// each begins with a cache line, because lanes that cross one take twice as long to load.
#[derive(Debug, Default)]
pub(crate) struct Affine {
    features: usize,
    /// Mean, scale and bias.
    values: Vec<f64>,
    /// Where they begin: at a cache line.
    start: usize,
}

impl Affine {
    pub(crate) fn features(&self) -> usize {
        self.features
    }

    /// Values of each array.
    fn len(&self) -> usize {
        if self.features == 0 { 0 } else { (self.features + REPEATED).next_multiple_of(LINE) }
    }

    /// Sizes the arrays, has `fill` set a value per feature (mean, scale, bias), and repeats their beginnings.
    pub(crate) fn set(&mut self, features: usize, fill: impl FnOnce([&mut [f64]; ARRAYS])) {
        self.features = features;
        let len = self.len();
        self.values.resize(ARRAYS * len + LINE, 0.0);
        self.start = self.values.as_ptr().align_offset(LINE * size_of::<f64>()).min(LINE);
        let (mean, others) = self.values[self.start..][..ARRAYS * len].split_at_mut(len);
        let (scale, bias) = others.split_at_mut(len);
        fill([&mut mean[..features], &mut scale[..features], &mut bias[..features]]);
        for array in [mean, scale, bias] {
            repeat(array, features);
        }
    }

    /// What a value of a feature becomes: mean, scale and bias, in this order.
    pub(crate) fn of(&self, feature: usize) -> [f64; ARRAYS] {
        let AffineView { mean, scale, bias } = self.view();
        [mean[feature], scale[feature], bias[feature]]
    }

    pub(super) fn view(&self) -> AffineView<'_> {
        let len = self.len();
        let array = |i: usize| self.values.get(self.start + i * len..).map_or(&[][..], |values| &values[..len]);
        AffineView { mean: array(0), scale: array(1), bias: array(2) }
    }
}

/// Into memory of its own, which begins elsewhere in a cache line.
impl Clone for Affine {
    fn clone(&self) -> Self {
        let (from, mut to) = (self.view(), Affine::default());
        to.set(self.features, |arrays| {
            for (to, from) in arrays.into_iter().zip([from.mean, from.scale, from.bias]) {
                to.copy_from_slice(&from[..self.features]);
            }
        });
        to
    }
}

impl PartialEq for Affine {
    fn eq(&self, other: &Self) -> bool {
        self.features == other.features && (0..self.features).all(|feature| self.of(feature) == other.of(feature))
    }
}

const ARRAYS: usize = 3;

/// f64 values of a cache line.
const LINE: usize = 8;

/// How much of its beginning is repeated behind an array of parameters: two sets of eight lanes.
pub(super) const REPEATED: usize = 16;

/// Fills an array from `period` on with what lies before.
#[inline(always)]
fn repeat(array: &mut [f64], period: usize) {
    for at in period..array.len() {
        array[at] = array[at - period];
    }
}

/// Parameters of some columns.
#[derive(Clone, Copy)]
pub(super) struct AffineView<'a> {
    mean: &'a [f64],
    scale: &'a [f64],
    bias: &'a [f64],
}

impl<'a> AffineView<'a> {
    #[inline(always)]
    pub(super) fn columns(&self, from: usize, len: usize) -> AffineView<'a> {
        AffineView {
            mean: &self.mean[from..][..len],
            scale: &self.scale[from..][..len],
            bias: &self.bias[from..][..len],
        }
    }
}

/// Parameters repeated like the values of a run of columns.
#[repr(align(64))]
pub(super) struct LaidOut {
    mean: [f64; COLUMNS + REPEATED],
    scale: [f64; COLUMNS + REPEATED],
    bias: [f64; COLUMNS + REPEATED],
}

impl LaidOut {
    #[inline(always)]
    pub(super) fn new() -> Self {
        LaidOut { mean: [0.0; COLUMNS + REPEATED], scale: [0.0; COLUMNS + REPEATED], bias: [0.0; COLUMNS + REPEATED] }
    }

    #[inline(always)]
    pub(super) fn view(&self) -> AffineView<'_> {
        AffineView { mean: &self.mean, scale: &self.scale, bias: &self.bias }
    }

    /// Columns count over rows side by side; every `inner` of them are one feature's.
    #[inline(always)]
    pub(super) fn fill(&mut self, affine: AffineView<'_>, layout: Layout, columns: Range<usize>) {
        let (features, inner) = (layout.features(), layout.inner());
        let mut feature = columns.start / inner % features;
        for at in (0..columns.len()).step_by(inner) {
            self.mean[at..at + inner].fill(affine.mean[feature]);
            self.scale[at..at + inner].fill(affine.scale[feature]);
            self.bias[at..at + inner].fill(affine.bias[feature]);
            feature = if feature + 1 == features { 0 } else { feature + 1 };
        }
        for array in [&mut self.mean, &mut self.scale, &mut self.bias] {
            repeat(&mut array[..columns.len() + REPEATED], columns.len());
        }
    }
}

/// The parameters of as many columns as there are lanes.
#[derive(Clone, Copy)]
pub(super) struct Parameters<L> {
    pub(super) mean: L,
    pub(super) scale: L,
    pub(super) bias: L,
}

impl<L: Lanes> Parameters<L> {
    #[inline(always)]
    pub(super) fn load(token: L::Token, from: &AffineView<'_>, at: usize) -> Self {
        Parameters {
            mean: L::load(token, &from.mean[at..]),
            scale: L::load(token, &from.scale[at..]),
            bias: L::load(token, &from.bias[at..]),
        }
    }

    #[inline(always)]
    pub(super) fn splat(token: L::Token, from: &AffineView<'_>) -> Self {
        Parameters {
            mean: L::splat(token, from.mean[0]),
            scale: L::splat(token, from.scale[0]),
            bias: L::splat(token, from.bias[0]),
        }
    }

    #[inline(always)]
    pub(super) fn normalized(&self, x: L) -> L {
        x.sub(self.mean).mul(self.scale).add(self.bias)
    }
}
