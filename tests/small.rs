//! Every operation on small batches: quick enough for Miri, which detects undefined behaviour in the code that it runs
//! (`cargo +nightly miri test --test small`). Other tests check the numbers; here, paths only have to agree.

use batchnorm::{
    Accumulator, Activation, Batch, BatchMut, BatchNorm, Element, Ewm, Forgetting, GradOutput, GradOutputMut,
    GradientSums, Isa, Layout, Moments, Path, Precision, Standardize, Welford, Workspace, moments,
};

/// One layout for each traversal of the kernels: rows, interleaved rows, tails, planes, cut rows, empty batches, and
/// few values per feature.
const LAYOUTS: [Layout; 15] = [
    Layout::nc(0, 3),
    Layout::nc(1, 1),
    Layout::nc(6, 5),
    Layout::nc(9, 65),
    Layout::nc(70, 2),
    Layout::ncl(3, 2, 5),
    Layout::ncl(2, 15, 9),
    Layout::ncl(2, 3, 32),
    Layout::nchw(2, 2, 7, 7),
    Layout::ncl(1, 2, 131),
    Layout::ncl(1, 6, 9),
    Layout::ncl(2, 5, 25),
    Layout::ncl(8, 6, 4),
    Layout::ncl(2, 5, 31),
    Layout::new(2, 0, 4),
];

/// Returns values whose sums are not exact, some of them large.
fn values<T: Element>(layout: Layout) -> Vec<T> {
    let len = layout.checked_len().expect("small");
    (0..len).map(|i| T::from_f64(1e3 + ((i * 7919) % 1009) as f64 / 7.0)).collect()
}

/// Returns the SIMD paths. (Under Miri there is only the portable one.)
fn paths() -> impl Iterator<Item = Path> {
    Isa::available().map(Path::Simd)
}

/// Returns the results of every operation, as bits.
fn results<T: Element>(path: Path, data: &[T], layout: Layout) -> (Moments, Vec<u64>) {
    let (x, features) = (Batch::new(data, layout).expect("x"), layout.features());
    let mut m = Moments::default();
    path.moments_into(x, &mut m, &mut Workspace::default());
    let mut bits = Vec::new();
    let mut collect = |values: &[T]| {
        bits.extend(values.iter().map(|x| x.to_f64()).map(|x| if x.is_nan() { u64::MAX } else { x.to_bits() }))
    };
    let both = [Precision::Single, Precision::Double];
    for precision in both.into_iter().take(if size_of::<T>() == size_of::<f32>() { 2 } else { 1 }) {
        let mut bn = BatchNorm::new(features).with_path(path).with_precision(precision);
        let mut y = data.to_vec();
        if layout.count() > 1 && features > 0 {
            bn.forward_train(x, BatchMut::new(&mut y, layout).expect("y")).expect("trains");
            collect(&y);
            bn.forward_train_in_place(BatchMut::new(&mut y, layout).expect("y")).expect("trains");
            collect(&y);
        }
        bn.forward_eval(x, BatchMut::new(&mut y, layout).expect("y")).expect("runs");
        collect(&y);
        bn.to_inference().forward_in_place(BatchMut::new(&mut y, layout).expect("y")).expect("runs");
        collect(&y);
    }
    let mut results = vec![T::from_f64(0.0); features];
    m.means_into(&mut results).expect("one per feature");
    collect(&results);
    m.variances_into(0.0, &mut results).expect("one per feature");
    collect(&results);
    (m, bits)
}

fn every_path_agrees<T: Element>() {
    // Miri takes half of them for each type, and none of the largest: it is ten thousand times as slow.
    let turn = size_of::<T>() / 4 % 2;
    let for_miri = |at: usize, layout: Layout| at % 2 == turn && layout.checked_len().is_some_and(|len| len <= 270);
    for (_, layout) in LAYOUTS.into_iter().enumerate().filter(|(at, layout)| !cfg!(miri) || for_miri(*at, *layout)) {
        let data = values::<T>(layout);
        let expected = results(Path::Scalar, &data, layout);
        for path in paths() {
            let given = results(path, &data, layout);
            assert!(given == expected, "{layout}, {path:?}, {}", std::any::type_name::<T>());
        }
    }
}

