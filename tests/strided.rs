//! Batches with gaps between outer blocks: every operation gives the bits of the batch without gaps, by every path. The
//! gaps of inputs hold NaN, which must not be read; those of outputs hold a number that must stay.

mod common;

use batchnorm::{
    Accumulator, Activation, Batch, BatchMut, BatchNorm, Element, Error, Ewm, Forgetting, GradOutput, GradOutputMut,
    Layout, Path, Precision, Standardize, Welford,
};
use common::nasty::{self, KINDS, Kind, batch};
use common::{assert_same_bits, by_every_path};
use proptest::prelude::*;

/// What the gaps of outputs hold.
const KEPT: f64 = 1234.5;

/// Values with a gap after each outer block.
#[derive(Clone)]
struct Padded<T> {
    values: Vec<T>,
    layout: Layout,
}

impl<T: Element> Padded<T> {
    /// With `gap` values of `filling` in each gap. No gap follows the last block.
    fn new(values: &[T], layout: Layout, gap: usize, filling: f64) -> Self {
        let block = layout.features() * layout.inner();
        let layout = layout.with_outer_stride(block + gap);
        let gap = || std::iter::repeat_n(T::from_f64(filling), gap);
        let mut padded: Vec<T> =
            values.chunks(block.max(1)).flat_map(|block| block.iter().copied().chain(gap())).collect();
        padded.truncate(layout.checked_span().expect("small"));
        Padded { values: padded, layout }
    }

    fn batch(&self) -> Batch<'_, T> {
        Batch::new(&self.values, self.layout).expect("it fits")
    }

    fn batch_mut(&mut self) -> BatchMut<'_, T> {
        BatchMut::new(&mut self.values, self.layout).expect("it fits")
    }

    /// Returns the values between the gaps, which must hold [`KEPT`].
    fn unpadded(self) -> Vec<T> {
        let block = self.layout.features() * self.layout.inner();
        let mut values = Vec::new();
        for padded in self.values.chunks(self.layout.outer_stride().max(1)) {
            let (block, gap) = padded.split_at(block);
            assert!(gap.iter().all(|x| x.to_f64() == KEPT), "{}: a gap was written to", self.layout);
            values.extend_from_slice(block);
        }
        values
    }
}

/// Gaps after the blocks of `x`, of the second input, of a third and of outputs.
type Gaps = [usize; 4];

/// Calls every operation. Returns all outputs, and all statistics.
fn outputs<T: Element>(path: Path, x: &[T], other: &[T], layout: Layout, gaps: Gaps) -> (Vec<Vec<T>>, Vec<f64>) {
    let mut all = (Vec::new(), Vec::new());
    let [x, other, third] =
        [(x, gaps[0]), (other, gaps[1]), (x, gaps[2])].map(|(x, gap)| Padded::new(x, layout, gap, f64::NAN));
    let y = |from: &Padded<T>| Padded::new(&from.without_gaps(), layout, gaps[3], KEPT);
    for precision in [Precision::Single, Precision::Double] {
        let features = layout.features();
        let numbers = |from: f64| (0..features).map(|i| from + 0.37 * i as f64).collect::<Vec<_>>();
        let mut bn = BatchNorm::new(features).with_path(path).with_precision(precision);
        bn.set_weight(&numbers(-1.5)).expect("weights");
        bn.set_bias(&numbers(0.25)).expect("biases");
        forward(&mut bn, &x, &other, &y, &mut all.0);
        backward(bn, [&x, &other, &third], &y, &mut all);
        let mut bn = BatchNorm::new(features).with_path(path).with_precision(precision);
        // Scales that f32 cannot hold, and for some that f64 cannot: the fallbacks compute these features.
        bn.set_running_mean(&numbers(0.1)).expect("means");
        let variances: Vec<f64> = (0..features).map(|i| [1.0, 1e-90, 0.0][i % 3]).collect();
        bn.set_running_var(&variances).expect("variances");
        bn = bn.with_eps([0.0, 1e-5][features % 2]).expect("eps");
        forward(&mut bn.with_activation(Activation::Relu), &x, &other, &y, &mut all.0);
    }
    let moments = path.moments(x.batch());
    all.1.extend_from_slice(moments.means());
    all.1.extend((0..layout.features()).map(|i| moments.variance(i, 0.0)));
    streams(path, &x, &y, &mut all);
    all
}

impl<T: Element> Padded<T> {
    fn without_gaps(&self) -> Vec<T> {
        let block = self.layout.features() * self.layout.inner();
        self.values.chunks(self.layout.outer_stride().max(1)).flat_map(|padded| padded[..block].to_vec()).collect()
    }
}

