//! Exact moments of long columns that consist of few values, computed by [`oracle`].

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Zero;

use crate::oracle::{self, nearest};

/// Exact moments of a column.
pub struct Column {
    pub mean: BigRational,
    pub m2: BigRational,
    count: usize,
}

impl Column {
    /// Computes the moments of sequences of finite values, each repeated `times` times. The sequences are merged by
    /// Chan's formula, in rationals.
    pub fn of(runs: &[(&[f64], usize)]) -> Self {
        let mut all = Column { mean: BigRational::zero(), m2: BigRational::zero(), count: 0 };
        for &(values, times) in runs {
            let count = values.len() * times;
            if count == 0 {
                continue;
            }
            let run = oracle::exact(values.iter().copied());
            let joined = BigInt::from(all.count + count);
            let delta = &run.mean - &all.mean;
            let step = &delta * BigRational::new(BigInt::from(count), joined);
            all.m2 += run.m2 * BigInt::from(times) + &delta * &step * BigInt::from(all.count);
            all.mean += step;
            all.count += count;
        }
        all
    }

    /// Returns `m2 / count`.
    pub fn variance(&self) -> BigRational {
        &self.m2 / BigInt::from(self.count)
    }

    /// Returns the standard deviation of the population, even if the variance is out of the range of an f64.
    pub fn sd(&self) -> f64 {
        let variance = self.variance();
        let large = BigRational::from_integer(BigInt::from(1) << 1200u32);
        match nearest(&variance) {
            near if near > f64::MAX / 2.0 => nearest(&(variance / large)).sqrt() * 2f64.powi(600),
            near if near < 1e-290 => nearest(&(variance * large)).sqrt() * 2f64.powi(-600),
            near => near.sqrt(),
        }
    }
}

/// Returns the gap between the f64 near a rational and its neighbour: the one above, or the one below if the one above
/// is infinity.
pub fn ulp(x: &BigRational) -> f64 {
    if nearest(x).abs() >= f64::MAX { f64::MAX - f64::MAX.next_down() } else { oracle::ulp(x) }
}
