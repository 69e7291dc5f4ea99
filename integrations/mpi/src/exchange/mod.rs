//! How ranks exchange words: first headers, then statistics in blocks of features.

mod merge;
mod wait;

use std::cell::Cell;
use std::time::Duration;

use mpi::Rank;
use mpi::traits::{Communicator, Root};

use crate::error::{Error, Result};
use crate::header::{self, Call, Header, check_same};
use crate::plan::{Node, Plan};
use wait::Wait;
pub(crate) use wait::{end, say};

/// What a rank has sent and received, in bytes. (What it hands over to MPI: the way that bytes take from rank to rank is
/// MPI's matter, and so are its own headers.)
///
/// ```
/// let traffic = batchnorm_mpi::Traffic::default();
/// assert_eq!((traffic.exchanges, traffic.sent, traffic.received), (0, 0, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Number of collective operations.
    pub exchanges: u64,
    /// Bytes that this rank has contributed.
    pub sent: u64,
    /// Bytes of the other ranks that this rank has got.
    pub received: u64,
}

/// Bytes of a word.
const WORD: usize = 8;

/// A communicator, and how to use it.
pub(crate) struct Exchange<'c, C> {
    comm: &'c C,
    pub(crate) time_limit: Option<Duration>,
    /// Most bytes that are received at once, as far as one feature fits.
    pub(crate) receive_buffer: usize,
    /// Most bytes of all ranks that each rank gathers and merges.
    pub(crate) gather_limit: usize,
    traffic: Cell<Traffic>,
}

/// What all ranks said, and which parts of their shards they measure.
pub(crate) struct Meeting {
    pub(crate) plan: Plan,
    pub(crate) call: Call,
    features: usize,
    me: usize,
}

impl Meeting {
    /// Returns this rank's parts of the batch.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        self.plan.nodes(self.me)
    }

    /// Returns the outer blocks of this rank's shard in a node.
    pub(crate) fn blocks(&self, node: &Node) -> std::ops::Range<usize> {
        self.plan.blocks(self.me, node)
    }
}

impl<'c, C: Communicator> Exchange<'c, C> {
    pub(crate) fn new(comm: &'c C) -> Self {
        Exchange { comm, time_limit: None, receive_buffer: 64 << 20, gather_limit: 64 << 10, traffic: Cell::default() }
    }

    pub(crate) fn comm(&self) -> &'c C {
        self.comm
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic.get()
    }

    /// Tells all ranks what this one calls, or why it cannot. Fails on all ranks if one cannot, or if they disagree.
    pub(crate) fn meet(&self, call: Call, header: Header, able: std::result::Result<(), String>) -> Result<Meeting> {
        let reason = able.err().map(|reason| if reason.is_empty() { "no reason".into() } else { reason });
        let header = header.with_failure(reason.as_ref().map_or(0, String::len));
        let header = header.with_buffers(self.receive_buffer, self.gather_limit);
        let headers = self.headers(call, header);
        if let Some(rank) = headers.iter().position(|header| header.failure() > 0) {
            return Err(self.reason(rank, headers[rank].failure(), reason.unwrap_or_default()));
        }
        check_same(&headers)?;
        let features = header.features();
        let plan = Plan::new(features as u64, headers.iter().map(Header::shape).collect());
        Ok(Meeting { plan, call, features, me: self.comm.rank() as usize })
    }

    fn headers(&self, call: Call, mine: Header) -> Vec<Header> {
        let mut all = vec![0; header::WORDS * self.comm.size() as usize];
        self.wait(call).all_gather(mine.words(), &mut all);
        self.count(header::WORDS, all.len() - header::WORDS);
        all.as_chunks().0.iter().map(Header::from_words).collect()
    }

    /// Returns the error of the rank that gave a reason. Every rank calls this.
    fn reason(&self, rank: usize, bytes: usize, mine: String) -> Error {
        let mut reason = vec![0; bytes];
        if self.comm.rank() as usize == rank {
            reason.copy_from_slice(mine.as_bytes());
        }
        self.comm.process_at_rank(rank as Rank).broadcast_into(&mut reason);
        Error::Rank { rank: rank as Rank, reason: String::from_utf8_lossy(&reason).into_owned() }
    }

    /// Returns the first rank that says yes.
    pub(crate) fn first(&self, call: Call, yes: bool) -> Option<Rank> {
        let mut all = vec![0; self.comm.size() as usize];
        self.wait(call).all_gather(&[u64::from(yes)], &mut all);
        self.count(1, all.len() - 1);
        all.iter().position(|yes| *yes > 0).map(|rank| rank as Rank)
    }

    fn wait(&self, call: Call) -> Wait<'c, C> {
        Wait { comm: self.comm, call, limit: self.time_limit }
    }

    /// Counts an exchange, in words.
    fn count(&self, sent: usize, received: usize) {
        let [more_sent, more_received] = [sent, received].map(|words| (words * WORD) as u64);
        let Traffic { exchanges, sent, received } = self.traffic.get();
        let (sent, received) = (sent + more_sent, received + more_received);
        self.traffic.set(Traffic { exchanges: exchanges + 1, sent, received });
    }
}
