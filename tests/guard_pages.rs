//! No operation touches what lies beside the slices that it is given, nor writes to what it is given to read.
//!
//! Each slice lies against a page that kills the process when it is touched. Sanitizers do not see what masked and
//! non-temporal instructions touch, and other tests do not see reads at all. After a fault,
//! `cargo test --test guard_pages -- --nocapture --test-threads 1` shows the batch: the last one printed.
#![allow(unsafe_code, reason = "pages are mapped and protected by system calls")]

#[cfg(unix)]
mod common;

#[cfg(not(unix))]
#[test]
fn slices_between_protected_pages() {
    println!("NOT RUN: pages are protected by calls of unix");
}

#[cfg(unix)]
mod unix {
    use std::io::Error;
    use std::ops::Range;
    use std::sync::OnceLock;

    use batchnorm::{
        Accumulator, Activation, Batch, BatchMut, BatchNorm, Element, GradOutput, GradOutputMut, Isa, Layout, Moments,
        Path, Precision, Workspace,
    };
    use rayon::ThreadPool;

    use crate::common::assert_same_bits;
    use crate::common::nasty::{Kind, mixed};

    /// Where a slice lies in its pages.
    #[derive(Clone, Copy, Debug)]
    enum Place {
        /// It begins where the protected page before it ends.
        Front,
        /// It ends, whatever its length, where the protected page behind it begins.
        Back,
    }

    const PLACES: [Place; 2] = [Place::Front, Place::Back];

    /// Fills what is left of the pages of a slice.
    const SLACK: u8 = 0xa5;

    /// Values in pages of their own, between two protected pages. (No values have no pages.)
    struct Guarded<T> {
        map: *mut u8,
        /// Bytes between the protected pages.
        body: usize,
        /// Where the values lie, in bytes from the start of the map.
        values: Range<usize>,
        values_at: *mut T,
        len: usize,
    }

    impl<T: Element> Guarded<T> {
        fn new(len: usize, place: Place) -> Self {
            let (page, bytes) = (page(), len * size_of::<T>());
            let body = bytes.next_multiple_of(page);
            let (access, kind) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANON);
            // SAFETY: a new map, where the system likes it.
            let map = unsafe { libc::mmap(std::ptr::null_mut(), body + 2 * page, access, kind, -1, 0) };
            assert_ne!(map, libc::MAP_FAILED, "{}", Error::last_os_error());
            let map = map.cast::<u8>();
            let start = page + if matches!(place, Place::Back) { body - bytes } else { 0 };
            let values_at = map.wrapping_add(start).cast();
            let mut guarded = Guarded { map, body, values: start..start + bytes, values_at, len };
            guarded.protect(libc::PROT_READ | libc::PROT_WRITE);
            guarded.body_mut().fill(SLACK);
            guarded
        }

        fn values(&self) -> &[T] {
            // SAFETY: the values lie in the body, which can be read while this lives, on a multiple of their size
            // (pages begin on one), and whatever bits it holds are values of `T`: f32 or f64.
            unsafe { std::slice::from_raw_parts(self.values_at, self.len) }
        }

        fn values_mut(&mut self) -> &mut [T] {
            // SAFETY: as for `values`, and nothing else refers to the body, which can be written: only `ReadOnly` has
            // others, and it does not call this.
            unsafe { std::slice::from_raw_parts_mut(self.values_at, self.len) }
        }

        /// Whether nothing was written to the pages beside the values.
        fn slack_is_untouched(&mut self) -> bool {
            let (page, values) = (page(), self.values.clone());
            let body = self.body_mut();
            let beside = body[..values.start - page].iter().chain(&body[values.end - page..]);
            beside.fold(true, |untouched, byte| untouched & (*byte == SLACK))
        }

        fn body_mut(&mut self) -> &mut [u8] {
            // SAFETY: these pages can be read and written (see `values_mut`), and nothing else refers to them.
            unsafe { std::slice::from_raw_parts_mut(self.map.wrapping_add(page()), self.body) }
        }

