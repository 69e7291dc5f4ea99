//! Criterion: every operation by every path over the usual shapes, with the machine's limits as benches of their own.
//! Throughput counts the bytes that must move. `cargo bench --bench table` gives the ratios at a glance.

mod common;

use batchnorm::Isa;
use common::{Bench, Op, SHAPES, limits, paths};
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;

fn operations(c: &mut Criterion) {
    for shape in SHAPES {
        for op in Op::ALL {
            let mut bench = Bench::<f32>::new(shape.layout);
            let mut group = c.benchmark_group(format!("{}/{}", shape.name, op.name()));
            group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(400)).sample_size(20);
            group.throughput(Throughput::Bytes(op.bytes(bench.x.len(), size_of::<f32>()) as u64));
            limit(&mut group, op, bench.x.len() / 2);
            for (name, path) in paths() {
                group.bench_function(name, |b| b.iter(|| bench.run(op, path)));
            }
            group.finish();
        }
    }
}

/// The limit over as many bytes.
fn limit(group: &mut BenchmarkGroup<'_, criterion::measurement::WallTime>, op: Op, words: usize) {
    let (from, mut to) = (vec![1u64; words], vec![2u64; words]);
    if op == Op::Moments {
        for isa in Isa::available().map(Isa::name) {
            group.bench_function(format!("limit read {isa}"), |b| b.iter(|| limits::read(isa, black_box(&from))));
        }
        let isa = Isa::detect().name();
        group.bench_function("limit read, all threads", |b| b.iter(|| limits::read_parallel(isa, black_box(&from))));
    } else {
        group.bench_function("limit copy", |b| b.iter(|| limits::copy(black_box(&from), black_box(&mut to))));
        group.bench_function("limit copy, all threads", |b| {
            b.iter(|| limits::copy_parallel(black_box(&from), black_box(&mut to)));
        });
    }
}

criterion_group!(benches, operations);
criterion_main!(benches);
