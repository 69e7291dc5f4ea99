//! Beside burn's own layer: outputs, running statistics, gradients, records and conversions.

mod common;

use batchnorm_burn::{BatchNorm, BatchNormConfig};
use burn::config::Config;
use burn::module::{Module, ModuleVisitor, Quantizer};
use burn::store::ModuleRecord;
use burn::tensor::quantization::{Calibration, QuantValue};
use burn::tensor::{DType, Device, Tensor};
use common::{assert_near, autodiff, flex, list, ours, tensor, theirs};

/// What both layers are compared in, and how near they must be: burn's sums of f32 are of f32.
const TYPES: [(DType, f64); 2] = [(DType::F32, 1e-5), (DType::F64, 1e-12)];

fn outputs_agree<const D: usize>(shape: [usize; D]) {
    for (dtype, most) in TYPES {
        let name = format!("{shape:?} {dtype:?}");
        let (a, b) = (ours(shape[1], dtype, &autodiff()), theirs(shape[1], dtype, &autodiff()));
        for step in 0..3 {
            let x = tensor(shape, f64::from(step), dtype, &autodiff());
            assert_near(&name, a.forward(x.clone()), b.forward(x), most);
            assert_near(&name, a.running_mean.value_sync(), b.running_mean.value_sync(), most);
            assert_near(&name, a.running_var.value_sync(), b.running_var.value_sync(), most);
        }
        let x = tensor(shape, 1.0, dtype, &flex());
        assert_near(&name, a.valid().forward(x.clone()), b.valid().forward(x), most);
    }
}

#[test]
fn outputs_and_running_statistics() {
    outputs_agree([20, 3]);
    outputs_agree([1, 4]);
    outputs_agree([4, 3, 10]);
    outputs_agree([2, 5, 6, 7]);
    outputs_agree([2, 3, 4, 5, 6]);
    outputs_agree([1, 70, 9, 9]);
}

/// The gradients of `sum(forward(x) * r)` with respect to x, gamma and beta.
fn gradients<const D: usize>(
    shape: [usize; D],
    dtype: DType,
    device: &Device,
    layer: &burn::nn::BatchNorm,
    forward: impl Fn(Tensor<D>) -> Tensor<D>,
) -> (Tensor<D>, [Tensor<1>; 2]) {
    let x = tensor(shape, 1.0, dtype, device).require_grad();
    let r = tensor(shape, 0.3, dtype, device).powi_scalar(2);
    let all = (forward(x.clone()) * r).sum().backward();
    let of = |tensor: Tensor<1>| tensor.grad(&all).expect("a gradient");
    (x.grad(&all).expect("a gradient"), [of(layer.gamma.val()), of(layer.beta.val())])
}

fn gradients_agree<const D: usize>(shape: [usize; D]) {
    for (dtype, most) in [(DType::F32, 1e-4), (DType::F64, 1e-11)] {
        for device in [autodiff(), autodiff().gradient_checkpointing()] {
            for trains in [true, false] {
                let mut layer = theirs(shape[1], dtype, &device);
                layer.training = layer.training.with_value(trains);
                let ours = BatchNorm::from(layer.clone());
                let (dx, of) = gradients(shape, dtype, &device, &layer, |x| layer.forward(x));
                let (our_dx, our) = gradients(shape, dtype, &device, &layer, |x| ours.forward(x));
                let name = format!("{shape:?} {dtype:?}, trains: {trains}");
                assert_near(&name, our_dx, dx, most);
                for (ours, theirs) in our.into_iter().zip(of) {
                    assert_near(&name, ours, theirs, most);
                }
            }
        }
    }
}

#[test]
fn gradients_of_input_gamma_and_beta() {
    gradients_agree([20, 3]);
    gradients_agree([4, 3, 10]);
    gradients_agree([2, 5, 6, 7]);
    gradients_agree([2, 3, 4, 5, 6]);
}

/// A model with either layer, to see where it stands in a record.
#[derive(Module, Debug)]
struct Model<N: Module> {
    first: burn::nn::Linear,
    norms: Vec<N>,
}

fn model<N: Module>(norm: impl Fn(usize) -> N) -> Model<N> {
    Model { first: burn::nn::LinearConfig::new(4, 4).init(&flex()), norms: vec![norm(3), norm(5)] }
}

