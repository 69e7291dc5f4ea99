//! Calls that change no layer, with hostile sizes: the backward pass, folding, and sums from elsewhere. Each fails
//! exactly where the documentation says so, and then writes nothing.

use arbitrary::Arbitrary;
use batchnorm::{
    Activation, BatchNorm, Error, FewValues, GradOutput, GradOutputMut, GradientSums, GradientSumsParts, Gradients,
    Result, moments,
};

use crate::assert_same_bits;
use crate::hostile::{ShapeLen, Side, Values, count, shape, values};

/// Whether training takes a batch of so many values per feature. (An empty one moves nothing.)
pub fn trains(bn: &BatchNorm, count: u64) -> bool {
    let by_running = bn.few_values() == FewValues::UseRunningStats && bn.tracks_running_stats();
    count == 0 || count as f64 > bn.running_ddof() || by_running
}

/// What a backward pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Arbitrary)]
enum Of {
    Training,
    Evaluation,
    /// Weight and bias of an evaluation.
    Parameters,
    /// The inputs of an evaluation.
    Inputs,
    /// A training step in two halves.
    Halves,
}

/// A backward pass, in place if there is no `dx`.
#[derive(Debug, Arbitrary)]
pub struct Backward {
    of: Of,
    moments: ShapeLen,
    x: ShapeLen,
    dy: ShapeLen,
    dx: Option<ShapeLen>,
    relu: Option<ShapeLen>,
}

