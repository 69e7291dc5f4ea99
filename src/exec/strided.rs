//! Maps of batches with gaps between outer blocks, by maps of contiguous batches: block by block or, where blocks are
//! short, in tiles that are copied to the first-level cache.

use super::Path;
#[cfg(feature = "rayon")]
use super::parallel;
use crate::layout::Layout;
#[cfg(feature = "rayon")]
use crate::tuning::{PARALLEL_NORMALIZE, PIECES_PER_THREAD};
use crate::tuning::{SPLAT_INNER, STRIDED_DIRECT_BYTES, STRIDED_TILE};
use crate::{Batch, BatchMut, Element};

/// Calls `map` on contiguous parts of the batches, with the path and the layout of each part. The batches have one layout,
/// but for their outer strides. Without the first input, it is `y` itself, in place. `map` is not called for an empty batch.
pub(super) fn map<T: Element, const I: usize>(
    path: Path,
    inputs: [Option<Batch<'_, T>>; I],
    mut y: BatchMut<'_, T>,
    map: impl Fn(Path, Layout, [Option<&[T]>; I], &mut [T]) + Sync,
) {
    let layout = y.layout();
    if y.data().is_empty() {
        return;
    }
    let gaps = |x: &Batch<'_, T>| !x.layout().is_contiguous();
    if !inputs.iter().flatten().any(gaps) && !gaps(&y.as_batch()) {
        return map(path, layout.without_gaps(), inputs.map(|x| x.map(|x| x.data())), y.data_mut());
    }
    #[cfg(feature = "rayon")]
    if path.forks(super::bytes_of(layout, size_of::<T>()), PARALLEL_NORMALIZE) {
        let blocks = layout.outer().div_ceil(PIECES_PER_THREAD * rayon::current_num_threads());
        let pieces = layout.outer().div_ceil(blocks);
        let (path, stride) = (Path::Simd(path.isa()), layout.outer_stride());
        let pieces_of_y = y.data_mut().chunks_mut(blocks * stride).enumerate();
        return parallel::share(
            pieces_of_y,
            pieces - 1,
            &mut (),
            || (),
            |(), (index, y)| {
                let first = index * blocks;
                let outer = first..layout.outer().min(first + blocks);
                let y_layout = layout.with_outer(outer.len());
                let span = (outer.len() - 1) * stride + layout.features() * layout.inner();
                let inputs = inputs.map(|x| x.map(|x| x.blocks(outer.clone())));
                on_one_thread(path, inputs, BatchMut::checked(&mut y[..span], y_layout), &map);
            },
        );
    }
    on_one_thread(path, inputs, y, &map);
}

fn on_one_thread<T: Element, const I: usize>(
    path: Path,
    inputs: [Option<Batch<'_, T>>; I],
    mut y: BatchMut<'_, T>,
    map: &impl Fn(Path, Layout, [Option<&[T]>; I], &mut [T]),
) {
    let layout = y.layout();
    let block = layout.features() * layout.inner();
    // The kernel expands the parameters of small planes once per call: then several blocks should share a call.
    let expands = (2..SPLAT_INNER).contains(&layout.inner()) && 2 * block <= STRIDED_TILE;
    if expands || block * size_of::<T>() < STRIDED_DIRECT_BYTES {
        return in_tiles(path, inputs, y, map);
    }
    for outer in 0..layout.outer() {
        let inputs = inputs.map(|x| x.map(|x| x.blocks(outer..outer + 1).data()));
        map(path, layout.with_outer(1).without_gaps(), inputs, y.blocks(outer..outer + 1).data_mut());
    }
}

fn in_tiles<T: Element, const I: usize>(
    path: Path,
    inputs: [Option<Batch<'_, T>>; I],
    mut y: BatchMut<'_, T>,
    map: &impl Fn(Path, Layout, [Option<&[T]>; I], &mut [T]),
) {
    let layout = y.layout();
    let block = layout.features() * layout.inner();
    let mut tiles = [[T::from_f64(0.0); STRIDED_TILE]; I];
    let mut y_tile = [T::from_f64(0.0); STRIDED_TILE];
    let blocks = STRIDED_TILE / block;
    for start in (0..layout.outer()).step_by(blocks) {
        let outer = start..layout.outer().min(start + blocks);
        let (len, tile_layout) = (outer.len() * block, layout.with_outer(outer.len()).without_gaps());
        let mut slices = [None; I];
        for ((slice, x), tile) in slices.iter_mut().zip(inputs).zip(&mut tiles) {
            *slice = x.map(|x| {
                let x = x.blocks(outer.clone());
                x.contiguous().unwrap_or_else(|| pack(x, &mut tile[..len]))
            });
        }
        let mut y = y.blocks(outer);
        if y.as_batch().contiguous().is_some() {
            map(path, tile_layout, slices, y.data_mut());
            continue;
        }
        let tile = &mut y_tile[..len];
        if inputs[0].is_none() {
            pack(y.as_batch(), tile);
        }
        map(path, tile_layout, slices, tile);
        let stride = y.layout().outer_stride();
        for (to, from) in y.data_mut().chunks_mut(stride).zip(tile.chunks_exact(block)) {
            to[..block].copy_from_slice(from);
        }
    }
}

/// Copies the values of a batch to a tile, without the gaps.
fn pack<'a, T: Copy>(x: Batch<'_, T>, tile: &'a mut [T]) -> &'a [T] {
    let block = x.layout().features() * x.layout().inner();
    for (to, from) in tile.chunks_exact_mut(block).zip(x.data().chunks(x.layout().outer_stride())) {
        to.copy_from_slice(&from[..block]);
    }
    tile
}
