//! Compares means, variances, normalised values and gradients of a column with exact arithmetic.
#![no_main]

use std::collections::BTreeSet;

use arbitrary::{Arbitrary, Unstructured};
use batchnorm::{Activation, Batch, BatchMut, BatchNorm, Layout, Moments, Precision, moments};
use batchnorm_fuzz::exact::{Column, ulp};
use batchnorm_fuzz::gradients::{self, Pairs};
use batchnorm_fuzz::oracle::{error_in, nearest, rational, root, ulp_f32};
use batchnorm_fuzz::values::{FromBits, Recipe, Sides};
use batchnorm_fuzz::{assert_classes, assert_same_bits, bits};
use libfuzzer_sys::fuzz_target;

/// The errors allowed.
struct Bounds {
    /// Of a variance: in units in its last place.
    variance_ulp: f64,
    /// Of a mean: half an ulp of it, plus this many times 2^-53 standard deviations.
    mean_sd: f64,
    /// Of a normalised value: multiples of 2^-53 of `y - bias`, of the weight, of the bias and of `y`. For f32, half a
    /// unit in its last place is added.
    output: [f64; 4],
}

const F64_BOUNDS: Bounds = Bounds {
    variance_ulp: 4.0, // VARIANCE_ULP
    mean_sd: 2.0,      // MEAN_SD
    output: [9.5, 1.5, 1.0, 1.0],
};

/// Sums of f32 values are not compensated. The documented bounds, 4.6e-13 (4100 ulp) and 345, hold even if all rounding
/// errors line up, which no data cause. These bounds are tighter, so they detect more.
/// (Of normalised values: those in f64. [`OF_SINGLE`] has the others.)
const F32_BOUNDS: Bounds = Bounds { variance_ulp: 1300.0, mean_sd: 330.0, output: [1300.0, 330.0, 1.0, 0.0] };

/// The bounds of values that are normalised in f32, as factors of `y - bias`, of the weight, of the bias and of `y`.
const U_SINGLE: f64 = f32::EPSILON as f64 / 2.0;
const OF_SINGLE: [f64; 4] = [
    4.001 * U_SINGLE, // OUTPUT_SINGLE
    3.9e-14,
    1.001 * U_SINGLE, // OUTPUT_SINGLE_BIAS
    U_SINGLE,
];

/// Multiples of the smallest subnormal that are added to the allowed error of a mean: offsets and merges are rounded to
/// whole multiples, by up to half of one each time.
const MEAN_SUBNORMALS: u64 = 8;

/// Variances below this have lost digits, and the oracle's square roots would lose digits, too.
const LEAST_VARIANCE: f64 = 1e-280;

/// Weight, bias and `eps` of a layer. With the last ones, the scale easily leaves the range of an f64.
const LAYERS: [[f64; 3]; 7] = [
    [1.0, 0.0, 0.0],
    [-3.0, 0.7, 0.0],
    [0.1, -40.0, 1e-5],
    [1e-308, 0.0, 0.0],
    [-1e300, 0.0, 0.0],
    [1e200, -1e190, 1e-5],
    [3e-290, 1e-300, 0.0],
];

/// Outputs below this have lost digits, and those above its inverse may have overflowed on the way.
const LEAST_OUTPUT: f64 = 1e-290;

/// Most values of a feature whose normalised values are compared.
const MOST_OUTPUTS: usize = 6;

/// Most bytes used of an input, because big integers are slow.
const MOST_BYTES: usize = 2_000;

/// Most values in all features together.
const MOST_VALUES: usize = 160_000;

#[derive(Debug, Arbitrary)]
struct Header {
    double: bool,
    sides: Sides,
    /// Values per feature, roughly.
    count: u16,
    /// Number of values at the start of the column that occur once. Those after them are repeated.
    once: u8,
    recipe: Recipe,
}

/// A column of values: some occur once, then the others are repeated.
struct Runs<'a, T> {
    once: &'a [T],
    repeated: &'a [T],
    count: usize,
}

impl<T: FromBits> Runs<'_, T> {
    fn values(&self) -> Vec<T> {
        self.once.iter().chain(self.repeated.iter().cycle()).take(self.count).copied().collect()
    }

    /// Returns what occurs, and how often.
    fn parts(&self) -> [(Vec<f64>, usize); 3] {
        let to_f64 = |values: &[T]| values.iter().map(|x| x.to_f64()).collect::<Vec<_>>();
        let (once, repeated) = (to_f64(&self.once[..self.once.len().min(self.count)]), to_f64(self.repeated));
        let rest = self.count - once.len();
        let (times, end) = (rest / repeated.len(), repeated[..rest % repeated.len()].to_vec());
        [(once, 1), (repeated, times), (end, 1)]
    }

    fn exact(&self) -> Column {
        let parts = self.parts();
        Column::of(&[0, 1, 2].map(|at| (&parts[at].0[..], parts[at].1)))
    }
}

