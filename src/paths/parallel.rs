//! Lanes on the threads of rayon's current pool. (The parallel moments are the forks of [`crate::kernels::Tree`].)

use std::sync::{Mutex, PoisonError};

use crate::Element;
use crate::kernels::{Affine, Normalize};
use crate::lanes::Isa;
use crate::layout::Layout;

/// Fewest values that one thread takes at a time, a multiple of a cache line.
const PIECE: usize = 1 << 15;

/// Pieces per thread: enough that a slow one does not hold up the rest.
const PIECES_PER_THREAD: usize = 4;

/// Bytes that threads must not share where they write.
const CACHE_LINE: usize = 64;

/// Each value is computed on its own, so where the pieces end cannot change a bit. They end with cache lines of `y`.
///
/// The calling thread works, too, from the start: those of the pool may take longer to wake than the work does.
pub(super) fn normalize<T: Element>(isa: Isa, affine: &Affine, layout: Layout, x: Option<&[T]>, y: &mut [T]) {
    let threads = rayon::current_num_threads();
    let piece = (y.len() / (PIECES_PER_THREAD * threads)).next_multiple_of(PIECE).max(PIECE);
    let streams = super::streams(x, y);
    let run = |start: usize, y: &mut [T]| {
        let x = x.map(|x| &x[start..start + y.len()]);
        isa.run(Normalize { affine, layout, start, x, y, streams });
    };
    let head = (y.as_ptr().addr().next_multiple_of(CACHE_LINE) - y.as_ptr().addr()) / size_of::<T>();
    let (y_head, y) = y.split_at_mut(head.min(y.len()));
    if !y_head.is_empty() {
        run(0, y_head);
    }
    let pieces = Mutex::new(y.chunks_mut(piece).enumerate());
    // Nothing panics while it holds the lock.
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
