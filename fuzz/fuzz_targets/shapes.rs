//! Hostile sizes and options give errors, never a panic. A failed call leaves everything unchanged.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use batchnorm::{Accumulator, Batch, BatchMut, BatchNorm, Error, Layout, Path, Result, moments};
use batchnorm_fuzz::{assert_same_bits, bits};
use libfuzzer_sys::fuzz_target;

/// Most features of a layer, and of an empty batch for which results are computed. The crate allows 2^24, but their
/// results take half a gigabyte.
const MOST_FEATURES: usize = 40;

/// A dimension of a layout: small, or near overflow.
#[derive(Clone, Copy, Debug)]
struct Side(usize);

impl<'a> Arbitrary<'a> for Side {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let (kind, small) = (u8::arbitrary(u)?, usize::from(u8::arbitrary(u)?));
        Ok(Side(match kind % 8 {
            0..4 => small % 8,
            4 => small,
            5 => usize::MAX - small,
            6 => (1usize << (small % 64)).wrapping_add(usize::from(kind >> 3)).wrapping_sub(16),
            _ => usize::arbitrary(u)?,
        }))
    }
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Shape {
    New(Side, Side, Side),
    Nc(Side, Side),
    Ncl(Side, Side, Side),
    Nchw(Side, Side, Side, Side),
    Ncdhw(Side, Side, Side, Side, Side),
    Nhwc(Side, Side, Side, Side),
}

impl Shape {
    fn layout(self) -> Layout {
        match self {
            Shape::New(Side(o), Side(f), Side(i)) => Layout::new(o, f, i),
            Shape::Nc(Side(n), Side(c)) => Layout::nc(n, c),
            Shape::Ncl(Side(n), Side(c), Side(l)) => Layout::ncl(n, c, l),
            Shape::Nchw(Side(n), Side(c), Side(h), Side(w)) => Layout::nchw(n, c, h, w),
            Shape::Ncdhw(Side(n), Side(c), Side(d), Side(h), Side(w)) => Layout::ncdhw(n, c, d, h, w),
            Shape::Nhwc(Side(n), Side(h), Side(w), Side(c)) => Layout::nhwc(n, h, w, c),
        }
    }

    /// Returns `[outer, features, inner]` as documented: products that overflow saturate.
    fn expected(self) -> [usize; 3] {
        let product = |sides: &[Side]| product(sides.iter().map(|side| side.0)).unwrap_or(usize::MAX);
        match self {
            Shape::New(o, f, i) | Shape::Ncl(o, f, i) => [o.0, f.0, i.0],
            Shape::Nc(n, c) => [n.0, c.0, 1],
            Shape::Nchw(n, c, h, w) => [n.0, c.0, product(&[h, w])],
            Shape::Ncdhw(n, c, d, h, w) => [n.0, c.0, product(&[d, h, w])],
            Shape::Nhwc(n, h, w, c) => [product(&[n, h, w]), c.0, 1],
        }
    }
}

/// Returns the product, or `None` if it overflows. It is 0 if one dimension is 0, whatever the others are.
fn product(sides: impl Iterator<Item = usize> + Clone) -> Option<usize> {
    if sides.clone().any(|side| side == 0) {
        return Some(0);
    }
    sides.into_iter().try_fold(1usize, usize::checked_mul)
}

/// A number of values: that of the layout if it is small, or another one.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Len {
    Fits,
    Other(u8),
}

impl Len {
    fn of(self, layout: Layout) -> usize {
        match (self, layout.checked_len()) {
            (Len::Fits, Some(len)) if len <= 4096 => len,
            (Len::Fits, _) => 0,
            (Len::Other(len), _) => len.into(),
        }
    }
}

#[derive(Debug, Arbitrary)]
enum Call {
    Shape(Shape, Len),
    Accumulate(Side, Side, Shape, Len),
    Eps(f64),
    Momentum(f64),
    CumulativeAverage,
    WithoutAffine,
    WithoutBias,
    Weight(Vec<f32>),
    Bias(Vec<f64>),
    RunningMean(Vec<f64>),
    RunningVar(Vec<f64>),
    /// Sets all parameters with the right number of values, which random ones rarely have.
    All(f64),
    NumBatches(u64),
    Train(Shape, Len, Option<(Shape, Len)>),
    Evaluate(Shape, Len, Option<(Shape, Len)>),
}

