//! The canonical order: which values are added to which, and when. Every path follows it, so every path gives the same
//! bits; it depends on the layout alone, never on lanes or threads.
//!
//! A batch is cut along its outer axis into **chunks**. In a chunk each feature has some **streams**, sums that grow side
//! by side, and **groups** of eight rows, which give every stream its next eight values:
//!
//! - `inner < 32`, the *row view*: a row is `side` outer blocks side by side, `side * features * inner` contiguous
//!   values, each the next value of its own stream. `side` is the smallest power of two that makes at least 64 streams,
//!   so a narrow batch fills wide lanes too; it is 1 from 64 columns on. A chunk has 512 rows.
//! - `inner >= 32`, the *plane view*: a group is 64 contiguous values of a plane, eight rows of eight streams; each plane
//!   begins a group. A chunk has as many whole planes as make 32,768 values, at least one; longer planes are cut.
//!
//! Within a chunk, per feature:
//!
//! 1. The **pivot** comes from a sample in the middle of the chunk: one group in the row view ([`sample_group`]), some 512
//!    values in the plane view ([`ChunkRange::sample`]). It is their mean, rounded to the element type; or 0, for f32
//!    values, where that mean lies within two standard deviations of the sample from 0 ([`zero_pivot`]): then deviations
//!    are the values themselves. Where the mean is not finite it is 0, too (and step 5 follows).
//! 2. Each stream sums `d = x - pivot` and `d * d`, a group at a time: `((d0 + d1) + (d2 + d3)) + ((d4 + d5) + (d6 +
//!    d7))` is added to the stream's total. Values that are missing count as `d = 0`. Of each 64 groups a total of their
//!    own is made, and added to those before. For f64 values each `d` joins the total by itself, and the rounding error
//!    of each addition, here and in step 3, is summed beside it (Knuth's two-sum). Of `d * d` the square of the upper
//!    half of d's digits joins the total, which is exact; the rest is summed beside, too.
//! 3. The totals are folded in halves: stream `j` and stream `j + n / 2` are added until one is left, in the row view
//!    first over `side`, then over `inner` (there `n` is rounded up to a power of two).
//! 4. `q = sum / count`; the mean is the unevaluated pair `pivot + q`; `m2 = sum of squares - sum * q`, at least 0. For
//!    f64 values every rounding error of this step is kept, too.
//! 5. Where that is not finite, where the sum of squares exceeds `m2` 2.2 times (f32: 16 times), or where it is tiny
//!    ([`TINY_SQUARES`]) but not 0, steps 2 to 4 are done again with that mean (not rounded to the element type) as the
//!    pivot. If the same holds then, the chunk is computed with care ([`crate::careful`]).
//!
//! The sums of the sample (always pairwise, never compensated) follow steps 2 and 3 with a pivot of 0.
//!
//! Chunks are joined by Chan's formula, in pairs throughout, in a binary tree: of `n > 1` chunks the left child takes the
//! largest power of two below `n`. A plane longer than a chunk is cut into pieces, which form such a tree of their own, so
//! that whole outer blocks can be added later.
//!
//! The numbers: 512 rows (or 32,768 values) a chunk are enough that what is done once per chunk does not show; totals of 64
//! groups keep rounding near one unit. The sample is at least 1 / 64 of the values, so a pivot that is its mean lies
//! within `sqrt(m2 / m)` of the mean of all `n` (Cauchy and Schwarz, `m` values in the sample): `sum of squares / m2` is at
//! most 65 for any data; about 1.1 where the order means nothing, and within a few for trends and walks. A pivot of 0 makes it up to
//! 5 for the sample; its deviations and their squares are exact.

use std::ops::Range;

use crate::{Element, Layout};

/// Rows that are added pairwise before they join a running sum.
pub(crate) const GROUP_ROWS: usize = 8;

/// Groups that make a total of their own.
pub(crate) const RUN_GROUPS: usize = 64;

/// The fewest streams of a row in the row view.
pub(crate) const ROW_STREAMS: usize = 64;

/// Rows of a chunk in the row view: one total of 64 groups.
const CHUNK_ROWS: usize = RUN_GROUPS * GROUP_ROWS;

/// Streams in the plane view.
pub(crate) const PLANE_STREAMS: usize = 8;

/// Values of a group in the plane view.
pub(crate) const GROUP_POSITIONS: usize = GROUP_ROWS * PLANE_STREAMS;

/// Values of a chunk in the plane view, but for one plane.
const CHUNK_POSITIONS: usize = 32_768;

/// The fewest values of a sample in the plane view.
const SAMPLE: usize = 512;

/// Chunks of planes up to so many values are their own sample: with a pivot of 0, that is all the work.
const OWN_SAMPLE: usize = 2048;

/// From this `inner` on, planes are computed one by one.
const PLANE_MIN: usize = 32;

/// Sums of squares below this have lost digits to the end of f64's range: not even 0 can be told from others.
pub(crate) const TINY_SQUARES: f64 = f64::from_bits((1023 - 960) << 52);

/// The group that is the sample in the row view: the middle one, or the only one.
pub(crate) fn sample_group(rows: usize) -> usize {
    (rows.div_ceil(GROUP_ROWS) - 1) / 2
}

/// Whether the mean of a sample of `count` f32 values lies within two standard deviations from 0: `mean^2 <= 4 *
/// variance`, without its divisions. False for a NaN.
pub(crate) fn zero_pivot(sum: f64, squares: f64, count: f64) -> bool {
    1.25 * (sum * sum) <= squares * count
}

