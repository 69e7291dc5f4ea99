//! Constants that affect speed only, each with the machine on which it was measured. None of them changes a result.
//!
//! `cargo bench --bench tune` measures again those that are `tuned`. It compiles the crate with other values from the
//! environment; where there are none, as in any other build, the values written here hold.
//! `cargo bench --bench table -- --only moments` (or `inference`, `training`) prints each shape together with the
//! machine's limit in the same run; `cargo bench --bench roofline` covers all sizes.
//!
//! Machines: *Zen 5* and *Xeon* (Sapphire Rapids), with 2 virtual CPUs each, 1 to 2 MiB of second-level cache and 32
//! MiB of third-level cache; *Xeon 6* (a Xeon with AMX-FP16), 2 virtual CPUs, 2 MiB of second-level cache each; *Zen
//! 4*, 32 KiB of first-level cache.

/// Returns a size of batches, in bytes or values, at which the crate changes over to other code. It is 1/128 of the one
/// measured in the build of the fuzz targets: an input of megabytes takes a second there, and only small ones are tried
/// often enough. The code on either side, and its results, are the same.
const fn batch_size(measured: usize) -> usize {
    if cfg!(fuzzing) { measured / 128 } else { measured }
}

/// Bytes in a cache line: the unit of prefetching, of alignment and of sharing work between threads.
pub(crate) const CACHE_LINE: usize = 64;

// Sums.

/// Most columns that are summed together in the row view. Their shifts and sums take 24 KiB (40 KiB with compensation
/// terms) and stay in the first-level cache. (Zen 5, Xeon; 48 KiB of first-level cache.)
pub(crate) const TILE_COLUMNS: usize = tuned(option_env!("BATCHNORM_TILE_COLUMNS"), 1024);

/// Most bytes of eight features' planes in a chunk for which these features are finalized together, one per lane: they
/// should stay in the first-level cache between the sample and the sums. (Xeon 6: 7x7 planes of one sample take 0.45 of
/// the time.)
pub(crate) const PLANE_BLOCK_BYTES: usize = tuned(option_env!("BATCHNORM_PLANE_BLOCK_BYTES"), 1 << 15);

/// Most features whose planes are summed side by side. Their accumulators take 16 KiB (32 KiB with compensation terms)
/// and stay in the first-level cache. (Zen 5.)
pub(crate) const TILE_PLANES: usize = tuned(option_env!("BATCHNORM_TILE_PLANES"), 64);

/// Features with at most so many values, in at most eight rows, are computed one per lane.
pub(crate) const FEW_VALUES_PER_FEATURE: usize = tuned(option_env!("BATCHNORM_FEW_VALUES_PER_FEATURE"), 64);

/// Most features with few values in a tile. Only threads share tiles of them: they need no common memory.
pub(crate) const TILE_FEW: usize = 4096;

/// Batches up to this size stay in the second-level cache, where prefetching costs more than it saves. (Zen 5, Xeon.)
pub(crate) const SECOND_LEVEL_BYTES: usize = batch_size(1 << 19);

/// Batches up to this size stay in the third-level cache. It has a lower latency than memory, and there the order in
/// which planes are read does not matter. (Zen 5, Xeon.)
pub(crate) const THIRD_LEVEL_BYTES: usize = batch_size(8 << 20);

/// Prefetch distance in bytes for rows, if the batch stays in the third-level cache. (Zen 5; 4 to 96 KiB were tried.)
pub(crate) const ROW_PREFETCH_NEAR: usize = tuned(option_env!("BATCHNORM_ROW_PREFETCH_NEAR"), 8 << 10);

/// Prefetch distance in bytes for rows of larger batches, into the second-level cache: it is all of a small first
/// level. (Zen 5; 4 to 96 KiB were tried. Into the first level, of 32 KiB, sums on Zen 4 took 1.5 to 1.9 times as long,
/// on Xeon 6 1.2 times.)
pub(crate) const ROW_PREFETCH_FAR: usize = tuned(option_env!("BATCHNORM_ROW_PREFETCH_FAR"), 32 << 10);

/// Prefetch distance in bytes for planes, into the second-level cache. (Zen 5; Zen 4 and Xeon 6: no worse than into
/// the first level.)
pub(crate) const PLANE_PREFETCH: usize = tuned(option_env!("BATCHNORM_PLANE_PREFETCH"), 16 << 10);

/// Features per block when variances are computed. If one feature of a block is out of range, the whole block is
/// computed one feature at a time.
pub(crate) const VARIANCE_BLOCK: usize = 64;

// Both halves of a training step.

