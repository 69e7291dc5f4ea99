//! Rows of a stream: Welford's recurrence, with one feature per lane. [`spec::welford`](crate::spec::welford) explains
//! what is computed.

use super::KernelElement;
use crate::lanes::{F64Lanes, Job, LoadStore, Simd};
use crate::layout::Layout;
use crate::spec::{RowFactors, RowWeights, Running};
use crate::tuning::STREAM_ROWS;

/// Features in a block: one vector of the widest lanes.
pub(crate) const BLOCK_FEATURES: usize = 8;

/// The state of adjacent features. The features that the last block of a stream lacks see values of 0.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(crate) struct Block(Running<[f64; BLOCK_FEATURES]>);

impl Block {
    /// Returns the state of one feature of the block.
    #[inline]
    pub(crate) fn feature(&self, index: usize) -> Running<f64> {
        let Running { shift, offset, offset_low, m2, m2_low } = &self.0;
        Running {
            shift: shift[index],
            offset: offset[index],
            offset_low: offset_low[index],
            m2: m2[index],
            m2_low: m2_low[index],
        }
    }

    /// Sets the state of one feature of the block.
    #[inline]
    pub(crate) fn set_feature(&mut self, index: usize, to: Running<f64>) {
        let Running { shift, offset, offset_low, m2, m2_low } = &mut self.0;
        shift[index] = to.shift;
        offset[index] = to.offset;
        offset_low[index] = to.offset_low;
        m2[index] = to.m2;
        m2_low[index] = to.m2_low;
    }

    #[inline(always)]
    fn load<L: F64Lanes>(&self, token: L::Token, lane: usize) -> Running<L> {
        let Running { shift, offset, offset_low, m2, m2_low } = &self.0;
        Running {
            shift: L::load(token, &shift[lane..]),
            offset: L::load(token, &offset[lane..]),
            offset_low: L::load(token, &offset_low[lane..]),
            m2: L::load(token, &m2[lane..]),
            m2_low: L::load(token, &m2_low[lane..]),
        }
    }

    /// Stores all but the shift.
    #[inline(always)]
    fn store_sums<L: F64Lanes>(&mut self, lane: usize, from: Running<L>) {
        let Running { offset, offset_low, m2, m2_low, .. } = &mut self.0;
        from.offset.store(&mut offset[lane..]);
        from.offset_low.store(&mut offset_low[lane..]);
        from.m2.store(&mut m2[lane..]);
        from.m2_low.store(&mut m2_low[lane..]);
    }
}

/// Rows of a range of features.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    /// The values, from the first feature of the range in the first row on.
    pub(crate) values: &'a [T],
    /// The distance between rows.
    pub(crate) stride: usize,
    /// The number of features in the range.
    pub(crate) features: usize,
    pub(crate) count: usize,
}

impl<'a, T> Rows<'a, T> {
    /// Returns all rows of a batch.
    #[inline(always)]
    pub(crate) fn of(values: &'a [T], layout: Layout) -> Self {
        Rows { values, stride: layout.outer_stride(), features: layout.features(), count: layout.outer() }
    }
}

/// Adds rows to the features.
pub(crate) struct Push<'a, T> {
    pub(crate) weights: &'a mut RowWeights,
    pub(crate) blocks: &'a mut [Block],
    pub(crate) rows: Rows<'a, T>,
}

impl<T: KernelElement> Job for Push<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Push { weights, blocks, rows } = self;
        let mut row = 0;
        while row < rows.count {
            prepare(weights, blocks);
            // Rows until something is due again.
            let (mut factors, mut len) = ([RowFactors::default(); STREAM_ROWS], 0);
            while len == 0 || len < STREAM_ROWS.min(rows.count - row) && !weights.anything_due() {
                factors[len] = weights.next();
                len += 1;
            }
            push::<T::F64<S>, T>(simd, blocks, &rows, row, &factors[..len]);
            row += len;
        }
    }
}

/// Adds one row. [`prepare`] has run before. (By reference, because copying the arguments costs as much as a short row.)
pub(crate) struct PushRow<'a, T> {
    pub(crate) factors: &'a [RowFactors; 1],
    pub(crate) blocks: &'a mut [Block],
    pub(crate) row: &'a Rows<'a, T>,
}

