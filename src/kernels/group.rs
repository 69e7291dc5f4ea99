//! Step 2 of [`crate::order`] in lanes: eight deviations of each stream become one, or join a total one by one.

use super::pair::two_sum_beside;
use crate::lanes::Lanes;
use crate::order::GROUP_ROWS;

/// Bytes that a prefetch brings.
pub(super) const CACHE_LINE: usize = 64;

/// What additions need.
#[derive(Clone, Copy)]
pub(super) struct Pass<L: Lanes> {
    pub(super) token: L::Token,
    /// 1 in each lane; see [`Lanes::sub_beside`].
    pub(super) one: L,
}

impl<L: Lanes> Pass<L> {
    #[inline(always)]
    pub(super) fn new(token: L::Token) -> Self {
        Pass { token, one: L::splat(token, std::hint::black_box(1.0)) }
    }

    #[inline(always)]
    pub(super) fn zero(&self) -> L {
        L::splat(self.token, 0.0)
    }

    /// A total and what it has lost to rounding, with the values of up to eight rows. (Zeros, for the others, would change
    /// nothing: totals begin as 0 and never become -0, and what an infinite one has lost is NaN already.)
    #[inline(always)]
    pub(super) fn add_compensated(&self, (mut sum, mut lost): (L, L), rows: &[L]) -> (L, L) {
        for x in rows {
            let (next, error) = two_sum_beside(self.one, sum, *x);
            (sum, lost) = (next, lost.add(error));
        }
        (sum, lost)
    }

    /// The same with the squares of the values, which are not rounded: the exact square of the upper half joins the sum,
    /// the small rest (right to 2^-76 of the square) what is lost.
    #[inline(always)]
    pub(super) fn add_squares(&self, (mut sum, mut lost): (L, L), rows: &[L]) -> (L, L) {
        for d in rows {
            let high = d.upper_half();
            let rest = d.sub(high).mul(d.add(high));
            let (next, error) = two_sum_beside(self.one, sum, high.mul(high));
            (sum, lost) = (next, lost.add(rest.add(error)));
        }
        (sum, lost)
    }
}

#[inline(always)]
pub(super) fn pairwise<L: Lanes>([a, b, c, d, e, f, g, h]: [L; GROUP_ROWS]) -> L {
    let low = a.add(b).add(c.add(d));
    let high = e.add(f).add(g.add(h));
    low.add(high)
}

#[inline(always)]
pub(super) fn squares<L: Lanes>(mut eight: [L; GROUP_ROWS]) -> [L; GROUP_ROWS] {
    for d in &mut eight {
        *d = d.mul(*d);
    }
    eight
}

/// [`pairwise`] of [`squares`] that are exact.
#[inline(always)]
pub(super) fn pairwise_squares<L: Lanes>([a, b, c, d, e, f, g, h]: [L; GROUP_ROWS]) -> L {
    let low = a.mul(a).add_exact_square(b).add(c.mul(c).add_exact_square(d));
    let high = e.mul(e).add_exact_square(f).add(g.mul(g).add_exact_square(h));
    low.add(high)
}
