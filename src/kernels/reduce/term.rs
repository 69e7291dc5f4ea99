//! What is summed. A term defines what the values of a group add to which sums; everything else in a reduction is the
//! same for all terms.

use core::marker::PhantomData;

use super::accumulator::{Accumulator, LaneContext};
use crate::kernels::KernelElement;
use crate::lanes::F64Lanes;
use crate::spec::order::GROUP_ROWS;

/// A term of `SUMS` sums over `INPUTS` batches of the same layout, with one parameter per feature: its shift.
pub(super) trait Term<const INPUTS: usize, const SUMS: usize> {
    /// Whether accumulators keep a compensation term.
    const COMPENSATED: bool;

    /// How many of the sums the term adds to; the others stay 0.
    const ADDS_TO: usize = SUMS;

    /// A term that computes the same sums if the shift is 0. Used if [`Term::UNSHIFTED_IS_CHEAPER`]; otherwise it is
    /// the term itself.
    type Unshifted: Term<INPUTS, SUMS>;
    /// Whether to use [`Term::Unshifted`] if the shift is 0.
    const UNSHIFTED_IS_CHEAPER: bool;

    /// Returns values that contribute nothing. They replace missing values at the edges.
    fn neutral<L: F64Lanes>(ctx: LaneContext<L>, shift: L) -> [L; INPUTS];

    /// Adds one group of each input. Only the first `rows` of its eight rows hold values; the others hold neutral
    /// values.
    fn add<L: F64Lanes>(
        ctx: LaneContext<L>,
        inputs: [[L; GROUP_ROWS]; INPUTS],
        shift: L,
        rows: usize,
        sums: &mut [Accumulator<L>; SUMS],
    );
}

/// `d = x - shift` and `d * d`: the sums from which moments are computed.
pub(super) struct Shifted<T>(PhantomData<T>);

/// `x` and, if squares are exact, `x * x`, never compensated: the sums of a sample, and the sums of a chunk if the
/// shift is 0.
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
            deviations.add_pairwise(d, rows);
            squares.add_squares(d, rows);
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
        rows: usize,
        [sum, squares]: &mut [Accumulator<L>; 2],
    ) {
        sum.add_pairwise(x, rows);
        if T::SQUARES_EXACT {
            squares.add_exact_squares(x, rows);
        }
    }
}

/// `dy` and `dy * (x - mean)`, over the inputs `dy` and `x`, with the mean as the shift: the sums of a backward pass.
pub(super) struct Gradients<T>(PhantomData<T>);

/// The same sums where a ReLU followed, whose output `y` is the third input: `dy` counts as 0 where `y <= 0`.
pub(super) struct GradientsThroughRelu<T>(PhantomData<T>);

impl<T: KernelElement> Term<2, 2> for Gradients<T> {
    const COMPENSATED: bool = T::COMPENSATED;
    type Unshifted = Self;
    const UNSHIFTED_IS_CHEAPER: bool = false;

    #[inline(always)]
    fn neutral<L: F64Lanes>(ctx: LaneContext<L>, shift: L) -> [L; 2] {
        [ctx.zero(), shift]
    }

    #[inline(always)]
    fn add<L: F64Lanes>(
        ctx: LaneContext<L>,
        [dy, mut x]: [[L; GROUP_ROWS]; 2],
        shift: L,
        rows: usize,
        [of_dy, products]: &mut [Accumulator<L>; 2],
    ) {
        for x in &mut x {
            *x = x.sub_via_fma(ctx.one, shift);
        }
        if T::COMPENSATED {
            of_dy.add_compensated(ctx, &dy[..rows]);
            products.add_products_compensated(ctx, &x[..rows], &dy[..rows]);
        } else {
            for row in 0..GROUP_ROWS {
                x[row] = x[row].mul(dy[row]);
            }
            of_dy.add_pairwise(dy, rows);
            products.add_pairwise(x, rows);
        }
    }
}

impl<T: KernelElement> Term<3, 2> for GradientsThroughRelu<T> {
    const COMPENSATED: bool = T::COMPENSATED;
    type Unshifted = Self;
    const UNSHIFTED_IS_CHEAPER: bool = false;

    #[inline(always)]
    fn neutral<L: F64Lanes>(ctx: LaneContext<L>, shift: L) -> [L; 3] {
        [ctx.zero(), shift, ctx.zero()]
    }

    #[inline(always)]
    fn add<L: F64Lanes>(
        ctx: LaneContext<L>,
        [mut dy, x, y]: [[L; GROUP_ROWS]; 3],
        shift: L,
        rows: usize,
        sums: &mut [Accumulator<L>; 2],
    ) {
        for row in 0..GROUP_ROWS {
            dy[row] = dy[row].zero_where_le_zero(y[row]);
        }
        Gradients::<T>::add(ctx, [dy, x], shift, rows, sums);
    }
}
