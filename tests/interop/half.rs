//! f16 and bf16 batches: every result is that of an f32 batch of the same values, rounded once, on every path.

use batchnorm::{
    Accumulator, Activation, Batch, BatchMut, BatchNorm, Element, Ewm, Forgetting, GradOutput, Inference, Isa, Layout,
    Path, Precision, Standardize, Welford, moments,
};
use half::{bf16, f16};

trait Half: Element {
    fn from_bits(bits: u16) -> Self;
    fn to_bits(self) -> u16;
    fn round(x: f32) -> Self;
    fn widen(self) -> f32;
}

macro_rules! half {
    ($type:ident) => {
        impl Half for $type {
            fn from_bits(bits: u16) -> Self {
                $type::from_bits(bits)
            }
            fn to_bits(self) -> u16 {
                $type::to_bits(self)
            }
            fn round(x: f32) -> Self {
                $type::from_f32(x)
            }
            fn widen(self) -> f32 {
                $type::to_f32(self)
            }
        }
    };
}

half!(f16);
half!(bf16);

fn paths() -> Vec<Path> {
    let of = |isa| [Path::Simd(isa), Path::Parallel(isa)];
    [Path::Scalar, Path::Auto].into_iter().chain(Isa::available().flat_map(of)).collect()
}

/// All bit patterns, in an order that mixes them.
fn patterns<T: Half>() -> Vec<T> {
    (0..1u32 << 16).map(|at| T::from_bits(at.wrapping_mul(40_503) as u16)).collect()
}

/// Values about a mean.
fn values<T: Half>(len: usize, seed: usize, mean: f32, spread: f32) -> Vec<T> {
    let of = |at: usize| ((at * 7919 + seed * 104_729 + 13) % 1009) as f32 / 504.0 - 1.0;
    (0..len).map(|at| T::round(of(at) * spread + mean)).collect()
}

fn widened<T: Half>(values: &[T]) -> Vec<f32> {
    values.iter().map(|x| x.widen()).collect()
}

/// Asserts equal bits, all NaNs being equal.
fn assert_rounded<T: Half>(name: &str, y: &[T], expected: &[f32]) {
    assert_eq!(y.len(), expected.len(), "{name}");
    for (at, (y, wide)) in y.iter().zip(expected).enumerate() {
        let rounded = T::round(*wide);
        let same = y.to_bits() == rounded.to_bits() || y.widen().is_nan() && wide.is_nan();
        assert!(same, "{name}, value {at}: {y:?}, and {wide} in f32");
    }
}

const LAYOUTS: [Layout; 14] = [
    Layout::nc(1, 1),
    Layout::nc(2, 3),
    Layout::nc(77, 5),
    Layout::nc(1500, 17),
    Layout::nc(700, 130),
    Layout::nc(3, 1000),
    Layout::ncl(5, 3, 2),
    Layout::nchw(2, 40, 3, 3),
    Layout::nchw(4, 3, 7, 7),
    Layout::nchw(2, 5, 14, 15),
    Layout::nchw(3, 64, 28, 28),
    Layout::new(1, 6, 70_001),
    Layout::nc(4, 0),
    Layout::nc(0, 4),
];

fn x<T>(data: &[T], layout: Layout) -> Batch<'_, T>
where
    T: Element,
{
    Batch::new(data, layout).expect("a batch")
}

fn y<T: Element>(data: &mut [T], layout: Layout) -> BatchMut<'_, T> {
    BatchMut::new(data, layout).expect("a batch")
}

/// Calls with batches that are hard in some way.
fn for_each_batch<T: Half>(mut test: impl FnMut(&str, Layout, Vec<T>)) {
    for layout in LAYOUTS {
        let len = layout.checked_len().expect("small");
        for (name, mean, spread) in
            [("plain", 0.0, 3.0), ("offset", 200.0, 2.0), ("constant", 0.1, 0.0), ("tiny", 0.0, 1e-7)]
        {
            test(&format!("{name} {layout}"), layout, values(len, 1, mean, spread));
        }
        // Infinities and NaN in some features, and values of all sizes.
        let all = patterns::<T>();
        test(&format!("patterns {layout}"), layout, (0..len).map(|at| all[at % all.len()]).collect());
    }
}

