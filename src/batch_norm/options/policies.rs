//! What training does with batches that would spoil the running statistics.

use crate::batch_norm::BatchNorm;

/// What training does with a batch that has too few values per feature for its running variance: one by default, none
/// where [`BatchNorm::with_running_ddof`] sets the population variance.
///
/// An empty batch is not a matter of this: its output is empty, and it moves nothing.
///
/// ```
/// # use batchnorm::{BatchNorm, FewValues};
/// let bn = BatchNorm::new(1).with_few_values(FewValues::UseRunningStats);
/// assert_ne!(bn.few_values(), FewValues::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FewValues {
    /// The default, as in PyTorch: [`Error::TooFewValues`](crate::Error::TooFewValues), and nothing is changed.
    #[default]
    Refuse,
    /// The batch is normalised by the running statistics, as evaluation does, and moves nothing: for the short last
    /// batch of an epoch. Its gradients are those of evaluation, too. Without running statistics, it is refused.
    UseRunningStats,
}

/// What training does with a batch that has a NaN or an infinity.
///
/// ```
/// # use batchnorm::{BatchNorm, NonFinite};
/// let bn = BatchNorm::new(1).with_non_finite(NonFinite::Refuse);
/// assert_ne!(bn.non_finite(), NonFinite::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NonFinite {
    /// The default, as in PyTorch: the feature's outputs and running statistics become NaN or infinite. One such batch
    /// spoils the running statistics for good, unless they are reset or loaded again.
    #[default]
    LetThrough,
    /// [`Error::NonFinite`](crate::Error::NonFinite), and nothing is changed: neither the running statistics nor the
    /// output. Batches whose values are finite but so far apart that their variance overflows f64 are refused, too.
    Refuse,
}

impl BatchNorm {
    /// Sets what training does with a batch that has too few values per feature (default: [`FewValues::Refuse`]).
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, FewValues, Layout};
    /// let (mut row, layout) = ([5.0f32], Layout::nc(1, 1));
    /// let mut bn = BatchNorm::new(1).with_eps(0.0)?;
    /// let error = bn.forward_train_in_place(BatchMut::new(&mut row, layout)?).unwrap_err();
    /// assert!(error.to_string().starts_with("training needs at least 2 values per feature"));
    ///
    /// let mut bn = bn.with_few_values(FewValues::UseRunningStats);
    /// bn.forward_train_in_place(BatchMut::new(&mut row, layout)?)?;
    /// assert_eq!((row, bn.num_batches_tracked()), ([5.0], 0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn with_few_values(mut self, policy: FewValues) -> Self {
        self.few_values = policy;
        self
    }

    /// Returns what training does with a batch that has too few values per feature.
    ///
    /// ```
    /// # use batchnorm::{BatchNorm, FewValues};
    /// assert_eq!(BatchNorm::new(1).few_values(), FewValues::Refuse);
    /// ```
    #[must_use]
    pub fn few_values(&self) -> FewValues {
        self.few_values
    }

    /// Sets what training does with a batch that has a NaN or an infinity (default: [`NonFinite::LetThrough`]).
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, Layout, NonFinite};
    /// let mut bn = BatchNorm::new(1).with_non_finite(NonFinite::Refuse);
    /// let mut data = [1.0f32, f32::INFINITY];
    /// let error = bn.forward_train_in_place(BatchMut::new(&mut data, Layout::nc(2, 1))?).unwrap_err();
    /// assert!(error.to_string().ends_with("its mean is inf, and its variance NaN"));
    /// assert_eq!((bn.running_mean(), data[0]), (&[0.0][..], 1.0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn with_non_finite(mut self, policy: NonFinite) -> Self {
        self.non_finite = policy;
        self
    }

    /// Returns what training does with a batch that has a NaN or an infinity.
    ///
    /// ```
    /// # use batchnorm::{BatchNorm, NonFinite};
    /// assert_eq!(BatchNorm::new(1).non_finite(), NonFinite::LetThrough);
    /// ```
    #[must_use]
    pub fn non_finite(&self) -> NonFinite {
        self.non_finite
    }
}
