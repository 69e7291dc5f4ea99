//! Activations and residuals in one pass have the bits of the separate steps, on every path.

mod common;

use batchnorm::{Activation, Batch, BatchMut, BatchNorm, Element, Error, Inference, Isa, Layout, Path, Precision};
use common::{assert_same_bits, by_every_path};

/// One layout for each traversal, some with odd lengths, and two large enough for non-temporal stores.
const LAYOUTS: [Layout; 17] = [
    Layout::nc(1, 1),
    Layout::nc(6, 5),
    Layout::nc(9, 65),
    Layout::nc(70, 2),
    Layout::nc(7, 1500),
    Layout::nc(3, 4099),
    Layout::ncl(3, 2, 5),
    Layout::ncl(2, 15, 9),
    Layout::ncl(2, 3, 32),
    Layout::ncl(4, 150, 3),
    Layout::ncl(40, 300, 3),
    Layout::nchw(5, 64, 7, 7),
    Layout::ncl(1, 2, 131),
    Layout::ncl(2, 2, 1001),
    // Trained block by block of features.
    Layout::nchw(12, 20, 31, 33),
    Layout::nc(4501, 701),
    Layout::ncl(4, 7, 112_501),
];

/// From this size on, outputs of either type are written with non-temporal stores.
const LARGE: usize = 3 << 20;

/// Values about 0 on the scale that parameters of [`layer`] have, with every special value among them.
fn values<T: Element>(len: usize, seed: usize) -> Vec<T> {
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e-45, -1e-45, 1e-310, -1e-310, 3e38, -3e38];
    let value = |i: usize| match (i * 31 + seed * 7) % 97 {
        at if at < special.len() && len > 40 => special[at],
        _ => ((i + 3) * (seed * 2 + 7919) * 104_729 % 20_011) as f64 / 2_000.0 - 5.0,
    };
    (0..len).map(|i| T::from_f64(value(i))).collect()
}

/// A layer some of whose features are out of f32's range, out of f64's range, constant, or 0.
fn layer(features: usize) -> BatchNorm {
    let of = |f: &dyn Fn(usize) -> f64| (0..features).map(f).collect::<Vec<f64>>();
    let mut bn = BatchNorm::new(features).with_eps(0.0).expect("eps");
    bn.set_running_mean(&of(&|f| [0.0, 1.5, -0.25, 1e32, 2.0][f % 5])).expect("fits");
    bn.set_running_var(&of(&|f| [1.0, 0.0, 4.0, 1e70, 1e-300, 0.3, 2.0][f % 7])).expect("fits");
    bn.set_weight(&of(&|f| [1.0, -0.5, 0.0, 1e-41, 1e200, -1.0, 3.0, 0.1, -1e-200, 0.7, 1.1][f % 11])).expect("fits");
    bn.set_bias(&of(&|f| [0.0, -0.0, 0.5, -0.5, 1e-46, -1e-46, 1e35, -1.0][f % 8])).expect("fits");
    bn
}

fn batch<T>(data: &[T], layout: Layout) -> Batch<'_, T> {
    Batch::new(data, layout).expect("a batch")
}

fn batch_mut<T>(data: &mut [T], layout: Layout) -> BatchMut<'_, T> {
    BatchMut::new(data, layout).expect("a batch")
}

/// The separate steps after the first, in the element type.
fn steps<T: Element>(normalised: &[T], residual: Option<&[T]>, relu: bool, add: impl Fn(T, T) -> T) -> Vec<T> {
    let zero = T::from_f64(0.0);
    let step = |(at, y): (usize, &T)| {
        let sum = residual.map_or(*y, |residual| add(*y, residual[at]));
        if relu && !sum.to_f64().is_nan() && sum.to_f64() <= 0.0 { zero } else { sum }
    };
    normalised.iter().enumerate().map(step).collect()
}

/// Returns the outputs of inference: out of place, and in place.
fn infer<T: Element>(bn: &Inference, x: &[T], residual: Option<&[T]>, layout: Layout) -> [Vec<T>; 2] {
    let (mut y, mut in_place) = (vec![T::from_f64(7.0); x.len()], x.to_vec());
    match residual {
        None => {
            bn.forward(batch(x, layout), batch_mut(&mut y, layout)).expect("runs");
            bn.forward_in_place(batch_mut(&mut in_place, layout)).expect("runs");
        }
        Some(residual) => {
            let residual = batch(residual, layout);
            bn.forward_add(batch(x, layout), residual, batch_mut(&mut y, layout)).expect("runs");
            bn.forward_add_in_place(batch_mut(&mut in_place, layout), residual).expect("runs");
        }
    }
    [y, in_place]
}

