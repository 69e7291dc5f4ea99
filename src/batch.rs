//! Views of a batch: a slice and its layout, checked against each other once.

use core::fmt;
use core::ops::Range;

use crate::{Error, Layout, Result};

/// Most features of an empty batch. An empty slice fits a layout with any number of features, and results have one
/// value per feature; without this limit, a shape read from a hostile file could cause a huge allocation.
pub(crate) const MAX_EMPTY_FEATURES: usize = 1 << 24;

/// A read-only batch: a slice and the layout of its values, checked against each other.
///
/// ```
/// use batchnorm::{Batch, Layout};
///
/// let data = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let x = Batch::new(&data, Layout::nc(3, 2))?;
/// assert_eq!(x.layout().outer(), 3);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[must_use]
pub struct Batch<'a, T> {
    data: &'a [T],
    layout: Layout,
}

impl<T> Clone for Batch<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Batch<'_, T> {}

impl<'a, T> Batch<'a, T> {
    /// Combines a slice with its layout.
    ///
    /// # Errors
    /// [`Error::Length`] if the slice does not have as many values as the layout (with an outer stride: if it has fewer
    /// than [`Layout::checked_span`]; values after these are left out), [`Error::Overflow`] if the layout has more values
    /// than a slice can hold, [`Error::EmptyTooWide`] if the batch is empty but has more than 2^24 features,
    /// [`Error::Stride`] if the outer stride is smaller than an outer block.
    ///
    /// ```
    /// use batchnorm::{Batch, Layout};
    ///
    /// assert!(Batch::new(&[0.0f64; 98], Layout::nchw(1, 2, 7, 7)).is_ok());
    /// assert!(Batch::new(&[0.0f64; 97], Layout::nchw(1, 2, 7, 7)).is_err());
    /// ```
    pub fn new(data: &'a [T], layout: Layout) -> Result<Self> {
        let span = check(data.len(), layout)?;
        Ok(Batch { data: &data[..span], layout })
    }

    /// Returns the values; with an outer stride, those in the gaps, too.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout};
    /// assert_eq!(Batch::new(&[1.0f32, 2.0], Layout::nc(2, 1))?.data(), &[1.0, 2.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn data(&self) -> &'a [T] {
        self.data
    }

    /// Returns the layout.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout};
    /// assert_eq!(Batch::new(&[1.0f32, 2.0], Layout::nc(2, 1))?.layout(), Layout::nc(2, 1));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Combines a slice with the layout for which it has been checked.
    pub(crate) fn checked(data: &'a [T], layout: Layout) -> Self {
        debug_assert_eq!(Some(data.len()), layout.checked_span());
        Batch { data, layout }
    }

    /// Returns the values if there are no gaps between them.
    pub(crate) fn contiguous(&self) -> Option<&'a [T]> {
        self.layout.is_contiguous().then_some(self.data)
    }

    /// Returns some of the outer blocks of a batch that has values.
    pub(crate) fn blocks(&self, outer: Range<usize>) -> Self {
        let layout = self.layout.with_outer(outer.len());
        Batch { data: &self.data[places(self.layout, &outer)], layout }
    }
}

impl<T: Copy> Batch<'_, T> {
    /// Returns the value that would have this index if there were no gaps.
    pub(crate) fn at(&self, index: usize) -> T {
        if self.layout.is_contiguous() {
            return self.data[index];
        }
        let block = self.layout.features() * self.layout.inner();
        self.data[index / block * self.layout.outer_stride() + index % block]
    }
}

/// A batch to write to: the output of a normalisation, or both its input and its output if it is done in place.
///
/// ```
/// use batchnorm::{BatchMut, Layout};
///
/// let mut data = vec![0.0f32; 30];
/// let mut y = BatchMut::new(&mut data, Layout::nc(6, 5))?;
/// y.data_mut()[0] = 1.0;
/// assert_eq!(y.as_batch().data()[0], 1.0);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[must_use]
pub struct BatchMut<'a, T> {
    data: &'a mut [T],
    layout: Layout,
}

