//! Means and variances in exact arithmetic, from the values of a column.

use dashu_int::IBig;
use dashu_ratio::RBig;

/// Values are integers times 2^-SCALE: checked.
const SCALE: i32 = 100;

/// Mean and variance (`ddof` 0) of values, exactly.
pub fn mean_and_variance(values: impl IntoIterator<Item = f64>) -> (RBig, RBig) {
    let (mut n, mut sum, mut squares) = (IBig::ZERO, IBig::ZERO, IBig::ZERO);
    for value in values {
        let units = in_units(value);
        n += IBig::ONE;
        squares += &units * &units;
        sum += units;
    }
    let unit = RBig::from_parts(IBig::ONE, dashu_int::UBig::ONE << SCALE as usize);
    let n = RBig::from(n);
    let mean = RBig::from(sum) / &n;
    let variance = RBig::from(squares) / &n - &mean * &mean;
    (mean * &unit, variance * &unit * &unit)
}

fn in_units(value: f64) -> IBig {
    let bits = value.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32;
    let fraction = (bits & ((1 << 52) - 1)) as i64;
    if value == 0.0 {
        return IBig::ZERO;
    }
    assert!(exponent != 0 && exponent != 0x7ff, "{value} is not normal");
    let (mantissa, shift) = (fraction | 1 << 52, exponent - 1075 + SCALE);
    assert!(shift >= 0, "{value} has bits below 2^-{SCALE}");
    let units = IBig::from(mantissa) << shift as usize;
    if value < 0.0 { -units } else { units }
}

/// How far a result is from the exact value.
pub fn error(result: f64, exact: &RBig) -> f64 {
    let result = RBig::try_from(result).unwrap_or_else(|_| panic!("{result} is not finite"));
    (result - exact).to_f64().value().abs()
}
