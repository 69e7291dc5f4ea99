//! How far a batch moves the running statistics, and which variance moves them.

use crate::batch_norm::BatchNorm;
use crate::{Error, Result};

/// How much of the running statistics one batch makes up: `running = (1 - share) * running + share * batch`.
///
/// ```
/// # use batchnorm::{Averaging, BatchNorm};
/// assert!(matches!(BatchNorm::new(1).averaging(), Averaging::Exponential { momentum: 0.1, .. }));
/// assert_eq!(BatchNorm::new(1).with_cumulative_average().averaging(), Averaging::Batches);
/// assert_eq!(BatchNorm::new(1).with_sample_weighted_average().averaging(), Averaging::Values);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Averaging {
    /// The share is fixed: [`BatchNorm::with_momentum`].
    #[non_exhaustive]
    Exponential {
        /// The share of a batch.
        momentum: f64,
    },
    /// All batches so far weigh the same: [`BatchNorm::with_cumulative_average`].
    Batches,
    /// All values so far weigh the same: [`BatchNorm::with_sample_weighted_average`].
    Values,
}

impl Averaging {
    /// Returns the share of a batch of `count` values per feature, given the totals that include this batch.
    pub(in crate::batch_norm) fn share(self, count: u64, total_batches: u64, total_values: u64) -> f64 {
        match self {
            Averaging::Exponential { momentum } => momentum,
            Averaging::Batches => 1.0 / total_batches as f64,
            Averaging::Values => count as f64 / total_values as f64,
        }
    }

    /// Whether variances that are not negative stay so. (Batches and values keep them so, too, but a layer that turns
    /// to these may have negative ones from before.)
    pub(super) fn refuses_negative(self) -> bool {
        matches!(self, Averaging::Exponential { momentum } if (0.0..=1.0).contains(&momentum))
    }
}

impl BatchNorm {
    /// Sets how far one batch moves the running statistics (default: 0.1):
    /// `running = (1 - momentum) * running + momentum * batch`, as in PyTorch. Any finite number is allowed.
    ///
    /// ONNX, Flax and Keras use the word momentum for the share of the running statistics that is *kept*: pass
    /// `1.0 - kept`. From 0.5 to 1, this is exact. [`BatchNorm::onnx`], [`BatchNorm::flax`] and [`BatchNorm::keras`]
    /// set the other options of these frameworks, too.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if `momentum` is not finite, or if it lies within 0 and 1 and the layer has a negative
    /// running variance from another momentum: see [`BatchNorm::set_running_var`].
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// assert_eq!(BatchNorm::new(1).with_momentum(0.01)?.momentum(), Some(0.01));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn with_momentum(mut self, momentum: f64) -> Result<Self> {
        if !momentum.is_finite() {
            return Err(Error::OutOfRange { name: "momentum", allowed: "finite", given: momentum });
        }
        let averaging = Averaging::Exponential { momentum };
        super::running::check_variances(averaging, &self.running_var)?;
        self.averaging = averaging;
        Ok(self)
    }

    /// Makes the running statistics the plain average over all batches so far, with equal weights, like PyTorch's
    /// `momentum=None`: the share of a batch is `1 / num_batches_tracked`. Empty batches do not count. (PyTorch counts
    /// them, so that an empty first batch leaves half of the initial statistics in the average.)
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// assert_eq!(BatchNorm::new(1).with_cumulative_average().momentum(), None);
    /// ```
    pub fn with_cumulative_average(mut self) -> Self {
        self.averaging = Averaging::Batches;
        self
    }

    /// Makes the running statistics the average over all batches so far, each weighted by its number of values per
    /// feature. (PyTorch has no such option.) So a short last batch counts for what it is: the running mean is the mean
    /// of all values so far, up to rounding. The running variance is the weighted average of the batches' variances,
    /// not the variance of all values, which also contains how the batches' means differ. ([`Moments`](crate::Moments)
    /// give that, for [`BatchNorm::set_running_var`].)
    ///
    /// The share of a batch of `n` values is `n / num_values_tracked`, so a saved state also needs
    /// [`BatchNorm::num_values_tracked`].
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, Layout};
    /// let mut bn = BatchNorm::new(1).with_sample_weighted_average();
    /// bn.forward_train_in_place(BatchMut::new(&mut [1.0f32, 3.0], Layout::nc(2, 1))?)?;
    /// bn.forward_train_in_place(BatchMut::new(&mut [4.0f32; 6], Layout::nc(6, 1))?)?;
    /// assert_eq!((bn.running_mean()[0], bn.running_var()[0]), (3.5, 0.5));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn with_sample_weighted_average(mut self) -> Self {
        self.averaging = Averaging::Values;
        self
    }

    /// Sets the divisor of the variance that moves the running variance: `count - ddof` (default: 1, the unbiased
    /// variance, as in PyTorch). 0 gives the population variance, as in ONNX, Keras and Flax. Outputs of training do
    /// not depend on it: they are always normalised with the population variance.
    ///
    /// A batch needs more than `ddof` values per feature: 2 by default, 1 with a `ddof` of 0. [`FewValues`] says what
    /// happens otherwise.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if `ddof` is negative or not finite.
    ///
    /// [`FewValues`]: crate::FewValues
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, Layout};
    /// let mut bn = BatchNorm::new(1).with_momentum(1.0)?.with_running_ddof(0.0)?;
    /// bn.forward_train_in_place(BatchMut::new(&mut [1.0f32, 3.0], Layout::nc(2, 1))?)?;
    /// assert_eq!(bn.running_var(), [1.0]); // PyTorch's would be 2
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn with_running_ddof(mut self, ddof: f64) -> Result<Self> {
        if !(ddof.is_finite() && ddof >= 0.0) {
            return Err(Error::OutOfRange { name: "running_ddof", allowed: "finite and at least 0", given: ddof });
        }
        self.running_ddof = ddof;
        Ok(self)
    }

    /// Returns how much of the running statistics one batch makes up.
    ///
    /// ```
    /// # use batchnorm::{Averaging, BatchNorm};
    /// assert_eq!(BatchNorm::new(7).with_cumulative_average().averaging(), Averaging::Batches);
    /// ```
    #[must_use]
    pub fn averaging(&self) -> Averaging {
        self.averaging
    }

    /// Returns how far one batch moves the running statistics, or `None` where this depends on the batches so far: see
    /// [`BatchNorm::averaging`].
    ///
    /// ```
    /// assert_eq!(batchnorm::BatchNorm::new(7).momentum(), Some(0.1));
    /// ```
    #[must_use]
    pub fn momentum(&self) -> Option<f64> {
        match self.averaging {
            Averaging::Exponential { momentum } => Some(momentum),
            Averaging::Batches | Averaging::Values => None,
        }
    }

    /// Returns the `ddof` of the variance that moves the running variance.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// assert_eq!((BatchNorm::pytorch(7).running_ddof(), BatchNorm::onnx(7).running_ddof()), (1.0, 0.0));
    /// ```
    #[must_use]
    pub fn running_ddof(&self) -> f64 {
        self.running_ddof
    }
}
