//! The scalar path, SIMD on every instruction set of this machine, and rayon on 1, 2, 3 and 7 threads give
//! bit-identical results.

mod common;

use batchnorm::{Accumulator, Batch, BatchMut, BatchNorm, Element, Isa, Layout, Moments, Path, Precision};
use common::nasty::{self, KINDS, Kind, batch};
use common::{assert_same_bits, by_every_path};
use proptest::prelude::*;

/// Everything that a path computes from a batch.
struct Outputs<T> {
    moments: Moments,
    /// The same rows in three pieces, merged.
    updated: Moments,
    accumulated: Moments,
    trained: Vec<T>,
    evaluated: Vec<T>,
    /// Trained and evaluated again, in f64.
    in_double: Vec<T>,
    in_place: Vec<T>,
    running: Vec<f64>,
}

fn outputs<T: Element>(path: Path, data: &[T], layout: Layout) -> Outputs<T> {
    let x = Batch::new(data, layout).expect("a batch");
    let features = layout.features();
    let numbers = |from: f64| (0..features).map(|i| from + 0.37 * i as f64).collect::<Vec<_>>();
    let mut bn = BatchNorm::new(features).with_path(path);
    bn.set_weight(&numbers(-1.5)).expect("weights");
    bn.set_bias(&numbers(0.25)).expect("biases");

    let mut trained = data.to_vec();
    let mut in_place = data.to_vec();
    if layout.count() >= 2 {
        bn.forward_train(x, BatchMut::new(&mut trained, layout).expect("y")).expect("trains");
        BatchNorm::new(features)
            .with_path(path)
            .forward_train_in_place(BatchMut::new(&mut in_place, layout).expect("y"))
            .expect("trains in place");
    }
    let norm = bn.to_inference();
    let mut evaluated = data.to_vec();
    norm.forward(x, BatchMut::new(&mut evaluated, layout).expect("y")).expect("evaluates");
    norm.forward_in_place(BatchMut::new(&mut in_place, layout).expect("y")).expect("evaluates in place");
    let running = [bn.running_mean(), bn.running_var()].concat();
    // (f64 batches are computed in f64 in any case.)
    let mut in_double = Vec::new();
    if size_of::<T>() == size_of::<f32>() {
        let mut bn = bn.with_precision(Precision::Double);
        in_double = data.to_vec();
        if layout.count() >= 2 {
            bn.forward_train(x, BatchMut::new(&mut in_double, layout).expect("y")).expect("trains");
        }
        bn.forward_eval_in_place(BatchMut::new(&mut in_double, layout).expect("y")).expect("evaluates");
    }
    let (updated, accumulated) = in_pieces(path, data, layout);
    Outputs { moments: path.moments(x), updated, accumulated, trained, evaluated, in_double, in_place, running }
}

/// Adds the rows in three pieces: merged, and accumulated. (Not those of large batches, whose pieces take as long as the
/// whole and show nothing more.)
fn in_pieces<T: Element>(path: Path, data: &[T], layout: Layout) -> (Moments, Moments) {
    let (features, inner) = (layout.features(), layout.inner());
    let mut updated = Moments::new(features);
    let mut accumulated = Accumulator::new(features, inner).expect("a shape").with_path(path);
    let data = if data.len() > 1 << 18 { &[] } else { data };
    for piece in data.chunks((layout.outer().div_ceil(3) * features * inner).max(1)) {
        let piece = Batch::new(piece, Layout::new(piece.len() / (features * inner), features, inner)).expect("rows");
        path.update(&mut updated, piece).expect("same features");
        accumulated.update(piece).expect("same shape");
    }
    (updated, accumulated.moments())
}

