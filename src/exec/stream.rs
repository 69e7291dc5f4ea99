//! Streams: rows that arrive one by one or in batches. Threads take features, each through all rows, so the results do
//! not depend on them.

use super::Path;
use crate::element::{ByElement, INTERNAL};
use crate::kernels::stream::{BLOCK_FEATURES, Block, Push, PushRow, Rows, Standardized};
use crate::kernels::{KernelElement, stream};
use crate::spec::{RowWeights, Running, welford};
use crate::tuning::MANY_FEATURES;
#[cfg(feature = "rayon")]
use crate::tuning::PARALLEL_STREAM;
use crate::{Batch, Element};

impl Path {
    /// Returns the path for single rows of a stream, in which nothing is left to choose: short rows take less time than
    /// asking for the instruction sets of the machine.
    pub(crate) fn of_single_rows(self, features: usize) -> Path {
        if self == Path::Auto && features < MANY_FEATURES { Path::Simd(self.isa()) } else { self }
    }

    /// Adds rows to the features in `blocks`.
    #[inline]
    pub(crate) fn push_rows<T: Element>(self, weights: &mut RowWeights, blocks: &mut [Block], x: Batch<'_, T>) {
        let layout = x.layout();
        match T::input(x.data(), INTERNAL) {
            ByElement::F32(values) => push_f32(self, weights, blocks, Rows::of(values, layout)),
            ByElement::F64(values) => push_f64(self, weights, blocks, Rows::of(values, layout)),
            #[cfg(feature = "half")]
            ByElement::F16(values) => push_f16(self, weights, blocks, Rows::of(values, layout)),
            #[cfg(feature = "half")]
            ByElement::Bf16(values) => push_bf16(self, weights, blocks, Rows::of(values, layout)),
        }
    }

    /// Writes `(x - mean) / sqrt(m2 * per_weight + added)`, clipped to `limit` in size, for a row. Runs on the calling
    /// thread.
    #[inline]
    pub(crate) fn standardize<T: Element>(
        self,
        blocks: &[Block],
        (per_weight, added, limit): (f64, f64, f64),
        x: &[T],
        y: &mut [T],
    ) {
        match T::in_out([Some(x)], y, INTERNAL) {
            ByElement::F32(([x], y)) => {
                let x = x.unwrap_or_default();
                standardize_f32(self, Standardized { blocks, per_weight, added, limit, x, y });
            }
            ByElement::F64(([x], y)) => {
                let x = x.unwrap_or_default();
                standardize_f64(self, Standardized { blocks, per_weight, added, limit, x, y });
            }
            #[cfg(feature = "half")]
            ByElement::F16(([x], y)) => {
                let x = x.unwrap_or_default();
                standardize_f16(self, Standardized { blocks, per_weight, added, limit, x, y });
            }
            #[cfg(feature = "half")]
            ByElement::Bf16(([x], y)) => {
                let x = x.unwrap_or_default();
                standardize_bf16(self, Standardized { blocks, per_weight, added, limit, x, y });
            }
        }
    }
}

/// Not generic, so that the kernels are compiled in this crate (see `concrete!` of [`exec`](super)).
macro_rules! concrete {
    ($element:ty, $push:ident, $standardize:ident) => {
        fn $push(path: Path, weights: &mut RowWeights, blocks: &mut [Block], rows: Rows<'_, $element>) {
            if rows.count == 1 && rows.features < MANY_FEATURES && path != Path::Scalar {
                // What most streams do in most calls: nothing here but the kernel.
                stream::prepare(weights, blocks);
                let factors = &[weights.next()];
                path.isa().run(PushRow { factors, blocks, row: &rows });
            } else {
                push(path, weights, blocks, rows);
            }
        }

        fn $standardize(path: Path, row: Standardized<'_, $element>) {
            standardize(path, row);
        }
    };
}

concrete!(f32, push_f32, standardize_f32);
concrete!(f64, push_f64, standardize_f64);
#[cfg(feature = "half")]
concrete!(half::f16, push_f16, standardize_f16);
#[cfg(feature = "half")]
concrete!(half::bf16, push_bf16, standardize_bf16);

#[inline(never)]
fn push<T: KernelElement>(path: Path, weights: &mut RowWeights, blocks: &mut [Block], rows: Rows<'_, T>) {
    if rows.count == 0 {
        return;
    }
    if path == Path::Scalar {
        return one_by_one(weights, blocks, rows);
    }
    #[cfg(feature = "rayon")]
    if !blocks.is_empty() && path.forks(rows.features.saturating_mul(rows.count), PARALLEL_STREAM) {
        return parallel(path, weights, blocks, rows);
    }
    path.isa().run(Push { weights, blocks, rows });
}

/// Adds rows to one feature after the other.
fn one_by_one<T: Element>(weights: &mut RowWeights, blocks: &mut [Block], rows: Rows<'_, T>) {
    let before = *weights;
    // The rows count, even if there are no features.
    *weights = welford::push_rows(before, &mut Running::default(), core::iter::repeat_n(0.0, rows.count));
    for feature in 0..rows.features {
        let block = &mut blocks[feature / BLOCK_FEATURES];
        let mut running = block.feature(feature % BLOCK_FEATURES);
        let column = rows.values.iter().skip(feature).step_by(rows.stride).map(|x| x.to_f64());
        welford::push_rows(before, &mut running, column);
        block.set_feature(feature % BLOCK_FEATURES, running);
    }
}

/// Adds rows on the threads of rayon's current pool: each takes a part of the features.
#[cfg(feature = "rayon")]
fn parallel<T: KernelElement>(path: Path, weights: &mut RowWeights, blocks: &mut [Block], rows: Rows<'_, T>) {
    let (isa, before) = (path.isa(), *weights);
    let per_thread = blocks.len().div_ceil(rayon::current_num_threads()).max(1);
    let mut parts = blocks.chunks_mut(per_thread).enumerate().map(|(part, blocks)| {
        let first = part * per_thread * BLOCK_FEATURES;
        let features = (rows.features - first).min(per_thread * BLOCK_FEATURES);
        (blocks, Rows { values: &rows.values[first..], features, ..rows })
    });
    let own = parts.next();
    rayon::in_place_scope(|scope| {
        for (blocks, rows) in parts {
            scope.spawn(move |_| isa.run(Push { weights: &mut before.clone(), blocks, rows }));
        }
        if let Some((blocks, rows)) = own {
            isa.run(Push { weights, blocks, rows });
        }
    });
}

#[inline(always)]
fn standardize<T: KernelElement>(path: Path, row: Standardized<'_, T>) {
    if path == Path::Scalar {
        let Standardized { blocks, per_weight, added, limit, x, y } = row;
        for (feature, (x, y)) in x.iter().zip(y).enumerate() {
            let running = blocks[feature / BLOCK_FEATURES].feature(feature % BLOCK_FEATURES);
            *y = T::from_f64(running.standardize(x.to_f64(), per_weight, added).clamp(-limit, limit));
        }
    } else {
        path.isa().run(row);
    }
}