impl<'a, T> BatchMut<'a, T> {
    /// Combines a slice with its layout.
    ///
    /// # Errors
    /// The same as for [`Batch::new`].
    ///
    /// ```
    /// use batchnorm::{BatchMut, Layout};
    ///
    /// assert!(BatchMut::new(&mut [0.0f32; 29], Layout::nc(6, 5)).is_err());
    /// ```
    pub fn new(data: &'a mut [T], layout: Layout) -> Result<Self> {
        let span = check(data.len(), layout)?;
        Ok(BatchMut { data: &mut data[..span], layout })
    }

    /// Returns a read-only view of the same values.
    ///
    /// ```
    /// # use batchnorm::{BatchMut, Layout};
    /// let mut data = [1.0f32, 2.0];
    /// assert_eq!(BatchMut::new(&mut data, Layout::nc(2, 1))?.as_batch().data(), &[1.0, 2.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn as_batch(&self) -> Batch<'_, T> {
        Batch { data: self.data, layout: self.layout }
    }

    /// Returns the same view with a shorter lifetime, so that it can be passed to a call and used again afterwards.
    ///
    /// ```
    /// # use batchnorm::{BatchMut, Layout};
    /// let mut data = [1.0f32, 2.0];
    /// let mut y = BatchMut::new(&mut data, Layout::nc(2, 1))?;
    /// y.reborrow().data_mut()[0] = 3.0;
    /// assert_eq!(y.as_batch().data(), &[3.0, 2.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn reborrow(&mut self) -> BatchMut<'_, T> {
        BatchMut { data: self.data, layout: self.layout }
    }

    /// Returns the values; with an outer stride, those in the gaps, too.
    ///
    /// ```
    /// # use batchnorm::{BatchMut, Layout};
    /// assert_eq!(BatchMut::new(&mut [1.0f32, 2.0], Layout::nc(2, 1))?.data(), &[1.0, 2.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn data(&self) -> &[T] {
        self.data
    }

    /// Returns the values for writing.
    ///
    /// ```
    /// # use batchnorm::{BatchMut, Layout};
    /// let mut data = [1.0f32, 2.0];
    /// BatchMut::new(&mut data, Layout::nc(2, 1))?.data_mut()[1] = 9.0;
    /// assert_eq!(data, [1.0, 9.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn data_mut(&mut self) -> &mut [T] {
        self.data
    }

    /// Returns the layout.
    ///
    /// ```
    /// # use batchnorm::{BatchMut, Layout};
    /// assert_eq!(BatchMut::new(&mut [1.0f32, 2.0], Layout::nc(1, 2))?.layout(), Layout::nc(1, 2));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Combines a slice with the layout for which it has been checked.
    pub(crate) fn checked(data: &'a mut [T], layout: Layout) -> Self {
        debug_assert_eq!(Some(data.len()), layout.checked_span());
        BatchMut { data, layout }
    }

    /// Returns some of the outer blocks of a batch that has values.
    pub(crate) fn blocks(&mut self, outer: Range<usize>) -> BatchMut<'_, T> {
        let layout = self.layout.with_outer(outer.len());
        BatchMut { data: &mut self.data[places(self.layout, &outer)], layout }
    }
}

/// Returns where some outer blocks lie, of a batch that has values.
fn places(layout: Layout, outer: &Range<usize>) -> Range<usize> {
    let (stride, block) = (layout.outer_stride(), layout.features() * layout.inner());
    if outer.is_empty() { 0..0 } else { outer.start * stride..(outer.end - 1) * stride + block }
}

/// Prints the layout only, because a batch may be large.
impl<T> fmt::Debug for Batch<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// Prints the layout only, because a batch may be large.
impl<T> fmt::Debug for BatchMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchMut").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// Returns the length that a batch takes of a slice.
fn check(given: usize, layout: Layout) -> Result<usize> {
    let needed = layout.checked_span().ok_or(Error::Overflow { layout })?;
    if layout.overlaps() {
        return Err(Error::Stride { layout });
    }
    if needed == 0 && layout.features() > MAX_EMPTY_FEATURES {
        return Err(Error::EmptyTooWide { most: MAX_EMPTY_FEATURES, given: layout.features() });
    }
    let fits = if layout.without_gaps() == layout { given == needed } else { given >= needed };
    if fits { Ok(needed) } else { Err(Error::Length { layout, needed, given }) }
}
