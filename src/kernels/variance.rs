//! From sums of squared deviations to variances.

use super::Partial;
use super::pair::quotient;
use crate::Element;
use crate::lanes::{Job, Lanes};

/// `m2 / freedom` of every feature, each rounded once (and once more to `T`).
pub(crate) struct Variances<'a, T> {
    pub(crate) moments: Partial<'a>,
    pub(crate) freedom: f64,
    pub(crate) to: &'a mut [T],
}

/// Up to this m2, nothing that [`divided`] computes can overflow: the largest step is 2^27 times as far.
const LARGE: f64 = 1e270;

impl<T: Element> Job for Variances<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, token: L::Token) {
        let Variances { moments, freedom, to } = self;
        let mut plain = freedom >= 1.0;
        for m2 in moments.m2 {
            plain &= *m2 <= LARGE;
        }
        let features = moments.m2.len();
        let full = if plain { features - features % L::LANES } else { 0 };
        for at in (0..full).step_by(L::LANES) {
            let pair = (L::load(token, &moments.m2[at..]), L::load(token, &moments.m2_rest[at..]));
            T::store(divided(token, pair, L::splat(token, freedom)).0, &mut to[at..]);
        }
        for (feature, to) in to.iter_mut().enumerate().skip(full) {
            *to = T::from_f64(moments.variance(feature, freedom));
        }
    }
}

impl Partial<'_> {
    /// `m2 / freedom`, rounded once: with what m2 leaves over, and with what the quotient does.
    #[inline(always)]
    pub(crate) fn variance(&self, feature: usize, freedom: f64) -> f64 {
        let (m2, m2_rest) = (self.m2[feature], self.m2_rest[feature]);
        // Scaled by a power of two where halves of numbers might overflow.
        let scale = if m2 > LARGE { 2f64.powi(-128) } else { 1.0 };
        let (variance, quotient) = divided((), (m2 * scale, m2_rest * scale), freedom);
        (if variance.is_finite() { variance } else { quotient }) / scale
    }
}

/// A pair divided by a number, and the quotient of the first half alone.
#[inline(always)]
fn divided<L: Lanes>(token: L::Token, pair: (L, L), freedom: L) -> (L, L) {
    let (quotient, rest) = quotient(token, pair, freedom);
    (quotient.add(rest), quotient)
}
