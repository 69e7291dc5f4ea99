//! The layer: parameters, running statistics, training and evaluation.

mod backward;
mod checks;
mod fold;
mod fused;
mod halves;
mod inference;
mod options;
mod parameters;
mod train;

use crate::math::Lazy;
use alloc::vec::Vec;
use core::ops::Range;

use checks::{check_features, check_same};
pub use inference::Inference;
pub use options::{Averaging, FewValues, NonFinite};
use parameters::{Needed, Source};

use crate::exec::Normalization;
use crate::moments::Workspace;
use crate::{Batch, BatchMut, Element, Moments, Path, Precision, Result};

/// Batch normalisation with PyTorch's defaults: `y = (x - mean) / sqrt(variance + eps) * weight + bias` per feature.
///
/// Training normalises with the batch's mean and biased variance. It also moves the running statistics towards the
/// batch's mean and *unbiased* variance. Evaluation normalises with the running statistics. Parameters and statistics
/// are f64 for batches of either element type, so that a long average of small steps does not stall.
///
/// | option | default | in PyTorch | |
/// |---|---|---|---|
/// | [`eps`](BatchNorm::with_eps) | 1e-5 | `eps` | is added to the variance |
/// | [weight](BatchNorm::set_weight) | 1 | `weight` | [none](BatchNorm::without_weight): only `F.batch_norm` |
/// | [bias](BatchNorm::set_bias) | 0 | `bias` | [none](BatchNorm::without_bias): `bias=False` |
/// | both | yes | `affine` | [none](BatchNorm::without_affine): `affine=False` |
/// | [`momentum`](BatchNorm::with_momentum) | 0.1 | `momentum` | share of a batch in the running statistics |
/// | [average over batches](BatchNorm::with_cumulative_average) | no | `momentum=None` | all batches weigh the same |
/// | [average over values](BatchNorm::with_sample_weighted_average) | no | - | all values weigh the same |
/// | [running `ddof`](BatchNorm::with_running_ddof) | 1 | always 1 | divisor of the variance that is averaged |
/// | [no running statistics](BatchNorm::without_running_stats) | no | `track_running_stats=False` | |
/// | [`running_mean`](BatchNorm::set_running_mean) | 0 | `running_mean` | |
/// | [`running_var`](BatchNorm::set_running_var) | 1 | `running_var` | |
/// | [`FewValues`](BatchNorm::with_few_values) | error | always an error | one value per feature in training |
/// | [`NonFinite`](BatchNorm::with_non_finite) | let through | always let through | NaN and infinity in training |
/// | [activation](BatchNorm::with_activation) | [none](crate::Activation::None) | - | a ReLU in the same pass |
/// | [path](BatchNorm::with_path) | [`Path::Auto`] | - | results do not depend on it |
/// | [precision](BatchNorm::with_precision) | [`Precision::Single`] | - | how f32 batches are normalised |
///
/// [`BatchNorm::onnx`], [`BatchNorm::keras`] and [`BatchNorm::flax`] start from the defaults of these frameworks, and
/// [`BatchNorm::reset_running_stats`] is PyTorch's `reset_running_stats`.
///
/// Training has two halves, which [`BatchNorm::forward_train`] does at once: [`BatchNorm::measure`] returns the batch's
/// moments, and [`BatchNorm::forward_train_with`] normalises by them. Between them, moments of several shards or
/// micro-batches can be merged, which then train as one batch.
///
/// A NaN or an infinity in a feature makes that feature's outputs and running statistics NaN or infinite, as in
/// PyTorch. Other features are not affected. A failed call leaves everything unchanged. An empty training batch has an
/// empty output and changes nothing.
///
/// A state to save is `weight`, `bias`, `running_mean`, `running_var`, `num_batches_tracked` (the names in PyTorch's
/// `state_dict`) and [`num_values_tracked`](BatchNorm::num_values_tracked). Every state that a layer can reach can be
/// set on a new layer with the same options, and continues with the same bits.
///
/// ```
/// use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
///
/// let layout = Layout::nc(4, 2);
/// let data = [1.0f32, 5.0, 2.0, 5.0, 3.0, 5.0, 4.0, 5.0];
/// let mut out = [0.0f32; 8];
///
/// let mut bn = BatchNorm::new(2);
/// bn.forward_train(Batch::new(&data, layout)?, BatchMut::new(&mut out, layout)?)?;
/// assert_eq!(out[1], 0.0); // a constant feature becomes its bias, exactly
/// assert!((out[0] + 1.3416355).abs() < 1e-6);
/// assert_eq!(bn.running_mean(), [0.25, 0.5]);
///
/// bn.forward_eval(Batch::new(&data, layout)?, BatchMut::new(&mut out, layout)?)?;
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct BatchNorm {
    eps: f64,
    averaging: Averaging,
    running_ddof: f64,
    few_values: FewValues,
    non_finite: NonFinite,
    num_features: usize,
    tracks_running_stats: bool,
    weight: Option<Vec<f64>>,
    bias: Option<Vec<f64>>,
    /// Running mean and variance, empty if the layer tracks none.
    running_mean: Vec<f64>,
    running_var: Vec<f64>,
    num_batches_tracked: u64,
    num_values_tracked: u64,
    path: Path,
    precision: Precision,
    /// The frozen layer that evaluation applies, made on first use after a change.
    inference: Lazy<Inference>,
    /// Moments of the last batch, or of the moments that it was trained with.
    batch: Moments,
    /// Memory of a training step, reused by the next one.
    measured: Moments,
    workspace: Workspace,
    /// Mean, scale and bias with which the batch is normalised, and the activation of the outputs.
    normalization: Normalization,
}

