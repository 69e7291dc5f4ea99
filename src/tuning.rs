//! Every constant that speed alone depends on, with what it was measured on. None of them changes a bit.
//!
//! Machines: *Zen 5* and *Xeon* (Sapphire Rapids), 2 virtual CPUs each, 1 to 2 MiB of second-level and 32 MiB of
//! third-level cache. To measure one again, change it and compare two builds: `cargo bench --bench table -- --only
//! moments` (or `inference`, `training`) prints each shape beside the machine's limit in the same run, `cargo bench
//! --bench roofline` every size.

/// Bytes of a cache line. The kernels prefetch, align and share out by it.
pub(crate) const CACHE_LINE: usize = 64;

// Sums.

/// Columns whose shifts and sums are kept side by side at most: 24 KiB, or 40 with compensation terms, stay in a
/// first-level cache. (Zen 5, Xeon; 48 KiB of first-level cache.)
pub(crate) const TILE_COLUMNS: usize = 1024;

/// Features whose planes are summed side by side at most: their sums (16 KiB, or 32 with compensation terms) stay in a
/// first-level cache. (Zen 5.)
pub(crate) const TILE_PLANES: usize = 64;

/// Batches up to this size stay in a second-level cache, where prefetching costs more than it brings. (Zen 5, Xeon.)
pub(crate) const SECOND_LEVEL_BYTES: usize = 1 << 19;

/// Batches up to this size stay in a third-level cache, which answers sooner than memory, and where it does not matter in
/// which order planes are read. (Zen 5, Xeon.)
pub(crate) const THIRD_LEVEL_BYTES: usize = 8 << 20;

/// Prefetch distance of rows in bytes, for batches in the third-level cache. (Zen 5, of 4 to 96 KiB.)
pub(crate) const ROW_PREFETCH_NEAR: usize = 8 << 10;

/// Prefetch distance of rows in bytes, for larger batches. (Zen 5, of 4 to 96 KiB.)
pub(crate) const ROW_PREFETCH_FAR: usize = 32 << 10;

/// Prefetch distance of planes in bytes. (Zen 5.)
pub(crate) const PLANE_PREFETCH: usize = 16 << 10;

/// Features whose variances are computed one by one where a single one of them needs it.
pub(crate) const VARIANCE_BLOCK: usize = 64;

// Normalising.

/// From this `inner` on, the values of a plane share their parameters in registers; below it, parameters are laid out
/// like the values. (Two vectors of the widest lanes must fit a plane.)
pub(crate) const SPLAT_INNER: usize = 16;

/// Columns that parameters are laid out for at a time.
pub(crate) const LAID_OUT_COLUMNS: usize = 128;

/// Runs up to this length are not worth laying out anything.
pub(crate) const FEW_VALUES: usize = 64;

/// Columns whose parameters stay in a first-level cache while several rows pass; wider rows are cut to it. (Zen 5, of 512
/// to 8192.)
pub(crate) const MAP_TILE_COLUMNS: usize = 1024;

/// Bytes of output from which stores are non-temporal. (Zen 5, 32 MiB of third-level cache: at 8 MiB ordinary stores, which
/// stay there, are 1.7 times as fast; from 12 MiB on non-temporal ones are, 1.3 times.)
pub(crate) const NON_TEMPORAL_BYTES: usize = 12 << 20;

/// Prefetch distance in bytes beside non-temporal stores, which keep the processor from guessing what comes. (Xeon.)
pub(crate) const NON_TEMPORAL_PREFETCH: usize = 4096;

// Threads.

/// Values below which a part of a sum is not split between threads: waking one takes as long as reading this much. (Zen
/// 5.)
pub(crate) const FORK_VALUES: usize = 1 << 16;

/// Values from which `Path::Auto` uses threads for moments. (Zen 5, two cores: up to 2^20 f32 values, 4 MiB, they bring
/// nothing; at 2^21 `parallel` is 1.2 times as fast, at 2^22 1.6 times.)
pub(crate) const PARALLEL_MOMENTS: usize = 1 << 21;

/// The same for normalising, where the calling thread does not wait for others to wake. (Zen 5, two cores: at 2^18 values
/// about as fast, at 2^20 1.3 times.)
pub(crate) const PARALLEL_NORMALIZE: usize = 1 << 18;

/// Fewest values that one thread normalises at a time: a multiple of a cache line.
pub(crate) const PIECE_VALUES: usize = 1 << 15;

/// Pieces per thread in normalising: enough that a slow thread does not hold up the rest.
pub(crate) const PIECES_PER_THREAD: usize = 4;
