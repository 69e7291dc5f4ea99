//! State in safetensors files, under the names of PyTorch's `state_dict` (feature `safetensors`).
//!
//! | tensor | of |
//! |---|---|
//! | `weight`, `bias` | a layer with a weight, a bias |
//! | `running_mean`, `running_var`, `num_batches_tracked` | a layer with running statistics |
//!
//! A layer of a model has a prefix, `features.1` for example. [`StateDict::layers`] finds them all, [`StateDict::layer`]
//! makes a layer of what the file has, and [`StateDict::load_into`] sets the state of an existing layer.
//! [`write()`] writes files that PyTorch's `load_state_dict` takes.
//!
//! `eps` and `momentum` are no state, so files do not have them: set them as the model does.
//!
//! ```
//! use batchnorm::safetensors::{StateDict, Values, write};
//! use batchnorm::{BatchMut, BatchNorm, Layout};
//!
//! // In PyTorch: safetensors.torch.save_file(model.state_dict(), "model.safetensors"); here: std::fs::read(path)?.
//! let mut bn = BatchNorm::new(3);
//! bn.forward_train_in_place(BatchMut::new(&mut vec![0.5f32; 3 * 16], Layout::nchw(1, 3, 4, 4))?)?;
//! let file = write([("features.1", &bn)], Values::F32)?;
//!
//! let state = StateDict::parse(&file)?;
//! assert_eq!(state.layers(), ["features.1"]);
//! let layer = state.layer("features.1")?.with_eps(1e-3)?;
//! assert_eq!((layer.num_features(), layer.num_batches_tracked()), (3, 1));
//! let norm = layer.to_inference();
//! # assert_eq!(norm.num_features(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod write;

use ::safetensors::SafeTensors;
use ::safetensors::tensor::{Dtype, TensorView};
use half::{bf16, f16};

pub use error::{Error, Result};
pub use write::{Values, write};

use crate::BatchNorm;

/// The tensors of a layer, in the order of PyTorch.
const WEIGHT: &str = "weight";
const BIAS: &str = "bias";
const RUNNING_MEAN: &str = "running_mean";
const RUNNING_VAR: &str = "running_var";
const NUM_BATCHES_TRACKED: &str = "num_batches_tracked";
const NAMES: [&str; 5] = [WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR, NUM_BATCHES_TRACKED];

/// A safetensors file in memory.
///
/// ```
/// use batchnorm::safetensors::StateDict;
///
/// let error = StateDict::parse(b"no such file").unwrap_err();
/// assert!(error.to_string().starts_with("not a valid safetensors file: "));
/// ```
#[derive(Debug)]
pub struct StateDict<'a>(SafeTensors<'a>);

impl<'a> StateDict<'a> {
    /// Reads the header of a file and checks that its tensors lie within it. The values are not copied.
    ///
    /// # Errors
    /// [`Error::File`] if this is no valid safetensors file.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// # use batchnorm::safetensors::{StateDict, Values, write};
    /// let file = write([("", &BatchNorm::new(2))], Values::F64)?;
    /// assert_eq!(StateDict::parse(&file)?.layer("")?.num_features(), 2);
    /// # Ok::<(), batchnorm::safetensors::Error>(())
    /// ```
    pub fn parse(file: &'a [u8]) -> Result<Self> {
        match SafeTensors::deserialize(file) {
            Ok(tensors) => Ok(StateDict(tensors)),
            Err(error) => Err(Error::File { reason: error.to_string() }),
        }
    }

