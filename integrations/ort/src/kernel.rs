//! What a node of a session does: evaluation by given statistics, or a training step.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use batchnorm::{Activation, Batch, BatchMut, BatchNorm, Element, Inference, Isa, Layout, Path};
use half::{bf16, f16};
use ort::operator::{ComputeContext, Kernel};
use ort::value::{DynTensorValueType, PrimitiveTensorElementType, Shape, TensorElementType, ValueRef, ValueRefMut};

use crate::parameters::Parameters;
use crate::pieces::{Frozen, Piece};

/// The attributes of a node.
#[derive(Clone, Copy)]
pub(crate) struct Attributes {
    pub(crate) epsilon: f32,
    pub(crate) momentum: f32,
    pub(crate) training: bool,
    pub(crate) activation: Activation,
}

impl Attributes {
    /// Returns a layer with these attributes, which works on its caller's thread. ONNX's momentum is the share of the
    /// running statistics that is kept.
    pub(crate) fn layer(&self, features: usize) -> batchnorm::Result<BatchNorm> {
        BatchNorm::try_new(features)?
            .with_eps(f64::from(self.epsilon))?
            .with_momentum(1.0 - f64::from(self.momentum))?
            .with_running_ddof(0.0)
            .map(|bn| bn.with_path(Path::Simd(Isa::detect())).with_activation(self.activation))
    }
}

/// The state of a node, which lives as long as its session.
pub(crate) struct BatchNormKernel {
    /// Of X, scale, B, input_mean and input_var.
    types: [TensorElementType; 5],
    attributes: Attributes,
    /// Whether all inputs besides X are part of the model, and so never change.
    constant: bool,
    parameters: Parameters,
    /// For evaluation: made at the first call, and again when a parameter changes.
    frozen: Option<Frozen>,
    /// For training: kept for its memory.
    layer: Option<BatchNorm>,
}

impl BatchNormKernel {
    pub(crate) fn new(types: [TensorElementType; 5], attributes: Attributes, constant: bool) -> Self {
        let parameters = Parameters::default();
        BatchNormKernel { types, attributes, constant, parameters, frozen: None, layer: None }
    }

    fn compute_as<T: Element + PrimitiveTensorElementType>(&mut self, ctx: &ComputeContext) -> ort::Result<()> {
        let x = ctx.input(0)?.ok_or_else(|| ort::Error::new("X is missing"))?.downcast::<DynTensorValueType>()?;
        let shape = x.shape().clone();
        let layout = crate::layout::of(&shape).map_err(ort::Error::new)?;
        if self.attributes.training {
            self.train::<T>(ctx, &x, layout, shape)
        } else {
            self.evaluate::<T>(ctx, &x, layout, shape)
        }
    }

    fn evaluate<T: Element + PrimitiveTensorElementType>(
        &mut self,
        ctx: &ComputeContext,
        x: &ValueRef<'_, DynTensorValueType>,
        layout: Layout,
        shape: Shape,
    ) -> ort::Result<()> {
        for at in 1..ctx.num_outputs()? {
            // (Asked for here: of a node that leaves outputs out, ort cannot list the others before.)
            if ctx.output(at, [0i64])?.is_some() {
                let message =
                    format!("running_mean and running_var need training_mode 1, but it is 0 and output {at} is used");
                return Err(ort::Error::new(message));
            }
        }
        let frozen = self.freeze(ctx, layout.features())?;
        let mut y = output(ctx, 0, shape)?;
        let x = input_of::<T>(x, &y)?;
        let y = y.try_extract_tensor_mut::<T>()?.1;
        run(ctx, frozen.cut(layout, x, y))
    }

    /// Returns the frozen layer of the parameters as they are in this call.
    fn freeze(&mut self, ctx: &ComputeContext, features: usize) -> ort::Result<&Frozen> {
        // Whatever fails below, the old one is gone.
        let old = self.frozen.take().filter(|old| old.num_features() == features);
        let unchanged = match &old {
            Some(_) if self.constant => true,
            _ => self.parameters.update(ctx, self.parameter_types(), features)? == [false; 4],
        };
        let frozen = match old {
            Some(old) if unchanged => old,
            _ => self.frozen_layer(features).map_err(ort::Error::wrap)?,
        };
        Ok(self.frozen.insert(frozen))
    }

    fn frozen_layer(&self, features: usize) -> batchnorm::Result<Frozen> {
        let part = |range: Range<usize>| -> batchnorm::Result<Inference> {
            let mut bn = self.attributes.layer(range.len())?;
            let parameters = &self.parameters;
            bn.set_weight(&parameters.scale()[range.clone()])?;
            bn.set_bias(&parameters.bias()[range.clone()])?;
            bn.set_running_mean(&parameters.mean()[range.clone()])?;
            bn.set_running_var(&parameters.variance()[range])?;
            bn.try_to_inference()
        };
        Frozen::new(features, part)
    }