/// Training and evaluation, with and without a residual, out of place and in place.
fn forward<T: Element>(
    bn: &mut BatchNorm,
    x: &Padded<T>,
    residual: &Padded<T>,
    y: &impl Fn(&Padded<T>) -> Padded<T>,
    all: &mut Vec<Vec<T>>,
) {
    let mut run = |f: &mut dyn FnMut(BatchMut<'_, T>)| {
        let mut y = y(x);
        f(y.batch_mut());
        all.push(y.unpadded());
    };
    if x.layout.count() >= 2 {
        run(&mut |y| bn.forward_train(x.batch(), y).expect("trains"));
        run(&mut |y| bn.forward_train_in_place(y).expect("trains"));
        run(&mut |y| bn.forward_train_add(x.batch(), residual.batch(), y).expect("trains"));
        run(&mut |y| bn.forward_train_add_in_place(y, residual.batch()).expect("trains"));
    }
    run(&mut |y| bn.forward_eval(x.batch(), y).expect("evaluates"));
    run(&mut |y| bn.forward_eval_in_place(y).expect("evaluates"));
    run(&mut |y| bn.forward_eval_add(x.batch(), residual.batch(), y).expect("evaluates"));
    run(&mut |y| bn.forward_eval_add_in_place(y, residual.batch()).expect("evaluates"));
}

/// Gradients of training and of evaluation, with and without a ReLU.
fn backward<T: Element>(
    bn: BatchNorm,
    [x, dy, of_relu]: [&Padded<T>; 3],
    dx: &impl Fn(&Padded<T>) -> Padded<T>,
    (all, numbers): &mut (Vec<Vec<T>>, Vec<f64>),
) {
    for relu in [false, true] {
        let bn = bn.clone().with_activation(if relu { Activation::Relu } else { Activation::None });
        let through = || match relu {
            true => GradOutput::through_relu(dy.batch(), of_relu.batch()).expect("one shape"),
            false => dy.batch().into(),
        };
        let moments = bn.measure(x.batch()).expect("measures");
        let mut gradients = Vec::new();
        let mut to = dx(dy);
        gradients.push(bn.backward_train(&moments, x.batch(), through(), to.batch_mut()).expect("gradients"));
        all.push(to.unpadded());
        let mut to = dx(dy);
        gradients.push(bn.backward_eval(x.batch(), through(), to.batch_mut()).expect("gradients"));
        all.push(to.unpadded());
        let mut to = dx(dy);
        let in_place = match relu {
            true => GradOutputMut::through_relu(to.batch_mut(), of_relu.batch()).expect("one shape"),
            false => to.batch_mut().into(),
        };
        gradients.push(bn.backward_train_in_place(&moments, x.batch(), in_place).expect("gradients"));
        all.push(to.unpadded());
        numbers.extend(gradients.iter().flat_map(|of| [of.weight(), of.bias()].concat()));
    }
}

/// Rows that arrive in pieces, or one by one.
fn streams<T: Element>(
    path: Path,
    x: &Padded<T>,
    y: &impl Fn(&Padded<T>) -> Padded<T>,
    (all, numbers): &mut (Vec<Vec<T>>, Vec<f64>),
) {
    let layout = x.layout;
    let mut rows = Accumulator::new(layout.features(), layout.inner()).expect("a shape").with_path(path);
    let piece = layout.outer().div_ceil(3).max(1);
    for first in (0..layout.outer()).step_by(piece) {
        let outer = piece.min(layout.outer() - first);
        let part = Layout::new(outer, layout.features(), layout.inner()).with_outer_stride(layout.outer_stride());
        let values = x.values.get(first * layout.outer_stride()..).unwrap_or_default();
        let values = if part == Layout::new(outer, layout.features(), layout.inner()) {
            &values[..part.checked_span().expect("small")]
        } else {
            values
        };
        rows.update(Batch::new(values, part).expect("a part")).expect("same shape");
    }
    numbers.extend_from_slice(rows.moments().means());
    if layout.inner() != 1 {
        return;
    }
    let mut welford = Welford::new(layout.features()).with_path(path);
    welford.push_rows(x.batch()).expect("same features");
    let mut ewm = Ewm::new(layout.features(), Forgetting::from_alpha(0.25).expect("a share")).with_path(path);
    ewm.push_rows(x.batch()).expect("same features");
    numbers.extend((0..layout.features()).flat_map(|i| [welford.mean(i), welford.variance(i, 0.0), ewm.mean(i)]));
    let mut to = y(x);
    welford.normalize_rows_into(x.batch(), to.batch_mut(), &Standardize::default()).expect("same shape");
    all.push(to.unpadded());
}

fn check<T: Element>(kinds: [Kind; 2], seed: u64, layout: Layout, gaps: Gaps) {
    let (x, other) = (batch::<T>(kinds[0], seed, layout), batch::<T>(kinds[1], seed ^ 0x5555, layout));
    let expected = outputs(Path::Scalar, &x, &other, layout, [0; 4]);
    let name = format!("{kinds:?}, seed {seed}, {layout}, gaps {gaps:?}, {}", std::any::type_name::<T>());
    let compare = |path: &str, given: (Vec<Vec<T>>, Vec<f64>)| {
        assert_same_bits(&format!("{name}, {path}: statistics"), &expected.1, &given.1);
        assert_eq!(expected.0.len(), given.0.len(), "{name}, {path}");
        for (i, (expected, given)) in expected.0.iter().zip(&given.0).enumerate() {
            assert_same_bits(&format!("{name}, {path}: output {i}"), expected, given);
        }
    };
    compare("scalar", outputs(Path::Scalar, &x, &other, layout, gaps));
    for (path, given) in by_every_path(|path| outputs(path, &x, &other, layout, gaps)) {
        compare(&path, given);
    }
}

