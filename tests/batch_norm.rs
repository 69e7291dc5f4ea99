//! The layer: PyTorch's semantics, against closed forms.

mod common;

use batchnorm::{Batch, BatchMut, BatchNorm, Element, Error, Layout, Path};
use common::nasty::{Kind, batch};
use common::{assert_same_bits, by_every_path};

fn train<T: Element>(bn: &mut BatchNorm, data: &[T], layout: Layout) -> Vec<T> {
    let mut y = data.to_vec();
    bn.forward_train(Batch::new(data, layout).expect("x"), BatchMut::new(&mut y, layout).expect("y")).expect("trains");
    y
}

fn eval<T: Element>(bn: &BatchNorm, data: &[T], layout: Layout) -> Vec<T> {
    let mut y = data.to_vec();
    bn.forward_eval(Batch::new(data, layout).expect("x"), BatchMut::new(&mut y, layout).expect("y")).expect("runs");
    y
}

/// x = 1, 2, 3, 4: mean 2.5, biased variance 1.25, unbiased 5 / 3.
#[test]
fn training_in_closed_form() {
    let mut bn = BatchNorm::new(1);
    bn.set_weight(&[2.0f64]).expect("weight");
    bn.set_bias(&[10.0f64]).expect("bias");
    let y = train(&mut bn, &[1.0f64, 2.0, 3.0, 4.0], Layout::nc(4, 1));
    let inv_std = 1.0 / (1.25f64 + 1e-5).sqrt();
    assert_eq!(y, [-1.5, -0.5, 0.5, 1.5].map(|d| d * (inv_std * 2.0) + 10.0));
    assert_eq!(bn.running_mean(), [0.9 * 0.0 + 0.1 * 2.5]);
    assert_eq!(bn.running_var(), [0.9 * 1.0 + 0.1 * (5.0 / 3.0)]);
    assert_eq!(bn.num_batches_tracked(), 1);

    let y = eval(&bn, &[3.0f64], Layout::nc(1, 1));
    let inv_std = 1.0 / (bn.running_var()[0] + 1e-5).sqrt();
    assert_eq!(y, [(3.0 - 0.25) * (inv_std * 2.0) + 10.0]);
}

/// PyTorch 2.15 with x = [0, 2] and running statistics (0, 1): momentum 2 gives (2, 3), momentum -1 gives (-1, 0).
#[test]
fn any_momentum() {
    for (momentum, mean, variance) in [(2.0, 2.0, 3.0), (-1.0, -1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 2.0)] {
        let mut bn = BatchNorm::new(1).with_momentum(momentum).expect("finite");
        train(&mut bn, &[0.0f32, 2.0], Layout::nc(2, 1));
        assert_eq!((bn.running_mean()[0], bn.running_var()[0]), (mean, variance), "momentum {momentum}");
    }
}

/// PyTorch's `momentum=None`: all batches have equal weight, whatever their size.
#[test]
fn cumulative_average() {
    let mut bn = BatchNorm::new(1).with_cumulative_average();
    train(&mut bn, &[0.0f64, 2.0], Layout::nc(2, 1));
    assert_eq!((bn.running_mean()[0], bn.running_var()[0]), (1.0, 2.0));
    train(&mut bn, &[5.0f64; 100], Layout::nc(100, 1));
    assert_eq!((bn.running_mean()[0], bn.running_var()[0]), (3.0, 1.0));
    assert_eq!(bn.num_batches_tracked(), 2);
}

#[test]
fn affine_is_optional() {
    let data = batch::<f32>(Kind::Normal, 1, Layout::nc(50, 3));
    let plain = train(&mut BatchNorm::new(3), &data, Layout::nc(50, 3));
    assert_same_bits("affine=False", &plain, &train(&mut BatchNorm::new(3).without_affine(), &data, Layout::nc(50, 3)));
    let mut weighted = BatchNorm::new(3).without_bias();
    weighted.set_weight(&[2.0f32; 3]).expect("weights");
    let doubled: Vec<f32> = plain.iter().map(|y| 2.0 * y).collect();
    assert_same_bits("bias=False", &doubled, &train(&mut weighted, &data, Layout::nc(50, 3)));
}

