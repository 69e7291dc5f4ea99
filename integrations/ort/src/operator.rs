//! The operator as ONNX Runtime sees it: its name, its types, its shapes.

use std::ops::RangeInclusive;

use batchnorm::Activation;
use ort::operator::{KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput, ShapeInferenceContext};
use ort::value::{DynTensorValueType, TensorElementType, ValueType};

use crate::kernel::{Attributes, BatchNormKernel};
use crate::{ACTIVATION, DOMAIN, OP_TYPE, RELU, VERSION};

/// The types that ONNX allows for X, for scale and B, and for the statistics.
const TYPES: [TensorElementType; 4] =
    [TensorElementType::Float32, TensorElementType::Float64, TensorElementType::Float16, TensorElementType::Bfloat16];

/// Returns the domain [`DOMAIN`] with its operator, for [`with_operators`] of a session builder.
///
/// | input | shape | types |
/// |---|---|---|
/// | `X` | `[N, C, ...]`, or `[N]`: one channel | f16, bf16, f32, f64 |
/// | `scale`, `B` | `[C]` | the same, in any combination with `X` |
/// | `input_mean`, `input_var` | `[C]` | the same, in any combination |
///
/// | attribute | default | |
/// |---|---|---|
/// | `epsilon` | 1e-5 | is added to the variance |
/// | `momentum` | 0.9 | the share of the running statistics that is kept |
/// | `training_mode` | 0 | 1: the batch is normalised by its own statistics |
/// | `activation` | "" | not ONNX's: "Relu" applies it to `Y`, in the same pass |
///
/// | output | shape | |
/// |---|---|---|
/// | `Y` | that of `X` | of `X`'s type |
/// | `running_mean`, `running_var` | `[C]` | with `training_mode` only; of the type of `input_mean` |
///
/// # Errors
/// If ONNX Runtime refuses the domain. Sessions report mistakes in a model as they are made, or as they run: a wrong
/// rank or type, parameters of another length, a negative variance, an `epsilon` that is negative or not finite.
///
/// # Panics
/// As all of `ort`, if no library of ONNX Runtime can be loaded: call `ort::init_from(path)` first, or set
/// `ORT_DYLIB_PATH`.
///
/// ```
/// # if std::env::var_os("ORT_DYLIB_PATH").is_none() { return Ok(()) }
/// use ort::{session::Session, value::Tensor};
///
/// let model = batchnorm_ort::convert(include_bytes!("../tests/data/tiny.onnx"))?.into_model();
/// let env = ort::init().build()?;
/// let mut session = Session::builder(&env)?
///     .with_operators(batchnorm_ort::operators()?)?
///     .commit_from_memory(&model)?;
/// let x = Tensor::from_array(([1, 2, 3], vec![1f32, 2.0, 3.0, 4.0, 5.0, 6.0]))?;
/// let y = session.run(ort::inputs![x])?;
/// assert_eq!(y[0].try_extract_tensor::<f32>()?.1, [0.0, 1.0, 2.0, -1.5, -1.0, -0.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`with_operators`]: ort::session::builder::SessionBuilder::with_operators
pub fn operators() -> ort::Result<OperatorDomain> {
    let mut domain = OperatorDomain::new(DOMAIN)?;
    for x in TYPES {
        for parameters in TYPES {
            for statistics in TYPES {
                domain = domain.add(BatchNormalization { x, parameters, statistics })?;
            }
        }
    }
    Ok(domain)
}

/// The operator for one combination of types.
struct BatchNormalization {
    x: TensorElementType,
    parameters: TensorElementType,
    statistics: TensorElementType,
}

impl Operator for BatchNormalization {
    type Kernel<'attr> = BatchNormKernel;

    /// Y may take the place of X.
    const INPLACES: &[(u32, u32)] = &[(0, 0)];

    fn name(&self) -> &str {
        OP_TYPE
    }

    fn versions(&self) -> RangeInclusive<u32> {
        VERSION..=VERSION
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [self.x, self.parameters, self.parameters, self.statistics, self.statistics].map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        let running = || OperatorOutput::optional(self.statistics);
        [OperatorOutput::required(self.x), running(), running()]
    }

    fn create_kernel<'attr>(&self, node: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let attributes = Attributes {
            epsilon: float(node, "epsilon", 1e-5)?,
            momentum: float(node, "momentum", 0.9)?,
            training: integer(node, "training_mode", 0)? != 0,
            activation: activation(node)?,
        };
        // What a layer refuses is refused as the session is made.
        let _ = attributes.layer(0).map_err(ort::Error::wrap)?;
        let constant = (1..5).all(|input| node.constant_input::<DynTensorValueType>(input).is_ok());
        let types = [self.x, self.parameters, self.parameters, self.statistics, self.statistics];
        Ok(BatchNormKernel::new(types, attributes, constant))
    }

    fn infer_shape(&self, ctx: &mut ShapeInferenceContext) -> ort::Result<()> {
        let inputs = ctx.inputs();
        // No dimensions: they are unknown. (Scalars are refused as the session runs.)
        let Some(ValueType::Tensor { shape, .. }) = inputs.first() else { return Ok(()) };
        if shape.is_empty() {
            return Ok(());
        }
        ctx.set_output(0, &inputs[0])?;
        if ctx.attr::<i64>("training_mode").unwrap_or(0) != 0 {
            // Of outputs that a model leaves out, no shape can be set.
            let _ = inputs.get(3).map(|mean| ctx.set_output(1, mean));
            let _ = inputs.get(4).map(|variance| ctx.set_output(2, variance));
        }
        Ok(())
    }
}

/// Returns an attribute, or its default if the node has none.
fn float(node: &KernelContext<'_>, name: &str, default: f32) -> ort::Result<f32> {
    match node.get::<f32>(name) {
        Some(value) => Ok(value),
        None if node.get::<i64>(name).is_some() || is_neither(node, name) => Err(wrong_type(name, "a float")),
        None => Ok(default),
    }
}

fn integer(node: &KernelContext<'_>, name: &str, default: i64) -> ort::Result<i64> {
    match node.get::<i64>(name) {
        Some(value) => Ok(value),
        None if node.get::<f32>(name).is_some() || is_neither(node, name) => Err(wrong_type(name, "an integer")),
        None => Ok(default),
    }
}

fn activation(node: &KernelContext<'_>) -> ort::Result<Activation> {
    match node.get::<String>(ACTIVATION).as_deref() {
        Some("") => Ok(Activation::None),
        Some(RELU) => Ok(Activation::Relu),
        Some(other) => {
            Err(ort::Error::new(format!("the attribute {ACTIVATION} must be {RELU} or empty, but is {other:?}")))
        }
        None if node.get::<f32>(ACTIVATION).is_some()
            || node.get::<i64>(ACTIVATION).is_some()
            || is_neither(node, ACTIVATION) =>
        {
            Err(wrong_type(ACTIVATION, "a string"))
        }
        None => Ok(Activation::None),
    }
}

/// Whether an attribute is there, but of another type than numbers. (ort returns nothing in either case.)
fn is_neither(node: &KernelContext<'_>, name: &str) -> bool {
    node.get::<String>(name).is_some() || node.get::<Vec<f32>>(name).is_some() || node.get::<Vec<i64>>(name).is_some()
}

fn wrong_type(name: &str, needed: &str) -> ort::Error {
    ort::Error::new(format!("the attribute {name} must be {needed}, but is of another type"))
}
