//! Collective operations that may have a time limit.

use std::io::Write;
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use mpi::Tag;
use mpi::datatype::{Partition, PartitionMut};
use mpi::request::{LocalScope, Request, scope};
use mpi::traits::{Communicator, CommunicatorCollectives, Destination, Source};

use crate::header::Call;

/// Of the message by which a rank that has waited too long tells the others that it is there.
const GIVEN_UP: Tag = 0x626e;

/// How long a rank waits for such messages.
const GRACE: Duration = Duration::from_millis(500);

/// Runs the exchanges of one call.
pub(super) struct Wait<'c, C> {
    pub(super) comm: &'c C,
    pub(super) call: Call,
    pub(super) limit: Option<Duration>,
}

impl<C: Communicator> Wait<'_, C> {
    /// Gathers the same number of words of each rank.
    pub(super) fn all_gather(&self, send: &[u64], receive: &mut [u64]) {
        match self.limit {
            None => self.comm.all_gather_into(send, receive),
            Some(limit) => scope(|scope| {
                self.poll(self.comm.immediate_all_gather_into(scope, send, receive), limit);
            }),
        }
    }

    /// Gathers words of each rank, whose numbers are known.
    pub(super) fn all_gather_varied(&self, send: &[u64], receive: &mut [u64], counts: &[i32]) {
        let mut receive = PartitionMut::new(receive, counts, starts(counts));
        match self.limit {
            None => self.comm.all_gather_varcount_into(send, &mut receive),
            Some(limit) => scope(|scope| {
                self.poll(self.comm.immediate_all_gather_varcount_into(scope, send, &mut receive), limit);
            }),
        }
    }

    /// Sends other words to each rank. `counts` are the numbers that are sent, then those that are received.
    pub(super) fn all_to_all(&self, send: &[u64], receive: &mut [u64], counts: [&[i32]; 2]) {
        let send = Partition::new(send, counts[0], starts(counts[0]));
        let mut receive = PartitionMut::new(receive, counts[1], starts(counts[1]));
        match self.limit {
            None => self.comm.all_to_all_varcount_into(&send, &mut receive),
            Some(limit) => scope(|scope| {
                self.poll(self.comm.immediate_all_to_all_varcount_into(scope, &send, &mut receive), limit);
            }),
        }
    }

    fn poll<'a, D: ?Sized>(&self, mut request: Request<'a, D, &LocalScope<'a>>, limit: Duration) {
        let start = Instant::now();
        loop {
            match request.test() {
                Ok(_) => return,
                Err(unfinished) => request = unfinished,
            }
            let told = self.comm.any_process().immediate_probe_with_tag(GIVEN_UP).is_some();
            if told || start.elapsed() > limit {
                self.give_up(start.elapsed());
            }
            std::thread::yield_now();
        }
    }

    /// Ends the job, with a message that names the ranks that do not wait here.
    fn give_up(&self, waited: Duration) -> ! {
        let (me, size) = (self.comm.rank(), self.comm.size());
        let mut here = vec![false; size as usize];
        here[me as usize] = true;
        let word = 0u64;
        scope(|scope| {
            let others = (0..size).filter(|rank| *rank != me);
            // Ranks that never come do not receive these, so they must not be waited for. The job ends before this
            // scope does.
            let _sent: Vec<_> = others
                .map(|rank| {
                    let to = self.comm.process_at_rank(rank);
                    ManuallyDrop::new(to.immediate_send_with_tag(scope, &word, GIVEN_UP))
                })
                .collect();
            let start = Instant::now();
            while start.elapsed() < GRACE {
                if let Some(status) = self.comm.any_process().immediate_probe_with_tag(GIVEN_UP) {
                    let rank = status.source_rank();
                    let _: (u64, _) = self.comm.process_at_rank(rank).receive_with_tag(GIVEN_UP);
                    here[rank as usize] = true;
                }
                std::thread::yield_now();
            }
            let missing = (0..size).filter(|rank| !here[*rank as usize]).map(|rank| rank.to_string());
            let missing = missing.collect::<Vec<_>>().join(", ");
            let (call, seconds) = (self.call.name(), waited.as_secs_f64());
            say(self.comm, &format!("{call} has waited for {seconds:.1} s. Not there: rank {missing}"));
            let before_me = here.iter().take(me as usize).filter(|here| **here).count();
            end(self.comm, before_me)
        })
    }
}

/// Returns where the parts of a buffer start.
fn starts(counts: &[i32]) -> Vec<i32> {
    let next = |next: &mut i32, count: &i32| Some(std::mem::replace(next, *next + count));
    counts.iter().scan(0, next).collect()
}

/// Prints a message of this rank.
pub(crate) fn say(comm: &impl Communicator, text: &str) {
    let line = format!("rank {} of {}: {text}\n", comm.rank(), comm.size());
    // In one piece, because several ranks may do this at once. If it cannot be written, nothing else can be done.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Ends the job, on all ranks. `before_me` is the number of ranks that may be about to do the same. They go first,
/// because Open MPI's `mpirun` may hang if several ranks end a job at once.
pub(crate) fn end(comm: &impl Communicator, before_me: usize) -> ! {
    std::thread::sleep(Duration::from_millis(250) * before_me.min(20) as u32);
    comm.abort(1)
}
