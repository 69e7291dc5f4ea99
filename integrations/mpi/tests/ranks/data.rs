//! Batches that every rank can make, and their division among ranks.

use std::ops::Range;

use batchnorm::{Element, Layout};

/// Random numbers: SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Between -1 and 1.
    fn value(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// A batch whose features have different means, some of them large.
pub(crate) fn batch<T: Element>(seed: u64, layout: Layout) -> Vec<T> {
    let mut random = Random(seed);
    let mut values = Vec::new();
    for _ in 0..layout.outer() {
        for feature in 0..layout.features() {
            let mean = [0.0, 100.0, -3.0][feature % 3];
            values.extend((0..layout.inner()).map(|_| T::from_f64(mean + random.value() * (1 + feature % 2) as f64)));
        }
    }
    values
}

/// The part of a batch that a rank holds: some outer blocks.
#[derive(Clone)]
pub(crate) struct Shard {
    pub(crate) layout: Layout,
    values: Range<usize>,
}

impl Shard {
    pub(crate) fn new(whole: Layout, blocks: Range<usize>) -> Self {
        let block = whole.features() * whole.inner();
        let layout = Layout::new(blocks.len(), whole.features(), whole.inner());
        Shard { layout, values: blocks.start * block..blocks.end * block }
    }

    pub(crate) fn of<'a, T>(&self, values: &'a [T]) -> &'a [T] {
        &values[self.values.clone()]
    }
}

/// Divisions of `units` things among ranks: evenly, all on the first or on the last rank, and at random places. Each is
/// a list of ends.
pub(crate) fn divisions(units: usize, ranks: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut random = Random(seed);
    let even = (0..=ranks).map(|rank| units * rank / ranks).collect();
    let first = (0..=ranks).map(|rank| if rank == 0 { 0 } else { units }).collect();
    let last = (0..=ranks).map(|rank| if rank == ranks { units } else { 0 }).collect();
    let mut all = vec![even, first, last];
    for _ in 0..3 {
        let mut ends: Vec<usize> = (1..ranks).map(|_| random.below(units + 1)).chain([0, units]).collect();
        ends.sort_unstable();
        all.push(ends);
    }
    all
}
