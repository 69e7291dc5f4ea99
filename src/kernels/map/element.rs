//! How each element type is mapped in f64.

#[cfg(feature = "half")]
use super::StorePolicy;
use super::{Formula, Map};
#[cfg(feature = "half")]
use crate::kernels::half::{narrow, widen};
use crate::lanes::Simd;
#[cfg(feature = "half")]
use crate::lanes::SingleLaneElement;
#[cfg(feature = "half")]
use crate::tuning::WIDENED_TILE;

/// An element type that is mapped in f64.
pub(crate) trait MapElement: Sized {
    /// Maps a run in f64.
    fn map_in_f64<S: Simd, F: Formula<P, I>, const P: usize, const I: usize>(map: Map<'_, F, f64, Self, P, I>, simd: S);
}

/// Implements it for some types, by an expression of the map and the instruction set.
macro_rules! map_element {
    ($($element:ty),*: |$map:ident, $simd:ident| $mapped:expr) => {
        $(
            impl MapElement for $element {
                #[inline(always)]
                fn map_in_f64<S: Simd, F: Formula<P, I>, const P: usize, const I: usize>(
                    $map: Map<'_, F, f64, Self, P, I>,
                    $simd: S,
                ) {
                    $mapped;
                }
            }
        )*
    };
}

map_element!(f32, f64: |map, simd| map.in_lanes::<S::F64>(simd));
// By default these are mapped in f32. For the rest they share the kernels of f32, which would otherwise be compiled
// three times.
#[cfg(feature = "half")]
map_element!(half::f16, half::bf16: |map, simd| in_tiles(map, simd));

/// Widens values to f32, maps them, and rounds the results, a tile at a time. (f32 lies in between, too, where lanes of
/// f64 load or store these types.) The store policy does not apply: tiles stay in the cache, and results are stored
/// ordinarily.
#[cfg(feature = "half")]
#[inline(always)]
fn in_tiles<S: Simd, F: Formula<P, I>, T: SingleLaneElement, const P: usize, const I: usize>(
    map: Map<'_, F, f64, T, P, I>,
    simd: S,
) {
    let Map { formula, parameters, layout, start, inputs, y, .. } = map;
    let mut tiles = [[0.0; WIDENED_TILE]; I];
    let mut at = 0;
    while at < y.len() {
        let place = at..y.len().min(at + WIDENED_TILE);
        let len = place.len();
        for i in 0..I {
            let x = match inputs[i] {
                Some(x) => &x[place.clone()],
                None => &y[place.clone()],
            };
            widen(simd, x, &mut tiles[i][..len]);
        }
        // The first tile becomes the output.
        let Some((tile, others)) = tiles.split_first_mut() else { return };
        let mut slices = [None; I];
        for i in 1..I {
            slices[i] = Some(&others[i - 1][..len]);
        }
        let (start, store) = (start + at, StorePolicy::Cached);
        simd.job(Map { formula, parameters, layout, start, inputs: slices, y: &mut tile[..len], store });
        narrow(simd, &tile[..len], &mut y[place]);
        at += len;
    }
}
