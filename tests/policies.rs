//! Training batches that are empty, too short or not finite; layers without running statistics; states saved and
//! loaded.

mod common;

use batchnorm::{Averaging, BatchNorm, Element, Error, FewValues, Layout, Moments, NonFinite, Path};
use common::assert_same_bits;
use common::layer::{eval, state, train, view, view_mut};
use common::nasty::{Kind, batch};
use proptest::prelude::*;

#[test]
fn empty_batches_move_nothing() {
    for bn in [
        BatchNorm::new(2),
        BatchNorm::keras(2).with_cumulative_average(),
        BatchNorm::new(2).with_sample_weighted_average().with_non_finite(NonFinite::Refuse),
        BatchNorm::new(2).with_few_values(FewValues::UseRunningStats),
        BatchNorm::new(2).without_running_stats(),
    ] {
        let mut bn = bn;
        for after in [false, true] {
            if after {
                train(&mut bn, &[1.0f32, 2.0, 3.0, 5.0], Layout::nc(2, 2));
            }
            let before = state(&bn);
            for layout in [Layout::nc(0, 2), Layout::ncl(4, 2, 0), Layout::new(usize::MAX, 2, 0)] {
                assert!(train::<f32>(&mut bn, &[], layout).is_empty());
                assert!(eval::<f64>(&bn, &[], layout).is_empty());
                bn.forward_train_in_place::<f64>(view_mut(&mut [], layout)).expect("nothing to do");
                let moments = bn.measure(view::<f64>(&[], layout)).expect("fits");
                bn.forward_train_with_in_place::<f64>(&moments, view_mut(&mut [], layout)).expect("nothing to do");
            }
            assert!(state(&bn) == before, "{bn:?}");
        }
    }
}

/// Averages over batches skip empty ones: then [10, 12] gives 11, where PyTorch has 5.5.
#[test]
fn empty_batches_do_not_count_in_averages() {
    let mut bn = BatchNorm::new(1).with_cumulative_average();
    train::<f64>(&mut bn, &[], Layout::nc(0, 1));
    train(&mut bn, &[10.0, 12.0], Layout::nc(2, 1));
    assert_eq!(bn.running_mean(), [11.0]);
}

/// Trains on a batch that is refused, in each way, and checks that nothing changes.
fn refused<T: Element>(bn: &mut BatchNorm, data: &[T], layout: Layout) -> Error {
    let before = state(bn);
    let mut y = vec![T::from_f64(77.0); data.len()];
    let error = bn.forward_train(view(data, layout), view_mut(&mut y, layout)).expect_err("refused");
    let mut in_place = data.to_vec();
    let again = bn.forward_train_in_place(view_mut(&mut in_place, layout)).expect_err("refused");
    assert_eq!(again.to_string(), error.to_string());
    let moments = bn.measure(view(data, layout)).expect("fits");
    for moved in [true, false] {
        let (x, y) = (view(data, layout), view_mut(&mut y, layout));
        let done = if moved { bn.forward_train_with(&moments, x, y) } else { bn.forward_with(&moments, x, y) };
        assert_eq!(done.expect_err("refused").to_string(), error.to_string());
        let x = view_mut(&mut in_place, layout);
        let done =
            if moved { bn.forward_train_with_in_place(&moments, x) } else { bn.forward_with_in_place(&moments, x) };
        assert_eq!(done.expect_err("refused").to_string(), error.to_string());
    }
    assert!(state(bn) == before, "{error}");
    assert_same_bits("output", &vec![T::from_f64(77.0); data.len()], &y);
    assert_same_bits("input", data, &in_place);
    error
}

