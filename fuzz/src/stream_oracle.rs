//! What a stream must give: exact moments, the bounds of its errors, and what becomes of NaN and infinities.

use batchnorm::{Forgetting, Standardize};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Zero};

use crate::exact::{Column, ulp};
use crate::oracle::{error_in, nearest, rational, root, ulp_f32};
use crate::values::FromBits;

/// The unit roundoff of f64.
const U: f64 = 1.0 / (1u64 << 53) as f64;

/// A relative error of a variance, in u.
const VARIANCE: f64 = 106.0; // STREAM_VARIANCE
/// An error of a mean in u standard deviations, beside half a unit in its last place.
const MEAN_SD: f64 = 11.0; // STREAM_MEAN_SD
/// The same for falling weights. The second part of the variance's error counts as often as the standard deviation was
/// larger before.
const WEIGHTED_VARIANCE: f64 = 23.0; // EWM_VARIANCE
const FALL: f64 = 49.0; // EWM_VARIANCE_FALL
const WEIGHTED_MEAN_SD: f64 = 20.0; // EWM_MEAN_SD
/// What the operations of normalising add, in u: to half of the variance's error, and to the mean's.
const OUTPUT: f64 = 12.0;

/// Variances below this have lost digits.
const LEAST_VARIANCE: f64 = 1e-250;

/// Exact mean and variances of a column, for `ddof` 0 and 1. A single value has none for 1.
pub struct Exact {
    mean: BigRational,
    variances: [Option<BigRational>; 2],
    /// The bounds of the errors: of the variance in u of itself, and of the mean in u standard deviations.
    variance_bound: f64,
    mean_sd: f64,
}

impl Exact {
    /// Of values that all count the same.
    pub fn equal(values: &[f64]) -> Self {
        let column = Column::of(&[(values, 1)]);
        let unbiased = (values.len() > 1).then(|| &column.m2 / BigInt::from(values.len() - 1));
        let variances = [Some(column.variance()), unbiased];
        Exact { variances, mean: column.mean, variance_bound: VARIANCE, mean_sd: MEAN_SD }
    }

    /// Of values whose weights fall. There may be no variance for `ddof` 1.
    pub fn weighted(values: &[f64], forgetting: Forgetting) -> Self {
        let (one, alpha) = (BigRational::one(), rational(forgetting.alpha()));
        let decay = &one - &alpha;
        let [mut total, mut weight_squares, mut sum, mut squares] = [(); 4].map(|()| BigRational::zero());
        for (row, x) in values.iter().enumerate() {
            let (x, first) = (rational(*x), row == 0 && !forgetting.adjust());
            let weight = if first { &one / &alpha } else { one.clone() };
            total = total * &decay + &weight;
            weight_squares = weight_squares * &decay * &decay + &weight * &weight;
            sum = sum * &decay + &x * &weight;
            squares = squares * &decay + &x * &x * &weight;
        }
        let m2 = squares - &sum * &sum / &total;
        let degrees_of_freedom = &total - weight_squares / &total;
        let unbiased = (!degrees_of_freedom.is_zero()).then(|| &m2 / degrees_of_freedom);
        let variance = m2 / &total;
        // The distance of a new value from the mean is rounded; where weights fall fast, it can be this many of the
        // standard deviations that are left after it.
        let steps = match 1.0 - forgetting.alpha() {
            0.0 => 1.0,
            decay => 1.0 / decay.sqrt(),
        };
        // No earlier standard deviation was larger than half of the range.
        let ends = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(*x), b.max(*x)));
        let fall = ((ends.1 / 2.0 - ends.0 / 2.0) / nearest(&variance).sqrt()).max(1.0);
        let variance_bound = (WEIGHTED_VARIANCE + FALL * fall) * steps * steps;
        Exact {
            mean: sum / &total,
            variances: [Some(variance), unbiased],
            variance_bound,
            mean_sd: WEIGHTED_MEAN_SD * steps,
        }
    }

    /// Returns the standard deviation if nothing has left the range of f64.
    fn sd(&self) -> Option<f64> {
        let variance = nearest(self.variances[0].as_ref()?);
        (variance == 0.0 || (LEAST_VARIANCE..1e290).contains(&variance)).then(|| variance.sqrt())
    }
}

