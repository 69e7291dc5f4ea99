//! The plane view: steps 1 to 4 of [`crate::order`] for the planes of a chunk. Values are read in the order in which they
//! lie, and the sums of a feature stay in registers. The inner loop is [`Sums::add_group`].

use std::ops::Range;

use super::PartialMut;
use super::finish::{About, Pivots, checked, is_zero, pivot};
use super::fold::Streams;
use super::group::{CACHE_LINE, Pass, pairwise, pairwise_squares, squares};
use super::pair::two_sum;
use crate::element::Element;
use crate::lanes::Lanes;
use crate::layout::Layout;
use crate::order::{ChunkRange, GROUP_POSITIONS, GROUP_ROWS, PLANE_STREAMS, RUN_GROUPS};

/// How far ahead of the values that are summed others are asked for, in bytes of planes.
const AHEAD_BYTES: usize = 16 << 10;

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
}

impl<T: Element> Planes<'_, T> {
    #[inline(always)]
    fn count(&self) -> f64 {
        (self.planes * self.positions) as f64
    }

    #[inline(always)]
    fn start_of(&self, plane: usize) -> usize {
        self.start + plane * self.stride
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

/// The moments of some features of a chunk.
pub(super) struct Job<'a, T> {
    pub(super) x: &'a [T],
    pub(super) layout: Layout,
    pub(super) features: &'a Range<usize>,
    pub(super) range: &'a ChunkRange,
    /// Whether to read the planes in the order in which they lie, for batches larger than a cache.
    pub(super) side_by_side: bool,
}

impl<T: Element> Job<'_, T> {
    /// f64 values that running sums of so many features take.
    pub(super) fn space(features: usize) -> usize {
        features * Running::<f64>::len::<T>()
    }

    /// Writes them to `out`.
    #[inline(always)]
    pub(super) fn run<L: Lanes>(&self, token: L::Token, pivots: Pivots, out: PartialMut<'_>, space: &mut [f64]) {
        let pass = Pass::<L>::new(token);
        match pivots {
            Pivots::OfSample if self.side_by_side => self.side_by_side(pass, out, space),
            _ => self.one_by_one(pass, pivots, out),
        }
    }

    /// Each feature by itself: its sums stay in registers.
    #[inline(always)]
    fn one_by_one<L: Lanes>(&self, pass: Pass<L>, pivots: Pivots, mut out: PartialMut<'_>) {
        let sample_range = self.range.sample();
        for (i, feature) in self.features.clone().enumerate() {
            let (planes, sample) = (self.planes(feature, self.range), self.planes(feature, &sample_range));
            let of_sample = match pivots {
                Pivots::OfSample => Some(Running::of::<T, false>(pass, &sample, pass.zero())),
                Pivots::Given => None,
            };
            let pivot = of_sample.as_ref().map_or(out.mean[i], |sums| sums.pivot::<T>(sample.count()));
            let folded = match of_sample {
                _ if !is_zero::<T>(pivot) => Running::of::<T, true>(pass, &planes, L::splat(pass.token, pivot)),
                Some(all) if sample.count() == planes.count() => all,
                _ => Running::of::<T, false>(pass, &planes, pass.zero()),
            };
            folded.finish::<T>(pivot, planes.count(), out.from(i).first());
        }
    }

    /// All features of an outer block, then those of the next: memory is read in the order in which it lies, at the price
    /// of fetching and storing the sums for each plane.
    #[inline(always)]
    fn side_by_side<L: Lanes>(&self, pass: Pass<L>, mut out: PartialMut<'_>, space: &mut [f64]) {
        let (sample_range, inner) = (self.range.sample(), self.layout.inner());
        for (i, feature) in self.features.clone().enumerate() {
            let sample = self.planes(feature, &sample_range);
            out.mean[i] = Running::of::<T, false>(pass, &sample, pass.zero()).pivot::<T>(sample.count());
        }
        let blocks = Planes { positions: self.features.len() * inner, ..self.planes(self.features.start, self.range) };
        let (mut begun, mut left) = (false, RUN_GROUPS);
        for block in 0..blocks.planes {
            let (start, ahead) = (blocks.start_of(block), blocks.ahead(block));
            let (mut next_begun, mut next_left) = (begun, left);
            for (i, space) in (0..self.features.len()).zip(space.chunks_exact_mut(Running::<L>::len::<T>())) {
                let mut running = Running::new(pass);
                if block > 0 {
                    running.load(pass, begun, left, space);
                }
                let (values, ahead) = (&self.x[start + i * inner..][..inner], Some((&ahead, i * inner)));
                let pivot = out.mean[i];
                if is_zero::<T>(pivot) {
                    running.add_plane::<T, false>(pass, values, pass.zero(), &blocks, ahead);
                } else {
                    running.add_plane::<T, true>(pass, values, L::splat(pass.token, pivot), &blocks, ahead);
                }
                running.store(space);
                (next_begun, next_left) = (running.total.is_some(), running.left);
            }
            (begun, left) = (next_begun, next_left);
        }
        for (i, space) in (0..self.features.len()).zip(space.chunks_exact(Running::<L>::len::<T>())) {
            let mut running = Running::new(pass);
            running.load(pass, begun, left, space);
            let count = (blocks.planes * inner) as f64;
            running.folded::<T>().finish::<T>(out.mean[i], count, out.from(i).first());
        }
    }

    #[inline(always)]
    fn planes(&self, feature: usize, range: &ChunkRange) -> Planes<'_, T> {
        let (inner, stride) = (self.layout.inner(), self.layout.features() * self.layout.inner());
        Planes {
            x: self.x,
            start: range.outer.start * stride + feature * inner + range.positions.start,
            stride,
            planes: range.outer.len(),
            positions: range.positions.len(),
        }
    }
}

