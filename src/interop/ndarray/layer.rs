//! Batch normalisation of arrays.

use alloc::vec::Vec;

use ::ndarray::{Array, ArrayD, ArrayRef, Axis, Dimension, IxDyn};

use super::axes::{Axes, copy, copy_back, layout, tiles};
use crate::tuning::STRIDED_DIRECT_BYTES;
use crate::{Batch, BatchMut, BatchNorm, Element, Inference, Layout, Result};

impl Inference {
    /// Normalises an array whose channels are this axis into a new one, which has the same order of axes in memory
    /// (feature `ndarray`).
    ///
    /// # Errors
    /// [`Error::NoSuchAxis`](crate::Error::NoSuchAxis), [`Error::Features`](crate::Error::Features) if the axis has a
    /// different length from the layer, and [`Error::EmptyTooWide`](crate::Error::EmptyTooWide) if an empty array has more
    /// than 2^24 features.
    ///
    /// ```
    /// use batchnorm::BatchNorm;
    /// use ndarray::{Array4, Axis};
    ///
    /// let mut bn = BatchNorm::new(3).with_eps(0.0)?;
    /// bn.set_running_mean(&[0.0, 10.0, 20.0])?;
    /// let norm = bn.to_inference();
    /// let x = Array4::from_shape_fn((2, 3, 4, 4), |(n, c, _, _)| (10 * c + n) as f32);
    /// let y = norm.forward_array(&x, Axis(1))?;
    /// assert_eq!((y[[0, 2, 0, 0]], y[[1, 2, 3, 3]]), (0.0, 1.0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_array<T: Element, D: Dimension>(&self, x: &ArrayRef<T, D>, channels: Axis) -> Result<Array<T, D>> {
        new(x, channels, |x, mut y| match x {
            Some(x) => self.forward(x, y),
            None => self.forward_in_place(y.reborrow()),
        })
    }

    /// Normalises an array in place (feature `ndarray`).
    ///
    /// # Errors
    /// As for [`Inference::forward_array`]; then the array is unchanged.
    ///
    /// ```
    /// use batchnorm::BatchNorm;
    /// use ndarray::{Array2, Axis, s};
    ///
    /// let mut bn = BatchNorm::new(2).with_eps(0.0)?;
    /// bn.set_running_mean(&[1.0, 2.0])?;
    /// let mut table = Array2::<f64>::zeros((100, 5));
    /// // Two columns of a wider table.
    /// bn.to_inference().forward_array_in_place(&mut table.slice_mut(s![.., 1..3]), Axis(1))?;
    /// assert_eq!(table.row(7).to_vec(), [0.0, -1.0, -2.0, 0.0, 0.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_array_in_place<T: Element, D: Dimension>(
        &self,
        x: &mut ArrayRef<T, D>,
        channels: Axis,
    ) -> Result<()> {
        let axes = Axes::of(x, channels)?;
        let (start, end) = (axes.place, axes.place + 1);
        let mut view = axes.order_mut(x.view_mut());
        let whole = layout(view.shape(), start, end);
        if let Some(data) = view.as_slice_mut() {
            return self.forward_in_place(BatchMut::new(data, whole)?);
        }
        // Outer blocks that are contiguous need no copy, unless they are short. (One slice of all of them, with an outer
        // stride, would not be sound: somebody else may write to the gaps.)
        let direct = start == 1 && whole.features() * whole.inner() * size_of::<T>() >= STRIDED_DIRECT_BYTES;
        if direct && view.outer_iter().next().is_some_and(|block| block.is_standard_layout()) {
            let one = Layout::new(1, whole.features(), whole.inner());
            return view.outer_iter_mut().try_for_each(|mut block| match block.as_slice_mut() {
                Some(data) => self.forward_in_place(BatchMut::new(data, one)?),
                None => Ok(()), // All of them have the strides of the first.
            });
        }
        let mut tile = Vec::new();
        for range in tiles(view.shape(), start) {
            let mut part = view.slice_axis_mut(Axis(0), range);
            copy(&part.view(), &mut tile);
            self.forward_in_place(BatchMut::new(&mut tile, layout(part.shape(), start, end))?)?;
            copy_back(&mut tile, &mut part);
        }
        Ok(())
    }
}

