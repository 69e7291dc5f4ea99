//! A line on the terminal that says how far a pass has come.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(200);

pub(crate) struct Progress {
    name: &'static str,
    rows: u64,
    of: u64,
    start: Instant,
    /// When the line is written again. `None` if nobody watches.
    next: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(name: &'static str, of: u64) -> Self {
        let start = Instant::now();
        Progress { name, rows: 0, of, start, next: stderr().is_terminal().then_some(start + EVERY) }
    }

    pub(crate) fn add(&mut self, rows: usize) {
        self.rows += rows as u64;
        let now = Instant::now();
        if self.next.is_some_and(|next| now >= next) {
            self.next = Some(now + EVERY);
            let percent = 100.0 * self.rows as f64 / self.of.max(1) as f64;
            // Whoever watches may have gone.
            let _ = write!(stderr(), "\r{}: {percent:3.0} %, {:.1} million rows/s ", self.name, self.rate() / 1e6);
        }
    }

    /// Returns what the pass did.
    pub(crate) fn total(self) -> String {
        if self.next.is_some() {
            let _ = write!(stderr(), "\r{:50}\r", "");
        }
        let (seconds, rate) = (self.start.elapsed().as_secs_f64(), self.rate() / 1e6);
        format!("{}: {} rows in {seconds:.2} s, {rate:.2} million rows/s", self.name, self.rows)
    }

    fn rate(&self) -> f64 {
        self.rows as f64 / self.start.elapsed().as_secs_f64().max(1e-9)
    }
}