#[test]
fn one_value_per_feature() {
    let (layout, row) = (Layout::nc(1, 2), [5.0f32, -3.0]);
    let trained = |mut bn: BatchNorm| {
        train(&mut bn, &[1.0f32, 2.0, 3.0, 5.0, 4.0, 4.0], Layout::nc(3, 2));
        bn
    };
    let mut bn = trained(BatchNorm::new(2));
    let error = refused(&mut bn, &row, layout);
    assert!(matches!(error, Error::TooFewValues { needed: 2, given: 1, .. }));
    let expected =
        "training needs at least 2 values per feature, but the batch has 1: the variance of so few is undefined";
    assert_eq!(error.to_string(), expected);

    // By policy, the outputs are those of evaluation, for each element type and way, and nothing moves.
    for path in [Path::Auto, Path::Scalar] {
        let mut bn = trained(BatchNorm::new(2).with_path(path)).with_few_values(FewValues::UseRunningStats);
        let before = state(&bn);
        assert_same_bits("f32", &eval(&bn, &row, layout), &train(&mut bn, &row, layout));
        let row = row.map(f64::from);
        assert_same_bits("f64", &eval(&bn, &row, layout), &train(&mut bn, &row, layout));
        let (moments, mut in_place) = (bn.measure(view(&row, layout)).expect("fits"), row);
        bn.forward_train_with_in_place(&moments, view_mut(&mut in_place, layout)).expect("runs");
        assert_same_bits("with moments", &eval(&bn, &row, layout), &in_place);
        assert!(state(&bn) == before);
        let error = refused(&mut bn.with_non_finite(NonFinite::Refuse), &[1.0, f64::NAN], layout);
        assert!(matches!(error, Error::NonFinite { feature: 1, .. }));
    }

    // The population variance of one value is 0.
    let mut bn = BatchNorm::new(2).with_running_ddof(0.0).expect("in range");
    bn.set_bias(&[0.5, 0.25]).expect("one each");
    assert_eq!(train(&mut bn, &row, layout), [0.5, 0.25]);
    assert_eq!((bn.running_mean(), bn.running_var()), (&[0.5, -0.1 * 3.0][..], &[0.9, 0.9][..]));
    let mut bn = BatchNorm::new(2).with_running_ddof(2.5).expect("in range");
    assert!(matches!(refused(&mut bn, &[1.0; 4], Layout::nc(2, 2)), Error::TooFewValues { needed: 3, given: 2, .. }));
    let mut bn = BatchNorm::new(2).with_running_ddof(1e300).expect("in range");
    let most = usize::MAX;
    assert!(
        matches!(refused(&mut bn, &[1.0; 4], Layout::nc(2, 2)), Error::TooFewValues { needed, .. } if needed == most)
    );
    for ddof in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(BatchNorm::new(2).with_running_ddof(ddof).is_err());
    }
}

#[test]
fn batches_that_are_not_finite() {
    let layout = Layout::nc(3, 2);
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    for (data, feature) in [
        ([1.0, 2.0, 3.0, nan, 5.0, 6.0], 1),
        ([1.0, 2.0, 3.0, 4.0, -inf, 6.0], 0),
        ([1.0, inf, 3.0, -inf, 5.0, 6.0], 1),
        ([nan; 6], 0),
        ([inf; 6], 0),
        ([1e200, 2.0, -1e200, 4.0, 5.0, 6.0], 0),
    ] {
        for path in [Path::Auto, Path::Scalar] {
            let mut bn = BatchNorm::new(2).with_path(path).with_non_finite(NonFinite::Refuse);
            train(&mut bn, &[1.0f64, 2.0, 3.0, 5.0, 4.0, 4.0], layout);
            let error = refused(&mut bn, &data, layout);
            assert!(matches!(error, Error::NonFinite { feature: at, .. } if at == feature), "{error}");
            // Let through, it spoils its feature alone.
            let mut bn = bn.with_non_finite(NonFinite::LetThrough);
            train(&mut bn, &data, layout);
            let spoilt = |feature: usize| !(bn.running_mean()[feature] + bn.running_var()[feature]).is_finite();
            assert!(spoilt(feature));
            assert_eq!(spoilt(1 - feature), !data[1 - feature].is_finite());
        }
    }
    // The largest values are finite, and so is what is computed of them.
    let mut bn = BatchNorm::new(2).with_non_finite(NonFinite::Refuse);
    train(&mut bn, &[f64::MAX; 6], layout);
    train(&mut bn, &[f32::MAX, 0.0, -f32::MAX, 1.0, 5.0, 2.0], layout);
}