fn layer(features: usize) -> BatchNorm {
    let of = |from: f64| (0..features).map(|at| from + (at % 11) as f64 / 8.0).collect::<Vec<_>>();
    let mut bn = BatchNorm::new(features);
    bn.set_weight(&of(-0.5)).expect("weights");
    bn.set_bias(&of(0.25)).expect("biases");
    bn.set_running_mean(&of(1.0)).expect("means");
    // Some of these make parameters that f32 or f64 cannot hold.
    let variance = |at: usize| if at % 5 == 4 { [1e-90, 1e300][at / 5 % 2] } else { 1.0 + at as f64 };
    bn.set_running_var(&(0..features).map(variance).collect::<Vec<_>>()).expect("variances");
    bn.with_eps(0.0).expect("an eps")
}

fn every_pattern<T: Half>() {
    let all = patterns::<T>();
    // The bias of 0 makes a 0 positive.
    let wide: Vec<f32> = widened(&all).into_iter().map(|x| x + 0.0).collect();
    for path in paths() {
        for layout in
            [Layout::nc(65_536, 1), Layout::nc(256, 256), Layout::new(1, 1, 65_536), Layout::nchw(16, 16, 16, 16)]
        {
            let name = format!("{path:?}, {layout}");
            let norm = BatchNorm::new(layout.features()).with_eps(0.0).expect("0").to_inference().with_path(path);
            for precision in [Precision::Single, Precision::Double] {
                let mut out = all.clone();
                norm.clone().with_precision(precision).forward_in_place(y(&mut out, layout)).expect("runs");
                assert_rounded(&name, &out, &wide);
                let mut out = vec![T::round(0.0); all.len()];
                norm.clone().with_precision(precision).forward(x(&all, layout), y(&mut out, layout)).expect("runs");
                assert_rounded(&name, &out, &wide);
            }
        }
        let m = path.moments(x(&all, Layout::nc(1, 65_536)));
        for (mean, value) in m.means().iter().zip(&wide) {
            assert!(
                *mean == f64::from(*value) || !value.is_finite() && !(mean.is_finite()),
                "{path:?}: {mean} and {value}"
            );
        }
    }
}

#[test]
fn every_pattern_is_kept() {
    every_pattern::<f16>();
    every_pattern::<bf16>();
}

/// f32 outputs that need rounding, ties among them.
fn rounding<T: Half>() {
    let len = 100_000;
    let data: Vec<T> = values(len, 3, 0.0, 30.0);
    let layout = Layout::nc(len / 10, 10);
    for path in paths() {
        let mut bn = BatchNorm::new(10).with_eps(0.0).expect("0");
        let weights = [1.0, 0.5, 1.0 / 3.0, 1e-4, 1e-8, 1e-39, 1e4, 1e38, 0.1, 1.000_976_562_5];
        bn.set_weight(&weights).expect("weights");
        let norm = bn.to_inference().with_path(path);
        let (mut out, mut expected) = (data.clone(), widened(&data));
        norm.forward_in_place(y(&mut out, layout)).expect("runs");
        norm.forward_in_place(y(&mut expected, layout)).expect("runs");
        assert_rounded(&format!("{path:?}"), &out, &expected);
    }
}

#[test]
fn outputs_are_rounded_once() {
    rounding::<f16>();
    rounding::<bf16>();
}

