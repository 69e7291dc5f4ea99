//! Chan's formula: the moments of two runs of rows, joined.

use super::pair::{quotient, two_difference, two_product, two_sum};
use super::{Partial, PartialMut};
use crate::careful::{self, Stats};
use crate::lanes::{Job, Lanes};

/// Joins `b` into `a`, feature by feature (Chan, Golub & LeVeque 1983):
///
/// ```text
/// delta = mean_b - mean_a
/// mean  = mean_a + delta * n_b / n
/// m2    = m2_a + m2_b + delta^2 * n_a * n_b / n
/// ```
///
/// Means and m2 are pairs, and so is all between: Welford's loss of digits at a large mean comes from means that agree
/// in all 53 bits, and what a merge rounds away would grow with the tree's depth. It is done once per chunk, so it
/// costs nothing. What is left is the rounding of the rests: part of a unit of the standard deviation where that is near
/// the mean's last place, nothing elsewhere.
pub(crate) struct Merge<'a> {
    pub(crate) a: PartialMut<'a>,
    pub(crate) count_a: u64,
    pub(crate) b: Partial<'a>,
    pub(crate) count_b: u64,
}

/// What the formula needs of the counts, as pairs.
#[derive(Clone, Copy)]
struct Weights {
    /// `n`
    count: f64,
    /// `n_b / n`
    share: (f64, f64),
    /// `n_a * n_b / n`
    spread: (f64, f64),
}

impl Weights {
    fn new(count_a: u64, count_b: u64) -> Self {
        let (a, b) = (count_a as f64, count_b as f64);
        let count = a + b;
        let (share, spread) = (quotient((), (b, 0.0), count), quotient((), two_product((), a, b), count));
        Weights { count, share, spread }
    }
}

impl Job for Merge<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, token: L::Token) {
        let Merge { mut a, b, count_a, count_b } = self;
        let weights = Weights::new(count_a, count_b);
        // Infinities and NaN, or sums that overflow: feature by feature.
        let plain = |at: usize| careful::merges_plainly(a.mean[at], a.m2[at], b.mean[at], b.m2[at], weights.count);
        if !(0..a.features()).fold(true, |all, at| all & plain(at)) {
            return with_care(weights, &mut a, &b);
        }
        let features = a.features();
        let full = features - features % L::LANES;
        for at in (0..full).step_by(L::LANES) {
            merge_lanes::<L>(token, weights, &mut a, &b, at);
        }
        for at in full..features {
            merge_lanes::<f64>((), weights, &mut a, &b, at);
        }
    }
}

#[inline(always)]
fn merge_lanes<L: Lanes>(token: L::Token, weights: Weights, a: &mut PartialMut<'_>, b: &Partial<'_>, at: usize) {
    let run = Run::<L>::load(token, &a.as_partial(), at);
    run.joined(token, Run::load(token, b, at), weights).store(a, at);
}

/// Mean and m2 of some rows, as pairs, for as many features as there are lanes.
#[derive(Clone, Copy)]
struct Run<L> {
    mean: (L, L),
    m2: (L, L),
}

impl<L: Lanes> Run<L> {
    #[inline(always)]
    fn load(token: L::Token, from: &Partial<'_>, at: usize) -> Self {
        Run {
            mean: (L::load(token, &from.mean[at..]), L::load(token, &from.rest[at..])),
            m2: (L::load(token, &from.m2[at..]), L::load(token, &from.m2_rest[at..])),
        }
    }

    #[inline(always)]
    fn store(self, to: &mut PartialMut<'_>, at: usize) {
        self.mean.0.store(&mut to.mean[at..]);
        self.mean.1.store(&mut to.rest[at..]);
        self.m2.0.store(&mut to.m2[at..]);
        self.m2.1.store(&mut to.m2_rest[at..]);
    }

    #[inline(always)]
    fn joined(self, token: L::Token, other: Self, weights: Weights) -> Self {
        let (gap, error) = two_difference(other.mean.0, self.mean.0);
        let delta = two_sum(gap, error.add(other.mean.1.sub(self.mean.1)));
        let step = product(token, delta, splat(token, weights.share));
        let between = product(token, product(token, delta, delta), splat(token, weights.spread));
        Run { mean: sum(self.mean, step), m2: sum(sum(self.m2, other.m2), between) }
    }
}

#[inline(always)]
fn splat<L: Lanes>(token: L::Token, (high, low): (f64, f64)) -> (L, L) {
    (L::splat(token, high), L::splat(token, low))
}

/// The sum of two pairs.
#[inline(always)]
fn sum<L: Lanes>(a: (L, L), b: (L, L)) -> (L, L) {
    let (high, error) = two_sum(a.0, b.0);
    two_sum(high, error.add(a.1.add(b.1)))
}

/// The product of two pairs.
#[inline(always)]
fn product<L: Lanes>(token: L::Token, a: (L, L), b: (L, L)) -> (L, L) {
    let (high, error) = two_product(token, a.0, b.0);
    two_sum(high, error.add(a.0.mul(b.1).add(a.1.mul(b.0))))
}

#[cold]
#[inline(never)]
fn with_care(weights: Weights, a: &mut PartialMut<'_>, b: &Partial<'_>) {
    let run = |stats: Stats| Run { mean: (stats.mean, stats.rest), m2: (stats.m2, stats.m2_rest) };
    let join = |a, b| {
        let Run { mean: (mean, rest), m2: (m2, m2_rest) } = run(a).joined((), run(b), weights);
        Stats { mean, rest, m2, m2_rest }
    };
    for at in 0..a.features() {
        a.set(at, careful::merge(a.stats(at), b.stats(at), weights.count, join));
    }
}
