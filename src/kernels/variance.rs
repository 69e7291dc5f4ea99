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

/// Up to this, for m2 and for freedom from 1 on, nothing that [`divided`] computes can overflow: its largest step is 2^27
/// times as far.
const FAR: f64 = 1e270;

/// Features that are computed one by one where a single one of them needs it.
const BLOCK: usize = 64;

impl<T: Element> Job for Variances<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, token: L::Token) {
        let Variances { moments, freedom, to } = self;
        let features = moments.m2.len();
        for start in (0..features).step_by(BLOCK) {
            let end = features.min(start + BLOCK);
            let mut plain = (1.0..=FAR).contains(&freedom);
            for m2 in &moments.m2[start..end] {
                plain &= *m2 <= FAR;
            }
            let full = if plain { end - (end - start) % L::LANES } else { start };
            for at in (start..full).step_by(L::LANES) {
                let pair = (L::load(token, &moments.m2[at..]), L::load(token, &moments.m2_rest[at..]));
                T::store(divided(token, pair, L::splat(token, freedom)).0, &mut to[at..]);
            }
            for (feature, to) in (full..end).zip(&mut to[full..end]) {
                *to = T::from_f64(moments.variance(feature, freedom));
            }
        }
    }
}

impl Partial<'_> {
    /// `m2 / freedom`, rounded once: with what m2 leaves over, and with what the quotient does.
    #[inline(always)]
    pub(crate) fn variance(&self, feature: usize, freedom: f64) -> f64 {
        let (m2, m2_rest) = (self.m2[feature], self.m2_rest[feature]);
        // Scaled by a power of two where halves of numbers might overflow.
        let scale = if m2 > FAR { 2f64.powi(-128) } else { 1.0 };
        let (variance, quotient) = divided((), (m2 * scale, m2_rest * scale), freedom);
        // Halves of a freedom that is not a number of values may overflow, too.
        (if variance.is_finite() { variance } else { quotient }) / scale
    }
}

/// A pair divided by a number, and the quotient of the first half alone.
#[inline(always)]
fn divided<L: Lanes>(token: L::Token, pair: (L, L), freedom: L) -> (L, L) {
    let (quotient, rest) = quotient(token, pair, freedom);
    (quotient.add(rest), quotient)
}
