//! The canonical order: which values are added to which, and when. Every path follows it, so all paths give
//! bit-identical results. It depends on the layout alone, never on lanes or threads.
//!
//! A batch is cut along its outer axis into **chunks**. In a chunk, each feature has several **accumulators**: partial
//! sums that are kept separate until the end of the chunk. The rows of a chunk form **groups** of eight; each group
//! adds eight values to each accumulator. There are two views of a batch:
//!
//! - The *row view*, for `inner < 32`. A row is `interleave` consecutive outer blocks, that is,
//!   `interleave * features * inner` contiguous values. Each column of a row has its own accumulator. The **interleave
//!   factor** `interleave` is the smallest power of two that gives a row at least 64 columns, so that narrow batches
//!   fill wide lanes too; from 64 columns on, it is 1. A chunk has 512 rows.
//! - The *plane view*, for `inner >= 32`. A group is 64 contiguous values of a plane: eight rows of one value for each
//!   of eight accumulators. Each plane starts a new group. A chunk has as many whole planes as fit into 32,768 values,
//!   but at least one; longer planes are cut.
//!
//! The steps, for each feature of a chunk:
//!
//! 1. **Shift.** A sample is taken from the middle of the chunk: one group in the row view ([`sample_group`]), at least
//!    512 values in the plane view ([`ChunkRange::sample`]). The shift is the mean of the sample, `sum * (1 / count)`,
//!    rounded to the element type. For f32 values whose sample mean lies within two standard deviations of 0, the shift
//!    is 0 instead ([`zero_shift`]): the deviations are then the values themselves. The shift is also 0 if the mean of
//!    the sample is not finite (step 5 then rejects the result).
//! 2. **Accumulate.** Each accumulator sums `d = x - shift` and `d * d`, a group at a time:
//!    `((d0 + d1) + (d2 + d3)) + ((d4 + d5) + (d6 + d7))` is added to it. Missing values count as `d = 0`. Each
//!    **segment** of 64 groups has its own accumulators, which are then added to those of the segments before it. For
//!    f64 values the sums are compensated: each `d` is added on its own, and the rounding error of each addition, here
//!    and in step 3, is added to a **compensation term** (Knuth's two-sum). Of `d * d`, the square of the upper half of
//!    `d`, which is exact, is added to the sum, and the remainder is added to the compensation term.
//! 3. **Horizontal reduction.** Of `n` accumulators, `j` and `j + n / 2` are added, until one is left. In the row view
//!    this is done over `interleave` first, then over `inner` (with `n` rounded up to a power of two).
//! 4. **Finalize.** `q = sum / count`. The mean is `shift + q`; `m2 = sum of squares - sum * q`, but at least 0. For
//!    f32 values the mean has two words. For f64 values every rounding error of this step is kept: q and m2 have two
//!    words, the mean has three.
//! 5. **Check.** The result of the chunk is rejected if it is not finite, if the sum of squares is more than 2.2 times
//!    `m2` (f32: 16 times), or if the sum of squares is tiny ([`TINY_SQUARES`]) but not 0. Steps 2 to 4 are then
//!    repeated with the mean just found (not rounded to the element type) as the shift. If that result is rejected as
//!    well, the fallback computes the chunk ([`spec::fallback`](crate::spec::fallback)).
//!
//! The sums of the sample follow steps 2 and 3 with a shift of 0. They are always pairwise and never compensated.
//!
//! Chunks are merged by Chan's formula in a binary **tree**, m2 in two words and the mean in three (its low word keeps
//! a merge from rounding a standard deviation that is near the last place of the mean). A node of `n > 1` chunks gives
//! its left child the largest power of two below `n`. A plane longer than a chunk is cut into pieces, which form such a
//! tree of their own, so that whole outer blocks can be added later.
//!
//! Why these numbers: with 512 rows (or 32,768 values) per chunk, the work that is done once per chunk is negligible.
//! Segments of 64 groups keep the rounding error near one unit. The sample holds `m` of the chunk's `n` values, at
//! least 1 / 64 of them. If the shift is exactly their mean, the ratio of the sum of squares to `m2` is at most `n / m`
//! for any data (by the Cauchy-Schwarz inequality): about 1.1 for values in random order, below 5 for trends and walks,
//! at most 64. Rounding the shift to the element type may double that, and a shift of 0 may make it five times as much;
//! in return, the deviations about 0 and their squares are exact. No bound is relied on: step 5 checks the ratio.

