//! Whatever the threads: pools of any size, pools in pools, calls from tasks and from many threads at once, and objects
//! that several threads share or hand on. Results are those of the scalar path, and every call ends.

mod common;

use std::sync::{Arc, Barrier, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use batchnorm::{
    Accumulator, Activation, Batch, BatchMut, BatchNorm, Element, Error, Ewm, Forgetting, GradOutput, GradOutputMut,
    GradientSums, GradientSumsParts, Gradients, Inference, Isa, Layout, Moments, MomentsParts, Path, Standardize,
    Welford, Workspace,
};
use common::assert_same_bits;
use common::nasty::{Kind, batch};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Every type goes to other threads, and can be shared by them.
const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Accumulator<f32>>();
    is_send_and_sync::<Accumulator<f64>>();
    is_send_and_sync::<Batch<'_, f32>>();
    is_send_and_sync::<Batch<'_, f64>>();
    is_send_and_sync::<BatchMut<'_, f32>>();
    is_send_and_sync::<BatchMut<'_, f64>>();
    is_send_and_sync::<BatchNorm>();
    is_send_and_sync::<Error>();
    is_send_and_sync::<Ewm>();
    is_send_and_sync::<Forgetting>();
    is_send_and_sync::<GradOutput<'_, f32>>();
    is_send_and_sync::<GradOutputMut<'_, f64>>();
    is_send_and_sync::<GradientSums>();
    is_send_and_sync::<GradientSumsParts<'_>>();
    is_send_and_sync::<Gradients>();
    is_send_and_sync::<Inference>();
    is_send_and_sync::<Isa>();
    is_send_and_sync::<Layout>();
    is_send_and_sync::<Moments>();
    is_send_and_sync::<MomentsParts<'_>>();
    is_send_and_sync::<Path>();
    is_send_and_sync::<Standardize>();
    is_send_and_sync::<Welford>();
    is_send_and_sync::<Workspace>();
};

/// A call that has not ended by then hangs. (On one busy core these tests take seconds.)
const HANGS: Duration = Duration::from_secs(300);

/// Fails if a test hangs, which it would else do for ever.
fn ends(test: impl FnOnce() + Send + 'static) {
    let (ended, end) = mpsc::channel::<()>();
    let thread = thread::spawn(|| {
        let _ended = ended; // Dropped at the end, by a panic, too.
        test();
    });
    assert_eq!(end.recv_timeout(HANGS), Err(mpsc::RecvTimeoutError::Disconnected), "a call hangs");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool")
}

/// A batch and what the scalar path makes of it.
struct Case<T> {
    layout: Layout,
    data: Vec<T>,
    moments: Moments,
    trained: Vec<T>,
    evaluated: Vec<T>,
    backward: Backward<T>,
}

/// The gradients of a training step through a ReLU, which also adds its inputs as a residual, and its outputs.
struct Backward<T> {
    trained: Vec<T>,
    dx: Vec<T>,
    parameters: [Vec<f64>; 2],
}

impl<T: Element> Case<T> {
    fn new(layout: Layout) -> Self {
        let data = batch::<T>(Kind::Offset(1e2), 21, layout);
        let x = Batch::new(&data, layout).expect("x");
        let (mut trained, mut evaluated) = (data.clone(), data.clone());
        let mut bn = layer(layout.features(), Path::Scalar);
        bn.forward_eval(x, BatchMut::new(&mut evaluated, layout).expect("y")).expect("evaluates");
        bn.forward_train(x, BatchMut::new(&mut trained, layout).expect("y")).expect("trains");
        let moments = Path::Scalar.moments(x);
        Case { layout, backward: Backward::by(Path::Scalar, x, &moments), data, moments, trained, evaluated }
    }

