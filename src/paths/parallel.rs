//! Lanes on the threads of rayon's current pool. (The parallel moments are the forks of [`crate::kernels::Tree`].)

use rayon::prelude::*;

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
pub(super) fn normalize<T: Element>(isa: Isa, affine: &Affine, layout: Layout, x: Option<&[T]>, y: &mut [T]) {
    let share = y.len() / (PIECES_PER_THREAD * rayon::current_num_threads());
    let piece = share.next_multiple_of(PIECE).max(PIECE);
    let streams = super::streams(x, y);
    let run = |start: usize, x: Option<&[T]>, y: &mut [T]| {
        if !y.is_empty() {
            isa.run(Normalize { affine, layout, start, x, y, streams });
        }
    };
    let head = (y.as_ptr().addr().next_multiple_of(CACHE_LINE) - y.as_ptr().addr()) / size_of::<T>();
    let head = head.min(y.len());
    let (y_head, y) = y.split_at_mut(head);
    run(0, x.map(|x| &x[..head]), y_head);
    let pieces = y.par_chunks_mut(piece).enumerate();
    match x {
        Some(x) => {
            let pieces = pieces.zip(x[head..].par_chunks(piece));
            pieces.for_each(|((index, y), x)| run(head + index * piece, Some(x), y));
        }
        None => pieces.for_each(|(index, y)| run(head + index * piece, None, y)),
    }
}