#[test]
fn constants_become_their_bias() {
    for (c, n, weight) in
        [(99.0f32, 6, 1.0), (7.3, 1000, -1.0), (1e10, 1000, 2.0), (-7.12e9, 1000, 1.0), (1e-40, 9, 1.0)]
    {
        for layout in [Layout::nc(n, 1), Layout::ncl(1, 1, n), Layout::ncl(n, 1, 9)] {
            let data = vec![c; layout.checked_len().expect("small")];
            for bias in [0.0f32, -0.25, 3.7] {
                for eps in [1e-5, 0.0] {
                    let mut bn = BatchNorm::new(1).with_eps(eps).expect("fine");
                    bn.set_weight(&[weight]).expect("weight");
                    bn.set_bias(&[bias]).expect("bias");
                    let y = train(&mut bn, &data, layout);
                    assert!(y.iter().all(|y| y.to_bits() == bias.to_bits()), "{c}, {layout}: {}", y[0]);
                }
            }
        }
    }
}

/// Training on every layout, against the definition in f64.
#[test]
fn every_layout() {
    for layout in [
        Layout::nc(40, 3),
        Layout::ncl(10, 3, 4),
        Layout::nchw(4, 3, 5, 6),
        Layout::ncdhw(2, 3, 2, 3, 4),
        Layout::nhwc(2, 5, 4, 3),
    ] {
        let data = batch::<f64>(Kind::Offset(100.0), 2, layout);
        let (features, inner) = (layout.features(), layout.inner());
        let feature_of = |at: usize| at / inner % features;
        let mut bn = BatchNorm::new(features);
        let y = train(&mut bn, &data, layout);
        for feature in 0..features {
            let of = |values: &[f64]| -> Vec<f64> {
                values.iter().enumerate().filter(|(at, _)| feature_of(*at) == feature).map(|(_, x)| *x).collect()
            };
            let (x, y) = (of(&data), of(&y));
            let n = x.len() as f64;
            let mean = x.iter().sum::<f64>() / n;
            let m2 = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
            for (x, y) in x.iter().zip(y) {
                assert!(((x - mean) / (m2 / n + 1e-5).sqrt() - y).abs() < 1e-12, "{layout}");
            }
            assert!((bn.running_mean()[feature] - 0.1 * mean).abs() < 1e-12);
            assert!((bn.running_var()[feature] - (0.9 + 0.1 * m2 / (n - 1.0))).abs() < 1e-12);
        }
    }
}

/// f32 values near 1e30: the variance does not fit into f32, but the result does (PyTorch gives zeros here).
#[test]
fn large_values_keep_their_shape() {
    let y = train(&mut BatchNorm::new(1), &[1e30f32, -1e30], Layout::nc(2, 1));
    assert_eq!(y, [1.0, -1.0]);
}

#[test]
fn evaluation_of_few_rows_and_none() {
    let bn = BatchNorm::new(2).with_eps(0.0).expect("fine");
    assert_eq!(eval(&bn, &[1.0f32, 2.0], Layout::nc(1, 2)), [1.0, 2.0]);
    assert!(eval::<f32>(&bn, &[], Layout::nc(0, 2)).is_empty());
    assert!(eval::<f32>(&bn, &[], Layout::ncl(4, 2, 0)).is_empty());
}

/// Returns everything that a caller can see of a layer.
fn state(bn: &BatchNorm) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {}",
        bn.eps(),
        bn.momentum(),
        bn.weight(),
        bn.bias(),
        bn.running_mean(),
        bn.running_var(),
        bn.num_batches_tracked()
    )
}