/// Checks the numbers of a feature: its mean and its variances.
///
/// # Panics
/// If they are not right.
pub fn check_exact(name: &str, exact: &Exact, [mean, variance, unbiased]: [f64; 3]) {
    let Some(sd) = exact.sd() else { return };
    let error = error_in(mean, &exact.mean, 0.5 * ulp(&exact.mean) + exact.mean_sd * U * sd);
    let expected = nearest(&exact.mean);
    assert!(error <= 1.0, "{name}: mean {mean:e} is {error} of what is allowed off {expected:e}, sd {sd:e}");
    for (ddof, given) in [variance, unbiased].into_iter().enumerate() {
        match &exact.variances[ddof] {
            Some(expected) if expected.is_zero() => assert_eq!(given, 0.0, "{name}: constant, ddof {ddof}"),
            Some(expected) => {
                let expected_near = nearest(expected);
                let error = error_in(given, expected, U * expected_near);
                assert!(
                    error <= exact.variance_bound,
                    "{name}: variance {given:e} is {error} u off {expected_near:e}, ddof {ddof}"
                );
            }
            None => {}
        }
    }
}

/// Checks normalised values of a feature.
///
/// # Panics
/// If they are not right.
pub fn check_outputs<T: FromBits>(name: &str, exact: &Exact, values: &[(T, T)], options: &Standardize) {
    let (Some(sd), Some(variance)) = (exact.sd(), &exact.variances[options.ddof() as usize]) else { return };
    // The root has 600 places.
    if sd < 1e-60 {
        return;
    }
    let root = root(&(variance + rational(options.eps())));
    for (x, y) in values {
        let y_exact = (rational(x.to_f64()) - &exact.mean) / &root;
        let expected = nearest(&y_exact);
        let rounding = if T::SIZE == 4 { 0.5 * ulp_f32(expected) } else { 0.0 };
        let relative = exact.variance_bound / 2.0 + OUTPUT;
        let allowed = rounding + U * (relative * expected.abs() + exact.mean_sd + OUTPUT);
        let error = if expected.abs() >= options.clip() {
            (y.to_f64().abs() - options.clip()).abs() / allowed
        } else {
            error_in(y.to_f64(), &y_exact, allowed)
        };
        assert!(error <= 1.0, "{name}: {x:?} becomes {y:?}, {error} of what is allowed off {expected:e}");
    }
}

/// Checks what the documentation says about NaN, infinities and overflow.
///
/// # Panics
/// If they are not right.
pub fn check_classes(name: &str, values: &[f64], mean: f64, variance: f64) {
    let any = |what: fn(&f64) -> bool| values.iter().any(what);
    let (up, down) = (any(|x| *x == f64::INFINITY), any(|x| *x == f64::NEG_INFINITY));
    let name = format!("{name} has mean {mean:e} and variance {variance:e}");
    if values.is_empty() {
        assert!(mean.is_nan() && variance.is_nan(), "{name}, but no rows");
    } else if any(|x| x.is_nan()) || up && down {
        assert!(mean.is_nan() && variance.is_nan(), "{name}, but a NaN or both infinities");
    } else if any(|x| x.is_finite() && x.abs() > f64::MAX / 4.0) {
        // Differences may overflow, to either infinity.
        assert!(!(up || down) || !mean.is_finite() && variance.is_nan(), "{name}, but an infinity");
    } else if up || down {
        let expected = if up { f64::INFINITY } else { f64::NEG_INFINITY };
        assert!(mean == expected && variance.is_nan(), "{name}, but {expected}");
    } else {
        assert!(mean.is_finite() && variance >= 0.0, "{name}, but finite values");
    }
}

/// Finite values, not all the same, whose squares stay in range.
pub fn in_range(values: &[f64]) -> bool {
    let spread = values.iter().fold(0.0f64, |most, x| most.max((x - values[0]).abs()));
    values.iter().all(|x| x.is_finite() && x.abs() < 1e140) && (spread == 0.0 || spread > 1e-120)
}
