//! Which rows each rank sums together, and in which order the results are merged: the tree of one process.
//!
//! One process cuts a batch into chunks and merges them in a binary tree whose shape depends on the number of chunks
//! alone. If ranks hold whole chunks, each one measures the largest parts of its shard that are nodes of that tree. The
//! merge then continues the same tree, so its bits are those of one process. Otherwise each shard that has rows counts
//! as one chunk.

use std::ops::Range;

use batchnorm::{Layout, Result};

use crate::wire::Wire;

/// The shape of a shard: its number of outer blocks (0 if it has no values), and the size of their planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) outer: u64,
    pub(crate) inner: u64,
}

impl Shape {
    pub(crate) fn of(layout: Layout) -> Self {
        let empty = layout.checked_len() == Some(0);
        Shape { outer: if empty { 0 } else { layout.outer() as u64 }, inner: layout.inner() as u64 }
    }
}

/// The division of one batch over ranks.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    shapes: Vec<Shape>,
    /// Chunks before each rank's shard, and after the last one.
    starts: Vec<u64>,
    /// Outer blocks in a chunk, if shards consist of whole chunks.
    chunk: Option<u64>,
}

/// A part of a shard that is measured alone: a node of the tree, as a range of chunks.
pub(crate) type Node = Range<u64>;

impl Plan {
    pub(crate) fn new(features: u64, shapes: Vec<Shape>) -> Self {
        let with_rows = || shapes.iter().filter(|shape| shape.outer > 0);
        let last = with_rows().next_back().copied();
        let chunk = last.map(|shape| chunk_outer(features, shape.inner)).filter(|chunk| {
            let others = with_rows().take(with_rows().count().saturating_sub(1));
            others.into_iter().all(|shape| Some(shape.inner) == last.map(|last| last.inner) && shape.outer % chunk == 0)
        });
        let mut starts = vec![0];
        for shape in &shapes {
            let chunks = chunk.map_or(u64::from(shape.outer > 0), |chunk| shape.outer.div_ceil(chunk));
            starts.push(starts[starts.len() - 1] + chunks);
        }
        Plan { shapes, starts, chunk }
    }

    /// Returns the nodes that a rank measures.
    pub(crate) fn nodes(&self, rank: usize) -> Vec<Node> {
        let mut nodes = Vec::new();
        push_nodes(0..self.total(), &(self.starts[rank]..self.starts[rank + 1]), &mut nodes);
        nodes
    }

    /// Returns the outer blocks of a rank's shard that make up one of its nodes.
    pub(crate) fn blocks(&self, rank: usize, node: &Node) -> Range<usize> {
        let outer = self.shapes[rank].outer;
        let of = |chunks: u64| match self.chunk {
            Some(chunk) => ((chunks - self.starts[rank]) * chunk).min(outer) as usize,
            None => {
                if chunks == self.starts[rank] {
                    0
                } else {
                    outer as usize
                }
            }
        };
        of(node.start)..of(node.end)
    }

    fn total(&self) -> u64 {
        self.starts[self.starts.len() - 1]
    }

    /// Merges the statistics of all nodes of all ranks, in rank order. They must not be empty.
    pub(crate) fn merge<S: Wire>(&self, of_nodes: impl IntoIterator<Item = (Node, S)>) -> Option<Result<S>> {
        let mut of_nodes = of_nodes.into_iter().peekable();
        of_nodes.peek()?;
        Some(merge(0..self.total(), &mut of_nodes))
    }
}

/// Values per feature in a chunk of planes.
pub(crate) const CHUNK_POSITIONS: u64 = 32_768;

/// Outer blocks in a chunk, as [`Moments::merge`](batchnorm::Moments::merge) documents them.
fn chunk_outer(features: u64, inner: u64) -> u64 {
    if inner >= 32 {
        return (CHUNK_POSITIONS / inner).max(1);
    }
    512 * 64u64.div_ceil(features.saturating_mul(inner).max(1)).next_power_of_two()
}

/// Splits a node of more than one chunk at the largest power of two below its length.
fn halves(node: &Node) -> (Node, Node) {
    let middle = node.start + (1 << (node.end - node.start - 1).ilog2());
    (node.start..middle, middle..node.end)
}

