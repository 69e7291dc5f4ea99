//! Serialisation by serde (feature `serde`): of layers, moments, gradient sums, accumulators and streams, with the same
//! bits after a round trip. What is read is checked as the setters check it: no state results that calls could not reach.
//!
//! Paths are not part of it: they belong to the machine.

mod accumulator;
mod layer;
mod number;
mod statistics;
mod streams;

use number::Number;

fn numbers(values: &[f64]) -> Vec<Number> {
    values.iter().copied().map(Number).collect()
}

fn values(numbers: &[Number]) -> Vec<f64> {
    numbers.iter().map(|number| number.0).collect()
}
