//! Arrays and views of ndarray: the bits of batches that are copied by plain indexing, and the values of ndarray's own
//! means and variances.

use batchnorm::ndarray::{feature_moments, mean_var_axis};
use batchnorm::{Activation, Batch, BatchMut, BatchNorm, Element, Error, Inference, Layout, Moments, moments};
use ndarray::{
    Array, Array1, Array2, Array3, ArrayD, ArrayView2, ArrayView3, ArrayViewD, ArrayViewMutD, Axis, IxDyn,
    ShapeBuilder, Slice, s,
};

fn value(at: usize) -> f64 {
    ((at * 7919 + 13) % 1009) as f64 / 64.0 + 1000.0
}

/// Ways to look at an array: each makes a view with the given shape, or one that has it permuted.
const VIEWS: [&str; 9] = [
    "C order",
    "Fortran order",
    "channels last",
    "every second index",
    "a range of the last axis",
    "a range of the first axis",
    "reversed",
    "reversed rows of a range, Fortran order",
    "broadcast",
];

/// Returns the array that a view of this shape looks into.
fn underlying<T: Element>(kind: &str, shape: &[usize]) -> ArrayD<T> {
    let (mut larger, last) = (shape.to_vec(), shape.len() - 1);
    match kind {
        "every second index" => larger.iter_mut().for_each(|len| *len *= 2),
        "a range of the last axis" => larger[last] += 5,
        "a range of the first axis" | "reversed rows of a range, Fortran order" => larger[0] += 5,
        "channels last" if shape.len() > 1 => larger[1..].rotate_left(1),
        "broadcast" => larger[0] = 1,
        _ => {}
    }
    let len = larger.iter().product();
    let values = (0..len).map(|at| T::from_f64(value(at))).collect();
    let order = IxDyn(&larger).set_f(kind.contains("Fortran"));
    ArrayD::from_shape_vec(order, values).expect("a shape")
}

fn look<'a, T>(kind: &str, mut x: ArrayViewMutD<'a, T>, shape: &[usize]) -> ArrayViewMutD<'a, T> {
    let last = shape.len() - 1;
    match kind {
        "every second index" => {
            (0..shape.len()).for_each(|axis| x.slice_axis_inplace(Axis(axis), Slice::new(0, None, 2)))
        }
        "a range of the last axis" => x.slice_axis_inplace(Axis(last), Slice::from(3..3 + shape[last])),
        "a range of the first axis" => x.slice_axis_inplace(Axis(0), Slice::from(2..2 + shape[0])),
        "reversed" => x.invert_axis(Axis(0)),
        "reversed rows of a range, Fortran order" => {
            x.slice_axis_inplace(Axis(0), Slice::from(2..2 + shape[0]));
            x.invert_axis(Axis(0));
        }
        "channels last" if last > 0 => {
            let back: Vec<usize> = [0, last].into_iter().chain(1..last).collect();
            x = x.permuted_axes(IxDyn(&back));
        }
        _ => {}
    }
    assert_eq!(x.shape(), shape);
    x
}

/// Calls with a view of each kind. (Broadcasts cannot be written to: they are tested as views to read.)
fn for_each_view<T: Element>(shape: &[usize], mut test: impl FnMut(&str, ArrayViewD<'_, T>)) {
    for kind in VIEWS {
        let mut array = underlying::<T>(kind, shape);
        if kind == "broadcast" {
            test(kind, array.broadcast(shape).expect("one row for all"));
        } else {
            test(kind, look(kind, array.view_mut(), shape).view());
        }
    }
}

const SHAPES: [&[usize]; 14] = [
    &[40],
    &[30, 7],
    &[5000, 3],
    &[3, 5000],
    &[1, 9],
    &[9, 1],
    &[4, 5, 6],
    &[70, 40, 33],
    &[2, 1, 3],
    &[3, 4, 5, 6],
    &[2, 70, 9, 9],
    &[2, 3, 4, 3, 2],
    &[1, 5, 1, 1],
    &[1, 1, 4],
];

/// The axes with the largest strides first; those of length 1, whose strides mean nothing, before the axis that follows.
fn memory_order<T>(x: &ArrayViewD<'_, T>) -> Vec<usize> {
    let long = |axis: usize| (axis..x.ndim()).find(|axis| x.shape()[*axis] != 1);
    let mut axes: Vec<usize> = (0..x.ndim()).collect();
    axes.sort_by_key(|axis| (long(*axis).map_or(0, |long| -x.strides()[long].abs()), long(*axis).is_none(), *axis));
    axes
}

/// Copies an array by plain indexing, with its axes in the order of memory. Returns the place of an axis in it, too.
fn copied<T: Element>(x: &ArrayViewD<'_, T>, axis: usize) -> (Vec<T>, Vec<usize>, usize) {
    let axes = memory_order(x);
    let shape: Vec<usize> = axes.iter().map(|axis| x.shape()[*axis]).collect();
    let data = indices(&shape).into_iter().map(|index| {
        let mut at = vec![0; index.len()];
        index.iter().zip(&axes).for_each(|(index, axis)| at[*axis] = *index);
        x[IxDyn(&at)]
    });
    (data.collect(), shape, axes.iter().position(|at| *at == axis).expect("an axis"))
}

/// All indices of a shape, in C order.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![vec![]], |all, len| {
        all.iter().flat_map(|index| (0..*len).map(|at| [&index[..], &[at]].concat())).collect()
    })
}

