//! `y = (x - mean) * scale + bias`, for contiguous runs of a batch.

mod stream;

use std::ops::Range;

use crate::element::Element;
use crate::lanes::{Job, Lanes};
use crate::layout::Layout;

/// What each feature is normalised by. The difference comes first, in f64, with a mean that for f64 values is a pair:
/// folded into `x * scale + shift` it would cancel at a large mean. Each output is rounded to its type once, so an
/// `f32` is within 0.5000001 units in the last place of the exact result, unless `x - mean` and the bias cancel.
///
/// Each array begins again behind its end, so that lanes that cross the end of a row find the next row's parameters.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Affine {
    features: usize,
    mean: Vec<f64>,
    rest: Vec<f64>,
    scale: Vec<f64>,
    bias: Vec<f64>,
}

impl Affine {
    pub(crate) fn features(&self) -> usize {
        self.features
    }

    /// Sizes the arrays, has `fill` set a value per feature (mean, rest, scale, bias), and repeats their beginnings.
    pub(crate) fn set(&mut self, features: usize, fill: impl FnOnce([&mut [f64]; 4])) {
        self.features = features;
        let mut arrays = [&mut self.mean, &mut self.rest, &mut self.scale, &mut self.bias];
        for array in &mut arrays {
            array.resize(if features == 0 { 0 } else { features + REPEATED }, 0.0);
        }
        let [mean, rest, scale, bias] = &mut arrays;
        fill([&mut mean[..features], &mut rest[..features], &mut scale[..features], &mut bias[..features]]);
        for array in arrays {
            repeat(array, features);
        }
    }

    /// What a value of a feature becomes: mean, rest, scale and bias, in this order.
    pub(crate) fn of(&self, feature: usize) -> [f64; 4] {
        [self.mean[feature], self.rest[feature], self.scale[feature], self.bias[feature]]
    }

    fn view(&self) -> AffineView<'_> {
        AffineView { mean: &self.mean, rest: &self.rest, scale: &self.scale, bias: &self.bias }
    }
}

/// How much of its beginning is repeated behind an array of parameters: two sets of eight lanes.
const REPEATED: usize = 16;

/// Fills an array from `period` on with what lies before.
#[inline(always)]
fn repeat(array: &mut [f64], period: usize) {
    for at in period..array.len() {
        array[at] = array[at - period];
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
    /// Whether `y` goes past the caches: for batches that would not stay there.
    pub(crate) streams: bool,
}

/// From this `inner` on, the values of a plane share their parameters in registers; below it, parameters are laid out
/// like the values.
const PLANE_MIN: usize = 16;

/// Columns that parameters are laid out for at a time.
const COLUMNS: usize = 128;

/// Columns whose parameters stay in a second-level cache while several rows pass; wide rows are cut to it.
const TILE: usize = 8192;

/// Runs up to this length are not worth laying out anything.
const FEW: usize = 64;

/// Rows that are normalised together, so that parameters are loaded once for all of them.
const ROWS: usize = 4;

impl<T: Element> Job for Normalize<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, token: L::Token) {
        let (inner, width) = (self.layout.inner(), self.layout.features() * self.layout.inner());
        let run = Run { x: self.x, y: self.y };
        let affine = self.affine.view();
        if inner >= PLANE_MIN {
            let at = Place { layout: self.layout, at: self.start };
            if self.streams {
                stream::planes::<L, T>(token, affine, at, run);
            } else {
                planes::<L, T>(token, affine, at, run);
            }
        } else if inner == 1 && width > TILE && run.y.len() > width {
            tiles::<L, T>(token, affine, width, self.start, run, self.streams);
        } else if inner == 1 && (width >= COLUMNS || run.y.len() <= FEW) {
            rows_or_stream::<L, T>(token, affine, width, self.start % width, run, self.streams);
        } else {
            laid_out::<L, T>(token, affine, self.layout, self.start, run, self.streams);
        }
        if self.streams {
            L::fence(token);
        }
    }
}

/// Rows of `width` columns, the first from `column` on.
#[inline(always)]
fn rows_or_stream<L: Lanes, T: Element>(
    token: L::Token,
    affine: AffineView<'_>,
    width: usize,
    column: usize,
    run: Run<'_, T>,
    streams: bool,
) {
    if streams && width >= REPEATED {
        stream::rows::<L, T>(token, affine, width, column, run);
    } else {
        rows::<L, T>(token, affine, width, column, run);
    }
}

/// Values to normalise: from `x` to `y`, or in `y`.
struct Run<'a, T> {
    x: Option<&'a [T]>,
    y: &'a mut [T],
}

