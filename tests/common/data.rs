//! Batches to test with: reproducible from a seed, ordinary and nasty.

use batchnorm::{Element, Layout};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// What the values of a batch are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Normal,
    /// Normal about this mean, sd 1.
    Offset(f64),
    /// Each feature has one value.
    Constant,
    /// Normal times this.
    Scaled(f64),
    /// Rising from row to row.
    Sorted,
    /// Normal, but the first row is far away.
    OutlierFirst,
    /// Normal, but the last row is far away.
    OutlierLast,
    /// Normal with NaN and infinities here and there.
    Poisoned,
    /// The largest and smallest that the type has, of either sign.
    Extreme,
    /// A few whole numbers, zeros of either sign among them.
    Whole,
}

pub const KINDS: [Kind; 15] = [
    Kind::Normal,
    Kind::Offset(1e2),
    Kind::Offset(-1e4),
    Kind::Offset(1e6),
    Kind::Offset(1e8),
    Kind::Constant,
    Kind::Scaled(1e-30),
    Kind::Scaled(1e-42),
    Kind::Scaled(1e37),
    Kind::Sorted,
    Kind::OutlierFirst,
    Kind::OutlierLast,
    Kind::Poisoned,
    Kind::Extreme,
    Kind::Whole,
];

/// Values of a batch, the same for the same arguments.
pub fn batch<T: Element>(kind: Kind, seed: u64, layout: Layout) -> Vec<T> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let len = layout.len().expect("a small layout");
    let rows = layout.outer().max(1);
    let row = (len / rows).max(1);
    let largest = if T::from_f64(f64::MAX) == T::from_f64(f64::INFINITY) { f64::from(f32::MAX) } else { f64::MAX };
    (0..len)
        .map(|at| {
            let z: f64 = rng.sample(StandardNormal);
            let (outer, feature) = (at / row, at / layout.inner() % layout.features());
            let x = match kind {
                Kind::Normal => z,
                Kind::Offset(mean) => mean + z,
                Kind::Constant => 0.1 + 1e3 * feature as f64,
                Kind::Scaled(scale) => z * scale,
                Kind::Sorted => outer as f64 + z.abs() / 1e3,
                Kind::OutlierFirst => {
                    if outer == 0 {
                        1e9
                    } else {
                        z
                    }
                }
                Kind::OutlierLast => {
                    if outer + 1 == rows {
                        -1e9
                    } else {
                        z
                    }
                }
                Kind::Poisoned => match rng.random_range(0..200u32) {
                    0 => f64::NAN,
                    1 => f64::INFINITY,
                    2 => f64::NEG_INFINITY,
                    _ => z,
                },
                Kind::Extreme => match rng.random_range(0..6u32) {
                    0 => largest,
                    1 => -largest,
                    2 => largest / 3.0,
                    3 => 1e-45,
                    4 => f64::MIN_POSITIVE,
                    _ => z,
                },
                Kind::Whole => (z * 2.0).trunc(),
            };
            T::from_f64(x)
        })
        .collect()
}
