//! Variances from sums of squared deviations.

use super::double_double::quotient;
use super::{KernelElement, MomentSlices};
use crate::lanes::{F64Lanes, Job, LoadStore, Simd};
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
            let full = if in_range { end - (end - start) % L::LANES } else { start };
            for at in (start..full).step_by(L::LANES) {
                let m2 = moments.load::<L>(token, at).m2;
                let quotient = quotient(token, m2, L::splat(token, degrees_of_freedom));
                quotient.high.add(quotient.low).store_to(&mut to[at..]);
            }
            for (feature, to) in (full..end).zip(&mut to[full..end]) {
                *to = T::from_f64(variance(moments.feature(feature).m2, degrees_of_freedom));
            }
        }
    }
}