/// Bytes of a block of features that goes through both halves of a training step together: it should stay in the
/// second-level cache between them. (Xeon 6, 2 MiB: 192 to 768 KiB are as fast as each other; backward of 8x64x56x56 takes
/// 0.7 of the time of two passes over the batch, training 0.8.)
pub(crate) const FEATURE_BLOCK_BYTES: usize =
    tuned(option_env!("BATCHNORM_FEATURE_BLOCK_BYTES"), batch_size(384 << 10));

/// Largest planes of one feature, in bytes, that do: half of a second-level cache of 1 MiB. (Xeon 6, 2 MiB: a step from
/// memory whose features have 1.6 MiB each takes 1.6 times as long in blocks.)
pub(crate) const LARGEST_FEATURE_BYTES: usize =
    tuned(option_env!("BATCHNORM_LARGEST_FEATURE_BYTES"), batch_size(512 << 10));

// Streams.

/// Most rows that are added to some features before the next features. (Xeon 6: up to 32 rows, times are within a
/// tenth; with 64 rows of 4096 features, whose lines all fall into a few sets of the first-level cache, they are up to
/// twice as long. So as few as keep loads and stores of the state cheap, for caches with fewer ways.)
pub(crate) const STREAM_ROWS: usize = 8;

/// A single row of fewer features is added by the calling thread, whatever the path: it takes less time than to wake
/// another thread. (Xeon 6, f32: 2.3 us; by two threads 7.2 us, after a pause 31 us.)
pub(crate) const MANY_FEATURES: usize = 1 << 12;

/// Fewest values for which `Path::Auto` adds rows to a stream on several threads. (Xeon 6, two cores, f32: back to
/// back, `parallel` is 1.6 times as fast at 2^18 values; after a pause, when the threads sleep, it takes 1.5 times as
/// long there, and is as fast at 2^20.)
#[cfg(feature = "rayon")]
pub(crate) const PARALLEL_STREAM: usize = 1 << 20;

// Normalising.

/// Smallest `inner` for which the values of a plane share their parameters in registers. Below it, parameters are
/// expanded to one per value. (A plane must hold two of the widest f64 vectors.)
pub(crate) const SPLAT_INNER: usize = 16;

/// Widest rows that are laid side by side, with their parameters expanded to one per column.
pub(crate) const EXPANDED_COLUMNS: usize = 128;

/// Runs up to this length are too short to be worth expanding parameters for.
pub(crate) const FEW_VALUES: usize = 64;

/// Fewest rows for which the parameters of wide rows are expanded in tiles, which serve for all rows.
pub(crate) const FEW_ROWS: usize = 2;

/// Columns per tile of wide rows: the parameters of a tile, in memory or expanded, stay in the first-level cache while
/// several rows are mapped. For fewer columns at a time, expanded parameters would be loaded before their stores, which
/// wait for those of the output, have left the processor.
/// (Zen 5; 512 to 8192 were tried.)
pub(crate) const MAP_TILE_COLUMNS: usize = 1024;

/// Smallest output in bytes that is written with non-temporal stores. (Zen 5, 32 MiB of third-level cache: at 8 MiB,
/// ordinary stores, which stay in the cache, are 1.7 times as fast; from 12 MiB on, non-temporal stores are 1.3 times
/// as fast.)
pub(crate) const NON_TEMPORAL_BYTES: usize = batch_size(12 << 20);

/// Prefetch distance in bytes when stores are non-temporal. Such stores hinder the processor's own prefetching. (Xeon.)
pub(crate) const NON_TEMPORAL_PREFETCH: usize = 4096;

/// Prefetch distance in bytes for outputs in planes: a store to a line that is not in the first-level cache waits for it.
/// (Xeon 6: inference of 2x16x56x56 takes 0.7 of the time by AVX-512, training of 8x64x56x56 0.88; AVX2 gains half of
/// that. 1 to 4 KiB are alike, but for gradients 4 KiB are too far. Rows do not gain.)
pub(crate) const OUTPUT_PREFETCH: usize = tuned(option_env!("BATCHNORM_OUTPUT_PREFETCH"), 1024);

/// Outer blocks with gaps in between are mapped where they are if each has at least so many bytes; calling a kernel for
/// shorter ones, or for small planes, costs more than copying them. (Zen 3: 1 KiB and 4 KiB are alike, 256 bytes take up
/// to four times as long. `--example arrays` of the interop tests shows it.)
pub(crate) const STRIDED_DIRECT_BYTES: usize = tuned(option_env!("BATCHNORM_STRIDED_DIRECT_BYTES"), 1 << 10);

