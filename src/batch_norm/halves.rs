//! Training in two halves: measuring a batch, and normalising it by moments that may include other batches.

use super::BatchNorm;
use super::checks::{check_features, check_same};
use super::train::Running;
use crate::{Batch, BatchMut, Element, Error, Layout, Moments, Result, error};

impl BatchNorm {
    /// Returns the moments of a batch, by the layer's path: the first half of [`BatchNorm::forward_train`]. Changes
    /// nothing.
    ///
    /// Moments of shards, of micro-batches or of other machines can be merged ([`Moments::merge`]; [`Moments::parts`]
    /// carries them elsewhere) and passed to [`BatchNorm::forward_train_with`]: then all of them train as one batch.
    /// Shards of whole chunks, merged in order, give the bits of one batch ([`Moments::merge`] has the details), and
    /// others differ in the last bits of the moments.
    ///
    /// # Errors
    /// [`Error::Features`] if the batch has a different number of features from the layer.
    ///
    /// ```
    /// use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    ///
    /// let mut bn = BatchNorm::new(1).with_eps(0.0)?;
    /// let (mut a, mut b) = ([0.0, 4.0], [1.0, 3.0, 2.0, 2.0]);
    /// let (layout_a, layout_b) = (Layout::nc(2, 1), Layout::nc(4, 1));
    ///
    /// let mut all = bn.measure(Batch::new(&a, layout_a)?)?;
    /// all.merge(&bn.measure(Batch::new(&b, layout_b)?)?)?;
    /// // Once for all shards of this step ...
    /// bn.forward_train_with_in_place(&all, BatchMut::new(&mut a, layout_a)?)?;
    /// // ... and the others without moving the running statistics again.
    /// bn.forward_with_in_place(&all, BatchMut::new(&mut b, layout_b)?)?;
    ///
    /// assert_eq!((bn.running_mean()[0], bn.num_batches_tracked()), (0.2, 1));
    /// assert_eq!((b[2], a[1], -a[0]), (0.0, 2.0 / (10.0f64 / 6.0).sqrt(), 2.0 / (10.0f64 / 6.0).sqrt()));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn measure<T: Element>(&self, x: Batch<'_, T>) -> Result<Moments> {
        check_features(self.num_features, x.layout())?;
        Ok(self.path.moments(x))
    }

    /// Measures a batch like [`BatchNorm::measure`], but overwrites existing moments. It reuses their memory and the
    /// layer's, so later calls allocate nothing, unless they start work on other threads.
    ///
    /// # Errors
    /// As for [`BatchNorm::measure`].
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchNorm, Layout, Moments};
    /// let (mut bn, mut moments) = (BatchNorm::new(1), Moments::default());
    /// bn.measure_into(Batch::new(&[1.0f32, 3.0], Layout::nc(2, 1))?, &mut moments)?;
    /// assert_eq!((moments.count(0), moments.mean(0)), (2, 2.0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn measure_into<T: Element>(&mut self, x: Batch<'_, T>, moments: &mut Moments) -> Result<()> {
        check_features(self.num_features, x.layout())?;
        self.path.moments_into(x, moments, &mut self.workspace);
        Ok(())
    }

    /// Normalises a batch by moments that include it, writes the result to `y` and updates the running statistics: the
    /// second half of [`BatchNorm::forward_train`], which gives the same bits where the moments are those of `x`.
    ///
    /// The running statistics move as for one batch with the count, mean and variance of the moments. So each step
    /// calls this once on each copy of the layer. Where one layer normalises several parts of a batch, the others go
    /// through [`BatchNorm::forward_with`]. A copy without rows in a step passes an empty batch: its running statistics
    /// still move as those of the other copies.
    ///
    /// # Errors
    /// [`Error::Features`] if the batch or the moments have a different number of features from the layer,
    /// [`Error::LayoutMismatch`] if `y` has a different layout from `x`, [`Error::MomentsTooSmall`] if the moments are
    /// of fewer values than `x` has, [`Error::UnevenCounts`] if their features have different counts; for the moments
    /// also [`Error::TooFewValues`] and [`Error::NonFinite`], as for [`BatchNorm::forward_train`].
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let (layout, data) = (Layout::nc(3, 1), [1.0f32, 2.0, 6.0]);
    /// let (x, mut y, mut y_with) = (Batch::new(&data, layout)?, [0.0; 3], [0.0; 3]);
    /// let (mut bn, mut bn_with) = (BatchNorm::new(1), BatchNorm::new(1));
    ///
    /// bn.forward_train(x, BatchMut::new(&mut y, layout)?)?;
    /// let moments = bn_with.measure(x)?;
    /// bn_with.forward_train_with(&moments, x, BatchMut::new(&mut y_with, layout)?)?;
    /// assert_eq!((y, bn.running_var()), (y_with, bn_with.running_var()));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_train_with<T: Element>(
        &mut self,
        moments: &Moments,
        x: Batch<'_, T>,
        y: BatchMut<'_, T>,
    ) -> Result<()> {
        self.forward_by(moments, Running::Move, x, y)
    }

    /// Trains on a batch like [`BatchNorm::forward_train_with`], but in place.
    ///
    /// # Errors
    /// As for [`BatchNorm::forward_train_with`].
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let (mut bn, mut data) = (BatchNorm::new(1).with_eps(0.0)?, [1.0f64, 3.0]);
    /// let moments = bn.measure(Batch::new(&data, Layout::nc(2, 1))?)?;
    /// bn.forward_train_with_in_place(&moments, BatchMut::new(&mut data, Layout::nc(2, 1))?)?;
    /// assert_eq!(data, [-1.0, 1.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_train_with_in_place<T: Element>(&mut self, moments: &Moments, x: BatchMut<'_, T>) -> Result<()> {
        self.forward_by_in_place(moments, Running::Move, x)
    }

    /// Normalises a batch like [`BatchNorm::forward_train_with`], but updates nothing: for the other micro-batches of a
    /// step, and to compute the outputs of a training batch again.
    ///
    /// # Errors
    /// As for [`BatchNorm::forward_train_with`].
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let (layout, data) = (Layout::nc(2, 1), [1.0f64, 3.0]);
    /// let (x, mut y, mut again) = (Batch::new(&data, layout)?, [0.0; 2], [0.0; 2]);
    /// let mut bn = BatchNorm::new(1);
    /// bn.forward_train(x, BatchMut::new(&mut y, layout)?)?;
    /// let moments = bn.batch_moments().clone();
    /// bn.forward_with(&moments, x, BatchMut::new(&mut again, layout)?)?;
    /// assert_eq!((again, bn.num_batches_tracked()), (y, 1));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_with<T: Element>(&mut self, moments: &Moments, x: Batch<'_, T>, y: BatchMut<'_, T>) -> Result<()> {
        self.forward_by(moments, Running::Keep, x, y)
    }

    /// Normalises a batch like [`BatchNorm::forward_with`], but in place.
    ///
    /// # Errors
    /// As for [`BatchNorm::forward_train_with`].
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// let (mut bn, mut data) = (BatchNorm::new(1).with_eps(0.0)?, [1.0f64, 3.0]);
    /// let moments = bn.measure(Batch::new(&data, Layout::nc(2, 1))?)?;
    /// bn.forward_with_in_place(&moments, BatchMut::new(&mut data, Layout::nc(2, 1))?)?;
    /// assert_eq!((data, bn.running_mean()), ([-1.0, 1.0], &[0.0][..]));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn forward_with_in_place<T: Element>(&mut self, moments: &Moments, x: BatchMut<'_, T>) -> Result<()> {
        self.forward_by_in_place(moments, Running::Keep, x)
    }

    /// Returns the moments of the last training batch, in f64: those by which [`BatchNorm::forward_train`] or
    /// [`BatchNorm::forward_train_with`] normalised it, which the backward pass needs. They are of no values before the
    /// first one. Batches that were empty, refused or normalised by the running statistics leave them as they were.
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, Layout};
    /// let mut bn = BatchNorm::new(1);
    /// assert_eq!(bn.batch_moments().count(0), 0);
    /// bn.forward_train_in_place(BatchMut::new(&mut [1.0f32, 3.0], Layout::nc(2, 1))?)?;
    /// let batch = bn.batch_moments();
    /// assert_eq!((batch.count(0), batch.mean(0), batch.variance(0, 0.0)), (2, 2.0, 1.0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn batch_moments(&self) -> &Moments {
        &self.batch
    }

    fn forward_by<T: Element>(
        &mut self,
        moments: &Moments,
        running: Running,
        x: Batch<'_, T>,
        y: BatchMut<'_, T>,
    ) -> Result<()> {
        self.check_moments_cover(moments, x.layout())?;
        check_same(x.layout(), y.layout())?;
        self.step_with::<T>(moments, running)?;
        self.path.normalize(&self.normalization, self.precision, Some(x), None, y);
        Ok(())
    }

    fn forward_by_in_place<T: Element>(
        &mut self,
        moments: &Moments,
        running: Running,
        x: BatchMut<'_, T>,
    ) -> Result<()> {
        self.check_moments_cover(moments, x.layout())?;
        self.step_with::<T>(moments, running)?;
        self.path.normalize(&self.normalization, self.precision, None, None, x);
        Ok(())
    }

    /// Checks that the moments may include a batch of this layout.
    fn check_moments_cover(&self, moments: &Moments, layout: Layout) -> Result<()> {
        let expected = self.num_features;
        check_features(expected, layout)?;
        error::check_features(("the layer has", expected), ("the moments have", moments.num_features()))?;
        // An empty batch has no values, whatever its other dimensions are.
        let batch = if layout.checked_len() == Some(0) { 0 } else { layout.count() };
        match moments.counts().iter().find(|&&count| count < batch as u64) {
            Some(&moments) => Err(Error::MomentsTooSmall { moments, batch }),
            None => Ok(()),
        }
    }
}
