//! Sums and products with their exact rounding errors, and arithmetic of double-doubles. No fused multiply-add (see
//! [`lanes`](crate::lanes)).

use crate::lanes::{F64Lanes, Lanes};
use crate::spec::{DoubleDouble, TripleDouble};

/// Returns `a + b` as a rounded sum and its exact error (Knuth 1969).
#[inline(always)]
pub(super) fn two_sum<L: Lanes>(a: L, b: L) -> DoubleDouble<L> {
    let high = a.add(b);
    let b_part = high.sub(a);
    DoubleDouble { high, low: a.sub(high.sub(b_part)).add(b.sub(b_part)) }
}

/// Returns `a - b` as a rounded difference and its exact error: [`two_sum`] with the sign of `b` changed.
#[inline(always)]
pub(super) fn two_difference<L: Lanes>(a: L, b: L) -> DoubleDouble<L> {
    let high = a.sub(b);
    let b_part = a.sub(high);
    DoubleDouble { high, low: a.sub(high.add(b_part)).add(b_part.sub(b)) }
}

/// Returns the same as [`two_sum`], but runs half of the operations on the FMA unit ([`F64Lanes::sub_via_fma`]). In a
/// chain of dependent two-sums the adders are the bottleneck (measured: 1.4 times as fast).
#[inline(always)]
pub(super) fn two_sum_via_fma<L: F64Lanes>(one: L, a: L, b: L) -> DoubleDouble<L> {
    let high = a.add(b);
    let b_part = high.sub(a);
    DoubleDouble { high, low: a.sub_via_fma(one, high.sub_via_fma(one, b_part)).add(b.sub_via_fma(one, b_part)) }
}

/// Returns `a * b` as a rounded product and its error (Dekker 1971), which is exact unless a number leaves the range of
/// f64.
#[inline(always)]
pub(super) fn two_product<L: F64Lanes>(token: L::Token, a: L, b: L) -> DoubleDouble<L> {
    let high = a.mul(b);
    let (a, b) = (split(token, a), split(token, b));
    let error = a.high.mul(b.high).sub(high).add(a.high.mul(b.low)).add(a.low.mul(b.high)).add(a.low.mul(b.low));
    DoubleDouble { high, low: error }
}

/// Returns the sum of two double-doubles.
#[inline(always)]
pub(super) fn sum<L: Lanes>(a: DoubleDouble<L>, b: DoubleDouble<L>) -> DoubleDouble<L> {
    let s = two_sum(a.high, b.high);
    two_sum(s.high, s.low.add(a.low.add(b.low)))
}

/// Returns the product of two double-doubles.
#[inline(always)]
pub(super) fn product<L: F64Lanes>(token: L::Token, a: DoubleDouble<L>, b: DoubleDouble<L>) -> DoubleDouble<L> {
    let p = two_product(token, a.high, b.high);
    two_sum(p.high, p.low.add(a.high.mul(b.low).add(a.low.mul(b.high))))
}

/// Divides a double-double by a number.
#[inline(always)]
pub(super) fn quotient<L: F64Lanes>(token: L::Token, a: DoubleDouble<L>, by: L) -> DoubleDouble<L> {
    let high = a.high.div(by);
    let p = two_product(token, high, by);
    DoubleDouble { high, low: a.high.sub(p.high).sub(p.low).add(a.low).div(by) }
}

/// Splits a number into its upper 26 bits and the rest (Veltkamp 1968).
#[inline(always)]
fn split<L: F64Lanes>(token: L::Token, x: L) -> DoubleDouble<L> {
    let large = x.mul(L::splat(token, 134_217_729.0)); // 2^27 + 1
    let high = large.sub(large.sub(x));
    DoubleDouble { high, low: x.sub(high) }
}

/// Returns the sum of a number and a double-double, exactly.
#[inline(always)]
pub(super) fn triple<L: Lanes>(base: L, offset: DoubleDouble<L>) -> TripleDouble<L> {
    let s = two_sum(base, offset.high);
    let t = two_sum(s.low, offset.low);
    let high = two_sum(s.high, t.high);
    let middle = two_sum(high.low, t.low);
    TripleDouble { high: high.high, middle: middle.high, low: middle.low }
}

/// Returns `a - b`. The error is at most `20 u^3` of the larger one and `5 u^2` of the difference.
#[inline(always)]
pub(super) fn difference<L: Lanes>(a: TripleDouble<L>, b: TripleDouble<L>) -> DoubleDouble<L> {
    let s = sum(two_difference(a.high, b.high), two_difference(a.middle, b.middle));
    two_sum(s.high, s.low.add(a.low.sub(b.low)))
}
