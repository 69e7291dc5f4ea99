//! The layer: parameters, running statistics, training and evaluation.

mod checks;
mod fold;
mod fused;
mod inference;
mod options;
mod parameters;

use std::sync::OnceLock;

use checks::{check_features, check_same};
pub use inference::Inference;
use parameters::{Statistics, WeightBias};

use crate::exec::Normalization;
use crate::moments::Workspace;
use crate::{Batch, BatchMut, Element, Error, Layout, Moments, Path, Precision, Result};

/// Batch normalisation with PyTorch's defaults: `y = (x - mean) / sqrt(variance + eps) * weight + bias` per feature.
///
/// Training normalises with the batch's mean and biased variance. It also moves the running statistics towards the
/// batch's mean and *unbiased* variance. Evaluation normalises with the running statistics. Parameters and statistics
/// are f64 for batches of either element type, so that a long average of small steps does not stall.
///
/// | option | default | |
/// |---|---|---|
/// | `eps` | 1e-5 | [`BatchNorm::with_eps`] |
/// | `momentum` | 0.1 | [`BatchNorm::with_momentum`], [`BatchNorm::with_cumulative_average`] |
/// | `weight` | 1 | [`BatchNorm::set_weight`], [`BatchNorm::without_affine`] |
/// | `bias` | 0 | [`BatchNorm::set_bias`], [`BatchNorm::without_bias`] |
/// | `running_mean`, `running_var` | 0, 1 | [`BatchNorm::set_running_mean`], [`BatchNorm::set_running_var`] |
/// | path | [`Path::Auto`] | [`BatchNorm::with_path`]; results do not depend on it |
/// | precision | [`Precision::Single`] | [`BatchNorm::with_precision`]: how f32 batches are normalised |
/// | activation | [`Activation::None`](crate::Activation::None) | [`BatchNorm::with_activation`] |
///
/// A NaN or an infinity in a feature makes that feature's outputs and running statistics NaN or infinite, as in
/// PyTorch. Other features are not affected. A failed call leaves everything unchanged.
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
    momentum: Option<f64>,
    weight: Option<Vec<f64>>,
    bias: Option<Vec<f64>>,
    running_mean: Vec<f64>,
    running_var: Vec<f64>,
    num_batches_tracked: u64,
    path: Path,
    precision: Precision,
    /// The frozen layer that evaluation applies, made on first use after a change.
    inference: OnceLock<Inference>,
    /// Memory of a training step, reused by the next one.
    batch: Moments,
    workspace: Workspace,
    /// Variances of the batch: first unbiased, then biased.
    variance: Vec<f64>,
    /// Mean, scale and bias with which the batch is normalised, and the activation of the outputs.
    normalization: Normalization,
}

impl BatchNorm {
    /// Normalises the batch by its own statistics, writes the result to `y` and updates the running statistics.
    ///
    /// `running = (1 - momentum) * running + momentum * batch`, with the batch's unbiased variance.
    ///
    /// # Errors
    /// [`Error::Features`] if the batch has a different number of features from the layer, [`Error::LayoutMismatch`] if
    /// `y` has a different layout from `x`, [`Error::TooFewValues`] if a feature has fewer than two values (its
    /// unbiased variance is undefined).
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
    pub fn forward_train<T: Element>(&mut self, x: Batch<'_, T>, mut y: BatchMut<'_, T>) -> Result<()> {
        self.check_train(x.layout())?;
        check_same(x.layout(), y.layout())?;
        self.train_step(x);
        self.path.normalize(&self.normalization, self.precision, x.layout(), Some(x.data()), None, y.data_mut());
        Ok(())
    }

