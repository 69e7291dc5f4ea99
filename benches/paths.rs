//! Criterion benchmarks of every operation by every path over the usual shapes, with the machine's limits as separate
//! benchmarks. Throughput counts the bytes that must be moved. `cargo bench --bench table` gives the ratios at a
//! glance.

mod common;

use std::time::Duration;

use batchnorm::Path;
use common::limits::Limit;
use common::nasty::Kind;
use common::{Bench, Op, SHAPES, paths};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn operations(c: &mut Criterion) {
    for shape in SHAPES {
        for op in Op::ALL {
            let mut bench = Bench::<f32>::new(Kind::Normal, shape.layout);
            let mut group = c.benchmark_group(format!("{}/{}", shape.name, op.name()));
            group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(400)).sample_size(20);
            group.throughput(Throughput::Bytes(op.bytes(bench.x.len(), size_of::<f32>()) as u64));
            for limit in Limit::of(op, Path::Auto) {
                group.bench_function(limit.name(), |b| b.iter(|| bench.limit(limit)));
            }
            for (name, path) in paths() {
                group.bench_function(name, |b| b.iter(|| bench.run(op, path)));
            }
            group.finish();
        }
    }
}

criterion_group!(benches, operations);
criterion_main!(benches);