impl Backward {
    /// Makes the call.
    ///
    /// # Panics
    /// If it does not give an error where it should, or gives one where it should not, or writes with an error.
    pub fn run(self, bn: &BatchNorm) {
        let [of_moments, x, dy] = [self.moments, self.x, self.dy].map(Values::of);
        let relu = self.relu.map(Values::of);
        let mut dx = Values::of(self.dx.unwrap_or(self.dy));
        let written = dx.values().to_vec();
        let (Some(of_moments), Some(x), Some(dy)) = (of_moments.batch(), x.batch(), dy.batch()) else { return };
        let relu = match &relu {
            Some(relu) if relu.batch().is_none() => return,
            relu => relu.as_ref().and_then(Values::batch),
        };
        let Some(mut dx_batch) = dx.batch_mut() else { return };
        let (layout, dx_layout, m) = (x.layout(), dx_batch.layout(), moments(of_moments));
        if let Some(y) = relu.filter(|y| shape(y.layout()) != shape(dy.layout())) {
            assert!(GradOutput::through_relu(dy, y).is_err());
            return;
        }
        let through = || relu.map_or(dy.into(), |y| GradOutput::through_relu(dy, y).expect("the same layout"));

        // What every one of these needs.
        let uses_inputs = self.of != Of::Inputs;
        let writes = self.of != Of::Parameters;
        let mut fits = dy.layout().features() == bn.num_features()
            && (!uses_inputs || shape(layout) == shape(dy.layout()))
            && (!writes || shape(dx_layout) == shape(dy.layout()))
            && (relu.is_some() || bn.activation() == Activation::None);
        let by_batch = matches!(self.of, Of::Training | Of::Halves);
        if by_batch {
            fits &= m.num_features() == bn.num_features() && m.counts().iter().all(|n| *n == count(layout));
        } else {
            fits &= bn.tracks_running_stats();
        }

        let mut gradients = Gradients::default();
        let into = &mut gradients;
        let in_place = self.dx.is_none();
        let done = match (self.of, in_place, relu) {
            (Of::Training, false, _) => bn.backward_train_into(&m, x, through(), dx_batch, into),
            (Of::Training, true, None) => bn.backward_train_in_place_into(&m, x, dx_batch, into),
            (Of::Training, true, Some(y)) => {
                let dy = GradOutputMut::through_relu(dx_batch.reborrow(), y);
                dy.and_then(|dy| bn.backward_train_in_place_into(&m, x, dy, into))
            }
            (Of::Evaluation, false, _) => bn.backward_eval_into(x, through(), dx_batch, into),
            (Of::Evaluation, true, None) => bn.backward_eval_in_place(x, dx_batch).map(|given| *into = given),
            (Of::Evaluation, true, Some(y)) => GradOutputMut::through_relu(dx_batch.reborrow(), y)
                .and_then(|dy| bn.backward_eval_in_place(x, dy))
                .map(|given| *into = given),
            (Of::Parameters, ..) => bn.backward_eval_parameters(x, through()).map(|given| *into = given),
            (Of::Inputs, ..) => bn.backward_eval_input(through(), dx_batch),
            (Of::Halves, ..) => bn
                .backward_sums(&m, x, through())
                .and_then(|sums| bn.backward_apply(&m, &sums, x, through(), dx_batch).and(bn.gradients(&m, &sums)))
                .map(|given| *into = given),
        };
        assert_eq!(done.is_err(), !fits, "{:?} of {layout}, {}, {dx_layout}: {done:?}", self.of, dy.layout());
        match done {
            Ok(()) if self.of == Of::Inputs => {}
            Ok(()) => assert_eq!([gradients.weight(), gradients.bias()].map(<[f64]>::len), [bn.num_features(); 2]),
            Err(error) => {
                assert!(!error.to_string().is_empty() && gradients.num_features() == 0);
                assert_same_bits("dx after an error", &written, dx.values());
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Neighbour {
    Linear,
    Conv,
    ConvTranspose,
    FollowingLinear,
    FollowingConv,
}

/// Folding into a neighbour.
#[derive(Debug, Arbitrary)]
pub struct Fold {
    into: Neighbour,
    weight: u8,
    bias: u8,
    channels: Side,
    groups: Side,
}

impl Fold {
    /// Makes the call.
    ///
    /// # Panics
    /// As [`Backward::run`].
    pub fn run(self, bn: &BatchNorm) {
        let norm = match bn.try_to_inference() {
            Ok(norm) => norm,
            Err(error) => return assert!(error == Error::NoRunningStats && !bn.tracks_running_stats()),
        };
        let (features, Side(channels), Side(groups)) = (norm.num_features(), self.channels, self.groups);
        let (mut weight, mut bias) = (values(self.weight.into()), values(self.bias.into()));
        let before = [weight.clone(), bias.clone()];
        let (w, b) = (&mut weight[..], &mut bias[..]);
        let done = match self.into {
            Neighbour::Linear => norm.fold_into_linear(w, b),
            Neighbour::Conv => norm.fold_into_conv(w, b),
            Neighbour::ConvTranspose => norm.fold_into_conv_transpose(w, b, channels, groups),
            Neighbour::FollowingLinear => norm.fold_into_following_linear(w, b),
            Neighbour::FollowingConv => norm.fold_into_following_conv(w, b, groups),
        };
        // In whole numbers that do not overflow.
        let [features, channels, groups] = [features, channels, groups].map(|size| size as u128);
        let [weights, biases] = [self.weight, self.bias].map(u128::from);
        let is_multiple = |whole: u128, of: u128| whole.is_multiple_of(of);
        let splits = |channels: u128| groups != 0 && channels.is_multiple_of(groups);
        let no_activation = norm.activation() == Activation::None;
        let fits = match self.into {
            Neighbour::Linear | Neighbour::Conv => biases == features && is_multiple(weights, features),
            Neighbour::ConvTranspose => {
                let split = biases == features && splits(features) && splits(channels);
                split && is_multiple(weights, channels * (features / groups))
            }
            Neighbour::FollowingLinear => weights == biases * features && no_activation,
            Neighbour::FollowingConv => {
                let split = splits(features) && splits(biases) && no_activation;
                split && is_multiple(weights, biases * (features / groups))
            }
        };
        check_written(done, fits, before, [&weight, &bias]);
    }
}

fn check_written(done: Result<()>, fits: bool, before: [Vec<f32>; 2], after: [&[f32]; 2]) {
    assert_eq!(done.is_err(), !fits, "{done:?}");
    if let Err(error) = done {
        assert!(!error.to_string().is_empty());
        before.iter().zip(after).for_each(|(before, after)| assert_same_bits("after an error", before, after));
    }
}

/// Sums that come from elsewhere.
#[derive(Debug, Arbitrary)]
pub struct Sums {
    counts: Vec<u64>,
    words: [Vec<f64>; 4],
}

impl Sums {
    /// Rebuilds the sums and merges them with themselves.
    ///
    /// # Panics
    /// If they change on the way, or with an error.
    pub fn run(mut self) {
        for words in self.words.iter_mut().filter(|words| words.len() > self.counts.len()) {
            words.truncate(self.counts.len());
        }
        let [sum_dy, sum_dy_low, sum_dy_xmu, sum_dy_xmu_low] = &self.words;
        let parts = GradientSumsParts { counts: &self.counts, sum_dy, sum_dy_low, sum_dy_xmu, sum_dy_xmu_low };
        let sums = match GradientSums::from_parts(parts) {
            Ok(sums) => sums,
            Err(error) => return assert!(!error.to_string().is_empty()),
        };
        assert!(self.words.iter().all(|words| words.len() == self.counts.len()));
        assert_eq!(sums.parts().counts, self.counts);
        assert_same_bits("sums", sum_dy, sums.parts().sum_dy);
        let mut twice = sums.clone();
        let done = twice.merge(&sums);
        let overflows = self.counts.iter().any(|count| count.checked_add(*count).is_none());
        assert_eq!(done.is_err(), overflows, "{done:?}");
        if done.is_err() {
            assert_eq!(twice, sums);
        } else {
            assert!(GradientSums::from_parts(twice.parts()).is_ok(), "what merging leaves can be sent");
        }
    }
}