    /// Returns the prefixes of all layers that have running statistics, sorted. (Without them, a batch-norm layer does
    /// not differ from other layers with a weight and a bias.)
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// # use batchnorm::safetensors::{StateDict, Values, write};
    /// let (a, b) = (BatchNorm::new(2), BatchNorm::new(5));
    /// let file = write([("stem.bn", &a), ("head.bn", &b)], Values::F32)?;
    /// assert_eq!(StateDict::parse(&file)?.layers(), ["head.bn", "stem.bn"]);
    /// # Ok::<(), batchnorm::safetensors::Error>(())
    /// ```
    pub fn layers(&self) -> Vec<String> {
        let prefix_of = |name: &'_ str| {
            let prefix = name.strip_suffix(RUNNING_MEAN).or_else(|| name.strip_suffix(RUNNING_VAR))?;
            let prefix = if prefix.is_empty() { "" } else { prefix.strip_suffix('.')? };
            Some(prefix.to_owned())
        };
        let mut prefixes: Vec<String> = self.0.names().into_iter().filter_map(prefix_of).collect();
        prefixes.sort();
        prefixes.dedup();
        prefixes
    }

    /// Returns a layer with the state of one in the file: with a weight, a bias and running statistics if the file has
    /// them, and with PyTorch's `eps` and momentum, unless the caller changes them (`with_eps`, `with_momentum`).
    /// `prefix` is empty if the file is of a single layer; a dot at its end does not matter.
    ///
    /// A weight and a bias alone may be those of another kind of layer, a LayerNorm for example. They make a layer without
    /// running statistics: [`BatchNorm::try_to_inference`] refuses it.
    ///
    /// Values are f16, bf16, f32 or f64. `num_batches_tracked` may be missing, as in files of PyTorch before 0.4.1.
    ///
    /// # Errors
    /// [`Error::Missing`] if there are none of the layer's tensors, or one of the running statistics alone;
    /// [`Error::Unexpected`] if there are others with this prefix; [`Error::Shape`] and [`Error::Dtype`] if one is not a
    /// list of as many numbers as the others; [`Error::Layer`] if a value cannot be set.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// # use batchnorm::safetensors::{StateDict, Values, write};
    /// let file = write([("bn", &BatchNorm::new(2).without_affine())], Values::F32)?;
    /// let layer = StateDict::parse(&file)?.layer("bn.")?;
    /// assert_eq!((layer.num_features(), layer.weight()), (2, None));
    /// # Ok::<(), batchnorm::safetensors::Error>(())
    /// ```
    pub fn layer(&self, prefix: &str) -> Result<BatchNorm> {
        let has = |name| self.tensor(prefix, name).is_some();
        let of = [WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR].into_iter().find_map(|name| self.tensor(prefix, name));
        let Some((key, tensor)) = of else { return Err(Error::Missing { key: key(prefix, RUNNING_MEAN) }) };
        let &[features] = tensor.shape() else {
            return Err(Error::Shape { key, expected: None, given: tensor.shape().to_vec() });
        };
        let of_layer = |error| Error::Layer { prefix: prefix.to_owned(), error };
        let mut bn = BatchNorm::try_new(features).map_err(of_layer)?;
        if !has(WEIGHT) {
            bn = bn.without_weight();
        }
        if !has(BIAS) {
            bn = bn.without_bias();
        }
        if !has(RUNNING_MEAN) && !has(RUNNING_VAR) && !has(NUM_BATCHES_TRACKED) {
            bn = bn.without_running_stats();
        }
        self.load_into(prefix, &mut bn)?;
        Ok(bn)
    }

    /// Sets the state of a layer that has its options already, like PyTorch's `load_state_dict`: the file must have all
    /// tensors that such a layer has (`num_batches_tracked` may be missing, and then stays) and no others with this
    /// prefix.
    ///
    /// # Errors
    /// As for [`StateDict::layer`], and [`Error::Missing`] if any tensor of the layer is missing. A failed call leaves
    /// the layer unchanged.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// # use batchnorm::safetensors::{StateDict, Values, write};
    /// let file = write([("bn", &BatchNorm::new(2))], Values::F32)?;
    /// let error = StateDict::parse(&file)?.load_into("bn", &mut BatchNorm::new(3)).unwrap_err();
    /// assert_eq!(error.to_string(), "`bn.weight` has shape [2], but the layer needs [3]");
    /// # Ok::<(), batchnorm::safetensors::Error>(())
    /// ```
    pub fn load_into(&self, prefix: &str, bn: &mut BatchNorm) -> Result<()> {
        let has_statistics = bn.tracks_running_stats();
        let wanted = |name: &str| match name {
            WEIGHT => bn.weight().is_some(),
            BIAS => bn.bias().is_some(),
            _ => has_statistics,
        };
        self.check_names(prefix, wanted)?;
        let values = |name: &str| -> Result<Vec<f64>> {
            let Some((key, tensor)) = self.tensor(prefix, name) else {
                return Err(Error::Missing { key: key(prefix, name) });
            };
            if tensor.shape() != [bn.num_features()] {
                return Err(Error::Shape { key, expected: Some(bn.num_features()), given: tensor.shape().to_vec() });
            }
            numbers(key, &tensor)
        };
        let [weight, bias] = [WEIGHT, BIAS].map(|name| wanted(name).then(|| values(name)).transpose());
        let [mean, var] = [RUNNING_MEAN, RUNNING_VAR].map(|name| wanted(name).then(|| values(name)).transpose());
        let batches = if has_statistics { self.batches(prefix)? } else { None };

        let mut new = bn.clone();
        let of_layer = |error| Error::Layer { prefix: prefix.to_owned(), error };
        if let Some(weight) = weight? {
            new.set_weight(&weight).map_err(of_layer)?;
        }
        if let Some(bias) = bias? {
            new.set_bias(&bias).map_err(of_layer)?;
        }
        if let Some(mean) = mean? {
            new.set_running_mean(&mean).map_err(of_layer)?;
        }
        if let Some(var) = var? {
            new.set_running_var(&var).map_err(of_layer)?;
        }
        if let Some(batches) = batches {
            new.set_num_batches_tracked(batches);
        }
        *bn = new;
        Ok(())
    }

    /// Refuses tensors with this prefix that the layer does not have.
    fn check_names(&self, prefix: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let start = key(prefix, "");
        let mut unexpected: Vec<&str> = self.0.names();
        unexpected.retain(|name| name.strip_prefix(&start).is_some_and(|name| !NAMES.contains(&name) || !wanted(name)));
        match unexpected.into_iter().min() {
            Some(name) => Err(Error::Unexpected { key: name.to_owned() }),
            None => Ok(()),
        }
    }

    fn tensor(&self, prefix: &str, name: &str) -> Option<(String, TensorView<'a>)> {
        let key = key(prefix, name);
        let tensor = self.0.tensor(&key).ok()?;
        Some((key, tensor))
    }

    /// Returns the number of batches, if the file has it.
    fn batches(&self, prefix: &str) -> Result<Option<u64>> {
        let Some((key, tensor)) = self.tensor(prefix, NUM_BATCHES_TRACKED) else { return Ok(None) };
        if tensor.dtype() != Dtype::I64 {
            return Err(Error::Dtype { key, expected: "I64", given: tensor.dtype().to_string() });
        }
        match <[u8; 8]>::try_from(tensor.data()).map(i64::from_le_bytes).map(u64::try_from) {
            Ok(Ok(batches)) => Ok(Some(batches)),
            Ok(Err(_)) => Err(Error::Negative { key }),
            Err(_) => Err(Error::Shape { key, expected: Some(1), given: tensor.shape().to_vec() }),
        }
    }
}

/// Returns the name of a tensor in the file.
fn key(prefix: &str, name: &str) -> String {
    match prefix.strip_suffix('.').unwrap_or(prefix) {
        "" => name.to_owned(),
        prefix => format!("{prefix}.{name}"),
    }
}

/// Returns the numbers of a tensor.
fn numbers(key: String, tensor: &TensorView<'_>) -> Result<Vec<f64>> {
    /// Files are little-endian, and tensors may lie at any address.
    fn read<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        data.as_chunks().0.iter().map(|bytes| number(*bytes)).collect()
    }
    let data = tensor.data();
    match tensor.dtype() {
        Dtype::F16 => Ok(read(data, |bytes| f16::from_le_bytes(bytes).to_f64())),
        Dtype::BF16 => Ok(read(data, |bytes| bf16::from_le_bytes(bytes).to_f64())),
        Dtype::F32 => Ok(read(data, |bytes| f32::from_le_bytes(bytes).into())),
        Dtype::F64 => Ok(read(data, f64::from_le_bytes)),
        given => Err(Error::Dtype { key, expected: "F16, BF16, F32 or F64", given: given.to_string() }),
    }
}
