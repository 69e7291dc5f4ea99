//! `y = (x - mean) * scale + bias`, for contiguous runs of a batch.

use std::ops::Range;

use crate::element::Element;
use crate::lanes::{Job, Lanes};
use crate::layout::Layout;

/// What each feature is normalised by. The difference comes first, in f64, with a mean that for f64 values is a pair:
/// folded into `x * scale + shift` it would cancel at a large mean. Each output is rounded to its type once, so an
/// `f32` is within 0.5000001 units in the last place of the exact result, unless `x - mean` and the bias cancel.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Affine {
    pub(crate) mean: Vec<f64>,
    pub(crate) rest: Vec<f64>,
    pub(crate) scale: Vec<f64>,
    pub(crate) bias: Vec<f64>,
}

impl Affine {
    pub(crate) fn view(&self) -> AffineView<'_> {
        AffineView { mean: &self.mean, rest: &self.rest, scale: &self.scale, bias: &self.bias }
    }
}

/// Parameters of some columns.
#[derive(Clone, Copy)]
pub(crate) struct AffineView<'a> {
    mean: &'a [f64],
    rest: &'a [f64],
    scale: &'a [f64],
    bias: &'a [f64],
}

impl<'a> AffineView<'a> {
    #[inline(always)]
    fn columns(&self, from: usize, len: usize) -> AffineView<'a> {
        AffineView {
            mean: &self.mean[from..][..len],
            rest: &self.rest[from..][..len],
            scale: &self.scale[from..][..len],
            bias: &self.bias[from..][..len],
        }
    }
}

/// Normalises a contiguous run of values, from any place of the batch to any other.
pub(crate) struct Normalize<'a, T> {
    pub(crate) affine: &'a Affine,
    pub(crate) layout: Layout,
    /// Where in the batch the run starts.
    pub(crate) start: usize,
    /// The run to read, or `None` to normalise `y` in place.
    pub(crate) x: Option<&'a [T]>,
    pub(crate) y: &'a mut [T],
}

/// From this `inner` on, the values of a plane share their parameters in registers; below it, parameters are laid out
/// like the values.
const PLANE_MIN: usize = 16;

/// Columns that parameters are laid out for at a time.
const COLUMNS: usize = 128;

impl<T: Element> Job for Normalize<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, token: L::Token) {
        let width = self.layout.features() * self.layout.inner();
        if self.layout.inner() >= PLANE_MIN {
            self.planes::<L>(token);
        } else if self.layout.inner() == 1 && width >= COLUMNS {
            self.rows::<L>(token);
        } else {
            self.laid_out::<L>(token, width);
        }
    }
}

impl<T: Element> Normalize<'_, T> {
    #[inline(always)]
    fn planes<L: Lanes>(self, token: L::Token) {
        let (inner, features) = (self.layout.inner(), self.layout.features());
        let mut done = 0;
        while done < self.y.len() {
            let at = self.start + done;
            let feature = at / inner % features;
            let len = (inner - at % inner).min(self.y.len() - done);
            let x = self.x.map(|x| &x[done..][..len]);
            normalize_plane::<L, T>(token, &self.affine.view().columns(feature, 1), x, &mut self.y[done..][..len]);
            done += len;
        }
    }

    #[inline(always)]
    fn rows<L: Lanes>(self, token: L::Token) {
        let features = self.layout.features();
        let mut done = 0;
        while done < self.y.len() {
            let column = (self.start + done) % features;
            let len = (features - column).min(self.y.len() - done);
            let x = self.x.map(|x| &x[done..][..len]);
            let affine = self.affine.view().columns(column, len);
            normalize_row::<L, T>(token, &affine, x, &mut self.y[done..][..len]);
            done += len;
        }
    }

    /// Narrow rows, several side by side, and rows of small planes: parameters are repeated like the values.
    #[inline(always)]
    fn laid_out<L: Lanes>(self, token: L::Token, width: usize) {
        let inner = self.layout.inner();
        let end = self.start + self.y.len();
        // Rows side by side, but no more than there are to normalise.
        let side = (COLUMNS / width).min(self.y.len() / width).max(1);
        let (width, group) = (width * side, COLUMNS - COLUMNS % inner);
        let mut laid = LaidOut::new();
        for first in (0..width).step_by(group) {
            let last = (first + group).min(width);
            laid.fill(self.affine, inner, first..last);
            for row in (self.start / width * width..end).step_by(width) {
                let (from, to) = ((row + first).max(self.start), (row + last).min(end));
                if from < to {
                    let run = from - self.start..to - self.start;
                    let affine = laid.view().columns(from - row - first, run.len());
                    normalize_row::<L, T>(token, &affine, self.x.map(|x| &x[run.clone()]), &mut self.y[run]);
                }
            }
        }
    }
}

