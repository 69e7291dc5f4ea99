//! Work on the threads of rayon's current pool. Results do not depend on the threads: the tree merges the same parts in
//! the same order, and each value is mapped on its own.

use std::sync::{Mutex, PoisonError};

use crate::kernels::KernelElement;
use crate::kernels::map::{Formula, Map};
use crate::kernels::reduce::Join;
use crate::lanes::{Isa, Job};
use crate::tuning::{CACHE_LINE, PIECE_VALUES, PIECES_PER_THREAD};

/// Runs two pieces of work with [`rayon::join`].
pub(super) struct Rayon;

impl Join for Rayon {
    const FORKS: bool = true;

    fn join(&self, a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
        rayon::join(a, b);
    }
}

/// Maps in parallel, in pieces that end at cache line boundaries of `y`.
///
/// The calling thread works, too, from the start, because the threads of the pool may take longer to wake than the work
/// takes.
pub(super) fn map<F, C, T, const P: usize, const I: usize>(isa: Isa, whole: Map<'_, F, C, T, P, I>)
where
    F: Formula<P, I> + Sync,
    C: Sync,
    T: KernelElement,
    for<'a> Map<'a, F, C, T, P, I>: Job<Output = ()>,
{
    let Map { formula, parameters, layout, inputs, y, store, .. } = whole;
    let threads = rayon::current_num_threads();
    let piece = (y.len() / (PIECES_PER_THREAD * threads)).next_multiple_of(PIECE_VALUES).max(PIECE_VALUES);
    let run = |start: usize, y: &mut [T]| {
        let inputs = inputs.map(|x| x.map(|x| &x[start..start + y.len()]));
        isa.run(Map { formula, parameters, layout, start, inputs, y, store });
    };
    let head = (y.as_ptr().addr().next_multiple_of(CACHE_LINE) - y.as_ptr().addr()) / size_of::<T>();
    let (y_head, y) = y.split_at_mut(head.min(y.len()));
    if !y_head.is_empty() {
        run(0, y_head);
    }
    let pieces = Mutex::new(y.chunks_mut(piece).enumerate());
    // No thread panics while it holds the lock.
    let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some((index, y)) = next() {
            run(head + index * piece, y);
        }
    };
    rayon::in_place_scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| work());
        }
        work();
    });
}
