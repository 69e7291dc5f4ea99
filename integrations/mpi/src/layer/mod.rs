//! The layer.

mod backward;
mod options;

use std::ops::Range;

use batchnorm::{Batch, BatchMut, BatchNorm, Element, Layout, Moments};
use mpi::traits::Communicator;

use crate::error::{Error, Result};
use crate::exchange::Exchange;
use crate::header::{Call, Header};
use crate::plan::Shape;

/// A batch normalisation layer whose batch is spread over the ranks of a communicator. Each rank has a copy.
///
/// [`SyncBatchNorm::forward_train`] and [`SyncBatchNorm::backward_train`] are collective: all ranks call them in the
/// same order, each with its shard, which may be empty. All copies then have the same running statistics and gradients,
/// bit for bit: see [the crate's page](crate). Evaluation needs no other rank.
///
/// ```
/// use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
/// use batchnorm_mpi::SyncBatchNorm;
/// use mpi::traits::Communicator;
///
/// fn main() -> std::process::ExitCode {
///     batchnorm_mpi::run(|world| {
///         // Rank r has the rows r and r + 2.
///         let (layout, rank) = (Layout::nc(2, 1), f64::from(world.rank()));
///         let (values, mut y) = ([rank, rank + 2.0], [0.0; 2]);
///         let mut bn = SyncBatchNorm::new(BatchNorm::new(1), world);
///         bn.forward_train(Batch::new(&values, layout)?, BatchMut::new(&mut y, layout)?)?;
///         assert_eq!(bn.layer().running_mean()[0], 0.1 * f64::from(world.size() + 1) / 2.0);
///         Ok::<(), batchnorm_mpi::Error>(())
///     })
/// }
/// ```
#[must_use]
pub struct SyncBatchNorm<'c, C> {
    bn: BatchNorm,
    exchange: Exchange<'c, C>,
}

