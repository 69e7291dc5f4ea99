//! Layouts: every batch is `[outer, features, inner]`, row-major. There may be gaps between outer blocks.

use core::fmt;

/// The layout of a batch in a slice: `[outer, features, inner]`, row-major.
///
/// The value `(o, f, i)` is at index `(o * features + f) * inner + i`, unless [`Layout::with_outer_stride`] sets another
/// distance between outer blocks. A layout is plain data; [`Batch`](crate::Batch) checks it against a slice.
///
/// | tensor | layout |
/// |---|---|
/// | `[N, C]` | `(n, c, 1)` |
/// | `[N, C, L]` | `(n, c, l)` |
/// | `[N, C, H, W]` | `(n, c, h * w)` |
/// | `[N, C, D, H, W]` | `(n, c, d * h * w)` |
/// | `[N, H, W, C]` (channels last) | `(n * h * w, c, 1)` |
/// | `[C, N]`: a table column by column | `(1, c, n)` |
/// | `[N, C]`, some columns of a wider table | `(n, c, 1)`, outer stride: the width of the table |
/// | `[N, C, H, W]`, some channels of a larger buffer | `(n, c, h * w)`, outer stride: the size of a whole image |
///
/// ```
/// use batchnorm::Layout;
///
/// let layout = Layout::nchw(8, 64, 56, 56);
/// assert_eq!((layout.outer(), layout.features(), layout.inner()), (8, 64, 3136));
/// assert_eq!(layout, Layout::new(8, 64, 3136));
/// assert_eq!(layout.to_string(), "[outer 8, features 64, inner 3136]");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct Layout {
    outer: usize,
    features: usize,
    inner: usize,
    /// `None` if outer blocks follow one another without gaps.
    outer_stride: Option<usize>,
}

