//! The plane view: steps 1 to 4 of [`crate::order`] for the planes of a chunk. Values are read in the order in which they
//! lie, and the sums of a feature stay in registers. The inner loop is [`Sums::add_group`].

use std::ops::Range;

use super::PartialMut;
use super::finish::{About, checked, pivot};
use super::fold::Streams;
use super::group::{CACHE_LINE, Pass, pairwise, pairwise_squares, squares};
use super::pair::two_sum;
use crate::element::Element;
use crate::lanes::Lanes;
use crate::layout::Layout;
use crate::order::{ChunkRange, GROUP_POSITIONS, GROUP_ROWS, PLANE_STREAMS, RUN_GROUPS};

/// How far ahead of the values that are summed others are asked for, in bytes of planes.
const AHEAD_BYTES: usize = 4096;

/// Lanes that hold all streams: two sets of four, or one of eight and another that is not used.
type Set<L> = [L; PLANE_STREAMS / 4];

/// Some positions of some planes of one feature.
#[derive(Clone, Copy)]
struct Planes<'a, T> {
    /// The whole batch.
    x: &'a [T],
    /// Where the first plane's first position is.
    start: usize,
    /// Values from one plane to the next.
    stride: usize,
    planes: usize,
    positions: usize,
    /// Where the values that are summed next start, for prefetching; nothing is prefetched without.
    next: Option<usize>,
}

impl<'a, T: Element> Planes<'a, T> {
    #[inline(always)]
    fn new(x: &'a [T], layout: Layout, feature: usize, range: &ChunkRange) -> Self {
        let stride = layout.features() * layout.inner();
        Planes {
            x,
            start: range.outer.start * stride + feature * layout.inner() + range.positions.start,
            stride,
            planes: range.outer.len(),
            positions: range.positions.len(),
            next: None,
        }
    }

    #[inline(always)]
    fn count(&self) -> f64 {
        (self.planes * self.positions) as f64
    }

    /// Where a plane starts; of those past the last, where what follows starts.
    #[inline(always)]
    fn start_of(&self, plane: usize) -> usize {
        match (plane.checked_sub(self.planes), self.next) {
            (Some(past), Some(next)) => next + past * self.stride,
            _ => self.start + plane * self.stride,
        }
    }

    /// Asks for `len` values, [`AHEAD_BYTES`] ahead of a position of a plane.
    #[inline(always)]
    fn ask<L: Lanes>(&self, token: L::Token, ahead: &Ahead, position: usize, len: usize) {
        let from = if position < ahead.left { ahead.here } else { ahead.after };
        for at in (0..len).step_by(CACHE_LINE / size_of::<T>()) {
            L::prefetch(token, self.x, from.wrapping_add(position + at));
        }
    }

    #[inline(always)]
    fn ahead(&self, plane: usize) -> Ahead {
        let ahead = AHEAD_BYTES / size_of::<T>();
        let (planes, positions) = (ahead / self.positions, ahead % self.positions);
        Ahead {
            here: self.start_of(plane + planes) + positions,
            left: self.positions - positions,
            after: self.start_of(plane + planes + 1).wrapping_sub(self.positions - positions),
        }
    }
}

/// Where the values lie that are some way ahead of those of a plane.
struct Ahead {
    /// Of the first positions.
    here: usize,
    /// How many those are.
    left: usize,
    /// Of the other positions, in the plane that comes next.
    after: usize,
}

