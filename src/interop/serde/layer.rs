//! Layers: options and state.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::{Number, numbers, values};
use crate::{Activation, Averaging, BatchNorm, FewValues, NonFinite, Precision, Result};

/// What is written of a layer.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    num_features: usize,
    eps: f64,
    averaging: AveragingState,
    running_ddof: f64,
    few_values: FewValuesState,
    non_finite: NonFiniteState,
    precision: PrecisionState,
    activation: ActivationState,
    weight: Option<Vec<Number>>,
    bias: Option<Vec<Number>>,
    running: Option<RunningState>,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RunningState {
    mean: Vec<Number>,
    var: Vec<Number>,
    num_batches_tracked: u64,
    num_values_tracked: u64,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum AveragingState {
    Exponential { momentum: f64 },
    Batches,
    Values,
}

/// Copies of the crate's enums, so that these stay free to grow.
macro_rules! copy {
    ($copy:ident of $original:ident: $($variant:ident),*) => {
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum $copy {
            $($variant),*
        }

        impl From<$original> for $copy {
            fn from(of: $original) -> Self {
                match of {
                    $($original::$variant => $copy::$variant),*
                }
            }
        }

        impl From<$copy> for $original {
            fn from(of: $copy) -> Self {
                match of {
                    $($copy::$variant => $original::$variant),*
                }
            }
        }
    };
}

copy!(FewValuesState of FewValues: Refuse, UseRunningStats);
copy!(NonFiniteState of NonFinite: LetThrough, Refuse);
copy!(PrecisionState of Precision: Single, Double);
copy!(ActivationState of Activation: None, Relu);

impl From<&BatchNorm> for Layer {
    fn from(bn: &BatchNorm) -> Self {
        let running = bn.tracks_running_stats().then(|| RunningState {
            mean: numbers(bn.running_mean()),
            var: numbers(bn.running_var()),
            num_batches_tracked: bn.num_batches_tracked(),
            num_values_tracked: bn.num_values_tracked(),
        });
        Layer {
            num_features: bn.num_features(),
            eps: bn.eps(),
            averaging: match bn.averaging() {
                Averaging::Exponential { momentum } => AveragingState::Exponential { momentum },
                Averaging::Batches => AveragingState::Batches,
                Averaging::Values => AveragingState::Values,
            },
            running_ddof: bn.running_ddof(),
            few_values: bn.few_values().into(),
            non_finite: bn.non_finite().into(),
            precision: bn.precision().into(),
            activation: bn.activation().into(),
            weight: bn.weight().map(numbers),
            bias: bn.bias().map(numbers),
            running,
        }
    }
}

impl Layer {
    fn into_layer(self) -> Result<BatchNorm> {
        let mut bn = BatchNorm::try_new(self.num_features)?.with_eps(self.eps)?.with_running_ddof(self.running_ddof)?;
        bn = match self.averaging {
            AveragingState::Exponential { momentum } => bn.with_momentum(momentum)?,
            AveragingState::Batches => bn.with_cumulative_average(),
            AveragingState::Values => bn.with_sample_weighted_average(),
        };
        bn = bn.with_few_values(self.few_values.into()).with_non_finite(self.non_finite.into());
        bn = bn.with_precision(self.precision.into()).with_activation(self.activation.into());
        match self.weight {
            Some(weight) => bn.set_weight(&values(&weight))?,
            None => bn = bn.without_weight(),
        }
        match self.bias {
            Some(bias) => bn.set_bias(&values(&bias))?,
            None => bn = bn.without_bias(),
        }
        match self.running {
            Some(running) => {
                bn.set_running_mean(&values(&running.mean))?;
                bn.set_running_var(&values(&running.var))?;
                bn.set_num_batches_tracked(running.num_batches_tracked);
                bn.set_num_values_tracked(running.num_values_tracked);
            }
            None => bn = bn.without_running_stats(),
        }
        Ok(bn)
    }
}

impl Serialize for BatchNorm {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        Layer::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BatchNorm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Layer::deserialize(deserializer)?.into_layer().map_err(D::Error::custom)
    }
}
