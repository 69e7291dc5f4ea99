//! Accumulators: the moments of complete subtrees, and the rows of the incomplete chunk.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::Number;
use crate::{Accumulator, Element, Moments};

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "Accumulator", deny_unknown_fields)]
struct State {
    features: usize,
    inner: usize,
    /// Number of chunks and moments of each subtree.
    subtrees: Vec<(usize, Moments)>,
    pending: Vec<Number>,
}

impl<T: Element> Serialize for Accumulator<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (features, inner, subtrees) = (self.features, self.inner, self.subtrees.clone());
        let pending = self.pending.iter().map(|value| Number(value.to_f64())).collect();
        State { features, inner, subtrees, pending }.serialize(serializer)
    }
}

impl<'de, T: Element> Deserialize<'de> for Accumulator<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let State { features, inner, subtrees, pending } = State::deserialize(deserializer)?;
        let mut accumulator = Accumulator::new(features, inner).map_err(D::Error::custom)?;
        let (block, chunk) = (features.saturating_mul(inner), accumulator.chunk_values());
        if pending.len() >= chunk.max(1) || pending.len().checked_rem(block).is_some_and(|rest| rest > 0) {
            let length = pending.len();
            let message = format!("{length} pending values are no rows of {block} values, or not fewer than {chunk}");
            return Err(D::Error::custom(message));
        }
        let mut before = usize::MAX;
        for (chunks, moments) in &subtrees {
            let count = chunks.checked_mul(accumulator.chunk_outer).and_then(|rows| rows.checked_mul(inner));
            let expected = count.map(|count| (features, Some(count as u64)));
            let given = (moments.num_features(), moments.uniform_count());
            if !chunks.is_power_of_two() || *chunks >= before || expected != Some(given) {
                let message = format!("a subtree of {chunks} chunks has {} features of {:?} values", given.0, given.1);
                return Err(D::Error::custom(message));
            }
            before = *chunks;
        }
        accumulator.subtrees = subtrees;
        accumulator.pending = pending.into_iter().map(|number| T::from_f64(number.0)).collect();
        Ok(accumulator)
    }
}
