//! Lanes on the threads of rayon's current pool. (The parallel moments are the forks of [`crate::kernels::Tree`].)

use rayon::prelude::*;

use crate::Element;
use crate::kernels::{Affine, Normalize};
use crate::lanes::Isa;
use crate::layout::Layout;

/// Fewest values that one thread takes at a time, a multiple of a cache line: threads do not write to the same one.
const PIECE: usize = 1 << 15;

/// Pieces per thread: enough that a slow one does not hold up the rest.
const PIECES_PER_THREAD: usize = 4;

/// Each value is computed on its own, so where the pieces end cannot change a bit.
pub(super) fn normalize<T: Element>(isa: Isa, affine: &Affine, layout: Layout, x: Option<&[T]>, y: &mut [T]) {
    let share = y.len() / (PIECES_PER_THREAD * rayon::current_num_threads());
    let piece = share.next_multiple_of(PIECE).max(PIECE);
    let streams = super::streams(x, y);
    let run = |index: usize, x: Option<&[T]>, y: &mut [T]| {
        isa.run(Normalize { affine, layout, start: index * piece, x, y, streams });
    };
    let pieces = y.par_chunks_mut(piece).enumerate();
    match x {
        Some(x) => pieces.zip(x.par_chunks(piece)).for_each(|((index, y), x)| run(index, Some(x), y)),
        None => pieces.for_each(|(index, y)| run(index, None, y)),
    }
}
