//! Steps 4 and 5 of [`crate::order`]: from sums about a pivot to the moments of a chunk.

use super::PartialMut;
use super::pair::{two_difference, two_product, two_sum};
use crate::element::Element;
use crate::lanes::Lanes;
use crate::order::{TINY_SQUARES, zero_pivot};

/// Where the pivots come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pivots {
    /// Step 1.
    OfSample,
    /// Step 5: `out.mean` holds them.
    Given,
}

/// Folded sums about a pivot, of as many features as there are lanes, and what each has lost to rounding (for f64 values).
pub(super) struct About<L> {
    pub(super) pivot: L,
    /// Of the deviations.
    pub(super) first: [L; 2],
    /// Of their squares.
    pub(super) second: [L; 2],
}

impl<L: Lanes> About<L> {
    /// Step 4. Writes to the start of `out`.
    #[inline(always)]
    pub(super) fn finish<T: Element>(self, token: L::Token, count: f64, out: PartialMut<'_>) {
        let ([sum, sum_lost], [squares, squares_lost]) = (self.first, self.second);
        let count = L::splat(token, count);
        let offset = sum.div(count);
        let (mean, rest) = two_sum(self.pivot, offset);
        if !T::COMPENSATED {
            mean.store(out.mean);
            rest.store(out.rest);
            squares.sub(sum.mul(offset)).store(out.m2);
            L::splat(token, 0.0).store(out.m2_rest);
            return;
        }
        // `left = sum + lost - count * offset`: what the division and the sum had dropped.
        let (product, error) = two_product(token, count, offset);
        let left = sum.sub(product).sub(error).add(sum_lost);
        // What the sum had lost may be more than the mean's last place.
        let (mean, rest) = two_sum(mean, rest.add(left.div(count)));
        mean.store(out.mean);
        rest.store(out.rest);
        // The squares about `pivot + offset`, which is the mean but for an error that counts squared:
        // `squares - 2 * offset * (sum + lost) + count * offset^2 = squares - offset * sum - offset * (left + lost)`.
        let (product, error) = two_product(token, sum, offset);
        let (m2, m2_rest) = two_difference(squares, product);
        let lost = squares_lost.sub(error).sub(offset.mul(left.add(sum_lost)));
        let (m2, m2_rest) = two_sum(m2, m2_rest.add(lost));
        m2.store(out.m2);
        m2_rest.store(out.m2_rest);
    }
}

/// Step 5: m2, or NaN where it has to be computed again, from it and from the sum of squares that it came of.
#[inline(always)]
pub(super) fn checked<T: Element>(m2: f64, squares: f64) -> f64 {
    let conditioned = squares <= T::MAX_CONDITION * m2 && (squares >= TINY_SQUARES || squares == 0.0);
    if m2.is_finite() && conditioned { m2.max(0.0) } else { f64::NAN }
}

/// Step 1: the pivot from the sums of a sample.
#[inline(always)]
pub(super) fn pivot<T: Element>(sum: f64, squares: f64, count: f64) -> f64 {
    if T::SQUARES_EXACT && zero_pivot(sum, squares, count) {
        return 0.0;
    }
    let pivot = T::from_f64(sum * (1.0 / count)).to_f64();
    if pivot.is_finite() { pivot } else { 0.0 }
}

/// Whether deviations from a pivot are the values themselves, and their squares exact.
#[inline(always)]
pub(super) fn is_zero<T: Element>(pivot: f64) -> bool {
    T::SQUARES_EXACT && pivot == 0.0
}