/// Returns a batch of the shape, if it is valid and its results are small.
fn batch(data: &[f32], shape: Shape) -> Option<Batch<'_, f32>> {
    let layout = shape.layout();
    let (x, needed) = (Batch::new(data, layout), layout.checked_len());
    match x {
        Ok(x) => assert_eq!((needed, x.layout(), x.data().len()), (Some(data.len()), layout, data.len())),
        Err(Error::Overflow { layout: given, .. }) => assert_eq!((needed, given), (None, layout)),
        Err(Error::Length { needed: said, given, .. }) => {
            assert_eq!((Some(said), given), (needed, data.len()));
            assert_ne!(said, given);
        }
        Err(Error::EmptyTooWide { most, given, .. }) => {
            assert_eq!((needed, given), (Some(0), layout.features()));
            assert!(given > most);
        }
        Err(error) => panic!("{error:?} for {layout}"),
    }
    if let Err(error) = x {
        assert!(!error.to_string().is_empty());
    }
    let mut copy = data.to_vec();
    assert_eq!(BatchMut::new(&mut copy, layout).err(), x.err());
    x.ok().filter(|x| x.layout().features() <= MOST_FEATURES || !data.is_empty())
}

fn check_shape(shape: Shape, len: Len) {
    let (layout, expected) = (shape.layout(), shape.expected());
    assert_eq!([layout.outer(), layout.features(), layout.inner()], expected, "{shape:?}");
    let needed = product(expected.into_iter()).filter(|&len| isize::try_from(len).is_ok());
    assert_eq!(layout.checked_len(), needed, "{layout}");
    assert_eq!(layout.count(), expected[0].saturating_mul(expected[2]), "{layout}");
    let data = values(len.of(layout));
    if let Some(x) = batch(&data, shape) {
        let m = moments(x);
        assert_eq!(m.num_features(), layout.features());
        assert_eq!(m, Path::Scalar.moments(x));
    }
}

fn accumulate(features: Side, inner: Side, shape: Shape, len: Len) {
    let Ok(mut rows) = Accumulator::new(features.0, inner.0) else { return };
    if features.0 > MOST_FEATURES {
        return;
    }
    let data = values(len.of(shape.layout()));
    if let Some(x) = batch(&data, shape) {
        let before = rows.moments();
        match rows.update(x) {
            Ok(()) => assert_eq!(rows.moments(), moments(x)),
            Err(_) => assert_eq!(rows.moments(), before),
        }
    }
}

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| i as f32 * 0.75 - 3.0).collect()
}

/// Returns everything that a caller can see of a layer, and its outputs for a batch.
fn state(bn: &BatchNorm) -> Vec<u64> {
    let features = bn.num_features();
    let mut out = vec![0.0f64; 2 * features];
    let probe: Vec<f64> = (0..2 * features).map(|i| i as f64 - 1.5).collect();
    let layout = Layout::nc(2, features);
    bn.forward_eval(Batch::new(&probe, layout).expect("x"), BatchMut::new(&mut out, layout).expect("y"))
        .expect("evaluates");
    let presence = |x: Option<&[f64]>| x.map_or(0.0, |x| 1.0 + x.len() as f64);
    let mut state = vec![bn.eps(), bn.momentum().map_or(0.5, |_| 1.5), bn.momentum().unwrap_or(0.0)];
    state.extend([presence(bn.weight()), presence(bn.bias())]);
    for part in [bn.weight().unwrap_or(&[]), bn.bias().unwrap_or(&[]), bn.running_mean(), bn.running_var(), &out] {
        state.extend(part);
    }
    state.into_iter().map(bits).chain([bn.num_batches_tracked()]).collect()
}

/// Whether training keeps running variances from becoming negative: other momenta can leave and load negative ones.
fn averages(bn: &BatchNorm) -> bool {
    bn.momentum().is_none_or(|momentum| (0.0..=1.0).contains(&momentum))
}

/// Calls a setter, which must fail exactly if `is_due`, and must change nothing if it fails.
fn set(bn: &mut BatchNorm, is_due: bool, call: impl FnOnce(&mut BatchNorm) -> Result<()>) {
    let before = state(bn);
    let done = call(bn);
    assert_eq!(done.is_err(), is_due, "{done:?}");
    if let Err(error) = done {
        assert!(!error.to_string().is_empty());
        assert_eq!(state(bn), before, "{error}");
    }
}

