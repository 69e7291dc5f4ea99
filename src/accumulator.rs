//! Moments of rows that arrive in pieces, bit-identical to those of a single call.

use alloc::vec::Vec;
use core::fmt;

use crate::error::check_same;
use crate::spec::Order;
use crate::{Batch, Element, Error, Layout, Moments, Path, Result};

/// Computes moments from batches of any size. The result is bit-identical to a single call on all rows.
///
/// An accumulator keeps the rows of the last, incomplete chunk and the moments of the complete subtrees so far. The
/// moments take at most `log2(chunks) + 1` times five f64 and a count per feature. The rows are fewer than one chunk,
/// which is 512 rows if there are at least 64 columns, 32,768 to 65,536 values if there are fewer, and, where
/// `inner >= 32`, 32,768 values of each feature or one plane if that is longer.
///
/// ```
/// use batchnorm::{Accumulator, Batch, Layout, moments};
///
/// let data: Vec<f32> = (0..40_000).map(|i| (i as f32).sqrt()).collect();
/// let mut rows = Accumulator::new(4, 1)?;
/// for piece in data.chunks(4 * 77) {
///     rows.update(Batch::new(piece, Layout::nc(piece.len() / 4, 4))?)?;
/// }
/// assert_eq!(rows.moments(), moments(Batch::new(&data, Layout::nc(10_000, 4))?));
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Accumulator<T> {
    path: Path,
    pub(crate) features: usize,
    pub(crate) inner: usize,
    /// Outer blocks per chunk.
    pub(crate) chunk_outer: usize,
    /// Values of the outer blocks after the last complete chunk: fewer than a chunk.
    pub(crate) pending: Vec<T>,
    /// Complete subtrees, largest first: their number of chunks (a power of two) and their moments.
    pub(crate) subtrees: Vec<(usize, Moments)>,
}

