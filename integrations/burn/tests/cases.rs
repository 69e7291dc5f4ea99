//! What burn's own tests ask of its layer, with other batches. The expected numbers were computed from the formulas in
//! exact fractions.

mod common;

use batchnorm_burn::{BatchNorm, BatchNormConfig};
use burn::module::{Module, Param, ParamGroup, RunningState};
use burn::tensor::{Device, Tensor};
use common::{assert_all_near, autodiff, flex, list, message};

const BATCH: [[[f32; 3]; 2]; 2] = [[[1.5, -0.25, 3.0], [10.0, 12.5, 11.0]], [[0.75, 2.0, -1.0], [9.0, 10.5, 14.0]]];
/// The gradient of the outputs.
const DY: [[[f32; 3]; 2]; 2] = [[[1.0, -2.0, 0.5], [0.25, 1.5, -1.0]], [[2.0, 0.0, -0.75], [1.0, -0.5, 3.0]]];
const MEAN: [f64; 2] = [0.25, 2.7916666666666665];
const VAR: [f64; 2] = [1.203125, 1.4305555555555556];
#[rustfmt::skip]
const TRAINED: [f64; 12] = [
    0.806932399193, -1.142330997982, 2.477729596771, 2.353488470101, 1.596013177027, 2.050498352872,
    -0.028466199596, 1.363864798385, -1.977729596771, 2.656478587331, 2.201993411486, 1.141528001183,
];
#[rustfmt::skip]
const EVALUATED: [f64; 12] = [
    1.958698685844, -0.433479474337, 4.009137108856, -1.012317621862, -2.05705205719, -1.430211395994,
    0.933479474337, 2.642178160181, -1.458698685844, -0.594423847731, -1.221264508928, -2.683892718387,
];
#[rustfmt::skip]
const TRAINED_DX: [f64; 12] = [
    0.718712022458, -1.727163506245, -0.605979405123, -0.045921688531, -0.028676137365, 0.491209237087,
    2.216456335037, -0.651072452057, 0.04904700593, -0.431557555535, 0.260517538931, -0.245571394587,
];
#[rustfmt::skip]
const EVALUATED_DX: [f64; 12] = [
    1.366958948675, -2.73391789735, 0.683479474337, -0.104473443533, -0.626840661197, 0.417893774131,
    2.73391789735, 0.0, -1.025219211506, -0.417893774131, 0.208946887066, -1.253681322394,
];

/// A layer of two channels: epsilon 1e-3, momentum 0.25, gamma (1.5, -0.5), beta (0.25, 2).
fn layer(device: &Device) -> BatchNorm {
    let bn = BatchNormConfig::new(2).with_epsilon(1e-3).with_momentum(0.25).init(device);
    let of = |values: [f32; 2]| Param::from_tensor(Tensor::from_floats(values, device));
    BatchNorm { gamma: of([1.5, -0.5]), beta: of([0.25, 2.0]), ..bn }
}

fn batch(device: &Device) -> Tensor<3> {
    Tensor::from_floats(BATCH, device)
}

fn running(bn: &BatchNorm) -> [Vec<f64>; 2] {
    [&bn.running_mean, &bn.running_var].map(|running| list(running.value_sync()))
}

#[test]
fn training_normalises_by_the_batch() {
    let bn = layer(&autodiff());
    assert_all_near("outputs", &list(bn.forward(batch(&autodiff()))), &TRAINED, 1e-6);
    let [mean, var] = running(&bn);
    assert_all_near("running mean", &mean, &MEAN, 1e-7);
    assert_all_near("running variance", &var, &VAR, 1e-7);
}

#[test]
fn inference_normalises_by_the_running_statistics() {
    let bn = layer(&autodiff());
    bn.forward(batch(&autodiff()));
    let bn = bn.valid();
    assert_all_near("outputs", &list(bn.forward(batch(&flex()))), &EVALUATED, 1e-6);
    assert_eq!(running(&bn).map(|values| values.len()), [2, 2]);
    // It trains again, and inference has moved nothing.
    let bn = bn.train();
    assert_all_near("trained", &list(bn.forward(batch(&autodiff()))), &TRAINED, 1e-6);
    let twice = [0.75 * MEAN[0] + 0.25 * 1.0, 0.75 * MEAN[1] + 0.25 * 67.0 / 6.0];
    assert_all_near("running mean", &running(&bn)[0], &twice, 1e-6);
}

