//! Steps 1, 4 and 5 of [`spec::order`](crate::spec::order): the shift from the sums of a sample, and moments from sums
//! about a shift.

use super::accumulator::Accumulator;
use crate::kernels::KernelElement;
use crate::kernels::double_double::{triple, two_difference, two_product, two_sum};
use crate::lanes::{F64Lanes, LoadStore, MOST_F64_LANES};
use crate::spec::order::{TINY_SQUARES, ZERO_SHIFT};
use crate::spec::{DoubleDouble, FeatureMoments, TripleDouble};

/// Step 1: computes the shift of one feature per lane from the sums of a sample.
#[inline(always)]
pub(super) fn shift<T: KernelElement, L: F64Lanes + LoadStore<T>>(
    token: L::Token,
    [sums, squares]: [Accumulator<L>; 2],
    count: f64,
) -> L {
    let zero = L::splat(token, 0.0);
    let mut rounded = [T::from_f64(0.0); MOST_F64_LANES];
    sums.sum.mul(L::splat(token, 1.0 / count)).store_to(&mut rounded);
    let shift = L::load_from(token, &rounded);
    // Finite numbers alone are 0 if they are subtracted from themselves.
    let shift = shift.sub(shift).select_le(zero, shift, zero);
    if !T::SQUARES_EXACT {
        return shift;
    }
    // The condition of `zero_shift`.
    let mean = L::splat(token, ZERO_SHIFT).mul(sums.sum.mul(sums.sum));
    mean.select_le(squares.sum.mul(L::splat(token, count)), zero, shift)
}

/// Step 4: computes the moments of one feature per lane from the sums of its deviations and of their squares.
#[inline(always)]
pub(super) fn finalize<T: KernelElement, L: F64Lanes>(
    token: L::Token,
    count: f64,
    shift: L,
    [deviations, squares]: [Accumulator<L>; 2],
) -> FeatureMoments<L> {
    let count = L::splat(token, count);
    let offset = deviations.sum.div(count);
    if !T::COMPENSATED {
        let (mean, zero) = (two_sum(shift, offset), L::splat(token, 0.0));
        let mean = TripleDouble { high: mean.high, middle: mean.low, low: zero };
        let m2 = squares.sum.sub(deviations.sum.mul(offset));
        return FeatureMoments { mean, m2: DoubleDouble { high: m2, low: zero } };
    }
    // `remainder = sum + compensation - count * offset`: the remainder of the division, including the compensation
    // term.
    let product = two_product(token, count, offset);
    let remainder = deviations.sum.sub(product.high).sub(product.low).add(deviations.compensation);
    let mean = triple(shift, DoubleDouble { high: offset, low: remainder.div(count) });
    // The squares about `shift + offset`, whose distance from the mean enters only squared:
    // `squares - 2 * offset * (sum + compensation) + count * offset^2
    // = squares - offset * sum - offset * (remainder + compensation)`.
    let product = two_product(token, deviations.sum, offset);
    let m2 = two_difference(squares.sum, product.high);
    let correction = squares.compensation.sub(product.low).sub(offset.mul(remainder.add(deviations.compensation)));
    FeatureMoments { mean, m2: two_sum(m2.high, m2.low.add(correction)) }
}

/// Step 5: returns m2, or NaN if it is rejected and must be recomputed. `squares` is the sum of squares from which it
/// was computed. (What is accepted is not negative.)
#[inline(always)]
pub(super) fn m2_or_nan<T: KernelElement, L: F64Lanes>(token: L::Token, m2: L, squares: L) -> L {
    let (zero, nan) = (L::splat(token, 0.0), L::splat(token, f64::NAN));
    let conditioned = squares.select_le(m2.mul(L::splat(token, T::MAX_CONDITION)), m2, nan);
    let finite = conditioned.sub(conditioned).select_le(zero, conditioned, nan);
    let of_zero = squares.select_le(zero, finite, nan);
    L::splat(token, TINY_SQUARES).select_le(squares, finite, of_zero)
}