impl<'a, T: Element> Run<'a, T> {
    #[inline(always)]
    fn part(&mut self, part: Range<usize>) -> Run<'_, T> {
        Run { x: self.x.map(|x| &x[part.clone()]), y: &mut self.y[part] }
    }

    /// The first values, at most `at`, and the others.
    #[inline(always)]
    fn split_at(self, at: usize) -> (Self, Self) {
        let at = at.min(self.y.len());
        let (y, y_rest) = self.y.split_at_mut(at);
        let (x, x_rest) = match self.x {
            Some(x) => (Some(&x[..at]), Some(&x[at..])),
            None => (None, None),
        };
        (Run { x, y }, Run { x: x_rest, y: y_rest })
    }
}

/// A place in a batch of planes.
#[derive(Clone, Copy)]
struct Place {
    layout: Layout,
    at: usize,
}

impl Place {
    /// The feature there, and the values left in its plane.
    #[inline(always)]
    fn feature_left(&self) -> (usize, usize) {
        let inner = self.layout.inner();
        (self.at / inner % self.layout.features(), inner - self.at % inner)
    }
}

/// Planes one after the other, each with its feature's parameters.
#[inline(always)]
fn planes<L: Lanes, T: Element>(token: L::Token, affine: AffineView<'_>, place: Place, mut run: Run<'_, T>) {
    let (mut feature, mut left) = place.feature_left();
    while !run.y.is_empty() {
        let (plane, rest) = run.split_at(left);
        plane_run::<L, T>(token, &affine.columns(feature, 1), plane);
        (run, left) = (rest, place.layout.inner());
        feature = if feature + 1 == place.layout.features() { 0 } else { feature + 1 };
    }
}

/// Rows of `width` columns, the first from `column` on; several together.
#[inline(always)]
fn rows<L: Lanes, T: Element>(token: L::Token, affine: AffineView<'_>, width: usize, column: usize, run: Run<'_, T>) {
    let (row, mut run) = run.split_at(if column == 0 { 0 } else { width - column });
    row_run::<L, T, 1>(token, &affine.columns(column, row.y.len()), [row]);
    while run.y.len() >= ROWS * width {
        let (a, rest) = run.split_at(width);
        let (b, rest) = rest.split_at(width);
        let (c, rest) = rest.split_at(width);
        let (d, rest) = rest.split_at(width);
        row_run::<L, T, ROWS>(token, &affine.columns(0, width), [a, b, c, d]);
        run = rest;
    }
    while !run.y.is_empty() {
        let (row, rest) = run.split_at(width);
        row_run::<L, T, 1>(token, &affine.columns(0, row.y.len()), [row]);
        run = rest;
    }
}

/// Narrow rows, several side by side, and rows of small planes: parameters are repeated like the values.
#[inline(always)]
fn laid_out<L: Lanes, T: Element>(
    token: L::Token,
    affine: AffineView<'_>,
    layout: Layout,
    start: usize,
    mut run: Run<'_, T>,
    streams: bool,
) {
    let inner = layout.inner();
    let width = layout.features() * inner;
    let mut laid = LaidOut::new();
    // Rows side by side, but no more than there are to normalise.
    let side = (COLUMNS / width).min(run.y.len() / width).max(1);
    let (width, group) = (width * side, COLUMNS - COLUMNS % inner);
    if width <= group {
        laid.fill(affine, layout, 0..width);
        return rows_or_stream::<L, T>(token, laid.view(), width, start % width, run, streams);
    }
    // Rows wider than what is laid out at a time: some columns of all rows, then the next ones.
    for first in (0..width).step_by(group) {
        let columns = first..(first + group).min(width);
        laid.fill(affine, layout, columns.clone());
        for (column, part) in parts(start, run.y.len(), width, &columns) {
            let affine = laid.view().columns(column, part.len());
            row_run::<L, T, 1>(token, &affine, [run.part(part)]);
        }
    }
}

/// Wide rows, some columns of all of them at a time.
#[inline(always)]
fn tiles<L: Lanes, T: Element>(
    token: L::Token,
    affine: AffineView<'_>,
    width: usize,
    start: usize,
    mut run: Run<'_, T>,
    streams: bool,
) {
    // The first tile is longer by what puts the others on addresses that suit streamed stores, if rows are so long that
    // they all can.
    let shift = (start % width + run.before_stream()) % REPEATED;
    let mut first = 0;
    while first < width {
        let columns = first..(if first == 0 { shift + TILE } else { first + TILE }).min(width);
        let affine = affine.columns(first, columns.len() + REPEATED);
        for (column, part) in parts(start, run.y.len(), width, &columns) {
            rows_or_stream::<L, T>(token, affine, columns.len(), column, run.part(part), streams);
        }
        first = columns.end;
    }
}