impl<T: KernelElement> Job for PushRow<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        push::<T::F64<S>, T>(simd, self.blocks, self.row, 0, self.factors);
    }
}

/// Does what is due before the next row.
#[inline(always)]
pub(crate) fn prepare(weights: &mut RowWeights, blocks: &mut [Block]) {
    if weights.anything_due() {
        prepare_now(weights, blocks);
    }
}

#[cold]
#[inline(never)]
fn prepare_now(weights: &mut RowWeights, blocks: &mut [Block]) {
    if weights.newest_is_all() {
        blocks.iter_mut().for_each(|block| block.change_each(Running::forget_mean));
    } else if weights.shift_is_due() {
        blocks.iter_mut().for_each(|block| block.change_each(Running::move_shift));
    }
    if let Some(by) = weights.scale_if_due() {
        blocks.iter_mut().for_each(|block| block.scale_m2(by));
    }
}

impl Block {
    /// Changes the state of each feature.
    fn change_each(&mut self, change: impl Fn(&mut Running<f64>)) {
        for index in 0..BLOCK_FEATURES {
            let mut feature = self.feature(index);
            change(&mut feature);
            self.set_feature(index, feature);
        }
    }

    /// Multiplies m2 by a power of two.
    fn scale_m2(&mut self, by: f64) {
        for (m2, low) in self.0.m2.iter_mut().zip(&mut self.0.m2_low) {
            (*m2, *low) = (*m2 * by, *low * by);
        }
    }
}

/// Adds a few rows, from `first` on: all of them to a strip of features, then to the next strip, so that the state
/// stays in registers.
#[inline(always)]
fn push<L: F64Lanes + LoadStore<T>, T: KernelElement>(
    token: L::Token,
    blocks: &mut [Block],
    rows: &Rows<'_, T>,
    first: usize,
    factors: &[RowFactors],
) {
    let mut feature = 0;
    while rows.features - feature > 3 * L::LANES {
        strip::<L, T, 4>(token, blocks, rows, first, factors, feature);
        feature += 4 * L::LANES;
        if feature >= rows.features {
            return;
        }
    }
    match (rows.features - feature).div_ceil(L::LANES) {
        0 => {}
        1 => strip::<L, T, 1>(token, blocks, rows, first, factors, feature),
        2 => strip::<L, T, 2>(token, blocks, rows, first, factors, feature),
        _ => strip::<L, T, 3>(token, blocks, rows, first, factors, feature),
    }
}

/// Adds rows to `V` vectors of features. The last vector may be incomplete.
#[inline(always)]
fn strip<L: F64Lanes + LoadStore<T>, T: KernelElement, const V: usize>(
    token: L::Token,
    blocks: &mut [Block],
    rows: &Rows<'_, T>,
    first: usize,
    factors: &[RowFactors],
    feature: usize,
) {
    let zero = L::splat(token, 0.0);
    let mut state = [Running { shift: zero, offset: zero, offset_low: zero, m2: zero, m2_low: zero }; V];
    for (vector, state) in state.iter_mut().enumerate() {
        let at = feature + vector * L::LANES;
        *state = blocks[at / BLOCK_FEATURES].load::<L>(token, at % BLOCK_FEATURES);
    }
    for (row, factors) in (first..).zip(factors) {
        let (share, square) = (L::splat(token, factors.share), L::splat(token, factors.square));
        let from = &rows.values[row * rows.stride + feature..];
        if rows.features - feature >= V * L::LANES {
            let from = &from[..V * L::LANES];
            for (vector, state) in state.iter_mut().enumerate() {
                *state = step(*state, L::load_from(token, &from[vector * L::LANES..]), share, square);
            }
        } else {
            let from = &from[..rows.features - feature];
            let (full, last) = from.split_at((V - 1) * L::LANES);
            for (vector, state) in state[..V - 1].iter_mut().enumerate() {
                *state = step(*state, L::load_from(token, &full[vector * L::LANES..]), share, square);
            }
            state[V - 1] = step(state[V - 1], L::load_partial(token, last, zero), share, square);
        }
    }
    // The low word is NaN from the first row on in which anything is not finite.
    let mut check = zero;
    for state in &state {
        check = check.add(state.m2_low.sub(state.m2_low));
    }
    if !check.all_zero() {
        return one_by_one(&mut blocks[feature / BLOCK_FEATURES..], rows, first, factors, feature, V * L::LANES);
    }
    for (vector, state) in state.into_iter().enumerate() {
        let at = feature + vector * L::LANES;
        blocks[at / BLOCK_FEATURES].store_sums(at % BLOCK_FEATURES, state);
    }
}