/// Trains or evaluates a layer, from one batch into another or in place.
fn forward(bn: &mut BatchNorm, train: bool, x: (Shape, Len), y: Option<(Shape, Len)>) {
    let data = values(x.1.of(x.0.layout()));
    let Some(x) = batch(&data, x.0) else { return };
    let layout = x.layout();
    let mut out = y.map_or(data.clone(), |(shape, len)| values(len.of(shape.layout())));
    let out_layout = y.map_or(layout, |(shape, _)| shape.layout());
    let written = out.clone();
    let before = state(bn);
    let Ok(out_view) = BatchMut::new(&mut out, out_layout) else { return };
    let done = match (train, y) {
        (true, Some(_)) => bn.forward_train(x, out_view),
        (true, None) => bn.forward_train_in_place(out_view),
        (false, Some(_)) => bn.forward_eval(x, out_view),
        (false, None) => bn.forward_eval_in_place(out_view),
    };
    let few = train && layout.count() < 2;
    let is_due = layout.features() != bn.num_features() || out_layout != layout || few;
    // Without features there is nothing to train, so both results are right.
    if !(train && layout.features() == 0) {
        assert_eq!(done.is_err(), is_due, "{layout} to {out_layout}: {done:?}");
    }
    if let Err(error) = done {
        assert!(!error.to_string().is_empty());
        assert_same_bits("output after an error", &written, &out);
    }
    if done.is_err() || !train {
        assert_eq!(state(bn), before, "{layout} to {out_layout}: {done:?}");
    } else {
        assert!(bn.num_batches_tracked() >= 1);
    }
}

fn run(bn: &mut BatchNorm, call: Call) {
    let features = bn.num_features();
    match call {
        Call::Shape(shape, len) => check_shape(shape, len),
        Call::Accumulate(features, inner, shape, len) => accumulate(features, inner, shape, len),
        Call::Eps(eps) => match bn.clone().with_eps(eps) {
            Ok(with) => {
                assert!(eps.is_finite() && eps >= 0.0 && bits(with.eps()) == bits(eps));
                *bn = with;
            }
            Err(error) => assert!(!(eps.is_finite() && eps >= 0.0), "{error}"),
        },
        Call::Momentum(momentum) => match bn.clone().with_momentum(momentum) {
            Ok(with) => {
                assert!(momentum.is_finite() && with.momentum().map(bits) == Some(bits(momentum)));
                *bn = with;
            }
            Err(error) => assert!(!momentum.is_finite(), "{error}"),
        },
        Call::CumulativeAverage => *bn = bn.clone().with_cumulative_average(),
        Call::WithoutAffine => *bn = bn.clone().without_affine(),
        Call::WithoutBias => *bn = bn.clone().without_bias(),
        Call::Weight(values) => set(bn, values.len() != features, |bn| bn.set_weight(&values)),
        Call::Bias(values) => set(bn, values.len() != features, |bn| bn.set_bias(&values)),
        Call::RunningMean(values) => set(bn, values.len() != features, |bn| bn.set_running_mean(&values)),
        Call::RunningVar(values) => {
            let is_due = values.len() != features || averages(bn) && values.iter().any(|x| *x < 0.0);
            set(bn, is_due, |bn| bn.set_running_var(&values));
        }
        Call::All(value) => {
            let values = vec![value; features];
            set(bn, false, |bn| bn.set_weight(&values));
            set(bn, false, |bn| bn.set_bias(&values));
            set(bn, false, |bn| bn.set_running_mean(&values));
            set(bn, averages(bn) && value < 0.0 && features > 0, |bn| bn.set_running_var(&values));
        }
        Call::NumBatches(batches) => bn.set_num_batches_tracked(batches),
        Call::Train(shape, len, y) => forward(bn, true, (shape, len), y),
        Call::Evaluate(shape, len, y) => forward(bn, false, (shape, len), y),
    }
}

fuzz_target!(|input: (u8, Vec<Call>)| {
    let (features, calls) = input;
    let mut bn = BatchNorm::new(usize::from(features) % (MOST_FEATURES + 1));
    for call in calls {
        run(&mut bn, call);
    }
});
