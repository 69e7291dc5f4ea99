//! What the fuzz targets share: values and layouts made from bytes, and comparisons.

pub mod exact;
pub mod gradients;
pub mod hostile;
pub mod hostile_calls;
#[path = "../../tests/common/merging.rs"]
pub mod merging;
#[path = "../../tests/common/nasty.rs"]
pub mod nasty;
#[path = "../../tests/common/oracle.rs"]
pub mod oracle;
pub mod stream_oracle;
pub mod values;

use batchnorm::{Element, Moments};

/// Returns the bits of a value. All NaNs give the same bits, because payloads are not part of any result.
pub fn bits<T: Element>(x: T) -> u64 {
    let x = x.to_f64();
    if x.is_nan() { u64::MAX } else { x.to_bits() }
}

/// Compares bits, and panics with the name of the comparison and the first value that differs.
///
/// # Panics
/// If the bits differ.
pub fn assert_same_bits<T: Element>(name: &str, expected: &[T], given: &[T]) {
    assert_eq!(expected.len(), given.len(), "{name}: lengths differ");
    if let Some(at) = (0..expected.len()).find(|&at| bits(expected[at]) != bits(given[at])) {
        panic!("{name}: value {at} is {:?}, expected {:?}", given[at], expected[at]);
    }
}

/// Checks what the documentation of [`Moments::mean`] and [`Moments::m2`] says about NaN and infinities among a
/// feature's values. Finite values must have a finite mean, even if their squares overflow.
///
/// # Panics
/// If a feature has something else.
pub fn assert_classes(name: &str, m: &Moments, feature: usize, values: impl Iterator<Item = f64>) {
    let (mut nan, mut up, mut down, mut count) = (false, false, false, 0u64);
    for x in values {
        nan |= x.is_nan();
        up |= x == f64::INFINITY;
        down |= x == f64::NEG_INFINITY;
        count += 1;
    }
    let (mean, m2) = (m.mean(feature), m.m2(feature));
    let name = format!("{name}: feature {feature} of {count} values has mean {mean:e} and m2 {m2:e}");
    assert_eq!(m.count(feature), count, "{name}: count");
    if count == 0 {
        assert!(mean.is_nan() && m2 == 0.0, "{name}, but no values");
    } else if nan || (up && down) {
        assert!(mean.is_nan() && m2.is_nan(), "{name}, but a NaN or both infinities among them");
    } else if up || down {
        let expected = if up { f64::INFINITY } else { f64::NEG_INFINITY };
        assert!(mean == expected && m2.is_nan(), "{name}, but {expected} among them");
    } else {
        assert!(mean.is_finite(), "{name}, but finite values");
        assert!(m2 >= 0.0, "{name}, but finite values");
    }
}