/// The same for training.
fn train<T: Element>(bn: &BatchNorm, x: &[T], residual: Option<&[T]>, layout: Layout) -> [Vec<T>; 2] {
    let (mut a, mut b) = (bn.clone(), bn.clone());
    let (mut y, mut in_place) = (vec![T::from_f64(7.0); x.len()], x.to_vec());
    match residual {
        None => {
            a.forward_train(batch(x, layout), batch_mut(&mut y, layout)).expect("trains");
            b.forward_train_in_place(batch_mut(&mut in_place, layout)).expect("trains");
        }
        Some(residual) => {
            let residual = batch(residual, layout);
            a.forward_train_add(batch(x, layout), residual, batch_mut(&mut y, layout)).expect("trains");
            b.forward_train_add_in_place(batch_mut(&mut in_place, layout), residual).expect("trains");
        }
    }
    assert_eq!(a.num_batches_tracked(), bn.num_batches_tracked() + 1);
    assert_same_bits("running means", a.running_mean(), b.running_mean());
    [y, in_place]
}

fn check<T: Element>(layout: Layout, precision: Precision, add: impl Fn(T, T) -> T + Copy + Sync) {
    let len = layout.checked_len().expect("small");
    let (x, residual): (Vec<T>, Vec<T>) = (values(len, 1), values(len, 2));
    let plain = layer(layout.features()).with_precision(precision).with_path(Path::Scalar);
    let normalised = infer(&plain.to_inference(), &x, None, layout)[0].clone();
    let trained = (layout.count() > 1).then(|| train(&plain, &x, None, layout)[0].clone());
    let forms = [(Activation::Relu, false), (Activation::None, true), (Activation::Relu, true)];
    for (activation, adds) in forms.into_iter().skip(if len < LARGE { 0 } else { 2 }) {
        let bn = plain.clone().with_activation(activation);
        let residual = adds.then_some(&residual[..]);
        let relu = activation == Activation::Relu;
        let expected = steps(&normalised, residual, relu, add);
        let expected_train = trained.as_ref().map(|trained| steps(trained, residual, relu, add));
        let run = |path: Path| {
            let bn = bn.clone().with_path(path);
            let trained = if layout.count() > 1 { train(&bn, &x, residual, layout).into() } else { Vec::new() };
            (infer(&bn.to_inference(), &x, residual, layout), trained)
        };
        let mut results = vec![("scalar".to_string(), run(Path::Scalar))];
        if len < LARGE {
            results.extend(by_every_path(run));
        } else {
            results.extend(Isa::available().map(|isa| (isa.to_string(), run(Path::Simd(isa)))));
        }
        for (name, (inferred, trained)) in results {
            let name = format!("{layout}, {precision:?}, {activation:?}, residual {adds}, {name}");
            for (y, form) in inferred.iter().zip(["", ", in place"]) {
                assert_same_bits(&format!("{name}{form}"), &expected, y);
            }
            for (y, form) in trained.iter().zip(["", ", in place"]) {
                assert_same_bits(&format!("{name}, training{form}"), expected_train.as_ref().expect("trains"), y);
            }
        }
    }
}

#[test]
fn f32_has_the_bits_of_separate_steps() {
    for layout in LAYOUTS {
        check::<f32>(layout, Precision::Single, |a, b| a + b);
    }
}

#[test]
fn f32_in_f64_has_the_bits_of_separate_steps() {
    for layout in LAYOUTS {
        check::<f32>(layout, Precision::Double, |a, b| a + b);
    }
}

#[test]
fn f64_has_the_bits_of_separate_steps() {
    for layout in LAYOUTS {
        check::<f64>(layout, Precision::Single, |a, b| a + b);
    }
}

/// The sum with the residual is of a rounded value: in f64 alone, these sums would differ.
#[test]
fn normalised_values_are_rounded_before_the_residual_is_added() {
    let layout = Layout::nc(64, 1);
    let x: Vec<f32> = (0..64).map(|i| 1.0 + i as f32 / 7.0).collect();
    let bn = BatchNorm::new(1).with_precision(Precision::Double).to_inference();
    let [normalised, _] = infer(&bn, &x, None, layout);
    // What is left is the rounding error, if the value was not rounded.
    let residual: Vec<f32> = normalised.iter().map(|y| -y).collect();
    for y in infer(&bn, &x, Some(&residual), layout) {
        assert_eq!(y, [0.0; 64]);
    }
}

