//! Numerically difficult columns, reproducible from a seed: for tests, fuzz targets, benches, the digest and the
//! accuracy example.
//!
//! The values are the same bits on every machine. They are made from the bits of ChaCha with `+ - * /` and square roots
//! only, because functions of C libraries (`ln`, `sin`, ...) differ; and no number in them has the width of a pointer.
//! Bell-shaped values are sums of three uniform ones.

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
    /// One value, a different one in each feature.
    Constant(f64),
    /// Bell-shaped, with this sd.
    Scaled(f64),
    /// Plus and minus this value in turn, each plus a bell-shaped value with sd 1: everything cancels except the
    /// squares.
    Alternating(f64),
    /// Bell-shaped, times random powers of two from 2^-60 to 2^60.
    Spread,
    /// A ratio of uniform values: tails like those of the Cauchy distribution, which has no mean.
    Cauchy,
    /// At least 1, with tails like those of a Pareto distribution of order 2, which has no variance.
    Pareto,
    /// A sample of Student's t with two degrees of freedom, in ascending order.
    Sorted,
    /// A straight line that rises by 1 per row, plus bell-shaped values with sd 1/1000.
    Trend,
    /// A random walk: each value differs from the one before by a bell-shaped step.
    Walk,
    /// Bell-shaped about a level that changes after this number of rows.
    Steps(u64),
    /// Bell-shaped, sd 1/1000, but the last 1/64 of the values are larger by 1.
    LateStep,
    /// Bell-shaped, but the first value is far away.
    OutlierFirst,
    /// Bell-shaped, but the last value is far away.
    OutlierLast,
    /// Bell-shaped, but one value in each block of this number of rows is far away.
    OutlierEvery(u64),
    /// A cycle of eight values, each this number of times in a row, except for another value throughout one cycle in
    /// the middle of every 64: each group of eight rows has the same rounding error, and the shift is not near the
    /// mean.
    Period(u64),
    /// This value, truncated to the precision of the type, plus up to three units in its last place.
    LastPlaces(f64),
    /// Four different values.
    Few,
    /// Small whole numbers, including zeros of either sign.
    Whole,
    /// Zeros of either sign.
    Zeros,
    /// Whole multiples of the smallest positive number of the type.
    Subnormal,
    /// Values whose squares are subnormal in the type.
    TinySquares,
    /// Values whose squares overflow the type.
    HugeSquares,
    /// The largest and smallest numbers of the type, of either sign, among ordinary ones.
    Extreme,
    /// Bell-shaped, with NaN of many bit patterns and infinities here and there.
    Poisoned,
    /// Bell-shaped, with infinities of one sign here and there: plus in even features, minus in odd ones.
    Infinite,
}

/// All kinds.
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

/// Returns lengths at, below and above each boundary: of lanes and groups of rows (8), accumulators (64), chunks (512
/// rows of 1 to 64 outer blocks) and trees of two and three chunks.
pub fn edges() -> impl Iterator<Item = usize> {
    let powers = (3..=16).map(|power| 1 << power);
    let boundaries = powers.chain([24, 3 * 64, 3 * 512, 3 * 4096, 3 * 32_768]);
    [1, 2, 3].into_iter().chain(boundaries.flat_map(|n| [n - 1, n, n + 1]))
}

/// Lengths of columns in the millions, near a boundary and away from one.
pub const MILLIONS: [usize; 3] = [(1 << 20) - 1, (1 << 20) + 1, 3_000_007];

/// Returns the values of a batch, always the same for the same arguments. Each feature is a [`column`], whatever the
/// layout.
pub fn batch<T: Element>(kind: Kind, seed: u64, layout: Layout) -> Vec<T> {
    mixed(|_| kind, seed, layout)
}

/// Returns the values of a batch, with a kind for each feature.
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

/// Returns the values of one feature.
pub fn column<T: Element>(kind: Kind, seed: u64, feature: u64, len: usize) -> Vec<T> {
    let mut column = Column::new::<T>(kind, seed, feature, len as u64);
    (0..len).map(|_| T::from_f64(column.value())).collect()
}

/// The properties of a type that the generator needs.
#[derive(Clone, Copy)]
struct Limits {
    largest: f64,
    smallest: f64,
    /// Bits of the fraction.
    digits: u32,
}

const F32: Limits = Limits { largest: f32::MAX as f64, smallest: f32::from_bits(1) as f64, digits: 23 };
const F64: Limits = Limits { largest: f64::MAX, smallest: f64::from_bits(1), digits: 52 };

/// A column that is generated value by value.
struct Column {
    kind: Kind,
    limits: Limits,
    rng: ChaCha8Rng,
    feature: u64,
    at: u64,
    len: u64,
    /// The current level of a walk.
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

    /// Returns the next value, before it is rounded to the type. (For most kinds, rounding does not change what they
    /// are.)
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
                // Inside its interval, so that no rank rounds to 0 or 1.
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
            // At another position in each block.
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

    /// Returns a number strictly between 0 and 1, and never one half: an odd multiple of 2^-53.
    fn uniform(&mut self) -> f64 {
        (self.rng.next_u64() >> 11 | 1) as f64 * power_of_two(-53)
    }

    /// Returns a number with mean 0 and sd 1, between -3 and 3.
    fn bell(&mut self) -> f64 {
        2.0 * (self.uniform() + self.uniform() + self.uniform()) - 3.0
    }

    /// Returns a whole number below `n`.
    fn below(&mut self, n: u64) -> usize {
        (((self.rng.next_u64() >> 32) * n) >> 32) as usize
    }

    fn last_places(&mut self, value: f64) -> f64 {
        // The unit in the last place of the type at this value, from the exponent of the f64. Both numbers below are
        // exact in the type.
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
            // Payloads in the bits that f32 has and in those that it lacks; the last two NaNs are signalling.
            4 => nan(0x800d_eadb_eef0_0001),
            5 => nan(0x000f_ffff_ffff_ffff),
            6 => nan(0x0000_0000_2000_0000),
            7 => nan(0x8007_0000_0000_0000),
            _ => ordinary,
        }
    }
}

/// Returns one of eight values in a cycle, or another value in the middle of 64 cycles, where the shift is sampled.
fn period(row: u64) -> f64 {
    if row / 8 % 64 == 31 { 0.5 } else { [0.7, 0.3, 0.31, 0.9, 0.4, 0.41, 0.3, 0.8][(row % 8) as usize] }
}

/// Returns `2^exponent`, which must be a normal number.
fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}
