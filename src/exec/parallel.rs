//! Work on the threads of rayon's current pool. Results do not depend on the threads: the tree merges the same parts in
//! the same order, and each value is mapped on its own.

use std::borrow::BorrowMut;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::kernels::map::{Formula, Map};
use crate::kernels::reduce::{Reduction, Size, Tree};
use crate::kernels::{Arrays, KernelElement};
use crate::lanes::{Isa, Job};
use crate::moments::Workspace;
use crate::tuning::{CACHE_LINE, PART_VALUES, PIECE_VALUES, PIECES_PER_THREAD, SPINS};

/// Computes a reduction over `values` values in parts.
pub(super) fn reduce<R: Reduction<N>, const N: usize>(
    tree: &Tree<R, N>,
    values: usize,
    mut out: Arrays<'_, N>,
    workspace: &mut Workspace,
) {
    let threads = rayon::current_num_threads();
    let size = Size { values: (values / (PIECES_PER_THREAD * threads)).max(PART_VALUES), threads };
    let (own, partial) = workspace.of(tree.workspace() + tree.partial(size)).split_at_mut(tree.workspace());
    let parts = tree.parts(size, out.reborrow(), partial);
    let helpers = parts.len() - 1;
    share(parts.into_iter(), helpers, own, || vec![0.0; tree.workspace()], |own, part| tree.run_part(part, own));
    tree.merge_parts(size, out, partial);
}

/// Maps in parallel, in pieces that end at cache line boundaries of `y`.
pub(super) fn map<F, C, T, const P: usize, const I: usize>(isa: Isa, whole: Map<'_, F, C, T, P, I>)
where
    F: Formula<P, I> + Sync,
    C: Sync,
    T: KernelElement,
    for<'a> Map<'a, F, C, T, P, I>: Job<Output = ()>,
{
    let Map { formula, parameters, layout, inputs, y, store, .. } = whole;
    let threads = rayon::current_num_threads();
    let size = (y.len() / (PIECES_PER_THREAD * threads)).next_multiple_of(PIECE_VALUES).max(PIECE_VALUES);
    let run = |start: usize, y: &mut [T]| {
        let inputs = inputs.map(|x| x.map(|x| &x[start..start + y.len()]));
        isa.run(Map { formula, parameters, layout, start, inputs, y, store });
    };
    let head = (y.as_ptr().addr().next_multiple_of(CACHE_LINE) - y.as_ptr().addr()) / size_of::<T>();
    let (y_head, y) = y.split_at_mut(head.min(y.len()));
    if !y_head.is_empty() {
        run(0, y_head);
    }
    let helpers = y.len().div_ceil(size).saturating_sub(1);
    let pieces = y.chunks_mut(size).enumerate();
    share(pieces, helpers, &mut (), || (), |(), (index, y)| run(head + index * size, y));
}

/// Does pieces of work on the calling thread and on as many as `helpers` other threads of the current pool. Each thread
/// takes one piece after another, with a workspace of its own: the calling thread with `own`, others with `new` ones.
///
/// The calling thread works from the start, because the others may take longer to wake than the work takes: some 50 us.
/// [`rayon::join`] puts a thread that is not of the pool to sleep instead. For the same reason the calling thread waits
/// awake for the last pieces of the others. A thread of the pool need not: rayon gives it other work.
pub(super) fn share<P: Send, O: ?Sized, N: BorrowMut<O>>(
    pieces: impl Iterator<Item = P> + Send,
    helpers: usize,
    own: &mut O,
    new: impl Fn() -> N + Sync,
    work: impl Fn(&mut O, P) + Sync,
) {
    let helpers = helpers.min(rayon::current_num_threads() - 1);
    let (pieces, finished) = (Mutex::new(pieces), AtomicUsize::new(0));
    // No thread panics while it holds the lock.
    let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
    rayon::in_place_scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|_| {
                if let Some(first) = next() {
                    let mut own = new();
                    work(own.borrow_mut(), first);
                    while let Some(piece) = next() {
                        work(own.borrow_mut(), piece);
                    }
                }
                finished.fetch_add(1, Ordering::Release);
            });
        }
        while let Some(piece) = next() {
            work(own, piece);
        }
        let mut spins = if rayon::current_thread_index().is_none() { SPINS } else { 0 };
        while spins > 0 && finished.load(Ordering::Acquire) < helpers {
            spin_loop();
            spins -= 1;
        }
    });
}
