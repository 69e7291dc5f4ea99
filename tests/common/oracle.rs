//! Exact means and variances, in integers. Shares no code with the crate.
//!
//! A finite f64 is a whole multiple of 2^-1074, so sums of values and of their squares are exact in big integers, and
//! `n^2 * variance = n * sum(x^2) - sum(x)^2` is, too.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive, Zero};

/// Exact moments of one feature.
pub struct Exact {
    pub mean: BigRational,
    pub m2: BigRational,
    count: usize,
}

/// Computes the exact moments of finite values.
pub fn exact(values: impl Iterator<Item = f64>) -> Exact {
    let values: Vec<(i64, u32)> = values.map(parts).collect();
    // All values are whole multiples of this power of two. It is near the values, so that the integers stay short.
    let lowest = values.iter().filter(|(whole, _)| *whole != 0).map(|(_, shift)| *shift).min().unwrap_or(0);
    let (mut sum, mut squares) = (BigInt::zero(), BigInt::zero());
    for &(whole, shift) in &values {
        let scaled = BigInt::from(whole) << shift.saturating_sub(lowest);
        squares += &scaled * &scaled;
        sum += scaled;
    }
    let n = BigInt::from(values.len());
    Exact {
        mean: times_power(sum.clone(), i64::from(lowest) - 1074) / &n,
        m2: times_power(&n * squares - &sum * &sum, 2 * (i64::from(lowest) - 1074)) / n,
        count: values.len(),
    }
}

/// Returns `whole * 2^power`.
fn times_power(whole: BigInt, power: i64) -> BigRational {
    let scale = BigInt::from(1) << power.unsigned_abs();
    if power < 0 { BigRational::new(whole, scale) } else { BigRational::from_integer(whole * scale) }
}

impl Exact {
    /// Returns `m2 / (n - ddof)`.
    pub fn variance(&self, ddof: usize) -> BigRational {
        &self.m2 / BigInt::from(self.count - ddof)
    }

    /// Returns the standard deviation of the population, rounded to f64.
    pub fn sd(&self) -> f64 {
        let variance = nearest(&self.variance(0));
        let power = |exponent: u32| BigInt::from(1) << exponent;
        if variance.is_normal() {
            variance.sqrt()
        } else if variance.is_infinite() {
            nearest(&(self.variance(0) / power(1200))).sqrt() * 2f64.powi(600)
        } else {
            nearest(&(self.variance(0) * power(1200))).sqrt() * 2f64.powi(-600)
        }
    }
}

/// Returns the whole number and the shift with `x = whole * 2^shift * 2^-1074`.
fn parts(x: f64) -> (i64, u32) {
    assert!(x.is_finite());
    let bits = x.to_bits();
    let (exponent, fraction) = ((bits >> 52 & 0x7ff) as u32, (bits & ((1 << 52) - 1)) as i64);
    let (magnitude, shift) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
    (if x.is_sign_negative() { -magnitude } else { magnitude }, shift)
}

/// Converts a finite f64 to a rational, exactly.
pub fn rational(x: f64) -> BigRational {
    let (whole, shift) = parts(x);
    times_power(BigInt::from(whole), i64::from(shift) - 1074)
}

/// Returns the square root of a rational, truncated to 600 binary places.
pub fn root(x: &BigRational) -> BigRational {
    let unit = BigInt::from(1) << 600u32;
    BigRational::new((x * BigRational::from_integer(&unit * &unit)).to_integer().sqrt(), unit)
}

/// Returns the f64 nearest to a rational (within an ulp, because `num` converts it).
pub fn nearest(x: &BigRational) -> f64 {
    x.to_f64().expect("a number")
}

/// Returns `|given - exact|` as a multiple of `unit`.
pub fn error_in(given: f64, exact: &BigRational, unit: f64) -> f64 {
    if !given.is_finite() {
        return f64::INFINITY;
    }
    let error = (rational(given) - exact).abs();
    if error.is_zero() { 0.0 } else { nearest(&(error / rational(unit))) }
}

/// Returns the gap between the f64 near a rational and the next one.
pub fn ulp(x: &BigRational) -> f64 {
    let x = nearest(&x.abs());
    (x.next_up() - x).max(f64::from_bits(1))
}

/// Returns the gap between the f32 near a value and the next one.
pub fn ulp_f32(x: f64) -> f64 {
    let x = (x.abs() as f32).min(f32::MAX.next_down());
    f64::from(x.next_up()) - f64::from(x)
}

/// Exact sums of a backward pass of one feature.
pub struct ExactGradients {
    pub sum_dy: BigRational,
    /// The sum of `dy * (x - mean)`.
    pub products: BigRational,
    /// The sum of `|dy|`, rounded.
    pub magnitude: f64,
    /// The sum of `|dy * (x - mean)|`, within a few units in its last place.
    pub magnitude_of_products: f64,
}

/// Computes the exact sums of finite `dy` and `x` about a mean.
pub fn exact_gradients(dy: &[f64], x: &[f64], mean: &BigRational) -> ExactGradients {
    let lowest = |values: &[f64]| {
        values.iter().map(|v| parts(*v)).filter(|(whole, _)| *whole != 0).map(|(_, shift)| shift).min().unwrap_or(0)
    };
    let (low_dy, low_x) = (lowest(dy), lowest(x));
    let scaled = |v: f64, lowest: u32| {
        let (whole, shift) = parts(v);
        BigInt::from(whole) << shift.saturating_sub(lowest)
    };
    let (mut sum, mut products) = (BigInt::zero(), BigInt::zero());
    // `|x - mean|` from `x - high - low`, for a mean of two words.
    let high = nearest(mean);
    let low = nearest(&(mean - rational(high)));
    let (mut magnitude, mut magnitude_of_products) = (0.0, 0.0);
    for (dy, x) in dy.iter().zip(x) {
        let whole = scaled(*dy, low_dy);
        products += &whole * scaled(*x, low_x);
        sum += whole;
        magnitude += dy.abs();
        magnitude_of_products += (dy * (x - high - low)).abs();
    }
    let sum_dy = times_power(sum, i64::from(low_dy) - 1074);
    let of_x = times_power(products, i64::from(low_dy) + i64::from(low_x) - 2 * 1074);
    ExactGradients { products: of_x - mean * &sum_dy, sum_dy, magnitude, magnitude_of_products }
}
