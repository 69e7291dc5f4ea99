//! Ranks that hold whole chunks have the bits of one process, whatever their number and their shares are.

use batchnorm::{Activation, BatchNorm, Element, GradOutput, Layout};
use batchnorm_mpi::SyncBatchNorm;
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;

use super::data::{Shard, batch, divisions};
use super::support::{assert_same_on_all_ranks, bits, state, view, view_mut};

/// Layouts, and the outer blocks in a chunk of each (as `Moments::merge` documents them).
fn layouts() -> [(Layout, usize); 6] {
    [
        (Layout::nc(4 * 512, 64), 512),
        (Layout::nc(6 * 512 + 77, 70), 512),
        (Layout::nc(4 * 4096 + 5, 8), 4096),
        (Layout::nchw(7 * 8 + 3, 3, 64, 64), 8),
        (Layout::nchw(12 * 668, 1, 7, 7), 668),
        (Layout::ncl(5, 2, 40_000), 1),
    ]
}

fn layer(features: usize, activation: Activation) -> BatchNorm {
    let mut bn = BatchNorm::new(features).with_activation(activation);
    bn.set_weight(&vec![1.75; features]).expect("one each");
    bn.set_bias(&vec![0.25; features]).expect("one each");
    bn
}

/// All results of two training steps: outputs, gradients of the inputs, and everything that ranks share.
struct Results<T> {
    y: Vec<T>,
    dx: Vec<T>,
    shared: Vec<u64>,
}

fn one_process<T: Element>(layout: Layout, activation: Activation, x: &[T], dy: &[T]) -> Results<T> {
    let mut bn = layer(layout.features(), activation);
    let (mut y, mut dx, mut shared) = (x.to_vec(), x.to_vec(), Vec::new());
    for _ in 0..2 {
        let input = view(x, layout);
        bn.forward_train(input, view_mut(&mut y, layout)).expect("trains");
        let dy = match activation {
            Activation::Relu => GradOutput::through_relu(view(dy, layout), view(&y, layout)).expect("fits"),
            _ => GradOutput::from(view(dy, layout)),
        };
        let gradients = bn.backward_train(bn.batch_moments(), input, dy, view_mut(&mut dx, layout)).expect("fits");
        shared.extend([state(&bn), bits(gradients.weight()), bits(gradients.bias())].concat());
    }
    Results { y, dx, shared }
}

fn on_ranks<T: Element, C: Communicator>(
    bn: &mut SyncBatchNorm<'_, C>,
    shard: &Shard,
    x: &[T],
    dy: &[T],
    rank: usize,
) -> Results<T> {
    let (x, dy, layout) = (shard.of(x), shard.of(dy), shard.layout);
    let (mut y, mut dx, mut shared) = (x.to_vec(), x.to_vec(), Vec::new());
    // Odd ranks have gaps of NaN between outer blocks.
    let (block, gap) = (layout.features() * layout.inner(), rank % 2 * 3);
    let padded: Vec<T> = x
        .chunks(block)
        .flat_map(|x| x.iter().copied().chain(std::iter::repeat_n(T::from_f64(f64::NAN), gap)))
        .collect();
    let with_gaps = layout.with_outer_stride(block + gap);
    for step in 0..2 {
        let input = view(&padded[..with_gaps.checked_span().expect("small")], with_gaps);
        if step == 0 {
            bn.forward_train(input, view_mut(&mut y, layout)).expect("trains");
        } else {
            y.copy_from_slice(x);
            bn.forward_train_in_place(view_mut(&mut y, layout)).expect("trains");
        }
        let (moments, dy, dx) = (bn.layer().batch_moments(), view(dy, layout), view_mut(&mut dx, layout));
        let gradients = match bn.layer().activation() {
            Activation::Relu => bn.backward_train_through_relu(moments, input, dy, view(&y, layout), dx),
            _ => bn.backward_train(moments, input, dy, dx),
        };
        let gradients = gradients.expect("fits");
        shared.extend([state(bn.layer()), bits(gradients.weight()), bits(gradients.bias())].concat());
    }
    Results { y, dx, shared }
}