impl Layout {
    /// Creates a layout from its three dimensions. Any of them may be 0; the batch is then empty.
    ///
    /// ```
    /// assert_eq!(batchnorm::Layout::new(6, 5, 1), batchnorm::Layout::nc(6, 5));
    /// ```
    ///
    /// A table that is stored column by column, as data frames are, is a single block:
    ///
    /// ```
    /// use batchnorm::{Batch, Layout, moments};
    ///
    /// let columns = [1.0f32, 2.0, 6.0, 10.0, 10.0, 10.0]; // two columns of three values
    /// assert_eq!(moments(Batch::new(&columns, Layout::new(1, 2, 3))?).means(), [3.0, 10.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub const fn new(outer: usize, features: usize, inner: usize) -> Self {
        Layout { outer, features, inner, outer_stride: None }
    }

    /// Sets the distance, in values, from the start of an outer block (a row of `[N, C]`, an image of `[N, C, H, W]`) to
    /// the start of the next. Each block itself is contiguous. The values in the gaps are neither read nor written.
    /// [`Batch::new`](crate::Batch::new) rejects a distance that is smaller than a block.
    ///
    /// Results do not depend on the stride, and no batch is copied as a whole. Where rows have fewer than 64 columns, or
    /// less than 1 KiB (with small planes, up to 512 values), a few rows at a time are copied into a buffer in the
    /// first-level cache.
    ///
    /// Columns 1 and 2 of a table of four:
    ///
    /// ```
    /// use batchnorm::{Batch, Layout, moments};
    ///
    /// let table = [0.0f32, 1.0, 10.0, 0.0, 0.0, 3.0, 30.0, 0.0];
    /// let x = Batch::new(&table[1..], Layout::nc(2, 2).with_outer_stride(4))?;
    /// assert_eq!(moments(x).means(), [2.0, 20.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub const fn with_outer_stride(mut self, outer_stride: usize) -> Self {
        self.outer_stride = None;
        if outer_stride != self.outer_stride() {
            self.outer_stride = Some(outer_stride);
        }
        self
    }

    /// Creates the layout of `[N, C]`: rows of features.
    ///
    /// ```
    /// assert_eq!(batchnorm::Layout::nc(6, 5).features(), 5);
    /// ```
    pub const fn nc(n: usize, c: usize) -> Self {
        Self::new(n, c, 1)
    }

    /// Creates the layout of `[N, C, L]`: sequences, channels first.
    ///
    /// ```
    /// assert_eq!(batchnorm::Layout::ncl(6, 5, 7).inner(), 7);
    /// ```
    pub const fn ncl(n: usize, c: usize, l: usize) -> Self {
        Self::new(n, c, l)
    }

    /// Creates the layout of `[N, C, H, W]`: images, channels first. If the product exceeds `usize::MAX`, it saturates,
    /// and [`Batch::new`](crate::Batch::new) rejects the layout.
    ///
    /// ```
    /// assert_eq!(batchnorm::Layout::nchw(2, 3, 4, 5).inner(), 20);
    /// ```
    pub const fn nchw(n: usize, c: usize, h: usize, w: usize) -> Self {
        Self::new(n, c, h.saturating_mul(w))
    }

    /// Creates the layout of `[N, C, D, H, W]`: volumes, channels first. If the product exceeds `usize::MAX`, it
    /// saturates, and [`Batch::new`](crate::Batch::new) rejects the layout.
    ///
    /// ```
    /// assert_eq!(batchnorm::Layout::ncdhw(2, 3, 4, 5, 6).inner(), 120);
    /// ```
    pub const fn ncdhw(n: usize, c: usize, d: usize, h: usize, w: usize) -> Self {
        Self::new(n, c, product3(d, h, w))
    }

    /// Creates the layout of `[N, H, W, C]`: images, channels last. If the product exceeds `usize::MAX`, it saturates,
    /// and [`Batch::new`](crate::Batch::new) rejects the layout.
    ///
    /// ```
    /// assert_eq!(batchnorm::Layout::nhwc(2, 4, 5, 3), batchnorm::Layout::nc(40, 3));
    /// ```
    pub const fn nhwc(n: usize, h: usize, w: usize, c: usize) -> Self {
        Self::new(product3(n, h, w), c, 1)
    }

    /// Returns the number of blocks along the first axis: `N`, or `N * H * W` if channels come last.
    ///
    /// ```
    /// assert_eq!(batchnorm::Layout::nhwc(2, 4, 5, 3).outer(), 40);
    /// ```
    pub const fn outer(&self) -> usize {
        self.outer
    }

    /// Returns the number of features (columns or channels). Each feature has its own statistics.
    ///
    /// ```
    /// assert_eq!(batchnorm::Layout::nhwc(2, 4, 5, 3).features(), 3);
    /// ```
    pub const fn features(&self) -> usize {
        self.features
    }

    /// Returns the number of contiguous values of one feature: 1, or the size of a plane.
    ///
    /// ```
    /// assert_eq!(batchnorm::Layout::nchw(2, 3, 7, 7).inner(), 49);
    /// ```
    pub const fn inner(&self) -> usize {
        self.inner
    }

    /// Returns the distance, in values, from one outer block to the next: `features * inner` (at most `usize::MAX`), or
    /// what [`Layout::with_outer_stride`] has set.
    ///
    /// ```
    /// use batchnorm::Layout;
    ///
    /// assert_eq!(Layout::nc(6, 5).outer_stride(), 5);
    /// assert_eq!(Layout::nc(6, 5).with_outer_stride(30).outer_stride(), 30);
    /// ```
    pub const fn outer_stride(&self) -> usize {
        match self.outer_stride {
            Some(outer_stride) => outer_stride,
            None => self.features.saturating_mul(self.inner),
        }
    }

    /// Returns the length of slice that a batch needs, gaps included, or `None` if it exceeds `isize::MAX`, the most that
    /// a slice can hold. The last outer block needs no gap after it.
    ///
    /// ```
    /// use batchnorm::Layout;
    ///
    /// assert_eq!(Layout::nc(6, 5).checked_span(), Some(30));
    /// assert_eq!(Layout::nc(6, 5).with_outer_stride(8).checked_span(), Some(5 * 8 + 5));
    /// assert_eq!(Layout::nc(0, 5).with_outer_stride(8).checked_span(), Some(0));
    /// ```
    pub fn checked_span(&self) -> Option<usize> {
        let len = self.checked_len()?;
        let (Some(outer_stride), 1..) = (self.outer_stride, len) else { return Some(len) };
        let span = (self.outer - 1).checked_mul(outer_stride)?.checked_add(self.features * self.inner)?;
        isize::try_from(span).is_ok().then_some(span)
    }

    /// Returns whether outer blocks follow one another without gaps, as they do if there is only one.
    pub(crate) const fn is_contiguous(&self) -> bool {
        self.outer_stride.is_none() || self.outer <= 1
    }

    /// Returns the layout of the same batch without gaps.
    pub(crate) const fn without_gaps(self) -> Self {
        Self::new(self.outer, self.features, self.inner)
    }

    /// Returns the layout of so many of its outer blocks.
    pub(crate) const fn with_outer(self, outer: usize) -> Self {
        Layout { outer, ..self }
    }

    /// Returns whether an outer block overlaps the next: its stride is too small.
    pub(crate) const fn overlaps(&self) -> bool {
        match self.outer_stride {
            Some(outer_stride) => outer_stride < self.features.saturating_mul(self.inner),
            None => false,
        }
    }

    /// Returns the number of values, or `None` if it exceeds `isize::MAX`, the most that a slice can hold.
    ///
    /// ```
    /// use batchnorm::Layout;
    ///
    /// assert_eq!(Layout::nc(6, 5).checked_len(), Some(30));
    /// assert_eq!(Layout::new(usize::MAX, 2, 2).checked_len(), None);
    /// ```
    pub fn checked_len(&self) -> Option<usize> {
        // Zero takes precedence over overflow: with a dimension of 0 a batch is empty, whatever its other dimensions
        // are.
        let dimensions = [self.outer, self.features, self.inner];
        if dimensions.contains(&0) {
            return Some(0);
        }
        let len = dimensions.into_iter().try_fold(1usize, usize::checked_mul)?;
        isize::try_from(len).is_ok().then_some(len)
    }

    /// Returns the number of values per feature. It saturates on overflow, which cannot happen for a
    /// [`Batch`](crate::Batch) that has values.
    ///
    /// ```
    /// assert_eq!(batchnorm::Layout::nchw(2, 3, 7, 7).count(), 98);
    /// ```
    pub const fn count(&self) -> usize {
        self.outer.saturating_mul(self.inner)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layout { outer, features, inner, outer_stride } = self;
        write!(f, "[outer {outer}, features {features}, inner {inner}")?;
        match outer_stride {
            Some(outer_stride) => write!(f, ", outer stride {outer_stride}]"),
            None => write!(f, "]"),
        }
    }
}

/// Returns the product, which saturates. Zero takes precedence over overflow.
const fn product3(a: usize, b: usize, c: usize) -> usize {
    if c == 0 { 0 } else { a.saturating_mul(b).saturating_mul(c) }
}
