//! The layer.

use std::sync::{Arc, Mutex};

use batchnorm::Moments;
use candle_core::{DType, Result, Tensor, Var, bail};
use candle_nn::{BatchNormConfig, Init, ModuleT, VarBuilder};

use crate::ops::{Mode, Normalize};

/// Batch normalisation over the second dimension of `[N, C, ...]`: a drop-in for [`candle_nn::BatchNorm`].
///
/// ```
/// use batchnorm_candle::BatchNorm;
/// use candle_core::{Device, Tensor};
/// use candle_nn::ModuleT;
///
/// let of = |values: [f32; 2]| Tensor::new(&values, &Device::Cpu);
/// let bn = BatchNorm::new(2, of([10.0, 0.0])?, of([4.0, 1.0])?, of([1.0, 2.0])?, of([0.0, 0.5])?, 0.0)?;
/// let x = Tensor::new(&[[12f32, 1.0]], &Device::Cpu)?;
/// assert_eq!(bn.forward_t(&x, false)?.to_vec2::<f32>()?, [[1.0, 2.5]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchNorm {
    running_mean: Var,
    running_var: Var,
    weight_and_bias: Option<(Tensor, Tensor)>,
    eps: f64,
    momentum: f64,
}

/// Returns a layer with the variables `running_mean`, `running_var` and, if it is affine, `weight` and `bias`, like
/// [`candle_nn::batch_norm`].
///
/// # Errors
/// If a variable is missing or has another shape, if `eps` is negative or not finite, the momentum is not within 0 and 1, or
/// `remove_mean` is false.
///
/// ```
/// use batchnorm_candle::{BatchNormConfig, batch_norm};
/// use candle_core::{DType, Device};
/// use candle_nn::VarBuilder;
///
/// let vb = VarBuilder::zeros(DType::F32, &Device::Cpu);
/// assert!(batch_norm(4, 1e-3, vb.clone()).is_ok()); // a number is an eps
/// assert!(batch_norm(4, BatchNormConfig { remove_mean: false, ..Default::default() }, vb).is_err());
/// ```
pub fn batch_norm<C: Into<BatchNormConfig>>(num_features: usize, config: C, vb: VarBuilder<'_>) -> Result<BatchNorm> {
    let BatchNormConfig { eps, remove_mean, affine, momentum } = config.into();
    if !remove_mean {
        bail!("batch-norm without remove_mean is not supported");
    }
    let get = |name, init| vb.get_with_hints(num_features, name, Init::Const(init));
    let (mean, var) = (get("running_mean", 0.0)?, get("running_var", 1.0)?);
    let weight_and_bias = if affine { Some((get("weight", 1.0)?, get("bias", 0.0)?)) } else { None };
    BatchNorm::checked(num_features, mean, var, weight_and_bias, eps, momentum)
}

impl BatchNorm {
    /// Creates a layer, like [`candle_nn::BatchNorm::new`].
    ///
    /// # Errors
    /// If a tensor does not have one value per feature, or if `eps` is negative or not
    /// finite.
    pub fn new(
        num_features: usize,
        running_mean: Tensor,
        running_var: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: f64,
    ) -> Result<Self> {
        Self::checked(num_features, running_mean, running_var, Some((weight, bias)), eps, 0.1)
    }

    /// Creates a layer without weight and bias, like [`candle_nn::BatchNorm::new_no_bias`].
    ///
    /// # Errors
    /// As for [`BatchNorm::new`].
    pub fn new_no_bias(num_features: usize, running_mean: Tensor, running_var: Tensor, eps: f64) -> Result<Self> {
        Self::checked(num_features, running_mean, running_var, None, eps, 0.1)
    }

    /// Creates a layer, like [`candle_nn::BatchNorm::new_with_momentum`].
    ///
    /// # Errors
    /// As for [`BatchNorm::new`], and if the momentum is not within 0 and 1.
    pub fn new_with_momentum(
        num_features: usize,
        running_mean: Tensor,
        running_var: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: f64,
        momentum: f64,
    ) -> Result<Self> {
        Self::checked(num_features, running_mean, running_var, Some((weight, bias)), eps, momentum)
    }

    /// Creates a layer without weight and bias, like [`candle_nn::BatchNorm::new_no_bias_with_momentum`].
    ///
    /// # Errors
    /// As for [`BatchNorm::new_with_momentum`].
    pub fn new_no_bias_with_momentum(
        num_features: usize,
        running_mean: Tensor,
        running_var: Tensor,
        eps: f64,
        momentum: f64,
    ) -> Result<Self> {
        Self::checked(num_features, running_mean, running_var, None, eps, momentum)
    }

    fn checked(
        num_features: usize,
        running_mean: Tensor,
        running_var: Tensor,
        weight_and_bias: Option<(Tensor, Tensor)>,
        eps: f64,
        momentum: f64,
    ) -> Result<Self> {
        if !eps.is_finite() || eps < 0.0 {
            bail!("batch-norm eps must be at least 0 and finite, but is {eps}");
        }
        if !(0.0..=1.0).contains(&momentum) {
            bail!("batch-norm momentum must be within 0 and 1, but is {momentum}");
        }
        let affine = weight_and_bias.iter().flat_map(|(weight, bias)| [("weight", weight), ("bias", bias)]);
        for (name, tensor) in [("running_mean", &running_mean), ("running_var", &running_var)].into_iter().chain(affine)
        {
            if tensor.dims() != [num_features] {
                bail!("batch-norm {name} has shape {:?}, but needs [{num_features}]", tensor.dims());
            }
            if !tensor.dtype().is_float() {
                bail!("batch-norm {name} must be of floats, but is of {:?}", tensor.dtype());
            }
        }
        let (running_mean, running_var) = (Var::from_tensor(&running_mean)?, Var::from_tensor(&running_var)?);
        Ok(BatchNorm { running_mean, running_var, weight_and_bias, eps, momentum })
    }

