//! Mistakes of one rank: all ranks get the same error, nothing has changed on any, and they can go on.

use batchnorm::{Activation, BatchNorm, FewValues, Layout, Moments, Precision, moments};
use batchnorm_mpi::{Error, Result, SyncBatchNorm, all_moments, all_sums};
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;

use super::support::{assert_same_text, state, view, view_mut};

const FEATURES: usize = 6;
const LAYOUT: Layout = Layout::nc(4, FEATURES);

type Sync<'c> = SyncBatchNorm<'c, SimpleCommunicator>;

fn data() -> Vec<f64> {
    (0..4 * FEATURES).map(|at| (at * at % 7) as f64).collect()
}

fn forward(bn: &mut Sync<'_>) -> Result<()> {
    bn.forward_train(view(&data(), LAYOUT), view_mut(&mut data(), LAYOUT))
}

fn backward(bn: &mut Sync<'_>) -> Result<()> {
    let moments = bn.layer().batch_moments();
    let (x, mut dx) = (data(), data());
    bn.backward_train(moments, view(&x, LAYOUT), view(&x, LAYOUT), view_mut(&mut dx, LAYOUT)).map(|_| ())
}

fn new_layer(world: &SimpleCommunicator) -> Sync<'_> {
    let mut bn = SyncBatchNorm::new(BatchNorm::new(FEATURES), world);
    forward(&mut bn).expect("trains");
    bn
}

/// Something that a rank does.
type Action = fn(&mut Sync<'_>) -> Result<()>;

/// One rank does one thing, all others another. The words are those of a rank's reason, or what ranks disagree on.
const MISTAKES: [(&str, Action, Action); 22] = [
    ("the batch has 5 features, but the layer has 6", forward, |bn| {
        bn.forward_train(view(&[1.0; 10], Layout::nc(2, 5)), view_mut(&mut [0.0; 10], Layout::nc(2, 5)))
    }),
    ("the batch has 7 features, but the layer has 6", forward, |bn| {
        bn.forward_train_in_place(view_mut(&mut [0.0; 7], Layout::nc(1, 7)))
    }),
    ("y is [outer 2, features 6, inner 1], but the batch is [outer 1, features 6, inner 2]", forward, |bn| {
        bn.forward_train(view(&[1.0; 12], Layout::ncl(1, 6, 2)), view_mut(&mut [0.0; 12], Layout::nc(2, 6)))
    }),
    ("the number of features", forward, |bn| forward_of(bn, BatchNorm::new(5))),
    ("eps", forward, |bn| forward_of(bn, BatchNorm::new(FEATURES).with_eps(0.5).expect("in range"))),
    ("momentum", forward, |bn| forward_of(bn, BatchNorm::new(FEATURES).with_momentum(0.5).expect("finite"))),
    ("the averaging of the running statistics", forward, |bn| {
        forward_of(bn, BatchNorm::new(FEATURES).with_cumulative_average())
    }),
    ("running_ddof", forward, |bn| forward_of(bn, BatchNorm::new(FEATURES).with_running_ddof(0.0).expect("finite"))),
    ("the policies for few values and for NaN", forward, |bn| {
        forward_of(bn, BatchNorm::new(FEATURES).with_few_values(FewValues::UseRunningStats))
    }),
    ("which of weight, bias and running statistics there are", forward, |bn| {
        forward_of(bn, BatchNorm::new(FEATURES).without_bias())
    }),
    ("the activation", forward, |bn| forward_of(bn, BatchNorm::new(FEATURES).with_activation(Activation::Relu))),
    ("the precision", forward, |bn| forward_of(bn, BatchNorm::new(FEATURES).with_precision(Precision::Double))),
    ("num_batches_tracked", forward, |bn| {
        bn.layer_mut().set_num_batches_tracked(9);
        let done = forward(bn);
        bn.layer_mut().set_num_batches_tracked(1);
        done
    }),
    ("the element type", forward, |bn| {
        bn.forward_train(view(&[1.0f32; 12], Layout::nc(2, 6)), view_mut(&mut [0.0f32; 12], Layout::nc(2, 6)))
    }),
    ("the call", forward, backward),
    ("the call", backward, |bn| bn.check_same_state()),
    ("the call", forward, |bn| all_moments(world_of(bn), &Moments::new(FEATURES)).map(|_| ())),
    ("the moments of the batch", backward, |bn| {
        let (x, mut dx) = (data(), data());
        let own = moments(view(&x[..12], Layout::nc(2, 6)));
        bn.backward_train(&own, view(&x, LAYOUT), view(&x, LAYOUT), view_mut(&mut dx, LAYOUT)).map(|_| ())
    }),
    ("dy is [outer 2, features 6, inner 1], but the batch is [outer 4, features 6, inner 1]", backward, |bn| {
        let (x, mut dx) = (data(), data());
        let dy = view(&x[..12], Layout::nc(2, 6));
        bn.backward_train(bn.layer().batch_moments(), view(&x, LAYOUT), dy, view_mut(&mut dx, LAYOUT)).map(|_| ())
    }),
    ("the moments have 2 features, but the layer has 6", backward, |bn| {
        let (x, mut dx) = (data(), data());
        let x = view(&x, LAYOUT);
        bn.backward_train(&Moments::new(2), x, x, view_mut(&mut dx, LAYOUT)).map(|_| ())
    }),
    (
        "the weight",
        |bn| bn.check_same_state(),
        |bn| {
            bn.layer_mut().set_weight(&[2.0; FEATURES]).expect("one each");
            let done = bn.check_same_state();
            bn.layer_mut().set_weight(&[1.0; FEATURES]).expect("one each");
            done
        },
    ),
    ("no shard 7 (größer als 6)", backward, |bn| Err(bn.report_failure("no shard 7 (größer als 6)"))),
];

/// Trains another layer in its place.
fn forward_of(bn: &mut Sync<'_>, other: BatchNorm) -> Result<()> {
    let (features, batches) = (other.num_features(), bn.layer().num_batches_tracked());
    let mut other = SyncBatchNorm::new(other, world_of(bn));
    other.layer_mut().set_num_batches_tracked(batches);
    let layout = Layout::nc(4, features);
    other.forward_train(view(&data()[..4 * features], layout), view_mut(&mut data()[..4 * features], layout))
}

fn world_of<'c>(bn: &Sync<'c>) -> &'c SimpleCommunicator {
    bn.communicator()
}

