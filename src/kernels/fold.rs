//! Step 3 of the canonical order: the streams of each feature become one.

/// Folds sums laid out as `[side][features][inner]` in halves, first over `side` (a power of two), then over `inner`,
/// and leaves one value per feature at the start.
#[inline(always)]
pub(crate) fn fold(sums: &mut [f64], side: usize, features: usize, inner: usize) {
    let width = features * inner;
    let mut half = side / 2;
    while half > 0 {
        let (low, high) = sums.split_at_mut(half * width);
        for (a, b) in low.iter_mut().zip(&high[..half * width]) {
            *a += *b;
        }
        half /= 2;
    }
    if inner > 1 {
        for feature in 0..features {
            sums[feature] = fold_inner(&mut sums[feature * inner..][..inner]);
        }
    }
}

/// The same in halves, for any length: the upper half may be shorter.
#[inline(always)]
fn fold_inner(sums: &mut [f64]) -> f64 {
    let mut len = sums.len();
    while len > 1 {
        let half = len.next_power_of_two() / 2;
        for i in half..len {
            sums[i - half] += sums[i];
        }
        len = half;
    }
    sums[0]
}