#[test]
fn without_running_statistics() {
    for path in [Path::Auto, Path::Scalar] {
        let layout = Layout::ncl(30, 3, 5);
        let mut bn = BatchNorm::new(3).without_running_stats().with_path(path);
        bn.set_weight(&[2.0, 0.5, -1.0]).expect("one each");
        let data = batch::<f32>(Kind::Offset(9.0), 1, layout);
        assert_same_bits("f32", &train(&mut bn, &data, layout), &eval(&bn, &data, layout));
        let data = batch::<f64>(Kind::Offset(9.0), 1, layout);
        let y = train(&mut bn, &data, layout);
        assert_same_bits("f64", &y, &eval(&bn, &data, layout));
        let mut tracking = BatchNorm::new(3).with_path(path);
        tracking.set_weight(&[2.0, 0.5, -1.0]).expect("one each");
        assert_same_bits("tracking", &y, &train(&mut tracking, &data, layout));
        let mut in_place = data.clone();
        bn.forward_eval_in_place(view_mut(&mut in_place, layout)).expect("runs");
        assert_same_bits("in place", &y, &in_place);
        assert_eq!((bn.num_batches_tracked(), bn.num_values_tracked(), bn.num_features()), (0, 0, 3));
        assert!(bn.running_mean().is_empty() && bn.running_var().is_empty());

        // One value per feature is refused in evaluation, too, and no policy has statistics to fall back on.
        for policy in [FewValues::Refuse, FewValues::UseRunningStats] {
            let mut bn = bn.clone().with_few_values(policy);
            let (one, mut y) = (Layout::nc(1, 3), [7.0f32; 3]);
            assert!(matches!(refused(&mut bn, &[1.0f32; 3], one), Error::TooFewValues { needed: 2, given: 1, .. }));
            let error = bn.forward_eval(view(&[1.0f32; 3], one), view_mut(&mut y, one)).expect_err("refused");
            assert!(matches!(error, Error::TooFewValues { needed: 2, given: 1, .. }));
            assert!(bn.forward_eval_in_place(view_mut(&mut y, one)).is_err() && y == [7.0; 3]);
        }

        let text = "the layer has no running statistics";
        assert!(bn.try_to_inference().expect_err("nothing to freeze").to_string().starts_with(text));
        assert_eq!(bn.set_running_mean(&[1.0; 3]), Err(Error::NoRunningStats));
        assert_eq!(bn.set_running_var(&[1.0; 3]), Err(Error::NoRunningStats));
        bn.reset_running_stats();
        assert!(bn.running_mean().is_empty());
        // Of another shape: a batch of its own error.
        let error = bn.forward_eval_in_place(view_mut(&mut [1.0f32; 8], Layout::nc(2, 4))).expect_err("refused");
        assert!(matches!(error, Error::Features { expected: 3, given: 4, .. }));
    }
}

#[test]
fn resetting_gives_the_statistics_of_a_new_layer() {
    let layout = Layout::nc(40, 3);
    let data = batch::<f32>(Kind::Normal, 1, layout);
    let weighted = BatchNorm::new(3).with_sample_weighted_average();
    for bn in [BatchNorm::onnx(3), BatchNorm::new(3).with_cumulative_average(), weighted] {
        let (mut fresh, mut used) = (bn.clone(), bn);
        train(&mut used, &batch::<f32>(Kind::Offset(1e6), 2, layout), layout);
        eval(&used, &data, layout);
        used.reset_running_stats();
        assert_same_bits("after a reset", &eval(&fresh, &data, layout), &eval(&used, &data, layout));
        train(&mut fresh, &data, layout);
        train(&mut used, &data, layout);
        assert!(state(&fresh) == state(&used));
    }
}

#[test]
fn moments_that_do_not_fit() {
    let layout = Layout::nc(4, 3);
    let data = batch::<f64>(Kind::Normal, 1, layout);
    let mut bn = BatchNorm::new(3);
    train(&mut bn, &data, layout);
    let before = state(&bn);
    let mut y = [7.0f64; 12];
    let mut with = |moments: &Moments, y_layout: Layout| {
        bn.forward_train_with(moments, view(&data, layout), view_mut(&mut y, y_layout))
            .expect_err("refused")
            .to_string()
    };
    let small = batchnorm::moments(view(&data[..9], Layout::nc(3, 3)));
    assert_eq!(with(&small, layout), "the batch has 4 values per feature, but the moments are of 3");
    assert_eq!(with(&Moments::new(3), layout), "the batch has 4 values per feature, but the moments are of 0");
    assert_eq!(with(&Moments::new(2), layout), "the layer has 3 features, but the moments have 2");
    let fits = batchnorm::moments(view(&data, layout));
    let other = Layout::nc(3, 4);
    assert_eq!(with(&fits, other), format!("the input is {layout}, but the output is {other}"));
    let parts = fits.parts();
    let uneven = batchnorm::MomentsParts { counts: &[4, 5, 4], ..parts };
    let uneven = Moments::from_parts(uneven).expect("in range");
    assert_eq!(with(&uneven, layout), "the features need one count, but these have 4 and 5 values");
    assert!(
        bn.measure(view(&data, other)).is_err() && bn.measure_into(view(&data, other), &mut Moments::new(3)).is_err()
    );
    assert!(state(&bn) == before);
    assert_eq!(y, [7.0; 12]);
}

#[derive(Clone, Debug)]
enum Step {
    Exponential(f64),
    Batches,
    Values,
    Ddof(f64),
    Eps(f64),
    Reset,
    Counts(u64, u64),
    WithoutWeight,
    WithoutBias,
    Train(u64, usize, f64),
}

