//! Hostile sizes and options give errors, never a panic. A failed call leaves everything unchanged.
#![no_main]

use arbitrary::Arbitrary;
use batchnorm::{
    Accumulator, Activation, Batch, BatchMut, BatchNorm, FewValues, Layout, NonFinite, Path, Result, moments,
};
use batchnorm_fuzz::hostile::{
    Len, MOST_FEATURES, Shape, ShapeLen, Side, Values, batch, count, product, shape, values,
};
use batchnorm_fuzz::hostile_calls::{Backward, Fold, Sums, trains};
use batchnorm_fuzz::{assert_same_bits, bits};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Call {
    Shape(Shape, Len),
    Accumulate(Side, Side, Shape, Len),
    Eps(f64),
    Momentum(f64),
    CumulativeAverage,
    WithoutAffine,
    WithoutBias,
    Weight(Vec<f32>),
    Bias(Vec<f64>),
    RunningMean(Vec<f64>),
    RunningVar(Vec<f64>),
    /// Sets all parameters with the right number of values, which random ones rarely have.
    All(f64),
    NumBatches(u64),
    Forward(Forward),
    TrainWith(TrainWith),
    Backward(Backward),
    Fold(Fold),
    Sums(Sums),
    Ddof(f64),
    SampleWeightedAverage,
    Policies(bool, bool),
    WithoutRunningStats,
    ResetRunningStats,
    Relu(bool),
}

/// Trains or evaluates a layer, from one batch into another or in place, with or without a residual.
#[derive(Debug, Arbitrary)]
struct Forward {
    train: bool,
    x: ShapeLen,
    y: Option<ShapeLen>,
    residual: Option<ShapeLen>,
}

/// Trains by the moments of another batch, or only normalises by them.
#[derive(Debug, Arbitrary)]
struct TrainWith {
    train: bool,
    moments: ShapeLen,
    x: ShapeLen,
    y: Option<ShapeLen>,
}

fn check_shape(of: Shape, len: Len) {
    let (layout, expected) = (of.layout(), of.expected());
    assert_eq!(shape(layout), expected, "{of:?}");
    let needed = product(expected.into_iter()).filter(|&len| isize::try_from(len).is_ok());
    assert_eq!(layout.checked_len(), needed, "{layout}");
    assert_eq!(layout.count(), expected[0].saturating_mul(expected[2]), "{layout}");
    let data = values(len.of(layout));
    if let Some(x) = batch(&data, of) {
        let m = moments(x);
        assert_eq!(m.num_features(), layout.features());
        assert_eq!(m, Path::Scalar.moments(x));
    }
}

fn accumulate(features: Side, inner: Side, of: Shape, len: Len) {
    let Ok(mut rows) = Accumulator::new(features.0, inner.0) else { return };
    if features.0 > MOST_FEATURES {
        return;
    }
    let data = values(len.of(of.layout()));
    if let Some(x) = batch(&data, of) {
        let before = rows.moments();
        match rows.update(x) {
            Ok(()) => assert_eq!(rows.moments(), moments(x)),
            Err(_) => assert_eq!(rows.moments(), before),
        }
    }
}

/// Returns everything that a caller can see of a layer, and its outputs for a batch.
fn state(bn: &BatchNorm) -> Vec<u64> {
    let features = bn.num_features();
    let mut out = vec![0.0f64; 2 * features];
    let probe: Vec<f64> = (0..2 * features).map(|i| i as f64 - 1.5).collect();
    let layout = Layout::nc(2, features);
    let done = bn.forward_eval(Batch::new(&probe, layout).expect("x"), BatchMut::new(&mut out, layout).expect("y"));
    assert!(done.is_ok() || !bn.tracks_running_stats(), "{done:?}");
    let presence = |x: Option<&[f64]>| x.map_or(0.0, |x| 1.0 + x.len() as f64);
    let mut state = vec![bn.eps(), bn.momentum().map_or(0.5, |_| 1.5), bn.momentum().unwrap_or(0.0), bn.running_ddof()];
    state.extend([presence(bn.weight()), presence(bn.bias())]);
    let of_batch = bn.batch_moments().parts();
    let parameters = [bn.weight().unwrap_or(&[]), bn.bias().unwrap_or(&[]), bn.running_mean(), bn.running_var()];
    for part in parameters.into_iter().chain([&out[..], of_batch.means, of_batch.m2s]) {
        state.extend(part);
    }
    let counts = [bn.num_batches_tracked(), bn.num_values_tracked()];
    state.into_iter().map(bits).chain(counts).chain(of_batch.counts.iter().copied()).collect()
}

