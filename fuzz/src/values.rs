//! Values and layouts made from bytes.

use arbitrary::Arbitrary;
use batchnorm::{Element, Layout};

use crate::nasty;

/// An element type that can be made from any bits, including NaN payloads, subnormals and infinities.
pub trait FromBits: Element {
    /// Bytes of one value.
    const SIZE: usize;

    /// Makes a value from the first [`FromBits::SIZE`] bytes, little-endian. Missing bytes are 0.
    fn from_bytes(bytes: &[u8]) -> Self;

    /// Returns the value that is `steps` steps above this one in the order of bits.
    fn step(self, steps: i64) -> Self;
}

impl FromBits for f32 {
    const SIZE: usize = 4;

    fn from_bytes(bytes: &[u8]) -> Self {
        f32::from_bits(u32::from_le_bytes(padded(bytes)))
    }

    fn step(self, steps: i64) -> Self {
        // The lower half of the steps is enough, because both wrap around.
        f32::from_bits(self.to_bits().wrapping_add(steps as u32))
    }
}

impl FromBits for f64 {
    const SIZE: usize = 8;

    fn from_bytes(bytes: &[u8]) -> Self {
        f64::from_bits(u64::from_le_bytes(padded(bytes)))
    }

    fn step(self, steps: i64) -> Self {
        f64::from_bits(self.to_bits().wrapping_add(steps as u64))
    }
}

fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut all = [0; N];
    for (to, from) in all.iter_mut().zip(bytes) {
        *to = *from;
    }
    all
}

/// How values are made from bytes. Random bits have random exponents, so that the largest value dominates all sums; the
/// other kinds make numerically difficult values.
#[derive(Clone, Copy, Debug, PartialEq, Arbitrary)]
pub enum Kind {
    /// Bits as they are.
    Raw,
    /// Values a few steps in the last place from one value: a mean far larger than the standard deviation.
    Near,
    /// A value plus whole multiples of a power of two.
    Grid,
    /// A few values with any bits, each repeated many times.
    Few,
    /// One value per byte, from the tests' generator: the base is its seed, and the exponent selects a kind.
    Nasty,
}

/// How to make values, in addition to the bytes.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Recipe {
    pub kind: Kind,
    pub base: [u8; 8],
    pub exponent: i8,
}

impl Recipe {
    /// Makes as many values as the bytes provide, but at least one.
    pub fn values<T: FromBits>(&self, bytes: &[u8]) -> Vec<T> {
        let base = T::from_bytes(&self.base[8 - T::SIZE..]);
        let step = |bytes: &[u8]| i16::from_le_bytes(padded(bytes));
        let mut values: Vec<T> = match self.kind {
            Kind::Raw => bytes.chunks(T::SIZE).map(T::from_bytes).collect(),
            Kind::Near => bytes.chunks(2).map(|bytes| base.step(step(bytes).into())).collect(),
            Kind::Grid => {
                let unit = 2f64.powi(self.exponent.into());
                bytes.chunks(2).map(|bytes| T::from_f64(base.to_f64() + f64::from(step(bytes)) * unit)).collect()
            }
            Kind::Few => {
                let (choices, picks) = bytes.split_at(bytes.len().min(4 * T::SIZE));
                let choices: Vec<T> = choices.chunks(T::SIZE).map(T::from_bytes).collect();
                picks.iter().map(|pick| choices[usize::from(*pick) % choices.len()]).collect()
            }
            Kind::Nasty => {
                let kind = nasty::KINDS[usize::from(self.exponent.cast_unsigned()) % nasty::KINDS.len()];
                nasty::column(kind, u64::from_le_bytes(self.base), 0, bytes.len())
            }
        };
        if values.is_empty() {
            values.push(base);
        }
        values
    }
}

/// Features and inner size of a layout. One in eight is wide: around the tiles of 1024 columns. Another one in eight is
/// long: around planes that are a chunk of their own, and planes that are cut.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Sides {
    features: u16,
    inner: u16,
}