#[test]
fn every_path_agrees_on_small_f32_batches() {
    every_path_agrees::<f32>();
}

#[test]
fn every_path_agrees_on_small_f64_batches() {
    every_path_agrees::<f64>();
}

/// Returns the results of the backward pass, of steps with a residual and a ReLU, and of a step in two halves.
fn passes<T: Element>(path: Path, data: &[T], layout: Layout) -> Vec<u64> {
    let (x, features) = (Batch::new(data, layout).expect("x"), layout.features());
    let second: Vec<T> = data.iter().rev().map(|x| T::from_f64(1e3 - x.to_f64())).collect();
    let dy = Batch::new(&second, layout).expect("dy");
    let m = path.moments(x);
    let mut bits = Vec::new();
    let mut collect = |values: &[T]| bits.extend(values.iter().map(|x| x.to_f64().to_bits()));

    let mut bn = BatchNorm::new(features).with_path(path);
    let (mut y, mut dx) = (data.to_vec(), second.clone());
    bn.forward_train_with(&m, x, BatchMut::new(&mut y, layout).expect("y")).expect("trains");
    collect(&y);
    let out = Batch::new(&y, layout).expect("y");
    let through = GradOutput::through_relu(dy, out).expect("the same layout");
    let of_training =
        bn.backward_train(&m, x, through, BatchMut::new(&mut dx, layout).expect("dx")).expect("gradients");
    collect(&dx);
    dx.copy_from_slice(&second);
    let in_place = GradOutputMut::from(BatchMut::new(&mut dx, layout).expect("dy"));
    let of_evaluation = bn.backward_eval_in_place(x, in_place).expect("gradients");
    collect(&dx);

    bn = bn.with_activation(Activation::Relu);
    let norm = bn.to_inference();
    norm.forward_add(x, dy, BatchMut::new(&mut y, layout).expect("y")).expect("evaluates");
    collect(&y);
    y.copy_from_slice(data);
    bn.forward_train_add_in_place(BatchMut::new(&mut y, layout).expect("y"), dy).expect("trains");
    collect(&y);
    for gradients in [of_training, of_evaluation] {
        bits.extend([gradients.weight(), gradients.bias()].concat().iter().map(|gradient| gradient.to_bits()));
    }
    bits
}

/// Rows, narrow rows, small planes and planes, each with a tail.
const FOR_PASSES: [Layout; 6] = [
    Layout::nc(2, 67),
    Layout::nc(6, 5),
    Layout::ncl(3, 2, 5),
    Layout::ncl(1, 2, 33),
    Layout::nc(9, 65),
    Layout::nchw(2, 2, 7, 7),
];

#[test]
fn small_gradients_and_fused_steps_agree() {
    for (at, layout) in FOR_PASSES.into_iter().enumerate() {
        // Miri takes the smaller ones, each with one type.
        if !cfg!(miri) || at < 4 && at % 2 == 0 {
            passes_agree::<f32>(layout);
        }
        if !cfg!(miri) || at < 4 && at % 2 == 1 {
            passes_agree::<f64>(layout);
        }
    }
}

fn passes_agree<T: Element>(layout: Layout) {
    let data = values::<T>(layout);
    let expected = passes(Path::Scalar, &data, layout);
    for path in paths() {
        assert!(passes(path, &data, layout) == expected, "{layout}, {path:?}, {}", std::any::type_name::<T>());
    }
}

#[test]
fn small_sums_of_gradients_can_be_merged_and_sent() {
    let layout = Layout::nc(6, 3);
    let data = values::<f64>(layout);
    let x = Batch::new(&data, layout).expect("x");
    let (bn, m) = (BatchNorm::new(3), moments(x));
    let mut sums = bn.backward_sums(&m, x, x).expect("sums");
    let sent = GradientSums::from_parts(sums.parts()).expect("their own parts");
    assert_eq!(sent, sums);
    sums.merge(&sent).expect("the same features");
    assert_eq!((sums.counts()[0], sums.sum_dy()[0]), (12, 2.0 * sent.sum_dy()[0]));
}

