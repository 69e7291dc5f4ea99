//! Columns that are hard on sums, reproducible from a seed: for tests, fuzz targets, benches, the digest and the accuracy
//! example.
//!
//! The same bits on every machine: bits of ChaCha and `+ - * /` and roots alone, because functions of C libraries (`ln`,
//! `sin`, ...) differ, and no number here has the width of a pointer. Bell-shaped values are sums of three uniform ones.

use batchnorm::{Element, Layout};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What the values of a column are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Bell-shaped about 0, sd 1.
    Normal,
    /// Bell-shaped about this mean, sd 1.
    Offset(f64),
    /// One value, another one in each feature.
    Constant(f64),
    /// Bell-shaped, with this sd.
    Scaled(f64),
    /// Plus and minus this in turn, each with a bell-shaped sd of 1: all cancels but the squares.
    Alternating(f64),
    /// Bell-shaped times powers of two from 2^-60 to 2^60.
    Spread,
    /// A ratio of uniforms: tails like Cauchy's, which has no mean.
    Cauchy,
    /// At least 1, with tails like Pareto's of order 2, which has no variance.
    Pareto,
    /// A sample of Student's t with two degrees of freedom, in ascending order.
    Sorted,
    /// A straight line: 1 from row to row, sd 1/1000 about it.
    Trend,
    /// A random walk: each value differs from the one before by a bell-shaped step.
    Walk,
    /// Bell-shaped about a level that changes after so many rows.
    Steps(u64),
    /// Bell-shaped, sd 1/1000, but the last of every 64 values are one up.
    LateStep,
    /// Bell-shaped, but the first value is far away.
    OutlierFirst,
    /// Bell-shaped, but the last value is far away.
    OutlierLast,
    /// Bell-shaped, but one value in each run of so many is far away.
    OutlierEvery(u64),
    /// Eight values again and again, each so many times in a row, and others in the middle of 64 such runs: the same
    /// rounding error in each group of eight rows, and a pivot that is no mean of theirs.
    Period(u64),
    /// This value, cut to the digits of the type, and up to three units in its last place above it.
    LastPlaces(f64),
    /// Four different values.
    Few,
    /// Small whole numbers, zeros of either sign among them.
    Whole,
    /// Zeros of either sign.
    Zeros,
    /// Whole multiples of the smallest number that the type has.
    Subnormal,
    /// Squares are subnormal in the type.
    TinySquares,
    /// Squares overflow the type.
    HugeSquares,
    /// The largest and smallest that the type has, of either sign, among ordinary ones.
    Extreme,
    /// Bell-shaped, with NaN of many bit patterns and infinities here and there.
    Poisoned,
    /// Bell-shaped, with infinities of one sign here and there: plus in even features, minus in odd ones.
    Infinite,
}

/// All of them.
pub const KINDS: [Kind; 45] = [
    Kind::Normal,
    Kind::Offset(1e2),
    Kind::Offset(-1e4),
    Kind::Offset(1e6),
    Kind::Offset(1e8),
    Kind::Offset(1e12),
    Kind::Offset(-1e15),
    Kind::Offset(1e10 / 3.0),
    Kind::Constant(0.1),
    Kind::Constant(-7.12e9),
    Kind::Scaled(1e-30),
    Kind::Scaled(1e-42),
    Kind::Scaled(1e37),
    Kind::Alternating(0.1),
    Kind::Alternating(1e15),
    Kind::Spread,
    Kind::Cauchy,
    Kind::Pareto,
    Kind::Sorted,
    Kind::Trend,
    Kind::Steps(77),
    Kind::Steps(512),
    Kind::Steps(30_000),
    Kind::LateStep,
    Kind::OutlierFirst,
    Kind::OutlierLast,
    Kind::OutlierEvery(8),
    Kind::OutlierEvery(512),
    Kind::OutlierEvery(32_768),
    Kind::Period(1),
    Kind::Period(8),
    Kind::Period(64),
    Kind::LastPlaces(0.1),
    Kind::LastPlaces(3.000_000_2),
    Kind::LastPlaces(-1e15),
    Kind::Few,
    Kind::Whole,
    Kind::Zeros,
    Kind::Subnormal,
    Kind::TinySquares,
    Kind::HugeSquares,
    Kind::Extreme,
    Kind::Poisoned,
    Kind::Infinite,
    Kind::Walk,
];

