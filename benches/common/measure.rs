//! Timing. All contenders run in turn, round after round, so that a slow moment of the machine affects all of them.

use std::time::Instant;

use batchnorm::{Element, Layout, Path};
use bytemuck::Pod;

use super::limits::Limit;
use super::{Bench, Op};

/// How much time a measurement may take.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// Seconds after which no round starts, unless there were fewer than `FEWEST`.
    pub seconds: f64,
    /// Least number of seconds that each contender runs in a round, so that the time of reading the clock is
    /// negligible.
    pub turn: f64,
}

const FEWEST: usize = 5;

impl Effort {
    /// Runs everything once, to check that it works.
    pub const ONCE: Effort = Effort { rounds: 1, seconds: 0.0, turn: 0.0 };
}

#[derive(Clone, Copy, PartialEq)]
enum Contender {
    Path(Path),
    Limit(Limit),
}

/// Seconds per call in each round, for the paths of one operation and for the ways to measure their limits.
pub struct Rounds {
    op: Op,
    layout: Layout,
    /// Bytes in a value.
    size: usize,
    times: Vec<(Contender, Vec<f64>)>,
}

impl Rounds {
    pub fn measure<T: Element + Pod>(bench: &mut Bench<T>, op: Op, paths: &[Path], effort: Effort) -> Self {
        let (layout, size) = (bench.layout, size_of::<T>());
        let of = |path| Limit::of(op, path).into_iter().chain(Limit::walks_of(op, path, layout, size));
        let limits = paths.iter().flat_map(|path| of(*path)).map(Contender::Limit);
        let mut times: Vec<(Contender, Vec<f64>)> = Vec::new();
        for contender in paths.iter().copied().map(Contender::Path).chain(limits) {
            if times.iter().all(|(other, _)| *other != contender) {
                times.push((contender, Vec::new()));
            }
        }
        let start = Instant::now();
        for round in 0..effort.rounds {
            if round >= FEWEST && start.elapsed().as_secs_f64() > effort.seconds {
                break;
            }
            for (contender, times) in &mut times {
                times.push(match contender {
                    Contender::Path(path) => seconds(effort.turn, || bench.run(op, *path)),
                    Contender::Limit(limit) => seconds(effort.turn, || bench.limit(*limit)),
                });
            }
        }
        Rounds { op, layout, size, times }
    }

    /// Returns the minimum and the median over the path's rounds.
    pub fn path(&self, path: Path) -> (f64, f64) {
        min_median(self.rounds(Contender::Path(path)).to_vec())
    }

    /// Returns the minimum and the median of the path's limit. In each round, the fastest way counts.
    pub fn limit(&self, path: Path) -> (f64, f64) {
        self.fastest(&Limit::of(self.op, path))
    }

    /// Returns the minimum and the median of the plain ways alone: a sum over the values, or `memcpy`.
    pub fn plain(&self, path: Path) -> (f64, f64) {
        self.fastest(&Limit::plain_of(self.op, path))
    }

    /// Returns the minimum and the median of reading in the path's order, or `None` if that is the order of memory.
    pub fn walk(&self, path: Path) -> Option<(f64, f64)> {
        let walks = Limit::walks_of(self.op, path, self.layout, self.size);
        (!walks.is_empty()).then(|| self.fastest(&walks))
    }

    fn fastest(&self, limits: &[Limit]) -> (f64, f64) {
        let ways: Vec<_> = limits.iter().map(|limit| self.rounds(Contender::Limit(*limit))).collect();
        let rounds = ways.iter().map(|times| times.len()).min().unwrap_or(0);
        let fastest = |round| ways.iter().map(|times| times[round]).fold(f64::INFINITY, f64::min);
        min_median((0..rounds).map(fastest).collect())
    }

    fn rounds(&self, contender: Contender) -> &[f64] {
        self.times.iter().find(|(other, _)| *other == contender).map_or(&[], |(_, times)| times)
    }
}

/// Returns the fewest seconds per call of an operation by a path over the rounds, without the limits.
pub fn fastest<T: Element + Pod>(bench: &mut Bench<T>, op: Op, path: Path, effort: Effort) -> f64 {
    let times = (0..effort.rounds).map(|_| seconds(effort.turn, || bench.run(op, path)));
    times.fold(f64::INFINITY, f64::min)
}

/// Returns the seconds per call. The number of calls is doubled until they take long enough; this also warms the caches
/// for the run that counts.
pub fn seconds(turn: f64, mut run: impl FnMut()) -> f64 {
    let mut calls = 1u32;
    loop {
        let start = Instant::now();
        for _ in 0..calls {
            run();
        }
        let time = start.elapsed().as_secs_f64();
        if time >= turn {
            return time / f64::from(calls);
        }
        calls = calls.saturating_mul(2);
    }
}

/// Returns the minimum and the median. They are infinite if there are no times, so that what was not measured has no
/// bandwidth.
pub fn min_median(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    let at = |i: usize| times.get(i).copied().unwrap_or(f64::INFINITY);
    (at(0), at(times.len() / 2))
}