impl<T: Element> Accumulator<T> {
    /// Creates an empty accumulator for batches of shape `[any, features, inner]`.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a single outer block has more values than a slice can hold, [`Error::EmptyTooWide`] if
    /// there are more than 2^24 features.
    ///
    /// ```
    /// let rows = batchnorm::Accumulator::<f32>::new(5, 1)?;
    /// assert_eq!(rows.moments().count(0), 0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn new(features: usize, inner: usize) -> Result<Self> {
        let _ = Batch::<T>::new(&[], Layout::new(0, features, inner))?;
        let layout = Layout::new(1, features, inner);
        layout.checked_len().ok_or(Error::Overflow { layout })?;
        let order = Order::new(Layout::new(0, features, inner));
        Ok(Accumulator {
            path: Path::Auto,
            features,
            inner,
            chunk_outer: order.chunk_outer,
            pending: Vec::new(),
            subtrees: Vec::new(),
        })
    }

    /// Sets the path (default: [`Path::Auto`]). All paths give bit-identical results; only speed differs.
    ///
    /// ```
    /// # use batchnorm::{Accumulator, Isa, Path};
    /// let rows = Accumulator::<f32>::new(5, 1)?.with_path(Path::Simd(Isa::detect())); // never on other threads
    /// assert_eq!(rows.path(), Path::Simd(Isa::detect()));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn with_path(mut self, path: Path) -> Self {
        self.path = path;
        self
    }

    /// Returns the path.
    ///
    /// ```
    /// # use batchnorm::{Accumulator, Path};
    /// assert_eq!(Accumulator::<f32>::new(5, 1)?.path(), Path::Auto);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn path(&self) -> Path {
        self.path
    }

    /// Adds the rows of a batch after those added before.
    ///
    /// # Errors
    /// [`Error::LayoutMismatch`] if the batch has a different number of features or a different inner size; a failed
    /// call leaves everything unchanged.
    ///
    /// ```
    /// # use batchnorm::{Accumulator, Batch, Layout};
    /// let mut rows = Accumulator::new(2, 1)?;
    /// rows.update(Batch::new(&[1.0f32, 10.0, 3.0, 10.0], Layout::nc(2, 2))?)?;
    /// assert_eq!(rows.moments().mean(0), 2.0);
    /// assert!(rows.update(Batch::new(&[1.0f32], Layout::nc(1, 1))?).is_err());
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn update(&mut self, x: Batch<'_, T>) -> Result<()> {
        let layout = x.layout();
        let expected = Layout::new(layout.outer(), self.features, self.inner);
        check_same(layout, expected)?;
        if x.data().is_empty() {
            return Ok(());
        }
        let (mut at, end) = (0, layout.outer());
        let pending = self.pending.len() / (self.features * self.inner);
        if pending > 0 {
            at = end.min(self.chunk_outer - pending);
            self.keep(x.blocks(0..at));
            if self.pending.len() == self.chunk_values() {
                let full = core::mem::take(&mut self.pending);
                self.push(self.batch(&full));
                self.pending = full;
                self.pending.clear();
            }
        }
        while end - at >= self.chunk_outer {
            // Add the largest complete subtree that can start here. It has at most as many chunks as the last subtree,
            // because the number of chunks so far is a multiple of that.
            let before = self.subtrees.last().map_or(usize::MAX, |(chunks, _)| *chunks);
            let chunks = (1 << ((end - at) / self.chunk_outer).ilog2()).min(before);
            let next = at + chunks * self.chunk_outer;
            self.push(x.blocks(at..next));
            at = next;
        }
        self.keep(x.blocks(at..end));
        Ok(())
    }

    /// Returns the moments of all rows so far. More rows can be added afterwards.
    ///
    /// This sums the rows of the incomplete chunk again and merges up to `log2(chunks)` subtrees. To read after every
    /// row, [`Welford`](crate::Welford) is faster (`cargo bench --bench stream`).
    ///
    /// ```
    /// # use batchnorm::{Accumulator, Batch, Layout};
    /// let mut rows = Accumulator::new(1, 1)?;
    /// rows.update(Batch::new(&[1.0f64, 3.0], Layout::nc(2, 1))?)?;
    /// assert_eq!(rows.moments().m2(0), 2.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn moments(&self) -> Moments {
        let mut right = self.path.moments(self.batch(&self.pending));
        for (_, left) in self.subtrees.iter().rev() {
            let mut joined = left.clone();
            self.path.merge(&mut joined, &right).expect("same features");
            right = joined;
        }
        right
    }

    /// Keeps rows until they fill a chunk. The buffer never grows beyond one chunk.
    fn keep(&mut self, rows: Batch<'_, T>) {
        let block = self.features * self.inner;
        let needed = self.pending.len() + rows.layout().outer() * block;
        if needed > self.pending.capacity() {
            let room = (2 * self.pending.capacity()).min(self.chunk_values()).max(needed);
            self.pending.reserve_exact(room - self.pending.len());
        }
        match rows.contiguous() {
            Some(rows) => self.pending.extend_from_slice(rows),
            None => {
                let blocks = rows.data().chunks(rows.layout().outer_stride());
                blocks.for_each(|rows| self.pending.extend_from_slice(&rows[..block]));
            }
        }
    }

    /// Adds `2^k` complete chunks and merges subtrees of equal size.
    fn push(&mut self, rows: Batch<'_, T>) {
        let mut chunks = rows.layout().outer() / self.chunk_outer;
        let mut moments = self.path.moments(rows);
        while let Some((_, mut left)) = self.subtrees.pop_if(|(size, _)| *size == chunks) {
            self.path.merge(&mut left, &moments).expect("same features");
            (chunks, moments) = (2 * chunks, left);
        }
        self.subtrees.push((chunks, moments));
    }

    fn batch<'a>(&self, rows: &'a [T]) -> Batch<'a, T> {
        let outer = rows.len().checked_div(self.features * self.inner).unwrap_or(0);
        let layout = Layout::new(outer, self.features, self.inner);
        Batch::new(rows, layout).expect("whole outer blocks")
    }

    pub(crate) fn chunk_values(&self) -> usize {
        self.chunk_outer.saturating_mul(self.features * self.inner)
    }
}

/// Prints the shape and the number of pending values, but not the values.
impl<T> fmt::Debug for Accumulator<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accumulator")
            .field("features", &self.features)
            .field("inner", &self.inner)
            .field("pending_values", &self.pending.len())
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