#[test]
fn a_plane_is_as_a_row() {
    let bn = layer(&autodiff());
    let y = bn.forward(batch(&autodiff()).reshape([2, 2, 1, 3]));
    assert_eq!(y.dims(), [2, 2, 1, 3]);
    assert_all_near("outputs", &list(y), &TRAINED, 1e-6);
    let y = bn.valid().forward(batch(&flex()).reshape([2, 2, 3, 1, 1]));
    assert_all_near("outputs", &list(y), &EVALUATED, 1e-6);
}

#[test]
fn gradients_of_training() {
    let device = autodiff();
    let (bn, x) = (layer(&device), batch(&device).require_grad());
    let gradients = (bn.forward(x.clone()) * Tensor::<3>::from_floats(DY, &device)).sum().backward();
    assert_all_near("x", &list(x.grad(&gradients).expect("one")), &TRAINED_DX, 1e-6);
    let [gamma, beta] = [&bn.gamma, &bn.beta].map(|parameter| list(parameter.grad(&gradients).expect("one")));
    assert_all_near("gamma", &gamma, &[3.712882661284275, 5.176081169337833], 1e-6);
    assert_all_near("beta", &beta, &[0.75, 4.25], 1e-6);
}

#[test]
fn gradients_of_inference() {
    let device = autodiff();
    let bn = layer(&device);
    bn.forward(batch(&device));
    let bn = bn.valid();
    let x = batch(&device).require_grad();
    let gradients = (bn.forward(x.clone()) * Tensor::<3>::from_floats(DY, &device)).sum().backward();
    assert_all_near("x", &list(x.grad(&gradients).expect("one")), &EVALUATED_DX, 1e-6);

    // On the training device, but frozen by its flag alone: gamma and beta learn.
    let bn = bn.train();
    let bn = BatchNorm { training: bn.training.clone().with_value(false), ..bn };
    let before = running(&bn);
    let gradients = (bn.forward(batch(&device)) * Tensor::<3>::from_floats(DY, &device)).sum().backward();
    assert_all_near(
        "gamma",
        &list(bn.gamma.grad(&gradients).expect("one")),
        &[5.069139434669156, 36.887831687373165],
        1e-5,
    );
    assert_all_near("beta", &list(bn.beta.grad(&gradients).expect("one")), &[0.75, 4.25], 1e-6);
    assert_eq!(running(&bn), before);
}

#[test]
fn a_frozen_layer_evaluates_on_the_training_device() {
    let device = autodiff();
    let bn = BatchNormConfig::new(2).init(&device).freeze();
    let before = running(&bn);
    assert_all_near("outputs", &list(bn.forward(batch(&device))), &list(batch(&device)), 1e-5);
    assert_eq!(running(&bn), before);
    // A group that only sets gradients: gamma and beta learn, the running statistics do not.
    let bn = bn.clone().set_require_grad_group(ParamGroup::ids_from_module(bn), true);
    assert!(!bn.training.is_enabled());
    let gradients = bn.forward(batch(&device)).sum().backward();
    assert!(bn.gamma.grad(&gradients).is_some() && bn.beta.grad(&gradients).is_some());
    assert!(bn.running_mean.value_sync().grad(&gradients).is_none());
    assert!(bn.running_var.value_sync().grad(&gradients).is_none());
    assert_eq!(running(&bn), before);
}

#[test]
fn a_frozen_gamma_alone_does_not_stop_training() {
    let device = autodiff();
    let bn = layer(&device).freeze_group(ParamGroup::from_path("gamma"));
    assert!(!bn.gamma.is_require_grad() && bn.beta.is_require_grad() && bn.training.is_enabled());
    assert_all_near("outputs", &list(bn.forward(batch(&device))), &TRAINED, 1e-6);
    assert_all_near("running mean", &running(&bn)[0], &MEAN, 1e-7);
}

#[test]
fn trains_under_gradient_checkpointing() {
    let device = autodiff().gradient_checkpointing();
    let (bn, x) = (layer(&device), batch(&device).require_grad());
    // The batch is the output of an operation that checkpointing computes again.
    let y = bn.forward(x.clone() + 1.0 - 1.0);
    assert_all_near("outputs", &list(y.clone()), &TRAINED, 1e-6);
    let gradients = (y * Tensor::<3>::from_floats(DY, &device)).sum().backward();
    assert_all_near("x", &list(x.grad(&gradients).expect("one")), &TRAINED_DX, 1e-6);
    assert_all_near("running variance", &running(&bn)[1], &VAR, 1e-7);
}

