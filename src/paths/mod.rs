//! The three ways to the same bits, and the choice between them.

mod parallel;
mod scalar;
mod simd;

use crate::kernels::{Affine, Partial, Variances};
use crate::lanes::Isa;
use crate::layout::Layout;
use crate::order::Order;
use crate::{Batch, Element, Moments};

/// How to compute. The results are the same bits; the time is not.
///
/// ```
/// use batchnorm::{Batch, Isa, Layout, Path};
///
/// let data: Vec<f32> = (0..3000).map(|i| (i as f32).sin()).collect();
/// let x = Batch::new(&data, Layout::nc(600, 5))?;
/// let reference = Path::Scalar.moments(x);
/// for isa in Isa::available() {
///     assert_eq!(Path::Simd(isa).moments(x), reference);
///     assert_eq!(Path::Parallel(isa).moments(x), reference);
/// }
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Path {
    /// [`Path::Parallel`] where a batch is large enough for threads to pay and rayon's current pool has more than one,
    /// else [`Path::Simd`]; on the best lanes of the machine.
    #[default]
    Auto,
    /// The reference: plain code that explains the algorithm.
    Scalar,
    /// Lanes, on the calling thread.
    Simd(Isa),
    /// Lanes, on the threads of rayon's current pool: feature columns are shared out, and chunks of rows where there
    /// are few columns.
    Parallel(Isa),
}

/// Values from which moments are worth waking threads for. Measured on two cores (`cargo bench --bench roofline`): up to
/// 2^20 f32 values, 4 MiB, `parallel` is no faster than `simd`, which takes some 90 microseconds then; at 2^21 it is 1.2
/// times as fast, at 2^22 1.6 times.
const PARALLEL_MOMENTS: usize = 1 << 21;

/// The same for normalising, where the calling thread does not wait for others to wake: at 2^18 values about as fast, at
/// 2^20 1.3 times.
const PARALLEL_NORMALIZE: usize = 1 << 18;

impl Path {
    /// Moments of each feature of a batch.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, Path};
    /// let m = Path::Scalar.moments(Batch::new(&[1.0f32, 2.0, 6.0], Layout::nc(3, 1))?);
    /// assert_eq!((m.mean(0), m.m2(0)), (3.0, 14.0));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn moments<T: Element>(self, x: Batch<'_, T>) -> Moments {
        let mut moments = Moments::default();
        self.moments_into(x, &mut moments);
        moments
    }

    /// The same into moments that exist, whose memory is used again; what they held is lost.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, Moments, Path};
    /// let mut m = Moments::default();
    /// for batch in [[1.0f32, 3.0], [2.0, 6.0]] {
    ///     Path::Auto.moments_into(Batch::new(&batch, Layout::nc(2, 1))?, &mut m);
    /// }
    /// assert_eq!(m.mean(0), 4.0);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn moments_into<T: Element>(self, x: Batch<'_, T>, moments: &mut Moments) {
        let order = Order::new(x.layout());
        match self.resolve(x.data().len(), PARALLEL_MOMENTS) {
            Path::Scalar => scalar::moments(&order, x.data(), moments),
            Path::Simd(isa) => simd::moments(isa, false, &order, x.data(), moments),
            Path::Parallel(isa) => simd::moments(isa, true, &order, x.data(), moments),
            Path::Auto => unreachable!("resolved"),
        }
    }

    /// `m2 / freedom` of each feature, on the calling thread.
    pub(crate) fn variances<T: Element>(self, moments: Partial<'_>, freedom: f64, to: &mut [T]) {
        match self {
            Path::Scalar => scalar::variances(moments, freedom, to),
            Path::Simd(isa) | Path::Parallel(isa) => isa.run(Variances { moments, freedom, to }),
            Path::Auto => Isa::detect().run(Variances { moments, freedom, to }),
        }
    }

    /// Normalises `x`, or `y` in place, by parameters per feature.
    pub(crate) fn normalize<T: Element>(self, affine: &Affine, layout: Layout, x: Option<&[T]>, y: &mut [T]) {
        match self.resolve(y.len(), PARALLEL_NORMALIZE) {
            Path::Scalar => scalar::normalize(affine, layout, x, y),
            Path::Simd(isa) => simd::normalize(isa, affine, layout, x, y),
            Path::Parallel(isa) => parallel::normalize(isa, affine, layout, x, y),
            Path::Auto => unreachable!("resolved"),
        }
    }

    fn resolve(self, values: usize, parallel_from: usize) -> Self {
        match self {
            Path::Auto if values >= parallel_from && rayon::current_num_threads() > 1 => Path::Parallel(Isa::detect()),
            Path::Auto => Path::Simd(Isa::detect()),
            chosen => chosen,
        }
    }
}

/// Bytes of output from which it is written past the caches. Measured beside a third-level cache of 32 MiB: at 8 MiB
/// plain stores, which stay there, are 1.7 times as fast; from 12 MiB on, streamed ones are, 1.3 times.
const STREAM_BYTES: usize = 12 << 20;

/// Whether a result is streamed; never in place, where its lines are in the cache already.
fn streams<T>(x: Option<&[T]>, y: &[T]) -> bool {
    x.is_some() && size_of_val(y) >= STREAM_BYTES
}
