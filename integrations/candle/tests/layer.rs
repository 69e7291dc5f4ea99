//! Beside candle's own layer, and bit for bit beside direct calls of the crate.

use batchnorm::{Batch, BatchMut, Layout};
use batchnorm_candle::{BatchNorm, BatchNormConfig, batch_norm};
use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{ModuleT, VarBuilder, VarMap};

/// Values of no pattern that matters, about a mean.
fn values(len: usize, mean: f64) -> Vec<f64> {
    (0..len).map(|i| ((i * 7919 + 13) % 1009) as f64 / 200.0 - 2.5 + mean).collect()
}

fn tensor(shape: &[usize], mean: f64, dtype: DType) -> Result<Tensor> {
    Tensor::from_vec(values(shape.iter().product(), mean), shape, &Device::Cpu)?.to_dtype(dtype)
}

fn list(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

fn assert_near(name: &str, a: &Tensor, b: &Tensor, most: f64) -> Result<()> {
    assert_eq!((a.dims(), a.dtype()), (b.dims(), b.dtype()), "{name}");
    for (at, (a, b)) in list(a)?.into_iter().zip(list(b)?).enumerate() {
        assert!((a - b).abs() <= most * (1.0 + b.abs()), "{name}, value {at}: {a} and {b}");
    }
    Ok(())
}

/// Parameters of a layer: mean, variance, weight and bias.
fn parameters(features: usize, dtype: DType) -> Result<[Tensor; 4]> {
    let of = |mean: f64| tensor(&[features], mean, dtype);
    Ok([of(0.5)?, of(3.0)?, of(1.5)?, of(-0.25)?])
}

/// Both layers, with the same parameters.
fn layers(features: usize, dtype: DType) -> Result<(BatchNorm, candle_nn::BatchNorm)> {
    let [mean, var, weight, bias] = parameters(features, dtype)?;
    let (m, v, w, b) = (mean.copy()?, var.copy()?, weight.clone(), bias.clone());
    let theirs = candle_nn::BatchNorm::new_with_momentum(features, m, v, w, b, 1e-3, 0.3)?;
    Ok((BatchNorm::new_with_momentum(features, mean, var, weight, bias, 1e-3, 0.3)?, theirs))
}

const SHAPES: [&[usize]; 5] = [&[20, 3], &[4, 3, 10], &[2, 5, 6, 7], &[2, 3, 4, 5, 6], &[1, 70, 9, 9]];

#[test]
fn agrees_with_candle() -> Result<()> {
    for shape in SHAPES {
        for (dtype, most) in [(DType::F32, 1e-5), (DType::F64, 1e-13)] {
            let (ours, theirs) = layers(shape[1], dtype)?;
            let x = tensor(shape, 1.0, dtype)?;
            let name = format!("{shape:?} {dtype:?}");
            assert_near(&name, &ours.forward_t(&x, false)?, &theirs.forward_t(&x, false)?, most)?;
            assert_near(&name, &ours.forward_t(&x, true)?, &theirs.forward_t(&x, true)?, most)?;
            assert_near(&name, ours.running_mean(), theirs.running_mean(), most)?;
            assert_near(&name, ours.running_var(), theirs.running_var(), most)?;
        }
    }
    Ok(())
}

#[test]
fn has_the_bits_of_the_crate() -> Result<()> {
    for shape in SHAPES {
        let x = tensor(shape, 1e4, DType::F32)?;
        let [mean, var, weight, bias] = parameters(shape[1], DType::F32)?;
        let mut bn = batchnorm::BatchNorm::new(shape[1]).with_eps(1e-3).expect("an eps");
        bn.set_weight(&list(&weight)?).expect("a weight");
        bn.set_bias(&list(&bias)?).expect("a bias");
        bn.set_running_mean(&list(&mean)?).expect("means");
        bn.set_running_var(&list(&var)?).expect("variances");
        let (data, layout) =
            (x.flatten_all()?.to_vec1::<f32>()?, Layout::new(shape[0], shape[1], shape[2..].iter().product()));
        let (ours, _) = layers(shape[1], DType::F32)?;
        let mut y = data.clone();
        bn.forward_eval(Batch::new(&data, layout).expect("x"), BatchMut::new(&mut y, layout).expect("y"))
            .expect("runs");
        assert_eq!(ours.forward_t(&x, false)?.flatten_all()?.to_vec1::<f32>()?, y);
        bn.forward_train(Batch::new(&data, layout).expect("x"), BatchMut::new(&mut y, layout).expect("y"))
            .expect("runs");
        assert_eq!(ours.forward_t(&x, true)?.flatten_all()?.to_vec1::<f32>()?, y);
    }
    Ok(())
}

#[test]
fn views_are_read_where_they_are() -> Result<()> {
    let (ours, _) = layers(5, DType::F32)?;
    let plain = tensor(&[3, 5, 4, 6], 1.0, DType::F32)?;
    let expected = [true, false].map(|train| ours.clone_of()?.forward_t(&plain, train));
    let channels_last = plain.permute([0, 2, 3, 1])?.contiguous()?.permute([0, 3, 1, 2])?;
    assert!(!channels_last.is_contiguous());
    let wider = Tensor::cat(&[&plain, &plain], 2)?.narrow(2, 4, 4)?;
    let flipped = plain.transpose(2, 3)?.contiguous()?.transpose(2, 3)?;
    for (name, view) in [("channels last", &channels_last), ("a part", &wider), ("transposed", &flipped)] {
        for (train, expected) in [true, false].into_iter().zip(&expected) {
            let expected = expected.as_ref().expect("runs");
            // (Sums of other layouts have other bits.)
            assert_near(name, &ours.clone_of()?.forward_t(view, train)?, expected, 1e-6)?;
        }
    }
    Ok(())
}

/// A copy that does not share its running statistics.
trait CloneOf {
    fn clone_of(&self) -> Result<BatchNorm>;
}

impl CloneOf for BatchNorm {
    fn clone_of(&self) -> Result<BatchNorm> {
        let (weight, bias) = self.weight_and_bias().expect("both");
        let (mean, var) = (self.running_mean().copy()?.detach(), self.running_var().copy()?.detach());
        BatchNorm::new(mean.dim(0)?, mean, var, weight.clone(), bias.clone(), self.eps())
    }
}

#[test]
fn half_precision_goes_through_f32() -> Result<()> {
    for dtype in [DType::F16, DType::BF16] {
        let x = tensor(&[8, 3, 5, 5], 1.0, dtype)?;
        let (ours, _) = layers(3, DType::F32)?;
        let expected = ours.clone_of()?.forward_t(&x.to_dtype(DType::F32)?, true)?.to_dtype(dtype)?;
        let y = ours.forward_t(&x, true)?;
        assert_eq!((y.dtype(), list(&y)?), (dtype, list(&expected)?));
    }
    Ok(())
}

/// Gradients of `sum(y * r)` with respect to x, weight and bias.
fn gradients(x: &Tensor, train: bool, layer: impl Fn(&Var, &Var) -> Result<Box<dyn ModuleT>>) -> Result<[Tensor; 3]> {
    let features = x.dim(1)?;
    let [_, _, weight, bias] = parameters(features, x.dtype())?;
    let (x, weight, bias) = (Var::from_tensor(x)?, Var::from_tensor(&weight)?, Var::from_tensor(&bias)?);
    let y = layer(&weight, &bias)?.forward_t(&x, train)?;
    let r = tensor(x.dims(), 0.3, x.dtype())?.sqr()?;
    let all = (y * r)?.sum_all()?.backward()?;
    Ok([&x, &weight, &bias].map(|var| all.get(var).expect("a gradient").clone()))
}

#[test]
fn gradients_agree_with_candle() -> Result<()> {
    for shape in SHAPES {
        for train in [true, false] {
            let x = tensor(shape, 1.0, DType::F64)?;
            let [mean, var, ..] = parameters(shape[1], DType::F64)?;
            let ours = gradients(&x, train, |weight, bias| {
                let (mean, var, weight, bias) =
                    (mean.copy()?, var.copy()?, weight.as_tensor().clone(), bias.as_tensor().clone());
                Ok(Box::new(BatchNorm::new(shape[1], mean, var, weight, bias, 1e-3)?))
            })?;
            let theirs = gradients(&x, train, |weight, bias| {
                let (mean, var, weight, bias) =
                    (mean.copy()?, var.copy()?, weight.as_tensor().clone(), bias.as_tensor().clone());
                Ok(Box::new(candle_nn::BatchNorm::new(shape[1], mean, var, weight, bias, 1e-3)?))
            })?;
            for (name, (ours, theirs)) in ["x", "weight", "bias"].into_iter().zip(ours.iter().zip(&theirs)) {
                assert_near(&format!("{shape:?}, train {train}, {name}"), ours, theirs, 1e-10)?;
            }
        }
    }
    Ok(())
}

#[test]
fn gradients_agree_with_finite_differences() -> Result<()> {
    let shape = [3, 2, 2, 2];
    let (x, r) = (tensor(&shape, 1.0, DType::F64)?, tensor(&shape, 0.3, DType::F64)?.sqr()?);
    let [mean, var, weight, bias] = parameters(2, DType::F64)?;
    let layer = || BatchNorm::new(2, mean.copy()?, var.copy()?, weight.clone(), bias.clone(), 1e-3);
    for train in [true, false] {
        let loss = |x: &Tensor| (layer()?.forward_t(x, train)? * &r)?.sum_all()?.to_scalar::<f64>();
        let variable = Var::from_tensor(&x)?;
        let all = (layer()?.forward_t(&variable, train)? * &r)?.sum_all()?.backward()?;
        let gradient = list(all.get(&variable).expect("a gradient"))?;
        for (at, gradient) in gradient.into_iter().enumerate() {
            let moved = |by: f64| {
                let mut moved = list(&x)?;
                moved[at] += by;
                loss(&Tensor::from_vec(moved, &shape, &Device::Cpu)?)
            };
            let difference = (moved(1e-5)? - moved(-1e-5)?) / 2e-5;
            assert!((gradient - difference).abs() < 1e-7, "train {train}, value {at}: {gradient} and {difference}");
        }
    }
    Ok(())
}

/// `torch.nn.BatchNorm2d(3, affine=False)` on this batch: its outputs, and its running statistics after one step.
#[test]
fn agrees_with_pytorch() -> Result<()> {
    #[rustfmt::skip]
    let x = [
        -0.82, 0.396, 0.899, -1.388, -0.167, 0.285, -0.641, -0.894, 0.927, -0.536, -1.16, -0.46, 0.709, 1.013, 0.23,
        1.09, -1.583, -0.325, 1.926, -0.33, 0.957, -0.662, -0.828, -0.606, -0.135, 0.747, 0.612, 1.868, -0.262, -0.25,
        0.501, 0.26, -1.637, 0.158, 0.396, -1.368f32,
    ];
    #[rustfmt::skip]
    let expected = [
        -0.87227, 0.46725, 1.02135, -1.49796, -0.15294, 0.34498, -0.74417, -1.04508, 1.12081, -0.61928, -1.36146,
        -0.52888, 0.81107, 1.13751, 0.29673, 1.22019, -1.65007, -0.29923, 2.15267, -0.33249, 1.08524, -0.69822,
        -0.88108, -0.63653, -0.14233, 0.90672, 0.74615, 2.24003, -0.29338, -0.27911, 0.58772, 0.32894, -1.70805,
        0.21941, 0.47498, -1.4192,
    ];
    let near = |a: Vec<f64>, b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    let x = Tensor::new(&x, &Device::Cpu)?.reshape((2, 3, 2, 3))?;
    let (mean, var) = (Tensor::zeros(3, DType::F32, &Device::Cpu)?, Tensor::ones(3, DType::F32, &Device::Cpu)?);
    let plain = BatchNorm::new_no_bias(3, mean.clone(), var.clone(), 1e-5)?;
    let y = plain.forward_train(&x)?;
    assert!(near(list(&y)?, &expected), "{y}");
    assert!(near(list(plain.running_mean())?, &[-0.002_816_67, -0.001_533_33, -0.004_633_33]));
    assert!(near(list(plain.running_var())?, &[0.989_899, 0.977_113, 0.994_611]));
    // Weight and bias come after that.
    let of = |value: f32| Tensor::full(value, 3, &Device::Cpu);
    let affine = BatchNorm::new(3, mean, var, of(0.5)?, of(-1.5)?, 1e-5)?;
    assert_near("affine", &affine.forward_train(&x)?, &((y * 0.5)? - 1.5)?, 1e-6)
}

#[test]
fn variables_are_trained() -> Result<()> {
    let variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let bn = batch_norm(1, BatchNormConfig::default(), vb)?;
    // One value per channel: the mean moves; there is no unbiased variance to move to.
    let y = bn.forward_train(&Tensor::new(&[[1f32]], &Device::Cpu)?)?;
    assert_eq!(y.to_vec2::<f32>()?, [[0.0]]);
    let data = variables.data().lock().expect("no other thread");
    assert_eq!(list(data["running_mean"].as_tensor())?, [f64::from(0.1f32)]);
    assert_eq!(list(data["running_var"].as_tensor())?, [1.0]);
    Ok(())
}

#[test]
fn a_large_mean_costs_nothing() -> Result<()> {
    let x = tensor(&[64, 2, 5], 1e6, DType::F32)?;
    let (zeros, ones) = (Tensor::zeros(2, DType::F32, &Device::Cpu)?, Tensor::ones(2, DType::F32, &Device::Cpu)?);
    let bn = BatchNorm::new_no_bias(2, zeros, ones, 1e-5)?;
    let exact = {
        let x = x.to_dtype(DType::F64)?;
        let centered = x.broadcast_sub(&x.mean_keepdim((0, 2))?)?;
        centered.broadcast_div(&(centered.sqr()?.mean_keepdim((0, 2))? + 1e-5)?.sqrt()?)?.to_dtype(DType::F32)?
    };
    assert_near("mean 1e6", &bn.forward_train(&x)?, &exact, 1e-6)
}

#[test]
fn mistakes_are_errors() -> Result<()> {
    let (bn, _) = layers(3, DType::F32)?;
    let message = |result: Result<Tensor>| result.expect_err("wrong").to_string();
    let error = message(bn.forward_t(&tensor(&[2, 4, 5], 0.0, DType::F32)?, false));
    assert!(error.contains("batch-norm needs [N, 3, ...], but has [2, 4, 5]"), "{error}");
    assert!(message(bn.forward_t(&tensor(&[3], 0.0, DType::F32)?, true)).contains("but has [3]"));
    let whole = Tensor::zeros((2, 3), DType::U32, &Device::Cpu)?;
    assert!(message(bn.forward_t(&whole, true)).contains("needs a batch of f16, bf16, f32 or f64, not U32"));
    let [mean, var, weight, bias] = parameters(3, DType::F32)?;
    let error = BatchNorm::new(4, mean.clone(), var.clone(), weight.clone(), bias.clone(), 0.0).expect_err("wrong");
    assert!(error.to_string().contains("running_mean has shape [3], but needs [4]"), "{error}");
    assert!(BatchNorm::new(3, mean.clone(), var.clone(), weight.clone(), bias.clone(), -1.0).is_err());
    assert!(BatchNorm::new_with_momentum(3, mean, var, weight, bias, 0.0, 1.5).is_err());
    let whole = Tensor::ones(3, DType::U32, &Device::Cpu)?;
    let [mean, var, ..] = parameters(3, DType::F32)?;
    let error = BatchNorm::new_no_bias(3, mean.clone(), whole, 0.0).expect_err("wrong");
    assert!(error.to_string().contains("running_var must be of floats, but is of U32"), "{error}");
    assert!(BatchNorm::new_no_bias(3, mean, var, f64::INFINITY).is_err());
    // An empty batch has an empty result, and moves nothing.
    let y = bn.forward_train(&Tensor::zeros((0, 3, 4), DType::F32, &Device::Cpu)?)?;
    assert_eq!((y.dims(), list(bn.running_mean())?), (&[0, 3, 4][..], list(&parameters(3, DType::F32)?[0])?));
    Ok(())
}