#[test]
fn momentum_at_its_bounds() {
    for (momentum, mean, var) in [(0.0, 0.0, 1.0), (1.0, 3.5, 2.25)] {
        let bn = BatchNormConfig::new(1).with_momentum(momentum).init(&autodiff());
        bn.forward(Tensor::<2>::from_floats([[-7.0], [3.0]], &autodiff()));
        let y = bn.forward(Tensor::<2>::from_floats([[2.0], [5.0]], &autodiff()));
        assert_all_near("outputs", &list(y), &[-1.0, 1.0], 1e-5);
        assert_eq!(running(&bn), [[mean], [var]], "momentum {momentum}");
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let config = BatchNormConfig::new(1);
    assert!(message(|| BatchNormConfig::new(0).init(&flex())).contains("num_features must be at least 1, but is 0"));
    for epsilon in [0.0, -1e-5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let message = message(|| config.clone().with_epsilon(epsilon).init(&flex()));
        assert!(message.contains(&format!("epsilon must be positive and finite, but is {epsilon}")), "{message}");
    }
    for momentum in [-0.1, 1.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let message = message(|| config.clone().with_momentum(momentum).init(&flex()));
        assert!(message.contains(&format!("momentum must be within 0 and 1, but is {momentum}")), "{message}");
    }
}

#[test]
fn shapes_that_do_not_fit_panic_with_both_numbers() {
    for device in [flex(), autodiff()] {
        let bn = layer(&device);
        let rank = message(|| bn.forward(Tensor::<1>::zeros([4], &device)));
        assert!(rank.contains("expected rank at least 2, got 1"), "{rank}");
        let channels = message(|| bn.forward(Tensor::<3>::zeros([1, 4, 2], &device)));
        assert!(channels.contains("axis 1 expected 2, got 4"), "{channels}");
        let beta = Param::from_tensor(Tensor::zeros([3], &device));
        let parameters = message(|| BatchNorm { beta, ..bn.clone() }.forward(batch(&device)));
        assert!(parameters.contains("bias") && parameters.contains('2') && parameters.contains('3'), "{parameters}");
        let negative = message(|| BatchNorm { epsilon: -1.0, ..bn.clone() }.forward(batch(&device)));
        assert!(negative.contains("eps") && negative.contains("-1"), "{negative}");
    }
}

/// What burn's layer makes NaN of.
#[test]
fn a_negative_running_variance_panics() {
    let bn = layer(&flex());
    let bn = BatchNorm { running_var: RunningState::new(Tensor::from_floats([1.0, -2.0], &flex())), ..bn };
    let message = message(|| bn.forward(batch(&flex())));
    assert!(message.contains("running_var") && message.contains("-2"), "{message}");
    assert!(list(burn::nn::BatchNorm::from(bn).forward(batch(&flex())))[3].is_nan());
}

#[test]
fn one_value_per_channel_becomes_the_bias() {
    let bn = BatchNormConfig::new(2).init(&autodiff());
    let y = bn.forward(Tensor::<2>::from_floats([[3.0, -4.0]], &autodiff()));
    assert_eq!(list(y), [0.0, 0.0]);
    assert_all_near("running mean", &running(&bn)[0], &[0.3, -0.4], 1e-7);
    assert_all_near("running variance", &running(&bn)[1], &[0.9, 0.9], 1e-7);
}

#[test]
fn an_empty_batch_moves_nothing() {
    let bn = layer(&autodiff());
    let y = bn.forward(Tensor::<3>::empty([0, 2, 5], &autodiff()));
    assert_eq!((y.dims(), running(&bn)), ([0, 2, 5], [vec![0.0; 2], vec![1.0; 2]]));
    assert_eq!(bn.valid().forward(Tensor::<3>::empty([3, 2, 0], &flex())).dims(), [3, 2, 0]);
    let theirs = burn::nn::BatchNorm::from(layer(&autodiff()));
    theirs.forward(Tensor::<3>::empty([0, 2, 5], &autodiff()));
    assert!(list(theirs.running_mean.value_sync())[0].is_nan());
}

#[test]
fn is_displayed_as_burns() {
    let (ours, theirs) = (layer(&flex()), burn::nn::BatchNorm::from(layer(&flex())));
    assert_eq!(format!("{ours}"), format!("{theirs}"));
    assert_eq!(format!("{ours}"), "BatchNorm {num_features: 2, momentum: 0.25, epsilon: 0.001, params: 8}");
    assert_eq!(format!("{}", ours.freeze()), format!("{}", theirs.freeze()));
}
