//! The scalar path: the algorithm in plain code, one feature at a time, written to explain it.
//!
//! Read this to see what is computed; the kernels show how it is made fast. They share the definition of the order
//! ([`spec::order`](crate::spec::order): which outer blocks form a chunk), the fallback
//! ([`spec::fallback`](crate::spec::fallback)) and, for single features, [`variance`]. They share no other arithmetic,
//! so that comparing their results is a meaningful test.

use super::double_double::{difference, product, quotient, sum, triple, two_product, two_sum};
use super::grid::{Accumulator, Grid};
use super::order::{ChunkRange, Order, Span, TINY_SQUARES, zero_shift};
use super::{DoubleDouble, ElementRules, FeatureMoments, TripleDouble, fallback, power_of_two};
use crate::element::SingleElement;
use crate::{Batch, Element, Layout};

/// Returns mean and m2 of a feature. The batch must have values.
pub(crate) fn moments<T: ElementRules>(order: &Order, x: Batch<'_, T>, feature: usize) -> FeatureMoments<f64> {
    tree(order, x, feature, &order.root()).moments
}

/// If m2 and the degrees of freedom are at most this, and the degrees of freedom at least 1, nothing that [`variance`]
/// computes can overflow: its largest intermediate result is 2^27 times as large.
pub(crate) const VARIANCE_RANGE: f64 = 1e270;

/// Returns `m2 / degrees_of_freedom`, rounded once: the low word of m2 and the remainder of the quotient are included.
pub(crate) fn variance(m2: DoubleDouble<f64>, degrees_of_freedom: f64) -> f64 {
    // Scale by a power of two if splitting numbers into halves might overflow.
    let scale = if m2.high > VARIANCE_RANGE { power_of_two(-128) } else { 1.0 };
    let quotient = quotient(DoubleDouble { high: m2.high * scale, low: m2.low * scale }, degrees_of_freedom);
    let variance = quotient.high + quotient.low;
    // Degrees of freedom that are not a number of values (with a huge negative `ddof`) may overflow when they are
    // split; the high word alone is then the result.
    (if variance.is_finite() { variance } else { quotient.high }) / scale
}

/// Computes `y = (x - mean) * scale + bias` for every value. `parameters` returns mean, scale and bias of a feature, in
/// this order. Without `x`, the input is `y` itself, in place.
pub(crate) fn normalize<T: Element>(
    layout: Layout,
    parameters: impl Fn(usize) -> [f64; 3],
    x: Option<&[T]>,
    y: &mut [T],
) {
    for at in 0..y.len() {
        let [mean, scale, bias] = parameters(at / layout.inner() % layout.features());
        let deviation = x.map_or(y[at], |x| x[at]).to_f64() - mean;
        y[at] = T::from_f64(deviation * scale + bias);
    }
}

/// Computes `y = ((x - mean) - mean_low) * scale + bias` for every value in f32: each operation is rounded once, to
/// f32. The mean is a pair of f32. `parameters` returns the high and the low word of the mean, the scale and the bias
/// of a feature. Without `x`, the input is `y` itself, in place.
pub(crate) fn normalize_single<T: SingleElement>(
    layout: Layout,
    parameters: impl Fn(usize) -> [f32; 4],
    x: Option<&[T]>,
    y: &mut [T],
) {
    for at in 0..y.len() {
        let [mean, mean_low, scale, bias] = parameters(at / layout.inner() % layout.features());
        let deviation = (x.map_or(y[at], |x| x[at]).to_f32() - mean) - mean_low;
        y[at] = T::from_f32(deviation * scale + bias);
    }
}

/// The moments of one or more chunks of a feature, with their count.
struct Part {
    count: usize,
    moments: FeatureMoments<f64>,
}

/// Merges the chunks below a node in a binary tree: rounding errors grow with its depth only, and threads can share the
/// work.
fn tree<T: ElementRules>(order: &Order, x: Batch<'_, T>, feature: usize, span: &Span) -> Part {
    match span.split() {
        Some((left, right)) => merge(&tree(order, x, feature, &left), &tree(order, x, feature, &right)),
        None => chunk(order, x, feature, &order.range(span)),
    }
}

fn merge(a: &Part, b: &Part) -> Part {
    let moments = merge_moments((a.count as f64, a.moments), (b.count as f64, b.moments));
    Part { count: a.count + b.count, moments }
}

