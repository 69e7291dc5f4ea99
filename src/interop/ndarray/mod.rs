//! Moments and batch normalisation of the crate [ndarray](https://docs.rs/ndarray)'s arrays and views, along any axis
//! (feature `ndarray`).
//!
//! | ndarray's | here |
//! |---|---|
//! | `mean_axis(axis)`, `var_axis(axis, ddof)` | [`mean_var_axis`]: both in one pass |
//! | - | [`feature_moments`]: the moments of each index along an axis, over all others |
//! | - | [`Inference::forward_array`], [`BatchNorm::forward_train_array`], [`BatchNorm::forward_eval_array`], each with a sibling `.._in_place` |
//!
//! ```
//! use batchnorm::ndarray::mean_var_axis;
//! use ndarray::{Axis, array};
//!
//! let x = array![[1.0f32, 10.0], [2.0, 10.0], [6.0, 40.0]];
//! let (mean, var) = mean_var_axis(&x, Axis(0), 1.0)?;
//! assert_eq!((mean, var), (array![3.0, 20.0], array![7.0, 300.0])); // f64, whatever the element type
//! // ndarray's own, in two passes:
//! assert_eq!(x.mean_axis(Axis(0)).unwrap(), array![3.0, 20.0]);
//! assert_eq!(x.var_axis(Axis(0), 1.0), array![7.0, 300.0]);
//! # Ok::<(), batchnorm::Error>(())
//! ```
//!
//! # Memory
//!
//! Arrays are read where they are if they are contiguous in some order of their axes: C order, Fortran order, and any
//! permutation of these, such as a channels-last tensor seen as `[N, C, H, W]`. Other views (every second row, a range of
//! columns, a reversed axis, a broadcast) are copied in tiles along the axis with the largest stride; as a whole where that
//! is the axis of the features, in training, and if they have one dimension. Inference in place copies no rows or images
//! that are contiguous and have at least 1 KiB.
//!
//! A view cannot lend what lies between its rows, which somebody else may be writing to. An array can, so its columns need
//! no copy if you pass them as a [`Batch`] with an outer stride:
//!
//! ```
//! use batchnorm::{Batch, Layout, moments};
//! use ndarray::Array2;
//!
//! let table = Array2::from_shape_fn((1000, 30), |(row, column)| (row * column) as f32);
//! let values = table.as_slice().expect("C order");
//! let columns = Layout::nc(1000, 5).with_outer_stride(30); // 7 to 11
//! assert_eq!(moments(Batch::new(&values[7..], columns)?).mean(0), 7.0 * 499.5);
//! # Ok::<(), batchnorm::Error>(())
//! ```
//!
//! Import names, not `batchnorm::*`: this module has the name of the crate (which is `::ndarray` then).
//!
//! # Bits
//!
//! Results are those of a [`Batch`] whose axes are in the order of the strides, the largest first. So an array in Fortran
//! order is summed along its columns, and may differ in its last bits from its copy in C order. Views and their copies in
//! the same order of axes agree.

mod axes;
mod layer;
mod moments;

pub use moments::{MeanVar, feature_moments, mean_var_axis};

#[cfg(doc)]
use crate::{Batch, BatchNorm, Inference};