/// Values of a tile to which shorter blocks are copied, of each input and of the output: together 8 KiB of f32 in the
/// usual case, 32 KiB of f64 if there are three inputs.
pub(crate) const STRIDED_TILE: usize = tuned(option_env!("BATCHNORM_STRIDED_TILE"), 1 << 10);

/// Values of f16 or bf16 that are widened before they are normalised: 24 KiB with their f32, so that both stay in a
/// first-level cache of 32 KiB.
#[cfg(feature = "half")]
pub(crate) const WIDENED_VALUES: usize = 1 << 12;

/// Values of f16 or bf16 that are widened and mapped in f64 at a time: 4 KiB of f32 for each input, so that those of
/// three inputs stay in a first-level cache of 32 KiB.
#[cfg(feature = "half")]
pub(crate) const WIDENED_TILE: usize = 1 << 10;

// Threads.

/// Fewest values in a part of a sum. (Zen 5: waking a thread takes as long as reading this many values.)
#[cfg(feature = "rayon")]
pub(crate) const PART_VALUES: usize = tuned(option_env!("BATCHNORM_PART_VALUES"), batch_size(1 << 16));

/// Smallest batch in bytes for which `Path::Auto` computes moments on several threads. (Xeon 6, two cores, `cargo bench
/// --bench threads`: at 2 MiB two threads are 1.7 times as fast back to back, and 1.2 times after a pause, when they
/// sleep. At 0.8 MiB of f32, 1.6 times back to back, but after a pause they take 1.3 times as long as one.)
#[cfg(feature = "rayon")]
pub(crate) const PARALLEL_MOMENTS: usize = tuned(option_env!("BATCHNORM_PARALLEL_MOMENTS"), 3 << 19);

/// Smallest batch in bytes for which `Path::Auto` normalises on several threads. (Xeon 6, two cores, f32: at 1 MiB 2.2
/// times as fast back to back, 1.3 times after a pause. At 0.5 MiB, 1.5 times back to back, but 1.7 times as long after
/// a pause.)
#[cfg(feature = "rayon")]
pub(crate) const PARALLEL_NORMALIZE: usize = tuned(option_env!("BATCHNORM_PARALLEL_NORMALIZE"), 1 << 20);

/// Smallest batch in bytes for which `Path::Auto` trains on several threads. (Xeon 6, two cores, f32: at 0.8 MiB 1.6
/// times as fast back to back, 1.2 times after a pause. At 0.5 MiB, 1.2 times back to back, but 1.2 times as long after a
/// pause.)
#[cfg(feature = "rayon")]
pub(crate) const PARALLEL_TRAINING: usize = tuned(option_env!("BATCHNORM_PARALLEL_TRAINING"), 3 << 18);

/// Fewest values in a piece of normalising work: a multiple of a cache line.
#[cfg(feature = "rayon")]
pub(crate) const PIECE_VALUES: usize = 1 << 15;

/// Pieces of work per thread: enough that a slow thread does not delay the rest.
#[cfg(feature = "rayon")]
pub(crate) const PIECES_PER_THREAD: usize = 4;

/// Fewest columns, and fewest features with planes, that threads share.
#[cfg(any(feature = "rayon", test))]
pub(crate) const GRAIN_COLUMNS: usize = tuned(option_env!("BATCHNORM_GRAIN_COLUMNS"), 256);
#[cfg(any(feature = "rayon", test))]
pub(crate) const GRAIN_PLANES: usize = 8;

/// How often the calling thread looks whether the others have finished before it sleeps: for some 50 us, as long as it
/// takes to wake.
#[cfg(feature = "rayon")]
pub(crate) const SPINS: usize = tuned(option_env!("BATCHNORM_SPINS"), 2000);

// The limits within which these constants may be changed: a tile holds all columns of an interleaved row, expanded
// parameters hold the widest plane that is not splatted, and scratch for recomputed features is sized by 64-byte lines.
const _: () = assert!(TILE_COLUMNS >= 64 && EXPANDED_COLUMNS >= SPLAT_INNER && CACHE_LINE == 64);

// A tile holds the longest block that is copied, also one of elements of two bytes.
const _: () = assert!(STRIDED_DIRECT_BYTES <= 2 * STRIDED_TILE);

/// Returns the number in an environment variable at compile time, or the default where there is none.
const fn tuned(variable: Option<&str>, default: usize) -> usize {
    let Some(text) = variable else { return default };
    match usize::from_str_radix(text, 10) {
        Ok(value) => value,
        Err(_) => panic!("a BATCHNORM_ variable must be a number"),
    }
}