fn batch_layout(shape: &[usize], place: usize) -> Layout {
    Layout::new(shape[..place].iter().product(), shape[place], shape[place + 1..].iter().product())
}

fn check_moments<T: Element>() {
    for shape in SHAPES {
        for_each_view::<T>(shape, |kind, x| {
            for axis in 0..shape.len() {
                let name = format!("{kind}, {shape:?}, axis {axis}");
                let (data, ordered, place) = copied(&x, axis);
                let expected = moments(Batch::new(&data, batch_layout(&ordered, place)).expect("a batch"));
                assert_eq!(feature_moments(&x, Axis(axis)).expect("moments"), expected, "{name}");

                for ddof in [0.0, 1.0] {
                    let (mean, var) = mean_var_axis(&x, Axis(axis), ddof).expect("means");
                    let wide = x.mapv(|x| x.to_f64());
                    let (their_mean, their_var) =
                        (wide.mean_axis(Axis(axis)).expect("values"), wide.var_axis(Axis(axis), 0.0));
                    assert_eq!((mean.shape(), var.shape()), (their_mean.shape(), their_var.shape()), "{name}");
                    let n = shape[axis] as f64;
                    for (index, theirs) in their_mean.indexed_iter() {
                        assert!((mean[&index] - theirs).abs() < 1e-9, "{name}: {} and {theirs}", mean[&index]);
                    }
                    for (index, theirs) in their_var.indexed_iter() {
                        let theirs = theirs * n / (n - ddof);
                        let near = (var[&index] - theirs).abs() < 1e-8 || var[&index].is_nan() && theirs.is_nan();
                        assert!(near, "{name}, ddof {ddof}: {} and {theirs}", var[&index]);
                    }
                }
            }
        });
    }
}

#[test]
fn moments_of_any_view() {
    check_moments::<f32>();
    check_moments::<f64>();
}

/// Along an axis, a contiguous array and views of it have the same bits, if their axes are in the same order.
#[test]
fn means_of_views_have_the_bits_of_copies() {
    for shape in SHAPES {
        for_each_view::<f32>(shape, |kind, x| {
            let axes = memory_order(&x);
            let copy = x.clone().permuted_axes(IxDyn(&axes)).as_standard_layout().into_owned();
            for axis in 0..shape.len() {
                let place = axes.iter().position(|at| *at == axis).expect("an axis");
                let (mean, var) = mean_var_axis(&x, Axis(axis), 0.0).expect("means");
                let (copy_mean, copy_var) = mean_var_axis(&copy, Axis(place), 0.0).expect("means");
                let others: Vec<usize> =
                    axes.iter().filter(|at| **at != axis).map(|at| at - usize::from(*at > axis)).collect();
                let ordered = |values: ArrayD<f64>| values.permuted_axes(IxDyn(&others));
                assert_eq!((ordered(mean), ordered(var)), (copy_mean, copy_var), "{kind}, {shape:?}, axis {axis}");
            }
        });
    }
}

fn layer(features: usize) -> BatchNorm {
    let of = |from: f64| (0..features).map(|at| from + at as f64 / 8.0).collect::<Vec<_>>();
    let mut bn = BatchNorm::new(features).with_activation(Activation::Relu);
    bn.set_weight(&of(-1.0)).expect("weights");
    bn.set_bias(&of(0.5)).expect("biases");
    bn.set_running_mean(&of(1005.0)).expect("means");
    bn.set_running_var(&of(20.0)).expect("variances");
    bn
}

