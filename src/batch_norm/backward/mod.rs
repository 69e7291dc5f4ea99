//! The backward pass of the layer: in one call ([`train`]), in two halves ([`halves`]), and through constant statistics
//! ([`eval`]). Here is what they share.

mod eval;
mod halves;
mod parameters;
mod train;

use alloc::vec::Vec;
use core::ops::Range;

use super::BatchNorm;
use super::checks::{check_features, check_same};
use super::parameters::inverse_deviation;
use crate::exec::{InputGradients, Means};
use crate::gradients::{GradientSums, Gradients, Scratch};
use crate::moments::Workspace;
use crate::spec::backward::Inputs;
use crate::{Batch, Element, Error, Layout, Moments, Result, error};
use parameters::Source;

impl BatchNorm {
    /// Adds up a batch and computes everything but `dx` from the sums.
    pub(super) fn sum_and_fill<T: Element>(&self, moments: &Moments, inputs: Inputs<'_, T>, gradients: &mut Gradients) {
        let Scratch { sums, workspace, inverse_deviation, of_inputs } = &mut gradients.scratch;
        self.sum(means_of(moments), inputs, sums, workspace);
        self.set_inverse_deviations(moments, inverse_deviation);
        self.fill::<T>(of_inputs, moments, sums, inverse_deviation);
        gradients.set_from_scratch();
    }

    /// Adds up a batch about the running means and computes the gradients of weight and bias.
    pub(super) fn sum_for_eval<T: Element>(&self, inputs: Inputs<'_, T>, gradients: &mut Gradients) {
        let Scratch { sums, workspace, inverse_deviation, .. } = &mut gradients.scratch;
        self.sum(Means { high: &self.running_mean, low: &[] }, inputs, sums, workspace);
        inverse_deviation.clear();
        inverse_deviation.extend(self.running_var.iter().map(|variance| self::inverse_deviation(*variance, self.eps)));
        gradients.set_from_scratch();
    }

    pub(super) fn sum<T: Element>(
        &self,
        means: Means<'_>,
        inputs: Inputs<'_, T>,
        sums: &mut GradientSums,
        workspace: &mut Workspace,
    ) {
        let out = sums.resize(self.num_features(), count_of(inputs.x));
        self.path.of_training(inputs.x.layout(), size_of::<T>()).gradient_sums(inputs, means, out, workspace);
    }

    /// Returns the parameters of `dx`.
    pub(super) fn input_gradients<T: Element>(&self, moments: &Moments, sums: &GradientSums) -> Result<InputGradients> {
        self.check_moments(moments)?;
        self.check_sums(sums)?;
        check_counts(moments, sums.counts().iter().copied())?;
        let (mut of_inputs, mut inverse_deviation) = (InputGradients::default(), Vec::new());
        self.set_inverse_deviations(moments, &mut inverse_deviation);
        self.fill::<T>(&mut of_inputs, moments, sums, &inverse_deviation);
        Ok(of_inputs)
    }

    fn fill<T: Element>(
        &self,
        to: &mut InputGradients,
        moments: &Moments,
        sums: &GradientSums,
        inverse_deviation: &[f64],
    ) {
        let (all, sums) = (0..self.num_features(), [sums.sum_dy(), sums.sum_dy_xmu()]);
        self.gradient_source(all, moments, sums, inverse_deviation).fill(to, self.needed::<T>());
    }

    /// Sets `to` to `1 / sqrt(variance + eps)` of each feature.
    pub(super) fn set_inverse_deviations(&self, moments: &Moments, to: &mut Vec<f64>) {
        to.resize(moments.num_features(), 0.0);
        match moments.uniform_count() {
            Some(count @ 1..) => self.path.variances(moments.slices(), count as f64, to),
            _ => to.iter_mut().enumerate().for_each(|(feature, to)| *to = moments.variance(feature, 0.0)),
        }
        for to in to {
            *to = inverse_deviation(*to, self.eps);
        }
    }

    /// Returns what the parameters of `dx` are made of, for some features and their sums.
    fn gradient_source<'a>(
        &'a self,
        features: Range<usize>,
        moments: &'a Moments,
        [sum_dy, products]: [&'a [f64]; 2],
        inverse_deviation: &'a [f64],
    ) -> Source<'a> {
        let moments = moments.parts();
        Source {
            path: self.path,
            counts: &moments.counts[features.clone()],
            mean: &moments.means[features.clone()],
            mean_low: &moments.means_middle[features.clone()],
            sum_dy,
            products,
            inverse_deviation: &inverse_deviation[features.clone()],
            weight: self.weight.as_deref().map(|weight| &weight[features]),
        }
    }

    pub(super) fn check_train_backward<T: Element>(
        &self,
        moments: &Moments,
        x: Batch<'_, T>,
        dy: Layout,
    ) -> Result<()> {
        self.check_backward(x, dy)?;
        self.check_moments(moments)?;
        check_counts(moments, core::iter::repeat(count_of(x)))
    }

    pub(super) fn check_backward<T: Element>(&self, x: Batch<'_, T>, dy: Layout) -> Result<()> {
        check_features(self.num_features(), x.layout())?;
        check_same(x.layout(), dy)
    }

    pub(super) fn check_moments(&self, moments: &Moments) -> Result<()> {
        error::check_features(("the layer has", self.num_features()), ("the moments have", moments.num_features()))
    }

    pub(super) fn check_sums(&self, sums: &GradientSums) -> Result<()> {
        error::check_features(("the layer has", self.num_features()), ("the sums have", sums.num_features()))
    }
}

impl Gradients {
    pub(super) fn set_from_scratch(&mut self) {
        let sums = core::mem::take(&mut self.scratch.sums);
        self.set(&sums);
        self.scratch.sums = sums;
    }

    /// Sets the gradients of weight and bias from sums and the inverse deviations.
    pub(super) fn set(&mut self, sums: &GradientSums) {
        let (counts, products) = (sums.counts(), sums.sum_dy_xmu());
        self.bias.clear();
        self.bias.extend_from_slice(sums.sum_dy());
        self.weight.clear();
        self.weight.extend(counts.iter().zip(products).zip(&self.scratch.inverse_deviation).map(
            // The variance of no values is NaN, but they have no influence.
            |((count, product), inverse_deviation)| if *count == 0 { 0.0 } else { product * inverse_deviation },
        ));
    }
}

pub(super) fn means_of(moments: &Moments) -> Means<'_> {
    let parts = moments.parts();
    Means { high: parts.means, low: parts.means_middle }
}

/// Returns the number of values per feature. (The other dimensions of an empty batch may be any numbers.)
pub(super) fn count_of<T>(x: Batch<'_, T>) -> u64 {
    if x.data().is_empty() { 0 } else { x.layout().count() as u64 }
}

fn check_counts(moments: &Moments, given: impl Iterator<Item = u64>) -> Result<()> {
    let mut counts = moments.counts().iter().zip(given);
    match counts.find(|(expected, given)| *expected != given) {
        Some((&expected, given)) => Err(Error::Counts { expected, given }),
        None => Ok(()),
    }
}