use core::ops::Range;

use super::power_of_two;
use crate::{Batch, Element, Layout};

/// Rows in a group. Their values are summed pairwise before they are added to an accumulator.
pub(crate) const GROUP_ROWS: usize = 8;

/// Groups in a segment. Each segment has its own accumulators.
pub(crate) const SEGMENT_GROUPS: usize = 64;

/// Fewest columns of a row in the row view. Each column has an accumulator.
pub(crate) const ROW_ACCUMULATORS: usize = 64;

/// Rows in a chunk in the row view: one segment.
const CHUNK_ROWS: usize = SEGMENT_GROUPS * GROUP_ROWS;

/// Accumulators of one feature in the plane view.
pub(crate) const PLANE_ACCUMULATORS: usize = 8;

/// Values in a group in the plane view.
pub(crate) const GROUP_POSITIONS: usize = GROUP_ROWS * PLANE_ACCUMULATORS;

/// Most values per feature in a chunk in the plane view. Longer planes are cut.
const CHUNK_POSITIONS: usize = 32_768;

/// Fewest values in a sample in the plane view, unless the chunk is its own sample.
const SAMPLE: usize = 512;

/// In the plane view, chunks with at most this many values per feature are their own sample. If their shift is 0, the
/// sums of the sample are the result.
const OWN_SAMPLE: usize = 2048;

/// Smallest `inner` for which the plane view is used.
pub(crate) const PLANE_VIEW_INNER: usize = 32;

/// Sums of squares below this, other than 0, may have lost digits to underflow.
pub(crate) const TINY_SQUARES: f64 = power_of_two(-960);

/// Returns the index of the group that is the sample in the row view: the middle group, or the only one.
pub(crate) fn sample_group(rows: usize) -> usize {
    (rows.div_ceil(GROUP_ROWS) - 1) / 2
}

/// Returns whether the mean of a sample of `count` f32 values lies within two standard deviations of 0:
/// `mean^2 <= 4 * variance`, computed without divisions. False for NaN.
pub(crate) fn zero_shift(sum: f64, squares: f64, count: f64) -> bool {
    ZERO_SHIFT * (sum * sum) <= squares * count
}

/// `1 + 1 / 4`: `mean^2 <= 4 * (squares / count - mean^2)` is `(1 + 1 / 4) * mean^2 <= squares / count`.
pub(crate) const ZERO_SHIFT: f64 = 1.25;

/// How the values of a chunk form rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// The row view.
    Rows {
        /// The interleave factor: the outer blocks in one row, a power of two.
        interleave: usize,
    },
    /// The plane view.
    Planes,
}

/// The canonical order for one layout, whatever its outer stride. The layout must be one that a batch accepted, so that
/// products do not overflow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) layout: Layout,
    pub(crate) view: View,
    /// Outer blocks per chunk.
    pub(crate) chunk_outer: usize,
    /// Chunks per plane: more than 1 only for planes longer than a chunk, which are cut.
    pieces: usize,
}

/// A node of the tree: a range of chunks of whole planes or, where planes are cut, a range of pieces of the planes of
/// one outer block.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// A range of blocks, each of `chunk_outer` outer blocks.
    blocks: Range<usize>,
    /// A range of pieces of each of their planes.
    pieces: Range<usize>,
}

impl Span {
    /// Returns the children, or `None` if this node is one chunk.
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

    /// Returns the number of levels below this node.
    pub(crate) fn depth(&self) -> usize {
        let levels = |n: usize| n.max(1).next_power_of_two().ilog2() as usize;
        levels(self.blocks.len()) + levels(self.pieces.len())
    }
}

