//! Creates a layer, and reads and sets its options, parameters and statistics.

mod averaging;
mod conventions;
mod policies;
mod running;

use crate::math::Lazy;
use alloc::vec::Vec;
use core::fmt;

pub use averaging::Averaging;
pub use policies::{FewValues, NonFinite};

use super::BatchNorm;
use crate::exec::Normalization;
use crate::moments::Workspace;
use crate::{Element, Error, Moments, Path, Precision, Result};

impl BatchNorm {
    /// Creates a layer of `num_features` features with PyTorch's defaults (see [`BatchNorm`]).
    ///
    /// # Panics
    /// If there is not enough memory for so many features, as `vec![0.0; num_features]` does. [`BatchNorm::try_new`] is
    /// for numbers of features that come from input.
    ///
    /// ```
    /// let bn = batchnorm::BatchNorm::new(2);
    /// assert_eq!((bn.eps(), bn.momentum()), (1e-5, Some(0.1)));
    /// assert_eq!((bn.weight(), bn.bias()), (Some(&[1.0, 1.0][..]), Some(&[0.0, 0.0][..])));
    /// assert_eq!((bn.running_mean(), bn.running_var()), (&[0.0, 0.0][..], &[1.0, 1.0][..]));
    /// ```
    pub fn new(num_features: usize) -> Self {
        Self::try_new(num_features).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Like [`BatchNorm::new`], but without a panic.
    ///
    /// # Errors
    /// [`Error::TooManyFeatures`] if there is not enough memory for so many features.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// assert_eq!(BatchNorm::try_new(2)?.num_features(), 2);
    /// assert!(BatchNorm::try_new(usize::MAX).is_err());
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn try_new(num_features: usize) -> Result<Self> {
        Ok(BatchNorm {
            eps: 1e-5,
            averaging: Averaging::Exponential { momentum: 0.1 },
            running_ddof: 1.0,
            few_values: FewValues::default(),
            non_finite: NonFinite::default(),
            num_features,
            tracks_running_stats: true,
            weight: Some(filled(1.0, num_features)?),
            bias: Some(filled(0.0, num_features)?),
            running_mean: filled(0.0, num_features)?,
            running_var: filled(1.0, num_features)?,
            num_batches_tracked: 0,
            num_values_tracked: 0,
            path: Path::Auto,
            precision: Precision::Single,
            inference: Lazy::new(),
            batch: Moments::try_new(num_features)?,
            measured: Moments::default(),
            workspace: Workspace::default(),
            normalization: Normalization::default(),
        })
    }

    /// Sets `eps`, which is added to the variance to avoid dividing by nearly zero (default: 1e-5). 0 is allowed: a
    /// feature whose variance is also 0 then becomes its bias.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if `eps` is negative or not finite.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// assert_eq!(BatchNorm::new(1).with_eps(1e-3)?.eps(), 1e-3);
    /// assert!(BatchNorm::new(1).with_eps(-1.0).is_err());
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn with_eps(mut self, eps: f64) -> Result<Self> {
        if !(eps.is_finite() && eps >= 0.0) {
            return Err(Error::OutOfRange { name: "eps", allowed: "finite and at least 0", given: eps });
        }
        self.eps = eps;
        self.changed();
        Ok(self)
    }

    /// Removes the weight and the bias, like PyTorch's `affine=False`. ([`BatchNorm::set_weight`] and
    /// [`BatchNorm::set_bias`] add them again, so any combination exists.)
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let bn = BatchNorm::new(1).without_affine();
    /// assert_eq!((bn.weight(), bn.bias()), (None, None));
    /// ```
    pub fn without_affine(self) -> Self {
        self.without_weight().without_bias()
    }

    /// Removes the weight, like Keras' `scale=False`.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let bn = BatchNorm::new(1).without_weight();
    /// assert_eq!((bn.weight(), bn.bias()), (None, Some(&[0.0][..])));
    /// ```
    pub fn without_weight(mut self) -> Self {
        self.weight = None;
        self.changed();
        self
    }

    /// Removes the bias, like PyTorch's `bias=False` and Keras' `center=False`.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// assert_eq!(BatchNorm::new(1).without_bias().bias(), None);
    /// ```
    pub fn without_bias(mut self) -> Self {
        self.bias = None;
        self.changed();
        self
    }

    /// Sets the path for training and evaluation (default: [`Path::Auto`]); [`BatchNorm::to_inference`] passes it on.
    /// All paths give bit-identical results; only speed differs.
    ///
    /// ```
    /// # use batchnorm::{BatchNorm, Isa, Path};
    /// let bn = BatchNorm::new(1).with_path(Path::Simd(Isa::detect())); // never on other threads
    /// assert_eq!(bn.path(), Path::Simd(Isa::detect()));
    /// ```
    pub fn with_path(mut self, path: Path) -> Self {
        self.path = path;
        self.changed();
        self
    }

    /// Returns the path.
    ///
    /// ```
    /// # use batchnorm::{BatchNorm, Path};
    /// assert_eq!(BatchNorm::new(1).path(), Path::Auto);
    /// ```
    pub fn path(&self) -> Path {
        self.path
    }

    /// Sets the arithmetic in which f32 batches are normalised, in training and evaluation (default:
    /// [`Precision::Single`]); [`BatchNorm::to_inference`] passes it on. f64 batches are always computed in f64.
    ///
    /// ```
    /// # use batchnorm::{BatchNorm, Precision};
    /// let bn = BatchNorm::new(1).with_precision(Precision::Double); // correctly rounded but for near-ties
    /// assert_eq!(bn.to_inference().precision(), Precision::Double);
    /// ```
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self.changed();
        self
    }

