//! Normalising past the caches: each streamed store writes whole lanes to an address that suits it, so a run is walked
//! without a break. A store that is not streamed, to a cache line that others are streamed to, costs as much as some
//! kilobytes of streaming; where a row or plane ends within the lanes, these take their parameters from both sides.

use super::{AffineView, Parameters, Place, REPEATED, Run, planes as planes_cached, rows as rows_cached};
use crate::element::Element;
use crate::lanes::Lanes;

/// Bytes ahead of the reads that are prefetched: streamed writes keep the processor from guessing what comes.
pub(super) const AHEAD_BYTES: usize = 4096;

/// Bytes that are streamed to as a whole.
const CACHE_LINE: usize = 64;

/// As [`super::rows`], of rows at least as wide as two sets of lanes.
#[inline(always)]
pub(super) fn rows<L: Lanes, T: Element>(
    token: L::Token,
    affine: AffineView<'_>,
    width: usize,
    column: usize,
    run: Run<'_, T>,
) {
    let (head, mut run) = run.split_at_stream();
    let first = (column + head.y.len()) % width;
    rows_cached::<L, T>(token, affine, width, column, head);

    let pair = 2 * L::LANES;
    let full = run.y.len() - run.y.len() % pair;
    let (mut at, mut column) = (0, first);
    while at < full {
        // To the end of the row, or a little over it.
        let len = ((width - column).div_ceil(pair) * pair).min(full - at);
        let (affine, mut row) = (affine.columns(column, len), run.part(at..at + len));
        let mut done = 0;
        while len - done >= pair {
            let parameters =
                [Parameters::load(token, &affine, done), Parameters::load(token, &affine, done + L::LANES)];
            stream_pair::<L, T>(token, parameters, &mut row, done);
            done += pair;
        }
        (at, column) = (at + len, column + len);
        column = if column >= width { column - width } else { column };
    }
    rows_cached::<L, T>(token, affine, width, column, run.split_at(full).1);
}

/// As [`super::planes`], of planes at least as long as the lanes.
#[inline(always)]
pub(super) fn planes<L: Lanes, T: Element>(token: L::Token, affine: AffineView<'_>, mut place: Place, run: Run<'_, T>) {
    let (inner, features) = (place.layout.inner(), place.layout.features());
    let (head, mut run) = run.split_at_stream();
    let head_place = place;
    place.at += head.y.len();
    planes_cached::<L, T>(token, affine, head_place, head);

    let (mut feature, mut left) = place.feature_left();
    let mut at = 0;
    let pair = 2 * L::LANES;
    while at + pair <= run.y.len() {
        let parameters = Parameters::<L>::splat(token, &affine.columns(feature, 1));
        let pairs = (left / pair).min((run.y.len() - at) / pair);
        for _ in 0..pairs {
            stream_pair::<L, T>(token, [parameters; 2], &mut run, at);
            at += pair;
        }
        left -= pairs * pair;
        let next = if feature + 1 == features { 0 } else { feature + 1 };
        if left > 0 && at + pair <= run.y.len() {
            let after = Parameters::<L>::splat(token, &affine.columns(next, 1));
            let seam =
                [parameters.up_to(token, left, after), parameters.up_to(token, left.saturating_sub(L::LANES), after)];
            stream_pair::<L, T>(token, seam, &mut run, at);
            at += pair;
            (feature, left) = (next, inner + left - pair);
        } else if left == 0 {
            (feature, left) = (next, inner);
        }
    }
    place.at += at;
    planes_cached::<L, T>(token, affine, place, run.split_at(at).1);
}

/// Normalises two sets of lanes and streams them.
#[inline(always)]
fn stream_pair<L: Lanes, T: Element>(token: L::Token, [a, b]: [Parameters<L>; 2], run: &mut Run<'_, T>, at: usize) {
    let from = run.x.unwrap_or(run.y);
    L::prefetch(token, from, at + run.below.unwrap_or(AHEAD_BYTES / size_of::<T>()));
    let from = &from[at..];
    let a = a.normalized(T::load::<L>(token, from));
    let b = b.normalized(T::load::<L>(token, &from[L::LANES..]));
    T::stream([a, b], &mut run.y[at..]);
}

impl<L: Lanes> Parameters<L> {
    /// These in the first lanes, others in the lanes after them.
    #[inline(always)]
    fn up_to(&self, token: L::Token, lanes: usize, after: Parameters<L>) -> Self {
        if lanes >= L::LANES {
            return *self;
        }
        Parameters {
            mean: first(token, lanes, self.mean, after.mean),
            scale: first(token, lanes, self.scale, after.scale),
            bias: first(token, lanes, self.bias, after.bias),
        }
    }
}

/// The first lanes of one, the other lanes of another.
#[inline(always)]
fn first<L: Lanes>(token: L::Token, lanes: usize, these: L, others: L) -> L {
    let mut array = [0.0; REPEATED];
    these.store(&mut array);
    if lanes == 0 { others } else { L::load_part(token, &array[..lanes], others) }
}

impl<T: Element> Run<'_, T> {
    /// The values before the first address that suits a streamed store, and the others.
    #[inline(always)]
    fn split_at_stream(self) -> (Self, Self) {
        let before = self.before_stream();
        self.split_at(before)
    }

    /// How many those are.
    #[inline(always)]
    pub(super) fn before_stream(&self) -> usize {
        let past = self.y.as_ptr().addr() % CACHE_LINE;
        (CACHE_LINE - past) % CACHE_LINE / size_of::<T>()
    }
}