/// Returns a batch in which every feature has the values of the column, but starts at another place in it, so that the
/// exact moments are the same for all. Odd features keep groups of eight rows together, and one of them has the start
/// of the column where the shift is sampled.
fn batch<T: FromBits>(column: &[T], layout: Layout) -> Vec<T> {
    let (features, inner) = (layout.features(), layout.inner());
    let value = |at: usize| {
        let (outer, feature, position) = (at / (features * inner), at / inner % features, at % inner);
        let from = if feature % 2 == 0 { 7 * feature } else { 8 * feature };
        column[(outer * inner + position + from) % column.len()]
    };
    (0..layout.checked_len().expect("a small layout")).map(value).collect()
}

fn check<T: FromBits>(header: &Header, bytes: &[u8], bounds: &Bounds) {
    let values: Vec<T> = header.recipe.values(&bytes[..bytes.len().min(MOST_BYTES)]);
    let (features, inner) = (header.sides.features(), header.sides.inner());
    let count = usize::from(header.count).min(MOST_VALUES / features).next_multiple_of(inner).max(inner);
    let layout = header.sides.layout(count * features);
    let (once, repeated) = values.split_at(usize::from(header.once).min(values.len() - 1));
    let runs = Runs { once, repeated, count: layout.count() };
    let column = runs.values();
    let data = batch(&column, layout);
    let m = moments(Batch::new(&data, layout).expect("a batch"));

    let name = format!("{layout}, {}, {:?}", std::any::type_name::<T>(), header.recipe.kind);
    let in_f64 = || column.iter().map(|x| x.to_f64());
    for feature in 0..features {
        assert_classes(&name, &m, feature, in_f64());
    }
    if in_f64().any(|x| !x.is_finite()) {
        return;
    }
    let features = different_features(&m);
    let first = column[0].to_f64();
    if in_f64().all(|x| x == first) {
        for feature in features {
            let (mean, variance) = (m.mean(feature), m.variance(feature, 0.0));
            assert!(mean == first && variance == 0.0, "{name}: constant {first:e} has moments {mean:e}, {variance:e}");
        }
        return;
    }
    let exact = runs.exact();
    let mean_unit =
        0.5 * ulp(&exact.mean) + bounds.mean_sd * 2f64.powi(-53) * exact.sd() + f64::from_bits(MEAN_SUBNORMALS);
    let (variance, m2) = (exact.variance(), nearest(&exact.m2));
    let overflows = m2 > f64::MAX / 2.0;
    let mut variances = vec![0.0; m.num_features()];
    m.variances_into(0.0, &mut variances).expect("one each");
    for feature in features {
        let mean = m.mean(feature);
        let error = error_in(mean, &exact.mean, mean_unit);
        let expected = nearest(&exact.mean);
        assert!(error <= 1.0, "{name}: mean {mean:e} is {error} of what is allowed off {expected:e}, m2 {m2:e}");
        if overflows {
            continue;
        }
        let given = m.variance(feature, 0.0);
        assert_eq!(variances[feature], given, "{name}: variances of all features, and of one");
        let error = error_in(given, &variance, ulp(&variance));
        assert!(error <= bounds.variance_ulp, "{name}: variance {given:e} is {error} ulp off {:e}", nearest(&variance));
    }
    if !overflows && layout.count() > 1 && nearest(&variance) >= LEAST_VARIANCE {
        check_outputs(&name, &exact, &data, layout, bounds);
        // What is repeated has the same gradients each time.
        let shuffled: Vec<T> = (0..values.len()).map(|at| values[(at * 5 + 3) % values.len()]).collect();
        let (once, repeated) = shuffled.split_at(once.len());
        let of_outputs = Runs { once, repeated, count: layout.count() };
        let dy = batch(&of_outputs.values(), layout);
        check_fused(&name, [&data, &dy], layout);
        let (x, dy_parts) = (runs.parts(), of_outputs.parts());
        let pairs = [0, 1, 2].map(|at| Pairs { dy: &dy_parts[at].0, x: &x[at].0, times: x[at].1 });
        let [weight, _, eps] = LAYERS[layout.outer() % LAYERS.len()];
        gradients::check(&name, &exact, &pairs, [&data, &dy], layout, [weight, eps]);
    }
}

