//! Parameters expanded to columns: those of each feature are repeated for its `inner` columns.

use super::parameters::{Columns, repeated};
use crate::lanes::{Lanes, Outlined, Token};
use crate::layout::Layout;
use crate::tuning::{EXPANDED_COLUMNS, MAP_TILE_COLUMNS, SPLAT_INNER};

/// Expanded parameters, in arrays of `LEN`.
#[repr(align(64))]
pub(super) struct Expanded<C, const P: usize, const LEN: usize>([[C; LEN]; P]);

/// Length of the arrays for narrow rows.
pub(super) const NARROW: usize = EXPANDED_COLUMNS + MARGIN;

/// Length of the arrays for wide rows, and for pieces of them.
pub(super) const WIDE: usize = MAP_TILE_COLUMNS + MARGIN;

/// What is written behind the columns: the parameters that are [`repeated`], the columns of a head, of at most one
/// cache line, and the last plane up to the next whole vector. Whole cache lines.
const MARGIN: usize = (repeated::<f32>() + 16 + 2 * SPLAT_INNER + 16).next_multiple_of(16);

impl<C: Copy + Default, const P: usize, const LEN: usize> Expanded<C, P, LEN> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Expanded([[C::default(); LEN]; P])
    }

    #[inline(always)]
    pub(super) fn columns(&self) -> Columns<'_, C, P> {
        let mut arrays = [&[][..]; P];
        for i in 0..P {
            arrays[i] = &self.0[i];
        }
        Columns(arrays)
    }

    /// Expands the parameters of `len` columns from `start` on, and of those behind them that are [`repeated`]. Columns
    /// are counted across rows that lie side by side; each feature has `inner` consecutive columns.
    #[inline(always)]
    pub(super) fn fill<L: Lanes<Scalar = C>>(
        &mut self,
        token: L::Token,
        from: Columns<'_, C, P>,
        layout: Layout,
        start: usize,
        len: usize,
    ) {
        let to = self.0.each_mut().map(|to| &mut to[..]);
        let fill = Fill::<L, P> { token, to, from, layout, start, len };
        // Narrow rows may be all of a small batch, where a call would count.
        if LEN == WIDE { token.outlined(fill) } else { fill.run() }
    }
}

/// The work of [`Expanded::fill`].
struct Fill<'a, L: Lanes, const P: usize> {
    token: L::Token,
    to: [&'a mut [L::Scalar]; P],
    from: Columns<'a, L::Scalar, P>,
    layout: Layout,
    start: usize,
    len: usize,
}

impl<L: Lanes, const P: usize> Outlined for Fill<'_, L, P> {
    type Output = ();

    /// Writes each plane in whole vectors. The next plane overwrites what is too much.
    #[inline(always)]
    fn run(self) {
        let (features, inner) = (self.layout.features(), self.layout.inner());
        let len = self.len + repeated::<L::Scalar>();
        let mut feature = self.start / inner % features;
        let (mut at, mut end) = (0, inner - self.start % inner);
        while at < len {
            for i in 0..P {
                let value = L::splat(self.token, self.from.0[i][feature]);
                let mut at = at;
                while at < end {
                    value.store(&mut self.to[i][at..]);
                    at += L::LANES;
                }
            }
            (at, end) = (end, end + inner);
            feature = if feature + 1 == features { 0 } else { feature + 1 };
        }
    }
}
