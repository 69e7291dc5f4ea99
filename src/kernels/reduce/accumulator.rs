//! Step 2 of [`spec::order`](crate::spec::order) in lanes: adds the eight values of a group to an accumulator.

use crate::kernels::double_double::{two_sum, two_sum_via_fma};
use crate::lanes::F64Lanes;
use crate::spec::DoubleDouble;
use crate::spec::order::GROUP_ROWS;

/// What lane operations need in addition to their operands.
#[derive(Clone, Copy)]
pub(super) struct LaneContext<L: F64Lanes> {
    pub(super) token: L::Token,
    /// 1 in each lane; see [`F64Lanes::sub_via_fma`].
    pub(super) one: L,
}

impl<L: F64Lanes> LaneContext<L> {
    #[inline(always)]
    pub(super) fn new(token: L::Token) -> Self {
        LaneContext { token, one: L::splat(token, core::hint::black_box(1.0)) }
    }

    #[inline(always)]
    pub(super) fn zero(&self) -> L {
        L::splat(self.token, 0.0)
    }
}

/// A partial sum and its compensation term, the sum of its rounding errors (0 if the sum is not compensated).
#[derive(Clone, Copy, Debug)]
pub(super) struct Accumulator<L> {
    pub(super) sum: L,
    pub(super) compensation: L,
}

impl<L: F64Lanes> Accumulator<L> {
    #[inline(always)]
    pub(super) fn zero(ctx: LaneContext<L>) -> Self {
        Accumulator { sum: ctx.zero(), compensation: ctx.zero() }
    }

    /// Adds the values of the first `rows` rows of a group, summed pairwise. (The others are 0 and change nothing: sums
    /// start at 0 and never become -0.)
    #[inline(always)]
    pub(super) fn add_pairwise(&mut self, values: [L; GROUP_ROWS], rows: usize) {
        let [a, b, c, d, ..] = values;
        self.sum = self.sum.add(match rows {
            0 | 1 => a,
            2 => a.add(b),
            3 | 4 => a.add(b).add(c.add(d)),
            _ => pairwise(values),
        });
    }

    /// Adds the squares of the values of a group like [`Accumulator::add_pairwise`].
    #[inline(always)]
    pub(super) fn add_squares(&mut self, mut values: [L; GROUP_ROWS], rows: usize) {
        for x in &mut values {
            *x = x.mul(*x);
        }
        self.add_pairwise(values, rows);
    }

    /// Adds squares like [`Accumulator::add_squares`], for values whose squares are exact.
    #[inline(always)]
    pub(super) fn add_exact_squares(&mut self, [a, b, c, d, e, f, g, h]: [L; GROUP_ROWS], rows: usize) {
        self.sum = self.sum.add(match rows {
            0 | 1 => a.mul(a),
            2 => exact_squares(a, b),
            3 | 4 => exact_squares(a, b).add(exact_squares(c, d)),
            _ => {
                let low = exact_squares(a, b).add(exact_squares(c, d));
                low.add(exact_squares(e, f).add(exact_squares(g, h)))
            }
        });
    }

    /// Adds the values of up to eight rows one by one, compensated. (Zeros for missing rows would change nothing: sums
    /// start at 0 and never become -0, and the compensation term of an infinite sum is already NaN.)
    #[inline(always)]
    pub(super) fn add_compensated(&mut self, ctx: LaneContext<L>, values: &[L]) {
        for x in values {
            let next = two_sum_via_fma(ctx.one, self.sum, *x);
            self.sum = next.high;
            self.compensation = self.compensation.add(next.low);
        }
    }

    /// Adds the squares of the values one by one, compensated, without rounding the squares: the exact square of the
    /// upper half is added to the sum, and the small remainder (accurate to 2^-76 of the square) to the compensation
    /// term.
    #[inline(always)]
    pub(super) fn add_squares_compensated(&mut self, ctx: LaneContext<L>, values: &[L]) {
        for d in values {
            let upper = d.upper_half();
            let remainder = d.sub(upper).mul(d.add(upper));
            let next = two_sum_via_fma(ctx.one, self.sum, upper.mul(upper));
            self.sum = next.high;
            self.compensation = self.compensation.add(remainder.add(next.low));
        }
    }

    /// Adds products one by one, compensated, without rounding them: the exact product of the upper halves is added to
    /// the sum, and the small remainder (accurate to 2^-76 of the product) to the compensation term.
    #[inline(always)]
    pub(super) fn add_products_compensated(&mut self, ctx: LaneContext<L>, a: &[L], b: &[L]) {
        for i in 0..a.len().min(b.len()) {
            let (a, b) = (a[i], b[i]);
            let (a_upper, b_upper) = (a.upper_half(), b.upper_half());
            let remainder = a_upper.mul(b.sub(b_upper)).add(a.sub(a_upper).mul(b));
            let next = two_sum_via_fma(ctx.one, self.sum, a_upper.mul(b_upper));
            self.sum = next.high;
            self.compensation = self.compensation.add(remainder.add(next.low));
        }
    }

    /// Adds another accumulator.
    #[inline(always)]
    pub(super) fn join(&mut self, other: &Self, compensated: bool) {
        let DoubleDouble { high, low } = two_sum(self.sum, other.sum);
        self.sum = high;
        if compensated {
            self.compensation = self.compensation.add(other.compensation.add(low));
        }
    }
}

#[inline(always)]
fn pairwise<L: F64Lanes>([a, b, c, d, e, f, g, h]: [L; GROUP_ROWS]) -> L {
    let low = a.add(b).add(c.add(d));
    let high = e.add(f).add(g.add(h));
    low.add(high)
}

#[inline(always)]
fn exact_squares<L: F64Lanes>(a: L, b: L) -> L {
    a.mul(a).add_exact_square(b)
}
