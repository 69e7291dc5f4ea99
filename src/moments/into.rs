//! Results of all features at once, written to slices of the caller.

use super::{Moments, degrees_of_freedom};
use crate::element::{ByElement, INTERNAL};
use crate::kernels::{MomentSlices, Variances};
use crate::lanes::Isa;
use crate::math::sqrt;
use crate::{Element, Result};

/// Features whose variances are computed before their roots are taken.
const BLOCK: usize = 64;

impl Moments {
    /// Writes [`Moments::mean`] of every feature to `out`, rounded to its element type.
    ///
    /// # Errors
    /// [`Error::Features`](crate::Error::Features) if `out` does not have one element per feature.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f32, 10.0, 2.0, 10.0, 6.0, 10.0], Layout::nc(3, 2))?);
    /// let mut means = [0.0f32; 2];
    /// m.means_into(&mut means)?;
    /// assert_eq!(means, [3.0, 10.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn means_into<T: Element>(&self, out: &mut [T]) -> Result<()> {
        self.check("the output has", out.len())?;
        for (out, mean) in out.iter_mut().zip(self.means()) {
            *out = T::from_f64(*mean);
        }
        Ok(())
    }

    /// Writes [`Moments::variance`] of every feature to `out`, rounded to its element type. Vectorised, so faster than
    /// calling `variance` per feature. Runs on the calling thread.
    ///
    /// # Errors
    /// [`Error::Features`](crate::Error::Features) if `out` does not have one element per feature.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f32, 10.0, 2.0, 10.0, 6.0, 10.0], Layout::nc(3, 2))?);
    /// let mut variances = [0.0f32; 2];
    /// m.variances_into(1.0, &mut variances)?;
    /// assert_eq!(variances, [7.0, 0.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn variances_into<T: Element>(&self, ddof: f64, out: &mut [T]) -> Result<()> {
        self.check("the output has", out.len())?;
        match self.uniform_count() {
            Some(0) => out.fill(T::from_f64(f64::NAN)),
            Some(count) => {
                let (moments, degrees_of_freedom) = (self.slices(), degrees_of_freedom(count, ddof));
                match T::in_out([], out, INTERNAL) {
                    ByElement::F32((_, to)) => variances_f32(Variances { moments, degrees_of_freedom, to }),
                    ByElement::F64((_, to)) => variances_f64(Variances { moments, degrees_of_freedom, to }),
                    #[cfg(feature = "half")]
                    ByElement::F16((_, to)) => variances_f16(Variances { moments, degrees_of_freedom, to }),
                    #[cfg(feature = "half")]
                    ByElement::Bf16((_, to)) => variances_bf16(Variances { moments, degrees_of_freedom, to }),
                }
            }
            None => {
                for (feature, out) in out.iter_mut().enumerate() {
                    *out = T::from_f64(self.variance(feature, ddof));
                }
            }
        }
        Ok(())
    }

    /// Writes [`Moments::std_dev`] of every feature to `out`, rounded to its element type once. Vectorised, so faster
    /// than calling `std_dev` per feature. Runs on the calling thread.
    ///
    /// # Errors
    /// [`Error::Features`](crate::Error::Features) if `out` does not have one element per feature.
    ///
    /// ```
    /// # use batchnorm::{Batch, Layout, moments};
    /// let m = moments(Batch::new(&[1.0f64, 10.0, 3.0, 10.0], Layout::nc(2, 2))?);
    /// let mut std_devs = [0.0f32; 2];
    /// m.std_devs_into(0.0, &mut std_devs)?;
    /// assert_eq!(std_devs, [1.0, 0.0]);
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn std_devs_into<T: Element>(&self, ddof: f64, out: &mut [T]) -> Result<()> {
        self.check("the output has", out.len())?;
        let count = self.uniform_count();
        let mut block = [0.0; BLOCK];
        for (start, out) in (0..).step_by(BLOCK).zip(out.chunks_mut(BLOCK)) {
            let variances = &mut block[..out.len()];
            if let Some(count @ 1..) = count {
                let moments = MomentSlices(self.words.each_ref().map(|words| &words[start..][..out.len()]));
                let degrees_of_freedom = degrees_of_freedom(count, ddof);
                variances_f64(Variances { moments, degrees_of_freedom, to: variances });
            } else {
                variances.iter_mut().zip(start..).for_each(|(to, feature)| *to = self.variance(feature, ddof));
            }
            for (out, variance) in out.iter_mut().zip(variances) {
                *out = T::from_f64(sqrt(*variance));
            }
        }
        Ok(())
    }
}

/// Not generic, so that the kernel is compiled in this crate.
macro_rules! concrete {
    ($element:ty, $variances:ident) => {
        #[inline(never)]
        fn $variances(variances: Variances<'_, $element>) {
            Isa::detect().run(variances);
        }
    };
}

concrete!(f32, variances_f32);
concrete!(f64, variances_f64);
#[cfg(feature = "half")]
concrete!(half::f16, variances_f16);
#[cfg(feature = "half")]
concrete!(half::bf16, variances_bf16);
