//! Models, tensors and sessions.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use half::{bf16, f16};
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::{Session, SessionOutputs, builder::GraphOptimizationLevel};
use ort::value::{DynValue, Tensor, TensorElementType, ValueRef};
use prost::Message;

/// Where `./test` puts what `tests/make_data.py` makes.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/session-data")
}

/// Returns what sessions lack, if anything.
pub(crate) fn missing() -> Option<String> {
    let models = folder().join("node");
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        Some("ORT_DYLIB_PATH is not set: the path of ONNX Runtime's library".to_string())
    } else if !models.is_dir() {
        Some(format!("{} is missing", models.display()))
    } else {
        None
    }
}

pub(crate) fn read(name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let path = folder().join(name);
    std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// The one environment of the process. It prints no errors: tests look at them.
pub(crate) fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let environment = ort::init().build().expect("an environment");
        environment.set_log_level(LogLevel::Fatal);
        environment
    })
}

/// How a session runs a model.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) threads: usize,
    /// ONNX Runtime's optimisations of the graph.
    pub(crate) optimised: bool,
}

pub(crate) const DEFAULT: Run = Run { threads: 2, optimised: true };

/// Makes a session of a model as it is, with the operator at hand.
pub(crate) fn session(model: &[u8], run: Run) -> Result<Session, Box<dyn Error>> {
    let level = if run.optimised { GraphOptimizationLevel::All } else { GraphOptimizationLevel::Disable };
    let builder = Session::builder(environment())?.with_intra_threads(run.threads)?.with_optimization_level(level)?;
    Ok(builder.with_operators(batchnorm_ort::operators()?)?.commit_from_memory(model)?)
}

/// Makes a session of a converted model, after a look at what was converted.
pub(crate) fn converted(model: &[u8], nodes: usize, run: Run) -> Result<Session, Box<dyn Error>> {
    let converted = batchnorm_ort::convert(model)?;
    assert_eq!((converted.nodes().len(), converted.left()), (nodes, &[][..]));
    session(converted.model(), run)
}

/// A tensor, its numbers widened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Numbers {
    pub(crate) element: TensorElementType,
    pub(crate) shape: Vec<i64>,
    pub(crate) values: Vec<f64>,
}

/// `TensorProto`.
#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

impl Numbers {
    /// Values of no pattern that matters, about a mean, rounded to a type.
    pub(crate) fn new(element: TensorElementType, shape: &[i64], mean: f64) -> Self {
        let len: i64 = shape.iter().product();
        let values = (0..len).map(|at| round(element, ((at * 7919 + 13) % 1009) as f64 / 200.0 - 2.5 + mean));
        Numbers { element, shape: shape.to_vec(), values: values.collect() }
    }

    /// Reads a tensor of f32 and its name, as ONNX's tests have them.
    pub(crate) fn from_file(name: &str) -> Result<(String, Self), Box<dyn Error>> {
        let tensor = TensorProto::decode(&*read(name)?)?;
        assert_eq!(tensor.data_type, 1, "{name} is not of f32");
        let values: Vec<f64> =
            tensor.raw_data.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect();
        assert_eq!(values.len() as i64, tensor.dims.iter().product::<i64>(), "{name}");
        Ok((tensor.name, Numbers { element: TensorElementType::Float32, shape: tensor.dims, values }))
    }

    pub(crate) fn of(value: &ValueRef<'_>) -> Result<Self, Box<dyn Error>> {
        let element = value.dtype().tensor_type().ok_or("not a tensor")?;
        let (shape, values): (_, Vec<f64>) = match element {
            TensorElementType::Float16 => {
                let (shape, values) = value.try_extract_tensor::<f16>()?;
                (shape, values.iter().map(|value| value.to_f64()).collect())
            }
            TensorElementType::Bfloat16 => {
                let (shape, values) = value.try_extract_tensor::<bf16>()?;
                (shape, values.iter().map(|value| value.to_f64()).collect())
            }
            TensorElementType::Float32 => {
                let (shape, values) = value.try_extract_tensor::<f32>()?;
                (shape, values.iter().map(|value| f64::from(*value)).collect())
            }
            _ => {
                let (shape, values) = value.try_extract_tensor::<f64>()?;
                (shape, values.to_vec())
            }
        };
        Ok(Numbers { element, shape: shape.to_vec(), values })
    }

    pub(crate) fn to_value(&self) -> ort::Result<DynValue> {
        let (shape, values) = (self.shape.clone(), self.values.iter().copied());
        Ok(match self.element {
            TensorElementType::Float16 => {
                Tensor::from_array((shape, values.map(f16::from_f64).collect::<Vec<_>>()))?.into_dyn()
            }
            TensorElementType::Bfloat16 => {
                Tensor::from_array((shape, values.map(bf16::from_f64).collect::<Vec<_>>()))?.into_dyn()
            }
            TensorElementType::Float32 => {
                Tensor::from_array((shape, values.map(|value| value as f32).collect::<Vec<_>>()))?.into_dyn()
            }
            _ => Tensor::from_array((shape, values.collect::<Vec<_>>()))?.into_dyn(),
        })
    }

    /// Checks that all values are within `absolute + relative * |other|` of others.
    pub(crate) fn assert_near(&self, name: &str, other: &Numbers, relative: f64, absolute: f64) {
        assert_eq!((self.element, &self.shape), (other.element, &other.shape), "{name}");
        for (at, (a, b)) in self.values.iter().zip(&other.values).enumerate() {
            assert!((a - b).abs() <= absolute + relative * b.abs(), "{name}, value {at}: {a} and {b}");
        }
    }
}

/// Rounds to a type.
pub(crate) fn round(element: TensorElementType, value: f64) -> f64 {
    match element {
        TensorElementType::Float16 => f16::from_f64(value).to_f64(),
        TensorElementType::Bfloat16 => bf16::from_f64(value).to_f64(),
        TensorElementType::Float32 => f64::from(value as f32),
        _ => value,
    }
}

/// Runs a session by the names of its inputs, and returns all outputs.
pub(crate) fn outputs(session: &mut Session, inputs: &[(&str, &Numbers)]) -> Result<Vec<Numbers>, Box<dyn Error>> {
    let inputs: Vec<_> =
        inputs.iter().map(|(name, numbers)| Ok((*name, numbers.to_value()?))).collect::<ort::Result<_>>()?;
    all(&session.run(inputs)?)
}

pub(crate) fn all(outputs: &SessionOutputs<'_>) -> Result<Vec<Numbers>, Box<dyn Error>> {
    outputs.iter().map(|(_, value)| Numbers::of(&value)).collect()
}