    /// Trains on a batch like [`BatchNorm::forward_train`], but in place.
    ///
    /// # Errors
    /// [`Error::Features`] and [`Error::TooFewValues`], as for [`BatchNorm::forward_train`].
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, Layout};
    /// let mut data = [1.0f64, 3.0];
    /// let mut bn = BatchNorm::new(1).with_eps(0.0)?;
    /// bn.forward_train_in_place(BatchMut::new(&mut data, Layout::nc(2, 1))?)?;
    /// assert_eq!(data, [-1.0, 1.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_train_in_place<T: Element>(&mut self, mut x: BatchMut<'_, T>) -> Result<()> {
        self.check_train(x.layout())?;
        self.train_step(x.as_batch());
        self.path.normalize(&self.normalization, self.precision, x.layout(), None, None, x.data_mut());
        Ok(())
    }

    /// Normalises the batch by the running statistics and writes the result to `y`.
    ///
    /// The first call after a change of the layer computes the scale and bias of each feature; later calls allocate
    /// nothing, unless they start work on other threads. A batch may have any number of rows, including none.
    ///
    /// # Errors
    /// [`Error::Features`] if the batch has a different number of features from the layer, [`Error::LayoutMismatch`] if
    /// `y` has a different layout from `x`.
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
        self.inference().forward(x, y)
    }

    /// Evaluates a batch like [`BatchNorm::forward_eval`], but in place.
    ///
    /// # Errors
    /// [`Error::Features`], as for [`BatchNorm::forward_eval`].
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, Layout};
    /// let mut data = [5.0f64];
    /// BatchNorm::new(1).with_eps(0.0)?.forward_eval_in_place(BatchMut::new(&mut data, Layout::nc(1, 1))?)?;
    /// assert_eq!(data, [5.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_eval_in_place<T: Element>(&self, x: BatchMut<'_, T>) -> Result<()> {
        self.inference().forward_in_place(x)
    }

    /// Returns the frozen layer, for pipelines that only run inference. Later changes of the layer do not affect it.
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
        self.inference().clone()
    }

    pub(crate) fn inference(&self) -> &Inference {
        self.inference.get_or_init(|| {
            let mut normalization = Normalization { activation: self.activation(), ..Normalization::default() };
            let statistics = Statistics { mean: &self.running_mean, mean_low: None, variance: &self.running_var };
            parameters::fill_double(&mut normalization, statistics, self.eps, self.weight_bias());
            // Whatever the precision, because `Inference::with_precision` may change it.
            parameters::fill_single(&mut normalization, None, self.weight_bias());
            Inference::new(normalization, self.path, self.precision)
        })
    }

    /// Computes the moments of the batch, updates the running statistics and sets `self.normalization` to that which
    /// normalise the batch.
    fn train_step<T: Element>(&mut self, x: Batch<'_, T>) {
        let (path, count) = (self.path, x.layout().count());
        let (mut batch, mut variance) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.variance));
        let mut normalization = std::mem::take(&mut self.normalization);
        path.moments_into(x, &mut batch, &mut self.workspace);
        variance.resize(batch.num_features(), 0.0);
        path.variances(&batch, (count - 1) as f64, &mut variance);
        self.update_running(batch.means(), &variance);
        path.variances(&batch, count as f64, &mut variance);
        let parts = batch.parts();
        let statistics = Statistics { mean: parts.means, mean_low: Some(parts.means_middle), variance: &variance };
        parameters::fill_double(&mut normalization, statistics, self.eps, self.weight_bias());
        if size_of::<T>() == size_of::<f32>() && self.precision == Precision::Single {
            parameters::fill_single(&mut normalization, statistics.mean_low, self.weight_bias());
        }
        (self.batch, self.variance, self.normalization) = (batch, variance, normalization);
    }

    fn update_running(&mut self, mean: &[f64], unbiased_variance: &[f64]) {
        self.changed();
        self.num_batches_tracked = self.num_batches_tracked.saturating_add(1);
        let momentum = self.momentum.unwrap_or(1.0 / self.num_batches_tracked as f64);
        let towards = |running: &mut [f64], batch: &[f64]| {
            for (running, batch) in running.iter_mut().zip(batch) {
                *running = (1.0 - momentum) * *running + momentum * batch;
            }
        };
        towards(&mut self.running_mean, mean);
        towards(&mut self.running_var, unbiased_variance);
    }

    /// Discards the frozen layer, which a change has made out of date.
    fn changed(&mut self) {
        self.inference.take();
    }

    fn weight_bias(&self) -> WeightBias<'_> {
        WeightBias { weight: self.weight.as_deref(), bias: self.bias.as_deref() }
    }

    fn check_train(&self, layout: Layout) -> Result<()> {
        check_features(self.num_features(), layout)?;
        // A batch without features has no values, whatever its other dimensions are.
        let given = if layout.features() == 0 { 0 } else { layout.count() };
        if given < 2 { Err(Error::TooFewValues { needed: 2, given }) } else { Ok(()) }
    }
}
