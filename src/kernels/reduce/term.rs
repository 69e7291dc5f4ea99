//! What is summed. A term says what the values of a group contribute to which sums; everything else about a reduction is
//! the same for all terms.

use std::marker::PhantomData;

use super::accumulator::{Accumulator, LaneContext};
use crate::kernels::KernelElement;
use crate::lanes::F64Lanes;
use crate::spec::order::GROUP_ROWS;

/// A term of `SUMS` sums over `INPUTS` batches of the same layout, with one parameter per feature: its shift.
pub(super) trait Term<const INPUTS: usize, const SUMS: usize> {
    /// Whether accumulators keep a compensation term.
    const COMPENSATED: bool;

    /// How many of the sums the term adds to: the others stay 0.
    const ADDS_TO: usize = SUMS;

    /// The same sums where the shift is 0, if [`Term::UNSHIFTED_IS_CHEAPER`]; else the term itself.
    type Unshifted: Term<INPUTS, SUMS>;
    /// Whether to look for shifts of 0.
    const UNSHIFTED_IS_CHEAPER: bool;

    /// Values that contribute nothing: they stand for those that are missing at the edges.
    fn neutral<L: F64Lanes>(ctx: LaneContext<L>, shift: L) -> [L; INPUTS];

    /// Adds a group of each input. Only the first `rows` of the eight hold values, then neutral ones follow.
    fn add<L: F64Lanes>(
        ctx: LaneContext<L>,
        inputs: [[L; GROUP_ROWS]; INPUTS],
        shift: L,
        rows: usize,
        sums: &mut [Accumulator<L>; SUMS],
    );
}

/// `d = x - shift` and `d * d`: the shifted sums that moments come of.
pub(super) struct Shifted<T>(PhantomData<T>);

/// `x` and, where that is exact, `x * x`; never compensated: sums of a sample, and shifted sums where the shift is 0.
pub(super) struct Unshifted<T>(PhantomData<T>);

impl<T: KernelElement> Term<1, 2> for Shifted<T> {
    const COMPENSATED: bool = T::COMPENSATED;
    type Unshifted = Unshifted<T>;
    const UNSHIFTED_IS_CHEAPER: bool = T::SQUARES_EXACT;

    #[inline(always)]
    fn neutral<L: F64Lanes>(_: LaneContext<L>, shift: L) -> [L; 1] {
        [shift]
    }

    #[inline(always)]
    fn add<L: F64Lanes>(
        ctx: LaneContext<L>,
        [mut d]: [[L; GROUP_ROWS]; 1],
        shift: L,
        rows: usize,
        [deviations, squares]: &mut [Accumulator<L>; 2],
    ) {
        for x in &mut d {
            *x = x.sub_via_fma(ctx.one, shift);
        }
        if T::COMPENSATED {
            deviations.add_compensated(ctx, &d[..rows]);
            squares.add_squares_compensated(ctx, &d[..rows]);
        } else {
            deviations.add_pairwise(d);
            squares.add_squares(d);
        }
    }
}

impl<T: KernelElement> Term<1, 2> for Unshifted<T> {
    const COMPENSATED: bool = false;
    const ADDS_TO: usize = if T::SQUARES_EXACT { 2 } else { 1 };
    type Unshifted = Self;
    const UNSHIFTED_IS_CHEAPER: bool = false;

    #[inline(always)]
    fn neutral<L: F64Lanes>(ctx: LaneContext<L>, _: L) -> [L; 1] {
        [ctx.zero()]
    }

    #[inline(always)]
    fn add<L: F64Lanes>(
        _: LaneContext<L>,
        [x]: [[L; GROUP_ROWS]; 1],
        _: L,
        _: usize,
        [sum, squares]: &mut [Accumulator<L>; 2],
    ) {
        sum.add_pairwise(x);
        if T::SQUARES_EXACT {
            squares.add_exact_squares(x);
        }
    }
}