/// Checks that a residual and a ReLU in the same pass have the bits of separate steps.
fn check_fused<T: FromBits>(name: &str, [data, residual]: [&[T]; 2], layout: Layout) {
    let [x, residual] = [data, residual].map(|data| Batch::new(data, layout).expect("a batch"));
    let mut bn = layer(layout, LAYERS[layout.outer() % LAYERS.len()]);
    let (mut y, mut fused) = (data.to_vec(), data.to_vec());
    bn.forward_train(x, BatchMut::new(&mut y, layout).expect("y")).expect("trains");
    let mut bn = bn.with_activation(Activation::Relu);
    bn.forward_train_add(x, residual, BatchMut::new(&mut fused, layout).expect("y")).expect("trains");
    // (Rounded to f32 after it was rounded to f64, a sum of two f32 is the same.)
    let add = |(y, residual): (&T, &T)| T::from_f64(y.to_f64() + residual.to_f64());
    let steps: Vec<T> = y.iter().zip(residual.data()).map(add).map(|y| Activation::Relu.apply(y)).collect();
    assert_same_bits(&format!("{name}: fused"), &steps, &fused);
}

/// Returns a layer of this weight, bias and `eps`. An odd number of features normalises f32 in f32.
fn layer(layout: Layout, [weight, bias, eps]: [f64; 3]) -> BatchNorm {
    let features = layout.features();
    let precision = if features % 2 == 1 { Precision::Single } else { Precision::Double };
    let mut bn = BatchNorm::new(features).with_eps(eps).expect("an eps").with_precision(precision);
    bn.set_weight(&vec![weight; features]).expect("weights");
    bn.set_bias(&vec![bias; features]).expect("biases");
    bn
}

/// Trains a layer on the batch and checks the outputs of its last feature. Weight, bias and `eps` depend on the number
/// of outer blocks. Outputs that the type does not hold are not compared.
fn check_outputs<T: FromBits>(name: &str, exact: &Column, data: &[T], layout: Layout, bounds: &Bounds) {
    let features = layout.features();
    let [weight, bias, eps] = LAYERS[layout.outer() % LAYERS.len()];
    let single = size_of::<T>() == size_of::<f32>() && features % 2 == 1;
    let mut bn = layer(layout, [weight, bias, eps]);
    let mut y = data.to_vec();
    bn.forward_train(Batch::new(data, layout).expect("x"), BatchMut::new(&mut y, layout).expect("y")).expect("trains");

    let scale = rational(weight) / root(&(exact.variance() + rational(eps)));
    let mut seen = BTreeSet::new();
    let planes =
        data.chunks_exact(layout.inner()).zip(y.chunks_exact(layout.inner())).skip(features - 1).step_by(features);
    for (x, y) in planes.flat_map(|(x, y)| x.iter().zip(y)).map(|(x, y)| (x.to_f64(), y.to_f64())) {
        if !seen.insert(bits(x)) {
            continue;
        }
        if seen.len() > MOST_OUTPUTS {
            break;
        }
        let scaled = (rational(x) - &exact.mean) * &scale;
        let y_exact = &scaled + rational(bias);
        let parts = [nearest(&scaled), weight, bias, nearest(&y_exact)];
        let largest = if size_of::<T>() == size_of::<f32>() { f64::from(f32::MAX) } else { 1.0 / LEAST_OUTPUT };
        if parts[3].abs() > largest || (parts[3] != 0.0 && parts[3].abs() < LEAST_OUTPUT) {
            continue;
        }
        let factors = if single { OF_SINGLE } else { bounds.output.map(|times| 2f64.powi(-53) * times) };
        let of_parts: f64 = parts.iter().zip(factors).map(|(part, factor)| part.abs() * factor).sum();
        let rounding = match (single, size_of::<T>() == size_of::<f32>()) {
            (true, _) => 2f64.powi(-148),
            (false, true) => 0.5 * ulp_f32(nearest(&y_exact)),
            (false, false) => 0.0,
        };
        let error = error_in(y, &y_exact, rounding + of_parts);
        assert!(error <= 1.0, "{name}: {x:e} becomes {y:e}, {error} of what is allowed off {:e}", parts[3]);
    }
}

/// Returns one feature for each distinct result, because exact comparisons are slow.
fn different_features(m: &Moments) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    (0..m.num_features()).filter(|&f| seen.insert((bits(m.mean(f)), bits(m.m2(f))))).collect()
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Unstructured::new(data);
    let Ok(header) = Header::arbitrary(&mut bytes) else { return };
    let bytes = bytes.take_rest();
    if header.double {
        check::<f64>(&header, bytes, &F64_BOUNDS);
    } else {
        check::<f32>(&header, bytes, &F32_BOUNDS);
    }
});