/// Appends the largest nodes below `node` that lie in a range.
fn push_nodes(node: Node, range: &Node, to: &mut Vec<Node>) {
    if node.start >= range.end || node.end <= range.start {
        return;
    }
    if range.start <= node.start && node.end <= range.end {
        to.push(node);
        return;
    }
    let (left, right) = halves(&node);
    push_nodes(left, range, to);
    push_nodes(right, range, to);
}

fn merge<S: Wire>(node: Node, of_nodes: &mut std::iter::Peekable<impl Iterator<Item = (Node, S)>>) -> Result<S> {
    match of_nodes.next_if(|(measured, _)| *measured == node) {
        Some((_, statistics)) => Ok(statistics),
        None => {
            let (left, right) = halves(&node);
            let mut merged = merge(left, of_nodes)?;
            merged.merge(&merge(right, of_nodes)?)?;
            Ok(merged)
        }
    }
}

#[cfg(test)]
mod tests {
    use batchnorm::{Batch, Layout, Moments, moments};

    use super::{Plan, Shape, chunk_outer};

    fn shapes(outer: &[u64], inner: u64) -> Vec<Shape> {
        outer.iter().map(|outer| Shape { outer: *outer, inner }).collect()
    }

    /// The bits of one process, for every division of `chunks` chunks among three ranks.
    fn divisions(layout: Layout, chunk: usize) {
        let row = layout.features() * layout.inner();
        let values: Vec<f64> = (0..layout.outer() * row).map(|at| 1e3 + (at as f64 * 0.7).sin()).collect();
        let whole = moments(Batch::new(&values, layout).expect("fits"));
        let chunks = layout.outer().div_ceil(chunk);
        for first in 0..=chunks {
            for second in first..=chunks {
                let ends = [0, first * chunk, second * chunk, layout.outer()].map(|end| end.min(layout.outer()));
                let outer: Vec<u64> = ends.windows(2).map(|pair| (pair[1] - pair[0]) as u64).collect();
                let plan = Plan::new(layout.features() as u64, shapes(&outer, layout.inner() as u64));
                let mut measured = Vec::new();
                for rank in 0..3 {
                    for node in plan.nodes(rank) {
                        let blocks = plan.blocks(rank, &node);
                        let part = &values[(ends[rank] + blocks.start) * row..(ends[rank] + blocks.end) * row];
                        let of_part = Layout::new(blocks.len(), layout.features(), layout.inner());
                        measured.push((node, moments(Batch::new(part, of_part).expect("fits"))));
                    }
                }
                let merged: Moments = plan.merge(measured).expect("some rows").expect("fits");
                assert_eq!(merged, whole, "{layout}, {ends:?}");
            }
        }
    }

    #[test]
    fn every_division_in_whole_chunks_has_the_bits_of_one_process() {
        divisions(Layout::nc(11 * 512 + 100, 64), 512);
        divisions(Layout::nc(5 * 512 * 16, 5), 512 * 16);
        divisions(Layout::ncl(7 * 8 + 3, 2, 4096), 8);
        divisions(Layout::ncl(9 * 682, 1, 48), 682);
        divisions(Layout::ncl(5, 1, 40_000), 1);
    }

    #[test]
    fn chunks_are_those_of_the_documentation() {
        assert_eq!(
            [chunk_outer(64, 1), chunk_outer(63, 1), chunk_outer(1, 1), chunk_outer(8, 8)],
            [512, 1024, 32768, 512]
        );
        assert_eq!([chunk_outer(3, 32), chunk_outer(3, 3136), chunk_outer(3, 99_999)], [1024, 10, 1]);
    }

    #[test]
    fn other_shards_are_one_node_each() {
        // Not whole chunks; different planes; and ranks without rows, which have no nodes.
        for shapes in [shapes(&[100, 0, 512, 7], 1), [shapes(&[512, 0], 1), shapes(&[512, 512], 2)].concat()] {
            let plan = Plan::new(64, shapes.clone());
            let nodes: Vec<_> =
                (0..4).flat_map(|rank| plan.nodes(rank).into_iter().map(move |node| (rank, node))).collect();
            assert_eq!(nodes, [(0, 0..1), (2, 1..2), (3, 2..3)]);
            assert_eq!(plan.blocks(2, &nodes[1].1), 0..shapes[2].outer as usize);
        }
        assert!(Plan::new(64, shapes(&[0, 0], 1)).merge(Vec::<(_, Moments)>::new()).is_none());
    }
}
