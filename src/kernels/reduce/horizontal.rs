//! Step 3 of [`spec::order`](crate::spec::order), the horizontal reduction: reduces the accumulators of each feature to
//! one.

use super::accumulator::Accumulator;

/// Accumulators in memory, in the order `[interleave][features][inner]`. `compensation` is empty if the sums are not
/// compensated.
pub(super) struct Columns<'a> {
    pub(super) sum: &'a mut [f64],
    pub(super) compensation: &'a mut [f64],
}

impl Columns<'_> {
    /// Reduces in halves, first over `interleave` (a power of two), then over `inner` (any number, so the upper half
    /// may be shorter). Leaves one accumulator per feature at the start.
    #[inline(always)]
    pub(super) fn reduce(&mut self, interleave: usize, features: usize, inner: usize) {
        let width = features * inner;
        let mut half = interleave / 2;
        while half > 0 {
            self.add(0, half * width, half * width);
            half /= 2;
        }
        if inner == 1 {
            return;
        }
        for feature in 0..features {
            let mut len = inner;
            while len > 1 {
                let half = len.next_power_of_two() / 2;
                self.add(feature * inner, feature * inner + half, len - half);
                len = half;
            }
            self.sum[feature] = self.sum[feature * inner];
            if !self.compensation.is_empty() {
                self.compensation[feature] = self.compensation[feature * inner];
            }
        }
    }

    /// Adds the `len` accumulators that start at `upper` to those that start at `lower` and lie before them.
    #[inline(always)]
    fn add(&mut self, lower: usize, upper: usize, len: usize) {
        let (low, high) = self.sum.split_at_mut(upper);
        let (low, high) = (&mut low[lower..][..len], &high[..len]);
        if self.compensation.is_empty() {
            for (a, b) in low.iter_mut().zip(high) {
                *a += b;
            }
            return;
        }
        let (low_terms, high_terms) = self.compensation.split_at_mut(upper);
        let terms = low_terms[lower..][..len].iter_mut().zip(&high_terms[..len]);
        for ((a, b), (a_term, b_term)) in low.iter_mut().zip(high).zip(terms) {
            let mut sum = Accumulator { sum: *a, compensation: *a_term };
            sum.join(&Accumulator { sum: *b, compensation: *b_term }, true);
            (*a, *a_term) = (sum.sum, sum.compensation);
        }
    }
}
