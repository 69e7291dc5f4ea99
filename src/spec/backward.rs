//! The gradients of batch normalisation, in plain code, one feature at a time.
//!
//! With `d = x - mean`, `v = variance + eps` and `n` values per feature, the gradient of the loss with respect to
//! `y = d / sqrt(v) * weight + bias` passes on as
//!
//! ```text
//! grad_bias   = sum(dy)
//! grad_weight = sum(dy * d) / sqrt(v)
//! grad_x      = (dy - sum(dy) / n - d * sum(dy * d) / (n * v)) * weight / sqrt(v)
//! ```
//!
//! So there are two steps: [`sums`] adds up `dy` and `dy * d` in the order of [`spec::order`](crate::spec::order), and
//! [`input_gradient`] maps every value.
//!
//! A mean is more than one f64. [`sums`] subtracts its high word from each `x`; what the low word contributes,
//! `mean_low * sum(dy)`, is subtracted from the sum of each chunk. This does not cancel: the high word is the f64
//! nearest to the mean and each `x` is an f64, so `|x - mean_high| <= 2 |d|` and `|mean_low| <= |d|`.
//!
//! # Error bounds
//! With `u = 2^-53`, for sums that do not overflow or underflow:
//!
//! - f64: products are split like the squares of [`fallback::square`], and the sums are compensated. What is left is
//!   the rounding of `x - mean_high`, by at most `u |d|` (where it rounds, `mean_low` is at most `2 u` of it), of the
//!   product `mean_low * sum(dy)`, and the third word of the mean, by `u |d|` each. So `sum(dy * d)` is within
//!   `3 u * sum(|dy * d|)`, and `sum(dy)` is within `u` of itself, up to terms in `n u^2`.
//! - f32: the sums are plain f64 sums. Each value goes through at most 84 additions in its chunk; `x - mean_high` and
//!   the product are rounded, too, and `|x - mean_high| <= 2 |d|`. So `sum(dy)` is within `2^-46 * sum(|dy|)`, and
//!   `sum(dy * d)` within `2^-45 * sum(|dy * d|)`.
//!
//! An error `e` of the given mean itself adds `e * |sum(dy)|` to the second sum.

use super::double_double::two_sum;
use super::grid::{Accumulator, Grid};
use super::order::{ChunkRange, Order, Span};
use super::{DoubleDouble, ElementRules, fallback};
use crate::element::SingleElement;
use crate::{Batch, Element, Layout};

/// The sums of a backward pass of one feature, or of one feature per lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FeatureSums<V> {
    /// The sum of `dy`.
    pub(crate) dy: DoubleDouble<V>,
    /// The sum of `dy * (x - mean)`.
    pub(crate) products: DoubleDouble<V>,
}

/// The inputs of a backward pass, all of one layout but for their outer strides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'a, T> {
    /// The gradient with respect to the output.
    pub(crate) dy: Batch<'a, T>,
    /// The input.
    pub(crate) x: Batch<'a, T>,
    /// If a ReLU followed: its output. `dy` counts as 0 where this is 0 or less. (Not where it is NaN, as in PyTorch.)
    pub(crate) y: Option<Batch<'a, T>>,
}

/// Returns the sums of a feature about a mean of two words. The batch must have values.
pub(crate) fn sums<T: ElementRules>(
    order: &Order,
    inputs: Inputs<'_, T>,
    feature: usize,
    mean: DoubleDouble<f64>,
) -> FeatureSums<f64> {
    tree(order, inputs, feature, mean, &order.root())
}

fn tree<T: ElementRules>(
    order: &Order,
    inputs: Inputs<'_, T>,
    feature: usize,
    mean: DoubleDouble<f64>,
    span: &Span,
) -> FeatureSums<f64> {
    match span.split() {
        Some((left, right)) => {
            merge(tree(order, inputs, feature, mean, &left), tree(order, inputs, feature, mean, &right))
        }
        None => chunk(order, inputs, feature, mean, order.range(span)),
    }
}

/// Adds the sums of two parts of the rows.
pub(crate) fn merge(a: FeatureSums<f64>, b: FeatureSums<f64>) -> FeatureSums<f64> {
    let add = |a: DoubleDouble<f64>, b: DoubleDouble<f64>| {
        let sum = two_sum(a.high, b.high);
        renormalized(sum.high, sum.low + (a.low + b.low))
    };
    FeatureSums { dy: add(a.dy, b.dy), products: add(a.products, b.products) }
}

