//! `y = (x - mean) * scale + bias`, for contiguous runs of a batch.

mod affine;
mod stream;

use std::ops::Range;

use crate::element::Element;
use crate::lanes::{Job, Lanes};
use crate::layout::Layout;
use affine::{AffineView, COLUMNS, LaidOut, Parameters, REPEATED};

pub(crate) use affine::Affine;

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

/// Columns whose parameters stay in a first-level cache while several rows pass; wide rows are cut to it. Measured at 512
/// to 8192.
const TILE: usize = 1024;

/// Runs up to this length are not worth laying out anything.
const FEW: usize = 64;

impl<T: Element> Job for Normalize<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, token: L::Token) {
        let (inner, width) = (self.layout.inner(), self.layout.features() * self.layout.inner());
        let run = Run { x: self.x, y: self.y, below: None };
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
    /// How far ahead lies what is read after these values, where that is not what follows them.
    below: Option<usize>,
}

impl<'a, T: Element> Run<'a, T> {
    #[inline(always)]
    fn part(&mut self, part: Range<usize>) -> Run<'_, T> {
        Run { x: self.x.map(|x| &x[part.clone()]), y: &mut self.y[part], below: self.below }
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
        (Run { x, y, below: self.below }, Run { x: x_rest, y: y_rest, below: self.below })
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

/// Rows of `width` columns, the first from `column` on.
#[inline(always)]
fn rows<L: Lanes, T: Element>(
    token: L::Token,
    affine: AffineView<'_>,
    width: usize,
    mut column: usize,
    mut run: Run<'_, T>,
) {
    while !run.y.is_empty() {
        let (row, rest) = run.split_at(width - column);
        row_run::<L, T>(token, affine.columns(column, row.y.len()), row);
        (run, column) = (rest, 0);
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
            row_run::<L, T>(token, laid.view().columns(column, part.len()), run.part(part));
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
            let part = Run { below: Some(width), ..run.part(part) };
            rows_or_stream::<L, T>(token, affine, columns.len(), column, part, streams);
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

/// One parameter set for all values.
#[inline(always)]
fn plane_run<L: Lanes, T: Element>(token: L::Token, affine: &AffineView<'_>, run: Run<'_, T>) {
    let full = run.y.len() - run.y.len() % L::LANES;
    let lanes = Parameters::<L>::splat(token, affine);
    let (mut whole, mut rest) = run.split_at(full);
    let mut at = 0;
    while full - at >= L::LANES {
        lanes.apply::<T>(token, &mut whole, at);
        at += L::LANES;
    }
    let one = Parameters::<f64>::splat((), affine);
    for at in 0..rest.y.len() {
        one.apply::<T>((), &mut rest, at);
    }
}

/// A parameter set per column.
#[inline(always)]
fn row_run<L: Lanes, T: Element>(token: L::Token, affine: AffineView<'_>, mut run: Run<'_, T>) {
    let full = run.y.len() - run.y.len() % L::LANES;
    {
        // All cut to one length, so that the loop checks no other.
        let (affine, mut run) = (affine.columns(0, full), run.part(0..full));
        let mut at = 0;
        while full - at >= L::LANES {
            if let Some(below) = run.below {
                L::prefetch(token, run.x.unwrap_or(run.y), at + below);
                L::prefetch(token, run.y, at + below);
            }
            Parameters::<L>::load(token, &affine, at).apply::<T>(token, &mut run, at);
            at += L::LANES;
        }
    }
    for at in full..run.y.len() {
        Parameters::<f64>::load((), &affine, at).apply::<T>((), &mut run, at);
    }
}

impl<L: Lanes> Parameters<L> {
    /// The inner loop's body: reads, normalises and writes as many values as there are lanes.
    #[inline(always)]
    fn apply<T: Element>(&self, token: L::Token, run: &mut Run<'_, T>, at: usize) {
        let from = run.x.unwrap_or(run.y);
        let y = self.normalized(T::load::<L>(token, &from[at..]));
        T::store(y, &mut run.y[at..]);
    }
}
