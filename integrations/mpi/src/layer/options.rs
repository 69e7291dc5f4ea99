//! Makes a layer, and what it offers besides training.

use std::fmt::{self, Display};
use std::time::Duration;

use batchnorm::BatchNorm;
use mpi::traits::Communicator;

use super::SyncBatchNorm;
use crate::error::{Error, Result};
use crate::exchange::{Exchange, Traffic};
use crate::header::{Call, Header};

impl<'c, C: Communicator> SyncBatchNorm<'c, C> {
    /// Joins a layer and the communicator of the ranks that train it. All ranks must pass the same layer:
    /// [`SyncBatchNorm::check_same_state`] checks it. Nothing is exchanged yet.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// let bn = batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(64), world);
    /// assert_eq!(bn.layer().num_features(), 64);
    /// # Ok::<(), String>(())
    /// # }) }
    /// ```
    pub fn new(bn: BatchNorm, comm: &'c C) -> Self {
        SyncBatchNorm { bn, exchange: Exchange::new(comm) }
    }

    /// Returns the communicator.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// use mpi::traits::Communicator;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// let bn = batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(64), world);
    /// assert_eq!(bn.communicator().size(), world.size());
    /// # Ok::<(), String>(())
    /// # }) }
    /// ```
    pub fn communicator(&self) -> &'c C {
        self.exchange.comm()
    }

    /// Sets how long this rank waits for the others in a call (default: as long as it takes). If they have not come by
    /// then, the job ends, with a message that names them. (An MPI exchange that has begun can only be completed or end
    /// the job, so this is not an error that a program could handle.)
    ///
    /// Allow for what ranks do between calls: reading data, evaluating, writing a file. A call with a limit uses MPI's
    /// non-blocking exchanges, and tests for their end; without one, the blocking exchanges, which may be faster.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// use std::time::Duration;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// let bn = batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(64), world);
    /// let bn = bn.with_time_limit(Duration::from_secs(600));
    /// assert_eq!(bn.time_limit(), Some(Duration::from_secs(600)));
    /// # Ok::<(), String>(())
    /// # }) }
    /// ```
    pub fn with_time_limit(mut self, limit: Duration) -> Self {
        self.exchange.time_limit = Some(limit);
        self
    }

    /// Returns how long this rank waits for the others in a call, if there is a limit.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// assert_eq!(batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(64), world).time_limit(), None);
    /// # Ok::<(), String>(())
    /// # }) }
    /// ```
    pub fn time_limit(&self) -> Option<Duration> {
        self.exchange.time_limit
    }

    /// Sets about how many bytes this rank receives at once (default: 64 MiB; at least one feature). More are exchanged
    /// in several blocks of features, which changes no bit. All ranks need the same.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// let bn = batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(64), world).with_receive_buffer(1 << 20);
    /// assert_eq!(bn.receive_buffer(), 1 << 20);
    /// # Ok::<(), String>(())
    /// # }) }
    /// ```
    pub fn with_receive_buffer(mut self, bytes: usize) -> Self {
        self.exchange.receive_buffer = bytes;
        self
    }

    /// Returns about how many bytes this rank receives at once.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// assert_eq!(batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(64), world).receive_buffer(), 64 << 20);
    /// # Ok::<(), String>(())
    /// # }) }
    /// ```
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        self.exchange.receive_buffer
    }

    /// Sets up to how many bytes, of all ranks and features, each rank gathers and merges all statistics by itself
    /// (default: 64 KiB). Beyond, each rank merges its share of the features, and the ranks gather the results: an exchange
    /// more, but far fewer bytes where ranks are many. Bits are the same. All ranks need the same limit.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// let bn = batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(64), world).with_gather_limit(usize::MAX);
    /// assert_eq!(bn.gather_limit(), usize::MAX); // always gathers
    /// # Ok::<(), String>(())
    /// # }) }
    /// ```
    pub fn with_gather_limit(mut self, bytes: usize) -> Self {
        self.exchange.gather_limit = bytes;
        self
    }

    /// Returns up to how many bytes each rank gathers and merges all statistics by itself.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// assert_eq!(batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(64), world).gather_limit(), 64 << 10);
    /// # Ok::<(), String>(())
    /// # }) }
    /// ```
    #[must_use]
    pub fn gather_limit(&self) -> usize {
        self.exchange.gather_limit
    }

    /// Returns the layer, for example for its running statistics and for evaluation.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// let bn = batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(2), world);
    /// assert_eq!(bn.layer().running_mean(), [0.0, 0.0]);
    /// # Ok::<(), String>(())
    /// # }) }
    /// ```
    pub fn layer(&self) -> &BatchNorm {
        &self.bn
    }

    /// Returns the layer to change it, in the same way on all ranks: an optimiser's step sets weight and bias.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// let mut bn = batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(2), world);
    /// bn.layer_mut().set_weight(&[0.5, 2.0])?;
    /// assert_eq!(bn.layer().weight(), Some(&[0.5, 2.0][..]));
    /// # Ok::<(), batchnorm::Error>(())
    /// # }) }
    /// ```
    pub fn layer_mut(&mut self) -> &mut BatchNorm {
        &mut self.bn
    }

    /// Returns the layer alone, for example to save or to freeze it.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// let frozen = batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(2), world).into_layer().to_inference();
    /// assert_eq!(frozen.num_features(), 2);
    /// # Ok::<(), String>(())
    /// # }) }
    /// ```
    pub fn into_layer(self) -> BatchNorm {
        self.bn
    }

    /// Checks that all ranks have the same layer: options, weight, bias and running statistics, by a hash of their bits.
    /// Collective. For the start of training, after weights were set or loaded: training itself compares the options
    /// only.
    ///
    /// # Errors
    /// [`Error::Disagreement`], with two ranks that differ; [`Error::Rank`] if a rank reports a failure.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(64), world).check_same_state()
    /// # }) }
    /// ```
    pub fn check_same_state(&self) -> Result<()> {
        let call = Call::CheckSameState;
        let header = Header::new(call).with_options(&self.bn).with_state(&self.bn);
        self.exchange.meet(call, header, Ok(())).map(|_| ())
    }

    /// Tells the other ranks that this one cannot take part in their next call, whatever it is: it fails there with
    /// [`Error::Rank`], which this returns as well. Collective, in place of that call.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// let bn = batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(64), world);
    /// let error = bn.report_failure("no shard 3");
    /// assert_eq!(error.to_string(), "rank 0: no shard 3");
    /// # Ok::<(), String>(())
    /// # }) }
    /// ```
    #[must_use]
    pub fn report_failure(&self, reason: impl Display) -> Error {
        let call = Call::ReportFailure;
        match self.exchange.meet(call, Header::new(call), Err(reason.to_string())) {
            Err(error) => error,
            Ok(_) => unreachable!("a meeting with a failure fails"),
        }
    }

    /// Returns what this rank has sent and received since the layer was made.
    ///
    /// ```
    /// # use batchnorm::BatchNorm;
    /// # fn main() -> std::process::ExitCode { batchnorm_mpi::run(|world| {
    /// let bn = batchnorm_mpi::SyncBatchNorm::new(BatchNorm::new(64), world);
    /// bn.check_same_state()?;
    /// assert_eq!(bn.traffic().exchanges, 1);
    /// # Ok::<(), batchnorm_mpi::Error>(())
    /// # }) }
    /// ```
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.exchange.traffic()
    }
}

impl<C: Communicator> fmt::Debug for SyncBatchNorm<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comm = self.exchange.comm();
        f.debug_struct("SyncBatchNorm")
            .field("layer", &self.bn)
            .field("rank", &comm.rank())
            .field("ranks", &comm.size())
            .finish_non_exhaustive()
    }
}
