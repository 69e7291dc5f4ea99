//! To and from burn's own module and configuration.

use crate::{BatchNorm, BatchNormConfig};

/// ```
/// use batchnorm_burn::BatchNorm;
/// use burn::tensor::Device;
///
/// let theirs = burn::nn::BatchNormConfig::new(3).init(&Device::flex());
/// let id = theirs.gamma.id;
/// assert_eq!(BatchNorm::from(theirs).gamma.id, id); // parameters keep their identity
/// ```
impl From<burn::nn::BatchNorm> for BatchNorm {
    /// Makes this crate's module of burn's, with its parameters and running statistics.
    fn from(theirs: burn::nn::BatchNorm) -> Self {
        let burn::nn::BatchNorm { gamma, beta, training, running_mean, running_var, momentum, epsilon } = theirs;
        BatchNorm { gamma, beta, training, running_mean, running_var, momentum, epsilon }
    }
}

/// ```
/// use batchnorm_burn::BatchNormConfig;
/// use burn::tensor::Device;
///
/// let theirs: burn::nn::BatchNorm = BatchNormConfig::new(3).init(&Device::flex()).into();
/// assert_eq!(theirs.gamma.dims(), [3]);
/// ```
impl From<BatchNorm> for burn::nn::BatchNorm {
    /// Makes burn's module of this crate's, with its parameters and running statistics.
    fn from(ours: BatchNorm) -> Self {
        let BatchNorm { gamma, beta, training, running_mean, running_var, momentum, epsilon } = ours;
        burn::nn::BatchNorm { gamma, beta, training, running_mean, running_var, momentum, epsilon }
    }
}

/// ```
/// use batchnorm_burn::BatchNormConfig;
///
/// let theirs = burn::nn::BatchNormConfig::new(3).with_epsilon(1e-3);
/// assert_eq!(BatchNormConfig::from(theirs).epsilon, 1e-3);
/// ```
impl From<burn::nn::BatchNormConfig> for BatchNormConfig {
    /// Makes this crate's configuration of burn's.
    fn from(theirs: burn::nn::BatchNormConfig) -> Self {
        let burn::nn::BatchNormConfig { num_features, epsilon, momentum } = theirs;
        BatchNormConfig { num_features, epsilon, momentum }
    }
}

/// ```
/// use batchnorm_burn::BatchNormConfig;
///
/// let theirs = burn::nn::BatchNormConfig::from(BatchNormConfig::new(3).with_momentum(0.5));
/// assert_eq!((theirs.num_features, theirs.momentum), (3, 0.5));
/// ```
impl From<BatchNormConfig> for burn::nn::BatchNormConfig {
    /// Makes burn's configuration of this crate's.
    fn from(ours: BatchNormConfig) -> Self {
        let BatchNormConfig { num_features, epsilon, momentum } = ours;
        burn::nn::BatchNormConfig { num_features, epsilon, momentum }
    }
}
