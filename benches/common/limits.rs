//! The limits of the machine: reading or copying the bytes of a batch, and nothing else.
//!
//! There are several ways to do this. Which one is the fastest depends on the machine and the size, so all are measured
//! and the fastest counts. Reading: a plain sum, or a sum with prefetching. Copying: ordinary stores; non-temporal
//! stores, which do not read the cache lines that they fill; or `memcpy` (`copy_from_slice`). `memcpy` alone is not a
//! limit: from memory, the loop with non-temporal stores was up to 1.5 times as fast as the `memcpy` of glibc 2.36; in
//! the second-level cache it was the other way round.
//!
//! A path is compared with the ways that use the vectors of its instruction set. `memcpy` uses the widest vectors, so
//! it counts for the best instruction set only. The scalar path is compared with the best instruction set, too.
//! `parallel` and `auto` are compared with it on one thread or on all threads, whichever is faster, because small
//! batches do not gain from threads.
//!
//! Threads are not pinned: the minimum over the rounds comes from a round without interference.

use batchnorm::{Isa, Layout, Path};
use rayon::prelude::*;

use super::Op;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Read,
    /// With prefetching.
    ReadAhead,
    Memcpy,
    Stores,
    /// With non-temporal stores.
    Streamed,
    /// Reading two batches and writing one value for each pair, as an operation with a second input does; before that,
    /// reading both once more, as the backward pass does.
    Combine {
        read_first: bool,
        /// With non-temporal stores.
        streamed: bool,
    },
    /// Reading tile by tile, as the moments of wide rows do: the columns of a tile in every row, then the next tile.
    Walk {
        /// Values in a row, as `u32`.
        row: usize,
        /// Values of a row in a tile.
        tile: usize,
        /// With prefetching, eight rows ahead.
        ahead: bool,
    },
}

/// Columns per tile in the walk over wide rows.
const TILE_COLUMNS: usize = 1024;

/// One way to measure a limit.
#[derive(Clone, Copy, PartialEq)]
pub struct Limit {
    way: Way,
    isa: Isa,
    threads: bool,
}

impl Limit {
    /// A plain sum with the widest vectors, on one thread.
    pub fn plain_read() -> Limit {
        Limit { way: Way::Read, isa: Isa::detect(), threads: false }
    }

    /// Returns the ways to measure the limit of a path.
    pub fn of(op: Op, path: Path) -> Vec<Limit> {
        let (isa, threads): (_, &[bool]) = match path {
            Path::Simd(isa) => (isa, &[false]),
            Path::Scalar => (Isa::detect(), &[false]),
            _ => (Isa::detect(), &[false, true]),
        };
        let ways: &[Way] = match op {
            Op::Moments => &[Way::Read, Way::ReadAhead],
            Op::Inference | Op::Training => &[Way::Memcpy, Way::Stores, Way::Streamed],
            Op::Residual => &[
                Way::Combine { read_first: false, streamed: false },
                Way::Combine { read_first: false, streamed: true },
            ],
            Op::Backward => {
                &[Way::Combine { read_first: true, streamed: false }, Way::Combine { read_first: true, streamed: true }]
            }
        };
        let here = |way: &Way| match way {
            Way::Memcpy => isa == Isa::detect(),
            Way::ReadAhead | Way::Streamed | Way::Combine { streamed: true, .. } => cfg!(target_arch = "x86_64"),
            Way::Read | Way::Stores | Way::Combine { .. } | Way::Walk { .. } => true,
        };
        let limit = |threads| ways.iter().filter(|way| here(way)).map(move |way| Limit { way: *way, isa, threads });
        threads.iter().flat_map(|threads| limit(*threads)).collect()
    }

    /// Returns the ways without any tuning: a plain sum; `memcpy`, or a copying loop if the path does not have the
    /// widest vectors.
    pub fn plain_of(op: Op, path: Path) -> Vec<Limit> {
        let limits = Self::of(op, path);
        let combine = |read_first| Way::Combine { read_first, streamed: false };
        let plain = [Way::Read, Way::Memcpy, Way::Stores, combine(false), combine(true)];
        let way = plain.into_iter().find(|way| limits.iter().any(|l| l.way == *way));
        limits.into_iter().filter(|limit| Some(limit.way) == way).collect()
    }