    fn x(&self) -> Batch<'_, T> {
        Batch::new(&self.data, self.layout).expect("x")
    }

    /// Checks everything that goes to other threads: moments, training and evaluation.
    fn check(&self, name: &str, path: Path) {
        let name = format!("{name}, {}, {path:?}", self.layout);
        assert_eq!(path.moments(self.x()), self.moments, "{name}: moments");
        let mut bn = layer(self.layout.features(), path);
        self.check_evaluation(&name, &bn.to_inference());
        let mut y = vec![T::from_f64(7.0); self.data.len()];
        bn.forward_train(self.x(), BatchMut::new(&mut y, self.layout).expect("y")).expect("trains");
        assert_same_bits(&format!("{name}: trained"), &self.trained, &y);
    }

    /// Checks the backward pass of a training step with a residual and a ReLU.
    fn check_backward(&self, name: &str, path: Path) {
        let (name, given) = (format!("{name}, {}, {path:?}", self.layout), Backward::by(path, self.x(), &self.moments));
        assert_same_bits(&format!("{name}: trained with a residual"), &self.backward.trained, &given.trained);
        assert_same_bits(&format!("{name}: dx"), &self.backward.dx, &given.dx);
        for (expected, given) in self.backward.parameters.iter().zip(&given.parameters) {
            assert_same_bits(&format!("{name}: gradients"), expected, given);
        }
    }

    fn check_evaluation(&self, name: &str, norm: &Inference) {
        let mut y = vec![T::from_f64(7.0); self.data.len()];
        norm.forward(self.x(), BatchMut::new(&mut y, self.layout).expect("y")).expect("evaluates");
        assert_same_bits(&format!("{name}: evaluated"), &self.evaluated, &y);
        y.copy_from_slice(&self.data);
        norm.forward_in_place(BatchMut::new(&mut y, self.layout).expect("y")).expect("evaluates");
        assert_same_bits(&format!("{name}: evaluated in place"), &self.evaluated, &y);
    }
}

impl<T: Element> Backward<T> {
    fn by(path: Path, x: Batch<'_, T>, moments: &Moments) -> Self {
        let layout = x.layout();
        let mut bn = layer(layout.features(), path).with_activation(Activation::Relu);
        let (mut trained, mut dx) = (vec![T::from_f64(7.0); x.data().len()], x.data().to_vec());
        bn.forward_train_add(x, x, BatchMut::new(&mut trained, layout).expect("y")).expect("trains");
        let out = Batch::new(&trained, layout).expect("y");
        let dy = GradOutput::through_relu(x, out).expect("the same layout");
        let dx_out = BatchMut::new(&mut dx, layout).expect("dx");
        let gradients = bn.backward_train(moments, x, dy, dx_out).expect("gradients");
        let parameters = [gradients.weight().to_vec(), gradients.bias().to_vec()];
        Backward { trained, dx, parameters }
    }
}

fn layer(features: usize, path: Path) -> BatchNorm {
    let numbers = |from: f64| (0..features).map(|i| from + 0.37 * (i % 11) as f64).collect::<Vec<_>>();
    let mut bn = BatchNorm::new(features).with_path(path);
    bn.set_weight(&numbers(-1.5)).expect("weights");
    bn.set_bias(&numbers(0.25)).expect("biases");
    bn.set_running_mean(&numbers(99.0)).expect("means");
    bn.set_running_var(&numbers(0.75)).expect("variances");
    bn
}

fn parallel() -> impl Iterator<Item = Path> {
    Isa::available().map(Path::Parallel)
}

/// Rows, narrow rows, planes and cut planes, of several chunks: threads share features and chunks of rows.
fn cases() -> &'static [Case<f32>] {
    static CASES: OnceLock<Vec<Case<f32>>> = OnceLock::new();
    CASES.get_or_init(|| {
        [
            Layout::nc(2_100, 131),
            Layout::nc(150_001, 3),
            Layout::nc(20, 10_007),
            Layout::nchw(90, 70, 7, 7),
            Layout::nchw(2, 3, 300, 301),
        ]
        .map(Case::new)
        .into()
    })
}

