//! Variances from sums of squared deviations.

use super::double_double::quotient;
use super::{KernelElement, MomentSlices};
use crate::lanes::{F64Lanes, Job, LoadStore, MOST_F64_LANES, Simd};
use crate::spec::DoubleDouble;
use crate::spec::scalar::{VARIANCE_RANGE, variance};
use crate::tuning::VARIANCE_BLOCK;

/// Computes `m2 / degrees_of_freedom` of every feature, rounded once (and once more to `T`).
pub(crate) struct Variances<'a, T> {
    pub(crate) moments: MomentSlices<'a>,
    pub(crate) degrees_of_freedom: f64,
    pub(crate) to: &'a mut [T],
}

impl<T: KernelElement> Job for Variances<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.in_lanes::<T::F64<S>>(simd);
    }
}

impl<T: KernelElement> Variances<'_, T> {
    #[inline(always)]
    fn in_lanes<L: F64Lanes + LoadStore<T>>(self, token: L::Token) {
        let Variances { moments, degrees_of_freedom, to } = self;
        let [.., m2s, _] = moments.0;
        for start in (0..m2s.len()).step_by(VARIANCE_BLOCK) {
            let end = m2s.len().min(start + VARIANCE_BLOCK);
            let mut in_range = (1.0..=VARIANCE_RANGE).contains(&degrees_of_freedom);
            for m2 in &m2s[start..end] {
                in_range &= *m2 <= VARIANCE_RANGE;
            }
            if !in_range {
                for (feature, to) in (start..end).zip(&mut to[start..end]) {
                    *to = T::from_f64(variance(moments.feature(feature).m2, degrees_of_freedom));
                }
                continue;
            }
            let divisor = L::splat(token, degrees_of_freedom);
            let full = end - (end - start) % L::LANES;
            for at in (start..full).step_by(L::LANES) {
                let quotient = quotient(token, moments.load::<L>(token, at).m2, divisor);
                quotient.high.add(quotient.low).store_to(&mut to[at..]);
            }
            if full < end {
                let zero = L::splat(token, 0.0);
                let load = |words: &[f64]| L::load_partial(token, &words[full..end], zero);
                let [.., high, low] = moments.0;
                let quotient = quotient(token, DoubleDouble { high: load(high), low: load(low) }, divisor);
                let mut last = [T::from_f64(0.0); MOST_F64_LANES];
                quotient.high.add(quotient.low).store_to(&mut last);
                to[full..end].copy_from_slice(&last[..end - full]);
            }
        }
    }
}
