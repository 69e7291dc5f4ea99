//! The axes of an array in the order of memory.

use alloc::vec::Vec;

use ::ndarray::{ArrayD, ArrayRef, ArrayView, ArrayViewD, ArrayViewMut, ArrayViewMutD, Axis, Dimension, IxDyn, Slice};

use crate::{Element, Error, Layout, Result};

/// Values that are copied at a time: a tile and its copy stay in the second-level cache.
const TILE_VALUES: usize = 1 << 14;

/// The order of the axes in memory: the largest stride first. An array that is contiguous in any order of its axes is in
/// C order once they are sorted like this.
pub(super) struct Axes {
    /// The axis of the array at each place.
    axes: Vec<usize>,
    /// The place of the axis that was asked for.
    pub(super) place: usize,
}

impl Axes {
    pub(super) fn of<T, D: Dimension>(x: &ArrayRef<T, D>, axis: Axis) -> Result<Self> {
        let dimensions = x.ndim();
        if axis.index() >= dimensions {
            return Err(Error::NoSuchAxis { axis: axis.index(), dimensions });
        }
        let (shape, strides) = (x.shape(), x.strides());
        let mut axes: Vec<usize> = (0..dimensions).filter(|axis| shape[*axis] != 1).collect();
        axes.sort_by_key(|axis| core::cmp::Reverse(strides[*axis].unsigned_abs()));
        // The stride of an axis of length 1 means nothing: it stays before the axis that follows it.
        for axis in (0..dimensions).rev().filter(|axis| shape[*axis] == 1) {
            let next = axes.iter().position(|at| *at == axis + 1).unwrap_or(axes.len());
            axes.insert(next, axis);
        }
        let place = axes.iter().position(|at| *at == axis.index()).unwrap_or_default();
        Ok(Axes { axes, place })
    }

    /// Returns the array with its axes in the order of memory.
    pub(super) fn order<'a, T, D: Dimension>(&self, x: ArrayView<'a, T, D>) -> ArrayViewD<'a, T> {
        x.into_dyn().permuted_axes(IxDyn(&self.axes))
    }

    pub(super) fn order_mut<'a, T, D: Dimension>(&self, x: ArrayViewMut<'a, T, D>) -> ArrayViewMutD<'a, T> {
        x.into_dyn().permuted_axes(IxDyn(&self.axes))
    }

    /// The opposite: returns an array whose axes are in the order of memory with its own order.
    pub(super) fn restore<T>(&self, x: ArrayD<T>) -> ArrayD<T> {
        x.permuted_axes(IxDyn(&inverse(&self.axes)))
    }

    /// [`Axes::restore`] for an array that has all axes but the one that was asked for.
    pub(super) fn restore_others<T>(&self, x: ArrayD<T>) -> ArrayD<T> {
        let gone = self.axes[self.place];
        let others = self.axes.iter().filter(|axis| **axis != gone).map(|axis| axis - usize::from(*axis > gone));
        x.permuted_axes(IxDyn(&inverse(&others.collect::<Vec<_>>())))
    }
}

fn inverse(axes: &[usize]) -> Vec<usize> {
    let mut inverse = alloc::vec![0; axes.len()];
    for (place, axis) in axes.iter().enumerate() {
        inverse[*axis] = place;
    }
    inverse
}

/// Returns the layout of a shape whose features are the axes from `start` to `end`.
pub(super) fn layout(shape: &[usize], start: usize, end: usize) -> Layout {
    let product = |axes: &[usize]| axes.iter().product();
    Layout::new(product(&shape[..start]), product(&shape[start..end]), product(&shape[end..]))
}

/// Returns the ranges of the first axis that form the tiles; a single range if the features include the first axis.
pub(super) fn tiles(shape: &[usize], start: usize) -> impl Iterator<Item = Slice> + use<> {
    let len = shape[0];
    let step = if start == 0 { len } else { TILE_VALUES / shape[1..].iter().product::<usize>().max(1) }.max(1);
    (0..len).step_by(step).map(move |from| Slice::from(from..len.min(from.saturating_add(step))))
}

/// Copies an array to a slice that becomes as long, in C order.
pub(super) fn copy<T: Element>(x: &ArrayViewD<'_, T>, to: &mut Vec<T>) {
    to.resize(x.len(), T::from_f64(0.0));
    shaped(x.shape(), to).assign(x);
}

/// Copies a slice in C order to an array.
pub(super) fn copy_back<T: Element>(from: &mut [T], x: &mut ArrayViewMutD<'_, T>) {
    let shape = x.raw_dim();
    x.assign(&shaped(shape.slice(), from));
}

fn shaped<'a, T>(shape: &[usize], values: &'a mut [T]) -> ArrayViewMutD<'a, T> {
    ArrayViewMutD::from_shape(IxDyn(shape), values).expect("one value for each index")
}