    fn train<T: Element + PrimitiveTensorElementType>(
        &mut self,
        ctx: &ComputeContext,
        x: &ValueRef<'_, DynTensorValueType>,
        layout: Layout,
        shape: Shape,
    ) -> ort::Result<()> {
        let features = layout.features();
        let old = self.layer.take().filter(|old| old.num_features() == features);
        let changed = self.parameters.update(ctx, self.parameter_types(), features)?;
        let layer = self.train_layer(old, features, changed).map_err(ort::Error::wrap)?;
        let bn = self.layer.insert(layer);
        let mut y = output(ctx, 0, shape)?;
        let x = input_of::<T>(x, &y)?;
        let y = BatchMut::new(y.try_extract_tensor_mut::<T>()?.1, layout).map_err(ort::Error::wrap)?;
        match x {
            Some(x) => Batch::new(x, layout).and_then(|x| bn.forward_train(x, y)),
            None => bn.forward_train_in_place(y),
        }
        .map_err(ort::Error::wrap)?;
        for (at, running) in [(1, bn.running_mean()), (2, bn.running_var())] {
            // A model may leave them out.
            if at < ctx.num_outputs()?
                && let Some(mut to) = ctx.output(at, [i64::try_from(features).unwrap_or(i64::MAX)])?
            {
                write_running(running, self.types[at + 2], &mut to)?;
            }
        }
        Ok(())
    }

    /// Returns a layer with the parameters of this call.
    fn train_layer(&self, old: Option<BatchNorm>, features: usize, changed: [bool; 4]) -> batchnorm::Result<BatchNorm> {
        let is_new = old.is_none();
        let mut bn = old.map_or_else(|| self.attributes.layer(features), Ok)?;
        if is_new || changed[0] {
            bn.set_weight(self.parameters.scale())?;
        }
        if is_new || changed[1] {
            bn.set_bias(self.parameters.bias())?;
        }
        // The step before has moved these.
        bn.set_running_mean(self.parameters.mean())?;
        bn.set_running_var(self.parameters.variance())?;
        Ok(bn)
    }

    fn parameter_types(&self) -> [TensorElementType; 4] {
        let [_, scale, bias, mean, variance] = self.types;
        [scale, bias, mean, variance]
    }

    fn compute_any(&mut self, ctx: &ComputeContext) -> ort::Result<()> {
        match self.types[0] {
            TensorElementType::Float16 => self.compute_as::<f16>(ctx),
            TensorElementType::Bfloat16 => self.compute_as::<bf16>(ctx),
            TensorElementType::Float32 => self.compute_as::<f32>(ctx),
            _ => self.compute_as::<f64>(ctx),
        }
    }
}

impl Kernel for BatchNormKernel {
    fn compute(&mut self, ctx: &ComputeContext) -> ort::Result<()> {
        // A panic must not cross ONNX Runtime's code, which would end the program.
        catch_unwind(AssertUnwindSafe(|| self.compute_any(ctx))).unwrap_or_else(|panic| {
            (self.frozen, self.layer, self.parameters) = (None, None, Parameters::default());
            Err(ort::Error::new(message(panic.as_ref())))
        })
    }
}

/// Returns an output, for which ONNX Runtime takes memory of its own.
fn output(ctx: &ComputeContext, at: usize, shape: Shape) -> ort::Result<ValueRefMut<'_, DynTensorValueType>> {
    ctx.output(at, shape)?.ok_or_else(|| ort::Error::new(format!("output {at} is missing")))?.downcast()
}

/// Returns the values of X, or None if the output is in their place.
fn input_of<'a, T: PrimitiveTensorElementType>(
    x: &'a ValueRef<'_, DynTensorValueType>,
    y: &ValueRefMut<'_, DynTensorValueType>,
) -> ort::Result<Option<&'a [T]>> {
    if x.data_ptr() == y.data_ptr() { Ok(None) } else { Ok(Some(x.try_extract_tensor::<T>()?.1)) }
}

/// Normalises pieces of a batch on the threads of the session.
fn run<T: Element>(ctx: &ComputeContext, pieces: Vec<Piece<'_, T>>) -> ort::Result<()> {
    if pieces.len() < 2 {
        return pieces.into_iter().try_for_each(Piece::run).map_err(ort::Error::wrap);
    }
    let pieces: Vec<_> = pieces.into_iter().map(|piece| Mutex::new(Some(piece))).collect();
    let failed = Mutex::new(None);
    ctx.par_for(pieces.len(), 0, |at| {
        // Each piece is taken once, so nobody waits.
        let piece = pieces[at].lock().ok().and_then(|mut piece| piece.take());
        let done = piece.map(|piece| catch_unwind(AssertUnwindSafe(|| piece.run())));
        let error = match done {
            Some(Ok(Ok(()))) | None => return,
            Some(Ok(Err(error))) => error.to_string(),
            Some(Err(panic)) => message(panic.as_ref()),
        };
        failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(error);
    })?;
    match failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        Some(error) => Err(ort::Error::new(error)),
        None => Ok(()),
    }
}

/// Rounds running statistics to the type of an output.
fn write_running(running: &[f64], to_type: TensorElementType, to: &mut ValueRefMut<'_>) -> ort::Result<()> {
    fn write<T: Element + PrimitiveTensorElementType>(running: &[f64], to: &mut ValueRefMut<'_>) -> ort::Result<()> {
        for (to, running) in to.try_extract_tensor_mut::<T>()?.1.iter_mut().zip(running) {
            *to = T::from_f64(*running);
        }
        Ok(())
    }
    match to_type {
        TensorElementType::Float16 => write::<f16>(running, to),
        TensorElementType::Bfloat16 => write::<bf16>(running, to),
        TensorElementType::Float32 => write::<f32>(running, to),
        _ => write::<f64>(running, to),
    }
}

/// What a panic says, as an error.
fn message(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    // A zero byte would end the message in C.
    format!("a panic in the batch normalisation: {}", said.unwrap_or("no message").replace('\0', " "))
}
