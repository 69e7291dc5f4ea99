//! The instruction sets of this machine.

use core::fmt;

use super::Job;
use super::portable::Portable;
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512};

/// The instruction set of the SIMD path. A value exists only if the machine has the instructions.
///
/// All instruction sets give bit-identical results; only speed differs. By default, [`Isa::detect`] chooses one in each
/// call; tests and benches force one.
///
/// ```
/// use batchnorm::{Batch, Isa, Layout, Path};
///
/// let x = Batch::new(&[1.0f32, 2.0, 4.0], Layout::nc(3, 1))?;
/// for isa in Isa::available() {
///     println!("{isa}: {}", Path::Simd(isa).moments(x).mean(0));
/// }
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct Isa(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Isa {
    /// Returns the best instruction set of this machine.
    ///
    /// ```
    /// use batchnorm::Isa;
    /// assert_eq!(Some(Isa::detect()), Isa::available().last());
    /// ```
    pub fn detect() -> Self {
        Self::avx512().or_else(Self::avx2).unwrap_or(Self::portable())
    }

    /// Returns all instruction sets of this machine, the best one last.
    ///
    /// ```
    /// use batchnorm::Isa;
    /// assert_eq!(Isa::available().next(), Some(Isa::portable()));
    /// ```
    pub fn available() -> impl Iterator<Item = Self> {
        [Some(Self::portable()), Self::avx2(), Self::avx512()].into_iter().flatten()
    }

    /// Returns the instruction set for which the crate `wide` was compiled: SSE2 on a default x86-64 build, NEON on
    /// aarch64.
    ///
    /// ```
    /// assert_eq!(batchnorm::Isa::portable().name(), "portable");
    /// ```
    pub fn portable() -> Self {
        Isa(Kind::Portable)
    }

    /// Returns AVX2 (with FMA), or `None` if this machine does not have it.
    ///
    /// ```
    /// if let Some(isa) = batchnorm::Isa::avx2() {
    ///     assert_eq!(isa.name(), "avx2");
    /// }
    /// ```
    pub fn avx2() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return Avx2::detect().map(|token| Isa(Kind::Avx2(token)));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// Returns AVX-512 (F, VL and DQ), or `None` if this machine does not have it.
    ///
    /// ```
    /// if let Some(isa) = batchnorm::Isa::avx512() {
    ///     assert_eq!(isa.name(), "avx512");
    /// }
    /// ```
    pub fn avx512() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return Avx512::detect().map(|token| Isa(Kind::Avx512(token)));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// Returns the name: `portable`, `avx2` or `avx512`.
    ///
    /// ```
    /// assert!(["portable", "avx2", "avx512"].contains(&batchnorm::Isa::detect().name()));
    /// ```
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512",
        }
    }

    /// Runs a job on this instruction set. There is no other dispatch.
    #[inline]
    pub(crate) fn run<J: Job>(self, job: J) -> J::Output {
        match self.0 {
            Kind::Portable => Portable.run(job),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(token) => token.run(job),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(token) => token.run(job),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