/// Sums of all streams, each with what it has lost to rounding (for f64 values).
struct Folded {
    first: [f64; 2],
    second: [f64; 2],
}

impl Folded {
    /// Step 1, of a sample.
    #[inline(always)]
    fn pivot<T: Element>(&self, count: f64) -> f64 {
        pivot::<T>(self.first[0], self.second[0], count)
    }

    /// Steps 4 and 5.
    #[inline(always)]
    fn finish<T: Element>(self, pivot: f64, count: f64, mut out: PartialMut<'_>) {
        let Folded { first, second } = self;
        About { pivot, first, second }.finish::<T>((), count, out.reborrow());
        out.m2[0] = checked::<T>(out.m2[0], second[0]);
    }
}

/// The sums of a feature while its planes pass: of the present 64 groups, of those before, and the groups that the
/// present ones lack.
#[derive(Clone, Copy)]
struct Running<L> {
    run: Sums<L>,
    total: Option<Sums<L>>,
    left: usize,
}

impl<L: Lanes> Running<L> {
    /// Steps 2 and 3: `ABOUT` a pivot; or of the values themselves, without compensation, and of their squares only
    /// where these are exact.
    #[inline(always)]
    fn of<T: Element, const ABOUT: bool>(pass: Pass<L>, planes: &Planes<'_, T>, pivot: L) -> Folded {
        let mut running = Self::new(pass);
        for plane in 0..planes.planes {
            let values = &planes.x[planes.start_of(plane)..][..planes.positions];
            running.add_plane::<T, ABOUT>(pass, values, pivot, planes, None);
        }
        running.folded::<T>()
    }

    #[inline(always)]
    fn new(pass: Pass<L>) -> Self {
        Running { run: Sums::new(pass), total: None, left: RUN_GROUPS }
    }

    /// Adds a plane of one feature, which begins at a position of an outer block, and asks for what lies ahead of it.
    #[inline(always)]
    fn add_plane<T: Element, const ABOUT: bool>(
        &mut self,
        pass: Pass<L>,
        values: &[T],
        pivot: L,
        block: &Planes<'_, T>,
        ahead: Option<(&Ahead, usize)>,
    ) {
        let whole = values.len() - values.len() % GROUP_POSITIONS;
        let mut at = 0;
        while at < values.len() {
            if self.left == 0 {
                *self = Running { run: Sums::new(pass), total: Some(self.joined::<T>()), left: RUN_GROUPS };
            }
            let end = whole.min(at + self.left * GROUP_POSITIONS);
            self.left -= (end - at) / GROUP_POSITIONS;
            for group in values[at..end].chunks_exact(GROUP_POSITIONS) {
                if let Some((ahead, position)) = ahead {
                    block.ask::<L>(pass.token, ahead, position + at, GROUP_POSITIONS);
                }
                self.run.add_group::<T, ABOUT>(pass, group, pivot);
                at += GROUP_POSITIONS;
            }
            if at == whole && at < values.len() && self.left > 0 {
                if let Some((ahead, position)) = ahead {
                    block.ask::<L>(pass.token, ahead, position + at, values.len() - at);
                }
                self.run.add_part::<T, ABOUT>(pass, &values[at..], pivot);
                self.left -= 1;
                at = values.len();
            }
        }
    }

