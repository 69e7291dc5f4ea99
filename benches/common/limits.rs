//! What the machine can do: reading and copying the same bytes with nothing else to do.

use rayon::prelude::*;

/// Sums the bytes as 64-bit integers: as fast as they can be read. Integers, because their sum may be reordered by the
/// compiler, which then uses the widest vectors that it is told of.
#[inline(always)]
fn sum(x: &[u64]) -> u64 {
    let (blocks, rest) = x.as_chunks::<64>();
    let mut sums = [0u64; 64];
    for block in blocks {
        for (sum, x) in sums.iter_mut().zip(block) {
            *sum = sum.wrapping_add(*x);
        }
    }
    sums.iter().chain(rest).fold(0, |a, b| a.wrapping_add(*b))
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the limit is taken with the widest vectors")]
mod x86 {
    #[target_feature(enable = "avx512f,avx512vl,avx512dq")]
    #[inline]
    fn sum_avx512(x: &[u64]) -> u64 {
        super::sum(x)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn sum_avx2(x: &[u64]) -> u64 {
        super::sum(x)
    }

    pub fn sum(isa: &str, x: &[u64]) -> u64 {
        let has512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq");
        match isa {
            // SAFETY: the processor has the features, by the checks here.
            "avx512" if has512 => unsafe { sum_avx512(x) },
            // SAFETY: as above.
            "avx512" | "avx2" if is_x86_feature_detected!("avx2") => unsafe { sum_avx2(x) },
            _ => super::sum(x),
        }
    }
}

/// Reads with the vectors of an instruction set, on one thread.
pub fn read(isa: &str, x: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    return x86::sum(isa, x);
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = isa;
        sum(x)
    }
}

/// The same on all threads of the pool.
pub fn read_parallel(isa: &str, x: &[u64]) -> u64 {
    x.par_chunks(piece(x.len())).map(|x| read(isa, x)).reduce(|| 0, u64::wrapping_add)
}

/// `memcpy`, on one thread.
pub fn copy(x: &[u64], y: &mut [u64]) {
    y.copy_from_slice(x);
}

/// The same on all threads of the pool.
pub fn copy_parallel(x: &[u64], y: &mut [u64]) {
    let piece = piece(x.len());
    y.par_chunks_mut(piece).zip(x.par_chunks(piece)).for_each(|(y, x)| y.copy_from_slice(x));
}

fn piece(len: usize) -> usize {
    len.div_ceil(rayon::current_num_threads()).max(1)
}