/// Parameters repeated like the values of a run of columns.
struct LaidOut {
    mean: [f64; COLUMNS],
    rest: [f64; COLUMNS],
    scale: [f64; COLUMNS],
    bias: [f64; COLUMNS],
}

impl LaidOut {
    #[inline(always)]
    fn new() -> Self {
        LaidOut { mean: [0.0; COLUMNS], rest: [0.0; COLUMNS], scale: [0.0; COLUMNS], bias: [0.0; COLUMNS] }
    }

    #[inline(always)]
    fn view(&self) -> AffineView<'_> {
        AffineView { mean: &self.mean, rest: &self.rest, scale: &self.scale, bias: &self.bias }
    }

    /// Columns count over rows side by side; every `inner` of them are one feature's.
    #[inline(always)]
    fn fill(&mut self, affine: &Affine, inner: usize, columns: Range<usize>) {
        let features = affine.mean.len();
        let mut feature = columns.start / inner % features;
        for at in (0..columns.len()).step_by(inner) {
            self.mean[at..at + inner].fill(affine.mean[feature]);
            self.rest[at..at + inner].fill(affine.rest[feature]);
            self.scale[at..at + inner].fill(affine.scale[feature]);
            self.bias[at..at + inner].fill(affine.bias[feature]);
            feature = if feature + 1 == features { 0 } else { feature + 1 };
        }
    }
}

/// One parameter set for all values.
#[inline(always)]
fn normalize_plane<L: Lanes, T: Element>(token: L::Token, affine: &AffineView<'_>, x: Option<&[T]>, y: &mut [T]) {
    let full = y.len() - y.len() % L::LANES;
    let lanes = Parameters::<L>::splat(token, affine);
    for at in (0..full).step_by(L::LANES) {
        apply(token, &lanes, x, y, at);
    }
    let one = Parameters::<f64>::splat((), affine);
    for at in full..y.len() {
        apply((), &one, x, y, at);
    }
}

/// A parameter set per value.
#[inline(always)]
fn normalize_row<L: Lanes, T: Element>(token: L::Token, affine: &AffineView<'_>, x: Option<&[T]>, y: &mut [T]) {
    let full = y.len() - y.len() % L::LANES;
    for at in (0..full).step_by(L::LANES) {
        apply(token, &Parameters::<L>::load(token, affine, at), x, y, at);
    }
    for at in full..y.len() {
        apply((), &Parameters::<f64>::load((), affine, at), x, y, at);
    }
}

/// The parameters of as many columns as there are lanes.
#[derive(Clone, Copy)]
struct Parameters<L> {
    mean: L,
    rest: L,
    scale: L,
    bias: L,
}

impl<L: Lanes> Parameters<L> {
    #[inline(always)]
    fn load(token: L::Token, from: &AffineView<'_>, at: usize) -> Self {
        Parameters {
            mean: L::load(token, &from.mean[at..]),
            rest: L::load(token, &from.rest[at..]),
            scale: L::load(token, &from.scale[at..]),
            bias: L::load(token, &from.bias[at..]),
        }
    }

    #[inline(always)]
    fn splat(token: L::Token, from: &AffineView<'_>) -> Self {
        Parameters {
            mean: L::splat(token, from.mean[0]),
            rest: L::splat(token, from.rest[0]),
            scale: L::splat(token, from.scale[0]),
            bias: L::splat(token, from.bias[0]),
        }
    }
}

/// The inner loop's body: reads, normalises and writes as many values as there are lanes.
#[inline(always)]
fn apply<L: Lanes, T: Element>(token: L::Token, by: &Parameters<L>, x: Option<&[T]>, y: &mut [T], at: usize) {
    let x = match x {
        Some(x) => T::load::<L>(token, &x[at..]),
        None => T::load::<L>(token, &y[at..]),
    };
    let mut d = x.sub(by.mean);
    if T::MEAN_HAS_REST {
        d = d.sub(by.rest);
    }
    T::store(d.mul(by.scale).add(by.bias), &mut y[at..]);
}
