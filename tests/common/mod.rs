//! What the test binaries share. Each uses a part of it.
#![allow(dead_code, unreachable_pub, reason = "every test binary uses a part of it")]

pub mod layer;
pub mod merging;
pub mod nasty;
pub mod oracle;

use std::sync::OnceLock;

use batchnorm::{Element, Isa, Path};
use rayon::ThreadPool;

/// Returns pools of 1, 2, 3 and 7 threads.
pub fn pools() -> &'static [ThreadPool] {
    static POOLS: OnceLock<Vec<ThreadPool>> = OnceLock::new();
    POOLS.get_or_init(|| {
        [1, 2, 3, 7].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("a pool")).into()
    })
}

/// Runs `compute` by every path but the scalar one, with every instruction set and number of threads, and returns each
/// result with its name.
pub fn by_every_path<R: Send>(compute: impl Fn(Path) -> R + Sync) -> Vec<(String, R)> {
    let mut results = Vec::new();
    for isa in Isa::available() {
        results.push((format!("simd on {isa}"), compute(Path::Simd(isa))));
        for pool in pools() {
            let threads = pool.current_num_threads();
            results
                .push((format!("parallel on {isa}, {threads} threads"), pool.install(|| compute(Path::Parallel(isa)))));
        }
    }
    results.push(("auto".into(), compute(Path::Auto)));
    results
}

/// Returns the bits of each value. All NaNs give the same bits.
pub fn bits<T: Element>(values: &[T]) -> Vec<u64> {
    values.iter().map(|x| x.to_f64()).map(|x| if x.is_nan() { u64::MAX } else { x.to_bits() }).collect()
}

/// Panics with the name of the path and the first value that differs.
pub fn assert_same_bits<T: Element>(name: &str, expected: &[T], given: &[T]) {
    let (a, b) = (bits(expected), bits(given));
    assert_eq!(a.len(), b.len(), "{name}: lengths differ");
    if let Some(at) = (0..a.len()).find(|&i| a[i] != b[i]) {
        panic!("{name}: value {at} is {:?}, but the scalar path has {:?}", given[at], expected[at]);
    }
}