fn through_bytes(record: ModuleRecord) -> ModuleRecord {
    ModuleRecord::from_bytes(record.into_bytes().expect("written")).expect("read")
}

fn assert_same(ours: &BatchNorm, theirs: &burn::nn::BatchNorm) {
    assert_eq!((ours.gamma.id, ours.beta.id), (theirs.gamma.id, theirs.beta.id));
    let of_ours = [ours.gamma.val(), ours.beta.val(), ours.running_mean.value(), ours.running_var.value()];
    let of_theirs = [theirs.gamma.val(), theirs.beta.val(), theirs.running_mean.value(), theirs.running_var.value()];
    assert_eq!(of_ours.map(list), of_theirs.map(list));
}

#[test]
fn a_record_of_burns_loads_into_this_layer_and_back() {
    let theirs = model(|features| theirs(features, DType::F32, &flex()));
    let fresh = model(|features| BatchNormConfig::new(features).init(&flex()));
    assert_ne!(list(fresh.norms[1].running_var.value()), list(theirs.norms[1].running_var.value()));
    let loaded = fresh.load_record(through_bytes(theirs.clone().into_record()));
    loaded.norms.iter().zip(&theirs.norms).for_each(|(ours, theirs)| assert_same(ours, theirs));

    let fresh = model(|features| burn::nn::BatchNormConfig::new(features).init(&flex()));
    let back = fresh.load_record(through_bytes(loaded.clone().into_record()));
    loaded.norms.iter().zip(&back.norms).for_each(|(ours, theirs)| assert_same(ours, theirs));
}

#[test]
fn a_record_has_the_bytes_of_burns() {
    let bytes = |record: ModuleRecord| record.into_bytes().expect("written").to_vec();
    let theirs = model(|features| theirs(features, DType::F32, &flex()));
    let norms = theirs.norms.iter().cloned().map(BatchNorm::from).collect();
    let ours = Model { first: theirs.first.clone(), norms };
    assert!(bytes(ours.into_record()) == bytes(theirs.into_record()));
}

#[test]
fn a_file_of_burns_loads_into_this_layer() {
    let path = std::env::temp_dir().join(format!("batchnorm-burn-{}.bpk", std::process::id()));
    let theirs = theirs(6, DType::F32, &flex());
    theirs.clone().save_file(&path).expect("written");
    let ours = BatchNormConfig::new(6).init(&flex()).try_load_file(&path);
    assert_same(&ours.expect("read"), &theirs); // (The file is read as its tensors are.)
    std::fs::remove_file(&path).expect("removed");
}

#[test]
fn a_record_of_another_size_is_refused() {
    let record = theirs(6, DType::F32, &flex()).into_record();
    let error = BatchNormConfig::new(7).init(&flex()).try_load_record(record).expect_err("another size");
    assert!(error.to_string().contains('6') && error.to_string().contains('7'), "{error}");
}

/// What an importer of other frameworks' files goes by (in burn-store: `weight` is `gamma` where the type is so named).
#[derive(Default)]
struct Names(Vec<String>);

impl ModuleVisitor for Names {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.0.push(format!("{container_type}.{name}"));
    }
}

#[test]
fn importers_see_the_names_of_burns_layer() {
    let (mut of_ours, mut of_theirs) = (Names::default(), Names::default());
    ours(3, DType::F32, &flex()).visit(&mut of_ours);
    theirs(3, DType::F32, &flex()).visit(&mut of_theirs);
    assert_eq!(of_ours.0, of_theirs.0);
    assert!(of_ours.0.contains(&"Struct:BatchNorm.gamma".to_string()), "{:?}", of_ours.0);
}

#[test]
fn conversions_keep_everything() {
    let theirs = theirs(4, DType::F32, &autodiff());
    let theirs = burn::nn::BatchNorm { training: theirs.training.clone().with_value(false), ..theirs };
    let ours = BatchNorm::from(theirs.clone());
    assert_same(&ours, &theirs);
    assert_eq!((ours.epsilon, ours.momentum), (theirs.epsilon, theirs.momentum));
    assert!(!ours.training.is_enabled());
    let back = burn::nn::BatchNorm::from(ours.clone());
    assert_same(&ours, &back);
    assert_eq!((back.epsilon, back.momentum, back.training.id), (theirs.epsilon, theirs.momentum, theirs.training.id));
}

