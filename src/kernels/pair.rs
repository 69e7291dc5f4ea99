//! Sums and products with their rounding errors: exact, as unevaluated pairs. No fused multiply-add (see
//! [`crate::lanes`]).

use crate::lanes::Lanes;

/// `a + b` as a rounded sum and its exact error (Knuth 1969).
#[inline(always)]
pub(super) fn two_sum<L: Lanes>(a: L, b: L) -> (L, L) {
    let sum = a.add(b);
    let b_part = sum.sub(a);
    (sum, a.sub(sum.sub(b_part)).add(b.sub(b_part)))
}

/// `a - b` as a rounded difference and its exact error: [`two_sum`] with the other sign.
#[inline(always)]
pub(super) fn two_difference<L: Lanes>(a: L, b: L) -> (L, L) {
    let difference = a.sub(b);
    let b_part = a.sub(difference);
    (difference, a.sub(difference.add(b_part)).add(b_part.sub(b)))
}

/// [`two_sum`], half of it on the multiply-add unit ([`Lanes::sub_beside`]): where one is computed after the other, the
/// adders are the bound (measured: 1.4 times as fast).
#[inline(always)]
pub(super) fn two_sum_beside<L: Lanes>(one: L, a: L, b: L) -> (L, L) {
    let sum = a.add(b);
    let b_part = sum.sub(a);
    (sum, a.sub_beside(one, sum.sub_beside(one, b_part)).add(b.sub_beside(one, b_part)))
}

/// `a * b` as a rounded product and its error (Dekker 1971): exact while nothing leaves the range of an f64.
#[inline(always)]
pub(super) fn two_product<L: Lanes>(token: L::Token, a: L, b: L) -> (L, L) {
    let product = a.mul(b);
    let (a, a_low) = split(token, a);
    let (b, b_low) = split(token, b);
    let error = a.mul(b).sub(product).add(a.mul(b_low)).add(a_low.mul(b)).add(a_low.mul(b_low));
    (product, error)
}

/// A pair divided by a number.
#[inline(always)]
pub(super) fn quotient<L: Lanes>(token: L::Token, (high, low): (L, L), by: L) -> (L, L) {
    let quotient = high.div(by);
    let (product, error) = two_product(token, quotient, by);
    (quotient, high.sub(product).sub(error).add(low).div(by))
}

/// The upper 26 bits and the rest (Veltkamp 1968).
#[inline(always)]
fn split<L: Lanes>(token: L::Token, x: L) -> (L, L) {
    let large = x.mul(L::splat(token, 134_217_729.0)); // 2^27 + 1
    let high = large.sub(large.sub(x));
    (high, x.sub(high))
}