/// Splits `n > 1` chunks at the largest power of two below `n`.
fn halves(range: &Range<usize>) -> (Range<usize>, Range<usize>) {
    let middle = range.start + (1 << (range.len() - 1).ilog2());
    (range.start..middle, middle..range.end)
}

/// The part of a batch that a chunk or several cover: a range of outer blocks, and a range of positions in their planes.
#[derive(Clone, Debug)]
pub(crate) struct ChunkRange {
    pub(crate) outer: Range<usize>,
    pub(crate) positions: Range<usize>,
}

impl ChunkRange {
    /// Returns the number of values per feature.
    pub(crate) fn count(&self) -> usize {
        self.outer.len() * self.positions.len()
    }

    /// Returns the sample in the plane view: the middle positions of the middle planes, or the whole chunk if it is
    /// small.
    pub(crate) fn sample(&self) -> ChunkRange {
        if self.count() <= OWN_SAMPLE {
            return self.clone();
        }
        let (planes, positions) = (self.outer.len(), self.positions.len());
        let (sampled_planes, sampled_positions) = (SAMPLE.div_ceil(positions).min(planes), SAMPLE.min(positions));
        let outer = self.outer.start + (planes - sampled_planes) / 2;
        let position = self.positions.start + (positions - sampled_positions) / 2;
        ChunkRange { outer: outer..outer + sampled_planes, positions: position..position + sampled_positions }
    }
}

impl Order {
    pub(crate) fn new(layout: Layout) -> Self {
        let inner = layout.inner();
        if inner >= PLANE_VIEW_INNER {
            return Order {
                layout,
                view: View::Planes,
                chunk_outer: (CHUNK_POSITIONS / inner).max(1),
                pieces: inner.div_ceil(CHUNK_POSITIONS),
            };
        }
        // An empty batch may have any width, even one that overflows. It has no chunks.
        let width = layout.features().saturating_mul(inner).max(1);
        let interleave = ROW_ACCUMULATORS.div_ceil(width).next_power_of_two();
        Order { layout, view: View::Rows { interleave }, chunk_outer: CHUNK_ROWS * interleave, pieces: 1 }
    }

    /// Returns the root of the tree. The batch must have values.
    pub(crate) fn root(&self) -> Span {
        Span { blocks: 0..self.layout.outer().div_ceil(self.chunk_outer), pieces: 0..self.pieces }
    }

    /// Returns the number of accumulators of `features` features in the row view, or of one feature in the plane view.
    pub(crate) fn accumulators(&self, features: usize) -> usize {
        match self.view {
            View::Rows { interleave } => interleave * features * self.layout.inner(),
            View::Planes => PLANE_ACCUMULATORS,
        }
    }

    /// Returns the part of the batch below a node of the tree.
    pub(crate) fn range(&self, span: &Span) -> ChunkRange {
        let (blocks, pieces) = (&span.blocks, &span.pieces);
        let (outer, inner) = (self.layout.outer(), self.layout.inner());
        let end = if self.pieces == 1 { inner } else { (pieces.end * CHUNK_POSITIONS).min(inner) };
        ChunkRange {
            outer: blocks.start * self.chunk_outer..(blocks.end * self.chunk_outer).min(outer),
            positions: pieces.start * CHUNK_POSITIONS..end,
        }
    }

    /// Iterates over the values of one feature in a chunk.
    pub(crate) fn values<'a, T: Element>(
        &self,
        x: Batch<'a, T>,
        range: &ChunkRange,
        feature: usize,
    ) -> impl Iterator<Item = f64> + Clone + use<'a, T> {
        let (stride, inner) = (x.layout().outer_stride(), self.layout.inner());
        let positions = range.positions.clone();
        range.outer.clone().flat_map(move |outer| {
            let plane = outer * stride + feature * inner;
            x.data()[plane + positions.start..plane + positions.end].iter().map(|x| x.to_f64())
        })
    }
}