fn compare<T: Element, C: Communicator>(comm: &C, layout: Layout, chunk: usize, activation: Activation) {
    let (x, dy) = (batch::<T>(1, layout), batch::<T>(2, layout));
    let whole = one_process(layout, activation, &x, &dy);
    let (ranks, rank) = (comm.size() as usize, comm.rank() as usize);
    for (at, ends) in divisions(layout.outer().div_ceil(chunk), ranks, 3).into_iter().enumerate() {
        let block = |rank: usize| (ends[rank] * chunk).min(layout.outer());
        let shard = Shard::new(layout, block(rank)..block(rank + 1));
        let bn = SyncBatchNorm::new(layer(layout.features(), activation), comm);
        // Every other division: each rank merges some features.
        let mut bn = if at % 2 == 0 { bn.with_gather_limit(0) } else { bn };
        let mine = on_ranks(&mut bn, &shard, &x, &dy, rank);
        let what = format!("{layout}, {}, chunks {ends:?}", std::any::type_name::<T>());
        assert_same_on_all_ranks(&what, comm, &mine.shared);
        assert!(mine.shared == whole.shared, "{what}: moments, running statistics or gradients have other bits");
        assert!(bits(&mine.y) == bits(shard.of(&whole.y)), "{what}: the outputs have other bits");
        assert!(bits(&mine.dx) == bits(shard.of(&whole.dx)), "{what}: dx has other bits");
    }
}

pub(crate) fn whole_chunks(world: &SimpleCommunicator) {
    for (at, (layout, chunk)) in layouts().into_iter().enumerate() {
        let activation = if at % 2 == 0 { Activation::None } else { Activation::Relu };
        compare::<f32, _>(world, layout, chunk, activation);
        compare::<f64, _>(world, layout, chunk, activation);
        #[cfg(feature = "half")]
        compare::<half::f16, _>(world, layout, chunk, activation);
        #[cfg(feature = "half")]
        compare::<half::bf16, _>(world, layout, chunk, activation);
    }
}

/// Even and odd ranks train different batches at the same time.
pub(crate) fn split_communicator(world: &SimpleCommunicator) {
    let color = mpi::topology::Color::with_value(world.rank() % 2);
    let group = world.split_by_color(color).expect("every rank has a color");
    let (layout, chunk) = layouts()[(world.rank() % 2) as usize];
    compare::<f64, _>(&group, layout, chunk, Activation::None);
}

/// However little a rank receives at once, and whoever merges, bits are the same. Each rank sends a header and the words
/// of its nodes.
pub(crate) fn blocks_and_bytes(world: &SimpleCommunicator) {
    let ranks = world.size() as usize;
    // As many chunks as ranks: each rank holds one node.
    let layout = Layout::nc(512 * ranks, FEATURES);
    let (x, dy) = (batch::<f32>(1, layout), batch::<f32>(2, layout));
    let whole = one_process(layout, Activation::None, &x, &dy);
    let rank = world.rank() as usize;
    let shard = Shard::new(layout, 512 * rank..512 * (rank + 1));
    for gather_limit in [usize::MAX, 0] {
        for (buffer, blocks) in [(64 << 20, 1), (6 * 8 * ranks * 20, 4), (0, FEATURES as u64)] {
            let bn = SyncBatchNorm::new(layer(FEATURES, Activation::None), world);
            let mut bn = bn.with_receive_buffer(buffer).with_gather_limit(gather_limit);
            let mine = on_ranks(&mut bn, &shard, &x, &dy, rank);
            assert!(mine.shared == whole.shared, "a buffer of {buffer} bytes, a limit of {gather_limit}");
            let traffic = bn.traffic();
            if gather_limit > 0 || ranks == 1 {
                // The backward pass has fewer words, so it may need fewer blocks.
                let most = 2 * (2 + 2 * blocks);
                assert!(traffic.exchanges <= most && traffic.exchanges > most / 2, "{} exchanges", traffic.exchanges);
                assert_eq!((traffic.sent, traffic.received), gathered(ranks as u64));
            } else if blocks == 1 {
                assert_eq!(traffic.exchanges, 2 * (2 + 4));
                assert_eq!((traffic.sent, traffic.received), shared(ranks, rank));
            }
        }
    }
}

const FEATURES: usize = 64;

/// Bytes of a header.
const HEADER: u64 = 24 * 8;

/// Bytes that a rank sends and receives in two steps: forward has six words per feature, backward has five.
fn gathered(ranks: u64) -> (u64, u64) {
    let sent = 2 * (2 * HEADER + (6 + 5) * 8 * FEATURES as u64);
    (sent, sent * (ranks - 1))
}

/// The same if each rank merges a share of the features: it sends the other shares, and the result of its own.
fn shared(ranks: usize, rank: usize) -> (u64, u64) {
    let share = (FEATURES * (rank + 1) / ranks - FEATURES * rank / ranks) as u64;
    let (others, features) = (ranks as u64 - 1, FEATURES as u64);
    let (word, words) = (8, (6 + 5) * 8);
    // Both the forward and the backward pass have a word that says whether there is a result.
    let sent = 2 * HEADER + words * (features - share) + words * share + 2 * word;
    let received = 2 * HEADER * others + words * others * share + words * (features - share) + 2 * word * others;
    (2 * sent, 2 * received)
}
