//! Normalising past the caches: each streamed store writes whole lanes to an address that suits it, so a run is walked
//! without a break. A store that is not streamed, to a cache line that others are streamed to, costs as much as some
//! kilobytes of streaming; where a row or plane ends within the lanes, these take their parameters from both sides.

use super::{AffineView, LaidOut, Parameters, Place, Run, planes as planes_cached, rows as rows_cached};
use crate::element::Element;
use crate::lanes::Lanes;

/// Bytes ahead of the reads that are prefetched: streamed writes keep the processor from guessing what comes.
pub(super) const AHEAD_BYTES: usize = 4096;

/// The most values that are streamed together: two sets of eight lanes. No row or plane that is streamed is shorter.
pub(super) const MOST_LANES: usize = 16;

/// Bytes that are streamed to as a whole.
const CACHE_LINE: usize = 64;

/// As [`super::rows`], of rows at least as wide as the lanes.
#[inline(always)]
pub(super) fn rows<L: Lanes, T: Element>(token: L::Token, affine: AffineView<'_>, column: usize, run: Run<'_, T>) {
    let width = affine.mean.len();
    let (head, mut run) = run.split_at_stream();
    let first = column;
    let mut column = (column + head.y.len()) % width;
    rows_cached::<L, T>(token, affine, first, head);

    let (mut at, mut seam, mut seam_at) = (0, LaidOut::<MOST_LANES>::new(), None);
    let pair = 2 * L::LANES;
    while at + pair <= run.y.len() {
        if column + pair <= width {
            let pairs = ((width - column) / pair).min((run.y.len() - at) / pair);
            for _ in 0..pairs {
                stream_pair::<L, T>(token, load_pair(token, &affine, column), &mut run, at);
                (at, column) = (at + pair, column + pair);
            }
        } else {
            // Rows often end at the same lane, so the seam is kept.
            if seam_at != Some(column) {
                seam.join(&affine.columns(column, width - column), &affine, pair);
                seam_at = Some(column);
            }
            stream_pair::<L, T>(token, load_pair(token, &seam.view(), 0), &mut run, at);
            (at, column) = (at + pair, column + pair - width);
        }
        column = if column == width { 0 } else { column };
    }
    L::fence(token);
    rows_cached::<L, T>(token, affine, column, run.split_at(at).1);
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
    let (mut at, mut seam) = (0, LaidOut::<MOST_LANES>::new());
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
            seam.fill_lanes(&affine.columns(feature, 1), 0..left);
            seam.fill_lanes(&affine.columns(next, 1), left..pair);
            stream_pair::<L, T>(token, load_pair(token, &seam.view(), 0), &mut run, at);
            at += pair;
            (feature, left) = (next, inner + left - pair);
        } else if left == 0 {
            (feature, left) = (next, inner);
        }
    }
    L::fence(token);
    place.at += at;
    planes_cached::<L, T>(token, affine, place, run.split_at(at).1);
}

/// Normalises two sets of lanes and streams them.
#[inline(always)]
fn stream_pair<L: Lanes, T: Element>(token: L::Token, [a, b]: [Parameters<L>; 2], run: &mut Run<'_, T>, at: usize) {
    let from = run.x.unwrap_or(run.y);
    if let Some(later) = from.get(at + AHEAD_BYTES / size_of::<T>()) {
        L::prefetch(token, later);
    }
    let from = &from[at..];
    let a = a.normalized(T::load::<L>(token, from), T::MEAN_HAS_REST);
    let b = b.normalized(T::load::<L>(token, &from[L::LANES..]), T::MEAN_HAS_REST);
    T::stream([a, b], &mut run.y[at..]);
}

#[inline(always)]
fn load_pair<L: Lanes>(token: L::Token, affine: &AffineView<'_>, at: usize) -> [Parameters<L>; 2] {
    [Parameters::load(token, affine, at), Parameters::load(token, affine, at + L::LANES)]
}

impl<T: Element> Run<'_, T> {
    /// The values before the first address that suits a streamed store, and the others.
    #[inline(always)]
    fn split_at_stream(self) -> (Self, Self) {
        let past = self.y.as_ptr().addr() % CACHE_LINE;
        self.split_at((CACHE_LINE - past) % CACHE_LINE / size_of::<T>())
    }
}

impl LaidOut<MOST_LANES> {
    /// The parameters of some columns, and behind them those of others.
    #[inline(always)]
    fn join(&mut self, first: &AffineView<'_>, then: &AffineView<'_>, lanes: usize) {
        for lane in 0..lanes {
            let (from, at) = match lane.checked_sub(first.mean.len()) {
                Some(at) => (then, at),
                None => (first, lane),
            };
            self.mean[lane] = from.mean[at];
            self.rest[lane] = from.rest[at];
            self.scale[lane] = from.scale[at];
            self.bias[lane] = from.bias[at];
        }
    }

    /// The parameters of one feature in some lanes.
    #[inline(always)]
    fn fill_lanes(&mut self, from: &AffineView<'_>, lanes: std::ops::Range<usize>) {
        self.mean[lanes.clone()].fill(from.mean[0]);
        self.rest[lanes.clone()].fill(from.rest[0]);
        self.scale[lanes.clone()].fill(from.scale[0]);
        self.bias[lanes].fill(from.bias[0]);
    }
}
