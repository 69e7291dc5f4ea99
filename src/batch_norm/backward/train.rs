//! The gradients of a training step.

use core::ops::Range;

use super::{count_of, means_of};
use crate::batch_norm::BatchNorm;
use crate::batch_norm::checks::check_same;
use crate::exec::{FeatureBlocks, InputGradients, OfOutputs};
use crate::gradients::{GradOutput, GradOutputMut, Gradients, Scratch};
use crate::kernels::Arrays;
use crate::kernels::reduce::SUM_WORDS;
use crate::moments::Workspace;
use crate::spec::backward::Inputs;
use crate::{Batch, BatchMut, Element, Moments, Result};

impl BatchNorm {
    /// Computes the gradients of a training step. `moments` are those of the batch, with which it was normalised; `dy`
    /// is the gradient with respect to the outputs, `dx` receives the one with respect to the inputs, and the result is
    /// the one with respect to weight and bias. With `n` values per feature, `v = variance + eps` and sums over all
    /// rows, as PyTorch has it:
    ///
    /// ```text
    /// bias   = sum(dy)
    /// weight = sum(dy * (x - mean)) / sqrt(v)
    /// dx     = (dy - sum(dy) / n - (x - mean) * sum(dy * (x - mean)) / (n * v)) * weight / sqrt(v)
    /// ```
    ///
    /// It reads `x` and `dy` twice and writes `dx` once. Sums are computed in f64. So is `dx`, and rounded once, for f64
    /// data and in [`Precision::Double`](crate::Precision::Double); otherwise `dx` of f32 data is computed in f32, with the
    /// means of `x` and `dy` as pairs. Through a ReLU, `dy` is a [`GradOutput::through_relu`]. Second derivatives are not
    /// supported.
    ///
    /// Error bounds, with `u = 2^-53`, about the given moments, for any mean:
    ///
    /// | what | f32 data | f64 data |
    /// |---|---|---|
    /// | `sum(dy)` | `2^-46 * sum(abs(dy))` | `u` of itself |
    /// | `sum(dy * (x - mean))` | `2^-45 * sum(abs(dy * (x - mean)))` | `3 u * sum(abs(dy * (x - mean)))` + `u` of itself |
    /// | weight | 2.4e-13 of itself, and that of the sum | `8 u` of itself, and that of the sum |
    /// | `dx` in f64, before it is rounded | 7e-13 of the three terms, and those of the sums | `28 u` of the three terms, and those of the sums |
    ///
    /// `dx` in f32 is off by at most 2^-24 times the following, in addition to what the sums contribute: 2.001 <!-- GRADIENT_SINGLE_DY -->
    /// `abs(dy - sum(dy) / n)` and 4.001 <!-- GRADIENT_SINGLE_X --> `abs(x - mean) * abs(sum(dy * (x - mean))) / (n * v)`,
    /// both times `abs(weight) / sqrt(v)`, and 3.001 <!-- GRADIENT_SINGLE_DX --> `abs(dx)`. (Where a term underflows, also
    /// 2^-38 of `(abs(bias) + abs(weight)) / n`, these being gradients, times the same; and 2^-149.) This is proven, and
    /// tests come within 2 % of it. Features that f32 cannot hold are computed in f64: their own parameters decide, so no
    /// feature depends on the others.
    ///
    /// To leave out `dx`, call [`BatchNorm::backward_sums`] and [`BatchNorm::gradients`]. The gradients of weight and
    /// bias follow from sums that `dx` needs, so there is no reason to leave them out. The layer is not changed.
    ///
    /// A feature with one value, or a constant one if `eps` is 0, has a `dx` of 0. If a `dy` or an `x` of a feature is NaN or
    /// infinite, so are its gradients (NaN, but for the bias: it is the plain sum). Of an empty batch, weight and bias
    /// have gradients of 0.
    ///
    /// # Errors
    /// [`Error::Features`] if the batch or the moments have a different number of features from the layer,
    /// [`Error::LayoutMismatch`] if `dy` or `dx` has a different layout from `x`, [`Error::Counts`] if the moments are of
    /// a different number of rows, [`Error::NoReluOutput`] if the layer applies a ReLU and `dy` comes without its output
    /// ([`GradOutput::through_relu`](crate::GradOutput::through_relu)). A failed call writes nothing.
    ///
    /// [`Error::Counts`]: crate::Error::Counts
    /// [`Error::Features`]: crate::Error::Features
    /// [`Error::LayoutMismatch`]: crate::Error::LayoutMismatch
    /// [`Error::NoReluOutput`]: crate::Error::NoReluOutput
    ///
    /// ```
    /// use batchnorm::{Batch, BatchMut, BatchNorm, Layout, moments};
    ///
    /// let (layout, mut dx) = (Layout::nc(4, 1), [0.0f64; 4]);
    /// let (x, dy) = (Batch::new(&[0.0, 2.0, 0.0, 2.0], layout)?, Batch::new(&[1.0, 2.0, 3.0, 4.0], layout)?);
    /// let bn = BatchNorm::new(1).with_eps(0.0)?;
    /// let gradients = bn.backward_train(&moments(x), x, dy, BatchMut::new(&mut dx, layout)?)?;
    /// assert_eq!((gradients.weight(), gradients.bias()), (&[2.0][..], &[10.0][..]));
    /// assert_eq!(dx, [-1.0, -1.0, 1.0, 1.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_train<'a, T: Element>(
        &self,
        moments: &Moments,
        x: Batch<'_, T>,
        dy: impl Into<GradOutput<'a, T>>,
        dx: BatchMut<'_, T>,
    ) -> Result<Gradients> {
        let mut gradients = Gradients::default();
        self.backward_train_into(moments, x, dy, dx, &mut gradients)?;
        Ok(gradients)
    }

    /// Computes the same as [`BatchNorm::backward_train`], but replaces `dy` by `dx`.
    ///
    /// # Errors
    /// The same as for [`BatchNorm::backward_train`].
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Layout, moments};
    /// let (layout, mut dy) = (Layout::nc(4, 1), [1.0f64, 2.0, 3.0, 4.0]);
    /// let x = Batch::new(&[0.0, 2.0, 0.0, 2.0], layout)?;
    /// BatchNorm::new(1).with_eps(0.0)?.backward_train_in_place(&moments(x), x, BatchMut::new(&mut dy, layout)?)?;
    /// assert_eq!(dy, [-1.0, -1.0, 1.0, 1.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_train_in_place<'a, T: Element>(
        &self,
        moments: &Moments,
        x: Batch<'_, T>,
        dy: impl Into<GradOutputMut<'a, T>>,
    ) -> Result<Gradients> {
        let mut gradients = Gradients::default();
        self.backward_train_in_place_into(moments, x, dy, &mut gradients)?;
        Ok(gradients)
    }

    /// Computes the same as [`BatchNorm::backward_train`], but overwrites an existing [`Gradients`]. Reusing one, calls
    /// allocate nothing, unless they start work on other threads.
    ///
    /// # Errors
    /// The same as for [`BatchNorm::backward_train`]. A failed call writes nothing.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Gradients, Layout, moments};
    /// let (layout, mut dx, mut gradients) = (Layout::nc(2, 1), [0.0f64; 2], Gradients::default());
    /// let x = Batch::new(&[0.0, 2.0], layout)?;
    /// for dy in [[1.0, 2.0], [3.0, 5.0]] {
    ///     let (dy, dx) = (Batch::new(&dy, layout)?, BatchMut::new(&mut dx, layout)?);
    ///     BatchNorm::new(1).with_eps(0.0)?.backward_train_into(&moments(x), x, dy, dx, &mut gradients)?;
    /// }
    /// assert_eq!(gradients.weight(), [2.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_train_into<'a, T: Element>(
        &self,
        moments: &Moments,
        x: Batch<'_, T>,
        dy: impl Into<GradOutput<'a, T>>,
        dx: BatchMut<'_, T>,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let dy = dy.into();
        dy.check(self.activation())?;
        self.check_train_backward(moments, x, dy.layout())?;
        check_same(x.layout(), dx.layout())?;
        let (dy, y) = dy.batches();
        self.both_halves(moments, x, OfOutputs { dy: Some(dy), y }, dx, gradients);
        Ok(())
    }

    /// Computes the same as [`BatchNorm::backward_train_in_place`], but overwrites an existing [`Gradients`]: see
    /// [`BatchNorm::backward_train_into`].
    ///
    /// # Errors
    /// The same as for [`BatchNorm::backward_train`]. A failed call writes nothing.
    ///
    /// ```
    /// # use batchnorm::{Batch, BatchMut, BatchNorm, Gradients, Layout, moments};
    /// let (layout, mut dy, mut gradients) = (Layout::nc(2, 1), [1.0f64, 2.0], Gradients::default());
    /// let (x, dy) = (Batch::new(&[0.0, 2.0], layout)?, BatchMut::new(&mut dy, layout)?);
    /// BatchNorm::new(1).backward_train_in_place_into(&moments(x), x, dy, &mut gradients)?;
    /// assert_eq!(gradients.bias(), [3.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn backward_train_in_place_into<'a, T: Element>(
        &self,
        moments: &Moments,
        x: Batch<'_, T>,
        dy: impl Into<GradOutputMut<'a, T>>,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let mut dy = dy.into();
        dy.check(self.activation())?;
        self.check_train_backward(moments, x, dy.layout())?;
        let (dy, y) = dy.batches();
        self.both_halves(moments, x, OfOutputs { dy: None, y }, dy, gradients);
        Ok(())
    }

    /// Adds up the batch and maps it: as a whole, or block by block of features.
    fn both_halves<T: Element>(
        &self,
        moments: &Moments,
        x: Batch<'_, T>,
        of_outputs: OfOutputs<'_, T>,
        mut dx: BatchMut<'_, T>,
        gradients: &mut Gradients,
    ) {
        let (path, OfOutputs { dy, y }) = (self.path.of_training(x.layout(), size_of::<T>()), of_outputs);
        let bytes = if y.is_some() { 3 } else { 2 } * size_of::<T>();
        let batches = [Some(x), y, dy];
        let contiguous = dx.as_batch().contiguous().is_some() && !dx.data().is_empty();
        let blocks = if contiguous { FeatureBlocks::of(path, &batches, bytes) } else { None };
        // Threads cannot share gradients that they read and write.
        let blocks = blocks.filter(|blocks| !blocks.shared || dy.is_some());
        let Some(blocks) = blocks else {
            self.sum_and_fill(moments, Inputs { dy: dy.unwrap_or(dx.as_batch()), x, y }, gradients);
            let of_inputs = &gradients.scratch.of_inputs;
            return path.input_gradient(of_inputs, self.precision, of_outputs, x, dx);
        };
        let Scratch { sums, workspace, inverse_deviation, of_inputs } = &mut gradients.scratch;
        self.set_inverse_deviations(moments, inverse_deviation);
        let mut out = sums.resize(self.num_features(), count_of(x));
        let step = Step { bn: self, blocks: &blocks, moments, inverse_deviation, x };
        match dy {
            #[cfg(feature = "rayon")]
            Some(dy) if blocks.shared => {
                let mut state = (core::mem::take(of_inputs), core::mem::take(workspace));
                blocks.on_threads(&mut state, Default::default, out, dx.data_mut(), |state, features, out, places| {
                    step.sum(features.clone(), Inputs { dy, x, y }, out, state);
                    for (place, dx) in blocks.places(&features).zip(places) {
                        step.map(&features, &state.0, of_outputs, place, dx);
                    }
                });
                (*of_inputs, *workspace) = state;
            }
            _ => {
                let mut state = (core::mem::take(of_inputs), core::mem::take(workspace));
                for features in blocks.iter() {
                    let inputs = Inputs { dy: dy.unwrap_or(dx.as_batch()), x, y };
                    step.sum(features.clone(), inputs, out.part(features.clone()), &mut state);
                    for place in blocks.places(&features) {
                        step.map(&features, &state.0, of_outputs, place.clone(), &mut dx.data_mut()[place]);
                    }
                }
                (*of_inputs, *workspace) = state;
            }
        }
        gradients.set_from_scratch();
    }
}