/// Lengths on, below and above each boundary: of lanes and groups of rows (8), streams (64), chunks (512 rows of 1 to 64
/// outer blocks) and trees of two and three chunks.
pub fn edges() -> impl Iterator<Item = usize> {
    let powers = (3..=16).map(|power| 1 << power);
    let boundaries = powers.chain([24, 3 * 64, 3 * 512, 3 * 4096, 3 * 32_768]);
    [1, 2, 3].into_iter().chain(boundaries.flat_map(|n| [n - 1, n, n + 1]))
}

/// Lengths of columns in the millions, about a boundary and not.
pub const MILLIONS: [usize; 3] = [(1 << 20) - 1, (1 << 20) + 1, 3_000_007];

/// Values of a batch, the same for the same arguments: each feature is a [`column`], whatever the layout.
pub fn batch<T: Element>(kind: Kind, seed: u64, layout: Layout) -> Vec<T> {
    mixed(|_| kind, seed, layout)
}

/// The same, of a kind for each feature.
pub fn mixed<T: Element>(kind: impl Fn(usize) -> Kind, seed: u64, layout: Layout) -> Vec<T> {
    let (features, inner) = (layout.features(), layout.inner());
    let mut data = vec![T::from_f64(0.0); layout.checked_len().expect("a small layout")];
    for feature in 0..if data.is_empty() { 0 } else { features } {
        let planes = data.chunks_mut(inner).skip(feature).step_by(features);
        let mut column = Column::new::<T>(kind(feature), seed, feature as u64, layout.count() as u64);
        for x in planes.flatten() {
            *x = T::from_f64(column.value());
        }
    }
    data
}

/// The values of one feature.
pub fn column<T: Element>(kind: Kind, seed: u64, feature: u64, len: usize) -> Vec<T> {
    let mut column = Column::new::<T>(kind, seed, feature, len as u64);
    (0..len).map(|_| T::from_f64(column.value())).collect()
}

/// What the generator must know of a type.
#[derive(Clone, Copy)]
struct Limits {
    largest: f64,
    smallest: f64,
    /// Bits of the fraction.
    digits: u32,
}

const F32: Limits = Limits { largest: f32::MAX as f64, smallest: f32::from_bits(1) as f64, digits: 23 };
const F64: Limits = Limits { largest: f64::MAX, smallest: f64::from_bits(1), digits: 52 };

/// A column as it is written, value by value.
struct Column {
    kind: Kind,
    limits: Limits,
    rng: ChaCha8Rng,
    feature: u64,
    at: u64,
    len: u64,
    /// Where a walk has come to.
    level: f64,
}

impl Column {
    fn new<T: Element>(kind: Kind, seed: u64, feature: u64, len: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(feature);
        let limits = if size_of::<T>() == size_of::<f32>() { F32 } else { F64 };
        Column { kind, limits, rng, feature, at: 0, len, level: 0.0 }
    }

