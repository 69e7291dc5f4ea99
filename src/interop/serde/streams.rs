//! Streams of equal weights: the number of rows, and five words for each feature.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::Number;
use crate::Welford;
use crate::spec::Running;

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "Welford", deny_unknown_fields)]
struct State {
    count: u64,
    /// Shift, high and low word of the mean's distance from it, high and low word of m2.
    features: Vec<[Number; 5]>,
}

/// Counts up to this are exact in f64.
const MOST_ROWS: u64 = 1 << 53;

impl Serialize for Welford {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let words = |feature| {
            let Running { shift, offset, offset_low, m2, m2_low } = self.running(feature);
            [shift, offset, offset_low, m2, m2_low].map(Number)
        };
        State { count: self.count(), features: (0..self.num_features()).map(words).collect() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Welford {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let State { count, features } = State::deserialize(deserializer)?;
        if count > MOST_ROWS {
            return Err(D::Error::custom(format!("a stream has at most {MOST_ROWS} rows, but count is {count}")));
        }
        let mut stream = Welford::try_new(features.len()).map_err(D::Error::custom)?;
        for (feature, words) in features.into_iter().enumerate() {
            let [shift, offset, offset_low, m2, m2_low] = words.map(|word| word.0);
            if m2 < 0.0 || count == 0 && words.iter().any(|word| word.0 != 0.0) {
                let message =
                    format!("feature {feature} of a stream of {count} rows cannot have m2 {m2} and shift {shift}");
                return Err(D::Error::custom(message));
            }
            stream.set_running(feature, Running { shift, offset, offset_low, m2, m2_low });
        }
        stream.set_count(count);
        Ok(stream)
    }
}
