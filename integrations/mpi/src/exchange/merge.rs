//! Exchanges the statistics of all ranks and merges them, in blocks of features. Either every rank gathers and merges
//! all of them; or each merges a share of the features, and the results are gathered. The tree of the merge is the same.

use std::ops::Range;

use mpi::traits::Communicator;

use super::{Exchange, Meeting, WORD};
use crate::error::{Error, Result};
use crate::plan::Node;
use crate::wire::Wire;

/// Most bytes of one exchange, whatever the options are: MPI counts words in 32 bits.
const MOST: usize = 8 << 30;

/// What is exchanged: this rank's statistics, and the nodes of all ranks.
struct Job<'a, S> {
    meeting: &'a Meeting,
    mine: &'a [&'a S],
    nodes: &'a [Vec<Node>],
}

impl<C: Communicator> Exchange<'_, C> {
    /// Merges the statistics of all nodes of all ranks. This rank has those of [`Meeting::nodes`].
    pub(crate) fn merge<S: Wire>(&self, meeting: &Meeting, mine: &[&S]) -> Result<S> {
        let (features, ranks) = (meeting.features, self.comm.size() as usize);
        let nodes: Vec<Vec<Node>> = (0..ranks).map(|rank| meeting.plan.nodes(rank)).collect();
        let all: usize = nodes.iter().map(Vec::len).sum();
        if all == 0 || features == 0 {
            return S::empty(features).map_err(Error::Layer);
        }
        let word = WORD * S::WORDS;
        let gathers = all.saturating_mul(word * features) <= self.gather_limit || ranks == 1;
        // A rank that gathers receives all nodes of a block; otherwise, all nodes of its share.
        let received =
            if gathers { all } else { all.div_ceil(ranks).max(nodes.iter().map(Vec::len).max().unwrap_or(0)) };
        let block = (self.receive_buffer.min(MOST) / (word * received)).clamp(1, features);
        let (job, mut merged, mut failed) = (Job { meeting, mine, nodes: &nodes }, Vec::new(), None);
        for start in (0..features).step_by(block) {
            let block = start..(start + block).min(features);
            // After a failure, the other blocks are exchanged all the same: on all ranks alike.
            match if gathers { self.gather(&job, block) } else { self.share(&job, block) } {
                Ok(of_block) => merged.push(of_block),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Err(Error::Layer(error)),
            None if merged.len() == 1 => Ok(merged.remove(0)),
            None => S::join(&merged).map_err(Error::Layer),
        }
    }

    /// Every rank gathers and merges all statistics.
    fn gather<S: Wire>(&self, job: &Job<'_, S>, block: Range<usize>) -> batchnorm::Result<S> {
        let words = S::WORDS * block.len();
        let counts = job.counts(|nodes| nodes * words);
        let send = job.put([block]);
        let mut receive = vec![0; total(&counts)];
        self.wait(job.meeting.call).all_gather_varied(&send, &mut receive, &counts);
        self.count(send.len(), receive.len() - send.len());
        job.merge(receive.chunks_exact(words))
    }

    /// Each rank merges a share of the features; then the ranks gather the results.
    fn share<S: Wire>(&self, job: &Job<'_, S>, block: Range<usize>) -> batchnorm::Result<S> {
        let (ranks, me) = (job.nodes.len(), job.meeting.me);
        let end = |rank: usize| block.start + block.len() * rank / ranks;
        let share = |rank: usize| end(rank)..end(rank + 1);
        let words = S::WORDS * share(me).len();
        let sent: Vec<i32> = (0..ranks).map(|rank| (job.mine.len() * S::WORDS * share(rank).len()) as i32).collect();
        let received = job.counts(|nodes| nodes * words);
        let send = job.put((0..ranks).map(share));
        let mut receive = vec![0; total(&received)];
        self.wait(job.meeting.call).all_to_all(&send, &mut receive, [&sent, &received]);
        self.count(send.len() - sent[me] as usize, receive.len() - received[me] as usize);

        // The result of each rank starts with a word that says whether it has one.
        let merged = if words == 0 { None } else { Some(job.merge(receive.chunks_exact(words))) };
        let mut send = vec![u64::from(matches!(merged, Some(Err(_))))];
        match &merged {
            Some(Ok(merged)) => merged.put(0..share(me).len(), &mut send),
            // Of no use, but as long as the others expect.
            _ => send.resize(1 + words, 0),
        }
        let counts: Vec<i32> = (0..ranks).map(|rank| (1 + S::WORDS * share(rank).len()) as i32).collect();
        let mut receive = vec![0; total(&counts)];
        self.wait(job.meeting.call).all_gather_varied(&send, &mut receive, &counts);
        self.count(send.len(), receive.len() - send.len());
        let mut rest = &receive[..];
        let mut parts = Vec::new();
        for count in counts {
            let (part, others) = rest.split_at(count as usize);
            rest = others;
            match part {
                // If a rank cannot merge its share, every rank gets the error by merging all.
                [1, ..] => return self.gather(job, block),
                [_] => {}
                [_, words @ ..] => parts.push(S::take(words)?),
                [] => unreachable!("each rank sends a word at least"),
            }
        }
        S::join(&parts)
    }
}

impl<S: Wire> Job<'_, S> {
    /// Returns numbers of words, from the number of nodes of each rank.
    fn counts(&self, words: impl Fn(usize) -> usize) -> Vec<i32> {
        self.nodes.iter().map(|nodes| words(nodes.len()) as i32).collect()
    }

    /// Returns the words of this rank's nodes, for each range of features.
    fn put(&self, features: impl IntoIterator<Item = Range<usize>>) -> Vec<u64> {
        let mut words = Vec::new();
        for features in features {
            self.mine.iter().for_each(|statistics| statistics.put(features.clone(), &mut words));
        }
        words
    }

    /// Merges the words of all nodes of all ranks.
    fn merge<'w>(&self, words: impl Iterator<Item = &'w [u64]>) -> batchnorm::Result<S> {
        let of_nodes = words.map(S::take).collect::<batchnorm::Result<Vec<S>>>()?;
        let nodes = self.nodes.iter().flatten().cloned();
        self.meeting.plan.merge(nodes.zip(of_nodes)).unwrap_or_else(|| S::empty(0))
    }
}

fn total(counts: &[i32]) -> usize {
    counts.iter().map(|count| *count as usize).sum()
}
