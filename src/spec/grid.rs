//! One feature of a chunk in the canonical order, in plain code: which of its values are added to which accumulator,
//! and how (steps 2 and 3 of [`spec::order`](crate::spec::order)).

use alloc::vec::Vec;
use core::ops::Range;

use super::DoubleDouble;
use super::double_double::two_sum;
use super::order::{
    ChunkRange, GROUP_POSITIONS, GROUP_ROWS, Order, PLANE_ACCUMULATORS, SEGMENT_GROUPS, View, sample_group,
};

/// A partial sum and its compensation term, the sum of its rounding errors. (The term is kept for f64 values only:
/// squares of f32 values fit into f64 with room to spare.)
#[derive(Clone, Copy, Default)]
pub(super) struct Accumulator {
    pub(super) sum: f64,
    pub(super) compensation: f64,
}

impl Accumulator {
    fn add(self, other: Accumulator, compensated: bool) -> Accumulator {
        let DoubleDouble { high: sum, low: error } = two_sum(self.sum, other.sum);
        let compensation = if compensated { self.compensation + (other.compensation + error) } else { 0.0 };
        Accumulator { sum, compensation }
    }
}

/// One feature of a chunk, or of part of a chunk, as groups of eight rows.
pub(super) struct Grid<'a> {
    order: &'a Order,
    feature: usize,
    range: ChunkRange,
    groups: Range<usize>,
}

impl<'a> Grid<'a> {
    pub(super) fn new(order: &'a Order, feature: usize, range: ChunkRange) -> Self {
        let groups = match order.view {
            View::Rows { interleave } => range.outer.len().div_ceil(interleave).div_ceil(GROUP_ROWS),
            View::Planes => range.outer.len() * range.positions.len().div_ceil(GROUP_POSITIONS),
        };
        Grid { order, feature, range, groups: 0..groups }
    }

    /// Returns the sample, from which the shift is computed.
    pub(super) fn sample(&self) -> Self {
        let Grid { order, feature, .. } = *self;
        match order.view {
            View::Rows { interleave } => {
                let group = sample_group(self.range.outer.len().div_ceil(interleave));
                Grid { order, feature, range: self.range.clone(), groups: group..group + 1 }
            }
            View::Planes => Grid::new(order, feature, self.range.sample()),
        }
    }

    /// Returns the index of the value that a row of a group adds to an accumulator, or `None` past the end of the data.
    /// It does not count the gaps of an outer stride.
    fn index(&self, group: usize, row: usize, accumulator: usize) -> Option<usize> {
        let layout = self.order.layout;
        let (outer, position) = match self.order.view {
            View::Rows { interleave } => {
                let row = group * GROUP_ROWS + row;
                (row * interleave + accumulator / layout.inner(), accumulator % layout.inner())
            }
            View::Planes => {
                let groups = self.range.positions.len().div_ceil(GROUP_POSITIONS);
                (group / groups, group % groups * GROUP_POSITIONS + row * PLANE_ACCUMULATORS + accumulator)
            }
        };
        if outer >= self.range.outer.len() || position >= self.range.positions.len() {
            return None;
        }
        let plane = (self.range.outer.start + outer) * layout.features() + self.feature;
        Some(plane * layout.inner() + self.range.positions.start + position)
    }

    /// Sums `term` over all values. `term` takes the index of a value and returns a number and its small remainder.
    /// Missing values add 0.
    pub(super) fn sum(&self, compensated: bool, term: impl Fn(usize) -> (f64, f64)) -> Accumulator {
        let accumulate = |accumulator| {
            // The sums of the segments before, and of the current one.
            let (mut before, mut segment) = (None::<Accumulator>, Accumulator::default());
            let joined = |before: Option<Accumulator>, segment| before.map_or(segment, |b| b.add(segment, compensated));
            for (index, group) in self.groups.clone().enumerate() {
                if index > 0 && index % SEGMENT_GROUPS == 0 {
                    before = Some(joined(before, segment));
                    segment = Accumulator::default();
                }
                let t = |row| {
                    let (sum, compensation) = self.index(group, row, accumulator).map_or((0.0, 0.0), &term);
                    Accumulator { sum, compensation }
                };
                if compensated {
                    segment = (0..GROUP_ROWS).map(t).fold(segment, |segment, x| segment.add(x, true));
                } else {
                    let pair = |row| t(row).sum + t(row + 1).sum;
                    let sum = (pair(0) + pair(2)) + (pair(4) + pair(6));
                    segment = segment.add(Accumulator { sum, compensation: 0.0 }, false);
                }
            }
            joined(before, segment)
        };
        self.reduce((0..self.order.accumulators(1)).map(accumulate).collect(), compensated)
    }

    /// Reduces accumulators horizontally, in halves: over the outer blocks of a row first, then over the positions.
    fn reduce(&self, mut sums: Vec<Accumulator>, compensated: bool) -> Accumulator {
        let inner = self.order.layout.inner();
        while sums.len() > 1 {
            let half = if sums.len() > inner { sums.len() / 2 } else { sums.len().next_power_of_two() / 2 };
            let upper = sums.split_off(half);
            for (low, high) in sums.iter_mut().zip(upper) {
                *low = low.add(high, compensated);
            }
        }
        sums[0]
    }
}
