//! Planes that hold whole steps: with the parameters of a plane in registers.

use super::Walk;
use crate::kernels::map::Formula;
use crate::kernels::map::parameters::Columns;
use crate::kernels::map::run::Run;
use crate::kernels::map::store::Store;
use crate::lanes::{Lanes, LoadStore};
use crate::layout::Layout;
use crate::tuning::CACHE_LINE;

impl<F, L, W, T, const P: usize, const I: usize> Walk<F, L, W, T, P, I>
where
    F: Formula<P, I>,
    L: LoadStore<T>,
    L::Scalar: LoadStore<T, Scalar = L::Scalar, Token = ()>,
    W: Store,
{
    /// Values in a cache line, or in a vector if that is longer.
    const LINE: usize = if CACHE_LINE / size_of::<T>() > L::LANES { CACHE_LINE / size_of::<T>() } else { L::LANES };

    /// Maps planes one after the other, each with the parameters of its feature.
    #[inline(always)]
    pub(super) fn planes(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        layout: Layout,
        start: usize,
        run: Run<'_, T, I>,
    ) {
        let mut plane = Plane::at(layout, start);
        let (head, mut run) = {
            let head = self.store.head(run.y);
            run.split_at(head)
        };
        self.few_positions(parameters, &mut plane, head);
        let mut at = 0;
        if W::VECTORS == 1 && !run.in_place && plane.left == layout.inner() {
            at = self.whole_planes(parameters, layout.inner(), &mut plane, &mut run);
        }
        let mut here = parameters.splat::<L>(self.token, plane.feature);
        while run.len() - at >= Self::STEP {
            let steps = (plane.left / Self::STEP).min((run.len() - at) / Self::STEP);
            self.plane(here, run.part(at..at + steps * Self::STEP));
            at += steps * Self::STEP;
            let (left, next_feature) = (plane.left - steps * Self::STEP, plane.next_feature());
            plane.advance(steps * Self::STEP);
            if run.len() - at < Self::STEP {
                break;
            }
            let next = parameters.splat::<L>(self.token, next_feature);
            if left > 0 {
                // This step crosses the end of the plane.
                let low = blend(here, left, next);
                if W::VECTORS == 1 {
                    self.one::<L, F>(self.formula, self.token, low, &mut run, at);
                } else {
                    let high = blend(here, left.saturating_sub(L::LANES), next);
                    self.pair(self.formula, low, high, &mut run, at);
                }
                at += Self::STEP;
                plane.advance(Self::STEP);
            }
            here = next;
        }
        self.few_positions(parameters, &mut plane, run.split_at(at).1);
    }

    /// Maps whole planes from the start of a run, one by one. The last vector of a plane overlaps the one before it and
    /// recomputes some values, which is cheaper than a vector with the parameters of two planes. Returns the number of
    /// values mapped.
    #[inline(always)]
    fn whole_planes(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        inner: usize,
        plane: &mut Plane,
        run: &mut Run<'_, T, I>,
    ) -> usize {
        let mut at = 0;
        while run.len() - at >= inner {
            let here = parameters.splat::<L>(self.token, plane.feature);
            let mut whole = run.part(at..at + inner);
            let mut position = 0;
            while inner - position >= Self::LINE {
                self.store.prefetch_output(&whole, position);
                for vector in 0..Self::LINE / L::LANES {
                    self.one::<L, F>(self.formula, self.token, here, &mut whole, position + vector * L::LANES);
                }
                position += Self::LINE;
            }
            while inner - position >= L::LANES {
                self.one::<L, F>(self.formula, self.token, here, &mut whole, position);
                position += L::LANES;
            }
            if position < inner {
                self.one::<L, F>(self.formula, self.token, here, &mut whole, inner - L::LANES);
            }
            at += inner;
            plane.feature = plane.next_feature();
        }
        at
    }

    /// Maps a few values of planes with ordinary stores.
    #[inline(always)]
    fn few_positions(&self, parameters: Columns<'_, L::Scalar, P>, plane: &mut Plane, mut run: Run<'_, T, I>) {
        let mut at = 0;
        while at < run.len() {
            let done = if plane.left.min(run.len() - at) >= L::LANES {
                let parameters = parameters.splat::<L>(self.token, plane.feature);
                self.one::<L, F>(self.formula, self.token, parameters, &mut run, at);
                L::LANES
            } else {
                let parameters = parameters.splat::<L::Scalar>((), plane.feature);
                self.one::<L::Scalar, F>(self.formula, (), parameters, &mut run, at);
                1
            };
            at += done;
            plane.advance(done);
        }
    }

    /// Runs the inner loop over a plane, in whole steps.
    #[inline(always)]
    fn plane(&self, parameters: [L; P], mut run: Run<'_, T, I>) {
        let full = run.len() - run.len() % Self::STEP;
        let mut run = run.part(0..full);
        let mut at = 0;
        while full - at >= Self::STEP {
            if W::VECTORS == 1 {
                self.one::<L, F>(self.formula, self.token, parameters, &mut run, at);
            } else {
                self.pair(self.formula, parameters, parameters, &mut run, at);
            }
            at += Self::STEP;
        }
    }
}

/// Returns the parameters `here` in the first lanes and `next` in the lanes after them.
#[inline(always)]
fn blend<L: Lanes, const P: usize>(mut here: [L; P], lanes: usize, next: [L; P]) -> [L; P] {
    for i in 0..P {
        here[i] = here[i].blend(lanes, next[i]);
    }
    here
}

/// A position in a batch of planes.
struct Plane {
    features: usize,
    inner: usize,
    /// The feature of the current plane.
    feature: usize,
    /// Values from here to the end of the plane, at least one.
    left: usize,
}

impl Plane {
    #[inline(always)]
    fn at(layout: Layout, at: usize) -> Self {
        let (features, inner) = (layout.features(), layout.inner());
        Plane { features, inner, feature: at / inner % features, left: inner - at % inner }
    }

    #[inline(always)]
    fn next_feature(&self) -> usize {
        if self.feature + 1 == self.features { 0 } else { self.feature + 1 }
    }

    /// Advances by `by` values, at most into the next plane.
    #[inline(always)]
    fn advance(&mut self, by: usize) {
        if by < self.left {
            self.left -= by;
        } else {
            self.feature = self.next_feature();
            self.left += self.inner - by;
        }
    }
}
