//! Moments of arrays.

use alloc::vec::Vec;

use ::ndarray::{Array, ArrayD, ArrayRef, ArrayViewD, Axis, Dimension, IxDyn, RemoveAxis};

use super::axes::{Axes, copy, layout, tiles};
use crate::batch::MAX_EMPTY_FEATURES;
use crate::{Accumulator, Batch, Element, Layout, Moments, Result};

/// Returns the moments of each index along an axis, over all other axes: of each channel of `[N, C, H, W]` for `Axis(1)`,
/// and likewise of each column of `[N, C]`.
///
/// # Errors
/// [`Error::NoSuchAxis`](crate::Error::NoSuchAxis), and [`Error::EmptyTooWide`](crate::Error::EmptyTooWide) if an empty
/// array has more than 2^24 features.
///
/// ```
/// use batchnorm::ndarray::feature_moments;
/// use ndarray::{Array4, Axis};
///
/// let x = Array4::from_shape_fn((8, 3, 4, 4), |(_, channel, row, _)| (channel + row) as f32);
/// let m = feature_moments(&x, Axis(1))?;
/// assert_eq!((m.count(2), m.mean(2), m.variance(2, 0.0)), (128, 3.5, 1.25));
/// # Ok::<(), batchnorm::Error>(())
/// ```
pub fn feature_moments<T: Element, D: Dimension>(x: &ArrayRef<T, D>, features: Axis) -> Result<Moments> {
    let axes = Axes::of(x, features)?;
    measure(&axes.order(x.view()), axes.place, axes.place + 1)
}

/// Means and variances, each an array of this dimension.
///
/// ```
/// use batchnorm::ndarray::{MeanVar, mean_var_axis};
/// use ndarray::{Axis, Ix1, array};
///
/// let (mean, var): MeanVar<Ix1> = mean_var_axis(&array![[1.0f32], [3.0]], Axis(0), 0.0)?;
/// assert_eq!((mean[0], var[0]), (2.0, 1.0));
/// # Ok::<(), batchnorm::Error>(())
/// ```
pub type MeanVar<D> = (Array<f64, D>, Array<f64, D>);

/// Returns mean and variance along an axis, with this `ddof`: arrays with all axes but that one, as those of `mean_axis`
/// and `var_axis`, but of f64, in one pass, and with this crate's error bounds.
///
/// Both are NaN for an axis of length 0. With no more than `ddof` values, the variance is infinite, or NaN if all are
/// equal.
///
/// # Errors
/// As for [`feature_moments`].
///
/// ```
/// use batchnorm::ndarray::mean_var_axis;
/// use ndarray::{Array3, Axis, array};
///
/// let x = Array3::from_shape_fn((2, 4, 2), |(i, j, k)| 1e6 + (10 * i + j + 100 * k) as f32);
/// let (mean, var) = mean_var_axis(&x, Axis(1), 0.0)?;
/// assert_eq!(mean - 1e6, array![[1.5, 101.5], [11.5, 111.5]]);
/// assert_eq!(var, array![[1.25, 1.25], [1.25, 1.25]]);
/// # Ok::<(), batchnorm::Error>(())
/// ```
pub fn mean_var_axis<T: Element, D: RemoveAxis>(
    x: &ArrayRef<T, D>,
    axis: Axis,
    ddof: f64,
) -> Result<MeanVar<D::Smaller>> {
    let axes = Axes::of(x, axis)?;
    let view = axes.order(x.view());
    let mut shape = view.shape().to_vec();
    shape.remove(axes.place);
    let (mut means, mut variances) = (Vec::new(), Vec::new());
    if view.is_empty() {
        let others = shape.iter().fold(1, |product: usize, len| product.saturating_mul(*len));
        // The same limit as for an empty batch.
        let empty = Batch::<T>::new(&[], Layout::new(0, if shape.contains(&0) { 0 } else { others }, 1))?;
        means.resize(empty.layout().features(), f64::NAN);
        variances.resize(empty.layout().features(), f64::NAN);
    } else {
        for_each_moments(view, axes.place, &mut |moments| {
            means.extend_from_slice(moments.means());
            variances.extend((0..moments.num_features()).map(|feature| moments.variance(feature, ddof)));
        })?;
    }
    let array = |values| {
        let array = ArrayD::from_shape_vec(IxDyn(&shape), values).expect("one value for each index");
        axes.restore_others(array).into_dimensionality().expect("all axes but one")
    };
    Ok((array(means), array(variances)))
}

/// Calls `take` with the moments along one axis, for a block of the other indices at a time, in C order.
fn for_each_moments<T: Element>(
    mut x: ArrayViewD<'_, T>,
    mut place: usize,
    take: &mut impl FnMut(&Moments),
) -> Result<()> {
    // So the recursion is no deeper than an array has axes of other lengths: 63 at most.
    while place > 0 && x.len_of(Axis(0)) == 1 {
        x = x.index_axis_move(Axis(0), 0);
        place -= 1;
    }
    let last = x.ndim() - 1;
    if place == last && (last == 0 || x.is_standard_layout()) {
        take(&measure(&x, 0, last)?);
        Ok(())
    } else if place == 0 {
        take(&measure(&x, 1, x.ndim())?);
        Ok(())
    } else {
        x.outer_iter().try_for_each(|x| for_each_moments(x, place - 1, take))
    }
}

/// Returns the moments of an array whose features are the axes from `start` to `end`.
fn measure<T: Element>(x: &ArrayViewD<'_, T>, start: usize, end: usize) -> Result<Moments> {
    let whole = layout(x.shape(), start, end);
    if let Some(data) = x.as_slice() {
        return Ok(crate::moments(Batch::new(data, whole)?));
    }
    let mut tile = Vec::new();
    if whole.features() > MAX_EMPTY_FEATURES {
        // An accumulator, which begins empty, takes no more.
        copy(x, &mut tile);
        return Ok(crate::moments(Batch::new(&tile, whole)?));
    }
    let mut rows = Accumulator::new(whole.features(), whole.inner())?;
    for range in tiles(x.shape(), start) {
        let part = x.slice_axis(Axis(0), range);
        copy(&part, &mut tile);
        rows.update(Batch::new(&tile, layout(part.shape(), start, end))?)?;
    }
    Ok(rows.moments())
}