fn step() -> impl Strategy<Value = Step> {
    let momenta = prop_oneof![Just(0.1), Just(0.0), Just(1.0), Just(-1.0), Just(2.0), Just(1e300), -3.0..3.0];
    let counts = || prop_oneof![0u64..5, Just(u64::MAX), Just(u64::MAX - 3), Just(1 << 53)];
    let offsets = prop_oneof![Just(0.0), Just(1e6), Just(-1e150), Just(1e200), Just(f64::NAN), Just(f64::INFINITY)];
    prop_oneof![
        3 => momenta.prop_map(Step::Exponential),
        1 => Just(Step::Batches),
        1 => Just(Step::Values),
        1 => prop_oneof![Just(0.0), Just(1.0), 0.0..3.0].prop_map(Step::Ddof),
        1 => prop_oneof![Just(0.0), Just(1e-3), Just(1e-300)].prop_map(Step::Eps),
        1 => Just(Step::Reset),
        1 => (counts(), counts()).prop_map(|(batches, values)| Step::Counts(batches, values)),
        1 => Just(Step::WithoutWeight),
        1 => Just(Step::WithoutBias),
        8 => (0u64..100, 0usize..6, offsets).prop_map(|(seed, n, offset)| Step::Train(seed, n, offset)),
    ]
}

fn take(bn: BatchNorm, step: &Step) -> BatchNorm {
    let or_unchanged = |with: batchnorm::Result<BatchNorm>| with.unwrap_or(bn.clone());
    match *step {
        Step::Exponential(momentum) => or_unchanged(bn.clone().with_momentum(momentum)),
        Step::Batches => bn.with_cumulative_average(),
        Step::Values => bn.with_sample_weighted_average(),
        Step::Ddof(ddof) => or_unchanged(bn.clone().with_running_ddof(ddof)),
        Step::Eps(eps) => or_unchanged(bn.clone().with_eps(eps)),
        Step::WithoutWeight => bn.without_weight(),
        Step::WithoutBias => bn.without_bias(),
        Step::Reset => {
            let mut bn = bn;
            bn.reset_running_stats();
            bn
        }
        Step::Counts(batches, values) => {
            let mut bn = bn;
            bn.set_num_batches_tracked(batches);
            bn.set_num_values_tracked(values);
            bn
        }
        Step::Train(seed, n, offset) => {
            let mut bn = bn;
            let mut data = batch::<f64>(Kind::Normal, seed, Layout::nc(n, 2));
            data.iter_mut().step_by(3).for_each(|x| *x += offset);
            let before = state(&bn);
            if bn.forward_train_in_place(view_mut(&mut data, Layout::nc(n, 2))).is_err() {
                assert!(state(&bn) == before);
            }
            bn
        }
    }
}

/// Makes a new layer from all that the getters say.
fn restored(bn: &BatchNorm) -> BatchNorm {
    let new = BatchNorm::new(bn.num_features()).without_affine().with_eps(bn.eps()).expect("an eps");
    let new = new.with_running_ddof(bn.running_ddof()).expect("a ddof");
    let mut new = match bn.averaging() {
        Averaging::Batches => new.with_cumulative_average(),
        Averaging::Values => new.with_sample_weighted_average(),
        _ => new.with_momentum(bn.momentum().expect("exponential")).expect("a momentum"),
    };
    if let Some(weight) = bn.weight() {
        new.set_weight(weight).expect("weights");
    }
    if let Some(bias) = bn.bias() {
        new.set_bias(bias).expect("biases");
    }
    new.set_running_mean(bn.running_mean()).expect("means");
    new.set_running_var(bn.running_var()).expect("variances");
    new.set_num_batches_tracked(bn.num_batches_tracked());
    new.set_num_values_tracked(bn.num_values_tracked());
    new
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Every state that a layer can reach can be set on a new layer, which goes on with the same bits.
    #[test]
    fn every_state_can_be_loaded(
        steps in prop::collection::vec(step(), 0..12), after in prop::collection::vec(step(), 4)
    ) {
        let mut bn = BatchNorm::new(2);
        bn.set_weight(&[1.5, -0.5]).expect("one each");
        for step in &steps {
            bn = take(bn, step);
        }
        let mut loaded = restored(&bn);
        let probe = [1.0, -2.0, 0.5, 1e10];
        for step in &after {
            let [a, b] = [&bn, &loaded].map(|bn| eval(bn, &probe, Layout::nc(2, 2)));
            assert_same_bits("evaluation", &a, &b);
            (bn, loaded) = (take(bn, step), take(loaded, step));
            let (a, b) = (state(&bn), state(&loaded));
            prop_assert_eq!((a.0, a.1), (b.0, b.1));
            prop_assert_eq!(bn.averaging(), loaded.averaging());
        }
        // What is not refused on the way keeps to the rule that `set_running_var` states.
        let averages = bn.momentum().is_some_and(|momentum| (0.0..=1.0).contains(&momentum));
        prop_assert!(!averages || !bn.running_var().iter().any(|variance| *variance < 0.0));
    }
}