impl<C: Communicator> SyncBatchNorm<'_, C> {
    /// Normalises this rank's shard by the statistics of all shards, writes it to `y`, and moves the running statistics
    /// as [`BatchNorm::forward_train`] does for the whole batch. Collective.
    ///
    /// Of NaN and infinities: they spoil the feature on all ranks, as they do in one process, unless the layer refuses
    /// them ([`BatchNorm::with_non_finite`]).
    ///
    /// # Errors
    /// [`Error::Rank`] if the shard of a rank has a different number of features from the layer, or if its `y` has a
    /// different layout. [`Error::Disagreement`] if the ranks make different calls, have different element types, options
    /// or numbers of features, or have trained on different numbers of batches. [`Error::NonFinite`] if the layer refuses
    /// a shard. [`Error::Layer`] if it refuses the whole batch
    /// ([`TooFewValues`](batchnorm::Error::TooFewValues)). Each is the same on all ranks, and nothing has changed.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// # use mpi::traits::Communicator;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// let mut bn = batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(1).with_eps(0.0)?, world);
    /// let mut y = [0.0f32; 2];
    /// // The same two rows on every rank.
    /// bn.forward_train(Batch::new(&[1.0f32, 3.0], Layout::nc(2, 1))?, BatchMut::new(&mut y, Layout::nc(2, 1))?)?;
    /// assert_eq!(y, [-1.0, 1.0]);
    /// # Ok::<(), batchnorm_mpi::Error>(())
    /// # }) }
    /// ```
    pub fn forward_train<T: Element>(&mut self, x: Batch<'_, T>, y: BatchMut<'_, T>) -> Result<()> {
        let able = self.check_features("batch has", x.layout().features());
        let measured = self.measure(x, able.and_then(|()| check_layout("y", y.layout(), x.layout())))?;
        let done = self.bn.forward_train_with(&measured.all, x, y);
        self.name_rank(done, &measured)
    }

    /// Trains like [`SyncBatchNorm::forward_train`], but in place.
    ///
    /// # Errors
    /// As for [`SyncBatchNorm::forward_train`].
    ///
    /// ```
    /// # use batchnorm::{BatchMut, BatchNorm, Layout};
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// let mut bn = batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(1).with_eps(0.0)?, world);
    /// let mut rows = [1.0f64, 3.0];
    /// bn.forward_train_in_place(BatchMut::new(&mut rows, Layout::nc(2, 1))?)?;
    /// assert_eq!(rows, [-1.0, 1.0]);
    /// # Ok::<(), batchnorm_mpi::Error>(())
    /// # }) }
    /// ```
    pub fn forward_train_in_place<T: Element>(&mut self, x: BatchMut<'_, T>) -> Result<()> {
        let able = self.check_features("batch has", x.layout().features());
        let measured = self.measure(x.as_batch(), able)?;
        let done = self.bn.forward_train_with_in_place(&measured.all, x);
        self.name_rank(done, &measured)
    }

    /// Normalises a batch by the running statistics, like [`BatchNorm::forward_eval`]. This rank alone computes it:
    /// nothing is exchanged, and ranks may evaluate different numbers of batches. (A layer without running statistics
    /// takes those of this rank's batch, as PyTorch does.)
    ///
    /// # Errors
    /// [`Error::Layer`] with the errors of [`BatchNorm::forward_eval`], on this rank alone.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout};
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// let bn = batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(1).with_eps(0.0)?, world);
    /// let mut y = [0.0f32];
    /// bn.forward_eval(Batch::new(&[5.0f32], Layout::nc(1, 1))?, BatchMut::new(&mut y, Layout::nc(1, 1))?)?;
    /// assert_eq!(y, [5.0]);
    /// # Ok::<(), batchnorm_mpi::Error>(())
    /// # }) }
    /// ```
    pub fn forward_eval<T: Element>(&self, x: Batch<'_, T>, y: BatchMut<'_, T>) -> Result<()> {
        self.bn.forward_eval(x, y).map_err(Error::Layer)
    }

    /// Measures this rank's parts of the batch, and merges those of all ranks.
    fn measure<T: Element>(&self, x: Batch<'_, T>, able: Able) -> Result<Measured> {
        let call = Call::ForwardTrain;
        let header = Header::new(call).with_options(&self.bn).with_element::<T>().with_shape(Shape::of(x.layout()));
        let meeting = self.exchange.meet(call, header, able)?;
        let parts = meeting.nodes().into_iter().map(|node| self.bn.measure(part(x, meeting.blocks(&node))));
        let parts: Vec<Moments> = parts.collect::<batchnorm::Result<_>>().expect("the number of features fits");
        let all = self.exchange.merge(&meeting, &parts.iter().collect::<Vec<_>>())?;
        Ok(Measured { parts, all })
    }

    /// Adds to a refusal of NaN and infinities which rank has them. All ranks have the same moments, so either all are
    /// here for that or none.
    fn name_rank(&self, done: batchnorm::Result<()>, measured: &Measured) -> Result<()> {
        let Err(source) = done else { return Ok(()) };
        let batchnorm::Error::NonFinite { feature, .. } = source else { return Err(Error::Layer(source)) };
        let finite = |part: &Moments| part.mean(feature).is_finite() && part.m2(feature).is_finite();
        let rank = self.exchange.first(Call::ForwardTrain, !measured.parts.iter().all(finite));
        Err(Error::NonFinite { rank, source })
    }

    fn check_features(&self, of: &str, given: usize) -> Able {
        let expected = self.bn.num_features();
        if given == expected {
            return Ok(());
        }
        Err(format!("the {of} {given} features, but the layer has {expected}"))
    }
}

/// Whether a rank can take part, or its reason.
type Able = std::result::Result<(), String>;

/// The moments of a batch.
struct Measured {
    /// Of this rank's parts.
    parts: Vec<Moments>,
    all: Moments,
}

/// Returns some outer blocks of a batch.
fn part<T>(x: Batch<'_, T>, blocks: Range<usize>) -> Batch<'_, T> {
    let of_part = without_gaps(x.layout(), blocks.len()).with_outer_stride(x.layout().outer_stride());
    let start = if blocks.is_empty() { 0 } else { blocks.start * x.layout().outer_stride() };
    let span = of_part.checked_span().expect("no longer than the batch");
    Batch::new(&x.data()[start..start + span], of_part).expect("as long as its blocks")
}

/// Returns the layout of so many outer blocks that follow one another.
fn without_gaps(layout: Layout, outer: usize) -> Layout {
    Layout::new(outer, layout.features(), layout.inner())
}

fn check_layout(of: &str, given: Layout, expected: Layout) -> Able {
    let same = without_gaps(given, given.outer()) == without_gaps(expected, expected.outer());
    if same { Ok(()) } else { Err(format!("{of} is {given}, but the batch is {expected}")) }
}
