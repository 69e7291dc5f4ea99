//! The methods of computing a mean and a variance that are compared.

use batchnorm::{Batch, Element, Layout, Welford, moments};
use ndarray::{ArrayView2, Axis};
use num_traits::{Float, FromPrimitive};

/// An element type that all methods accept.
pub(crate) trait Value: Element + Float + FromPrimitive {
    /// Bits of the fraction.
    const DIGITS: i32;

    /// Returns the methods for columns of this type.
    fn methods() -> Vec<Method<Self>>;
}

/// A method of computing `[mean, variance]` (of the population) of a column.
pub(crate) struct Method<T> {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&[T]) -> [f64; 2],
}

impl Value for f64 {
    const DIGITS: i32 = 52;

    fn methods() -> Vec<Method<Self>> {
        vec![
            Method { name: "this crate", run: this_crate },
            Method { name: "stream", run: stream },
            Method { name: "two passes", run: two_passes::<f64, f64> },
            Method { name: "Welford", run: welford::<f64, f64> },
            Method { name: "ndarray", run: with_ndarray },
            Method { name: "E[x²] − E[x]²", run: naive::<f64, f64> },
        ]
    }
}

impl Value for f32 {
    const DIGITS: i32 = 23;

    fn methods() -> Vec<Method<Self>> {
        vec![
            Method { name: "this crate", run: this_crate },
            Method { name: "stream", run: stream },
            Method { name: "two passes in f64", run: two_passes::<f32, f64> },
            Method { name: "Welford in f64", run: welford::<f32, f64> },
            Method { name: "E[x²] − E[x]² in f64", run: naive::<f32, f64> },
            Method { name: "two passes", run: two_passes::<f32, f32> },
            Method { name: "Welford", run: welford::<f32, f32> },
            Method { name: "ndarray", run: with_ndarray },
            Method { name: "E[x²] − E[x]²", run: naive::<f32, f32> },
        ]
    }
}

fn this_crate<T: Element>(column: &[T]) -> [f64; 2] {
    let m = moments(Batch::new(column, Layout::nc(column.len(), 1)).expect("a column"));
    [m.mean(0), m.variance(0, 0.0)]
}

/// This crate's recurrence, row by row.
fn stream<T: Element>(column: &[T]) -> [f64; 2] {
    let mut stream = Welford::new(1);
    for x in column.chunks(1) {
        stream.push(x).expect("a row");
    }
    [stream.mean(0), stream.variance(0, 0.0)]
}

fn with_ndarray<T: Value>(column: &[T]) -> [f64; 2] {
    let x = ArrayView2::from_shape((column.len(), 1), column).expect("a column");
    let mean = x.mean_axis(Axis(0)).expect("not empty");
    [mean[0], x.var_axis(Axis(0), T::zero())[0]].map(Element::to_f64)
}

/// Converts the values to the type of the computation.
fn values<T: Element, A: Float>(column: &[T]) -> impl Iterator<Item = A> {
    column.iter().map(|x| A::from(x.to_f64()).expect("a float"))
}

fn results<A: Float>(mean: A, variance: A) -> [f64; 2] {
    [mean, variance].map(|x| x.to_f64().expect("a float"))
}

fn count<T, A: Float>(column: &[T]) -> A {
    A::from(column.len()).expect("a float")
}

fn naive<T: Element, A: Float>(column: &[T]) -> [f64; 2] {
    let (mut sum, mut squares) = (A::zero(), A::zero());
    for x in values::<T, A>(column) {
        sum = sum + x;
        squares = squares + x * x;
    }
    let mean = sum / count(column);
    results(mean, squares / count(column) - mean * mean)
}

fn two_passes<T: Element, A: Float>(column: &[T]) -> [f64; 2] {
    let mean = values::<T, A>(column).fold(A::zero(), |sum, x| sum + x) / count(column);
    let squares = values::<T, A>(column).fold(A::zero(), |sum, x| sum + (x - mean) * (x - mean));
    results(mean, squares / count(column))
}

/// The textbook's recurrence.
fn welford<T: Element, A: Float>(column: &[T]) -> [f64; 2] {
    let (mut n, mut mean, mut m2) = (A::zero(), A::zero(), A::zero());
    for x in values::<T, A>(column) {
        n = n + A::one();
        let delta = x - mean;
        mean = mean + delta / n;
        m2 = m2 + delta * (x - mean);
    }
    results(mean, m2 / n)
}