/// Numbers from here on select wide and long layouts.
const FAR: u16 = 0xe000;

impl Sides {
    fn is_wide(self) -> bool {
        self.features >= FAR
    }

    fn is_long(self) -> bool {
        self.inner >= FAR && !self.is_wide()
    }

    /// Returns whether the layout is wide or long.
    pub fn is_far(self) -> bool {
        self.is_wide() || self.is_long()
    }

    /// Returns 1 to 80 features: around one strip, several strips, and the 64 accumulators of a row. If wide, 961 to
    /// 4160; if long, 1 or 2.
    pub fn features(self) -> usize {
        let features = usize::from(self.features);
        match (self.is_wide(), self.is_long()) {
            (true, _) => 961 + features % 3200,
            (_, true) => 1 + features % 2,
            _ => 1 + features % 80,
        }
    }

    /// Returns an inner size from 1 to 200: rows, small planes, and planes of several rows. If wide, 1 to 4; if long,
    /// around 1024, half a chunk, a chunk and two chunks.
    pub fn inner(self) -> usize {
        let inner = usize::from(self.inner);
        match (self.is_wide(), self.is_long()) {
            (true, _) => 1 + inner % 4,
            (_, true) => [1 << 10, 1 << 14, 1 << 15, 1 << 16][inner % 4] - 500 + (inner - usize::from(FAR)) / 4,
            _ => 1 + inner % 200,
        }
    }

    /// Returns a layout with as many outer blocks as `len` values fill: possibly none, unless it is wide or long.
    pub fn layout(self, len: usize) -> Layout {
        let least = if self.is_far() { 1 + len % 3 } else { 0 };
        let outer = (len / (self.features() * self.inner())).max(least);
        Layout::new(outer, self.features(), self.inner())
    }
}

/// What the shifts are computed from, other than the values.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Samples {
    what: Sample,
    /// Every how many features.
    every: u8,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Sample {
    AsIs,
    Nan,
    Infinite,
    /// The largest number: the sum of the sample overflows.
    Largest,
    /// The largest number and its negative, in turn.
    Alternating,
}

impl Samples {
    /// Replaces the values around the middle of each chunk, where the samples are taken.
    pub fn replace<T: FromBits>(self, layout: Layout, data: &mut [T]) {
        let (features, inner) = (layout.features(), layout.inner());
        let largest = if T::SIZE == f32::SIZE { f64::from(f32::MAX) } else { f64::MAX };
        let value = |at: usize| match self.what {
            Sample::Nan => f64::NAN,
            Sample::Infinite => f64::INFINITY,
            Sample::Alternating if at % 2 == 1 => -largest,
            _ => largest,
        };
        if let Sample::AsIs = self.what {
            return;
        }
        // Values per feature: of a whole chunk, and of a sample.
        let interleave = 64usize.div_ceil(features * inner).next_power_of_two();
        let (chunk, sample) = if inner < 32 {
            (512 * interleave * inner, 8 * interleave * inner)
        } else {
            ((32_768 / inner).max(1) * inner.min(32_768), 512 + inner.min(512))
        };
        for (plane, values) in data.chunks_mut(inner).enumerate() {
            if !(plane % features).is_multiple_of(1 + usize::from(self.every) % 8) {
                continue;
            }
            let start = plane / features * inner;
            // Pieces of a long plane are counted from its start.
            let start = if inner > chunk { 0 } else { start };
            let all = if inner > chunk { inner } else { layout.count() };
            for (position, x) in values.iter_mut().enumerate() {
                let at = start + position;
                let middle = at - at % chunk + chunk.min(all - (at - at % chunk)) / 2;
                if middle.abs_diff(at) <= 2 * sample {
                    *x = T::from_f64(value(at));
                }
            }
        }
    }
}

/// Returns `len` values, starting again after the end, so that few bytes fill several chunks.
pub fn cycle<T: Copy>(values: &[T], len: usize) -> Vec<T> {
    values.iter().copied().cycle().take(len).collect()
}
