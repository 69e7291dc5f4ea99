//! Cuts a reduction into parts that threads share, and merges their results as the whole tree would have.

use alloc::vec::Vec;
use core::ops::Range;

use super::tree::{Part, Reduction, Tree};
use crate::kernels::Arrays;
use crate::spec::order::Span;

/// How large parts are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// About how many values a part has.
    pub(crate) values: usize,
    /// How many threads share them. Where smaller parts cost, no more are made than so that each thread has one.
    pub(crate) threads: usize,
}

impl<R: Reduction<N>, const N: usize> Tree<R, N> {
    /// Cuts the work into parts that may be computed in any order and at the same time. A
    /// part is several tiles of features, or a tile, or a subtree of one tile, or a chunk of some of its features.
    /// [`Tree::merge_parts`] must follow.
    ///
    /// Of a tile that is cut, the first part writes its results to `out` and the others to `partial`, of
    /// [`Tree::partial`] values.
    pub(crate) fn parts<'a>(&self, size: Size, mut out: Arrays<'a, N>, mut partial: &'a mut [f64]) -> Vec<Part<'a, N>> {
        let (mut parts, root) = (Vec::new(), self.reduction.order().root());
        for features in self.groups(size) {
            let (group, others) = out.split_at(features.len());
            partial = self.cut(&features, root.clone(), size, group, partial, &mut parts);
            out = others;
        }
        parts
    }

    /// Merges the results of the parts.
    pub(crate) fn merge_parts(&self, size: Size, mut out: Arrays<'_, N>, mut partial: &mut [f64]) {
        let root = self.reduction.order().root();
        for features in self.groups(size) {
            let (group, others) = out.split_at(features.len());
            partial = self.merge_cut(&features, &root, size, group, partial);
            out = others;
        }
    }

    /// Returns the number of f64 values that [`Tree::parts`] needs for results.
    pub(crate) fn partial(&self, size: Size) -> usize {
        let root = self.reduction.order().root();
        self.groups(size).map(|features| N * features.len() * (self.leaves(features.len(), &root, size) - 1)).sum()
    }

    /// Iterates over the groups of features that parts share: as many tiles as are about as large as a part, but at
    /// least one.
    fn groups(&self, size: Size) -> impl Iterator<Item = Range<usize>> + use<R, N> {
        let (order, tile) = (self.reduction.order(), self.reduction.tile());
        let (features, count) = (order.layout.features(), order.layout.count());
        let tiles = (size.values / count.saturating_mul(tile).max(1)).max(1);
        let step = tile.saturating_mul(tiles);
        (0..features).step_by(step).map(move |start| start..features.min(start.saturating_add(step)))
    }

    /// Returns the children of a node if it is larger than a part, for a group of features.
    fn split(&self, features: usize, span: &Span, size: Size) -> Option<(Span, Span)> {
        // A group of several tiles has at most about that many size, and is never cut.
        let is_tile = features <= self.reduction.tile();
        let large = self.reduction.order().range(span).count().saturating_mul(features) > size.values;
        if is_tile && large { span.split() } else { None }
    }

    fn leaves(&self, features: usize, span: &Span, size: Size) -> usize {
        match self.split(features, span, size) {
            None => 1,
            Some((left, right)) => self.leaves(features, &left, size) + self.leaves(features, &right, size),
        }
    }

    /// Adds the parts of a node. Returns what it leaves of `partial`.
    fn cut<'a>(
        &self,
        features: &Range<usize>,
        span: Span,
        size: Size,
        out: Arrays<'a, N>,
        partial: &'a mut [f64],
        parts: &mut Vec<Part<'a, N>>,
    ) -> &'a mut [f64] {
        let Some((left, right)) = self.split(features.len(), &span, size) else {
            self.cut_features(features.clone(), &span, size, out, parts);
            return partial;
        };
        let partial = self.cut(features, left, size, out, partial, parts);
        let (b, partial) = Arrays::from_workspace(partial, features.len());
        self.cut(features, right, size, b, partial, parts)
    }

    /// Adds the parts of a node that is not split, by features.
    fn cut_features<'a>(
        &self,
        mut features: Range<usize>,
        span: &Span,
        size: Size,
        mut out: Arrays<'a, N>,
        parts: &mut Vec<Part<'a, N>>,
    ) {
        let most = if features.len() <= self.reduction.tile() {
            self.most_features(features.len(), span, size)
        } else {
            features.len()
        };
        while !features.is_empty() {
            let middle = features.end.min(features.start.saturating_add(most));
            let (part, others) = out.split_at(middle - features.start);
            parts.push(Part { features: features.start..middle, span: span.clone(), out: part });
            (features, out) = (middle..features.end, others);
        }
    }

    /// Returns how many features of a tile one part of a node takes, which is not split.
    fn most_features(&self, features: usize, span: &Span, size: Size) -> usize {
        let (order, grain) = (self.reduction.order(), self.reduction.grain());
        let wanted = size.values / order.range(span).count();
        let least = if self.reduction.cuts_cost() {
            let uncut = self.groups(size).count() * self.leaves(features, &order.root(), size);
            features.div_ceil(size.threads.div_ceil(uncut))
        } else {
            1
        };
        wanted.max(least).next_multiple_of(grain)
    }

    /// Merges the results of the parts of a node. Returns what it leaves of `partial`.
    fn merge_cut<'a>(
        &self,
        features: &Range<usize>,
        span: &Span,
        size: Size,
        mut out: Arrays<'_, N>,
        partial: &'a mut [f64],
    ) -> &'a mut [f64] {
        let Some((left, right)) = self.split(features.len(), span, size) else { return partial };
        let partial = self.merge_cut(features, &left, size, out.reborrow(), partial);
        let (mut b, partial) = Arrays::from_workspace(partial, features.len());
        let partial = self.merge_cut(features, &right, size, b.reborrow(), partial);
        let count = |span| self.reduction.order().range(span).count() as u64;
        self.reduction.merge(out, count(&left), b, count(&right));
        partial
    }
}
