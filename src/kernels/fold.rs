//! Step 3 of the canonical order: the streams of each feature become one.

use super::pair::two_sum;

/// Sums laid out as `[side][features][inner]`, and (for f64 values) what each lost to rounding.
pub(super) struct Streams<'a> {
    pub(super) sum: &'a mut [f64],
    pub(super) lost: Option<&'a mut [f64]>,
}

impl Streams<'_> {
    /// Folds in halves, first over `side` (a power of two), then over `inner` (any number: the upper half may be
    /// shorter), and leaves one sum per feature at the start.
    #[inline(always)]
    pub(super) fn fold(&mut self, side: usize, features: usize, inner: usize) {
        let width = features * inner;
        let mut half = side / 2;
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
            if let Some(lost) = &mut self.lost {
                lost[feature] = lost[feature * inner];
            }
        }
    }

    /// Adds `len` streams from `from` on to those from `to` on, which lie before them.
    #[inline(always)]
    fn add(&mut self, to: usize, from: usize, len: usize) {
        let (low, high) = self.sum.split_at_mut(from);
        let (low, high) = (&mut low[to..][..len], &high[..len]);
        let Some(lost) = &mut self.lost else {
            for (a, b) in low.iter_mut().zip(high) {
                *a += b;
            }
            return;
        };
        let (lost_low, lost_high) = lost.split_at_mut(from);
        let lost = lost_low[to..][..len].iter_mut().zip(&lost_high[..len]);
        for ((a, b), (lost_a, lost_b)) in low.iter_mut().zip(high).zip(lost) {
            let (sum, error) = two_sum(*a, *b);
            *a = sum;
            *lost_a += lost_b + error;
        }
    }
}