/// Sums a chunk about the high word of the mean, then corrects the products for the low word.
fn chunk<T: ElementRules>(
    order: &Order,
    Inputs { dy, x, y }: Inputs<'_, T>,
    feature: usize,
    mean: DoubleDouble<f64>,
    range: ChunkRange,
) -> FeatureSums<f64> {
    let grid = Grid::new(order, feature, range);
    let dy = |at: usize| passed(dy.at(at).to_f64(), y.map(|y| y.at(at).to_f64()));
    let sum = grid.sum(T::COMPENSATED, |at| (dy(at), 0.0));
    let products = grid.sum(T::COMPENSATED, |at| {
        let d = x.at(at).to_f64() - mean.high;
        if T::COMPENSATED { product(d, dy(at)) } else { (d * dy(at), 0.0) }
    });
    finalize(sum, products, mean)
}

fn finalize(sum: Accumulator, products: Accumulator, mean: DoubleDouble<f64>) -> FeatureSums<f64> {
    let dy = renormalized(sum.sum, sum.compensation);
    let products = renormalized(products.sum, products.compensation);
    let corrected = two_sum(products.high, -(mean.low * dy.high));
    // NaN if the mean or the sum of `dy` is not finite: with an infinity, the sum of the products may be anything.
    let poison = if mean.high.is_finite() && dy.high.is_finite() { 0.0 } else { f64::NAN };
    FeatureSums { dy, products: renormalized(corrected.high + poison, corrected.low + products.low) }
}

/// Returns `high + low` as a double-double. If it is not finite, the low word is 0.
fn renormalized(high: f64, low: f64) -> DoubleDouble<f64> {
    let finite = |high: f64, low: f64| if high.is_finite() { low } else { 0.0 };
    let sum = two_sum(high, finite(high, low));
    DoubleDouble { high: sum.high, low: finite(sum.high, sum.low) }
}

/// Splits `a * b` into the exact product of the upper halves (sign, exponent and 26 bits) and a small remainder, which
/// is accurate to 2^-76 of the product.
fn product(a: f64, b: f64) -> (f64, f64) {
    let (a_upper, b_upper) = (fallback::upper_half(a), fallback::upper_half(b));
    (a_upper * b_upper, a_upper * (b - b_upper) + (a - a_upper) * b)
}

/// Returns the gradient before a ReLU whose output is `y`.
fn passed(dy: f64, y: Option<f64>) -> f64 {
    if y.is_some_and(|y| y <= 0.0) { 0.0 } else { dy }
}

/// Computes `dx = ((dy - offset) - (x - mean) * slope) * scale` for every value. `parameters` returns mean, slope,
/// offset and scale of a feature, in this order. Without `dy`, it is in `dx` itself, in place.
pub(crate) fn input_gradient<T: Element>(
    layout: Layout,
    parameters: impl Fn(usize) -> [f64; 4],
    dy: Option<&[T]>,
    x: &[T],
    y: Option<&[T]>,
    dx: &mut [T],
) {
    for at in 0..dx.len() {
        let [mean, slope, offset, scale] = parameters(at / layout.inner() % layout.features());
        let dy = passed(dy.map_or(dx[at], |dy| dy[at]).to_f64(), y.map(|y| y[at].to_f64()));
        dx[at] = T::from_f64(((dy - offset) - (x[at].to_f64() - mean) * slope) * scale);
    }
}

/// Does the same in f32, with mean and offset as pairs. `parameters` returns high and low word of the mean, the slope,
/// high and low word of the offset, and the scale.
pub(crate) fn input_gradient_single<T: SingleElement>(
    layout: Layout,
    parameters: impl Fn(usize) -> [f32; 6],
    dy: Option<&[T]>,
    x: &[T],
    y: Option<&[T]>,
    dx: &mut [T],
) {
    for at in 0..dx.len() {
        let [mean_high, mean_low, slope, offset_high, offset_low, scale] =
            parameters(at / layout.inner() % layout.features());
        let dy = dy.map_or(dx[at], |dy| dy[at]).to_f32();
        let dy = if y.is_some_and(|y| y[at].to_f32() <= 0.0) { 0.0 } else { dy };
        let deviation = (x[at].to_f32() - mean_high) - mean_low;
        dx[at] = T::from_f32((((dy - offset_high) - offset_low) - deviation * slope) * scale);
    }
}

/// Computes `dx = dy * scale` for every value: the gradient where mean and variance are constants.
pub(crate) fn scaled_gradient<T: Element>(
    layout: Layout,
    scale: impl Fn(usize) -> f64,
    dy: Option<&[T]>,
    y: Option<&[T]>,
    dx: &mut [T],
) {
    for at in 0..dx.len() {
        let dy = passed(dy.map_or(dx[at], |dy| dy[at]).to_f64(), y.map(|y| y[at].to_f64()));
        dx[at] = T::from_f64(dy * scale(at / layout.inner() % layout.features()));
    }
}