    #[inline(always)]
    fn joined<T: Element>(&self) -> Sums<L> {
        match self.total {
            Some(total) => total.joined::<T>(&self.run),
            None => self.run,
        }
    }

    #[inline(always)]
    fn folded<T: Element>(&self) -> Folded {
        let Sums { first, second } = self.joined::<T>();
        Folded { first: first.folded::<T>(), second: second.folded::<T>() }
    }

    /// f64 values that [`Running::store`] takes.
    const fn len<T: Element>() -> usize {
        2 * PLANE_STREAMS * if T::COMPENSATED { 4 } else { 2 }
    }

    #[inline(always)]
    fn store(&self, to: &mut [f64]) {
        let (run, total) = to.split_at_mut(to.len() / 2);
        self.run.store(run);
        if let Some(sums) = &self.total {
            sums.store(total);
        }
    }

    #[inline(always)]
    fn load(&mut self, pass: Pass<L>, begun: bool, left: usize, from: &[f64]) {
        let (run, total) = from.split_at(from.len() / 2);
        self.run.load(pass, run);
        self.left = left;
        if begun {
            let mut sums = Sums::new(pass);
            sums.load(pass, total);
            self.total = Some(sums);
        }
    }
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
            (second.sum[set], second.lost[set]) = pass.add_squares((second.sum[set], second.lost[set]), d);
            return;
        }
        first.sum[set] = first.sum[set].add(pairwise(d));
        if ABOUT {
            second.sum[set] = second.sum[set].add(pairwise(squares(d)));
        } else if T::SQUARES_EXACT {
            second.sum[set] = second.sum[set].add(pairwise_squares(d));
        }
    }

    /// With the sums of 64 more groups.
    #[inline(always)]
    fn joined<T: Element>(mut self, run: &Self) -> Self {
        for (all, run) in [(&mut self.first, &run.first), (&mut self.second, &run.second)] {
            for set in 0..PLANE_STREAMS / L::LANES {
                let (sum, error) = two_sum(all.sum[set], run.sum[set]);
                all.sum[set] = sum;
                if T::COMPENSATED {
                    all.lost[set] = all.lost[set].add(run.lost[set].add(error));
                }
            }
        }
        self
    }

    #[inline(always)]
    fn store(&self, to: &mut [f64]) {
        let sets = [&self.first.sum, &self.second.sum, &self.first.lost, &self.second.lost];
        for (to, set) in to.chunks_exact_mut(PLANE_STREAMS).zip(sets) {
            store(set, to);
        }
    }

    #[inline(always)]
    fn load(&mut self, pass: Pass<L>, from: &[f64]) {
        let Sums { first, second } = self;
        let sets = [&mut first.sum, &mut second.sum, &mut first.lost, &mut second.lost];
        for (from, set) in from.chunks_exact(PLANE_STREAMS).zip(sets) {
            for (i, lanes) in set.iter_mut().take(PLANE_STREAMS / L::LANES).enumerate() {
                *lanes = L::load(pass.token, &from[i * L::LANES..]);
            }
        }
    }
}

impl<L: Lanes> Total<L> {
    #[inline(always)]
    fn folded<T: Element>(&self) -> [f64; 2] {
        let (mut sum, mut lost) = ([0.0; PLANE_STREAMS], [0.0; PLANE_STREAMS]);
        store(&self.sum, &mut sum);
        store(&self.lost, &mut lost);
        let kept = if T::COMPENSATED { Some(&mut lost[..]) } else { None };
        Streams { sum: &mut sum, lost: kept }.fold(1, 1, PLANE_STREAMS);
        [sum[0], lost[0]]
    }
}

#[inline(always)]
fn store<L: Lanes>(set: &Set<L>, to: &mut [f64]) {
    for (i, lanes) in set.iter().take(PLANE_STREAMS / L::LANES).enumerate() {
        lanes.store(&mut to[i * L::LANES..]);
    }
}
