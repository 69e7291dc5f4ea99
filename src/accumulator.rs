//! Moments of rows that arrive in pieces, with the bits of one call.

use std::fmt;

use crate::spec::Order;
use crate::{Batch, Element, Error, Layout, Moments, Path, Result};

/// Collects rows in any split and gives the bits that one call on all of them would give.
///
/// It keeps the rows of the chunk that is not full yet and the moments of the whole subtrees so far: at most
/// `log2(chunks) + 1` times four f64 per feature, and less than one chunk of rows. That is 512 rows, or 32,768 to 65,536
/// values where there are fewer than 64 columns; where `inner >= 32`, 32,768 values of each feature, or one plane.
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
    features: usize,
    inner: usize,
    /// Outer blocks of a chunk.
    chunk_outer: usize,
    /// Outer blocks after the last whole chunk, fewer than a chunk.
    pending: Vec<T>,
    /// Whole subtrees, largest first: chunks (a power of two) and their moments.
    subtrees: Vec<(usize, Moments)>,
}

impl<T: Element> Accumulator<T> {
    /// Nothing yet; batches will be `[any, features, inner]`.
    ///
    /// # Errors
    /// [`Error::Overflow`] or [`Error::EmptyTooWide`] where no batch of that shape could have a row.
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

    /// How to compute. Results are the same bits.
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

    /// How this accumulator computes.
    ///
    /// ```
    /// # use batchnorm::{Accumulator, Path};
    /// assert_eq!(Accumulator::<f32>::new(5, 1)?.path(), Path::Auto);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn path(&self) -> Path {
        self.path
    }

    /// Adds the rows of a batch behind those before it.
    ///
    /// # Errors
    /// [`Error::LayoutMismatch`] where the batch has other features or another inner size. Nothing changes then.
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
        if layout != expected {
            return Err(Error::LayoutMismatch { input: layout, output: expected });
        }
        let chunk = self.chunk_values();
        let mut rows = x.data();
        if rows.is_empty() {
            return Ok(());
        }
        if !self.pending.is_empty() {
            let (head, tail) = rows.split_at(rows.len().min(chunk - self.pending.len()));
            self.keep(head);
            rows = tail;
            if self.pending.len() == chunk {
                let full = std::mem::take(&mut self.pending);
                self.push(&full);
                self.pending = full;
                self.pending.clear();
            }
        }
        while rows.len() >= chunk {
            // The largest subtree that starts here and is full: as many chunks as those before are a multiple of.
            let before = self.subtrees.last().map_or(usize::MAX, |(chunks, _)| *chunks);
            let chunks = (1 << (rows.len() / chunk).ilog2()).min(before);
            let (head, tail) = rows.split_at(chunks * chunk);
            self.push(head);
            rows = tail;
        }
        self.keep(rows);
        Ok(())
    }

    /// Moments of all rows so far. More can be added afterwards.
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
            joined.merge(&right).expect("same features");
            right = joined;
        }
        right
    }

    /// Keeps rows until they fill a chunk, in memory for no more than that.
    fn keep(&mut self, rows: &[T]) {
        let needed = self.pending.len() + rows.len();
        if needed > self.pending.capacity() {
            let room = (2 * self.pending.capacity()).min(self.chunk_values()).max(needed);
            self.pending.reserve_exact(room - self.pending.len());
        }
        self.pending.extend_from_slice(rows);
    }

    /// Adds whole chunks, a power of two of them, and joins subtrees of equal size.
    fn push(&mut self, rows: &[T]) {
        let mut chunks = rows.len() / self.chunk_values();
        let mut moments = self.path.moments(self.batch(rows));
        while let Some((_, mut left)) = self.subtrees.pop_if(|(size, _)| *size == chunks) {
            left.merge(&moments).expect("same features");
            (chunks, moments) = (2 * chunks, left);
        }
        self.subtrees.push((chunks, moments));
    }

    fn batch<'a>(&self, rows: &'a [T]) -> Batch<'a, T> {
        let outer = rows.len().checked_div(self.features * self.inner).unwrap_or(0);
        let layout = Layout::new(outer, self.features, self.inner);
        Batch::new(rows, layout).expect("whole outer blocks")
    }

    fn chunk_values(&self) -> usize {
        self.chunk_outer.saturating_mul(self.features * self.inner)
    }
}

/// The shape and how much has come; no values.
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