impl BatchNorm {
    /// Normalises the batch by its own statistics, writes the result to `y` and updates the running statistics.
    ///
    /// `running = (1 - momentum) * running + momentum * batch`, with the batch's unbiased variance. An empty batch
    /// moves nothing and counts for nothing.
    ///
    /// # Errors
    /// [`Error::Features`] if the batch has a different number of features from the layer, [`Error::LayoutMismatch`] if
    /// `y` has a different layout from `x`, [`Error::TooFewValues`] if a feature has one value only (its unbiased
    /// variance is undefined; see [`FewValues`] and [`BatchNorm::with_running_ddof`]), [`Error::NonFinite`] if
    /// [`BatchNorm::with_non_finite`] refuses a NaN or an infinity.
    ///
    /// [`Error::Features`]: crate::Error::Features
    /// [`Error::LayoutMismatch`]: crate::Error::LayoutMismatch
    /// [`Error::TooFewValues`]: crate::Error::TooFewValues
    /// [`Error::NonFinite`]: crate::Error::NonFinite
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let layout = Layout::nc(2, 1);
    /// let mut out = [0.0f32; 2];
    /// let mut bn = BatchNorm::new(1).with_eps(0.0)?;
    /// bn.forward_train(Batch::new(&[1.0f32, 3.0], layout)?, BatchMut::new(&mut out, layout)?)?;
    /// assert_eq!(out, [-1.0, 1.0]);
    /// assert_eq!(bn.num_batches_tracked(), 1);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_train<T: Element>(&mut self, x: Batch<'_, T>, y: BatchMut<'_, T>) -> Result<()> {
        check_features(self.num_features, x.layout())?;
        check_same(x.layout(), y.layout())?;
        self.train(Some(x), None, y)
    }

    /// Trains on a batch like [`BatchNorm::forward_train`], but in place.
    ///
    /// # Errors
    /// As for [`BatchNorm::forward_train`].
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, Layout};
    /// let mut data = [1.0f64, 3.0];
    /// let mut bn = BatchNorm::new(1).with_eps(0.0)?;
    /// bn.forward_train_in_place(BatchMut::new(&mut data, Layout::nc(2, 1))?)?;
    /// assert_eq!(data, [-1.0, 1.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_train_in_place<T: Element>(&mut self, x: BatchMut<'_, T>) -> Result<()> {
        check_features(self.num_features, x.layout())?;
        self.train(None, None, x)
    }

    /// Normalises the batch by the running statistics and writes the result to `y`.
    ///
    /// The first call after a change of the layer computes the scale and bias of each feature; later calls allocate
    /// nothing, unless they start work on other threads. A batch may have any number of rows, including none.
    ///
    /// Without running statistics, the batch is normalised by its own ([`BatchNorm::without_running_stats`]).
    ///
    /// # Errors
    /// [`Error::Features`] if the batch has a different number of features from the layer, [`Error::LayoutMismatch`] if
    /// `y` has a different layout from `x`. Without running statistics also [`Error::TooFewValues`], as for
    /// [`BatchNorm::forward_train`].
    ///
    /// [`Error::Features`]: crate::Error::Features
    /// [`Error::LayoutMismatch`]: crate::Error::LayoutMismatch
    /// [`Error::TooFewValues`]: crate::Error::TooFewValues
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let (layout, mut out) = (Layout::nc(1, 1), [0.0f32]);
    /// let mut bn = BatchNorm::new(1).with_eps(0.0)?;
    /// bn.set_running_mean(&[1.0])?;
    /// bn.set_running_var(&[4.0])?;
    /// bn.forward_eval(Batch::new(&[5.0f32], layout)?, BatchMut::new(&mut out, layout)?)?;
    /// assert_eq!(out, [2.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_eval<T: Element>(&self, x: Batch<'_, T>, y: BatchMut<'_, T>) -> Result<()> {
        match self.inference() {
            Some(inference) => inference.forward(x, y),
            None => self.batch_inference(x)?.forward(x, y),
        }
    }

    /// Evaluates a batch like [`BatchNorm::forward_eval`], but in place.
    ///
    /// # Errors
    /// As for [`BatchNorm::forward_eval`].
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, Layout};
    /// let mut data = [5.0f64];
    /// BatchNorm::new(1).with_eps(0.0)?.forward_eval_in_place(BatchMut::new(&mut data, Layout::nc(1, 1))?)?;
    /// assert_eq!(data, [5.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_eval_in_place<T: Element>(&self, x: BatchMut<'_, T>) -> Result<()> {
        match self.inference() {
            Some(inference) => inference.forward_in_place(x),
            None => self.batch_inference(x.as_batch())?.forward_in_place(x),
        }
    }

    /// Returns the frozen layer, for pipelines that only run inference. Later changes of the layer do not affect it.
    ///
    /// # Panics
    /// Without running statistics, because there is nothing to freeze. [`BatchNorm::try_to_inference`] is for layers
    /// whose options come from input.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let norm = BatchNorm::new(1).with_eps(0.0)?.to_inference();
    /// let (layout, mut out) = (Layout::nc(2, 1), [0.0f32; 2]);
    /// norm.forward(Batch::new(&[5.0f32, 6.0], layout)?, BatchMut::new(&mut out, layout)?)?;
    /// assert_eq!(out, [5.0, 6.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn to_inference(&self) -> Inference {
        self.try_to_inference().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Like [`BatchNorm::to_inference`], but without a panic.
    ///
    /// # Errors
    /// [`Error::NoRunningStats`](crate::Error::NoRunningStats) if the layer was made without running statistics.
    ///
    /// ```
    /// # use batchnorm::{BatchNorm, Error};
    /// assert_eq!(BatchNorm::new(3).try_to_inference()?, BatchNorm::new(3).to_inference());
    /// let error = BatchNorm::new(3).without_running_stats().try_to_inference().unwrap_err();
    /// assert_eq!(error, Error::NoRunningStats);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn try_to_inference(&self) -> Result<Inference> {
        self.inference().cloned().ok_or(crate::Error::NoRunningStats)
    }

    /// Returns the frozen layer, if there are running statistics.
    pub(crate) fn inference(&self) -> Option<&Inference> {
        self.tracks_running_stats.then(|| {
            self.inference.get_or_init(|| {
                let source = self.source(&self.running_mean, None);
                self.frozen(source, |features, to| to.copy_from_slice(&self.running_var[features]))
            })
        })
    }

    /// Returns the frozen layer of some means, and of the variances that a function writes.
    fn frozen(&self, source: Source<'_>, variances: impl FnMut(Range<usize>, &mut [f64])) -> Inference {
        let mut normalization = Normalization { activation: self.activation(), ..Normalization::default() };
        // Whatever the precision, because `Inference::with_precision` may change it.
        source.fill(&mut normalization, Needed::Both, variances);
        Inference::new(normalization, self.path, self.precision)
    }

    /// Discards the frozen layer, which a change has made out of date.
    fn changed(&mut self) {
        self.inference.take();
    }

    /// Returns what the parameters of the layer are made of, with these means and their low words.
    fn source<'a>(&'a self, mean: &'a [f64], mean_low: Option<&'a [f64]>) -> Source<'a> {
        self.source_of(0..mean.len(), mean, mean_low)
    }

    /// Returns what the parameters of some features are made of, with their means.
    fn source_of<'a>(&'a self, features: Range<usize>, mean: &'a [f64], mean_low: Option<&'a [f64]>) -> Source<'a> {
        let part = |array: &'a Option<Vec<f64>>| array.as_deref().map(|array| &array[features.clone()]);
        Source { path: self.path, mean, mean_low, weight: part(&self.weight), bias: part(&self.bias), eps: self.eps }
    }
}
