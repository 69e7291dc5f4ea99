//! The sums of a feature, in registers; see [`super`].

use super::{Ahead, Planes};
use crate::element::Element;
use crate::kernels::PartialMut;
use crate::kernels::finish::{About, checked, pivot};
use crate::kernels::fold::Streams;
use crate::kernels::group::{Pass, pairwise, pairwise_squares, squares};
use crate::kernels::pair::two_sum;
use crate::lanes::Lanes;
use crate::order::{GROUP_POSITIONS, GROUP_ROWS, PLANE_STREAMS, RUN_GROUPS};

/// Lanes that hold all streams: two sets of four, or one of eight and another that is not used.
type Set<L> = [L; PLANE_STREAMS / 4];

/// Sums of all streams, each with what it has lost to rounding (for f64 values).
pub(super) struct Folded {
    first: [f64; 2],
    second: [f64; 2],
}

impl Folded {
    /// Step 1, of a sample.
    #[inline(always)]
    pub(super) fn pivot<T: Element>(&self, count: f64) -> f64 {
        pivot::<T>(self.first[0], self.second[0], count)
    }

    /// Steps 4 and 5.
    #[inline(always)]
    pub(super) fn finish<T: Element>(self, pivot: f64, count: f64, mut out: PartialMut<'_>) {
        let Folded { first, second } = self;
        About { pivot, first, second }.finish::<T>((), count, out.reborrow());
        out.m2[0] = checked::<T>(out.m2[0], second[0]);
    }
}

/// The sums of a feature while its planes pass: of the present 64 groups, of those before, and the groups that the
/// present ones lack.
#[derive(Clone, Copy)]
pub(super) struct Running<L> {
    run: Sums<L>,
    pub(super) total: Option<Sums<L>>,
    pub(super) left: usize,
}

impl<L: Lanes> Running<L> {
    /// Steps 2 and 3: `ABOUT` a pivot; or of the values themselves, without compensation, and of their squares only
    /// where these are exact.
    #[inline(always)]
    pub(super) fn of<T: Element, const ABOUT: bool>(pass: Pass<L>, planes: &Planes<'_, T>, pivot: L) -> Folded {
        let mut running = Self::new(pass);
        for plane in 0..planes.planes {
            let values = &planes.x[planes.start_of(plane)..][..planes.positions];
            running.add_plane::<T, ABOUT>(pass, values, pivot, planes, None);
        }
        running.folded::<T>()
    }

    #[inline(always)]
    pub(super) fn new(pass: Pass<L>) -> Self {
        Running { run: Sums::new(pass), total: None, left: RUN_GROUPS }
    }

    /// Adds a plane of one feature, which begins at a position of an outer block, and asks for what lies ahead of it.
    #[inline(always)]
    pub(super) fn add_plane<T: Element, const ABOUT: bool>(
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
    pub(super) fn folded<T: Element>(&self) -> Folded {
        let Sums { first, second } = self.joined::<T>();
        Folded { first: first.folded::<T>(), second: second.folded::<T>() }
    }

    /// f64 values that [`Running::store`] takes.
    pub(super) const fn len<T: Element>() -> usize {
        2 * PLANE_STREAMS * if T::COMPENSATED { 4 } else { 2 }
    }

    #[inline(always)]
    pub(super) fn store(&self, to: &mut [f64]) {
        let (run, total) = to.split_at_mut(to.len() / 2);
        self.run.store(run);
        if let Some(sums) = &self.total {
            sums.store(total);
        }
    }

    #[inline(always)]
    pub(super) fn load(&mut self, pass: Pass<L>, begun: bool, left: usize, from: &[f64]) {
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
pub(super) struct Sums<L> {
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
            self.add::<T, ABOUT>(pass, set, d, GROUP_ROWS);
        }
    }

    /// The same for fewer values, the last ones of a plane.
    #[inline(always)]
    fn add_part<T: Element, const ABOUT: bool>(&mut self, pass: Pass<L>, values: &[T], pivot: L) {
        for set in 0..PLANE_STREAMS / L::LANES {
            let (mut d, rows) = ([pass.zero(); GROUP_ROWS], values.len().div_ceil(PLANE_STREAMS));
            for (row, d) in d.iter_mut().enumerate() {
                let x = match values.get(row * PLANE_STREAMS + set * L::LANES..) {
                    Some(values) if values.len() >= L::LANES => T::load::<L>(pass.token, values),
                    Some(values) if !values.is_empty() => T::load_part::<L>(pass.token, values, pivot),
                    _ => break,
                };
                *d = if ABOUT { x.sub_beside(pass.one, pivot) } else { x };
            }
            self.add::<T, ABOUT>(pass, set, d, rows);
        }
    }

    /// `d` holds so many rows, then zeros.
    #[inline(always)]
    fn add<T: Element, const ABOUT: bool>(&mut self, pass: Pass<L>, set: usize, d: [L; GROUP_ROWS], rows: usize) {
        let Sums { first, second } = self;
        if ABOUT && T::COMPENSATED {
            (first.sum[set], first.lost[set]) = pass.add_compensated((first.sum[set], first.lost[set]), &d[..rows]);
            (second.sum[set], second.lost[set]) = pass.add_squares((second.sum[set], second.lost[set]), &d[..rows]);
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
