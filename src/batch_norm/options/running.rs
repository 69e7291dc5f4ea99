//! The running statistics: whether there are any, and their values.

use super::Averaging;
use crate::batch_norm::BatchNorm;
use crate::{Element, Error, Result};
use alloc::vec::Vec;

impl BatchNorm {
    /// Removes the running statistics, like PyTorch's `track_running_stats=False`. Training moves nothing, and
    /// evaluation normalises by the statistics of its batch, as training does. There is nothing to freeze, so
    /// [`BatchNorm::try_to_inference`] returns an error.
    ///
    /// Evaluation borrows the layer immutably and so has to allocate the memory that it computes in.
    /// [`BatchNorm::forward_train`] gives the same outputs and reuses its memory.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let bn = BatchNorm::new(1).with_eps(0.0)?.without_running_stats();
    /// let (layout, mut y) = (Layout::nc(2, 1), [0.0; 2]);
    /// bn.forward_eval(Batch::new(&[5.0, 9.0], layout)?, BatchMut::new(&mut y, layout)?)?;
    /// assert_eq!(y, [-1.0, 1.0]);
    /// assert!(bn.running_mean().is_empty() && bn.try_to_inference().is_err());
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn without_running_stats(mut self) -> Self {
        self.tracks_running_stats = false;
        (self.running_mean, self.running_var) = (Vec::new(), Vec::new());
        (self.num_batches_tracked, self.num_values_tracked) = (0, 0);
        self.changed();
        self
    }

    /// Returns whether the layer has running statistics.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// assert!(BatchNorm::new(1).tracks_running_stats());
    /// assert!(!BatchNorm::new(1).without_running_stats().tracks_running_stats());
    /// ```
    #[must_use]
    pub fn tracks_running_stats(&self) -> bool {
        self.tracks_running_stats
    }

    /// Sets the running mean to 0, the running variance to 1, and the numbers of batches and values to 0, as in a new
    /// layer (PyTorch's `reset_running_stats`). Options, weight and bias stay. Does nothing without running statistics.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let mut bn = BatchNorm::new(1);
    /// bn.set_running_mean(&[3.0])?;
    /// bn.set_num_batches_tracked(12);
    /// bn.reset_running_stats();
    /// assert_eq!((bn.running_mean(), bn.running_var(), bn.num_batches_tracked()), (&[0.0][..], &[1.0][..], 0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn reset_running_stats(&mut self) {
        self.running_mean.fill(0.0);
        self.running_var.fill(1.0);
        (self.num_batches_tracked, self.num_values_tracked) = (0, 0);
        self.changed();
    }

    /// Returns the running mean, which evaluation uses. Empty without running statistics.
    ///
    /// ```
    /// assert_eq!(batchnorm::BatchNorm::new(1).running_mean(), [0.0]);
    /// ```
    pub fn running_mean(&self) -> &[f64] {
        &self.running_mean
    }

    /// Returns the running variance, which evaluation uses: an average of unbiased variances, unless
    /// [`BatchNorm::with_running_ddof`] changes this. Empty without running statistics.
    ///
    /// ```
    /// assert_eq!(batchnorm::BatchNorm::new(1).running_var(), [1.0]);
    /// ```
    pub fn running_var(&self) -> &[f64] {
        &self.running_var
    }

    /// Returns the number of batches that have moved the running statistics. (Empty batches, and those that were
    /// normalised by the running statistics, have not. PyTorch counts empty ones.)
    ///
    /// ```
    /// assert_eq!(batchnorm::BatchNorm::new(1).num_batches_tracked(), 0);
    /// ```
    pub fn num_batches_tracked(&self) -> u64 {
        self.num_batches_tracked
    }

    /// Returns the number of values per feature that have moved the running statistics, or `u64::MAX` if there are
    /// more. [`BatchNorm::with_sample_weighted_average`] needs it; it is counted with any other average, too.
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, Layout};
    /// let mut bn = BatchNorm::new(2);
    /// bn.forward_train_in_place(BatchMut::new(&mut [1.0f32; 60], Layout::ncl(5, 2, 6))?)?;
    /// assert_eq!((bn.num_values_tracked(), bn.num_batches_tracked()), (30, 1));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn num_values_tracked(&self) -> u64 {
        self.num_values_tracked
    }

    /// Sets the running mean, one value per feature.
    ///
    /// # Errors
    /// [`Error::ParameterLength`] if there is not one value per feature, [`Error::NoRunningStats`] if the layer has no
    /// running statistics.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let mut bn = BatchNorm::new(1);
    /// bn.set_running_mean(&[3.0f32])?;
    /// assert_eq!(bn.running_mean(), [3.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn set_running_mean<T: Element>(&mut self, mean: &[T]) -> Result<()> {
        self.check_tracks()?;
        self.running_mean = self.checked("running_mean", mean)?;
        self.changed();
        Ok(())
    }

    /// Sets the running variance, one value per feature.
    ///
    /// # Errors
    /// [`Error::ParameterLength`] if there is not one value per feature, [`Error::NoRunningStats`] if the layer has no
    /// running statistics, [`Error::OutOfRange`] if a value is negative and the momentum lies within 0 and 1:
    /// evaluation would silently make the feature NaN.
    ///
    /// What a layer can save, a layer with the same options can load, so set the options first. Training on NaN or
    /// infinity leaves these, and training by another momentum can leave negative values. Those are allowed with
    /// another momentum, and with averages over batches or values, which a layer may have turned to after it.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let mut bn = BatchNorm::new(1);
    /// bn.set_running_var(&[4.0f32])?;
    /// assert_eq!(bn.running_var(), [4.0]);
    /// assert!(bn.set_running_var(&[-4.0f32]).is_err());
    /// assert!(bn.with_momentum(-0.1)?.set_running_var(&[-4.0f32]).is_ok());
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn set_running_var<T: Element>(&mut self, variance: &[T]) -> Result<()> {
        self.check_tracks()?;
        let variance = self.checked("running_var", variance)?;
        check_variances(self.averaging, &variance)?;
        self.running_var = variance;
        self.changed();
        Ok(())
    }

    /// Sets the number of training batches, for example when a saved state is loaded.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let mut bn = BatchNorm::new(1);
    /// bn.set_num_batches_tracked(12);
    /// assert_eq!(bn.num_batches_tracked(), 12);
    /// ```
    pub fn set_num_batches_tracked(&mut self, batches: u64) {
        self.num_batches_tracked = batches;
    }

    /// Sets the number of values per feature, for example when a saved state is loaded.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let mut bn = BatchNorm::new(1);
    /// bn.set_num_values_tracked(1 << 40);
    /// assert_eq!(bn.num_values_tracked(), 1 << 40);
    /// ```
    pub fn set_num_values_tracked(&mut self, values: u64) {
        self.num_values_tracked = values;
    }

    pub(in crate::batch_norm) fn check_tracks(&self) -> Result<()> {
        if self.tracks_running_stats { Ok(()) } else { Err(Error::NoRunningStats) }
    }
}

/// Refuses negative variances where training cannot leave any.
pub(super) fn check_variances(averaging: Averaging, variances: &[f64]) -> Result<()> {
    if !averaging.refuses_negative() {
        return Ok(());
    }
    let allowed = "at least 0 where the momentum lies within 0 and 1";
    match variances.iter().find(|variance| **variance < 0.0) {
        Some(&given) => Err(Error::OutOfRange { name: "running_var", allowed, given }),
        None => Ok(()),
    }
}
