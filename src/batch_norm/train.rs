//! A training step: by what a batch is normalised, and how it moves the running statistics.

use alloc::vec::Vec;
use core::ops::Range;

use super::parameters::Needed;
use super::{BatchNorm, FewValues, Inference, NonFinite};
use crate::exec::{FeatureBlocks, Normalization};
use crate::kernels::{MomentArrays, MomentSlices};
use crate::moments::Workspace;
use crate::tuning::VARIANCE_BLOCK;
use crate::{Batch, BatchMut, Element, Error, Moments, Precision, Result};

/// The statistics by which a training batch is normalised.
enum By {
    /// None: there are no values.
    Nothing,
    /// The batch's, of so many values per feature.
    Batch(u64),
    /// The running ones, which the batch does not move.
    Running,
}

/// Whether a step moves the running statistics.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Running {
    Move,
    Keep,
}

impl BatchNorm {
    /// Trains on a batch: as a whole, or block by block of features. Without `x`, it is in `y`, in place.
    pub(super) fn train<T: Element>(
        &mut self,
        x: Option<Batch<'_, T>>,
        residual: Option<Batch<'_, T>>,
        mut y: BatchMut<'_, T>,
    ) -> Result<()> {
        let (layout, path) = (y.layout(), self.path.of_training(y.layout(), size_of::<T>()));
        // A policy that refuses a batch needs all of its moments.
        if !y.data().is_empty() && self.non_finite == NonFinite::LetThrough {
            let batches = [x, residual, Some(y.as_batch())];
            let blocks = FeatureBlocks::of(path, &batches, size_of::<T>());
            // Threads cannot share a batch that they read and write.
            if let Some(blocks) = blocks.filter(|blocks| !blocks.shared || x.is_some())
                && let By::Batch(count) = self.choose_by_count(layout.count() as u64)?
            {
                self.train_in_blocks(&blocks, count, (x.map(|x| x.data()), residual.map(|x| x.data())), y.data_mut());
                return Ok(());
            }
        }
        let mut measured = core::mem::take(&mut self.measured);
        path.moments_into(x.unwrap_or(y.as_batch()), &mut measured, &mut self.workspace);
        let done = self.step(&measured, self.needed::<T>(), Running::Move);
        self.measured = measured;
        if let By::Batch(_) = done? {
            core::mem::swap(&mut self.batch, &mut self.measured);
        }
        path.normalize(&self.normalization, self.precision, x, residual, y);
        Ok(())
    }

    /// Computes the moments of each block of features and normalises the block; then moves the running statistics.
    fn train_in_blocks<T: Element>(
        &mut self,
        blocks: &FeatureBlocks,
        count: u64,
        (x, residual): (Option<&[T]>, Option<&[T]>),
        y: &mut [T],
    ) {
        let (mut measured, workspace) = (core::mem::take(&mut self.measured), core::mem::take(&mut self.workspace));
        let mut state = (core::mem::take(&mut self.normalization), workspace);
        let mut out = measured.resize(self.num_features, count);
        match x {
            #[cfg(feature = "rayon")]
            Some(x) if blocks.shared => {
                let activation = state.0.activation;
                let new = || (Normalization { activation, ..Normalization::default() }, Workspace::default());
                blocks.on_threads(&mut state, new, out, y, |(normalization, workspace), features, out, places| {
                    self.measure_block(blocks, features.clone(), x, out, normalization, workspace);
                    for (place, y) in blocks.places(&features).zip(places) {
                        self.normalize_place(blocks, &features, normalization, (Some(x), residual), place, y);
                    }
                });
            }
            _ => {
                let (normalization, workspace) = &mut state;
                for features in blocks.iter() {
                    let (input, out) = (x.unwrap_or(&*y), out.part(features.clone()));
                    self.measure_block(blocks, features.clone(), input, out, normalization, workspace);
                    for place in blocks.places(&features) {
                        let y = &mut y[place.clone()];
                        self.normalize_place(blocks, &features, normalization, (x, residual), place, y);
                    }
                }
            }
        }
        (self.normalization, self.workspace) = state;
        self.measured = core::mem::replace(&mut self.batch, measured);
        if self.tracks_running_stats {
            self.move_towards_batch(count);
        }
    }