/// Adds a row to the features of a vector.
#[inline(always)]
fn step<L: F64Lanes>(state: Running<L>, x: L, share: L, square: L) -> Running<L> {
    let delta = x.sub(state.shift).sub(state.offset);
    let step = delta.mul(share).add(state.offset_low);
    let offset = state.offset.add(step);
    let offset_low = step.sub(offset.sub(state.offset));
    let square = delta.mul(square).mul(delta).add(state.m2_low);
    let m2 = state.m2.add(square);
    let m2_low = square.sub(m2.sub(state.m2));
    Running { shift: state.shift, offset, offset_low, m2, m2_low }
}

/// Adds the same rows to up to `most` features, one by one, where values are not finite or overflow. `blocks` start at
/// that of the first feature.
#[cold]
#[inline(never)]
fn one_by_one<T: KernelElement>(
    blocks: &mut [Block],
    rows: &Rows<'_, T>,
    first: usize,
    factors: &[RowFactors],
    feature: usize,
    most: usize,
) {
    let start = feature / BLOCK_FEATURES * BLOCK_FEATURES;
    for feature in feature..rows.features.min(feature + most) {
        let (block, index) = (&mut blocks[(feature - start) / BLOCK_FEATURES], feature % BLOCK_FEATURES);
        let mut state = block.feature(index);
        for (row, factors) in (first..).zip(factors) {
            state.push(rows.values[row * rows.stride + feature].to_f64(), *factors);
        }
        block.set_feature(index, state);
    }
}

/// Writes `(x - mean) / sqrt(m2 * per_weight + added)`, clipped to `limit` in size, for a range of features.
pub(crate) struct Standardized<'a, T> {
    pub(crate) blocks: &'a [Block],
    pub(crate) per_weight: f64,
    pub(crate) added: f64,
    /// The largest size of a result, possibly infinite. NaN stays NaN.
    pub(crate) limit: f64,
    pub(crate) x: &'a [T],
    pub(crate) y: &'a mut [T],
}

impl<T: KernelElement> Job for Standardized<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.in_lanes::<T::F64<S>>(simd);
    }
}

impl<T: KernelElement> Standardized<'_, T> {
    #[inline(always)]
    fn in_lanes<L: F64Lanes + LoadStore<T>>(self, token: L::Token) {
        let Standardized { blocks, per_weight, added, limit, x, y } = self;
        let (lane_weight, lane_added) = (L::splat(token, per_weight), L::splat(token, added));
        let (low, high) = (L::splat(token, -limit), L::splat(token, limit));
        let full = x.len().min(y.len()) / L::LANES * L::LANES;
        for at in (0..full).step_by(L::LANES) {
            let state = blocks[at / BLOCK_FEATURES].load::<L>(token, at % BLOCK_FEATURES);
            let x = L::load_from(token, &x[at..]);
            let delta = x.sub(state.shift).sub(state.offset).sub(state.offset_low);
            let deviation = state.m2.mul(lane_weight).add(lane_added).sqrt();
            delta.div(deviation).clip(low, high).store_to(&mut y[at..]);
        }
        for (at, (x, y)) in x.iter().zip(y).enumerate().skip(full) {
            let state = blocks[at / BLOCK_FEATURES].feature(at % BLOCK_FEATURES);
            *y = T::from_f64(state.standardize(x.to_f64(), per_weight, added).clip(-limit, limit));
        }
    }
}