/// Batches that [`Path::Auto`] shares between threads in all operations: 2^21 values and more.
fn large() -> &'static [Case<f32>] {
    static CASES: OnceLock<Vec<Case<f32>>> = OnceLock::new();
    CASES.get_or_init(|| [Layout::nc(16_411, 129), Layout::nchw(9, 5, 217, 217)].map(Case::new).into())
}

/// Small enough to run many of, of more than one piece of work.
fn small() -> &'static Case<f64> {
    static CASE: OnceLock<Case<f64>> = OnceLock::new();
    CASE.get_or_init(|| Case::new(Layout::nc(1_200, 67)))
}

/// One thread has nobody to share with; 64 are more than there are processors, or pieces of work.
#[test]
fn pools_of_1_2_and_64_threads() {
    ends(|| {
        for threads in [1, 2, 64] {
            let (pool, name) = (pool(threads), format!("{threads} threads"));
            for case in cases() {
                parallel().for_each(|path| pool.install(|| case.check(&name, path)));
                parallel().for_each(|path| pool.install(|| case.check_backward(&name, path)));
            }
            large().iter().for_each(|case| pool.install(|| case.check(&name, Path::Auto)));
            large().iter().for_each(|case| pool.install(|| case.check_backward(&name, Path::Auto)));
            parallel().for_each(|path| pool.install(|| small().check(&name, path)));
        }
    });
}

/// Work of one pool waits for that of another, and for itself.
#[test]
fn pools_in_pools() {
    ends(|| {
        for (outer, inner) in [(1, 1), (1, 3), (3, 1), (2, 64)] {
            let name = format!("{inner} threads in {outer}");
            let (outer, inner) = (pool(outer), pool(inner));
            for path in parallel() {
                outer.install(|| inner.install(|| small().check(&name, path)));
                outer.install(|| inner.install(|| outer.install(|| small().check(&name, path))));
                outer.install(|| {
                    rayon::join(|| inner.install(|| cases()[0].check(&name, path)), || cases()[3].check(&name, path));
                });
            }
        }
    });
}

/// Threads that wait for their share of one call take up others in the meantime.
#[test]
fn calls_from_tasks() {
    ends(|| {
        for threads in [1, 2, 5] {
            let name = format!("tasks on {threads} threads");
            pool(threads).install(|| {
                let paths: Vec<_> = parallel().chain([Path::Auto]).collect();
                (0..40).into_par_iter().for_each(|task| {
                    let path = paths[task % paths.len()];
                    match task % 8 {
                        0 => cases()[task / 8].check(&name, path),
                        1 => cases()[task / 8].check_backward(&name, path),
                        _ => small().check(&name, path),
                    }
                });
                rayon::scope(|scope| {
                    for &path in paths.iter().chain(&paths) {
                        let name = &name;
                        scope.spawn(move |scope| {
                            scope.spawn(move |_| small().check(name, path));
                            small().check(name, path);
                        });
                    }
                });
            });
        }
    });
}

#[test]
fn calls_from_many_threads_at_once() {
    ends(|| {
        let together = Barrier::new(6);
        thread::scope(|scope| {
            for caller in 0..6 {
                let together = &together;
                scope.spawn(move || {
                    let name = format!("caller {caller} on the global pool");
                    let (some, many) = (&cases()[caller % cases().len()], &large()[caller % large().len()]);
                    together.wait();
                    many.check(&name, Path::Auto);
                    for path in parallel() {
                        some.check(&name, path);
                        small().check(&name, path);
                    }
                });
            }
        });
    });
}