    /// Computes the moments of a block of features, and the parameters that normalise it.
    fn measure_block<T: Element>(
        &self,
        blocks: &FeatureBlocks,
        features: Range<usize>,
        x: &[T],
        mut out: MomentArrays<'_>,
        normalization: &mut Normalization,
        workspace: &mut Workspace,
    ) {
        blocks.path.moments_of(features.clone(), &blocks.order, x, out.reborrow(), workspace);
        let moments = out.as_moments();
        let source = self.source_of(features, moments.0[0], Some(moments.0[1]));
        let count = blocks.order.layout.count() as f64;
        source.fill(normalization, self.needed::<T>(), |part, to| self.path.variances(moments.part(part), count, to));
    }

    /// Normalises one place of a block of features.
    fn normalize_place<T: Element>(
        &self,
        blocks: &FeatureBlocks,
        features: &Range<usize>,
        normalization: &Normalization,
        (x, residual): (Option<&[T]>, Option<&[T]>),
        place: Range<usize>,
        y: &mut [T],
    ) {
        let layout = blocks.layout(features);
        let part = |values: Option<_>| values.map(|values: &[T]| Batch::checked(&values[place.clone()], layout));
        let y = BatchMut::checked(y, layout);
        blocks.path.normalize(normalization, self.precision, part(x), part(residual), y);
    }

    /// Moves the running statistics towards those of the last batch.
    fn move_towards_batch(&mut self, count: u64) {
        let mut moved = self.start_move(count);
        let mut variance = [0.0; VARIANCE_BLOCK];
        for start in (0..self.num_features).step_by(VARIANCE_BLOCK) {
            let features = start..self.num_features.min(start + VARIANCE_BLOCK);
            let (moments, variance) = (self.batch.slices().part(features.clone()), &mut variance[..features.len()]);
            self.path.variances(moments, count as f64 - self.running_ddof, variance);
            moved.towards(features, moments, variance);
        }
        (self.running_mean, self.running_var) = (moved.mean, moved.var);
    }

    /// Does the same by given moments.
    pub(super) fn step_with<T: Element>(&mut self, moments: &Moments, running: Running) -> Result<()> {
        let by = self.step(moments, self.needed::<T>(), running)?;
        if matches!(by, By::Batch(_)) && running == Running::Move {
            self.batch.copy_from(moments);
        }
        Ok(())
    }

    /// Returns what normalises a batch by its own statistics, for evaluation without running ones.
    pub(super) fn batch_inference<T: Element>(&self, x: Batch<'_, T>) -> Result<Inference> {
        let moments = self.measure(x)?;
        self.choose(&moments, NonFinite::LetThrough)?;
        let source = self.source(moments.parts().means, Some(moments.parts().means_middle));
        let (path, count) = (self.path, moments.uniform_count().unwrap_or(0) as f64);
        Ok(self.frozen(source, |features, to| path.variances(moments.slices().part(features), count, to)))
    }

    fn step(&mut self, moments: &Moments, needed: Needed, running: Running) -> Result<By> {
        let by = self.choose(moments, self.non_finite)?;
        let mut normalization = core::mem::take(&mut self.normalization);
        match by {
            By::Nothing => {}
            By::Batch(count) => {
                let mut moved = (self.tracks_running_stats && running == Running::Move).then(|| self.start_move(count));
                let source = self.source(moments.parts().means, Some(moments.parts().means_middle));
                source.fill(&mut normalization, needed, |features, variance| {
                    let moments = moments.slices().part(features.clone());
                    if let Some(moved) = &mut moved {
                        self.path.variances(moments, count as f64 - self.running_ddof, variance);
                        moved.towards(features, moments, variance);
                    }
                    self.path.variances(moments, count as f64, variance);
                });
                if let Some(Moved { mean, var, .. }) = moved {
                    (self.running_mean, self.running_var) = (mean, var);
                }
            }
            By::Running => self.source(&self.running_mean, None).fill(&mut normalization, needed, |features, to| {
                to.copy_from_slice(&self.running_var[features]);
            }),
        }
        self.normalization = normalization;
        Ok(by)
    }