fn statistics<T: Half>() {
    for_each_batch::<T>(|name, layout, data| {
        let wide = widened(&data);
        let expected = moments(x(&wide, layout));
        for path in paths() {
            let m = path.moments(x(&data, layout));
            assert_eq!(format!("{:?}", m.parts()), format!("{:?}", expected.parts()), "{name}, {path:?}");
            let mut rows = Accumulator::new(layout.features(), layout.inner()).expect("a shape").with_path(path);
            let row = layout.features() * layout.inner();
            for piece in data.chunks((row * 3).max(1)) {
                rows.update(x(piece, Layout::new(piece.len() / row, layout.features(), layout.inner()))).expect("fits");
            }
            if row > 0 {
                assert_eq!(
                    format!("{:?}", rows.moments().parts()),
                    format!("{:?}", expected.parts()),
                    "{name}, {path:?}"
                );
            }
        }
        let features = layout.features();
        let (mut out, mut exact) = (vec![T::round(0.0); features], vec![0f32; features]);
        expected.variances_into(0.0, &mut out).expect("one each");
        expected.variances_into(0.0, &mut exact).expect("one each");
        assert_rounded(name, &out, &exact);
        expected.means_into(&mut out).expect("one each");
        expected.means_into(&mut exact).expect("one each");
        assert_rounded(name, &out, &exact);
    });
}

#[test]
fn moments_are_those_of_f32() {
    statistics::<f16>();
    statistics::<bf16>();
}

#[test]
fn sums_do_not_overflow() {
    let data = vec![f16::MAX; 100_000];
    let m = moments(x(&data, Layout::nc(100_000, 1)));
    assert_eq!((m.mean(0), m.variance(0, 0.0)), (65_504.0, 0.0));
}