impl BatchNorm {
    /// [`BatchNorm::forward_train`] of an array whose channels are this axis, into a new one, which has the same order of
    /// axes in memory (feature `ndarray`).
    ///
    /// # Errors
    /// [`Error::NoSuchAxis`](crate::Error::NoSuchAxis), and those of [`BatchNorm::forward_train`].
    ///
    /// ```
    /// use batchnorm::BatchNorm;
    /// use ndarray::{Array3, Axis};
    ///
    /// let mut bn = BatchNorm::new(5);
    /// let x = Array3::from_shape_fn((4, 5, 6), |(n, c, i)| (7 * n + 100 * c + i) as f32);
    /// let y = bn.forward_train_array(&x, Axis(1))?;
    /// assert!(y.sum().abs() < 1e-4);
    /// assert_eq!(bn.running_mean()[4], 0.1 * 413.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_train_array<T: Element, D: Dimension>(
        &mut self,
        x: &ArrayRef<T, D>,
        channels: Axis,
    ) -> Result<Array<T, D>> {
        new(x, channels, |x, y| match x {
            Some(x) => self.forward_train(x, y),
            None => self.forward_train_in_place(y),
        })
    }

    /// [`BatchNorm::forward_train_in_place`] of an array (feature `ndarray`).
    ///
    /// # Errors
    /// As for [`BatchNorm::forward_train_array`]; then the array is unchanged.
    ///
    /// ```
    /// use ndarray::{Axis, array};
    ///
    /// let mut x = array![[1.0f64, 5.0], [3.0, 9.0]];
    /// batchnorm::BatchNorm::new(2).with_eps(0.0)?.forward_train_array_in_place(&mut x, Axis(1))?;
    /// assert_eq!(x, array![[-1.0, -1.0], [1.0, 1.0]]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_train_array_in_place<T: Element, D: Dimension>(
        &mut self,
        x: &mut ArrayRef<T, D>,
        channels: Axis,
    ) -> Result<()> {
        in_place(x, channels, |x| self.forward_train_in_place(x))
    }

    /// [`BatchNorm::forward_eval`] of an array whose channels are this axis, into a new one, which has the same order of
    /// axes in memory (feature `ndarray`).
    ///
    /// # Errors
    /// [`Error::NoSuchAxis`](crate::Error::NoSuchAxis), and those of [`BatchNorm::forward_eval`].
    ///
    /// ```
    /// use ndarray::{Axis, array};
    ///
    /// let bn = batchnorm::BatchNorm::new(2).with_eps(0.0)?;
    /// let x = array![[1.0f64, 5.0], [3.0, 9.0]];
    /// assert_eq!(bn.forward_eval_array(&x, Axis(1))?, x); // running mean 0, variance 1
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_eval_array<T: Element, D: Dimension>(
        &self,
        x: &ArrayRef<T, D>,
        channels: Axis,
    ) -> Result<Array<T, D>> {
        new(x, channels, |x, y| match x {
            Some(x) => self.forward_eval(x, y),
            None => self.forward_eval_in_place(y),
        })
    }

    /// [`BatchNorm::forward_eval_in_place`] of an array (feature `ndarray`).
    ///
    /// # Errors
    /// As for [`BatchNorm::forward_eval_array`]; then the array is unchanged.
    ///
    /// ```
    /// use ndarray::{Axis, array};
    ///
    /// let mut x = array![[1.0f64, 5.0], [3.0, 9.0]];
    /// batchnorm::BatchNorm::new(2).with_eps(3.0)?.forward_eval_array_in_place(&mut x, Axis(1))?;
    /// assert_eq!(x, array![[0.5, 2.5], [1.5, 4.5]]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_eval_array_in_place<T: Element, D: Dimension>(
        &self,
        x: &mut ArrayRef<T, D>,
        channels: Axis,
    ) -> Result<()> {
        in_place(x, channels, |x| self.forward_eval_in_place(x))
    }
}

/// Returns an array with the outputs for an array. `run` gets both, or only the output, which then holds the input.
fn new<T: Element, D: Dimension>(
    x: &ArrayRef<T, D>,
    channels: Axis,
    run: impl FnOnce(Option<Batch<'_, T>>, BatchMut<'_, T>) -> Result<()>,
) -> Result<Array<T, D>> {
    let axes = Axes::of(x, channels)?;
    let view = axes.order(x.view());
    let layout = layout(view.shape(), axes.place, axes.place + 1);
    let mut y = Vec::new();
    match view.as_slice() {
        Some(data) => {
            y.resize(data.len(), T::from_f64(0.0));
            run(Some(Batch::new(data, layout)?), BatchMut::new(&mut y, layout)?)?;
        }
        None => {
            copy(&view, &mut y);
            run(None, BatchMut::new(&mut y, layout)?)?;
        }
    }
    let y = ArrayD::from_shape_vec(IxDyn(view.shape()), y).expect("one value for each index");
    Ok(axes.restore(y).into_dimensionality().expect("the axes of the input"))
}

/// Runs on an array in place: on its copy if it is not contiguous.
fn in_place<T: Element, D: Dimension>(
    x: &mut ArrayRef<T, D>,
    channels: Axis,
    run: impl FnOnce(BatchMut<'_, T>) -> Result<()>,
) -> Result<()> {
    let axes = Axes::of(x, channels)?;
    let mut view = axes.order_mut(x.view_mut());
    let layout = layout(view.shape(), axes.place, axes.place + 1);
    if let Some(data) = view.as_slice_mut() {
        return run(BatchMut::new(data, layout)?);
    }
    let mut data = Vec::new();
    copy(&view.view(), &mut data);
    run(BatchMut::new(&mut data, layout)?)?;
    copy_back(&mut data, &mut view);
    Ok(())
}