fn layouts() -> impl Strategy<Value = Layout> {
    let edges = || proptest::sample::select(nasty::edges().filter(|len| *len < 10_000).collect::<Vec<_>>());
    prop_oneof![
        (edges(), 1..3usize).prop_map(|(n, c)| Layout::nc(n, c)),
        (0..300usize, 1..80usize).prop_map(|(n, c)| Layout::nc(n, c)),
        (0..12usize, 60..1100usize).prop_map(|(n, c)| Layout::nc(n, c)),
        (0..12usize, 1..20usize, 1..40usize).prop_map(|(n, c, l)| Layout::ncl(n, c, l)),
        (0..4usize, 1..4usize, 30..70usize, 30..70usize).prop_map(|(n, c, h, w)| Layout::nchw(n, c, h, w)),
    ]
}

fn gaps() -> impl Strategy<Value = Gaps> {
    proptest::array::uniform4(prop_oneof![Just(0usize), 1..4usize, 1..200usize])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn gaps_change_no_bit_of_f32(
        x in proptest::sample::select(&KINDS[..]), other in proptest::sample::select(&KINDS[..]),
        seed: u64, layout in layouts(), gaps in gaps(),
    ) {
        check::<f32>([x, other], seed, layout, gaps);
    }

    #[test]
    fn gaps_change_no_bit_of_f64(
        x in proptest::sample::select(&KINDS[..]), other in proptest::sample::select(&KINDS[..]),
        seed: u64, layout in layouts(), gaps in gaps(),
    ) {
        check::<f64>([x, other], seed, layout, gaps);
    }
}

/// Batches that are larger than the caches, and larger than what one thread computes.
#[test]
fn large_batches_agree() {
    for layout in [Layout::nc(3000, 300), Layout::nchw(20, 5, 60, 50)] {
        check::<f32>([Kind::Offset(1e4), Kind::Normal], 3, layout, [7, 0, 100, 33]);
    }
}

#[test]
fn a_column_range_of_a_table() {
    // Columns 1 and 2 of four: the slice starts at the first value and may end after the last.
    let table: Vec<f64> = (0..40).map(f64::from).collect();
    let layout = Layout::nc(10, 2).with_outer_stride(4);
    for end in [39, 40] {
        let m = batchnorm::moments(Batch::new(&table[1..end], layout).expect("it fits"));
        assert_eq!(m.means(), [19.0, 20.0]);
        assert_eq!(m.variance(0, 0.0), 132.0);
    }
    let short = Batch::new(&table[1..38], layout).expect_err("a value is missing");
    assert!(matches!(short, Error::Length { needed: 38, given: 37, .. }), "{short:?}");
    assert_eq!(
        short.to_string(),
        "the layout [outer 10, features 2, inner 1, outer stride 4] spans 38 values, but the slice has 37"
    );
}

#[test]
fn strides_that_do_not_fit_are_refused() {
    let overlapping = Batch::new(&[0.0f32; 30], Layout::nc(6, 5).with_outer_stride(4)).expect_err("overlaps");
    assert!(matches!(overlapping, Error::Stride { .. }), "{overlapping:?}");
    assert_eq!(
        overlapping.to_string(),
        "the outer stride of the layout [outer 6, features 5, inner 1, outer stride 4] is less than the 5 values of an \
         outer block"
    );
    for outer_stride in [0, 4] {
        assert!(BatchMut::new(&mut [0.0f32; 30], Layout::nc(1, 5).with_outer_stride(outer_stride)).is_err());
    }
    for (outer, outer_stride) in [(3, usize::MAX), (usize::MAX, 5), (3, usize::MAX / 2), (usize::MAX, usize::MAX)] {
        let large = Batch::new(&[0.0f32; 30], Layout::nc(outer, 4).with_outer_stride(outer_stride));
        assert!(matches!(large, Err(Error::Overflow { .. })), "{large:?}");
    }
    // Without values any stride will do.
    assert!(Batch::<f32>::new(&[], Layout::nc(0, 5).with_outer_stride(usize::MAX)).is_ok());
    // The stride of rows without gaps is none.
    assert_eq!(Layout::nc(6, 5).with_outer_stride(5), Layout::nc(6, 5));
    assert_eq!(Layout::nc(6, 5).with_outer_stride(9).with_outer_stride(5), Layout::nc(6, 5));
    assert_ne!(Layout::nc(6, 5).with_outer_stride(9), Layout::nc(6, 5));
}