/// Merges moments, given with their counts, by Chan's formula. The mean of `a` is the base to which a step is added, so
/// that nothing is rounded but the step and the lower words.
pub(crate) fn merge_moments(
    (count_a, a): (f64, FeatureMoments<f64>),
    (count_b, b): (f64, FeatureMoments<f64>),
) -> FeatureMoments<f64> {
    let count = count_a + count_b;
    let chan = |a: FeatureMoments<f64>, b: FeatureMoments<f64>| {
        let delta = difference(b.mean, a.mean);
        let share = quotient(DoubleDouble { high: count_b, low: 0.0 }, count);
        let weight = quotient(two_product(count_a, count_b), count);
        let between = product(product(delta, delta), weight);
        let lower = DoubleDouble { high: a.mean.middle, low: a.mean.low };
        let mean = triple(a.mean.high, sum(lower, product(delta, share)));
        FeatureMoments { mean, m2: sum(sum(a.m2, b.m2), between) }
    };
    fallback::merge(a, b, count, chan)
}

/// Computes the moments of a chunk from sums about a shift near the mean. Such sums are as small as the data allow, so
/// that nothing cancels.
fn chunk<T: ElementRules>(order: &Order, x: Batch<'_, T>, feature: usize, range: &ChunkRange) -> Part {
    let grid = Grid::new(order, feature, range.clone());
    let count = range.count();

    // 1. The shift: a rough mean, or 0.
    let mut shift = shift(&grid, x);
    for _ in 0..2 {
        // 2. and 3. Sum deviations and their squares in accumulators, then reduce the accumulators.
        let sum = grid.sum(T::COMPENSATED, |at| (x.at(at).to_f64() - shift, 0.0));
        let square = |d: f64| if T::COMPENSATED { fallback::square(d) } else { (d * d, 0.0) };
        let squares = grid.sum(T::COMPENSATED, |at| square(x.at(at).to_f64() - shift));

        // 4. Correct the mean and the squares for the distance of the shift from the mean.
        let FeatureMoments { mean, m2 } = finalize::<T>(shift, count as f64, sum, squares);

        // 5. Accept the result unless too much cancelled. Otherwise repeat about the mean just found.
        let sizes = squares.sum == 0.0 || squares.sum >= TINY_SQUARES;
        let conditioned = sizes && squares.sum <= T::MAX_CONDITION * m2.high;
        if m2.high.is_finite() && conditioned {
            let m2 = DoubleDouble { high: m2.high.max(0.0), ..m2 };
            return Part { count, moments: FeatureMoments { mean, m2 } };
        }
        shift = mean.high;
    }
    // Both results were rejected.
    Part { count, moments: fallback::moments(order.values(x, range, feature)) }
}

/// Returns the shift: the mean of a sample from the middle of the chunk, which is near the mean of the chunk even if
/// the values rise or fall. It is rounded to the element type, so that a constant feature has deviations of exactly 0.
/// If 0 is near enough to the mean, the shift is 0.
fn shift<T: ElementRules>(grid: &Grid<'_>, x: Batch<'_, T>) -> f64 {
    let sample = grid.sample();
    let of = |term: fn(f64) -> f64| sample.sum(false, |at| (term(x.at(at).to_f64()), 0.0)).sum;
    let (sum, squares, count) = (of(|x| x), of(|x| x * x), of(|_| 1.0));
    if T::SQUARES_EXACT && zero_shift(sum, squares, count) {
        return 0.0;
    }
    let shift = T::from_f64(sum * (1.0 / count)).to_f64();
    if shift.is_finite() { shift } else { 0.0 }
}

/// Computes mean and m2 from sums about a shift. For f64 values all rounding errors are kept.
fn finalize<T: ElementRules>(shift: f64, count: f64, sum: Accumulator, squares: Accumulator) -> FeatureMoments<f64> {
    let offset = sum.sum / count;
    if !T::COMPENSATED {
        let mean = two_sum(shift, offset);
        let mean = TripleDouble { high: mean.high, middle: mean.low, low: 0.0 };
        return FeatureMoments { mean, m2: DoubleDouble { high: squares.sum - sum.sum * offset, low: 0.0 } };
    }
    let product = two_product(count, offset);
    let remainder = sum.sum - product.high - product.low + sum.compensation;
    let mean = triple(shift, DoubleDouble { high: offset, low: remainder / count });
    let product = two_product(sum.sum, offset);
    let m2 = two_sum(squares.sum, -product.high);
    let correction = squares.compensation - product.low - offset * (remainder + sum.compensation);
    FeatureMoments { mean, m2: two_sum(m2.high, m2.low + correction) }
}