/// The parts of a run of `len` values, which starts at `start` in the batch, that lie in some columns of its rows, each
/// with its first column counted from the first of these. (An iterator, because a closure over lanes would be compiled
/// without their instructions.)
fn parts(
    start: usize,
    len: usize,
    width: usize,
    columns: &Range<usize>,
) -> impl Iterator<Item = (usize, Range<usize>)> {
    let (first, last, end) = (columns.start, columns.end, start + len);
    (start / width * width..end).step_by(width).filter_map(move |row| {
        let (from, to) = ((row + first).max(start), (row + last).min(end));
        (from < to).then(|| (from - row - first, from - start..to - start))
    })
}

/// Parameters repeated like the values of a run of columns.
struct LaidOut {
    mean: [f64; COLUMNS + REPEATED],
    rest: [f64; COLUMNS + REPEATED],
    scale: [f64; COLUMNS + REPEATED],
    bias: [f64; COLUMNS + REPEATED],
}

impl LaidOut {
    #[inline(always)]
    fn new() -> Self {
        LaidOut {
            mean: [0.0; COLUMNS + REPEATED],
            rest: [0.0; COLUMNS + REPEATED],
            scale: [0.0; COLUMNS + REPEATED],
            bias: [0.0; COLUMNS + REPEATED],
        }
    }

    #[inline(always)]
    fn view(&self) -> AffineView<'_> {
        AffineView { mean: &self.mean, rest: &self.rest, scale: &self.scale, bias: &self.bias }
    }

    /// Columns count over rows side by side; every `inner` of them are one feature's.
    #[inline(always)]
    fn fill(&mut self, affine: AffineView<'_>, layout: Layout, columns: Range<usize>) {
        let (features, inner) = (layout.features(), layout.inner());
        let mut feature = columns.start / inner % features;
        for at in (0..columns.len()).step_by(inner) {
            self.mean[at..at + inner].fill(affine.mean[feature]);
            self.rest[at..at + inner].fill(affine.rest[feature]);
            self.scale[at..at + inner].fill(affine.scale[feature]);
            self.bias[at..at + inner].fill(affine.bias[feature]);
            feature = if feature + 1 == features { 0 } else { feature + 1 };
        }
        for array in [&mut self.mean, &mut self.rest, &mut self.scale, &mut self.bias] {
            repeat(&mut array[..columns.len() + REPEATED], columns.len());
        }
    }
}

/// One parameter set for all values.
#[inline(always)]
fn plane_run<L: Lanes, T: Element>(token: L::Token, affine: &AffineView<'_>, mut run: Run<'_, T>) {
    let full = run.y.len() - run.y.len() % L::LANES;
    let lanes = Parameters::<L>::splat(token, affine);
    for at in (0..full).step_by(L::LANES) {
        lanes.apply::<T>(token, &mut run, at);
    }
    let one = Parameters::<f64>::splat((), affine);
    for at in full..run.y.len() {
        one.apply::<T>((), &mut run, at);
    }
}

/// A parameter set per column, for some rows of one length.
#[inline(always)]
fn row_run<L: Lanes, T: Element, const N: usize>(token: L::Token, affine: &AffineView<'_>, mut runs: [Run<'_, T>; N]) {
    let len = affine.mean.len();
    let full = len - len % L::LANES;
    for at in (0..full).step_by(L::LANES) {
        let lanes = Parameters::<L>::load(token, affine, at);
        for run in &mut runs {
            lanes.apply::<T>(token, run, at);
        }
    }
    for at in full..len {
        let one = Parameters::<f64>::load((), affine, at);
        for run in &mut runs {
            one.apply::<T>((), run, at);
        }
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

    /// The inner loop's body: reads, normalises and writes as many values as there are lanes.
    #[inline(always)]
    fn apply<T: Element>(&self, token: L::Token, run: &mut Run<'_, T>, at: usize) {
        let from = run.x.unwrap_or(run.y);
        let y = self.normalized(T::load::<L>(token, &from[at..]), T::MEAN_HAS_REST);
        T::store(y, &mut run.y[at..]);
    }

    #[inline(always)]
    fn normalized(&self, x: L, mean_has_rest: bool) -> L {
        let mut d = x.sub(self.mean);
        if mean_has_rest {
            d = d.sub(self.rest);
        }
        d.mul(self.scale).add(self.bias)
    }
}
