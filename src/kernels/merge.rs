//! Chan's formula: the moments of two runs of rows, joined.

use super::pair::two_sum;
use super::{Partial, PartialMut};
use crate::careful;
use crate::lanes::{Job, Lanes};

/// Joins `b` into `a`, feature by feature (Chan, Golub & LeVeque 1983):
///
/// ```text
/// delta = mean_b - mean_a
/// mean  = mean_a + delta * n_b / n
/// m2    = m2_a + m2_b + delta^2 * n_a * n_b / n
/// ```
///
/// The means are pairs (mean + rest), so `delta` is right even where the means agree in all 53 bits; Welford's loss of
/// digits at a large mean comes from there. So is m2: what its additions round away would grow with the tree's depth.
pub(crate) struct Merge<'a> {
    pub(crate) a: PartialMut<'a>,
    pub(crate) count_a: u64,
    pub(crate) b: Partial<'a>,
    pub(crate) count_b: u64,
}

/// The counts, and what the formula needs of them.
#[derive(Clone, Copy)]
struct Counts {
    a: f64,
    b: f64,
    /// `n_b / n`
    share: f64,
    /// `n_a * n_b / n`
    spread: f64,
}

impl Job for Merge<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, token: L::Token) {
        let Merge { mut a, b, .. } = self;
        let (count_a, count_b) = (self.count_a as f64, self.count_b as f64);
        let share = count_b / (count_a + count_b);
        let counts = Counts { a: count_a, b: count_b, share, spread: count_a * share };
        // Infinities and NaN, or sums that overflow: feature by feature.
        let mut plain = true;
        for at in 0..a.features() {
            plain &= careful::merges_plainly(a.mean[at], a.m2[at], b.mean[at], b.m2[at], count_a + count_b);
        }
        if !plain {
            return with_care(counts, &mut a, &b);
        }
        let features = a.features();
        let full = features - features % L::LANES;
        for at in (0..full).step_by(L::LANES) {
            merge_lanes::<L>(token, counts, &mut a, &b, at);
        }
        for at in full..features {
            merge_lanes::<f64>((), counts, &mut a, &b, at);
        }
    }
}

#[inline(always)]
fn merge_lanes<L: Lanes>(token: L::Token, counts: Counts, a: &mut PartialMut<'_>, b: &Partial<'_>, at: usize) {
    let (mean_a, rest_a) = (L::load(token, &a.mean[at..]), L::load(token, &a.rest[at..]));
    let (mean_b, rest_b) = (L::load(token, &b.mean[at..]), L::load(token, &b.rest[at..]));
    let delta = mean_b.sub(mean_a).add(rest_b.sub(rest_a));
    let (mean, error) = two_sum(mean_a, delta.mul(L::splat(token, counts.share)));
    let (mean, rest) = two_sum(mean, error.add(rest_a));
    let (m2_a, m2_b) = (L::load(token, &a.m2[at..]), L::load(token, &b.m2[at..]));
    let rests = L::load(token, &a.m2_rest[at..]).add(L::load(token, &b.m2_rest[at..]));
    let (m2, error_a) = two_sum(m2_a, m2_b);
    let (m2, error_b) = two_sum(m2, delta.mul(delta).mul(L::splat(token, counts.spread)));
    let (m2, m2_rest) = two_sum(m2, error_a.add(error_b).add(rests));
    mean.store(&mut a.mean[at..]);
    rest.store(&mut a.rest[at..]);
    m2.store(&mut a.m2[at..]);
    m2_rest.store(&mut a.m2_rest[at..]);
}

#[cold]
#[inline(never)]
fn with_care(counts: Counts, a: &mut PartialMut<'_>, b: &Partial<'_>) {
    for at in 0..a.features() {
        if careful::merges_plainly(a.mean[at], a.m2[at], b.mean[at], b.m2[at], counts.a + counts.b) {
            merge_lanes::<f64>((), counts, a, b, at);
        } else {
            a.set(at, careful::merge(a.stats(at), counts.a, b.stats(at), counts.b));
        }
    }
}