#[test]
fn a_conversion_between_steps_goes_on_with_the_running_statistics() {
    let (device, x) = (autodiff(), |mean| tensor([8, 4, 3], mean, DType::F32, &autodiff()));
    let theirs = theirs(4, DType::F32, &device);
    let mixed = ours(4, DType::F32, &device);
    theirs.forward(x(1.0));
    mixed.forward(x(1.0)); // not yet synchronised
    let mixed = burn::nn::BatchNorm::from(mixed);
    theirs.forward(x(2.0));
    mixed.forward(x(2.0));
    let mixed = BatchNorm::from(mixed);
    theirs.forward(x(3.0));
    mixed.forward(x(3.0));
    assert_near("mean", mixed.running_mean.value_sync(), theirs.running_mean.value_sync(), 1e-6);
    assert_near("variance", mixed.running_var.value_sync(), theirs.running_var.value_sync(), 1e-6);
}

#[test]
fn a_configuration_has_burns_text() {
    let ours = BatchNormConfig::new(9).with_epsilon(1e-4).with_momentum(0.2);
    let theirs = burn::nn::BatchNormConfig::from(ours.clone());
    assert_eq!(ours.to_string(), theirs.to_string());
    let path = std::env::temp_dir().join(format!("batchnorm-burn-{}.json", std::process::id()));
    theirs.save(&path).expect("written");
    let loaded = BatchNormConfig::load(&path);
    std::fs::remove_file(&path).expect("removed");
    let loaded = loaded.expect("read");
    assert_eq!((loaded.num_features, loaded.epsilon, loaded.momentum), (9, 1e-4, 0.2));
}

/// A backend that this crate does not know: burn's operations run there.
#[test]
#[allow(deprecated)]
fn another_backend_runs_burns_operations() {
    let (device, training) = (Device::ndarray(), Device::ndarray().autodiff());
    let (a, b) = (ours(5, DType::F32, &training), theirs(5, DType::F32, &training));
    let x = tensor([3, 5, 4], 1.0, DType::F32, &training);
    assert_eq!(list(a.forward(x.clone())), list(b.forward(x)));
    assert_eq!(list(a.running_var.value_sync()), list(b.running_var.value_sync()));
    let x = tensor([3, 5, 4], 1.0, DType::F32, &device);
    assert_eq!(list(a.valid().forward(x.clone())), list(b.valid().forward(x.clone())));
    // Trained there, it runs here.
    let here = a.valid().to_device(&flex());
    assert_near("moved", here.forward(x.clone().to_device(&flex())).to_device(&device), b.valid().forward(x), 1e-5);
}

#[test]
fn quantised_parameters_and_statistics_are_floats_again() {
    let scheme = flex().settings().quantization.scheme.with_value(QuantValue::Q8S);
    let mut quantizer = Quantizer::new(Calibration::MinMax, scheme);
    let theirs = theirs(32, DType::F32, &flex()).quantize_weights(&mut quantizer);
    let ours = BatchNorm::from(theirs.clone());
    assert!(matches!(ours.gamma.val().dtype(), DType::QFloat(_)));
    let x = tensor([4, 32, 5], 1.0, DType::F32, &flex());
    assert_near("quantised", ours.forward(x.clone()), theirs.forward(x), 1e-5);
}

/// burn's errors at a large mean are what this crate is for; these are of a plain f64 two-pass.
#[test]
fn a_large_mean_costs_nothing() {
    let shape = [64, 2, 5];
    let x = tensor(shape, 1e6, DType::F32, &autodiff());
    let wide = x.clone().cast(DType::F64);
    let centered = wide.clone() - wide.mean_dims(&[0, 2]);
    let exact = centered.clone() / (centered.powi_scalar(2).mean_dims(&[0, 2]) + 1e-5).sqrt();
    let exact = exact.cast(DType::F32);
    let bn = BatchNormConfig::new(2).init(&autodiff());
    assert_near("mean 1e6", bn.forward(x.clone()), exact.clone(), 1e-6);
    let theirs = burn::nn::BatchNorm::from(BatchNormConfig::new(2).init(&autodiff())).forward(x);
    assert!((theirs - exact).abs().max().into_scalar::<f32>() > 1e-3);
}