/// Asserts that an array, as a view of the input's shape, has the values of a copy that was computed as a batch.
fn assert_values<T: Element>(name: &str, y: &ArrayViewD<'_, T>, x: &ArrayViewD<'_, T>, expected: &[T]) {
    let axes = memory_order(x);
    let y = y.clone().permuted_axes(IxDyn(&axes));
    assert!(y.iter().eq(expected.iter()), "{name}");
}

fn check_layers<T: Element>() {
    for shape in SHAPES {
        for_each_view::<T>(shape, |kind, x| {
            for axis in 0..shape.len() {
                let name = format!("{kind}, {shape:?}, axis {axis}");
                let (data, ordered, place) = copied(&x, axis);
                let layout = batch_layout(&ordered, place);
                let bn = layer(shape[axis]);
                let mut expected = data.clone();
                bn.to_inference().forward_in_place(BatchMut::new(&mut expected, layout).expect("y")).expect("runs");
                let y = bn.to_inference().forward_array(&x, Axis(axis)).expect("runs");
                assert_values(&name, &y.view(), &x, &expected);
                let y = bn.forward_eval_array(&x, Axis(axis)).expect("runs");
                assert_values(&name, &y.view(), &x, &expected);

                expected.copy_from_slice(&data);
                let (mut bn, mut by_batch) = (bn.clone(), bn);
                let ran = by_batch.forward_train_in_place(BatchMut::new(&mut expected, layout).expect("y"));
                match bn.forward_train_array(&x, Axis(axis)) {
                    Ok(y) => {
                        assert_values(&name, &y.view(), &x, &expected);
                        assert_eq!(bn.running_mean(), by_batch.running_mean());
                    }
                    Err(error) => assert_eq!(Err(error), ran, "{name}"),
                }
            }
        });
    }
}

#[test]
fn layers_of_any_view() {
    check_layers::<f32>();
    check_layers::<f64>();
}

#[test]
fn in_place_changes_the_view_alone() {
    for shape in SHAPES {
        for kind in VIEWS.into_iter().filter(|kind| *kind != "broadcast") {
            for (axis, train) in (0..shape.len()).flat_map(|axis| [(axis, false), (axis, true)]) {
                let name = format!("{kind}, {shape:?}, axis {axis}, train {train}");
                let mut array = underlying::<f32>(kind, shape);
                let before = array.clone();
                let mut bn = layer(shape[axis]);
                let out_of_place = {
                    let mut array = before.clone();
                    let x = look(kind, array.view_mut(), shape);
                    if train {
                        bn.clone().forward_train_array(&x, Axis(axis))
                    } else {
                        bn.forward_eval_array(&x, Axis(axis))
                    }
                };
                let mut x = look(kind, array.view_mut(), shape);
                let norm: Inference = bn.to_inference();
                let ran = if train {
                    bn.forward_train_array_in_place(&mut x, Axis(axis))
                } else if axis % 2 == 0 {
                    norm.forward_array_in_place(&mut x, Axis(axis))
                } else {
                    bn.forward_eval_array_in_place(&mut x, Axis(axis))
                };
                match out_of_place {
                    Ok(y) => assert!(ran.is_ok() && x == y, "{name}"),
                    Err(error) => assert_eq!(ran, Err(error), "{name}"),
                }
                // Undo the view: all else is as it was.
                let mut original = before.clone();
                x.assign(&look(kind, original.view_mut(), shape));
                assert_eq!(array, before, "{name}");
            }
        }
    }
}

#[test]
fn outputs_have_the_order_of_the_input() {
    let x = Array3::<f32>::from_shape_fn((4, 5, 6).f(), |(n, c, i)| (n + c + i) as f32);
    let y = layer(5).forward_eval_array(&x, Axis(1)).expect("runs");
    assert_eq!(y.strides(), x.strides());
    let channels_last = Array::<f32, _>::zeros((2, 4, 4, 3)).permuted_axes([0, 3, 1, 2]);
    let y = layer(3).forward_eval_array(&channels_last, Axis(1)).expect("runs");
    assert_eq!(y.strides(), channels_last.strides());
}

/// The same values at the same places, with different strides of the axis of length 1.
#[test]
fn strides_of_axes_of_length_1_mean_nothing() {
    for seed in 0..20 {
        let value = |at: usize| ((at * 7919 + seed * 131) % 1009) as f32 / 7.0;
        let parent = Array3::from_shape_fn((600, 1, 80), |(row, _, column)| value(80 * row + column));
        let a = parent.slice_axis(Axis(2), Slice::new(0, None, 2));
        let b = parent.slice(s![.., .., ..;2]);
        assert_eq!(feature_moments(&a, Axis(1)), feature_moments(&b, Axis(1)));
        let fortran = Array3::from_shape_fn((600, 1, 40).f(), |(row, _, column)| value(40 * row + column));
        assert_eq!(feature_moments(&fortran, Axis(1)), feature_moments(&fortran.slice(s![.., .., ..]), Axis(1)));
    }
}

