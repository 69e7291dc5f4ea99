//! Parameters expanded to columns: those of each feature are repeated for its `inner` columns.

use super::parameters::{Columns, repeated};
use crate::lanes::Lanes;
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
        for (to, from) in arrays.iter_mut().zip(&self.0) {
            *to = from;
        }
        Columns(arrays)
    }

    /// Expands the parameters of `len` columns from `start` on, and of those behind them that are [`repeated`]. Columns
    /// are counted across rows that lie side by side; each feature has `inner` consecutive columns.
    ///
    /// Each plane is written in whole vectors. The next plane overwrites what is too much.
    #[inline(always)]
    pub(super) fn fill<L: Lanes<Scalar = C>>(
        &mut self,
        token: L::Token,
        from: Columns<'_, C, P>,
        layout: Layout,
        start: usize,
        len: usize,
    ) {
        let (features, inner) = (layout.features(), layout.inner());
        let len = len + repeated::<C>();
        let mut feature = start / inner % features;
        let (mut at, mut end) = (0, inner - start % inner);
        while at < len {
            for (to, from) in self.0.iter_mut().zip(from.0) {
                let value = L::splat(token, from[feature]);
                let mut at = at;
                while at < end {
                    value.store(&mut to[at..]);
                    at += L::LANES;
                }
            }
            (at, end) = (end, end + inner);
            feature = if feature + 1 == features { 0 } else { feature + 1 };
        }
    }
}