    /// Returns the running mean.
    pub fn running_mean(&self) -> &Tensor {
        self.running_mean.as_tensor()
    }

    /// Returns the running variance.
    pub fn running_var(&self) -> &Tensor {
        self.running_var.as_tensor()
    }

    /// Returns `eps`, which is added to the variance.
    pub fn eps(&self) -> f64 {
        self.eps
    }

    /// Returns weight and bias, unless the layer has none.
    pub fn weight_and_bias(&self) -> Option<(&Tensor, &Tensor)> {
        self.weight_and_bias.as_ref().map(|(weight, bias)| (weight, bias))
    }

    /// Returns the share of a batch in the running statistics.
    pub fn momentum(&self) -> f64 {
        self.momentum
    }

    /// Normalises `[N, C, ...]` by its own statistics, and moves the running statistics towards these.
    ///
    /// # Errors
    /// If `x` has fewer than two dimensions or a different number of channels, or is not on a CPU, or is not f16,
    /// bf16, f32 or f64.
    pub fn forward_train(&self, x: &Tensor) -> Result<Tensor> {
        self.forward(x, true)
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let features = self.running_mean.dim(0)?;
        if x.rank() < 2 || x.dim(1)? != features {
            bail!("batch-norm needs [N, {features}, ...], but has {:?}", x.dims());
        }
        if !x.device().is_cpu() {
            bail!("batch-norm runs on a CPU only, but the batch is on {:?}", x.device().location());
        }
        let dtype = x.dtype();
        let (wide, inner) = match dtype {
            DType::F16 | DType::BF16 => (x.to_dtype(DType::F32)?, x.elem_count()),
            _ => (x.clone(), x.elem_count()),
        };
        let inner = inner.checked_div(x.dim(0)? * features).unwrap_or(0);
        let last: Vec<usize> = (0..x.rank()).filter(|dim| *dim != 1).chain([1]).collect();
        let channels_last = wide.permute(last.as_slice())?;
        let y = if !wide.is_contiguous() && channels_last.is_contiguous() {
            let layout = batchnorm::Layout::nc(x.dim(0)? * inner, features);
            let y = self.apply(&channels_last, layout, train)?;
            let back: Vec<usize> = [0, x.rank() - 1].into_iter().chain(1..x.rank() - 1).collect();
            y.permute(back.as_slice())?
        } else {
            self.apply(&wide.contiguous()?, batchnorm::Layout::new(x.dim(0)?, features, inner), train)?
        };
        y.to_dtype(dtype)
    }

    /// Normalises a contiguous tensor of this layout.
    fn apply(&self, x: &Tensor, layout: batchnorm::Layout, train: bool) -> Result<Tensor> {
        let list = |tensor: &Tensor| tensor.to_dtype(DType::F64)?.to_vec1::<f64>();
        let moments = Arc::new(Mutex::new(Moments::default()));
        let mode = if train {
            Mode::Train(moments.clone())
        } else {
            let (mean, var) = (self.running_mean.as_detached_tensor(), self.running_var.as_detached_tensor());
            Mode::Eval { mean: list(&mean)?, var: list(&var)? }
        };
        let (weight, bias) = match &self.weight_and_bias {
            Some((weight, bias)) => (widened(weight)?, widened(bias)?),
            None => {
                let zeros = self.running_mean.as_detached_tensor().zeros_like()?.to_dtype(DType::F64)?;
                ((&zeros + 1.0)?, zeros)
            }
        };
        let y = x.apply_op3(&weight, &bias, Normalize { layout, eps: self.eps, mode })?;
        if train {
            self.move_towards(&moments.lock().expect("no thread panics while it holds this"))?;
        }
        Ok(y)
    }

    /// Moves the running statistics: the variance towards the unbiased one, if there is one.
    fn move_towards(&self, moments: &Moments) -> Result<()> {
        let move_one = |running: &Var, batch: Vec<f64>| {
            let batch = Tensor::new(batch, running.device())?.to_dtype(running.dtype())?;
            let kept = (running.as_detached_tensor() * (1.0 - self.momentum))?;
            running.set(&(kept + (batch * self.momentum)?)?)
        };
        let count = moments.counts().first().copied().unwrap_or(0);
        if count > 0 {
            move_one(&self.running_mean, moments.means().to_vec())?;
        }
        if count > 1 {
            let variances = (0..moments.num_features()).map(|feature| moments.variance(feature, 1.0)).collect();
            move_one(&self.running_var, variances)?;
        }
        Ok(())
    }
}

/// Returns a weight or a bias in a type that the operation reads, contiguous.
fn widened(tensor: &Tensor) -> Result<Tensor> {
    match tensor.dtype() {
        DType::F16 | DType::BF16 => tensor.to_dtype(DType::F32)?.contiguous(),
        _ => tensor.contiguous(),
    }
}

impl ModuleT for BatchNorm {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.forward(x, train)
    }
}
