//! Timing in rounds: all contenders run in turn, so that other load on the machine affects all of them alike.

use std::time::{Duration, Instant};

use crate::peers::Contender;

/// Seconds for one call.
#[derive(Clone, Copy)]
pub struct Times {
    pub min: f64,
    pub median: f64,
}

/// A round repeats a call until it has taken this long, so that the time of reading the clock is negligible.
const ROUND: Duration = Duration::from_millis(2);

pub fn race(contenders: &mut [Contender<'_>], rounds: usize) -> Vec<Times> {
    let repeats: Vec<u32> = contenders.iter_mut().map(repeats).collect();
    let mut samples = vec![Vec::with_capacity(rounds); contenders.len()];
    for _ in 0..rounds {
        for ((contender, &repeats), samples) in contenders.iter_mut().zip(&repeats).zip(&mut samples) {
            // One call is not timed, because the previous contender left its own data in the caches.
            (contender.run)(None);
            samples.push(time(contender, repeats).as_secs_f64() / f64::from(repeats));
        }
    }
    samples.into_iter().map(summary).collect()
}

fn time(contender: &mut Contender<'_>, repeats: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..repeats {
        (contender.run)(None);
    }
    start.elapsed()
}

/// Returns the number of calls in a round. This also warms up caches, pools and memory that a contender keeps.
fn repeats(contender: &mut Contender<'_>) -> u32 {
    let mut repeats = 1;
    while time(contender, repeats) < ROUND {
        repeats *= 2;
    }
    repeats
}

fn summary(mut samples: Vec<f64>) -> Times {
    samples.sort_by(f64::total_cmp);
    let n = samples.len();
    Times { min: samples[0], median: (samples[(n - 1) / 2] + samples[n / 2]) / 2.0 }
}