    /// Decides by what a batch with these moments is normalised. All errors of a step arise here, before it changes
    /// anything.
    fn choose(&self, moments: &Moments, non_finite: NonFinite) -> Result<By> {
        let count = one_count(moments)?;
        if count == 0 {
            return Ok(By::Nothing);
        }
        if non_finite == NonFinite::Refuse {
            check_finite(moments)?;
        }
        self.choose_by_count(count)
    }

    /// The same for a batch that has values, whatever they are.
    fn choose_by_count(&self, count: u64) -> Result<By> {
        if count as f64 > self.running_ddof {
            return Ok(By::Batch(count));
        }
        if self.few_values == FewValues::UseRunningStats && self.tracks_running_stats {
            return Ok(By::Running);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and it saturates")]
        let needed = (self.running_ddof as usize).saturating_add(1);
        Err(Error::TooFewValues { needed, given: usize::try_from(count).unwrap_or(usize::MAX) })
    }

    /// Counts a batch, and takes the running statistics out of the layer to move them.
    fn start_move(&mut self, count: u64) -> Moved {
        self.changed();
        self.num_batches_tracked = self.num_batches_tracked.saturating_add(1);
        self.num_values_tracked = self.num_values_tracked.saturating_add(count);
        let share = self.averaging.share(count, self.num_batches_tracked, self.num_values_tracked);
        let (mean, var) = (&mut self.running_mean, &mut self.running_var);
        Moved { share, mean: core::mem::take(mean), var: core::mem::take(var) }
    }

    pub(super) fn needed<T: Element>(&self) -> Needed {
        match self.precision {
            Precision::Single if size_of::<T>() < size_of::<f64>() => Needed::Single,
            _ => Needed::Double,
        }
    }
}

/// Running statistics that move towards a batch.
struct Moved {
    /// The share of the batch.
    share: f64,
    mean: Vec<f64>,
    var: Vec<f64>,
}

impl Moved {
    /// Moves those of some features.
    fn towards(&mut self, features: Range<usize>, moments: MomentSlices<'_>, variance: &[f64]) {
        let Moved { share, mean, var } = self;
        let towards = |running: &mut [f64], batch: &[f64]| {
            for (running, batch) in running.iter_mut().zip(batch) {
                *running = (1.0 - *share) * *running + *share * batch;
            }
        };
        towards(&mut mean[features.clone()], moments.0[0]);
        towards(&mut var[features], variance);
    }
}

/// Returns the count of all features. (Moments of batches have one; merged moments may not.)
fn one_count(moments: &Moments) -> Result<u64> {
    let counts = moments.counts();
    match (moments.uniform_count(), counts.first()) {
        (Some(count), _) => Ok(count),
        (None, Some(&a)) => {
            let b = counts.iter().copied().find(|&b| b != a).unwrap_or(a);
            Err(Error::UnevenCounts { a, b })
        }
        (None, None) => Ok(0),
    }
}

fn check_finite(moments: &Moments) -> Result<()> {
    let finite = |feature: &usize| moments.mean(*feature).is_finite() && moments.m2(*feature).is_finite();
    match (0..moments.num_features()).find(|feature| !finite(feature)) {
        Some(feature) => {
            Err(Error::NonFinite { feature, mean: moments.mean(feature), variance: moments.variance(feature, 0.0) })
        }
        None => Ok(()),
    }
}