/// How the values of a chunk make rows and streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// A row is `side` outer blocks.
    Rows {
        /// Outer blocks side by side in one row: a power of two.
        side: usize,
    },
    /// A group is some values of one plane.
    Planes,
}

/// The canonical order of one layout. Made from layouts that a batch accepted, so products do not overflow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) layout: Layout,
    pub(crate) view: View,
    /// Outer blocks per chunk.
    pub(crate) chunk_outer: usize,
    /// Chunks per plane: 1, but for planes longer than a chunk, which are cut.
    pieces: usize,
}

/// A node of the tree: runs of outer blocks, all of their planes; or, of one run, some pieces of its planes.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    blocks: Range<usize>,
    pieces: Range<usize>,
}

impl Span {
    /// The children, unless this is one chunk.
    pub(crate) fn split(&self) -> Option<(Span, Span)> {
        if self.blocks.len() > 1 {
            let (left, right) = halves(&self.blocks);
            Some((Span { blocks: left, ..self.clone() }, Span { blocks: right, ..self.clone() }))
        } else if self.pieces.len() > 1 {
            let (left, right) = halves(&self.pieces);
            Some((Span { pieces: left, ..self.clone() }, Span { pieces: right, ..self.clone() }))
        } else {
            None
        }
    }

    /// The first chunk below this node.
    pub(crate) fn first(&self) -> Span {
        let (block, piece) = (self.blocks.start, self.pieces.start);
        Span { blocks: block..block + 1, pieces: piece..piece + 1 }
    }

    /// Chunks below this node.
    pub(crate) fn chunks(&self) -> usize {
        self.blocks.len() * self.pieces.len()
    }

    /// Levels below this node.
    pub(crate) fn depth(&self) -> usize {
        let levels = |n: usize| n.max(1).next_power_of_two().ilog2() as usize;
        levels(self.blocks.len()) + levels(self.pieces.len())
    }
}

/// Splits `n > 1` numbers at the largest power of two below `n`.
fn halves(range: &Range<usize>) -> (Range<usize>, Range<usize>) {
    let middle = range.start + (1 << (range.len() - 1).ilog2());
    (range.start..middle, middle..range.end)
}

/// The part of a batch that one chunk covers: these outer blocks, and these positions of their planes.
#[derive(Clone, Debug)]
pub(crate) struct ChunkRange {
    pub(crate) outer: Range<usize>,
    pub(crate) positions: Range<usize>,
}

impl ChunkRange {
    /// Values per feature.
    pub(crate) fn count(&self) -> usize {
        self.outer.len() * self.positions.len()
    }

    /// The sample in the plane view: the middle positions of the middle planes.
    pub(crate) fn sample(&self) -> ChunkRange {
        if self.count() <= OWN_SAMPLE {
            return self.clone();
        }
        let (planes, positions) = (self.outer.len(), self.positions.len());
        let (some, taken) = (SAMPLE.div_ceil(positions).min(planes), SAMPLE.min(positions));
        let outer = self.outer.start + (planes - some) / 2;
        let position = self.positions.start + (positions - taken) / 2;
        ChunkRange { outer: outer..outer + some, positions: position..position + taken }
    }
}

impl Order {
    pub(crate) fn new(layout: Layout) -> Self {
        let inner = layout.inner();
        if inner >= PLANE_MIN {
            return Order {
                layout,
                view: View::Planes,
                chunk_outer: (CHUNK_POSITIONS / inner).max(1),
                pieces: inner.div_ceil(CHUNK_POSITIONS),
            };
        }
        // An empty batch may have any width; it has no chunks.
        let width = layout.features().saturating_mul(inner).max(1);
        let side = ROW_STREAMS.div_ceil(width).next_power_of_two();
        Order { layout, view: View::Rows { side }, chunk_outer: CHUNK_ROWS * side, pieces: 1 }
    }

    /// The root of the tree; of a batch that has values.
    pub(crate) fn root(&self) -> Span {
        Span { blocks: 0..self.layout.outer().div_ceil(self.chunk_outer), pieces: 0..self.pieces }
    }

    /// Streams of so many features in one row, or of one feature in the plane view.
    pub(crate) fn streams(&self, features: usize) -> usize {
        match self.view {
            View::Rows { side } => side * features * self.layout.inner(),
            View::Planes => PLANE_STREAMS,
        }
    }

    /// What a node that does not split covers.
    pub(crate) fn chunk(&self, span: &Span) -> ChunkRange {
        let outer = span.blocks.start * self.chunk_outer;
        let position = span.pieces.start * CHUNK_POSITIONS;
        let last = if self.pieces == 1 { self.layout.inner() } else { position + CHUNK_POSITIONS };
        ChunkRange {
            outer: outer..(outer + self.chunk_outer).min(self.layout.outer()),
            positions: position..last.min(self.layout.inner()),
        }
    }

    /// The values of one feature in a chunk.
    pub(crate) fn values<'a, T: Element>(
        &self,
        x: &'a [T],
        range: &ChunkRange,
        feature: usize,
    ) -> impl Iterator<Item = f64> + Clone + use<'a, T> {
        let (features, inner) = (self.layout.features(), self.layout.inner());
        let positions = range.positions.clone();
        range.outer.clone().flat_map(move |outer| {
            let plane = (outer * features + feature) * inner;
            x[plane + positions.start..plane + positions.end].iter().map(|x| x.to_f64())
        })
    }
}
