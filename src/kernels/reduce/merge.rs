//! Chan's formula: merges the moments of two sets of rows.

use crate::kernels::double_double::{difference, product, quotient, sum, triple, two_product};
use crate::kernels::{MomentArrays, MomentSlices};
use crate::lanes::{F64Lanes, Job, Simd};
use crate::spec::{DoubleDouble, FeatureMoments, fallback};

/// Merges `b` into `a`, feature by feature (Chan, Golub & LeVeque 1983):
///
/// ```text
/// delta = mean_b - mean_a
/// mean  = mean_a + delta * n_b / n
/// m2    = m2_a + m2_b + delta^2 * n_a * n_b / n
/// ```
///
/// m2 and all intermediate results are double-doubles; means have three words. Welford's algorithm loses digits at a
/// large mean because there the means agree in all 53 bits. Two words would not do either: where the standard deviation
/// is near the last place of the mean, the low word is rounded by up to `u` standard deviations in each merge, and over
/// many levels these errors line up. With three words a merge errs by at most `24 u^3` of the mean and `25 u^2` of
/// `delta`. There is one merge per chunk, so the cost is negligible.
pub(crate) struct Merge<'a> {
    pub(crate) a: MomentArrays<'a>,
    pub(crate) count_a: u64,
    pub(crate) b: MomentSlices<'a>,
    pub(crate) count_b: u64,
}

/// The factors of the formula that depend on the counts.
#[derive(Clone, Copy)]
struct Weights {
    /// `n`
    count: f64,
    /// `n_b / n`
    share: DoubleDouble<f64>,
    /// `n_a * n_b / n`
    spread: DoubleDouble<f64>,
}

impl Weights {
    fn new(count_a: u64, count_b: u64) -> Self {
        let (a, b) = (count_a as f64, count_b as f64);
        let count = a + b;
        let share = quotient((), DoubleDouble { high: b, low: 0.0 }, count);
        Weights { count, share, spread: quotient((), two_product((), a, b), count) }
    }
}

impl Job for Merge<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.in_lanes::<S::F64>(simd);
    }
}

impl Merge<'_> {
    #[inline(always)]
    fn in_lanes<L: F64Lanes>(self, token: L::Token) {
        let Merge { mut a, b, count_a, count_b } = self;
        let weights = Weights::new(count_a, count_b);
        // With infinities, NaN, or sums that may overflow: feature by feature.
        if !all_merge_plainly(&a.as_moments(), &b, weights.count) {
            return merge_by_feature(weights, &mut a, &b);
        }
        let features = a.features();
        let full = features - features % L::LANES;
        for at in (0..full).step_by(L::LANES) {
            let merged = chan::<L>(token, a.as_moments().load(token, at), b.load(token, at), weights);
            a.store(at, merged);
        }
        for at in full..features {
            let merged = chan::<f64>((), a.as_moments().load((), at), b.load((), at), weights);
            a.store(at, merged);
        }
    }
}

#[inline(always)]
fn all_merge_plainly(a: &MomentSlices<'_>, b: &MomentSlices<'_>, count: f64) -> bool {
    let ([mean_a, _, _, m2_a, _], [mean_b, _, _, m2_b, _]) = (a.0, b.0);
    let mut all = true;
    for (((mean_a, m2_a), mean_b), m2_b) in mean_a.iter().zip(m2_a).zip(mean_b).zip(m2_b) {
        all &= fallback::merges_plainly(*mean_a, *m2_a, *mean_b, *m2_b, count);
    }
    all
}

#[inline(always)]
fn chan<L: F64Lanes>(
    token: L::Token,
    a: FeatureMoments<L>,
    b: FeatureMoments<L>,
    weights: Weights,
) -> FeatureMoments<L> {
    let delta = difference(b.mean, a.mean);
    let step = product(token, delta, splat(token, weights.share));
    let between = product(token, product(token, delta, delta), splat(token, weights.spread));
    // The mean of `a` is the base: nothing is rounded but the step and the lower words.
    let mean = triple(a.mean.high, sum(DoubleDouble { high: a.mean.middle, low: a.mean.low }, step));
    FeatureMoments { mean, m2: sum(sum(a.m2, b.m2), between) }
}

#[inline(always)]
fn splat<L: F64Lanes>(token: L::Token, x: DoubleDouble<f64>) -> DoubleDouble<L> {
    DoubleDouble { high: L::splat(token, x.high), low: L::splat(token, x.low) }
}

#[cold]
#[inline(never)]
fn merge_by_feature(weights: Weights, a: &mut MomentArrays<'_>, b: &MomentSlices<'_>) {
    for at in 0..a.features() {
        let (of_a, of_b) = (a.as_moments().feature(at), b.feature(at));
        a.store(at, fallback::merge(of_a, of_b, weights.count, |a, b| chan((), a, b, weights)));
    }
}
