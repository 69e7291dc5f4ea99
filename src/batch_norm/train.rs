//! A training step: by what a batch is normalised, and how it moves the running statistics.

use std::ops::Range;

use super::parameters::Needed;
use super::{BatchNorm, FewValues, Inference, NonFinite};
use crate::kernels::MomentSlices;
use crate::{Batch, Element, Error, Moments, Precision, Result};

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
    /// Computes the moments of the batch, moves the running statistics and sets `self.normalization` to that which
    /// normalises the batch.
    pub(super) fn train_step<T: Element>(&mut self, x: Batch<'_, T>) -> Result<()> {
        let mut measured = std::mem::take(&mut self.measured);
        self.path.of_training(x.data()).moments_into(x, &mut measured, &mut self.workspace);
        let done = self.step(&measured, self.needed::<T>(), Running::Move);
        self.measured = measured;
        if let Ok(By::Batch(_)) = done {
            std::mem::swap(&mut self.batch, &mut self.measured);
        }
        done.map(|_| ())
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
        let mut normalization = std::mem::take(&mut self.normalization);
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
        if count as f64 > self.running_ddof {
            return Ok(By::Batch(count));
        }
        if self.few_values == FewValues::UseRunningStats && self.tracks_running_stats {
            return Ok(By::Running);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and it saturates")]
        let needed = (self.running_ddof.floor() as usize).saturating_add(1);
        Err(Error::TooFewValues { needed, given: usize::try_from(count).unwrap_or(usize::MAX) })
    }

    /// Counts a batch, and takes the running statistics out of the layer to move them.
    fn start_move(&mut self, count: u64) -> Moved {
        self.changed();
        self.num_batches_tracked = self.num_batches_tracked.saturating_add(1);
        self.num_values_tracked = self.num_values_tracked.saturating_add(count);
        let share = self.averaging.share(count, self.num_batches_tracked, self.num_values_tracked);
        let (mean, var) = (&mut self.running_mean, &mut self.running_var);
        Moved { share, mean: std::mem::take(mean), var: std::mem::take(var) }
    }

    pub(super) fn needed<T: Element>(&self) -> Needed {
        match self.precision {
            Precision::Single if size_of::<T>() == size_of::<f32>() => Needed::Single,
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
