//! Numbers of two f64 words: sums and products that keep their rounding errors.

/// An unevaluated sum of two numbers. The low word is at most half a unit in the last place of the high word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) high: f64,
    pub(crate) low: f64,
}

/// Returns a power of two within the range of normal numbers.
pub(crate) const fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// Returns `a + b` as a rounded sum and its exact error (Knuth 1969).
#[inline(always)]
pub(crate) fn two_sum(a: f64, b: f64) -> Pair {
    let high = a + b;
    let b_part = high - a;
    Pair { high, low: (a - (high - b_part)) + (b - b_part) }
}

/// Returns `a * b` as a rounded product and its error (Dekker 1971), exact unless a number leaves the range of f64.
/// (A fused multiply-add would be shorter, but a plain x86-64 build has none.)
fn two_product(a: f64, b: f64) -> Pair {
    let high = a * b;
    let ([a, a_rest], [b, b_rest]) = (halves(a), halves(b));
    Pair { high, low: a * b - high + a * b_rest + a_rest * b + a_rest * b_rest }
}

/// Splits a number into its upper 26 bits and the rest (Veltkamp 1968).
fn halves(x: f64) -> [f64; 2] {
    let large = x * 134_217_729.0; // 2^27 + 1
    let high = large - (large - x);
    [high, x - high]
}

impl Pair {
    /// Returns the sum of two words that may overlap.
    pub(crate) fn new(a: f64, b: f64) -> Self {
        two_sum(a, b)
    }

    pub(crate) fn plus(self, other: Pair) -> Pair {
        let s = two_sum(self.high, other.high);
        let t = two_sum(self.low, other.low);
        let s = two_sum(s.high, s.low + t.high);
        two_sum(s.high, s.low + t.low)
    }

    pub(crate) fn minus(self, other: Pair) -> Pair {
        self.plus(Pair { high: -other.high, low: -other.low })
    }

    pub(crate) fn times(self, other: Pair) -> Pair {
        let p = two_product(self.high, other.high);
        two_sum(p.high, p.low + (self.high * other.low + self.low * other.high))
    }

    pub(crate) fn times_number(self, by: f64) -> Pair {
        let p = two_product(self.high, by);
        two_sum(p.high, p.low + self.low * by)
    }

    pub(crate) fn divided_by(self, by: f64) -> Pair {
        let high = self.high / by;
        let p = two_product(high, by);
        two_sum(high, (self.high - p.high - p.low + self.low) / by)
    }
}

/// Returns `base + offset`, exactly, as three words. Each is at most half a unit in the last place of the word before it,
/// unless `base` and `offset` cancel.
pub(crate) fn triple(base: f64, offset: Pair) -> [f64; 3] {
    let s = two_sum(base, offset.high);
    let t = two_sum(s.low, offset.low);
    let high = two_sum(s.high, t.high);
    let middle = two_sum(high.low, t.low);
    [high.high, middle.high, middle.low]
}
