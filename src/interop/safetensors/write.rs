//! Writing files.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ::safetensors::View;
use ::safetensors::tensor::Dtype;

use super::{BIAS, Error, NUM_BATCHES_TRACKED, RUNNING_MEAN, RUNNING_VAR, Result, WEIGHT, key};
use crate::BatchNorm;

/// The type in which values are written.
///
/// ```
/// use batchnorm::BatchNorm;
/// use batchnorm::safetensors::{StateDict, Values, write};
///
/// let mut bn = BatchNorm::new(1);
/// bn.set_running_mean(&[0.1])?;
/// let mean = |values| -> Result<f64, Box<dyn std::error::Error>> {
///     Ok(StateDict::parse(&write([("", &bn)], values)?)?.layer("")?.running_mean()[0])
/// };
/// assert_eq!((mean(Values::F32)?, mean(Values::F64)?), (f64::from(0.1f32), 0.1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Values {
    /// f32, as PyTorch has them: each value is rounded.
    #[default]
    F32,
    /// f64, as the layer has them: no bit is lost.
    F64,
}

/// Returns a safetensors file with the state of these layers, each under its prefix: what [`StateDict`] reads, and what
/// PyTorch's `load_state_dict` takes. A single layer may have an empty prefix.
///
/// # Errors
/// [`Error::Twice`] if two layers have the same prefix.
///
/// ```
/// use batchnorm::BatchNorm;
/// use batchnorm::safetensors::{Values, write};
///
/// let file = write([("bn1", &BatchNorm::new(64)), ("bn2", &BatchNorm::new(128))], Values::F32)?;
/// // In PyTorch: model.load_state_dict(safetensors.torch.load(file))
/// # assert!(file.len() > 4 * 4 * (64 + 128));
/// # Ok::<(), batchnorm::safetensors::Error>(())
/// ```
///
/// [`StateDict`]: super::StateDict
pub fn write<'a, P: AsRef<str>>(
    layers: impl IntoIterator<Item = (P, &'a BatchNorm)>,
    values: Values,
) -> Result<Vec<u8>> {
    let mut tensors = BTreeMap::new();
    for (prefix, bn) in layers {
        let statistics = bn.tracks_running_stats();
        let lists = [
            (WEIGHT, bn.weight()),
            (BIAS, bn.bias()),
            (RUNNING_MEAN, statistics.then(|| bn.running_mean())),
            (RUNNING_VAR, statistics.then(|| bn.running_var())),
        ];
        let mut of_layer: Vec<_> =
            lists.into_iter().filter_map(|(name, list)| Some((name, Tensor::of(list?, values)))).collect();
        if statistics {
            of_layer.push((NUM_BATCHES_TRACKED, Tensor::of_count(bn.num_batches_tracked())));
        }
        for (name, tensor) in of_layer {
            let key = key(prefix.as_ref(), name);
            if tensors.contains_key(&key) {
                return Err(Error::Twice { key });
            }
            tensors.insert(key, tensor);
        }
    }
    ::safetensors::serialize(tensors, None).map_err(|error| Error::File { reason: error.to_string() })
}

/// A tensor to write.
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn of(list: &[f64], values: Values) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what this does")]
        let (dtype, bytes) = match values {
            Values::F32 => (Dtype::F32, list.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect()),
            Values::F64 => (Dtype::F64, list.iter().flat_map(|value| value.to_le_bytes()).collect()),
        };
        Tensor { dtype, shape: vec![list.len()], bytes }
    }

    /// A number without dimensions, as PyTorch has it. (More than `i64::MAX` batches are as many.)
    fn of_count(count: u64) -> Self {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        Tensor { dtype: Dtype::I64, shape: Vec::new(), bytes: count.to_le_bytes().to_vec() }
    }
}

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