    /// The next value: before it is rounded to the type, which leaves most kinds what they are.
    fn value(&mut self) -> f64 {
        let at = self.at;
        self.at += 1;
        match self.kind {
            Kind::Normal => self.bell(),
            Kind::Offset(mean) => mean + self.bell(),
            Kind::Constant(value) => value + 1e3 * self.feature as f64,
            Kind::Scaled(sd) => sd * self.bell(),
            Kind::Alternating(size) => self.bell() + if at.is_multiple_of(2) { size } else { -size },
            Kind::Spread => self.bell() * power_of_two(self.below(121) as i64 - 60),
            Kind::Cauchy => (self.uniform() - 0.5) / (self.uniform() - 0.5),
            Kind::Pareto => 1.0 / self.uniform().sqrt(),
            Kind::Sorted => {
                // Inside its share, so that no rank rounds to 0 or 1.
                let rank = (at as f64 + 0.25 + 0.5 * self.uniform()) / self.len as f64;
                (2.0 * rank - 1.0) / (2.0 * rank * (1.0 - rank)).sqrt()
            }
            Kind::Trend => 1e3 + at as f64 + 1e-3 * self.bell(),
            Kind::Walk => {
                self.level += self.bell();
                self.level
            }
            Kind::Steps(rows) => 1e3 * (at / rows * 3 % 7) as f64 + self.bell(),
            Kind::LateStep => 1e-3 * self.bell() + if at >= self.len - self.len / 64 { 1.0 } else { 0.0 },
            Kind::OutlierFirst if at == 0 => 1e9,
            Kind::OutlierLast if at + 1 == self.len => -1e9,
            // In another place of each run.
            Kind::OutlierEvery(rows) if at % rows == (at / rows * 5 + 3) % rows => 1e9,
            Kind::OutlierFirst | Kind::OutlierLast | Kind::OutlierEvery(_) => self.bell(),
            Kind::Period(rows) => period(at / rows),
            Kind::LastPlaces(value) => self.last_places(value),
            Kind::Few => [0.1, 1e4 + 0.1, -3.7, 1e-3][self.below(4)],
            Kind::Whole => (2.0 * self.bell()).trunc(),
            Kind::Zeros => [0.0, -0.0][self.below(2)],
            Kind::Subnormal => (1e3 * self.bell()).trunc() * self.limits.smallest,
            Kind::TinySquares => 1e3 * self.limits.smallest.sqrt() * self.bell(),
            Kind::HugeSquares => 1e3 * self.limits.largest.sqrt() * self.bell(),
            Kind::Extreme => self.extreme(),
            Kind::Poisoned => self.poisoned(),
            Kind::Infinite => {
                let infinity = if self.feature.is_multiple_of(2) { f64::INFINITY } else { f64::NEG_INFINITY };
                let ordinary = self.bell();
                if self.below(200) == 0 { infinity } else { ordinary }
            }
        }
    }

    /// Between 0 and 1, and neither; never one half: an odd multiple of 2^-53.
    fn uniform(&mut self) -> f64 {
        (self.rng.next_u64() >> 11 | 1) as f64 * power_of_two(-53)
    }

    /// Mean 0, sd 1, between -3 and 3.
    fn bell(&mut self) -> f64 {
        2.0 * (self.uniform() + self.uniform() + self.uniform()) - 3.0
    }

    /// A whole number below `n`.
    fn below(&mut self, n: u64) -> usize {
        (((self.rng.next_u64() >> 32) * n) >> 32) as usize
    }

    fn last_places(&mut self, value: f64) -> f64 {
        // Where the digits of the type end, by the f64's exponent; the two numbers below it are of the type.
        let exponent = (value.to_bits() >> 52 & 0x7ff) as i64 - 1023;
        let unit = power_of_two(exponent - i64::from(self.limits.digits));
        let lowest = value.to_bits() >> (52 - self.limits.digits) << (52 - self.limits.digits);
        f64::from_bits(lowest) + unit * self.below(4) as f64
    }

    fn extreme(&mut self) -> f64 {
        let Limits { largest, smallest, .. } = self.limits;
        let ordinary = self.bell();
        [largest, -largest, largest / 3.0, smallest, -smallest, f64::MIN_POSITIVE, ordinary][self.below(7)]
    }

    fn poisoned(&mut self) -> f64 {
        let nan = |bits: u64| f64::from_bits(0x7ff0_0000_0000_0000 | bits);
        let ordinary = self.bell();
        match self.below(800) {
            0 => f64::INFINITY,
            1 => f64::NEG_INFINITY,
            2 => f64::NAN,
            3 => -f64::NAN,
            // Payloads in the digits that f32 has and in those it lacks; the last two are signalling.
            4 => nan(0x800d_eadb_eef0_0001),
            5 => nan(0x000f_ffff_ffff_ffff),
            6 => nan(0x0000_0000_2000_0000),
            7 => nan(0x8007_0000_0000_0000),
            _ => ordinary,
        }
    }
}

/// Eight values, and others in the middle of 64 groups of eight, where a pivot is taken.
fn period(row: u64) -> f64 {
    if row / 8 % 64 == 31 { 0.5 } else { [0.7, 0.3, 0.31, 0.9, 0.4, 0.41, 0.3, 0.8][(row % 8) as usize] }
}

/// `2^exponent`, of a normal number.
fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}