    /// Returns the arithmetic in which f32 batches are normalised.
    ///
    /// ```
    /// # use batchnorm::{BatchNorm, Precision};
    /// assert_eq!(BatchNorm::new(1).precision(), Precision::Single);
    /// ```
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Returns the number of features.
    ///
    /// ```
    /// assert_eq!(batchnorm::BatchNorm::new(7).num_features(), 7);
    /// ```
    pub fn num_features(&self) -> usize {
        self.num_features
    }

    /// Returns `eps`, which is added to the variance.
    ///
    /// ```
    /// assert_eq!(batchnorm::BatchNorm::new(7).eps(), 1e-5);
    /// ```
    pub fn eps(&self) -> f64 {
        self.eps
    }

    /// Returns the weight (gamma), with which normalised values are multiplied, or `None` without one.
    ///
    /// ```
    /// assert_eq!(batchnorm::BatchNorm::new(1).weight(), Some(&[1.0][..]));
    /// ```
    pub fn weight(&self) -> Option<&[f64]> {
        self.weight.as_deref()
    }

    /// Returns the bias (beta), which is added last, or `None` without one.
    ///
    /// ```
    /// assert_eq!(batchnorm::BatchNorm::new(1).bias(), Some(&[0.0][..]));
    /// ```
    pub fn bias(&self) -> Option<&[f64]> {
        self.bias.as_deref()
    }

    /// Sets the weight, one value per feature, even if the layer had none.
    ///
    /// # Errors
    /// [`Error::ParameterLength`] if there is not one value per feature.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let mut bn = BatchNorm::new(2);
    /// bn.set_weight(&[2.0f32, 0.5])?;
    /// assert_eq!(bn.weight(), Some(&[2.0, 0.5][..]));
    /// assert!(bn.set_weight(&[2.0f32]).is_err());
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn set_weight<T: Element>(&mut self, weight: &[T]) -> Result<()> {
        self.weight = Some(self.checked("weight", weight)?);
        self.changed();
        Ok(())
    }

    /// Sets the bias, one value per feature, even if the layer had none.
    ///
    /// # Errors
    /// [`Error::ParameterLength`] if there is not one value per feature.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let mut bn = BatchNorm::new(2);
    /// bn.set_bias(&[1.0f32, -1.0])?;
    /// assert_eq!(bn.bias(), Some(&[1.0, -1.0][..]));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn set_bias<T: Element>(&mut self, bias: &[T]) -> Result<()> {
        self.bias = Some(self.checked("bias", bias)?);
        self.changed();
        Ok(())
    }

    /// Converts one value per feature to f64, after checking their number.
    fn checked<T: Element>(&self, name: &'static str, values: &[T]) -> Result<Vec<f64>> {
        let (expected, given) = (self.num_features(), values.len());
        if given != expected {
            return Err(Error::ParameterLength { name, expected, given });
        }
        Ok(values.iter().map(|x| x.to_f64()).collect())
    }
}

/// Prints the options only, because parameters and statistics may be long.
impl fmt::Debug for BatchNorm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchNorm")
            .field("num_features", &self.num_features())
            .field("eps", &self.eps)
            .field("averaging", &self.averaging)
            .field("running_ddof", &self.running_ddof)
            .field("few_values", &self.few_values)
            .field("non_finite", &self.non_finite)
            .field("tracks_running_stats", &self.tracks_running_stats)
            .field("weight", &self.weight.is_some())
            .field("bias", &self.bias.is_some())
            .field("num_batches_tracked", &self.num_batches_tracked)
            .field("num_values_tracked", &self.num_values_tracked)
            .field("path", &self.path)
            .field("precision", &self.precision)
            .field("activation", &self.activation())
            .finish_non_exhaustive()
    }
}

/// A vector of equal values, if there is memory for it.
fn filled(value: f64, num_features: usize) -> Result<Vec<f64>> {
    let mut values = Vec::new();
    values.try_reserve_exact(num_features).map_err(|_| Error::TooManyFeatures { given: num_features })?;
    values.resize(num_features, value);
    Ok(values)
}
