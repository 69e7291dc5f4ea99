//! Merges the results of the chunks of a batch in the canonical tree, on one thread or several, for any kind of result.

use std::ops::Range;

use crate::kernels::Arrays;
use crate::spec::Order;
use crate::spec::order::{ChunkRange, Span};
use crate::tuning::FORK_VALUES;

/// What a tree computes: `N` arrays with one result per feature.
pub(crate) trait Reduction<const N: usize>: Sync {
    /// Returns the order of the batch.
    fn order(&self) -> &Order;

    /// Returns how many features are taken through all chunks together: at least all of them if rows are interleaved.
    fn tile(&self) -> usize;

    /// Returns the number of f64 values of workspace that a chunk of `features` features needs.
    fn workspace(&self, features: usize) -> usize;

    /// Computes the results of one chunk.
    fn chunk(&self, range: ChunkRange, features: Range<usize>, out: Arrays<'_, N>, workspace: &mut [f64]);

    /// Merges the results of `count_b` values per feature into those of the `count_a` values before them.
    fn merge(&self, a: Arrays<'_, N>, count_a: u64, b: Arrays<'_, N>, count_b: u64);
}

/// Runs two pieces of work, possibly at the same time. Results do not depend on it.
pub(crate) trait Join: Sync {
    /// Whether the work may run at the same time.
    const FORKS: bool;

    /// Runs both.
    fn join(&self, a: impl FnOnce() + Send, b: impl FnOnce() + Send);
}

/// Runs one piece after the other.
pub(crate) struct Serial;

impl Join for Serial {
    const FORKS: bool = false;

    fn join(&self, a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
        a();
        b();
    }
}

/// A reduction over the tree of a batch. The batch must have values.
pub(crate) struct Tree<R, J, const N: usize> {
    pub(crate) reduction: R,
    pub(crate) join: J,
}

impl<R: Reduction<N>, J: Join, const N: usize> Tree<R, J, N> {
    /// Returns the number of f64 values of workspace that [`Tree::run`] needs.
    pub(crate) fn workspace(&self) -> usize {
        let order = self.reduction.order();
        self.tile_workspace(self.reduction.tile().min(order.layout.features()), order.root().depth())
    }

    /// Returns the workspace for one tile of features below a node: the results of each level, and the workspace of a
    /// chunk.
    fn tile_workspace(&self, features: usize, depth: usize) -> usize {
        N * features * depth + self.reduction.workspace(features)
    }

    /// Computes the results of all features.
    pub(crate) fn run(&self, out: Arrays<'_, N>, workspace: &mut [f64]) {
        self.features(0..self.reduction.order().layout.features(), out, workspace);
    }

    /// Splits the features into tiles and computes them, on several threads if that pays off.
    fn features(&self, features: Range<usize>, out: Arrays<'_, N>, workspace: &mut [f64]) {
        let (tile, root) = (self.reduction.tile(), self.reduction.order().root());
        if features.len() <= tile {
            self.span(&features, &root, out, workspace);
            return;
        }
        let half = features.len().div_ceil(tile) / 2 * tile;
        let middle = features.start + half;
        let (low, high) = out.split_at(half);
        if self.pays(features.len(), &root) {
            self.join.join(
                || self.features(features.start..middle, low, workspace),
                || self.features(middle..features.end, high, &mut vec![0.0; self.workspace()]),
            );
        } else {
            self.features(features.start..middle, low, workspace);
            self.features(middle..features.end, high, workspace);
        }
    }

    /// Computes the subtree below a node for one tile of features. Returns the number of values per feature.
    fn span(&self, features: &Range<usize>, span: &Span, mut out: Arrays<'_, N>, workspace: &mut [f64]) -> u64 {
        let Some((left, right)) = span.split() else {
            let range = self.reduction.order().chunk(span);
            let count = range.count() as u64;
            self.reduction.chunk(range, features.clone(), out, workspace);
            return count;
        };
        let (mut count_a, mut count_b) = (0, 0);
        if self.pays(features.len(), span) {
            // The right child has its own workspace: for its result, then for its computation.
            let mut own = vec![0.0; self.tile_workspace(features.len(), 1 + right.depth())];
            let (mut b, own) = Arrays::from_workspace(&mut own, features.len());
            self.join.join(
                || count_a = self.span(features, &left, out.reborrow(), workspace),
                || count_b = self.span(features, &right, b.reborrow(), own),
            );
            self.reduction.merge(out, count_a, b, count_b);
        } else {
            count_a = self.span(features, &left, out.reborrow(), workspace);
            let (mut b, workspace) = Arrays::from_workspace(workspace, features.len());
            count_b = self.span(features, &right, b.reborrow(), workspace);
            self.reduction.merge(out, count_a, b, count_b);
        }
        count_a + count_b
    }

    /// Returns whether half of this work is worth a second thread.
    fn pays(&self, features: usize, span: &Span) -> bool {
        let order = self.reduction.order();
        let chunk = order.chunk(&order.root().first()).count();
        J::FORKS && features.saturating_mul(span.chunks()).saturating_mul(chunk) >= 2 * FORK_VALUES
    }
}
