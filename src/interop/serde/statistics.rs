//! Moments and gradient sums: all words of each number.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::{Number, numbers, values};
use crate::{GradientSums, GradientSumsParts, Moments, MomentsParts};

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "Moments", deny_unknown_fields)]
struct MomentsState {
    counts: Vec<u64>,
    means: [Vec<Number>; 3],
    m2s: [Vec<Number>; 2],
}

impl Serialize for Moments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = self.parts();
        let state = MomentsState {
            counts: parts.counts.to_vec(),
            means: [parts.means, parts.means_middle, parts.means_low].map(numbers),
            m2s: [parts.m2s, parts.m2s_low].map(numbers),
        };
        state.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Moments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let MomentsState { counts, means, m2s } = MomentsState::deserialize(deserializer)?;
        let [means, means_middle, means_low] = &means.map(|words| values(&words));
        let [m2s, m2s_low] = &m2s.map(|words| values(&words));
        let parts = MomentsParts { counts: &counts, means, means_middle, means_low, m2s, m2s_low };
        Moments::from_parts(parts).map_err(D::Error::custom)
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "GradientSums", deny_unknown_fields)]
struct GradientSumsState {
    counts: Vec<u64>,
    sum_dy: [Vec<Number>; 2],
    sum_dy_xmu: [Vec<Number>; 2],
}

impl Serialize for GradientSums {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = self.parts();
        let state = GradientSumsState {
            counts: parts.counts.to_vec(),
            sum_dy: [parts.sum_dy, parts.sum_dy_low].map(numbers),
            sum_dy_xmu: [parts.sum_dy_xmu, parts.sum_dy_xmu_low].map(numbers),
        };
        state.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GradientSums {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let GradientSumsState { counts, sum_dy, sum_dy_xmu } = GradientSumsState::deserialize(deserializer)?;
        let [sum_dy, sum_dy_low] = &sum_dy.map(|words| values(&words));
        let [sum_dy_xmu, sum_dy_xmu_low] = &sum_dy_xmu.map(|words| values(&words));
        let parts = GradientSumsParts { counts: &counts, sum_dy, sum_dy_low, sum_dy_xmu, sum_dy_xmu_low };
        GradientSums::from_parts(parts).map_err(D::Error::custom)
    }
}
