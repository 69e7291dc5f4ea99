//! What checks share: comparing ranks, and one process with several.

use batchnorm::{Batch, BatchMut, BatchNorm, Element, Layout, Moments};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};

/// Runs a check on all ranks. Rank 0 says so when all are done.
pub(crate) fn run_check(world: &SimpleCommunicator, name: &str, check: fn(&SimpleCommunicator)) {
    check(world);
    world.barrier();
    if world.rank() == 0 {
        println!("ok: {name}");
    }
}

pub(crate) fn view<T: Element>(values: &[T], layout: Layout) -> Batch<'_, T> {
    Batch::new(values, layout).expect("fits")
}

pub(crate) fn view_mut<T: Element>(values: &mut [T], layout: Layout) -> BatchMut<'_, T> {
    BatchMut::new(values, layout).expect("fits")
}

/// The bits of values. Any NaN is the same.
pub(crate) fn bits<T: Element>(values: &[T]) -> Vec<u64> {
    let of = |value: f64| if value.is_nan() { u64::MAX } else { value.to_bits() };
    values.iter().map(|value| of(value.to_f64())).collect()
}

/// The bits of moments, all words.
pub(crate) fn bits_of_moments(moments: &Moments) -> Vec<u64> {
    let parts = moments.parts();
    let floats = [parts.means, parts.means_middle, parts.means_low, parts.m2s, parts.m2s_low];
    parts.counts.iter().copied().chain(floats.into_iter().flat_map(bits)).collect()
}

/// All that training changes in a layer.
pub(crate) fn state(bn: &BatchNorm) -> Vec<u64> {
    let mut state = vec![bn.num_batches_tracked(), bn.num_values_tracked()];
    state.extend(bits(bn.running_mean()));
    state.extend(bits(bn.running_var()));
    state.extend(bits_of_moments(bn.batch_moments()));
    state
}

/// Panics unless all ranks have the same words.
pub(crate) fn assert_same_on_all_ranks(what: &str, comm: &impl Communicator, words: &[u64]) {
    let mut length = words.len() as u64;
    comm.process_at_rank(0).broadcast_into(&mut length);
    assert_eq!(length, words.len() as u64, "{what}: rank {} has another length than rank 0", comm.rank());
    let mut of_first = words.to_vec();
    comm.process_at_rank(0).broadcast_into(&mut of_first);
    let differs = words.iter().zip(&of_first).position(|(mine, first)| mine != first);
    assert_eq!(differs, None, "{what}: rank {} differs from rank 0", comm.rank());
}

/// Panics unless all ranks have the same text.
pub(crate) fn assert_same_text(comm: &impl Communicator, text: &str) {
    let words: Vec<u64> = text.bytes().map(u64::from).collect();
    assert_same_on_all_ranks(text, comm, &words);
}