#[test]
fn errors_name_both_numbers_and_change_nothing() {
    let mut bn = BatchNorm::new(3);
    train(&mut bn, &[1.0f32, 2.0, 3.0, 4.0, 6.0, 9.0], Layout::nc(2, 3));
    let before = state(&bn);
    let (three, one_row, two) = (Layout::nc(2, 3), Layout::nc(1, 3), Layout::nc(3, 2));
    let data = [1.0f32; 6];
    let mut out = [7.0f32; 6];
    let x = Batch::new(&data, three).expect("x");

    let refused = |done: batchnorm::Result<()>| done.expect_err("refused").to_string();
    let mismatch = format!("the input is {three}, but the output is {two}");
    let y = BatchMut::new(&mut out, two).expect("y");
    assert_eq!(refused(bn.forward_train(x, y)), mismatch);
    let y = BatchMut::new(&mut out, two).expect("y");
    assert_eq!(refused(bn.forward_eval(x, y)), mismatch);
    let features = "the layer has 3 features, but the batch has 2";
    assert_eq!(refused(bn.forward_train_in_place(BatchMut::new(&mut out, two).expect("y"))), features);
    assert_eq!(refused(bn.forward_eval_in_place(BatchMut::new(&mut out, two).expect("y"))), features);
    let few = "training needs at least 2 values per feature, but the batch has 1: the variance of so few is undefined";
    let mut row = [1.0f32; 3];
    assert_eq!(refused(bn.forward_train_in_place(BatchMut::new(&mut row, one_row).expect("y"))), few);

    let length = |name, given| format!("{name} needs 3 values, one per feature, but got {given}");
    assert_eq!(refused(bn.set_weight(&[1.0f32; 2])), length("weight", 2));
    assert_eq!(refused(bn.set_bias(&[1.0f32; 4])), length("bias", 4));
    assert_eq!(refused(bn.set_running_mean(&[1.0f32; 0])), length("running_mean", 0));
    assert_eq!(refused(bn.set_running_var(&[1.0f32; 2])), length("running_var", 2));
    let range = bn.set_running_var(&[1.0f32, -2.0, 3.0]).expect_err("refused");
    assert_eq!(range.to_string(), "running_var must be at least 0 where the momentum lies within 0 and 1, but is -2");

    assert_eq!(state(&bn), before);
    assert_eq!(out, [7.0; 6]);
    for eps in [-1e-9, f64::NAN, f64::INFINITY] {
        assert!(BatchNorm::new(1).with_eps(eps).is_err());
        assert!(BatchNorm::new(1).with_momentum(eps).is_err() || eps == -1e-9);
    }
}

/// Variances that result from training on constants or on NaN can be set again. Without `eps`, a variance of 0 gives
/// the bias.
#[test]
fn any_variance_that_is_not_negative_may_be_set() {
    let mut bn = BatchNorm::new(4).with_eps(0.0).expect("an eps");
    bn.set_bias(&[5.0, 6.0, 7.0, 8.0]).expect("one each");
    bn.set_running_var(&[0.0, -0.0, f64::INFINITY, f64::NAN]).expect("not negative");
    let (layout, mut out) = (Layout::nc(1, 4), [0.0f64; 4]);
    bn.forward_eval(Batch::new(&[3.0; 4], layout).expect("x"), BatchMut::new(&mut out, layout).expect("y"))
        .expect("runs");
    assert_eq!(out[..3], [5.0, 6.0, 7.0]);
    assert!(out[3].is_nan());
}

#[test]
fn slices_and_layouts_are_checked() {
    let short = Batch::new(&[0.0f32; 29], Layout::nc(6, 5)).expect_err("refused");
    assert!(matches!(short, Error::Length { needed: 30, given: 29, .. }), "{short:?}");
    for layout in [
        Layout::new(usize::MAX, 2, 1),
        Layout::nchw(1, 3, usize::MAX, usize::MAX),
        Layout::ncdhw(1, 1, usize::MAX, 2, 2),
        Layout::nhwc(usize::MAX, usize::MAX, 2, 3),
    ] {
        assert!(matches!(Batch::new(&[0.0f32; 4], layout), Err(Error::Overflow { .. })), "{layout}");
        assert!(matches!(BatchMut::new(&mut [0.0f64; 4], layout), Err(Error::Overflow { .. })), "{layout}");
    }
    // With a dimension of 0 a batch is empty, whatever its other dimensions are; but the number of features is limited.
    assert!(Batch::<f32>::new(&[], Layout::nchw(usize::MAX, 3, usize::MAX, 0)).is_ok());
    assert!(Batch::<f32>::new(&[], Layout::nhwc(0, usize::MAX, 2, 3)).is_ok());
    let wide = Batch::<f32>::new(&[], Layout::nc(0, usize::MAX)).expect_err("refused");
    assert!(matches!(wide, Error::EmptyTooWide { most: 0x100_0000, given: usize::MAX, .. }), "{wide:?}");
}

/// An inference object outlives its layer, is shared between threads, and does not change with later training.
#[test]
fn inference_is_frozen() {
    let layout = Layout::nc(20, 2);
    let data = batch::<f32>(Kind::Normal, 5, layout);
    let mut bn = BatchNorm::new(2);
    train(&mut bn, &data, layout);
    let (norm, expected) = (bn.to_inference(), eval(&bn, &data, layout));
    train(&mut bn, &data, layout);
    let ys = by_every_path(|path: Path| {
        let mut y = data.clone();
        norm.clone().with_path(path).forward_in_place(BatchMut::new(&mut y, layout).expect("y")).expect("runs");
        y
    });
    for (name, y) in ys {
        assert_same_bits(&name, &expected, &y);
    }
    assert_ne!(eval(&bn, &data, layout), expected);
}

