//! A training step: by what a batch is normalised, and how it moves the running statistics.

use super::parameters::{self, Statistics};
use super::{BatchNorm, FewValues, Inference, NonFinite};
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
        let done = self.step(&measured, self.computes_in_single::<T>(), Running::Move);
        self.measured = measured;
        if let Ok(By::Batch(_)) = done {
            std::mem::swap(&mut self.batch, &mut self.measured);
        }
        done.map(|_| ())
    }

    /// Does the same by given moments.
    pub(super) fn step_with<T: Element>(&mut self, moments: &Moments, running: Running) -> Result<()> {
        let by = self.step(moments, self.computes_in_single::<T>(), running)?;
        if matches!(by, By::Batch(_)) && running == Running::Move {
            self.batch.copy_from(moments);
        }
        Ok(())
    }

    /// Returns what normalises a batch by its own statistics, for evaluation without running ones.
    pub(super) fn batch_inference<T: Element>(&self, x: Batch<'_, T>) -> Result<Inference> {
        let moments = self.measure(x)?;
        self.choose(&moments, NonFinite::LetThrough)?;
        let mut variance = vec![0.0; self.num_features];
        self.path.variances(&moments, moments.uniform_count().unwrap_or(0) as f64, &mut variance);
        Ok(self.frozen(Statistics::of(&moments, &variance)))
    }

    fn step(&mut self, moments: &Moments, single: bool, running: Running) -> Result<By> {
        let by = self.choose(moments, self.non_finite)?;
        let (mut variance, mut normalization) =
            (std::mem::take(&mut self.variance), std::mem::take(&mut self.normalization));
        if let By::Batch(count) = by {
            variance.resize(self.num_features, 0.0);
            if self.tracks_running_stats && running == Running::Move {
                self.path.variances(moments, count as f64 - self.running_ddof, &mut variance);
                self.move_running(count, moments.means(), &variance);
            }
            self.path.variances(moments, count as f64, &mut variance);
        }
        let statistics = match by {
            By::Nothing => None,
            By::Batch(_) => Some(Statistics::of(moments, &variance)),
            By::Running => Some(Statistics { mean: &self.running_mean, mean_low: None, variance: &self.running_var }),
        };
        if let Some(statistics) = statistics {
            parameters::fill_double(self.path, &mut normalization, statistics, self.eps, self.weight_bias());
            if single {
                parameters::fill_single(self.path, &mut normalization, statistics.mean_low, self.weight_bias());
            }
        }
        (self.variance, self.normalization) = (variance, normalization);
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

    fn move_running(&mut self, count: u64, mean: &[f64], variance: &[f64]) {
        self.changed();
        self.num_batches_tracked = self.num_batches_tracked.saturating_add(1);
        self.num_values_tracked = self.num_values_tracked.saturating_add(count);
        let share = self.averaging.share(count, self.num_batches_tracked, self.num_values_tracked);
        let towards = |running: &mut [f64], batch: &[f64]| {
            for (running, batch) in running.iter_mut().zip(batch) {
                *running = (1.0 - share) * *running + share * batch;
            }
        };
        towards(&mut self.running_mean, mean);
        towards(&mut self.running_var, variance);
    }

    fn computes_in_single<T: Element>(&self) -> bool {
        size_of::<T>() == size_of::<f32>() && self.precision == Precision::Single
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
