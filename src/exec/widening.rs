//! Normalising f16 and bf16 batches into f32 ones: each piece is widened to its place in the output, and normalised there
//! while it is in the first-level cache.

use half::{bf16, f16};

use super::normalization::Slices;
#[cfg(feature = "rayon")]
use super::parallel;
use super::{Normalization, Path, Precision, normalization};
use crate::kernels::half::widen;
use crate::lanes::{Job, Simd, SingleLaneElement};
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
pub trait HalfElement: Element + NormalizedToF32 {}

impl HalfElement for f16 {}
impl HalfElement for bf16 {}

/// Seals [`HalfElement`], and makes generic calls concrete (see `concrete!` of [`exec`](super)).
#[expect(private_interfaces, reason = "sealed: nobody else can name or call it")]
pub trait NormalizedToF32: Sized {
    /// Normalises `x` into `y`.
    fn normalize(
        path: Path,
        normalization: &Normalization,
        precision: Precision,
        x: Batch<'_, Self>,
        y: BatchMut<'_, f32>,
    );
}

macro_rules! normalized_to_f32 {
    ($element:ident) => {
        #[expect(private_interfaces, reason = "sealed: nobody else can name or call it")]
        impl NormalizedToF32 for $element {
            fn normalize(
                path: Path,
                normalization: &Normalization,
                precision: Precision,
                x: Batch<'_, Self>,
                y: BatchMut<'_, f32>,
            ) {
                Step { path, normalization, precision }.batch(x, y);
            }
        }
    };
}

normalized_to_f32!(f16);
normalized_to_f32!(bf16);

/// How to normalise.
#[derive(Clone, Copy)]
struct Step<'a> {
    path: Path,
    normalization: &'a Normalization,
    precision: Precision,
}

impl Step<'_> {
    /// Normalises block by block if there are gaps between blocks.
    fn batch<T: SingleLaneElement>(self, x: Batch<'_, T>, mut y: BatchMut<'_, f32>) {
        let layout = y.layout();
        if y.data().is_empty() {
            // Its other dimensions may be anything.
            return;
        }
        match x.contiguous().filter(|_| layout.is_contiguous()) {
            Some(x) => self.contiguous(layout.without_gaps(), x, y.data_mut()),
            None => {
                for outer in 0..layout.outer() {
                    let block = outer..outer + 1;
                    let (x, mut y) = (x.blocks(block.clone()).data(), y.blocks(block));
                    self.contiguous(layout.with_outer(1).without_gaps(), x, y.data_mut());
                }
            }
        }
    }

    fn contiguous<T: SingleLaneElement>(self, layout: Layout, x: &[T], y: &mut [f32]) {
        let Step { path, normalization, precision } = self;
        let fallback = !normalization.factored.is_empty()
            || precision == Precision::Single && !normalization.only_double.is_empty();
        if path == Path::Scalar || fallback {
            for (y, x) in y.iter_mut().zip(x) {
                *y = x.to_f32();
            }
            return path.normalize(normalization, precision, None, None, BatchMut::checked(y, layout));
        }
        #[cfg(feature = "rayon")]
        if path.forks(size_of_val(y), PARALLEL_NORMALIZE) {
            let threads = rayon::current_num_threads();
            let len = (y.len() / (PIECES_PER_THREAD * threads)).next_multiple_of(WIDENED_VALUES).max(WIDENED_VALUES);
            let helpers = y.len().div_ceil(len).saturating_sub(1);
            let pieces = x.chunks(len).zip(y.chunks_mut(len)).enumerate();
            let work = |(): &mut (), (index, (x, y))| self.in_pieces(layout, index * len, x, y);
            return parallel::share(pieces, helpers, &mut (), || (), work);
        }
        self.in_pieces(layout, 0, x, y);
    }

    /// Widens and normalises a run that starts at `start` in a batch.
    fn in_pieces<T: SingleLaneElement>(self, layout: Layout, start: usize, x: &[T], y: &mut [f32]) {
        let path = Path::Simd(self.path.isa());
        for (index, (x, y)) in x.chunks(WIDENED_VALUES).zip(y.chunks_mut(WIDENED_VALUES)).enumerate() {
            path.run(Widen { x, y: &mut *y });
            let start = start + index * WIDENED_VALUES;
            let slices = Slices { layout, start, x: None, residual: None, y };
            normalization::f32_values(path, self.normalization, self.precision, slices);
        }
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
        widen(simd, self.x, self.y);
    }
}
