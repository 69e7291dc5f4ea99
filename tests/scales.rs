//! Weights and variances near the ends of f64's range: outputs are right although the scale is no f64.

use batchnorm::{Batch, BatchMut, BatchNorm, Isa, Layout, Path};

fn paths() -> Vec<Path> {
    let mut paths = vec![Path::Scalar, Path::Auto, Path::Parallel(Isa::detect())];
    paths.extend(Isa::available().map(Path::Simd));
    paths
}

/// Two values and the weight of a feature.
const CASES: [([f64; 2], f64); 6] = [
    ([-1e137, 1e137], 1e-300),
    ([-1e-140, 1e-140], 1e200),
    ([-1e150, 1e150], -1e-290),
    ([-3e-150, 3e-150], 1e160),
    ([-1.0, 1.0], 1e-308),
    ([-2.0, 2.0], 3.0),
];

/// Without another feature in range, too.
#[test]
fn a_feature_alone_is_right() {
    for ([low, high], weight) in CASES {
        for path in paths() {
            let mut bn = BatchNorm::new(1).with_eps(0.0).expect("eps").with_path(path);
            bn.set_weight(&[weight]).expect("one weight");
            let mut y = [low, high];
            bn.forward_train_in_place(BatchMut::new(&mut y, Layout::nc(2, 1)).expect("y")).expect("trains");
            for (y, exact) in y.into_iter().zip([-weight, weight]) {
                assert!((y - exact).abs() <= exact.abs() * 1e-14, "{low:e}, {weight:e}, {path:?}: {y:e}");
            }
        }
    }
}

/// Every case is a feature of one batch, as columns and as planes: no feature's bits depend on the others.
#[test]
fn outputs_are_right_where_the_scale_is_out_of_range() {
    let features = CASES.len();
    for layout in [Layout::nc(2, features), Layout::ncl(2, features, 40)] {
        let inner = layout.inner();
        let weights = CASES.map(|(_, weight)| weight);
        for eps in [0.0, 1.0] {
            let value = |at: usize| CASES[at / inner % features].0[at / inner / features];
            let data: Vec<f64> = (0..2 * features * inner).map(value).collect();
            let mut expected: Option<Vec<f64>> = None;
            for path in paths() {
                let mut bn = BatchNorm::new(features).with_eps(eps).expect("eps").with_path(path);
                bn.set_weight(&weights).expect("weights");
                bn.set_bias(&vec![0.0; features]).expect("biases");
                let mut y = vec![0.0; data.len()];
                let x = Batch::new(&data, layout).expect("x");
                bn.forward_train(x, BatchMut::new(&mut y, layout).expect("y")).expect("trains");
                let mut in_place = data.clone();
                bn.forward_train_in_place(BatchMut::new(&mut in_place, layout).expect("y")).expect("trains");
                assert_eq!(y, in_place, "{path:?}");
                for (at, y) in y.iter().enumerate() {
                    let (x, weight) = CASES[at / inner % features];
                    // `x / sqrt(x^2 + eps)`, without a square that overflows.
                    let normalised = x[at / inner / features].signum() / (1.0 + eps / x[0] / x[0]).sqrt();
                    let exact = weight * if eps > 0.0 && x[0].abs() < 1e-100 { value(at) } else { normalised };
                    assert!(
                        (y - exact).abs() <= exact.abs() * 1e-14,
                        "{layout}, eps {eps}, {path:?}: {y:e}, {exact:e}"
                    );
                }
                let first = expected.get_or_insert_with(|| y.clone());
                assert_eq!(first, &y, "{path:?}");
                // Evaluation, with statistics that the layer was given.
                bn.set_running_mean(&vec![0.0; features]).expect("means");
                let variances = CASES.map(|(x, _)| x[0] * x[0]);
                bn.set_running_var(&variances).expect("variances");
                let norm = bn.to_inference();
                assert_eq!(norm, bn.to_inference());
                let mut evaluated = data.clone();
                norm.forward_in_place(BatchMut::new(&mut evaluated, layout).expect("y")).expect("runs");
                for (at, (y, evaluated)) in y.iter().zip(&evaluated).enumerate() {
                    let close = (y - evaluated).abs() <= y.abs() * 1e-14;
                    assert!(close, "{layout}, eps {eps}, {path:?}, {at}: trained {y:e}, evaluated {evaluated:e}");
                }
            }
        }
    }
}

/// A negative momentum can leave negative running variances: they can be saved and loaded back.
#[test]
fn every_state_that_training_leaves_can_be_loaded() {
    let layout = Layout::nc(4, 1);
    let data = [0.0, 10.0, 20.0, 30.0];
    let layer = || BatchNorm::new(1).with_momentum(-0.5).expect("finite");
    let mut bn = layer();
    let mut y = [0.0; 4];
    bn.forward_train(Batch::new(&data, layout).expect("x"), BatchMut::new(&mut y, layout).expect("y")).expect("trains");
    assert!(bn.running_var()[0] < 0.0);
    let mut loaded = layer();
    loaded.set_running_mean(bn.running_mean()).expect("its own");
    loaded.set_running_var(bn.running_var()).expect("its own");
    assert_eq!(loaded.running_var(), bn.running_var());
    assert!(BatchNorm::new(1).set_running_var(bn.running_var()).is_err());
}

/// Numbers of features that no memory holds are errors where they may come from input.
#[test]
fn too_many_features_are_an_error() {
    use batchnorm::Moments;
    for given in [usize::MAX, usize::MAX / 8, 1 << 60] {
        let text = format!("there is not enough memory for {given} features");
        assert_eq!(BatchNorm::try_new(given).unwrap_err().to_string(), text);
        assert_eq!(Moments::try_new(given).unwrap_err().to_string(), text);
    }
}