/// Writes the moments of some features of a chunk.
#[inline(always)]
pub(super) fn moments<L: Lanes, T: Element>(
    token: L::Token,
    (x, layout): (&[T], Layout),
    features: &Range<usize>,
    range: &ChunkRange,
    prefetch: bool,
    mut out: PartialMut<'_>,
) {
    let pass = Pass::<L>::new(token);
    let sample_range = range.sample();
    for (i, feature) in features.clone().enumerate() {
        let mut all = Planes::new(x, layout, feature, range);
        let sample = Planes::new(x, layout, feature, &sample_range);
        if prefetch {
            // Where what is summed next lies: the next feature's planes, or the next ones of the only feature.
            let step = if features.len() == 1 { all.planes * all.stride } else { layout.inner() };
            all.next = Some(all.start + step);
            // Nothing can be summed while its sample is waited for.
            for plane in 0..sample.planes {
                for at in (0..sample.positions).step_by(CACHE_LINE / size_of::<T>()) {
                    L::prefetch(token, x, sample.start_of(plane) + step + at);
                }
            }
        }
        feature_moments(pass, &all, &sample, out.from(i).first());
    }
}

#[inline(always)]
fn feature_moments<L: Lanes, T: Element>(
    pass: Pass<L>,
    all: &Planes<'_, T>,
    sample: &Planes<'_, T>,
    mut out: PartialMut<'_>,
) {
    let of_sample = Sums::of::<T, false>(pass, sample, pass.zero());
    let (pivot, zero) = pivot(of_sample.first[0], of_sample.second[0], sample.count(), all.x[all.start]);
    let Folded { first, second } = if !zero {
        Sums::of::<T, true>(pass, all, L::splat(pass.token, pivot))
    } else if sample.count() == all.count() {
        of_sample
    } else {
        Sums::of::<T, false>(pass, all, pass.zero())
    };
    About { pivot, first, second }.finish::<T>((), all.count(), out.reborrow());
    out.m2[0] = checked::<T>(out.m2[0], second[0]);
}

/// Sums of all streams, each with what it has lost to rounding (for f64 values).
struct Folded {
    first: [f64; 2],
    second: [f64; 2],
}

/// Running sums: of deviations, and of their squares.
#[derive(Clone, Copy)]
struct Sums<L> {
    first: Total<L>,
    second: Total<L>,
}

#[derive(Clone, Copy)]
struct Total<L> {
    sum: Set<L>,
    lost: Set<L>,
}

impl<L: Lanes> Sums<L> {
    /// Steps 2 and 3: `ABOUT` a pivot; or of the values themselves, without compensation, and of their squares only
    /// where these are exact.
    #[inline(always)]
    fn of<T: Element, const ABOUT: bool>(pass: Pass<L>, planes: &Planes<'_, T>, pivot: L) -> Folded {
        let (mut total, mut run, mut left) = (None, Self::new(pass), RUN_GROUPS);
        for plane in 0..planes.planes {
            let start = planes.start_of(plane);
            let ahead = planes.next.map(|_| planes.ahead(plane));
            let values = &planes.x[start..start + planes.positions];
            let whole = values.len() - values.len() % GROUP_POSITIONS;
            let mut at = 0;
            while at < values.len() {
                if left == 0 {
                    total = Some(run.joined::<T>(total));
                    (run, left) = (Self::new(pass), RUN_GROUPS);
                }
                let end = whole.min(at + left * GROUP_POSITIONS);
                left -= (end - at) / GROUP_POSITIONS;
                for group in values[at..end].chunks_exact(GROUP_POSITIONS) {
                    if let Some(ahead) = &ahead {
                        planes.ask::<L>(pass.token, ahead, at, GROUP_POSITIONS);
                    }
                    run.add_group::<T, ABOUT>(pass, group, pivot);
                    at += GROUP_POSITIONS;
                }
                if at == whole && at < values.len() && left > 0 {
                    if let Some(ahead) = &ahead {
                        planes.ask::<L>(pass.token, ahead, at, values.len() - at);
                    }
                    run.add_part::<T, ABOUT>(pass, &values[at..], pivot);
                    left -= 1;
                    at = values.len();
                }
            }
        }
        run.joined::<T>(total).folded::<T>()
    }

    #[inline(always)]
    fn new(pass: Pass<L>) -> Self {
        let zero = Total { sum: [pass.zero(); PLANE_STREAMS / 4], lost: [pass.zero(); PLANE_STREAMS / 4] };
        Sums { first: zero, second: zero }
    }