fn check<T: Element>(kind: Kind, seed: u64, layout: Layout) {
    let data = batch::<T>(kind, seed, layout);
    let expected = outputs(Path::Scalar, &data, layout);
    for (name, given) in by_every_path(|path| outputs(path, &data, layout)) {
        let name = format!("{kind:?}, seed {seed}, {layout}, {}, {name}", std::any::type_name::<T>());
        assert_eq!(given.moments, expected.moments, "{name}: moments");
        assert_eq!(given.updated, expected.updated, "{name}: updated");
        assert_eq!(given.accumulated, expected.accumulated, "{name}: accumulated");
        assert_same_bits(&format!("{name}: trained"), &expected.trained, &given.trained);
        assert_same_bits(&format!("{name}: evaluated"), &expected.evaluated, &given.evaluated);
        assert_same_bits(&format!("{name}: in f64"), &expected.in_double, &given.in_double);
        assert_same_bits(&format!("{name}: in place"), &expected.in_place, &given.in_place);
        assert_same_bits(&format!("{name}: running"), &expected.running, &given.running);
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    proptest::sample::select(&KINDS[..])
}

fn layouts() -> impl Strategy<Value = Layout> {
    let edges = || proptest::sample::select(nasty::edges().collect::<Vec<_>>());
    prop_oneof![
        (edges(), 1..3usize).prop_map(|(n, c)| Layout::nc(n, c)),
        (1..3usize, 1..3usize, edges()).prop_map(|(n, c, l)| Layout::ncl(n, c, l)),
        (0..400usize, 1..80usize).prop_map(|(n, c)| Layout::nc(n, c)),
        (0..3000usize, 1..6usize).prop_map(|(n, c)| Layout::nc(n, c)),
        (0..20usize, 60..2100usize).prop_map(|(n, c)| Layout::nc(n, c)),
        (0..12usize, 1..40usize, 1..40usize).prop_map(|(n, c, l)| Layout::ncl(n, c, l)),
        (0..300usize, 1..5usize, 1..9usize, 1..9usize).prop_map(|(n, c, h, w)| Layout::nchw(n, c, h, w)),
        (0..4usize, 1..4usize, 1..5usize, 30..70usize, 30..70usize)
            .prop_map(|(n, c, d, h, w)| Layout::ncdhw(n, c, d, h, w)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn f32_paths_agree(kind in kinds(), seed: u64, layout in layouts()) {
        check::<f32>(kind, seed, layout);
    }

    #[test]
    fn f64_paths_agree(kind in kinds(), seed: u64, layout in layouts()) {
        check::<f64>(kind, seed, layout);
    }
}

/// Widths around every multiple of a lane count, a strip and a tile; heights around groups and chunks.
#[test]
fn every_edge_agrees() {
    for width in (1..=70).chain([127, 128, 129, 1023, 1024, 1025, 1031]) {
        for rows in [1, 2, 7, 8, 9, 129, 513] {
            check::<f32>(Kind::Offset(1e4), 7, Layout::nc(rows, width));
            check::<f64>(Kind::Poisoned, 8, Layout::nc(rows, width));
        }
    }
    for inner in (2..=70).chain([127, 128, 129, 4095, 32_767, 32_768, 32_769, 3 * 32_768 + 5]) {
        check::<f32>(Kind::Normal, 9, Layout::new(3, 3, inner));
        check::<f64>(Kind::OutlierFirst, 10, Layout::new(3, 2, inner));
    }
}

/// Tens of thousands of rows, thousands of columns, planes of 1, 49 and 3136 positions. (A build with debug
/// assertions takes every third of them: it looks at indices, and all would take a minute more.)
#[test]
fn large_batches_agree() {
    let third = if cfg!(debug_assertions) { 3 } else { 1 };
    let layouts = [
        Layout::nc(50_000, 5),
        Layout::nc(70_001, 1),
        Layout::nc(20_000, 33),
        Layout::nc(300, 4099),
        Layout::nchw(300, 40, 7, 7),
        Layout::nchw(5, 30, 56, 56),
        Layout::nchw(2, 2, 300, 301),
        Layout::nhwc(4, 56, 56, 64),
        Layout::ncl(900, 30, 9),
        // Outputs that are written with non-temporal stores, with rows and planes that end within the lanes.
        Layout::nc(420_001, 5),
        Layout::nc(16_001, 131),
        Layout::nchw(720, 61, 7, 7),
        // Planes that are summed side by side, with more than 64 groups per chunk, that end within the lanes.
        Layout::nchw(40, 30, 50, 50),
        Layout::nc(33, 65_536),
        // Wide rows of small planes, shared between threads in the middle of rows.
        Layout::ncl(3, 50_001, 3),
        Layout::ncl(2301, 131, 11),
        Layout::nc(nasty::MILLIONS[2], 1),
    ];
    for layout in layouts.into_iter().step_by(third) {
        check::<f32>(Kind::Offset(1e2), 11, layout);
        check::<f32>(Kind::Normal, 13, layout);
        check::<f64>(Kind::Offset(1e8), 12, layout);
    }
}

/// The tests above compare what this machine has. On x86-64 that must include everything that the processor reports.
/// The output says which instruction sets were not run because the machine lacks them.
#[test]
fn every_isa_of_this_machine_was_exercised() {
    let ran: Vec<_> = Isa::available().map(Isa::name).collect();
    for name in ["portable", "avx2", "avx512"] {
        println!("{name}: {}", if ran.contains(&name) { "run" } else { "NOT RUN: this machine lacks it" });
    }
    #[cfg(target_arch = "x86_64")]
    {
        let has = |name: &str| ran.contains(&name);
        // Asked here, without the crate.
        assert_eq!(has("avx2"), is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"));
        let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
        assert_eq!(has("avx512"), avx512 && is_x86_feature_detected!("avx512dq"));
    }
    assert!(ran.contains(&"portable"));
    let names: Vec<_> = by_every_path(|path| path).into_iter().map(|(name, _)| name).collect();
    for isa in ran {
        assert!(names.iter().any(|name| name == &format!("simd on {isa}")), "{isa} was not compared");
    }
}
