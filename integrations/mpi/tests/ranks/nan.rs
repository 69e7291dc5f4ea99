//! NaN on one rank: it spoils its feature on all of them, as in one process, or is refused on all of them.

use batchnorm::{BatchNorm, Layout, NonFinite};
use batchnorm_mpi::{Error, SyncBatchNorm};
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;

use super::data::{Shard, batch};
use super::support::{assert_same_on_all_ranks, assert_same_text, bits, state, view, view_mut};

pub(crate) fn on_one_rank(world: &SimpleCommunicator) {
    for poison in [f64::NAN, f64::INFINITY] {
        let_through(world, poison);
        refused(world, poison);
    }
    together_too_far_apart(world);
}

fn poisoned(world: &SimpleCommunicator, poison: f64) -> (Layout, Vec<f64>, Shard) {
    let (ranks, rank) = (world.size() as usize, world.rank() as usize);
    let layout = Layout::nc(512 * ranks, 64);
    let mut x = batch::<f64>(8, layout);
    // On the last rank, in feature 1.
    x[(512 * ranks - 3) * 64 + 1] = poison;
    (layout, x, Shard::new(layout, 512 * rank..512 * (rank + 1)))
}

fn let_through(world: &SimpleCommunicator, poison: f64) {
    let (layout, x, shard) = poisoned(world, poison);
    let (mut bn, mut alone) = (SyncBatchNorm::new(BatchNorm::new(64), world), BatchNorm::new(64));
    let (mut y, mut whole) = (shard.of(&x).to_vec(), x.clone());
    let (mut dx, mut dx_of_whole) = (y.clone(), x.clone());
    bn.forward_train(view(shard.of(&x), shard.layout), view_mut(&mut y, shard.layout)).expect("trains");
    alone.forward_train(view(&x, layout), view_mut(&mut whole, layout)).expect("trains");
    assert_same_on_all_ranks("state", world, &state(bn.layer()));
    assert!(state(bn.layer()) == state(&alone) && bits(&y) == bits(shard.of(&whole)));
    let spoilt = |feature: usize| y.iter().skip(feature).step_by(64).all(|value| value.is_nan());
    assert_eq!((spoilt(0), spoilt(1), spoilt(2)), (false, true, false));
    assert!(bn.layer().running_var()[1].is_nan() && bn.layer().running_var()[2].is_finite());

    let (of_shard, dx_of_shard) = (view(shard.of(&x), shard.layout), view_mut(&mut dx, shard.layout));
    let gradients = bn.backward_train(bn.layer().batch_moments(), of_shard, of_shard, dx_of_shard).expect("fits");
    let (of_whole, dx_whole) = (view(&x, layout), view_mut(&mut dx_of_whole, layout));
    let expected = alone.backward_train(alone.batch_moments(), of_whole, of_whole, dx_whole).expect("fits");
    assert_eq!([bits(gradients.weight()), bits(gradients.bias())], [bits(expected.weight()), bits(expected.bias())]);
    assert!(bits(&dx) == bits(shard.of(&dx_of_whole)));
}

fn refused(world: &SimpleCommunicator, poison: f64) {
    let (_, x, shard) = poisoned(world, poison);
    let mut bn = SyncBatchNorm::new(BatchNorm::new(64).with_non_finite(NonFinite::Refuse), world);
    let before = state(bn.layer());
    let mut y = vec![7.0; shard.layout.count() * 64];
    let (x, layout) = (shard.of(&x), shard.layout);
    let error = bn.forward_train(view(x, layout), view_mut(&mut y, layout)).expect_err("is refused");
    let text = error.to_string();
    assert_same_text(world, &text);
    let last = world.size() - 1;
    assert!(matches!(error, Error::NonFinite { rank: Some(rank), .. } if rank == last), "{text}");
    assert!(text.starts_with(&format!("the shard of rank {last}: feature 1 of the batch has a NaN")), "{text}");
    assert!(state(bn.layer()) == before && y.iter().all(|value| *value == 7.0), "something has changed");
    // The ranks can go on.
    let good = batch::<f64>(9, layout);
    bn.forward_train(view(&good, layout), view_mut(&mut y, layout)).expect("trains");
}

/// Each shard is finite, but the variance of all of them is not: no rank is to blame.
fn together_too_far_apart(world: &SimpleCommunicator) {
    let sign = if world.rank() % 2 == 0 { 1.0 } else { -1.0 };
    let (x, mut y, layout) = ([sign * 1e200; 2], [0.0; 2], Layout::nc(2, 1));
    let mut bn = SyncBatchNorm::new(BatchNorm::new(1).with_non_finite(NonFinite::Refuse), world);
    match bn.forward_train(view(&x, layout), view_mut(&mut y, layout)) {
        Ok(()) => assert_eq!(world.size(), 1),
        Err(error) => assert!(matches!(error, Error::NonFinite { rank: None, .. }) && world.size() > 1, "{error}"),
    }
}
