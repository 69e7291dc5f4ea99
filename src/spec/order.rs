//! The canonical order: which values are added to which, and when. Every path follows it, so every path gives the same
//! bits. It depends on the layout alone, never on lanes or threads.
//!
//! A batch is cut along its outer axis into **chunks**. In a chunk each feature has several **accumulators**, partial sums
//! that grow side by side. The rows of a chunk come in **groups** of eight; a group gives each accumulator its next eight
//! values. There are two views of a batch:
//!
//! - The *row view*, for `inner < 32`. A row is `interleave` outer blocks, one behind the other: `interleave * features *
//!   inner` contiguous values. Each column of the row has its own accumulator. `interleave` is the smallest power of two
//!   that gives a row at least 64 columns, so that narrow batches fill wide lanes, too; it is 1 from 64 columns on. A
//!   chunk has 512 rows.
//! - The *plane view*, for `inner >= 32`. A group is 64 contiguous values of a plane: eight rows for eight accumulators.
//!   Each plane begins a group. A chunk has as many whole planes as make 32,768 values, at least one; longer planes are
//!   cut.
//!
//! The steps, for each feature of a chunk:
//!
//! 1. **Shift.** A sample is taken from the middle of the chunk: one group in the row view ([`sample_group`]), some 512
//!    values in the plane view ([`ChunkRange::sample`]). The shift is the mean of the sample, rounded to the element type.
//!    For f32 values whose sample mean lies within two standard deviations from 0 it is 0 ([`zero_shift`]): deviations are
//!    then the values themselves. It is also 0 where the sample's mean is not finite (step 5 follows then).
//! 2. **Accumulate.** Each accumulator sums `d = x - shift` and `d * d`, a group at a time: `((d0 + d1) + (d2 + d3)) +
//!    ((d4 + d5) + (d6 + d7))` is added to it. Missing values count as `d = 0`. Each segment of 64 groups has accumulators
//!    of its own, which are then added to those of the segments before it. For f64 values the sums are compensated: each `d`
//!    is added by itself, and the rounding error of each addition, here and in step 3, is added to a compensation term
//!    (Knuth's two-sum). Of `d * d`, the square of d's upper half is added, which is exact, and the remainder goes to the
//!    compensation term.
//! 3. **Horizontal reduction.** Accumulators `j` and `j + n / 2` are added until one is left. In the row view this is done
//!    over `interleave` first, then over `inner` (with `n` rounded up to a power of two).
//! 4. **Finalize.** `q = sum / count`. The mean is the double-double `shift + q`; `m2 = sum of squares - sum * q`, at
//!    least 0. For f64 values every rounding error of this step is kept, too.
//! 5. **Check.** The chunk's result is rejected where it is not finite, where the sum of squares exceeds `m2` 2.2 times
//!    (f32: 16 times), or where the sum of squares is tiny ([`TINY_SQUARES`]) but not 0. Steps 2 to 4 are then repeated
//!    with the mean just found (not rounded to the element type) as the shift. If that is rejected as well, the fallback
//!    computes the chunk ([`crate::spec::fallback`]).
//!
//! The sums of the sample follow steps 2 and 3 with a shift of 0, always pairwise and never compensated.
//!
//! Chunks are merged by Chan's formula, in double-doubles throughout, in a binary **tree**. A node of `n > 1` chunks gives
//! its left child the largest power of two below `n`. A plane longer than a chunk is cut into pieces, which form such a
//! tree of their own, so that whole outer blocks can be added later.
//!
//! Why these numbers: at 512 rows (or 32,768 values) a chunk, the work that is done once per chunk does not show. Segments
//! of 64 groups keep the rounding error near one unit. The sample holds `m` of the chunk's `n` values, at least 1 / 64 of
//! them; a shift that is its mean lies within `sqrt(m2 / m)` of the mean of all (Cauchy and Schwarz). So `sum of squares /
//! m2` is at most 65 for any data. It is about 1.1 for values in random order, and below 5 for trends and walks. A shift
//! of 0 makes it up to 5 for the sample; its deviations and their squares are exact.

use std::ops::Range;

use crate::{Element, Layout};

/// Rows of a group: they are added pairwise before they join an accumulator.
pub(crate) const GROUP_ROWS: usize = 8;

/// Groups of a segment, which has accumulators of its own.
pub(crate) const SEGMENT_GROUPS: usize = 64;

/// The fewest columns of a row in the row view, each with an accumulator.
pub(crate) const ROW_ACCUMULATORS: usize = 64;

/// Rows of a chunk in the row view: one segment.
const CHUNK_ROWS: usize = SEGMENT_GROUPS * GROUP_ROWS;

/// Accumulators of a feature in the plane view.
pub(crate) const PLANE_ACCUMULATORS: usize = 8;

/// Values of a group in the plane view.
pub(crate) const GROUP_POSITIONS: usize = GROUP_ROWS * PLANE_ACCUMULATORS;

/// Values per feature of a chunk in the plane view, but for one long plane.
const CHUNK_POSITIONS: usize = 32_768;

/// The fewest values of a sample in the plane view.
const SAMPLE: usize = 512;

/// Chunks of planes up to so many values are their own sample: with a shift of 0, that is all the work.
const OWN_SAMPLE: usize = 2048;

/// The plane view begins at this `inner`.
const PLANE_VIEW_INNER: usize = 32;

/// Sums of squares below this have lost digits to the end of f64's range: not even 0 can be told from others.
pub(crate) const TINY_SQUARES: f64 = f64::from_bits((1023 - 960) << 52);

/// The group that is the sample in the row view: the middle one, or the only one.
pub(crate) fn sample_group(rows: usize) -> usize {
    (rows.div_ceil(GROUP_ROWS) - 1) / 2
}

/// Whether the mean of a sample of `count` f32 values lies within two standard deviations from 0: `mean^2 <= 4 *
/// variance`, without its divisions. False for a NaN.
pub(crate) fn zero_shift(sum: f64, squares: f64, count: f64) -> bool {
    1.25 * (sum * sum) <= squares * count
}

/// How the values of a chunk make rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// The row view.
    Rows {
        /// Outer blocks in one row: a power of two.
        interleave: usize,
    },
    /// The plane view.
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

/// A node of the tree: some chunks of whole planes; or, where planes are cut, some pieces of the planes of one.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// Runs of `chunk_outer` outer blocks.
    blocks: Range<usize>,
    /// Parts of each of their planes.
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

/// Splits `n > 1` chunks at the largest power of two below `n`.
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
        if inner >= PLANE_VIEW_INNER {
            return Order {
                layout,
                view: View::Planes,
                chunk_outer: (CHUNK_POSITIONS / inner).max(1),
                pieces: inner.div_ceil(CHUNK_POSITIONS),
            };
        }
        // An empty batch may have any width; it has no chunks.
        let width = layout.features().saturating_mul(inner).max(1);
        let interleave = ROW_ACCUMULATORS.div_ceil(width).next_power_of_two();
        Order { layout, view: View::Rows { interleave }, chunk_outer: CHUNK_ROWS * interleave, pieces: 1 }
    }

    /// The root of the tree; of a batch that has values.
    pub(crate) fn root(&self) -> Span {
        Span { blocks: 0..self.layout.outer().div_ceil(self.chunk_outer), pieces: 0..self.pieces }
    }

    /// Accumulators of so many features in one row, or of one feature in the plane view.
    pub(crate) fn accumulators(&self, features: usize) -> usize {
        match self.view {
            View::Rows { interleave } => interleave * features * self.layout.inner(),
            View::Planes => PLANE_ACCUMULATORS,
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