        fn protect(&mut self, access: i32) {
            if self.body > 0 {
                // SAFETY: whole pages of the map, which nothing refers to now.
                let status = unsafe { libc::mprotect(self.map.wrapping_add(page()).cast(), self.body, access) };
                assert_eq!(status, 0, "{}", Error::last_os_error());
            }
        }
    }

    impl<T> Drop for Guarded<T> {
        fn drop(&mut self) {
            // SAFETY: the whole map, which nothing refers to any more.
            unsafe { libc::munmap(self.map.cast(), self.body + 2 * page()) };
        }
    }

    /// The same, but writing to the values kills, too.
    struct ReadOnly<T>(Guarded<T>);

    impl<T: Element> ReadOnly<T> {
        fn new(values: &[T], place: Place) -> Self {
            let mut guarded = Guarded::new(values.len(), place);
            guarded.values_mut().copy_from_slice(values);
            guarded.protect(libc::PROT_READ);
            ReadOnly(guarded)
        }

        fn values(&self) -> &[T] {
            self.0.values()
        }
    }

    /// Bytes of a page.
    fn page() -> usize {
        static PAGE: OnceLock<usize> = OnceLock::new();
        *PAGE.get_or_init(|| {
            // SAFETY: it only asks.
            let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            bytes.try_into().expect("pages have a size")
        })
    }

    fn pool() -> &'static ThreadPool {
        static POOL: OnceLock<ThreadPool> = OnceLock::new();
        POOL.get_or_init(|| rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("a pool"))
    }

    fn paths() -> Vec<Path> {
        let simd = Isa::available().flat_map(|isa| [Path::Simd(isa), Path::Parallel(isa)]);
        [Path::Scalar].into_iter().chain(simd).collect()
    }

    /// Every way to moments: in one call, in one call into others' memory, from pieces, and merged from pieces.
    fn moments_by<T: Element>(path: Path, x: Batch<'_, T>) -> [Moments; 4] {
        let layout = x.layout();
        let (features, inner) = (layout.features(), layout.inner());
        let mut into = Moments::new(2);
        path.moments_into(x, &mut into, &mut Workspace::default());
        let mut accumulator = Accumulator::new(features, inner).expect("a shape").with_path(path);
        let mut merged = Moments::new(features);
        let cuts = [0, layout.outer() / 3, layout.outer() - layout.outer() / 4, layout.outer()];
        for cut in cuts.windows(2) {
            let piece = &x.data()[cut[0] * features * inner..cut[1] * features * inner];
            let piece = Batch::new(piece, Layout::new(cut[1] - cut[0], features, inner)).expect("a piece");
            accumulator.update(piece).expect("the same shape");
            path.update(&mut merged, piece).expect("the same features");
        }
        [path.moments(x), into, accumulator.moments(), merged]
    }

    fn layer(features: usize, path: Path) -> BatchNorm {
        let numbers = |from: f64| (0..features).map(|i| from + 0.37 * (i % 11) as f64).collect::<Vec<_>>();
        let mut bn = BatchNorm::new(features).with_path(path);
        bn.set_weight(&numbers(-1.5)).expect("weights");
        bn.set_bias(&numbers(0.25)).expect("biases");
        bn.set_running_mean(&numbers(-0.5)).expect("means");
        bn.set_running_var(&numbers(0.75)).expect("variances");
        bn
    }

    fn can_train(layout: Layout) -> bool {
        layout.features() > 0 && layout.count() > 1
    }

    /// What the scalar path gives, in ordinary memory.
    struct Expected<T> {
        moments: [Moments; 4],
        in_double: Vec<T>,
        means: Vec<T>,
        variances: Vec<T>,
        trained: Vec<T>,
        running: [Vec<f64>; 2],
        evaluated: Vec<T>,
        /// Empty if they are not compared.
        passes: Vec<(&'static str, Vec<T>)>,
    }

    /// The gradients, of a training step and of an evaluation, and steps with a residual, each in place and not, one of
    /// each through a ReLU. After each, `check` gets its name and its outputs. `second` are the gradients with respect to
    /// the outputs, and the residual; `relu` are the outputs of the ReLU.
    fn passes<T: Element>(
        path: Path,
        [x, second, relu]: [Batch<'_, T>; 3],
        mut y: BatchMut<'_, T>,
        mut check: impl FnMut(&'static str, &[T]),
    ) {
        let mut bn = layer(x.layout().features(), path);
        let moments = path.moments(x);
        let through = GradOutput::through_relu(second, relu).expect("the same layout");
        bn.backward_train(&moments, x, through, y.reborrow()).expect("gradients");
        check("gradients of training", y.data_mut());
        y.data_mut().copy_from_slice(second.data());
        bn.backward_train_in_place(&moments, x, y.reborrow()).expect("gradients");
        check("gradients of training, in place", y.data_mut());
        bn.backward_eval_input(second, y.reborrow()).expect("gradients");
        check("gradients of evaluation", y.data_mut());
        y.data_mut().copy_from_slice(second.data());
        let through = GradOutputMut::through_relu(y.reborrow(), relu).expect("the same layout");
        bn.backward_eval_in_place(x, through).expect("gradients");
        check("gradients of evaluation, in place", y.data_mut());

        let norm = bn.to_inference();
        norm.clone().with_activation(Activation::Relu).forward_add(x, second, y.reborrow()).expect("evaluates");
        check("evaluated with a residual and a ReLU", y.data_mut());
        y.data_mut().copy_from_slice(x.data());
        norm.forward_add_in_place(y.reborrow(), second).expect("evaluates");
        check("evaluated with a residual, in place", y.data_mut());
        if can_train(x.layout()) {
            y.data_mut().copy_from_slice(x.data());
            bn = bn.with_activation(Activation::Relu);
            bn.forward_train_add_in_place(y.reborrow(), second).expect("trains");
            check("trained with a residual and a ReLU, in place", y.data_mut());
        }
    }

    /// What the scalar path gives. `others` are gradients or a residual, and outputs of a ReLU.
    fn expected<T: Element>([data, others @ ..]: [&[T]; 3], layout: Layout, with_passes: bool) -> Expected<T> {
        let (x, features) = (Batch::new(data, layout).expect("x"), layout.features());
        let moments = moments_by(Path::Scalar, x);
        let (mut means, mut variances) = (vec![T::from_f64(0.0); features], vec![T::from_f64(0.0); features]);
        moments[0].means_into(&mut means).expect("one per feature");
        moments[0].variances_into(1.0, &mut variances).expect("one per feature");
        let mut bn = layer(features, Path::Scalar);
        let (mut trained, mut evaluated) = (data.to_vec(), data.to_vec());
        bn.forward_eval(x, BatchMut::new(&mut evaluated, layout).expect("y")).expect("evaluates");
        if can_train(layout) {
            bn.forward_train(x, BatchMut::new(&mut trained, layout).expect("y")).expect("trains");
        }
        let running = [bn.running_mean(), bn.running_var()].map(<[f64]>::to_vec);
        let (bn, mut in_double) = (layer(features, Path::Scalar).with_precision(Precision::Double), data.to_vec());
        bn.forward_eval_in_place(BatchMut::new(&mut in_double, layout).expect("y")).expect("evaluates");
        let [second, relu] = others.map(|data| Batch::new(data, layout).expect("a batch"));
        let (mut passed, mut y) = (Vec::new(), data.to_vec());
        let out = BatchMut::new(&mut y, layout).expect("y");
        if with_passes {
            passes(Path::Scalar, [x, second, relu], out, |what, y| passed.push((what, y.to_vec())));
        }
        Expected { moments, in_double, means, variances, trained, running, evaluated, passes: passed }
    }

    /// Calls every operation. `y` and `results` are outputs, for a value each and a feature each.
    fn run<T: Element>(
        name: &str,
        path: Path,
        [x, second, relu]: [Batch<'_, T>; 3],
        y: &mut [T],
        results: &mut [T],
        expected: &Expected<T>,
    ) {
        let layout = x.layout();
        let moments = moments_by(path, x);
        for (way, (expected, given)) in expected.moments.iter().zip(&moments).enumerate() {
            assert_eq!(given, expected, "{name}: moments, way {way}");
        }
        results.fill(T::from_f64(7.0));
        moments[0].means_into(results).expect("one per feature");
        same(name, "means", &expected.means, results);
        results.fill(T::from_f64(7.0));
        moments[0].variances_into(1.0, results).expect("one per feature");
        same(name, "variances", &expected.variances, results);

        // Whatever a call leaves out keeps the result of another operation.
        let mut y = BatchMut::new(y, layout).expect("y");
        let mut bn = layer(layout.features(), path);
        bn.forward_eval(x, y.reborrow()).expect("evaluates");
        same(name, "evaluated", &expected.evaluated, y.data_mut());
        if can_train(layout) {
            bn.forward_train(x, y.reborrow()).expect("trains");
            same(name, "trained", &expected.trained, y.data_mut());
            same(name, "running_mean", &expected.running[0], bn.running_mean());
            same(name, "running_var", &expected.running[1], bn.running_var());
        }
        let mut bn = layer(layout.features(), path);
        let norm = bn.to_inference();
        norm.forward(x, y.reborrow()).expect("evaluates");
        same(name, "inference", &expected.evaluated, y.data_mut());

        let double = norm.clone().with_precision(Precision::Double);
        double.forward(x, y.reborrow()).expect("evaluates");
        same(name, "inference in f64", &expected.in_double, y.data_mut());
        y.data_mut().copy_from_slice(x.data());
        double.forward_in_place(y.reborrow()).expect("evaluates");
        same(name, "inference in f64, in place", &expected.in_double, y.data_mut());

        y.data_mut().copy_from_slice(x.data());
        norm.forward_in_place(y.reborrow()).expect("evaluates");
        same(name, "inference in place", &expected.evaluated, y.data_mut());
        y.data_mut().copy_from_slice(x.data());
        bn.forward_eval_in_place(y.reborrow()).expect("evaluates");
        same(name, "evaluated in place", &expected.evaluated, y.data_mut());
        if can_train(layout) {
            y.data_mut().copy_from_slice(x.data());
            bn.forward_train_in_place(y.reborrow()).expect("trains");
            same(name, "trained in place", &expected.trained, y.data_mut());
            same(name, "running_mean in place", &expected.running[0], bn.running_mean());
            same(name, "running_var in place", &expected.running[1], bn.running_var());
        }
        if expected.passes.is_empty() {
            return;
        }
        let mut wanted = expected.passes.iter();
        passes(path, [x, second, relu], y, |what, y| {
            let (expected_what, expected) = wanted.next().expect("as many as the scalar path has");
            assert_eq!(what, *expected_what);
            same(name, what, expected, y);
        });
        assert!(wanted.next().is_none());
    }

    /// As [`assert_same_bits`], which it leaves the message to, but without its vectors: batches are large here.
    fn same<T: Element>(name: &str, what: &str, expected: &[T], given: &[T]) {
        let same = |a: f64, b: f64| (a.to_bits() == b.to_bits()) | (a.is_nan() & b.is_nan());
        let pairs = expected.iter().zip(given);
        if expected.len() != given.len() || !pairs.fold(true, |all, (a, b)| all & same(a.to_f64(), b.to_f64())) {
            assert_same_bits(&format!("{name}: {what}"), expected, given);
        }
    }

    /// Checks every operation by every path, with x and the outputs in these places.
    fn check<T: Element>(
        layout: Layout,
        kind: impl Fn(usize) -> Kind,
        places: &[(Place, Place)],
        paths: &[Path],
        with_passes: bool,
    ) {
        let batch = format!("{layout}, {}", std::any::type_name::<T>());
        let all = [5, 6, 7].map(|seed| mixed::<T>(&kind, seed, layout));
        let expected = expected([&all[0], &all[1], &all[2]], layout, with_passes);
        for &(x_place, y_place) in places {
            println!("{batch}: x at the {x_place:?}, y at the {y_place:?}");
            let inputs = all.each_ref().map(|data| ReadOnly::new(data, x_place));
            let mut y = Guarded::new(all[0].len(), y_place);
            let mut results = Guarded::new(layout.features(), y_place);
            for &path in paths {
                let name = format!("{batch}, {path:?}, x {x_place:?}, y {y_place:?}");
                let x = inputs.each_ref().map(|x| Batch::new(x.values(), layout).expect("x"));
                let (y, results) = (y.values_mut(), results.values_mut());
                if matches!(path, Path::Parallel(_)) {
                    pool().install(|| run(&name, path, x, y, results, &expected));
                } else {
                    run(&name, path, x, y, results, &expected);
                }
            }
            assert!(y.slack_is_untouched(), "{batch}: something was written beside y at the {y_place:?}");
            assert!(results.slack_is_untouched(), "{batch}: something was written beside results at the {y_place:?}");
        }
    }

    /// Some columns that are read twice, and some that take the fallback.
    fn any_kind(feature: usize) -> Kind {
        [Kind::Offset(1e2), Kind::OutlierFirst, Kind::Normal, Kind::Poisoned, Kind::Constant(0.1)][feature % 5]
    }

    fn check_small(layouts: impl IntoIterator<Item = Layout>) {
        let places = PLACES.map(|x| PLACES.map(|y| (x, y))).concat();
        for layout in layouts {
            check::<f32>(layout, any_kind, &places, &paths(), true);
            check::<f64>(layout, any_kind, &places, &paths(), true);
        }
    }

    #[test]
    fn empty_batches() {
        let empty = [Layout::nc(0, 3), Layout::nc(0, 130), Layout::ncl(3, 2, 0), Layout::new(2, 0, 4)];
        check_small(empty.into_iter().chain([Layout::nchw(0, 3, 7, 7), Layout::ncl(0, 150, 3)]));
    }

    /// Narrow rows lie in one another: several outer blocks make one row.
    #[test]
    fn narrow_rows() {
        check_small((1..=9).map(|n| Layout::nc(n, 1)));
        check_small((1..64).flat_map(|c| [1, 2, 3, 7].map(|n| Layout::nc(n, c))));
        check_small([1, 2, 3, 7, 31, 33].map(|c| Layout::nc(521, c)));
        // More than a chunk.
        check_small([Layout::nc(33_001, 1), Layout::nc(8_229, 5)]);
    }

    #[test]
    fn rows() {
        check_small((64..=150).flat_map(|c| [1, 2, 3].map(|n| Layout::nc(n, c))));
        check_small([1, 7, 8, 9, 513].map(|n| Layout::nc(n, 67)));
        // More than one thread's piece.
        check_small([Layout::nc(1031, 67), Layout::nc(517, 129)]);
        // Whole pages, so that a slice lies against both.
        check_small([Layout::nc(16, 512), Layout::nc(32, 128)]);
    }

    #[test]
    fn wide_rows() {
        check_small([1023, 1024, 1025, 1031, 2051, 4099].map(|c| Layout::nc(3, c)));
        check_small([Layout::nc(1, 1025), Layout::nc(9, 2047)]);
    }

    /// Planes that make rows, too narrow and too wide to lay out at once.
    #[test]
    fn small_planes() {
        check_small((2..32).flat_map(|inner| [(1, 1), (3, 2), (2, 7)].map(|(n, c)| Layout::ncl(n, c, inner))));
        // Wide rows of them.
        check_small(
            (2..32).flat_map(|inner| [(1, 290), (3, 170), (2, 1300)].map(|(n, w)| Layout::ncl(n, w / inner, inner))),
        );
        check_small([Layout::ncl(5, 150, 3), Layout::ncl(4, 401, 3), Layout::ncl(2, 100, 15), Layout::ncl(30, 20, 9)]);
    }

    #[test]
    fn planes() {
        check_small((32..=100).flat_map(|inner| [(1, 1), (2, 3)].map(|(n, c)| Layout::ncl(n, c, inner))));
        check_small([Layout::nchw(5, 9, 7, 7), Layout::nchw(33, 67, 7, 7), Layout::ncl(1, 70, 65)]);
        // About a chunk, and cut.
        check_small([32_767, 32_768, 32_769, 65_541].map(|inner| Layout::ncl(1, 2, inner)));
    }

    /// Outputs that are written with non-temporal stores: from 12 MiB on, but for the last of each. (The scalar path,
    /// which has no such stores, gives what is expected.)
    fn check_large<T: Element>(layouts: &[Layout]) {
        let (kind, paths) = (|_| Kind::Offset(1e2), &paths()[1..]);
        let places = [(Place::Front, Place::Back), (Place::Back, Place::Front)];
        for (at, &layout) in layouts.iter().enumerate() {
            assert!(layout.checked_len().expect("a size") * size_of::<T>() >= 12 << 20, "{layout}: small");
            // Gradients and residuals take longer than all else: one in four has them.
            check::<T>(layout, kind, &places, paths, at % 4 == 1);
        }
    }

    #[test]
    fn large_f32_outputs() {
        check_large::<f32>(&[
            Layout::nc(1 << 15, 128),
            Layout::nc(24_577, 129),
            Layout::nc(630_001, 5),
            Layout::nc(769, 4099),
            Layout::nchw(1003, 65, 7, 7),
            Layout::nchw(2, 3, 725, 725),
            Layout::ncl(7001, 150, 3),
            Layout::ncl(2303, 203, 7),
            Layout::ncl(2, 786_433, 2),
        ]);
    }

    #[test]
    fn large_f64_outputs() {
        check_large::<f64>(&[
            Layout::nc(1 << 14, 128),
            Layout::nc(12_289, 129),
            Layout::nc(315_001, 5),
            Layout::nchw(501, 65, 7, 7),
            Layout::nchw(3, 1, 725, 725),
            Layout::ncl(3501, 150, 3),
            Layout::ncl(1201, 203, 7),
            Layout::ncl(1, 786_433, 2),
        ]);
    }

    /// Whether a child process that does this is killed for it.
    fn kills(touch: impl FnOnce()) -> bool {
        // SAFETY: the child makes only system calls that are safe after a fork and touches memory, then ends.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "{}", Error::last_os_error());
        if child == 0 {
            let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: system calls with valid arguments. (The handlers of `std` would take locks.)
            unsafe {
                libc::setrlimit(libc::RLIMIT_CORE, &no_core);
                libc::signal(libc::SIGSEGV, libc::SIG_DFL);
                libc::signal(libc::SIGBUS, libc::SIG_DFL);
            }
            touch();
            // SAFETY: ends the child at once, without the parent's destructors.
            unsafe { libc::_exit(0) }
        }
        let mut status = 0;
        // SAFETY: waits for the child just made.
        let ended = unsafe { libc::waitpid(child, &mut status, 0) };
        assert_eq!(ended, child, "{}", Error::last_os_error());
        if libc::WIFSIGNALED(status) {
            assert!([libc::SIGSEGV, libc::SIGBUS].contains(&libc::WTERMSIG(status)), "killed by another signal");
            return true;
        }
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child failed: {status}");
        false
    }

    fn read<T>(at: *const T) {
        // SAFETY: only called in a child that may be killed for it: the address is mapped, if perhaps protected.
        let _ = unsafe { at.read_volatile() };
    }

    fn write<T: Element>(at: *mut T) {
        // SAFETY: as for `read`; only the child's copy of the memory changes.
        unsafe { at.write_volatile(T::from_f64(1.0)) }
    }

    fn guards_work<T: Element>() {
        let on_page = page() / size_of::<T>();
        for len in [1, 7, on_page - 1, on_page, on_page + 1, 3 * on_page] {
            for place in PLACES {
                let (guarded, frozen) =
                    (Guarded::<T>::new(len, place), ReadOnly::new(&vec![T::from_f64(2.0); len], place));
                let (at, frozen_at) = (guarded.values_at, frozen.0.values_at);
                let (first, last) = (0, len - 1);
                for inside in [first, last] {
                    assert!(!kills(|| read(at.wrapping_add(inside))), "{place:?}, {len}: reads {inside}");
                    assert!(!kills(|| write(at.wrapping_add(inside))), "{place:?}, {len}: writes {inside}");
                    assert!(!kills(|| read(frozen_at.wrapping_add(inside))), "{place:?}, {len}: reads {inside}");
                    assert!(kills(|| write(frozen_at.wrapping_add(inside))), "{place:?}, {len}: froze {inside}");
                }
                let before = [at.wrapping_sub(1), frozen_at.wrapping_sub(1)];
                let behind = [at.wrapping_add(len), frozen_at.wrapping_add(len)];
                let whole_pages = len % on_page == 0;
                for (outside, touches) in [
                    (before, whole_pages || matches!(place, Place::Front)),
                    (behind, whole_pages || matches!(place, Place::Back)),
                ] {
                    for at in outside.into_iter().filter(|_| touches) {
                        assert!(kills(|| read(at)), "{place:?}, {len}: a value outside was read");
                        assert!(kills(|| write(at)), "{place:?}, {len}: a value outside was written");
                    }
                }
            }
        }
        for place in PLACES {
            let empty = Guarded::<T>::new(0, place);
            assert!(kills(|| read(empty.values_at)) && kills(|| read(empty.values_at.wrapping_sub(1))));
        }
    }

    /// The tests above can fail: whoever touches a protected page is killed.
    #[test]
    fn protected_pages_kill() {
        guards_work::<f32>();
        guards_work::<f64>();
    }

    /// They can fail in the other way, too.
    #[test]
    fn writes_beside_values_are_seen() {
        for place in PLACES {
            let mut y = Guarded::<f32>::new(5, place);
            y.values_mut().fill(3.0);
            assert!(y.slack_is_untouched());
            let (start, end) = (y.values.start - page(), y.values.end - page());
            let beside = if matches!(place, Place::Front) { end } else { start - 1 };
            y.body_mut()[beside] = 0;
            assert!(!y.slack_is_untouched());
        }
    }
}
