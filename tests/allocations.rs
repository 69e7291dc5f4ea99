//! Calls that need not allocate do not allocate, as the allocator counts.
#![allow(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;

use batchnorm::{
    Accumulator, Batch, BatchMut, BatchNorm, Element, Ewm, FewValues, Forgetting, Gradients, Isa, Layout, Moments,
    Path, Precision, Standardize, Welford, Workspace,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    /// Bytes that this thread holds. (Memory that another thread frees would still count as held.)
    static HELD: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: every call is passed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        HELD.set(HELD.get() + memory.size() as isize);
        // SAFETY: the caller guarantees it.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, at: *mut u8, memory: Memory) {
        HELD.set(HELD.get() - memory.size() as isize);
        // SAFETY: the caller guarantees it.
        unsafe { System.dealloc(at, memory) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(call: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    call();
    ALLOCATIONS.get() - before
}

fn check<T: Element>(layout: Layout, precision: Precision) {
    let data: Vec<T> = (0..layout.checked_len().expect("small")).map(|i| T::from_f64((i % 17) as f64)).collect();
    let mut out = data.clone();
    let x = Batch::new(&data, layout).expect("x");
    let (mut moments, mut workspace) = (Moments::default(), Workspace::default());
    for path in Isa::available().map(Path::Simd) {
        let mut bn = BatchNorm::new(layout.features()).with_path(path).with_precision(precision);
        let norm = bn.to_inference();
        path.moments_into(x, &mut moments, &mut workspace);
        bn.forward_train(x, BatchMut::new(&mut out, layout).expect("y")).expect("trains");
        let mut policy =
            bn.clone().with_few_values(FewValues::UseRunningStats).with_running_ddof(1e18).expect("in range");
        policy.forward_train(x, BatchMut::new(&mut out, layout).expect("y")).expect("runs");
        let mut measured = bn.measure(x).expect("fits");
        bn.forward_train_with(&measured, x, BatchMut::new(&mut out, layout).expect("y")).expect("trains");
        let counts = [
            allocations(|| path.moments_into(x, &mut moments, &mut workspace)),
            allocations(|| bn.forward_train(x, BatchMut::new(&mut out, layout).expect("y")).expect("trains")),
            allocations(|| norm.forward(x, BatchMut::new(&mut out, layout).expect("y")).expect("runs")),
            allocations(|| norm.forward_in_place(BatchMut::new(&mut out, layout).expect("y")).expect("runs")),
            allocations(|| policy.forward_train(x, BatchMut::new(&mut out, layout).expect("y")).expect("runs")),
            allocations(|| bn.measure_into(x, &mut measured).expect("fits")),
            allocations(|| {
                bn.forward_train_with(&measured, x, BatchMut::new(&mut out, layout).expect("y")).expect("trains");
                bn.forward_with(&measured, x, BatchMut::new(&mut out, layout).expect("y")).expect("runs");
            }),
        ];
        let what = "moments, training, inference, in place, few values, and the two halves";
        assert_eq!(counts, [0; 7], "{layout}, {path:?}: {what}");
        let mut gradients = Gradients::default();
        let mut backward = |out: &mut [T]| {
            let (dx, gradients) = (BatchMut::new(out, layout).expect("dx"), &mut gradients);
            bn.backward_train_into(&moments, x, x, dx, gradients).expect("gradients");
            let dx = BatchMut::new(out, layout).expect("dx");
            bn.backward_train_in_place_into(&moments, x, dx, gradients).expect("gradients");
            let dx = BatchMut::new(out, layout).expect("dx");
            bn.backward_eval_into(x, x, dx, gradients).expect("gradients");
            norm.backward(x, BatchMut::new(out, layout).expect("dx")).expect("gradients");
        };
        backward(&mut out);
        assert_eq!(allocations(|| backward(&mut out)), 0, "{layout}, {path:?}: backward");
    }
    let results = &mut out[..layout.features()];
    let read = || moments.means_into(results).and_then(|()| moments.variances_into(1.0, results)).expect("one each");
    assert_eq!(allocations(read), 0, "{layout}: results");
    let bn = BatchNorm::new(layout.features()).with_precision(precision);
    bn.forward_eval(x, BatchMut::new(&mut out, layout).expect("y")).expect("runs");
    let evaluation = || bn.forward_eval(x, BatchMut::new(&mut out, layout).expect("y")).expect("runs");
    assert_eq!(allocations(evaluation), 0, "{layout}: evaluation");
}

#[test]
fn gaps_between_rows_allocate_nothing() {
    for (rows, features) in [(1000, 5), (100, 300)] {
        let contiguous = Layout::nc(rows, features);
        let gaps = contiguous.with_outer_stride(400);
        let data: Vec<f32> = (0..rows * 400).map(|i| (i % 17) as f32).collect();
        let (x, mut y) = (Batch::new(&data, gaps).expect("x"), vec![0.0f32; rows * 400]);
        let (mut moments, mut workspace, mut gradients) = Default::default();
        let mut bn = BatchNorm::new(features).with_path(Path::Simd(Isa::detect()));
        let mut all = |y: &mut [f32]| {
            Path::Simd(Isa::detect()).moments_into(x, &mut moments, &mut workspace);
            bn.forward_train(x, BatchMut::new(&mut y[..rows * features], contiguous).expect("y")).expect("trains");
            bn.forward_train_in_place(BatchMut::new(y, gaps).expect("y")).expect("trains");
            let dx = BatchMut::new(y, gaps).expect("dx");
            bn.backward_train_into(&moments, x, x, dx, &mut gradients).expect("gradients");
        };
        all(&mut y);
        assert_eq!(allocations(|| all(&mut y)), 0, "{gaps}");
    }
}

#[test]
fn calls_allocate_nothing_once_they_have_their_memory() {
    for layout in [
        Layout::nc(6, 5),
        Layout::nc(2, 512),
        Layout::nc(1000, 7),
        Layout::nc(300, 300),
        Layout::nc(40, 3000),
        Layout::ncl(30, 20, 9),
        Layout::nchw(8, 16, 7, 7),
        Layout::nchw(2, 3, 56, 56),
    ] {
        for precision in [Precision::Single, Precision::Double] {
            check::<f32>(layout, precision);
            check::<f64>(layout, precision);
        }
    }
}

/// Inference by every path: nothing is allocated but one small job per further thread, where threads share the work.
#[test]
fn inference_allocates_jobs_for_threads_alone() {
    let further = rayon::current_num_threads() - 1;
    for (layout, jobs) in
        [(Layout::nc(100, 8), 0), (Layout::nc(1 << 17, 8), further), (Layout::ncl(8, 32, 3136), further)]
    {
        let data = vec![1.5f32; layout.checked_len().expect("small")];
        let mut y = data.clone();
        let paths = [(Path::Scalar, 0), (Path::Auto, jobs), (Path::Parallel(Isa::detect()), further)];
        for (path, most) in paths.into_iter().chain(Isa::available().map(|isa| (Path::Simd(isa), 0))) {
            let norm = BatchNorm::new(layout.features()).with_path(path).to_inference();
            let mut call = || {
                let y = BatchMut::new(&mut y, layout).expect("y");
                norm.forward(Batch::new(&data, layout).expect("x"), y).expect("runs");
            };
            call();
            let given = (0..20).map(|_| allocations(&mut call)).min().expect("some calls");
            assert!(given <= most, "{layout}, {path:?}: {given} allocations, at most {most}");
        }
    }
}

/// Streams allocate when they are made, and never again, by any path on the calling thread.
#[test]
fn streams_allocate_nothing_after_construction() {
    let row = [1.5f32; 300];
    let (mut out, mut numbers, mut moments) = (row, [0.0; 300], Moments::new(300));
    let forgetting = Forgetting::from_span(20.0).expect("in range");
    let paths = [Path::Scalar, Path::Auto, Path::Parallel(Isa::detect())];
    for path in paths.into_iter().chain(Isa::available().map(Path::Simd)) {
        let mut stream = Welford::new(300).with_path(path);
        let mut weighted = Ewm::new(300, forgetting).with_path(path);
        let given = allocations(|| {
            for _ in 0..1000 {
                stream.push(&row).expect("fits");
                weighted.push_and_normalize(&row, &mut out, &Standardize::new()).expect("fits");
            }
            stream.means_into(&mut numbers).expect("fits");
            weighted.variances_into(1.0, &mut numbers).expect("fits");
            stream.moments_into(&mut moments);
            stream.reset();
        });
        assert_eq!(given, 0, "{path:?}");
    }
}

/// Checks that an accumulator holds no more memory than documented, whatever has passed through it.
fn accumulator_holds(rows: usize, features: usize, inner: usize, chunk_values: usize) {
    let piece = vec![1.5f64; 37 * features * inner];
    let before = HELD.get();
    let mut held = 0;
    let mut all = Accumulator::new(features, inner).expect("a shape");
    for _ in 0..rows.div_ceil(37) {
        all.update(Batch::new(&piece, Layout::new(37, features, inner)).expect("rows")).expect("rows");
        held = held.max(HELD.get() - before);
    }
    let chunks = rows * features * inner / chunk_values;
    let subtrees = chunks.max(1).ilog2() as usize + 1;
    // In addition there is the list of subtrees: some hundred bytes per entry, with room for twice as many.
    let most = 8 * chunk_values + subtrees * (6 * 8 * features + 400);
    assert!(chunks > 4, "too few rows to see anything: {chunks} chunks");
    assert!(held <= most as isize, "[{rows}, {features}, {inner}]: holds {held} bytes, may hold {most}");
}

#[test]
fn accumulators_hold_less_than_a_chunk_and_few_moments() {
    accumulator_holds(100_000, 4, 1, 512 * 64);
    accumulator_holds(10_000, 300, 1, 512 * 300);
    accumulator_holds(1_000, 3, 784, 41 * 784 * 3);
    accumulator_holds(20_000, 7, 5, 512 * 2 * 35);
}

/// The counter works.
#[test]
fn a_vector_is_an_allocation() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1u8; 100]))), 1);
}