#[test]
fn extreme_shapes() {
    for shape in [(0, 1usize << 62), (0, 1 << 50)] {
        let x = ArrayView2::<f32>::from_shape(shape, &[]).expect("a shape");
        assert!(matches!(mean_var_axis(&x, Axis(0), 0.0), Err(Error::EmptyTooWide { .. })));
        assert!(matches!(feature_moments(&x, Axis(1)), Err(Error::EmptyTooWide { .. })));
        assert_eq!(mean_var_axis(&x, Axis(1), 0.0).expect("defined").0.len(), 0);
    }
    let x = ArrayView3::<f32>::from_shape((1 << 29, 0, 1), &[]).expect("a shape");
    assert!(matches!(mean_var_axis(&x, Axis(1), 0.0), Err(Error::EmptyTooWide { .. })));
    // More features than an empty batch may have.
    let wide = Array2::<f32>::zeros((4, (1 << 24) + 1));
    let (mean, _) = mean_var_axis(&wide.slice(s![..;2, ..]), Axis(0), 0.0).expect("not empty");
    assert_eq!(mean.len(), (1 << 24) + 1);
    // As many axes as nobody has.
    let deep = ArrayD::<f32>::ones(IxDyn(&vec![1; 2000]));
    assert_eq!(mean_var_axis(&deep, Axis(1000), 0.0).expect("defined").0.len(), 1);
}

#[test]
fn empty_arrays_and_mistakes() {
    let empty = Array2::<f32>::zeros((0, 3));
    let (mean, var) = mean_var_axis(&empty, Axis(0), 0.0).expect("defined");
    assert!(mean.len() == 3 && mean.iter().chain(&var).all(|value| value.is_nan()));
    let (mean, _) = mean_var_axis(&empty, Axis(1), 0.0).expect("defined");
    assert_eq!(mean.len(), 0);
    assert_eq!(feature_moments(&empty, Axis(1)).expect("defined"), Moments::new(3));
    assert_eq!(layer(3).forward_eval_array(&empty, Axis(1)).expect("defined"), empty);
    let no_columns = Array2::<f32>::zeros((3, 0));
    let strided = no_columns.slice(s![..;2, ..]);
    assert_eq!(mean_var_axis(&strided, Axis(0), 0.0).expect("defined").0.len(), 0);
    assert_eq!(feature_moments(&strided, Axis(0)).expect("defined"), Moments::new(2));

    let x = Array2::<f32>::zeros((4, 3));
    let error = feature_moments(&x, Axis(2)).expect_err("no such axis");
    assert!(matches!(error, Error::NoSuchAxis { axis: 2, dimensions: 2, .. }));
    assert_eq!(error.to_string(), "there is no axis 2 in an array of 2 dimensions (the first one is 0)");
    assert_eq!(mean_var_axis(&x, Axis(7), 0.0).expect_err("no such axis").to_string().len(), error.to_string().len());
    let scalar = Array::<f32, _>::zeros(IxDyn(&[]));
    assert!(matches!(feature_moments(&scalar, Axis(0)), Err(Error::NoSuchAxis { axis: 0, dimensions: 0, .. })));

    let (norm, mut bn) = (layer(5).to_inference(), layer(5));
    let mut x = Array2::<f32>::ones((4, 6));
    for mut view in [x.clone().view_mut(), x.slice_mut(s![..;2, 1..5])] {
        let before = view.to_owned();
        assert!(matches!(norm.forward_array_in_place(&mut view, Axis(1)), Err(Error::Features { expected: 5, .. })));
        assert!(matches!(
            bn.forward_train_array_in_place(&mut view, Axis(1)),
            Err(Error::Features { expected: 5, .. })
        ));
        assert!(matches!(norm.forward_array(&view, Axis(1)), Err(Error::Features { expected: 5, .. })));
        assert_eq!(view, before);
    }
    assert_eq!(bn.running_mean(), layer(5).running_mean());
    let one = Array1::<f64>::ones(1);
    assert!(matches!(layer(1).forward_train_array(&one, Axis(0)), Err(Error::TooFewValues { .. })));
}