/// A backward pass, block by block of features.
struct Step<'a, T> {
    bn: &'a BatchNorm,
    blocks: &'a FeatureBlocks,
    moments: &'a Moments,
    inverse_deviation: &'a [f64],
    x: Batch<'a, T>,
}

impl<T: Element> Step<'_, T> {
    /// Adds up a block, and sets the parameters of its `dx`.
    fn sum(
        &self,
        features: Range<usize>,
        inputs: Inputs<'_, T>,
        mut out: Arrays<'_, SUM_WORDS>,
        (of_inputs, workspace): &mut (InputGradients, Workspace),
    ) {
        let Step { bn, blocks, moments, inverse_deviation, .. } = *self;
        let means = means_of(moments);
        blocks.path.gradient_sums_of(features.clone(), &blocks.order, inputs, means, out.reborrow(), workspace);
        let [sum_dy, _, products, _] = out.as_slices();
        let source = bn.gradient_source(features, moments, [sum_dy, products], inverse_deviation);
        source.fill(of_inputs, bn.needed::<T>());
    }

    /// Computes `dx` of one place of a block.
    fn map(
        &self,
        features: &Range<usize>,
        of_inputs: &InputGradients,
        of_outputs: OfOutputs<'_, T>,
        place: Range<usize>,
        dx: &mut [T],
    ) {
        let Step { bn, blocks, x, .. } = *self;
        let layout = blocks.layout(features);
        let (x, of_outputs) = (Batch::checked(&x.data()[place.clone()], layout), of_outputs.part(&place, layout));
        blocks.path.input_gradient(of_inputs, bn.precision, of_outputs, x, BatchMut::checked(dx, layout));
    }
}
