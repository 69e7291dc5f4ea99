//! The traversals: rows, planes, and the tiles that wide rows are cut into. They advance in steps of one vector, or of
//! two if the store policy needs two. The head and the tail, before and after the whole steps, are mapped vector by
//! vector, then value by value.

mod planes;
mod rows;

use core::marker::PhantomData;

use super::Formula;
use super::parameters::Columns;
use super::run::Run;
use super::store::Store;
use crate::lanes::{Lanes, LoadStore};
use crate::layout::Layout;
use crate::tuning::{EXPANDED_COLUMNS, FEW_ROWS, FEW_VALUES, MAP_TILE_COLUMNS, SPLAT_INNER};

/// Maps elements of type `T` with `P` parameters and `I` inputs, the first of which may be the output itself.
pub(super) struct Walk<F, L: Lanes, W, T, const P: usize, const I: usize> {
    token: L::Token,
    formula: F,
    store: W,
    types: PhantomData<(L, T)>,
}

impl<F, L, W, T, const P: usize, const I: usize> Walk<F, L, W, T, P, I>
where
    F: Formula<P, I>,
    L: LoadStore<T>,
    L::Scalar: LoadStore<T, Scalar = L::Scalar, Token = ()>,
    W: Store,
{
    /// Values per step.
    const STEP: usize = W::VECTORS * L::LANES;

    /// Whether wide rows of small planes are mapped in tiles, whose parameters stay in the first level of the cache. Not
    /// with a second input: memory bounds these maps sooner, and each traversal is compiled for each formula and
    /// instruction set.
    const EXPANDED_TILES: bool = I == 1;

    #[inline(always)]
    pub(super) fn new(token: L::Token, formula: F, store: W) -> Self {
        Walk { token, formula, store, types: PhantomData }
    }

    /// Maps a run that starts at `start` in the batch.
    #[inline(always)]
    pub(super) fn batch(
        &self,
        parameters: Columns<'_, L::Scalar, P>,
        layout: Layout,
        start: usize,
        run: Run<'_, T, I>,
    ) {
        let (inner, width) = (layout.inner(), layout.features() * layout.inner());
        if inner >= SPLAT_INNER.max(Self::STEP) {
            self.planes(parameters, layout, start, run);
        } else if inner == 1 && width > MAP_TILE_COLUMNS && run.len() > width {
            self.tiles(parameters, width, start, run);
        } else if inner == 1 && (width >= EXPANDED_COLUMNS || run.len() <= FEW_VALUES) {
            self.rows(parameters, width, start % width, run);
        } else if width <= EXPANDED_COLUMNS {
            self.side_by_side(parameters, layout, start, run);
        } else if Self::EXPANDED_TILES
            && run.len() >= FEW_ROWS * width
            && (width <= MAP_TILE_COLUMNS || W::VECTORS == 1)
        {
            self.expanded_tiles(parameters, layout, start, run);
        } else {
            self.expanded_in_order(parameters, layout, start, run);
        }
    }

    /// Maps two vectors and stores them as the policy says. This is the body of the inner loop.
    #[inline(always)]
    fn pair<G: Formula<P, I>>(&self, formula: G, low: [L; P], high: [L; P], run: &mut Run<'_, T, I>, at: usize) {
        self.store.prefetch(run, at);
        let (low_inputs, high_inputs) = (run.load::<L>(self.token, at), run.load::<L>(self.token, at + L::LANES));
        let pair = [formula.apply(low, low_inputs), formula.apply(high, high_inputs)];
        self.store.pair(pair, &mut run.y[at..]);
    }

    /// Maps one vector, or one value, with an ordinary store. This is the body of the inner loop where a step is one
    /// vector, and the body for heads and tails.
    #[inline(always)]
    fn one<V: LoadStore<T>, G: Formula<P, I>>(
        &self,
        formula: G,
        token: V::Token,
        parameters: [V; P],
        run: &mut Run<'_, T, I>,
        at: usize,
    ) {
        self.store.prefetch(run, at);
        let y = formula.apply(parameters, run.load::<V>(token, at));
        y.store_to(&mut run.y[at..]);
    }
}
