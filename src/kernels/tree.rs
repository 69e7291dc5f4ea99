//! The chunks of a batch, joined in the canonical tree; on one thread or on rayon's.

use std::ops::Range;

use super::chunk::Chunk;
use super::{ARRAYS, Merge, PartialMut};
use crate::element::Element;
use crate::lanes::Isa;
use crate::order::{Order, Span, View};

/// Values below which a piece of work is not split between threads: waking one takes as long as reading this much.
const FORK_VALUES: usize = 1 << 16;

/// Columns that are summed side by side at most: their pivots and sums (24 KiB, or 40 with what rounding lost) stay in a
/// first-level cache.
const GROUP_COLUMNS: usize = 1024;

/// Features whose planes are summed side by side at most: their sums (16 KiB, or 32 with what rounding lost) stay in a
/// first-level cache.
const GROUP_PLANES: usize = 64;

/// All moments of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Tree<'a, T> {
    order: &'a Order,
    x: &'a [T],
    isa: Isa,
    /// Whether rayon may run parts of it. Results do not depend on it.
    forks: bool,
    /// Features that are taken through all chunks together.
    group: usize,
}

impl<'a, T: Element> Tree<'a, T> {
    pub(crate) fn new(isa: Isa, forks: bool, order: &'a Order, x: &'a [T]) -> Self {
        let inner = order.layout.inner().max(1);
        let group = match order.view {
            View::Rows { .. } => GROUP_COLUMNS / inner,
            View::Planes => GROUP_PLANES,
        };
        Tree { order, x, isa, forks, group }
    }

    /// f64 values that [`Tree::run`] needs besides its output.
    pub(crate) fn scratch_len(&self) -> usize {
        self.group_scratch(self.group.min(self.order.layout.features()), self.order.root().depth())
    }

    /// Those of one group of features below a node: a partial per feature and level, and what a chunk is computed in.
    fn group_scratch(&self, features: usize, depth: usize) -> usize {
        ARRAYS * features * depth + Chunk::<T>::space(self.order, features)
    }

    /// Computes the moments of all features of a batch that has values.
    pub(crate) fn run(&self, out: PartialMut<'_>, scratch: &mut [f64]) {
        self.features(0..self.order.layout.features(), out, scratch);
    }

    /// Shares out the features in groups.
    fn features(&self, features: Range<usize>, out: PartialMut<'_>, scratch: &mut [f64]) {
        if features.len() <= self.group {
            self.span(&features, &self.order.root(), out, scratch);
            return;
        }
        let half = features.len().div_ceil(self.group) / 2 * self.group;
        let middle = features.start + half;
        let (low, high) = out.split_at(half);
        if self.pays(features.len(), &self.order.root()) {
            rayon::join(
                || self.features(features.start..middle, low, scratch),
                || self.features(middle..features.end, high, &mut vec![0.0; self.scratch_len()]),
            );
        } else {
            self.features(features.start..middle, low, scratch);
            self.features(middle..features.end, high, scratch);
        }
    }

    /// The tree of one group of features. Gives the count of each.
    fn span(&self, features: &Range<usize>, span: &Span, mut out: PartialMut<'_>, scratch: &mut [f64]) -> u64 {
        let Some((left, right)) = span.split() else {
            let range = self.order.chunk(span);
            let count = range.count() as u64;
            let (order, features) = (self.order, features.clone());
            Chunk { order, x: self.x, range, features, out, space: scratch }.run(self.isa);
            return count;
        };
        if self.pays(features.len(), span) {
            // The right side has its own space: its result, then its scratch.
            let mut own = vec![0.0; self.group_scratch(features.len(), 1 + right.depth())];
            let (mut b, own) = PartialMut::from_scratch(&mut own, features.len());
            let (count_a, count_b) = rayon::join(
                || self.span(features, &left, out.reborrow(), scratch),
                || self.span(features, &right, b.reborrow(), own),
            );
            self.merge(out, count_a, &b, count_b)
        } else {
            let count_a = self.span(features, &left, out.reborrow(), scratch);
            let (mut b, scratch) = PartialMut::from_scratch(scratch, features.len());
            let count_b = self.span(features, &right, b.reborrow(), scratch);
            self.merge(out, count_a, &b, count_b)
        }
    }

    fn merge(&self, a: PartialMut<'_>, count_a: u64, b: &PartialMut<'_>, count_b: u64) -> u64 {
        self.isa.run(Merge { a, count_a, b: b.as_partial(), count_b });
        count_a + count_b
    }

    /// Whether half of this work is worth a second thread.
    fn pays(&self, features: usize, span: &Span) -> bool {
        let chunk = self.order.chunk(&self.order.root().first()).count();
        self.forks && features.saturating_mul(span.chunks()).saturating_mul(chunk) >= 2 * FORK_VALUES
    }
}