/// ReLU by hand: what becomes of each special value, and which sign a zero has.
#[test]
fn relu_of_special_values() {
    let x = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 5e-324, -5e-324, 2.0, -2.0];
    let y = [f64::NAN, f64::INFINITY, 0.0, 0.0, 0.0, 5e-324, 0.0, 2.0, 0.0];
    let layout = Layout::nc(x.len(), 1);
    // -0.0 as the bias keeps -0.0.
    let mut bn = BatchNorm::new(1).with_eps(0.0).expect("eps").with_activation(Activation::Relu);
    bn.set_bias(&[-0.0]).expect("fits");
    for (name, outputs) in by_every_path(|path| infer(&bn.to_inference().with_path(path), &x, None, layout)) {
        for output in &outputs {
            assert_same_bits(&name, &y, output);
        }
    }
    assert_same_bits("one by one", &y, &x.map(|x| Activation::Relu.apply(x)));
}

#[test]
fn settings_are_passed_on_and_compared() {
    let bn = BatchNorm::new(2).with_activation(Activation::Relu);
    assert_eq!((bn.activation(), bn.to_inference().activation()), (Activation::Relu, Activation::Relu));
    assert!(bn.to_inference() != bn.to_inference().with_activation(Activation::None));
    // After evaluation, a new setting is not overlooked; nor is it after training.
    let (layout, mut y) = (Layout::nc(2, 2), [0.0; 4]);
    bn.forward_eval(batch(&[-1.0, 2.0, 3.0, -4.0], layout), batch_mut(&mut y, layout)).expect("runs");
    assert!(y[0] == 0.0 && y[1] > 1.9);
    let mut bn = bn.with_activation(Activation::None);
    bn.forward_eval(batch(&[-1.0, 2.0, 3.0, -4.0], layout), batch_mut(&mut y, layout)).expect("runs");
    assert!(y[0] < -0.9);
    bn.forward_train(batch(&[-1.0, 2.0, 3.0, -4.0], layout), batch_mut(&mut y, layout)).expect("trains");
    assert!(y[0] < -0.9);
    let mut bn = bn.with_activation(Activation::Relu);
    bn.forward_train(batch(&[-1.0, 2.0, 3.0, -4.0], layout), batch_mut(&mut y, layout)).expect("trains");
    assert_eq!((y[0], bn.activation()), (0.0, Activation::Relu));
}

/// Each layout that differs is an error, and nothing is changed.
#[test]
fn residuals_of_another_layout() {
    let (layout, other) = (Layout::nc(3, 2), Layout::nc(2, 3));
    let (x, mut y) = ([1.0f32, 2.0, 3.0, 4.0, 5.0, 7.0], [9.0f32; 6]);
    let mut bn = BatchNorm::new(2);
    let errors = [
        bn.forward_train_add(batch(&x, layout), batch(&x, other), batch_mut(&mut y, layout)),
        bn.forward_train_add(batch(&x, layout), batch(&x, layout), batch_mut(&mut y, other)),
        bn.forward_train_add_in_place(batch_mut(&mut y, layout), batch(&x, other)),
        bn.forward_eval_add(batch(&x, layout), batch(&x, other), batch_mut(&mut y, layout)),
        bn.forward_eval_add(batch(&x, layout), batch(&x, layout), batch_mut(&mut y, other)),
        bn.forward_eval_add_in_place(batch_mut(&mut y, layout), batch(&x, other)),
    ];
    for error in errors {
        let error = error.expect_err("another layout");
        assert!(matches!(error, Error::LayoutMismatch { input, output, .. } if (input, output) == (layout, other)));
    }
    assert_eq!((y, bn.num_batches_tracked()), ([9.0; 6], 0));
    assert_eq!(bn.running_mean(), [0.0, 0.0]);
}

#[test]
fn empty_batches() {
    let layout = Layout::nc(0, 3);
    let bn = BatchNorm::new(3).with_activation(Activation::Relu);
    bn.forward_eval_add::<f32>(batch(&[], layout), batch(&[], layout), batch_mut(&mut [], layout)).expect("nothing");
    bn.forward_eval_add_in_place::<f64>(batch_mut(&mut [], layout), batch(&[], layout)).expect("nothing");
}