/// One inference call: with the input, the residual and the output.
type Forward<T> = fn(&Inference, Batch<'_, T>, Batch<'_, T>, BatchMut<'_, T>) -> batchnorm::Result<()>;

fn forwards<T: Element>() -> [Forward<T>; 4] {
    [
        |norm, x, _, y| norm.forward(x, y),
        |norm, x, _, mut y| {
            y.data_mut().copy_from_slice(x.data());
            norm.forward_in_place(y)
        },
        |norm, x, residual, y| norm.forward_add(x, residual, y),
        |norm, x, residual, mut y| {
            y.data_mut().copy_from_slice(x.data());
            norm.forward_add_in_place(y, residual)
        },
    ]
}

fn inference<T: Half>() {
    for_each_batch::<T>(|name, layout, data| {
        let (wide, residual) = (widened(&data), values::<T>(data.len(), 9, 0.5, 1.0));
        let wide_residual = widened(&residual);
        for path in paths() {
            for (precision, activation) in [Precision::Single, Precision::Double]
                .into_iter()
                .flat_map(|precision| [(precision, Activation::None), (precision, Activation::Relu)])
            {
                let norm = layer(layout.features())
                    .to_inference()
                    .with_path(path)
                    .with_precision(precision)
                    .with_activation(activation);
                for (call, (half, single)) in forwards::<T>().into_iter().zip(forwards::<f32>()).enumerate() {
                    let (mut out, mut expected) = (vec![T::round(7.0); data.len()], vec![7f32; data.len()]);
                    half(&norm, x(&data, layout), x(&residual, layout), y(&mut out, layout)).expect("runs");
                    single(&norm, x(&wide, layout), x(&wide_residual, layout), y(&mut expected, layout)).expect("runs");
                    assert_rounded(
                        &format!("{name}, {path:?}, {precision:?}, {activation:?}, {call}"),
                        &out,
                        &expected,
                    );
                }
            }
        }
    });
}

#[test]
fn inference_is_that_of_f32() {
    inference::<f16>();
    inference::<bf16>();
}

fn training<T: Half>() {
    for_each_batch::<T>(|name, layout, data| {
        if layout.count() < 2 || layout.features() == 0 {
            return;
        }
        let dy = values::<T>(data.len(), 5, 0.1, 1.0);
        let (wide, wide_dy) = (widened(&data), widened(&dy));
        for path in paths() {
            for precision in [Precision::Single, Precision::Double] {
                let name = format!("{name}, {path:?}, {precision:?}");
                let bn = layer(layout.features()).with_path(path).with_precision(precision);
                let mut relu = bn.clone().with_activation(Activation::Relu);
                let (mut half, mut single) = (bn.clone(), bn);
                let (mut out, mut expected) = (data.clone(), wide.clone());
                half.forward_train(x(&data, layout), y(&mut out, layout)).expect("trains");
                single.forward_train(x(&wide, layout), y(&mut expected, layout)).expect("trains");
                assert_rounded(&name, &out, &expected);
                let text = |bn: &BatchNorm| format!("{:?} {:?}", bn.running_mean(), bn.running_var());
                assert_eq!(text(&half), text(&single), "{name}");

                let m = half.batch_moments().clone();
                let (mut dx, mut wide_dx) = (data.clone(), wide.clone());
                let gradients =
                    half.backward_train(&m, x(&data, layout), x(&dy, layout), y(&mut dx, layout)).expect("runs");
                let exact = single
                    .backward_train(&m, x(&wide, layout), x(&wide_dy, layout), y(&mut wide_dx, layout))
                    .expect("runs");
                assert_rounded(&format!("{name}, dx"), &dx, &wide_dx);
                assert_eq!(format!("{gradients:?}"), format!("{exact:?}"), "{name}");
                half.backward_eval(x(&data, layout), x(&dy, layout), y(&mut dx, layout)).expect("runs");
                single.backward_eval(x(&wide, layout), x(&wide_dy, layout), y(&mut wide_dx, layout)).expect("runs");
                assert_rounded(&format!("{name}, dx of evaluation"), &dx, &wide_dx);

                relu.forward_train_add(x(&data, layout), x(&dy, layout), y(&mut out, layout)).expect("trains");
                let wide_out = widened(&out);
                let passed = GradOutput::through_relu(x(&dy, layout), x(&out, layout)).expect("same layouts");
                relu.backward_train(&m, x(&data, layout), passed, y(&mut dx, layout)).expect("runs");
                let passed = GradOutput::through_relu(x(&wide_dy, layout), x(&wide_out, layout)).expect("same layouts");
                relu.backward_train(&m, x(&wide, layout), passed, y(&mut wide_dx, layout)).expect("runs");
                assert_rounded(&format!("{name}, dx through a ReLU"), &dx, &wide_dx);
            }
        }
    });
}

#[test]
fn training_is_that_of_f32() {
    training::<f16>();
    training::<bf16>();
}

fn streams<T: Half>() {
    for features in [1, 3, 33, 700] {
        let layout = Layout::nc(40, features);
        let data = values::<T>(40 * features, 2, 10.0, 4.0);
        let wide = widened(&data);
        for path in paths() {
            let options = Standardize::new().with_clip(1.5).expect("a clip");
            let forgetting = Forgetting::from_half_life(7.0).expect("a half-life");
            let (mut half, mut single) =
                (Welford::new(features).with_path(path), Welford::new(features).with_path(path));
            let mut ewms =
                [Ewm::new(features, forgetting).with_path(path), Ewm::new(features, forgetting).with_path(path)];
            half.push_rows(x(&data, layout)).expect("fits");
            single.push_rows(x(&wide, layout)).expect("fits");
            ewms[0].push(&data[..features]).expect("fits");
            ewms[1].push(&wide[..features]).expect("fits");
            assert_eq!(half.moments(), single.moments());
            assert_eq!(ewms[0].mean(0), ewms[1].mean(0));
            let (mut out, mut expected) = (data.clone(), wide.clone());
            half.normalize_rows_into(x(&data, layout), y(&mut out, layout), &options).expect("fits");
            half.normalize_rows_into(x(&wide, layout), y(&mut expected, layout), &options).expect("fits");
            assert_rounded(&format!("{features} features, {path:?}"), &out, &expected);
        }
    }
}

#[test]
fn streams_are_those_of_f32() {
    streams::<f16>();
    streams::<bf16>();
}

/// Large enough for non-temporal stores.
#[test]
fn large_batches() {
    fn check<T: Half>() {
        for layout in [Layout::nchw(16, 64, 90, 91), Layout::nc(60_000, 141)] {
            let data = values::<T>(layout.checked_len().expect("small"), 1, 3.0, 5.0);
            let norm = layer(layout.features()).to_inference();
            let (mut out, mut expected) = (vec![T::round(0.0); data.len()], widened(&data));
            norm.forward(x(&data, layout), y(&mut out, layout)).expect("runs");
            norm.forward_in_place(y(&mut expected, layout)).expect("runs");
            assert_rounded(&layout.to_string(), &out, &expected);
        }
    }
    check::<f16>();
    check::<bf16>();
}

/// Half in, f32 out: the bits of an f32 batch of the same values, on every path.
fn check_to_f32<T: Half + batchnorm::HalfElement>() {
    for layout in LAYOUTS {
        let (x, features) = (values::<T>(layout.checked_len().expect("small"), 5, 3.0, 2.0), layout.features());
        for (variance, precision) in
            [(2.0, Precision::Single), (2.0, Precision::Double), (1e-90, Precision::Single), (0.0, Precision::Double)]
        {
            // (The smaller variances need the fallbacks: f32, then f64, cannot hold the scale.)
            let mut bn = BatchNorm::new(features).with_precision(precision).with_eps(0.0).expect("eps");
            bn.set_running_mean(&vec![2.9; features]).expect("means");
            bn.set_running_var(&(0..features).map(|i| if i % 2 == 0 { variance } else { 1.5 }).collect::<Vec<_>>())
                .expect("variances");
            let norm = bn.to_inference().with_activation(Activation::Relu);
            let mut expected = widened(&x);
            norm.forward_in_place(BatchMut::new(&mut expected, layout).expect("y")).expect("runs");
            for path in paths() {
                let norm = norm.clone().with_path(path);
                let mut y = vec![0.0; x.len()];
                norm.forward_to_f32(Batch::new(&x, layout).expect("x"), BatchMut::new(&mut y, layout).expect("y"))
                    .expect("runs");
                assert!(same_bits(&y, &expected), "{layout}, {path:?}, {variance}, {precision:?}");

                // With a gap after each outer block.
                let gaps = layout.with_outer_stride(features * layout.inner() + 3);
                let mut y = vec![7.5; gaps.checked_span().expect("small")];
                norm.forward_to_f32(Batch::new(&x, layout).expect("x"), BatchMut::new(&mut y, gaps).expect("y"))
                    .expect("runs");
                for (y, expected) in
                    y.chunks(gaps.outer_stride()).zip(expected.chunks((features * layout.inner()).max(1)))
                {
                    let (y, gap) = y.split_at(expected.len());
                    assert!(same_bits(y, expected) && gap.iter().all(|x| *x == 7.5), "{layout}, {path:?}, gaps");
                }
            }
        }
    }
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
}

#[test]
fn f16_to_f32() {
    check_to_f32::<f16>();
}

#[test]
fn bf16_to_f32() {
    check_to_f32::<bf16>();
}

#[test]
fn half_to_f32_errors() {
    let norm = BatchNorm::new(3).to_inference();
    let (x, mut y) = ([f16::ONE; 6], [7.5f32; 6]);
    for layout in [Layout::nc(3, 2), Layout::nc(1, 3)] {
        let x = Batch::new(&x[..layout.checked_len().expect("small")], layout).expect("x");
        assert!(norm.forward_to_f32(x, BatchMut::new(&mut y, Layout::nc(2, 3)).expect("y")).is_err());
    }
    assert_eq!(y, [7.5; 6]);
}