/// Whether the layer refuses negative running variances: other momenta, and averages after these, can have some.
fn refuses_negative(bn: &BatchNorm) -> bool {
    bn.momentum().is_some_and(|momentum| (0.0..=1.0).contains(&momentum))
}

/// Calls a setter, which must fail exactly if `is_due`, and must change nothing if it fails.
fn set(bn: &mut BatchNorm, is_due: bool, call: impl FnOnce(&mut BatchNorm) -> Result<()>) {
    let before = state(bn);
    let done = call(bn);
    assert_eq!(done.is_err(), is_due, "{done:?}");
    if let Err(error) = done {
        assert!(!error.to_string().is_empty());
        assert_eq!(state(bn), before, "{error}");
    }
}

impl Forward {
    fn run(self, bn: &mut BatchNorm) {
        let (x, residual) = (Values::of(self.x), self.residual.map(Values::of));
        let mut out = Values::of(self.y.unwrap_or(self.x));
        let Some(x) = x.batch() else { return };
        let residual = match &residual {
            Some(residual) if residual.batch().is_none() => return,
            residual => residual.as_ref().and_then(Values::batch),
        };
        let (before, written) = (state(bn), out.values().to_vec());
        let Some(y) = out.batch_mut() else { return };
        let (layout, out_layout, in_place) = (x.layout(), y.layout(), self.y.is_none());
        let done = match (self.train, residual, in_place) {
            (true, None, false) => bn.forward_train(x, y),
            (true, None, true) => bn.forward_train_in_place(y),
            (true, Some(residual), false) => bn.forward_train_add(x, residual, y),
            (true, Some(residual), true) => bn.forward_train_add_in_place(y, residual),
            (false, None, false) => bn.forward_eval(x, y),
            (false, None, true) => bn.forward_eval_in_place(y),
            (false, Some(residual), false) => bn.forward_eval_add(x, residual, y),
            (false, Some(residual), true) => bn.forward_eval_add_in_place(y, residual),
        };
        let count = count(layout);
        let by_batch = self.train || !bn.tracks_running_stats();
        let residual_fits = residual.is_none_or(|residual| shape(residual.layout()) == shape(layout));
        let fits = layout.features() == bn.num_features() && shape(out_layout) == shape(layout) && residual_fits;
        let is_due = !fits || by_batch && !trains(bn, count);
        check(bn, (layout, count), done, is_due, [&written, out.values()]);
        check_state(bn, &before, self.train && !is_due && moves(bn, count), count);
    }
}

impl TrainWith {
    fn run(self, bn: &mut BatchNorm) {
        let (moments_of, x) = (Values::of(self.moments), Values::of(self.x));
        let mut out = Values::of(self.y.unwrap_or(self.x));
        let (Some(moments_of), Some(x)) = (moments_of.batch(), x.batch()) else { return };
        let (before, written) = (state(bn), out.values().to_vec());
        let Some(y) = out.batch_mut() else { return };
        let (layout, out_layout, moments) = (x.layout(), y.layout(), moments(moments_of));
        let done = match (self.train, self.y) {
            (true, Some(_)) => bn.forward_train_with(&moments, x, y),
            (true, None) => bn.forward_train_with_in_place(&moments, y),
            (false, Some(_)) => bn.forward_with(&moments, x, y),
            (false, None) => bn.forward_with_in_place(&moments, y),
        };
        let all = count(moments_of.layout());
        let fits = [layout, moments_of.layout()].iter().all(|layout| layout.features() == bn.num_features());
        let is_due = !fits || shape(out_layout) != shape(layout) || all < count(layout) || !trains(bn, all);
        check(bn, (layout, all), done, is_due, [&written, out.values()]);
        check_state(bn, &before, self.train && !is_due && moves(bn, all), all);
    }
}

/// Whether a step with so many values per feature moves the running statistics or sets the moments of the last batch.
fn moves(bn: &BatchNorm, count: u64) -> bool {
    count > 0 && count as f64 > bn.running_ddof()
}

/// Checks whether a call failed exactly if `is_due`, and that it then wrote nothing.
fn check(bn: &BatchNorm, (layout, count): (Layout, u64), done: Result<()>, is_due: bool, [before, after]: [&[f32]; 2]) {
    // Without features there is nothing to train, so both results are right.
    if bn.num_features() > 0 || layout.features() > 0 {
        assert_eq!(done.is_err(), is_due, "{layout}, {count} values: {done:?}");
    }
    if let Err(error) = done {
        assert!(!error.to_string().is_empty());
        assert_same_bits("output after an error", before, after);
    }
}