#[test]
fn small_layers_are_folded() {
    let norm = BatchNorm::new(4).with_eps(0.0).expect("fine").to_inference();
    let (mut weight, mut bias) = ([1.5f32; 8], [0.5f32; 4]);
    norm.fold_into_linear(&mut weight, &mut bias).expect("fits");
    norm.fold_into_conv_transpose(&mut weight, &mut bias, 4, 2).expect("fits");
    norm.fold_into_following_conv(&mut weight[..8], &mut bias, 2).expect("fits");
    assert_eq!((weight, bias), ([1.5; 8], [0.5; 4]));
}

#[test]
fn small_pieces_give_the_bits_of_one_call() {
    let wide = if cfg!(miri) { 7 } else { 70 };
    for (features, inner) in [(3, 1), (wide, 1), (2, 5), (2, 40)] {
        let (width, rows) = (features * inner, if cfg!(miri) { 7 } else { 23 });
        let data = values::<f32>(Layout::new(rows, features, inner));
        let mut pieces = Accumulator::new(features, inner).expect("a shape");
        for piece in data.chunks(5 * width) {
            let layout = Layout::new(piece.len() / width, features, inner);
            pieces.update(Batch::new(piece, layout).expect("rows")).expect("the same shape");
        }
        let whole = moments(Batch::new(&data, Layout::new(rows, features, inner)).expect("a batch"));
        assert_eq!(pieces.moments(), whole);
        let mut merged = Moments::new(features);
        for piece in data.chunks(5 * width) {
            let layout = Layout::new(piece.len() / width, features, inner);
            merged.update(Batch::new(piece, layout).expect("rows")).expect("the same features");
        }
        assert_eq!(merged.counts(), whole.counts());
        assert_eq!(Moments::from_parts(merged.parts()).expect("their own parts"), merged);
    }
}

/// NaN and infinities take the fallback.
#[test]
fn poisoned_small_batches_agree() {
    let poisons = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300];
    let layouts = [Layout::nc(11, 9), Layout::ncl(2, 13, 3), Layout::nc(8, 70)];
    for (layout, poison) in layouts.into_iter().flat_map(|layout| poisons.map(|poison| (layout, poison))) {
        let mut data = values::<f64>(layout);
        (data[4], data[40]) = (poison, poison);
        let expected = Path::Scalar.moments(Batch::new(&data, layout).expect("a batch"));
        for path in paths() {
            assert_eq!(path.moments(Batch::new(&data, layout).expect("a batch")), expected, "{path:?}, {poison}");
        }
    }
}

/// Streams by every path, with a value that is not finite, moves of the shift, and normalised rows.
#[test]
fn small_streams_agree() {
    let layout = Layout::nc(21, 11);
    let mut data = values::<f64>(layout);
    (data[40], data[100]) = (f64::NAN, 1e300);
    let forgetting = Forgetting::from_alpha(0.75).expect("in range");
    let run = |path| {
        let mut stream = Welford::new(11).with_path(path);
        let mut weighted = Ewm::new(11, forgetting).with_path(path);
        let mut out = [0.0; 11];
        stream.push_rows(Batch::new(&data[..110], Layout::nc(10, 11)).expect("rows")).expect("fits");
        for row in data[110..].chunks(11) {
            stream.push(row).expect("fits");
            weighted.push_and_normalize(row, &mut out, &Standardize::new()).expect("fits");
        }
        (stream, weighted, out.map(|y| if y.is_nan() { u64::MAX } else { y.to_bits() }))
    };
    let expected = run(Path::Scalar);
    for path in paths() {
        assert_eq!(run(path), expected, "{path:?}");
    }
}