pub(crate) fn on_all_ranks(world: &SimpleCommunicator) {
    for (words, others, one) in MISTAKES {
        for rank in 0..world.size() {
            let mut bn = new_layer(world);
            let before = state(bn.layer());
            let done = if world.rank() == rank { one(&mut bn) } else { others(&mut bn) };
            match done {
                // Alone, a rank disagrees with none, but its layer may refuse the batch.
                Err(Error::Layer(_)) if world.size() == 1 => {}
                Err(error) => check_error(world, rank, words, &error),
                Ok(()) => assert_eq!(world.size(), 1, "{words}: no error"),
            }
            assert!(world.size() == 1 || state(bn.layer()) == before, "{words}: the layer has changed");
            forward(&mut new_layer(world)).expect("the ranks go on");
        }
    }
}

fn check_error(world: &SimpleCommunicator, mistaken: i32, words: &str, error: &Error) {
    let text = error.to_string();
    assert_same_text(world, &text);
    match error {
        Error::Rank { rank, reason } => assert_eq!((*rank, reason.as_str()), (mistaken, words)),
        Error::Disagreement { what, ranks: [(first, _), (other, _)] } => {
            // Rank 0 is what others are compared with, so if it is the mistaken one, the next one differs from it.
            assert_eq!((*what, *first, *other), (words, 0, mistaken.max(1)), "{text}");
        }
        other => panic!("{words}: {other}"),
    }
}

/// Mistakes that all ranks make together; and states that a failed call must not change.
pub(crate) fn nothing_has_changed(world: &SimpleCommunicator) {
    // One row in all: its variance is undefined.
    let mut bn = SyncBatchNorm::new(BatchNorm::new(2), world);
    let before = state(bn.layer());
    let layout = Layout::nc(usize::from(world.rank() == 0), 2);
    let (x, mut y) = (vec![1.0; layout.count() * 2], vec![7.0; layout.count() * 2]);
    let error = bn.forward_train(view(&x, layout), view_mut(&mut y, layout)).expect_err("one row");
    assert_same_text(world, &error.to_string());
    assert!(error.to_string().starts_with("training needs at least 2 values per feature"), "{error}");
    assert!(matches!(error, Error::Layer(batchnorm::Error::TooFewValues { needed: 2, given: 1, .. })));
    assert!(state(bn.layer()) == before && y.iter().all(|y| *y == 7.0));

    // No rows at all: nothing moves, as in one process.
    let nothing = Layout::nc(0, 2);
    bn.forward_train(view::<f64>(&[], nothing), view_mut(&mut [], nothing)).expect("nothing to do");
    assert!(state(bn.layer()) == before);

    // Moments of more rows than the shards have, the same on all ranks.
    let mut bn = new_layer(world);
    let moments = bn.layer().batch_moments().clone();
    let (x, mut dx) = ([1.0; 6], [7.0; 6]);
    let row = Layout::nc(1, 6);
    let error = bn.backward_train(&moments, view(&x, row), view(&x, row), view_mut(&mut dx, row)).expect_err("too few");
    assert_same_text(world, &error.to_string());
    let (rows, given) = (4 * world.size() as u64, world.size() as u64);
    assert!(
        matches!(error, Error::Layer(batchnorm::Error::Counts { expected, given: of, .. }) if (expected, of) == (rows, given))
    );
    assert_eq!(dx, [7.0; 6]);

    // A layer with a ReLU needs its outputs.
    *bn.layer_mut() = BatchNorm::new(FEATURES).with_activation(Activation::Relu);
    let text = backward(&mut bn).expect_err("no outputs").to_string();
    assert_eq!(text, "rank 0: the layer applies a ReLU, so call backward_train_through_relu");
    // Free functions say who they are, too.
    let sums = bn.layer().backward_sums(&moments, view(&x, row), through(&x, row)).expect("fits");
    if world.size() > 1 {
        let done = if world.rank() == 0 { all_sums(world, &sums).map(|_| ()) } else { backward_relu(&bn, &moments) };
        let text = done.expect_err("other calls").to_string();
        assert_eq!(text, "the ranks disagree on the call: rank 0 has all_sums, but rank 1 has backward_train");
    }
}

fn through(x: &[f64], layout: Layout) -> batchnorm::GradOutput<'_, f64> {
    batchnorm::GradOutput::through_relu(view(x, layout), view(x, layout)).expect("fits")
}

fn backward_relu(bn: &Sync<'_>, moments: &Moments) -> Result<()> {
    let (x, mut dx) = (data(), data());
    let of_x = view(&x, LAYOUT);
    bn.backward_train_through_relu(moments, of_x, of_x, of_x, view_mut(&mut dx, LAYOUT)).map(|_| ())
}