/// Checks that a step changed the layer only if it was to.
fn check_state(bn: &BatchNorm, before: &[u64], moves: bool, count: u64) {
    if !moves {
        assert_eq!(state(bn), before, "{count} values");
    } else if bn.tracks_running_stats() && bn.num_features() > 0 {
        assert!(bn.num_batches_tracked() >= 1 && bn.num_values_tracked() >= count);
        assert_eq!(bn.batch_moments().counts()[0], count);
    }
}

/// Makes calls that change nothing.
fn unchanged(bn: &BatchNorm, calls: impl FnOnce(&BatchNorm)) {
    let before = state(bn);
    calls(bn);
    assert_eq!(state(bn), before);
}

fn run(bn: &mut BatchNorm, call: Call) {
    let features = bn.num_features();
    match call {
        Call::Shape(shape, len) => check_shape(shape, len),
        Call::Accumulate(features, inner, shape, len) => accumulate(features, inner, shape, len),
        Call::Eps(eps) => match bn.clone().with_eps(eps) {
            Ok(with) => {
                assert!(eps.is_finite() && eps >= 0.0 && bits(with.eps()) == bits(eps));
                *bn = with;
            }
            Err(error) => assert!(!(eps.is_finite() && eps >= 0.0), "{error}"),
        },
        Call::Momentum(momentum) => {
            let negative = bn.running_var().iter().any(|variance| *variance < 0.0);
            let is_due = !momentum.is_finite() || (0.0..=1.0).contains(&momentum) && negative;
            match bn.clone().with_momentum(momentum) {
                Ok(with) => {
                    assert!(!is_due && with.momentum().map(bits) == Some(bits(momentum)));
                    *bn = with;
                }
                Err(error) => assert!(is_due, "{error}"),
            }
        }
        Call::Ddof(ddof) => match bn.clone().with_running_ddof(ddof) {
            Ok(with) => {
                assert!(ddof.is_finite() && ddof >= 0.0 && bits(with.running_ddof()) == bits(ddof));
                *bn = with;
            }
            Err(error) => assert!(!(ddof.is_finite() && ddof >= 0.0), "{error}"),
        },
        Call::SampleWeightedAverage => *bn = bn.clone().with_sample_weighted_average(),
        Call::Policies(use_running, refuse) => {
            let few = if use_running { FewValues::UseRunningStats } else { FewValues::Refuse };
            // Nothing here is NaN or infinite, so this refuses nothing.
            let non_finite = if refuse { NonFinite::Refuse } else { NonFinite::LetThrough };
            *bn = bn.clone().with_few_values(few).with_non_finite(non_finite);
        }
        Call::WithoutRunningStats => *bn = bn.clone().without_running_stats(),
        Call::ResetRunningStats => bn.reset_running_stats(),
        Call::Relu(relu) => {
            *bn = bn.clone().with_activation(if relu { Activation::Relu } else { Activation::None });
        }
        Call::CumulativeAverage => *bn = bn.clone().with_cumulative_average(),
        Call::WithoutAffine => *bn = bn.clone().without_affine(),
        Call::WithoutBias => *bn = bn.clone().without_bias(),
        Call::Weight(values) => set(bn, values.len() != features, |bn| bn.set_weight(&values)),
        Call::Bias(values) => set(bn, values.len() != features, |bn| bn.set_bias(&values)),
        Call::RunningMean(values) => {
            let is_due = values.len() != features || !bn.tracks_running_stats();
            set(bn, is_due, |bn| bn.set_running_mean(&values));
        }
        Call::RunningVar(values) => {
            let negative = refuses_negative(bn) && values.iter().any(|x| *x < 0.0);
            let is_due = values.len() != features || !bn.tracks_running_stats() || negative;
            set(bn, is_due, |bn| bn.set_running_var(&values));
        }
        Call::All(value) => {
            let values = vec![value; features];
            set(bn, false, |bn| bn.set_weight(&values));
            set(bn, false, |bn| bn.set_bias(&values));
            let (none, negative) = (!bn.tracks_running_stats(), refuses_negative(bn) && value < 0.0 && features > 0);
            set(bn, none, |bn| bn.set_running_mean(&values));
            set(bn, none || negative, |bn| bn.set_running_var(&values));
        }
        Call::NumBatches(batches) => bn.set_num_batches_tracked(batches),
        Call::Forward(call) => call.run(bn),
        Call::TrainWith(call) => call.run(bn),
        Call::Backward(call) => unchanged(bn, |bn| call.run(bn)),
        Call::Fold(call) => unchanged(bn, |bn| call.run(bn)),
        Call::Sums(sums) => sums.run(),
    }
}

fuzz_target!(|input: (u8, Vec<Call>)| {
    let (features, calls) = input;
    let mut bn = BatchNorm::new(usize::from(features) % (MOST_FEATURES + 1));
    for call in calls {
        run(&mut bn, call);
    }
});
