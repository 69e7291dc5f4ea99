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

/// Features and inner size of a layout.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Sides {
    features: u8,
    inner: u8,
}

impl Sides {
    /// Returns 1 to 80 features: around one strip, several strips, and the 64 accumulators of a row.
    pub fn features(self) -> usize {
        1 + usize::from(self.features) % 80
    }

    /// Returns an inner size from 1 to 200: rows, small planes, and planes of several rows.
    pub fn inner(self) -> usize {
        1 + usize::from(self.inner) % 200
    }

    /// Returns a layout with as many outer blocks as `len` values fill, possibly none.
    pub fn layout(self, len: usize) -> Layout {
        Layout::new(len / (self.features() * self.inner()), self.features(), self.inner())
    }
}

/// Returns `len` values, starting again after the end, so that few bytes fill several chunks.
pub fn cycle<T: Copy>(values: &[T], len: usize) -> Vec<T> {
    values.iter().copied().cycle().take(len).collect()
}