    /// Returns the ways to read wide rows in the order of the path, or none if the order is that of memory.
    pub fn walks_of(op: Op, path: Path, layout: Layout, size: usize) -> Vec<Limit> {
        let (isa, words) = (if let Path::Simd(isa) = path { isa } else { return Vec::new() }, size / size_of::<u32>());
        if op != Op::Moments || layout.inner() > 1 || layout.outer() == 1 || layout.features() <= TILE_COLUMNS {
            return Vec::new();
        }
        let walk = |ahead| Way::Walk { row: layout.features() * words, tile: TILE_COLUMNS * words, ahead };
        [false, true].map(|ahead| Limit { way: walk(ahead), isa, threads: false }).to_vec()
    }

    pub fn name(self) -> String {
        let way = match self.way {
            Way::Read => "read",
            Way::ReadAhead => "read ahead",
            Way::Memcpy => "memcpy",
            Way::Stores => "copy",
            Way::Streamed => "copy streamed",
            Way::Combine { read_first: false, streamed: false } => "combine",
            Way::Combine { read_first: false, streamed: true } => "combine streamed",
            Way::Combine { read_first: true, streamed: false } => "read, combine",
            Way::Combine { read_first: true, streamed: true } => "read, combine streamed",
            Way::Walk { .. } => "read in tiles",
        };
        format!("limit {way} {}{}", self.isa, if self.threads { ", all threads" } else { "" })
    }

    /// Reads `x`, copies it to `y`, or combines it with `other` into `y`. All have the same length.
    pub fn run(self, x: &[u32], other: &[u32], y: &mut [u32]) {
        if !self.threads {
            return self.run_here(x, other, y);
        }
        let piece = x.len().div_ceil(rayon::current_num_threads()).max(1);
        let pieces = x.par_chunks(piece).zip(other.par_chunks(piece)).zip(y.par_chunks_mut(piece));
        pieces.for_each(|((x, other), y)| self.run_here(x, other, y));
    }

    fn run_here(self, x: &[u32], other: &[u32], y: &mut [u32]) {
        if self.way == Way::Memcpy {
            return y.copy_from_slice(x);
        }
        #[cfg(target_arch = "x86_64")]
        x86::run(self, x, other, y);
        #[cfg(not(target_arch = "x86_64"))]
        plain::<16>(self.way, x, other, y);
    }
}

/// Runs a way that needs no intrinsics; the compiler uses the vectors of the caller. A block is four vectors, enough
/// independent sums to keep the adders busy.
#[inline(always)]
fn plain<const BLOCK: usize>(way: Way, x: &[u32], other: &[u32], y: &mut [u32]) {
    match way {
        Way::Walk { row, tile, ahead } => walk::<BLOCK>(x, row, tile, ahead),
        Way::Read | Way::ReadAhead => _ = std::hint::black_box(sum::<BLOCK>(x, way == Way::ReadAhead)),
        Way::Memcpy | Way::Stores | Way::Streamed => {
            // The compiler does not know the key, so it cannot replace the loop by `memcpy`.
            let key = std::hint::black_box(0);
            y.iter_mut().zip(x).for_each(|(y, x)| *y = *x ^ key);
        }
        Way::Combine { read_first, .. } => {
            if read_first {
                std::hint::black_box(sum::<BLOCK>(x, false));
                std::hint::black_box(sum::<BLOCK>(other, false));
            }
            y.iter_mut().zip(x).zip(other).for_each(|((y, x), other)| *y = *x ^ *other);
        }
    }
}

#[inline(always)]
fn walk<const BLOCK: usize>(x: &[u32], row: usize, tile: usize, ahead: bool) {
    for column in (0..row).step_by(tile) {
        for (index, values) in x.chunks_exact(row).enumerate() {
            if ahead {
                let next = x.get((index + 8) * row + column..).unwrap_or_default();
                next.as_chunks::<BLOCK>().0.iter().take(tile / BLOCK).for_each(prefetch_here);
            }
            std::hint::black_box(sum::<BLOCK>(&values[column..row.min(column + tile)], false));
        }
    }
}

