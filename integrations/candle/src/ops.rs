//! The operations that candle records: a training step and an evaluation, with their gradients.

use std::sync::{Arc, Mutex};

use batchnorm::{Batch, BatchMut, BatchNorm, Element, Gradients, Moments};
use candle_core::{CpuStorage, CustomOp3, DType, Error, Layout, Result, Shape, Storage, Tensor, WithDType, bail};

/// How a layer is applied.
pub(crate) enum Mode {
    /// By the batch's own statistics, which are left here for the caller and for the gradients.
    Train(Arc<Mutex<Moments>>),
    /// By these running statistics.
    Eval { mean: Vec<f64>, var: Vec<f64> },
}

/// Batch normalisation of a contiguous tensor, with weight and bias as the other arguments.
pub(crate) struct Normalize {
    pub(crate) layout: batchnorm::Layout,
    pub(crate) eps: f64,
    pub(crate) mode: Mode,
}

/// An error of the crate, as one of candle's.
pub(crate) fn wrapped(error: batchnorm::Error) -> Error {
    Error::wrap(error)
}

/// Returns the numbers of a contiguous tensor.
fn slice<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("batch-norm needs contiguous tensors") };
    Ok(&T::cpu_storage_as_slice(storage)?[start..end])
}

/// Returns the values of a weight or a bias, one per feature.
fn parameter(storage: &CpuStorage, layout: &Layout) -> Result<Vec<f64>> {
    match storage {
        CpuStorage::F32(_) => Ok(slice::<f32>(storage, layout)?.iter().map(|value| f64::from(*value)).collect()),
        CpuStorage::F64(_) => Ok(slice::<f64>(storage, layout)?.to_vec()),
        other => bail!("batch-norm needs a weight and a bias of f32 or f64, not {:?}", storage_type(other)),
    }
}

fn storage_type(storage: &CpuStorage) -> DType {
    use candle_core::backend::BackendStorage;
    storage.dtype()
}

impl Normalize {
    /// Returns the layer with this weight and bias.
    fn layer(&self, weight: &[f64], bias: &[f64]) -> batchnorm::Result<BatchNorm> {
        let mut bn = BatchNorm::try_new(self.layout.features())?.with_eps(self.eps)?;
        bn.set_weight(weight)?;
        bn.set_bias(bias)?;
        match &self.mode {
            // A batch with one value per feature is normalised, too: to the bias, as by candle.
            Mode::Train(_) => bn.with_running_ddof(0.0),
            Mode::Eval { mean, var } => {
                bn.set_running_mean(mean)?;
                bn.set_running_var(var)?;
                Ok(bn)
            }
        }
    }

    fn forward<T: Element>(&self, x: &[T], weight: &[f64], bias: &[f64]) -> batchnorm::Result<Vec<T>> {
        let mut y = vec![T::from_f64(0.0); x.len()];
        let (x, out) = (Batch::new(x, self.layout)?, BatchMut::new(&mut y, self.layout)?);
        let mut bn = self.layer(weight, bias)?;
        match &self.mode {
            Mode::Eval { .. } => bn.to_inference().forward(x, out)?,
            Mode::Train(moments) => {
                bn.forward_train(x, out)?;
                *moments.lock().expect("no thread panics while it holds this") = bn.batch_moments().clone();
            }
        }
        Ok(y)
    }

    fn backward<T: Element>(&self, x: &[T], weight: &[f64], dy: &[T]) -> batchnorm::Result<(Vec<T>, Gradients)> {
        let mut dx = vec![T::from_f64(0.0); x.len()];
        let (x, dy) = (Batch::new(x, self.layout)?, Batch::new(dy, self.layout)?);
        let out = BatchMut::new(&mut dx, self.layout)?;
        let bn = self.layer(weight, &vec![0.0; weight.len()])?;
        let gradients = match &self.mode {
            Mode::Eval { .. } => bn.backward_eval(x, dy, out)?,
            Mode::Train(moments) => {
                bn.backward_train(&moments.lock().expect("no thread panics while it holds this"), x, dy, out)?
            }
        };
        Ok((dx, gradients))
    }

    fn backward_tensors<T: Element + WithDType>(&self, [x, weight, dy]: [&Tensor; 3]) -> Result<(Tensor, Gradients)> {
        let (x_storage, x_layout) = x.storage_and_layout();
        let (dy_storage, dy_layout) = dy.storage_and_layout();
        let (Storage::Cpu(x_values), Storage::Cpu(dy_values)) = (&*x_storage, &*dy_storage) else {
            bail!("batch-norm runs on a CPU only");
        };
        let (x_values, dy_values) = (slice::<T>(x_values, x_layout)?, slice::<T>(dy_values, dy_layout)?);
        let weight = weight.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let (dx, gradients) = self.backward(x_values, &weight, dy_values).map_err(wrapped)?;
        Ok((Tensor::from_vec(dx, x.shape(), x.device())?, gradients))
    }
}

impl CustomOp3 for Normalize {
    fn name(&self) -> &'static str {
        "batch-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (weight, bias) = (parameter(weight, weight_layout)?, parameter(bias, bias_layout)?);
        let y = match x {
            CpuStorage::F32(_) => {
                let y = self.forward::<f32>(slice(x, x_layout)?, &weight, &bias).map_err(wrapped)?;
                CpuStorage::F32(y)
            }
            CpuStorage::F64(_) => {
                let y = self.forward::<f64>(slice(x, x_layout)?, &weight, &bias).map_err(wrapped)?;
                CpuStorage::F64(y)
            }
            other => bail!("batch-norm needs a batch of f16, bf16, f32 or f64, not {:?}", storage_type(other)),
        };
        Ok((y, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = &dy.contiguous()?;
        let (dx, gradients) = match x.dtype() {
            DType::F32 => self.backward_tensors::<f32>([x, weight, dy])?,
            _ => self.backward_tensors::<f64>([x, weight, dy])?,
        };
        let of = |values: &[f64], like: &Tensor| Tensor::new(values, like.device())?.to_dtype(like.dtype());
        Ok((Some(dx), Some(of(gradients.weight(), weight)?), Some(of(gradients.bias(), bias)?)))
    }
}
