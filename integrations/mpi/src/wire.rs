//! Moments and sums as words to send, and back, bit for bit.

use std::ops::Range;

use batchnorm::{GradientSums, GradientSumsParts, Moments, MomentsParts, Result};

/// Statistics that ranks exchange and merge. On the wire, each feature has a count and some f64.
pub(crate) trait Wire: Sized {
    /// Words of 8 bytes per feature, the count included.
    const WORDS: usize;

    /// Statistics of no values.
    fn empty(num_features: usize) -> Result<Self>;

    /// Appends the words of some features: first the counts of all, then each array.
    fn put(&self, features: Range<usize>, to: &mut Vec<u64>);

    /// Reads what [`Wire::put`] has written.
    fn take(words: &[u64]) -> Result<Self>;

    fn merge(&mut self, other: &Self) -> Result<()>;

    /// Joins the statistics of different features.
    fn join(parts: &[Self]) -> Result<Self> {
        let mut words = Vec::new();
        // Array by array, because `take` wants each array of all features in one place.
        let mut columns = vec![Vec::new(); Self::WORDS];
        for part in parts {
            words.clear();
            part.put(0..part.num_features(), &mut words);
            for (column, from) in columns.iter_mut().zip(words.chunks(part.num_features().max(1))) {
                column.extend_from_slice(from);
            }
        }
        Self::take(&columns.concat())
    }

    fn num_features(&self) -> usize;
}

fn put_floats<const N: usize>(arrays: [&[f64]; N], features: Range<usize>, to: &mut Vec<u64>) {
    for array in arrays {
        to.extend(array[features.clone()].iter().map(|value| value.to_bits()));
    }
}

/// Splits words into counts and arrays of f64.
fn split<const N: usize>(words: &[u64]) -> (&[u64], [Vec<f64>; N]) {
    let features = words.len() / (N + 1);
    let array = |at: usize| words[(at + 1) * features..][..features].iter().map(|word| f64::from_bits(*word)).collect();
    (&words[..features], std::array::from_fn(array))
}

impl Wire for Moments {
    const WORDS: usize = 6;

    fn empty(num_features: usize) -> Result<Self> {
        Moments::try_new(num_features)
    }

    fn put(&self, features: Range<usize>, to: &mut Vec<u64>) {
        let MomentsParts { counts, means, means_middle, means_low, m2s, m2s_low } = self.parts();
        to.extend_from_slice(&counts[features.clone()]);
        put_floats([means, means_middle, means_low, m2s, m2s_low], features, to);
    }

    fn take(words: &[u64]) -> Result<Self> {
        let (counts, [means, means_middle, means_low, m2s, m2s_low]) = &split(words);
        Moments::from_parts(MomentsParts { counts, means, means_middle, means_low, m2s, m2s_low })
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        Moments::merge(self, other)
    }

    fn num_features(&self) -> usize {
        Moments::num_features(self)
    }
}

impl Wire for GradientSums {
    const WORDS: usize = 5;

    fn empty(num_features: usize) -> Result<Self> {
        // A count of 0 for each feature; the crate has no other way to make sums of no values.
        Self::take(&vec![0; num_features * Self::WORDS])
    }

    fn put(&self, features: Range<usize>, to: &mut Vec<u64>) {
        let GradientSumsParts { counts, sum_dy, sum_dy_low, sum_dy_xmu, sum_dy_xmu_low } = self.parts();
        to.extend_from_slice(&counts[features.clone()]);
        put_floats([sum_dy, sum_dy_low, sum_dy_xmu, sum_dy_xmu_low], features, to);
    }

    fn take(words: &[u64]) -> Result<Self> {
        let (counts, [sum_dy, sum_dy_low, sum_dy_xmu, sum_dy_xmu_low]) = &split(words);
        GradientSums::from_parts(GradientSumsParts { counts, sum_dy, sum_dy_low, sum_dy_xmu, sum_dy_xmu_low })
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        GradientSums::merge(self, other)
    }

    fn num_features(&self) -> usize {
        GradientSums::num_features(self)
    }
}

#[cfg(test)]
mod tests {
    use batchnorm::{Batch, BatchNorm, Layout, moments};

    use super::{GradientSums, Moments, Wire};

    #[test]
    fn words_bring_back_every_bit() {
        let values: Vec<f64> = (0..30).map(|at| 1e9 + f64::from(at * at % 17) / 3.0).collect();
        let mut values = values;
        values[4] = f64::NAN;
        values[8] = f64::INFINITY;
        let x = Batch::new(&values, Layout::nc(6, 5)).expect("fits");
        let of_x = moments(x);
        let sums = BatchNorm::new(5).backward_sums(&of_x, x, x).expect("fits");
        let (mut words, mut of_sums) = (Vec::new(), Vec::new());
        of_x.put(0..5, &mut words);
        sums.put(0..5, &mut of_sums);
        assert_eq!((words.len(), of_sums.len()), (5 * Moments::WORDS, 5 * GradientSums::WORDS));
        assert_eq!(Moments::take(&words).expect("valid"), of_x);
        assert_eq!(GradientSums::take(&of_sums).expect("valid"), sums);
    }

    #[test]
    fn parts_of_features_join() {
        let values: Vec<f64> = (0..30).map(|at| f64::from(at * at % 17) / 3.0).collect();
        let of_all = moments(Batch::new(&values, Layout::nc(6, 5)).expect("fits"));
        let parts: Vec<Moments> = [0..2, 2..3, 3..5]
            .map(|features| {
                let mut words = Vec::new();
                of_all.put(features, &mut words);
                Moments::take(&words).expect("valid")
            })
            .into();
        assert_eq!(Moments::join(&parts).expect("valid"), of_all);
    }
}