/// Inference objects are equal if they have the same parameters for each feature. (A mutant of this survived all other
/// tests.)
#[test]
fn inference_is_compared_by_value() {
    let norm = |features: usize, last_mean: f64| {
        let mut bn = BatchNorm::new(features);
        let mut mean = vec![1.0; features];
        mean[features - 1] = last_mean;
        bn.set_running_mean(&mean).expect("means");
        bn.to_inference()
    };
    assert_eq!(norm(20, 1.0), norm(20, 1.0));
    assert_eq!(norm(20, 1.0), norm(20, 1.0).clone());
    assert_ne!(norm(20, 1.0), norm(20, 2.0));
    assert_ne!(norm(20, 1.0), norm(19, 1.0));
    assert_ne!(norm(19, 1.0), norm(20, 1.0));
}

/// Empty batches of hostile shapes, and layers without features. (Fuzzing found an overflow where the size of a tree is
/// computed.)
#[test]
fn nothing_in_any_shape() {
    for layout in [
        Layout::nc(usize::MAX, 0),
        Layout::new(usize::MAX, 0, usize::MAX),
        Layout::new(usize::MAX, 3, 0),
        Layout::new(0, 3, usize::MAX),
        Layout::new(usize::MAX - 1, 0, 1),
        Layout::nc(5, 0),
    ] {
        let x = Batch::<f32>::new(&[], layout).expect("an empty batch");
        for (name, m) in by_every_path(|path| path.moments(x)) {
            assert_eq!(m.counts(), vec![0; layout.features()], "{name}, {layout}");
        }
        for path in [Path::Auto, Path::Scalar] {
            let mut bn = BatchNorm::new(layout.features()).with_path(path);
            let trained = bn.forward_train(x, BatchMut::new(&mut [], layout).expect("y"));
            let evaluated = bn.to_inference().forward(x, BatchMut::new(&mut [], layout).expect("y"));
            assert_eq!(evaluated, Ok(()), "{layout}");
            assert_eq!(trained, Ok(()), "{layout}");
            assert_eq!(bn.num_batches_tracked(), 0);
        }
    }
}

/// Scale and shift are what folding by hand needs, also where f64 cannot hold the scale.
#[test]
fn scale_and_shift() {
    let weight = [0.5, -2.0, 1e200, 1e-200, 0.0];
    let bias = [0.25, 1.0, 0.0, 3.0, 7.0];
    let mean = [3.0, 1e6, 1.0, 5.0, 2.0];
    let var = [4.0, 0.0, 1e-250, 1e250, 1.0];
    let mut bn = BatchNorm::new(5).with_eps(1.0).expect("eps");
    let set = |bn: &mut BatchNorm| {
        bn.set_weight(&weight)?;
        bn.set_bias(&bias)?;
        bn.set_running_mean(&mean)?;
        bn.set_running_var(&var)
    };
    set(&mut bn).expect("one each");
    let norm = bn.to_inference();
    assert_eq!(norm.shift()[1], 1.0 + 2.0 * 1e6);
    let x: Vec<f64> = (0..5).map(|feature| mean[feature] + 2.5).collect();
    let mut y = [0.0; 5];
    let layout = Layout::nc(1, 5);
    norm.forward(Batch::new(&x, layout).expect("x"), BatchMut::new(&mut y, layout).expect("y")).expect("runs");
    for feature in 0..5 {
        let folded = x[feature] * norm.scale()[feature] + norm.shift()[feature];
        assert!((folded - y[feature]).abs() <= 1e-9 * y[feature].abs(), "{feature}: {folded} and {}", y[feature]);
    }
    let norm = bn.with_eps(0.0).expect("eps").to_inference();
    assert_eq!(norm.scale(), [0.25, 0.0, f64::INFINITY, 1e-200 * (1.0 / 1e250f64.sqrt()), 0.0]);
    assert_eq!(norm.shift(), [-0.5, 1.0, f64::NEG_INFINITY, 3.0, 7.0]);
}
