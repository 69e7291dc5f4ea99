//! Chunks whose standard deviation is near the last place of their mean, and a search for chunks whose rounding errors
//! line up when they are merged. The oracle is integer arithmetic: values are whole multiples of one unit above a base.

use batchnorm::{Batch, Layout, Moments, moments};

/// All values are `BASE` plus a few units: for the tests, units in its last place.
pub const BASE: f64 = 1.0 + 1.0 / 1024.0;
pub const UNIT: f64 = f64::EPSILON;

/// Sums of whole numbers of units, and of their squares.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whole {
    pub count: i128,
    pub sum: i128,
    pub squares: i128,
}

/// Binary places of variances in units squared: all of those from 2^-27 on are exact.
const PLACES: i32 = 80;

impl Whole {
    pub fn add(self, other: Whole) -> Whole {
        Whole { count: self.count + other.count, sum: self.sum + other.sum, squares: self.squares + other.squares }
    }

    /// The error of a population variance of up to 2^19 values, given in units squared and from 2^-27 to 4, in units in
    /// its last place. The sign says whether it is too large.
    pub fn error(self, variance: f64) -> f64 {
        let denominator = self.count * self.count;
        let exact = self.count * self.squares - self.sum * self.sum;
        let given = (variance * 2f64.powi(PLACES)) as i128;
        let error = given * denominator - (exact << PLACES);
        error as f64 / denominator as f64 / 2f64.powi(PLACES) / (variance.next_up() - variance)
    }
}

/// Moments as the crate has them and as they are.
pub type Part = (Moments, Whole);

/// `k` of a chunk's values lie one unit above the others, which lie `level` units above the base.
pub fn chunk(unit: f64, len: usize, level: usize, k: usize) -> Part {
    let value = |up: usize| BASE + (level + up) as f64 * unit;
    // Not in the middle, where the shift comes from.
    let values: Vec<f64> = (0..len).map(|i| value(usize::from(i < k / 2 || i >= len - (k - k / 2)))).collect();
    let (low, high) = ((level * (len - k)) as i128, ((level + 1) * k) as i128);
    let (squares_low, squares_high) = ((level * level * (len - k)) as i128, ((level + 1) * (level + 1) * k) as i128);
    let whole = Whole { count: len as i128, sum: low + high, squares: squares_low + squares_high };
    (moments(Batch::new(&values, Layout::nc(len, 1)).expect("a batch")), whole)
}

/// Merges `b` into `a`.
fn join((mut a, whole_a): Part, (b, whole_b): &Part) -> Part {
    a.merge(b).expect("the same features");
    (a, whole_a.add(*whole_b))
}

/// Merges parts in the order in which one call merges its chunks.
pub fn tree(parts: &[Part]) -> Part {
    if let [part] = parts {
        return part.clone();
    }
    let (left, right) = parts.split_at(1 << (parts.len() - 1).ilog2());
    join(tree(left), &tree(right))
}

/// Merges parts one after the other, each into all parts before it.
pub fn one_by_one(parts: &[Part]) -> Part {
    parts[1..].iter().fold(parts[0].clone(), join)
}

/// The chunks of a search, all with values in one unit.
pub struct Search<'a> {
    pub unit: f64,
    pub merged: fn(&[Part]) -> Part,
    pub candidates: &'a [Part],
}

impl Search<'_> {
    /// The error of the variance of all chunks, in units in its last place.
    pub fn error_of(&self, chunks: &[Part]) -> f64 {
        let (merged, whole) = (self.merged)(chunks);
        whole.error(merged.variance(0, 0.0) / (self.unit * self.unit)).abs()
    }

    /// Changes the chunks one by one to whichever candidate makes the error of the whole larger, several times over.
    /// Returns the error at last.
    pub fn run(&self, chunks: &mut [Part], sweeps: usize) -> f64 {
        let mut worst = self.error_of(chunks);
        let count = chunks.len();
        for at in (0..sweeps).flat_map(|_| 0..count) {
            let mut best = chunks[at].clone();
            for candidate in self.candidates {
                chunks[at] = candidate.clone();
                let error = self.error_of(chunks);
                if error > worst {
                    (worst, best) = (error, candidate.clone());
                }
            }
            chunks[at] = best;
        }
        worst
    }
}
