//! The defaults of other frameworks, by name.

use super::Averaging;
use crate::batch_norm::BatchNorm;

/// Each framework has its own defaults, its own meaning of momentum and its own variance in the running statistics:
///
/// | | `eps` | `momentum` there | here | running variance |
/// |---|---|---|---|---|
/// | [`BatchNorm::pytorch`] | 1e-5 | 0.1, the share of the batch | 0.1 | unbiased: `ddof` 1 |
/// | [`BatchNorm::onnx`] | 1e-5 | 0.9, the share kept | 1 - 0.9 | population: `ddof` 0 |
/// | [`BatchNorm::flax`] | 1e-5 | 0.99, the share kept | 1 - 0.99 | population: `ddof` 0 |
/// | [`BatchNorm::keras`] | 1e-3 | 0.99, the share kept | 1 - 0.99 | population: `ddof` 0 |
///
/// All of them normalise with the population variance. Where `ddof` is 0, training takes batches of one value per
/// feature, as these frameworks do: the output is the bias.
///
/// To set another momentum of a framework that names the share kept, pass `1.0 - kept` to [`BatchNorm::with_momentum`].
/// Like [`BatchNorm::new`], these panic if there is not enough memory for so many features.
impl BatchNorm {
    /// PyTorch's `BatchNorm1d`, `2d` and `3d`: the same as [`BatchNorm::new`].
    ///
    /// `eps` 1e-5; `momentum` 0.1, the share of a batch; unbiased variance in the running statistics.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let bn = BatchNorm::pytorch(8);
    /// assert_eq!((bn.eps(), bn.momentum(), bn.running_ddof()), (1e-5, Some(0.1), 1.0));
    /// ```
    pub fn pytorch(num_features: usize) -> Self {
        Self::new(num_features)
    }

    /// ONNX's `BatchNormalization` (with `training_mode=1`, and in inference): `epsilon` 1e-5; `momentum` 0.9, the
    /// share *kept*, so 1 - 0.9 here; population variance in the running statistics.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let bn = BatchNorm::onnx(8);
    /// assert_eq!((bn.eps(), bn.momentum(), bn.running_ddof()), (1e-5, Some(1.0 - 0.9), 0.0));
    /// ```
    pub fn onnx(num_features: usize) -> Self {
        Self::new(num_features).keeping(1e-5, 0.9)
    }

    /// Keras 3's `BatchNormalization`: `epsilon` 1e-3; `momentum` 0.99, the share *kept*, so 1 - 0.99 here; population
    /// variance in the running statistics. `scale=False` and `center=False` are [`BatchNorm::without_weight`] and
    /// [`BatchNorm::without_bias`].
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let bn = BatchNorm::keras(8);
    /// assert_eq!((bn.eps(), bn.momentum(), bn.running_ddof()), (1e-3, Some(1.0 - 0.99), 0.0));
    /// ```
    pub fn keras(num_features: usize) -> Self {
        Self::new(num_features).keeping(1e-3, 0.99)
    }

    /// Flax's `BatchNorm`: `epsilon` 1e-5; `momentum` 0.99, the share *kept*, so 1 - 0.99 here; population variance in
    /// the running statistics. `use_scale=False` and `use_bias=False` are [`BatchNorm::without_weight`] and
    /// [`BatchNorm::without_bias`].
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// let bn = BatchNorm::flax(8);
    /// assert_eq!((bn.eps(), bn.momentum(), bn.running_ddof()), (1e-5, Some(1.0 - 0.99), 0.0));
    /// ```
    pub fn flax(num_features: usize) -> Self {
        Self::new(num_features).keeping(1e-5, 0.99)
    }

    /// From 0.5 on, `1.0 - kept` is exact, and so is `1.0 - momentum`: the formula has the framework's own factors.
    fn keeping(mut self, eps: f64, kept: f64) -> Self {
        self.eps = eps;
        self.averaging = Averaging::Exponential { momentum: 1.0 - kept };
        self.running_ddof = 0.0;
        self
    }
}
