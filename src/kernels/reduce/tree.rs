//! Merges the results of the chunks of a batch in the canonical tree, for any kind of result. `parts.rs`
//! cuts this work for several threads.

use core::ops::Range;

use crate::kernels::Arrays;
use crate::spec::Order;
use crate::spec::order::{ChunkRange, Span};
#[cfg(any(feature = "rayon", test))]
use crate::{
    spec::order::View,
    tuning::{GRAIN_COLUMNS, GRAIN_PLANES},
};

/// What a tree computes: `N` arrays with one result per feature.
pub(crate) trait Reduction<const N: usize>: Sync {
    /// Returns the order of the batch.
    fn order(&self) -> &Order;

    /// Returns how many features are taken through all chunks together: at least all of them if rows are interleaved.
    fn tile(&self) -> usize;

    /// Returns the fewest features of a chunk that are worth a part of their own.
    #[cfg(any(feature = "rayon", test))]
    fn grain(&self) -> usize {
        let inner = self.order().layout.inner().max(1);
        match self.order().view {
            // Rows that are interleaved are not cut.
            View::Rows { interleave: 2.. } => self.tile(),
            View::Rows { .. } => (GRAIN_COLUMNS / inner).max(1),
            View::Planes => GRAIN_PLANES,
        }
    }

    /// Returns whether a chunk takes longer, per value, if its features are computed in parts: rows are then read in
    /// pieces.
    #[cfg(any(feature = "rayon", test))]
    fn cuts_cost(&self) -> bool {
        self.order().view != View::Planes
    }

    /// Returns the number of f64 values of workspace that a chunk of `features` features needs.
    fn workspace(&self, features: usize) -> usize;

    /// Computes the results of one chunk.
    fn chunk(&self, range: ChunkRange, features: Range<usize>, out: Arrays<'_, N>, workspace: &mut [f64]);

    /// Merges the results of `count_b` values per feature into those of the `count_a` values before them.
    fn merge(&self, a: Arrays<'_, N>, count_a: u64, b: Arrays<'_, N>, count_b: u64);
}

/// A reduction over the tree of a batch. The batch must have values.
pub(crate) struct Tree<R, const N: usize> {
    pub(crate) reduction: R,
}

/// A subtree for some features, and where to write its results.
#[derive(Debug)]
pub(crate) struct Part<'a, const N: usize> {
    pub(super) features: Range<usize>,
    pub(super) span: Span,
    pub(super) out: Arrays<'a, N>,
}

impl<R: Reduction<N>, const N: usize> Tree<R, N> {
    /// Returns the number of f64 values of workspace that [`Tree::run`] or a part needs.
    pub(crate) fn workspace(&self) -> usize {
        let order = self.reduction.order();
        let features = self.reduction.tile().min(order.layout.features());
        // The results of each level, and the workspace of a chunk.
        N * features * order.root().depth() + self.reduction.workspace(features)
    }

    /// Computes the results of all features.
    pub(crate) fn run(&self, out: Arrays<'_, N>, workspace: &mut [f64]) {
        self.run_features(0..self.reduction.order().layout.features(), out, workspace);
    }

    /// Computes the results of some features.
    pub(crate) fn run_features(&self, features: Range<usize>, out: Arrays<'_, N>, workspace: &mut [f64]) {
        self.run_part(Part { features, span: self.reduction.order().root(), out }, workspace);
    }

    /// Computes one part, tile after tile.
    pub(crate) fn run_part(&self, part: Part<'_, N>, workspace: &mut [f64]) {
        let Part { mut features, span, mut out } = part;
        while !features.is_empty() {
            let middle = features.end.min(features.start + self.reduction.tile());
            let (tile, others) = out.split_at(middle - features.start);
            self.span(&(features.start..middle), &span, tile, workspace);
            (features, out) = (middle..features.end, others);
        }
    }

    /// Computes the subtree below a node for one tile of features. Returns the number of values per feature.
    fn span(&self, features: &Range<usize>, span: &Span, mut out: Arrays<'_, N>, workspace: &mut [f64]) -> u64 {
        let Some((left, right)) = span.split() else {
            let range = self.reduction.order().range(span);
            let count = range.count() as u64;
            self.reduction.chunk(range, features.clone(), out, workspace);
            return count;
        };
        let count_a = self.span(features, &left, out.reborrow(), workspace);
        let (mut b, workspace) = Arrays::from_workspace(workspace, features.len());
        let count_b = self.span(features, &right, b.reborrow(), workspace);
        self.reduction.merge(out, count_a, b, count_b);
        count_a + count_b
    }
}