    /// The inner loop's body: 64 values.
    #[inline(always)]
    fn add_group<T: Element, const ABOUT: bool>(&mut self, pass: Pass<L>, values: &[T], pivot: L) {
        for set in 0..PLANE_STREAMS / L::LANES {
            let mut d = [pivot; GROUP_ROWS];
            for (row, d) in d.iter_mut().enumerate() {
                let x = T::load::<L>(pass.token, &values[row * PLANE_STREAMS + set * L::LANES..]);
                *d = if ABOUT { x.sub_beside(pass.one, pivot) } else { x };
            }
            self.add::<T, ABOUT>(pass, set, d);
        }
    }

    /// The same for fewer values, the last ones of a plane.
    #[inline(always)]
    fn add_part<T: Element, const ABOUT: bool>(&mut self, pass: Pass<L>, values: &[T], pivot: L) {
        for set in 0..PLANE_STREAMS / L::LANES {
            let mut d = [pass.zero(); GROUP_ROWS];
            for (row, d) in d.iter_mut().enumerate() {
                let x = match values.get(row * PLANE_STREAMS + set * L::LANES..) {
                    Some(values) if values.len() >= L::LANES => T::load::<L>(pass.token, values),
                    Some(values) if !values.is_empty() => T::load_part::<L>(pass.token, values, pivot),
                    _ => break,
                };
                *d = if ABOUT { x.sub_beside(pass.one, pivot) } else { x };
            }
            self.add::<T, ABOUT>(pass, set, d);
        }
    }

    #[inline(always)]
    fn add<T: Element, const ABOUT: bool>(&mut self, pass: Pass<L>, set: usize, d: [L; GROUP_ROWS]) {
        let Sums { first, second } = self;
        if ABOUT && T::COMPENSATED {
            (first.sum[set], first.lost[set]) = pass.add_compensated((first.sum[set], first.lost[set]), d);
            (second.sum[set], second.lost[set]) = pass.add_compensated((second.sum[set], second.lost[set]), squares(d));
            return;
        }
        first.sum[set] = first.sum[set].add(pairwise(d));
        if ABOUT {
            second.sum[set] = second.sum[set].add(pairwise(squares(d)));
        } else if T::SQUARES_EXACT {
            second.sum[set] = second.sum[set].add(pairwise_squares(d));
        }
    }

    /// A total of 64 groups, added to those before.
    #[inline(always)]
    fn joined<T: Element>(&self, before: Option<Self>) -> Self {
        let Some(mut all) = before else { return *self };
        for (all, run) in [(&mut all.first, &self.first), (&mut all.second, &self.second)] {
            for set in 0..PLANE_STREAMS / L::LANES {
                let (sum, error) = two_sum(all.sum[set], run.sum[set]);
                all.sum[set] = sum;
                if T::COMPENSATED {
                    all.lost[set] = all.lost[set].add(run.lost[set]).add(error);
                }
            }
        }
        all
    }

    #[inline(always)]
    fn folded<T: Element>(&self) -> Folded {
        Folded { first: self.first.folded::<T>(), second: self.second.folded::<T>() }
    }
}

impl<L: Lanes> Total<L> {
    #[inline(always)]
    fn folded<T: Element>(&self) -> [f64; 2] {
        let (mut sum, mut lost) = ([0.0; PLANE_STREAMS], [0.0; PLANE_STREAMS]);
        for set in 0..PLANE_STREAMS / L::LANES {
            self.sum[set].store(&mut sum[set * L::LANES..]);
            self.lost[set].store(&mut lost[set * L::LANES..]);
        }
        let kept = if T::COMPENSATED { Some(&mut lost[..]) } else { None };
        Streams { sum: &mut sum, lost: kept }.fold(1, 1, PLANE_STREAMS);
        [sum[0], lost[0]]
    }
}
