//! Normalising f16 and bf16 batches into f32 ones: each piece is widened to its place in the output, and normalised there
//! while it is in the first-level cache.

use half::{bf16, f16};

use super::normalization::Slices;
#[cfg(feature = "rayon")]
use super::parallel;
use super::{Normalization, Path, Precision, normalization};
use crate::lanes::{Job, Lanes, LoadStore, Simd, SingleLaneElement};
use crate::layout::Layout;
use crate::tuning::WIDENED_VALUES;
#[cfg(feature = "rayon")]
use crate::tuning::{PARALLEL_NORMALIZE, PIECES_PER_THREAD};
use crate::{Batch, BatchMut, Element};

/// An element type of half precision: `half::f16` or `half::bf16`. The trait is sealed.
///
/// ```
/// fn is_half<T: batchnorm::HalfElement>() -> bool {
///     size_of::<T>() == 2
/// }
/// assert!(is_half::<half::bf16>());
/// ```
pub trait HalfElement: Element + Normalized {}

impl HalfElement for f16 {}
impl HalfElement for bf16 {}

/// Seals [`HalfElement`], and makes generic calls concrete (see `concrete!` of [`exec`](super)).
pub trait Normalized: Sized {
    /// Normalises `x` into `y`.
    #[expect(private_interfaces, reason = "sealed: nobody else can call it")]
    fn normalize(path: Path, by: By<'_>, x: Batch<'_, Self>, y: BatchMut<'_, f32>);
}

/// How a batch is normalised.
#[derive(Clone, Copy)]
pub(crate) struct By<'a> {
    pub(crate) normalization: &'a Normalization,
    pub(crate) precision: Precision,
}

impl Normalized for f16 {
    #[expect(private_interfaces, reason = "sealed: nobody else can call it")]
    fn normalize(path: Path, by: By<'_>, x: Batch<'_, Self>, y: BatchMut<'_, f32>) {
        normalize(path, by, x, y);
    }
}

impl Normalized for bf16 {
    #[expect(private_interfaces, reason = "sealed: nobody else can call it")]
    fn normalize(path: Path, by: By<'_>, x: Batch<'_, Self>, y: BatchMut<'_, f32>) {
        normalize(path, by, x, y);
    }
}

fn normalize<T: SingleLaneElement>(path: Path, by: By<'_>, x: Batch<'_, T>, mut y: BatchMut<'_, f32>) {
    let layout = y.layout();
    if y.data().is_empty() {
        return;
    }
    let Some(values) = x.contiguous().filter(|_| layout.is_contiguous()) else {
        for outer in 0..layout.outer() {
            let block = layout.with_outer(1).without_gaps();
            let x = x.blocks(outer..outer + 1).data();
            contiguous(path, by, block, x, y.blocks(outer..outer + 1).data_mut());
        }
        return;
    };
    contiguous(path, by, layout.without_gaps(), values, y.data_mut());
}

fn contiguous<T: SingleLaneElement>(path: Path, by: By<'_>, layout: Layout, x: &[T], y: &mut [f32]) {
    let By { normalization, precision } = by;
    let plain =
        !normalization.factored.is_empty() || precision == Precision::Single && !normalization.only_double.is_empty();
    if path == Path::Scalar || plain {
        for (y, x) in y.iter_mut().zip(x) {
            *y = x.to_f32();
        }
        return path.normalize(normalization, precision, None, None, BatchMut::checked(y, layout));
    }
    #[cfg(feature = "rayon")]
    if path.forks(size_of_val(y), PARALLEL_NORMALIZE) {
        let threads = rayon::current_num_threads();
        let len = (y.len() / (PIECES_PER_THREAD * threads)).next_multiple_of(WIDENED_VALUES).max(WIDENED_VALUES);
        let (path, helpers) = (Path::Simd(path.isa()), y.len().div_ceil(len) - 1);
        let pieces = x.chunks(len).zip(y.chunks_mut(len)).enumerate();
        return parallel::share(
            pieces,
            helpers,
            &mut (),
            || (),
            |(), (index, (x, y))| {
                in_pieces(path, by, layout, index * len, x, y);
            },
        );
    }
    in_pieces(path, by, layout, 0, x, y);
}

fn in_pieces<T: SingleLaneElement>(path: Path, by: By<'_>, layout: Layout, start: usize, x: &[T], y: &mut [f32]) {
    let path = Path::Simd(path.isa());
    for (index, (x, y)) in x.chunks(WIDENED_VALUES).zip(y.chunks_mut(WIDENED_VALUES)).enumerate() {
        path.run(Widen { x, y: &mut *y });
        let start = start + index * WIDENED_VALUES;
        normalization::f32_values(
            path,
            by.normalization,
            by.precision,
            Slices { layout, start, x: None, residual: None, y },
        );
    }
}

/// Converts values to f32, exactly.
struct Widen<'a, T> {
    x: &'a [T],
    y: &'a mut [f32],
}

impl<T: SingleLaneElement> Job for Widen<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Widen { x, y } = self;
        let lanes = <T::F32<S> as Lanes>::LANES;
        let full = y.len() - y.len() % lanes;
        for at in (0..full).step_by(lanes) {
            <T::F32<S> as LoadStore<T>>::load_from(simd, &x[at..]).store(&mut y[at..]);
        }
        for (y, x) in y[full..].iter_mut().zip(&x[full..]) {
            *y = x.to_f32();
        }
    }
}
