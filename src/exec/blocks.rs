//! Both halves of a training step for some features at a time: what the first half (moments, or the sums of a backward
//! pass) has read is still in the second-level cache when the second half (the map) reads it again.

#[cfg(feature = "rayon")]
use alloc::vec::Vec;
use core::ops::Range;

use super::Path;
use crate::Batch;
use crate::layout::Layout;
use crate::spec::Order;
use crate::spec::order::View;
use crate::tuning::{FEATURE_BLOCK_BYTES, LARGEST_FEATURE_BYTES};
#[cfg(feature = "rayon")]
use crate::{kernels::Arrays, tuning::PIECES_PER_THREAD};

/// The features of a batch of planes, block by block.
#[derive(Debug)]
pub(crate) struct FeatureBlocks {
    pub(crate) order: Order,
    /// The path of each block: on one thread.
    pub(crate) path: Path,
    /// Whether threads share the blocks.
    pub(crate) shared: bool,
    /// Features per block.
    features: usize,
}

impl FeatureBlocks {
    /// Returns blocks of features of batches of one shape, or `None` if they are better processed as a whole: if there are
    /// gaps between their outer blocks, if their rows are no planes, if all of it
    /// stays in the second-level cache, if the planes of one feature do not, or if there are too few features for the
    /// threads of the path. Each half reads `bytes` of each value. The batch must have values.
    pub(crate) fn of<T>(path: Path, batches: &[Option<Batch<'_, T>>; 3], bytes: usize) -> Option<Self> {
        let mut layouts = batches.iter().flatten().map(|batch| batch.layout());
        let layout = layouts.clone().next()?.without_gaps();
        if !layouts.all(|layout| layout.is_contiguous()) {
            return None;
        }
        let order = Order::new(layout);
        if order.view != View::Planes || path == Path::Scalar {
            return None;
        }
        let feature = layout.count() * bytes;
        let (all, fitting) = (layout.features(), FEATURE_BLOCK_BYTES / feature);
        let (shared, most) = match path {
            #[cfg(feature = "rayon")]
            Path::Parallel(_) => (true, all / (PIECES_PER_THREAD * rayon::current_num_threads())),
            _ => (false, all),
        };
        let worthwhile = feature * all > 2 * FEATURE_BLOCK_BYTES && feature <= LARGEST_FEATURE_BYTES && most > 0;
        let features = fitting.clamp(1, most.max(1));
        worthwhile.then_some(FeatureBlocks { order, path: Path::Simd(path.isa()), shared, features })
    }

    /// Iterates over the blocks.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (all, step) = (self.order.layout.features(), self.features);
        (0..all).step_by(step).map(move |start| start..all.min(start + step))
    }

    /// Iterates over where the values of a block lie: in one place for each outer block.
    pub(crate) fn places(&self, features: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let (layout, Range { start, end }) = (self.order.layout, features.clone());
        let (inner, all) = (layout.inner(), layout.features());
        (0..layout.outer()).map(move |outer| (outer * all + start) * inner..(outer * all + end) * inner)
    }

    /// Returns the layout of each such place.
    pub(crate) fn layout(&self, features: &Range<usize>) -> Layout {
        Layout::new(1, features.len(), self.order.layout.inner())
    }

    /// Does the work of all blocks on the threads of rayon's current pool. `work` gets a state of its thread (the
    /// calling thread's is `own`), the features of a block, where to write their results, and their places in `y`.
    #[cfg(feature = "rayon")]
    pub(crate) fn on_threads<T: Send, S, const N: usize>(
        &self,
        own: &mut S,
        new: impl Fn() -> S + Sync,
        mut out: Arrays<'_, N>,
        y: &mut [T],
        work: impl Fn(&mut S, Range<usize>, Arrays<'_, N>, Vec<&mut [T]>) + Sync,
    ) {
        let (inner, all) = (self.order.layout.inner(), self.order.layout.features());
        let mut blocks = Vec::new();
        for features in self.iter() {
            let (block, others) = out.split_at(features.len());
            blocks.push((features, block, Vec::with_capacity(self.order.layout.outer())));
            out = others;
        }
        for mut y in y.chunks_exact_mut(all * inner) {
            for (features, _, places) in &mut blocks {
                let (place, others) = y.split_at_mut(features.len() * inner);
                places.push(place);
                y = others;
            }
        }
        let helpers = blocks.len().saturating_sub(1);
        super::parallel::share(blocks.into_iter(), helpers, own, new, |state, (features, out, places)| {
            work(state, features, out, places);
        });
    }
}