/// Sums integers, because the compiler may reorder such sums.
#[inline(always)]
fn sum<const BLOCK: usize>(x: &[u32], ahead: bool) -> u32 {
    let (blocks, rest) = x.as_chunks::<BLOCK>();
    let mut sums = [0u32; BLOCK];
    for block in blocks {
        if ahead {
            prefetch(block);
        }
        sums.iter_mut().zip(block).for_each(|(sum, x)| *sum = sum.wrapping_add(*x));
    }
    let rest = rest.iter().fold(0, |a: u32, b| a.wrapping_add(*b));
    sums.iter().fold(rest, |a, b| a.wrapping_add(*b))
}

#[inline(always)]
#[allow(unsafe_code, reason = "an intrinsic")]
fn prefetch_here<const BLOCK: usize>(block: &[u32; BLOCK]) {
    #[cfg(target_arch = "x86_64")]
    for line in block.chunks(16) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch of any address is allowed.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = block;
}

#[inline(always)]
#[allow(unsafe_code, reason = "an intrinsic")]
fn prefetch<const BLOCK: usize>(block: &[u32; BLOCK]) {
    #[cfg(target_arch = "x86_64")]
    for line in block.chunks(16) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // Prefetch distances from 1 to 16 KiB were equally good.
        let ahead = line.as_ptr().wrapping_byte_add(4096);
        // SAFETY: a prefetch of any address is allowed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = block;
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the limits are taken with the vectors of each instruction set")]
mod x86 {
    use super::{Limit, Way};
    use std::arch::x86_64::*;

    pub(super) fn run(limit: Limit, x: &[u32], other: &[u32], y: &mut [u32]) {
        let ways: unsafe fn(Way, &[u32], &[u32], &mut [u32]) = match limit.isa.name() {
            "avx512" => avx512,
            "avx2" => avx2,
            _ => sse2,
        };
        // SAFETY: an `Isa` exists only if the processor has it, and all processors of this architecture have SSE2.
        unsafe { ways(limit.way, x, other, y) }
    }

    macro_rules! ways {
        ($isa:ident, $features:literal, $block:literal, $vector:ty, $load:ident, $stream:ident, $xor:ident) => {
            #[target_feature(enable = $features)]
            fn $isa(way: Way, x: &[u32], other: &[u32], y: &mut [u32]) {
                let combine = match way {
                    Way::Streamed => false,
                    Way::Combine { streamed: true, read_first } => {
                        if read_first {
                            std::hint::black_box(super::sum::<$block>(x, true));
                            std::hint::black_box(super::sum::<$block>(other, true));
                        }
                        true
                    }
                    _ => return super::plain::<$block>(way, x, other, y),
                };
                // SAFETY: integers may be reinterpreted as vectors of integers.
                let (head, vectors, tail) = unsafe { y.align_to_mut::<$vector>() };
                let (x_head, x) = x.split_at(head.len());
                let (x, x_tail) = x.as_chunks::<{ size_of::<$vector>() / 4 }>();
                let (others, _) = other[head.len()..].as_chunks::<{ size_of::<$vector>() / 4 }>();
                head.copy_from_slice(x_head);
                if combine {
                    for ((y, x), other) in vectors.iter_mut().zip(x).zip(others) {
                        // SAFETY: all are as large as the vector, and `y` is aligned to it.
                        unsafe { $stream(y, $xor($load(x.as_ptr().cast()), $load(other.as_ptr().cast()))) };
                    }
                } else {
                    for (y, x) in vectors.iter_mut().zip(x) {
                        // SAFETY: both are as large as the vector, and `y` is aligned to it.
                        unsafe { $stream(y, $load(x.as_ptr().cast())) };
                    }
                }
                _mm_sfence();
                tail.copy_from_slice(x_tail);
            }
        };
    }
    ways!(sse2, "sse2", 16, __m128i, _mm_loadu_si128, _mm_stream_si128, _mm_xor_si128);
    ways!(avx2, "avx2", 32, __m256i, _mm256_loadu_si256, _mm256_stream_si256, _mm256_xor_si256);
    ways!(avx512, "avx512f,avx512vl,avx512dq", 64, __m512i, _mm512_loadu_si512, _mm512_stream_si512, _mm512_xor_si512);
}