/// Eight threads share one frozen layer, and use it at the same moment.
#[test]
fn one_inference_object_for_eight_threads() {
    ends(|| {
        for path in parallel().chain(Isa::available().map(Path::Simd)).chain([Path::Auto, Path::Scalar]) {
            for case in [&cases()[0], &cases()[3]] {
                let norm = Arc::new(layer(case.layout.features(), path).to_inference());
                let together = Arc::new(Barrier::new(8));
                let users = (0..8).map(|user| {
                    let (norm, together) = (Arc::clone(&norm), Arc::clone(&together));
                    thread::spawn(move || {
                        together.wait();
                        case.check_evaluation(&format!("user {user} of {norm:?}"), &norm);
                    })
                });
                users.collect::<Vec<_>>().into_iter().for_each(|user| user.join().expect("the same bits"));
            }
        }
    });
}

/// The first evaluation of a layer freezes it. Here, several are the first.
#[test]
fn one_layer_for_eight_threads() {
    ends(|| {
        let case = small();
        let evaluate = |bn: &BatchNorm| {
            let mut y = vec![7.0; case.data.len()];
            bn.forward_eval(case.x(), BatchMut::new(&mut y, case.layout).expect("y")).expect("evaluates");
            assert_same_bits("a shared layer", &case.evaluated, &y);
        };
        let pool = pool(8);
        for path in (0..6).flat_map(|_| parallel().chain([Path::Auto])) {
            let (bn, together) = (layer(case.layout.features(), path), Barrier::new(8));
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        together.wait();
                        evaluate(&bn);
                    });
                }
            });
            let bn = layer(case.layout.features(), path);
            pool.install(|| (0..8).into_par_iter().for_each(|_| evaluate(&bn)));
        }
    });
}

/// Each piece is added by a thread of its own, one after the other.
#[test]
fn accumulators_move_between_threads() {
    ends(|| {
        for path in parallel().chain([Path::Auto]) {
            for case in cases() {
                let (features, inner) = (case.layout.features(), case.layout.inner());
                let mut rows = Accumulator::new(features, inner).expect("a shape").with_path(path);
                let piece = case.layout.outer().div_ceil(7);
                for piece in case.data.chunks(piece * features * inner) {
                    rows = thread::spawn(move || {
                        let layout = Layout::new(piece.len() / (features * inner), features, inner);
                        rows.update(Batch::new(piece, layout).expect("rows")).expect("the same shape");
                        rows
                    })
                    .join()
                    .expect("rows are added");
                }
                let moments = thread::spawn(move || rows.moments()).join().expect("moments");
                assert_eq!(moments, case.moments, "{}, {path:?}", case.layout);
            }
        }
    });
}

/// A layer that is trained by one thread after the other has the bits of one that stays where it is. So have moments
/// that are merged on the way, in a workspace that moves, too.
#[test]
fn layers_move_between_threads() {
    const STEPS: usize = 5;
    ends(|| {
        let case = &cases()[3];
        let features = case.layout.features();
        let step = |bn: &mut BatchNorm| {
            let mut y = vec![7.0; case.data.len()];
            bn.forward_train(case.x(), BatchMut::new(&mut y, case.layout).expect("y")).expect("trains");
            assert_same_bits("trained on the way", &case.trained, &y);
        };
        let mut stays = layer(features, Path::Scalar);
        (0..STEPS).for_each(|_| step(&mut stays));
        for path in parallel().chain([Path::Auto]) {
            let mut moves = (layer(features, path), Moments::new(features), Workspace::default());
            for _ in 0..STEPS {
                moves = thread::spawn(move || {
                    let (mut bn, mut moments, mut workspace) = moves;
                    step(&mut bn);
                    path.moments_into(case.x(), &mut moments, &mut workspace);
                    (bn, moments, workspace)
                })
                .join()
                .expect("a step");
            }
            let (bn, moments, _) = moves;
            assert_eq!(moments, case.moments, "{path:?}");
            assert_eq!(bn.num_batches_tracked(), STEPS as u64);
            assert_same_bits(&format!("{path:?}: running_mean"), stays.running_mean(), bn.running_mean());
            assert_same_bits(&format!("{path:?}: running_var"), stays.running_var(), bn.running_var());
            assert_eq!(bn.to_inference(), stays.to_inference(), "{path:?}");
        }
    });
}
