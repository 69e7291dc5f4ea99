//! Every path, instruction set and thread count gives the same bits as the scalar path. All NaNs count as equal.
#![no_main]

use std::sync::OnceLock;

use arbitrary::{Arbitrary, Unstructured};
use batchnorm::{
    Activation, Batch, BatchMut, BatchNorm, GradOutput, GradOutputMut, GradientSums, Isa, Layout, Moments, Path,
    Precision,
};
use batchnorm_fuzz::values::{FromBits, Recipe, Samples, Sides, cycle};
use batchnorm_fuzz::{assert_classes, assert_same_bits};
use libfuzzer_sys::fuzz_target;
use rayon::ThreadPool;

#[derive(Debug, Arbitrary)]
struct Header {
    double: bool,
    sides: Sides,
    len: u16,
    options: u8,
    samples: Samples,
    recipe: Recipe,
}

/// Most values of an ordinary batch: a few chunks of narrow rows or small planes.
const MOST_VALUES: usize = 100_000;

/// Weights with which a scale, `weight / sqrt(variance + eps)`, easily leaves the range of an f64.
const FAR_WEIGHTS: [f64; 7] = [1e-308, 3.0, -f64::MAX, f64::from_bits(1), 1e200, -1e-290, 0.0];

/// Lengths from here on select batches that are large enough for the parallel path to fork. They are slow.
const LARGE: u16 = 0xfff0;

impl Header {
    fn is_large(&self) -> bool {
        self.len >= LARGE
    }

    /// Returns the most values of the batch; [`Sides::layout`] rounds down to whole outer blocks.
    fn len(&self) -> usize {
        if self.is_large() && (1025..1200).contains(&self.sides.features()) {
            // Tiles of columns, and more than one chunk.
            520 * self.sides.features()
        } else if self.is_large() {
            135_000 + 4_001 * usize::from(self.len - LARGE)
        } else {
            // The fourth power, so that most batches are short: a hundred small ones take as long as a large one.
            let square = (usize::from(self.len) + 1).pow(2) >> 16;
            (MOST_VALUES * square * square) >> 32
        }
    }

    fn layer<T: FromBits>(&self, values: &[T], features: usize) -> BatchNorm {
        let mut bn = BatchNorm::new(features);
        if self.options & 1 != 0 {
            bn = bn.with_eps(0.0).expect("0 is allowed");
        }
        if self.options & 2 != 0 {
            bn = bn.with_cumulative_average();
        }
        if self.options & 4 != 0 {
            bn = bn.without_affine();
        }
        // (No bit is left: where the outputs start decides this, too.)
        if self.lead() == 3 {
            bn = bn.with_precision(Precision::Double);
        }
        if self.options & 32 != 0 {
            bn.set_weight(&cycle(&FAR_WEIGHTS, features)).expect("weights");
        } else if self.options & 8 != 0 {
            // Parameters with any bits.
            bn.set_weight(&cycle(values, features)).expect("weights");
            bn.set_bias(&cycle(&values[values.len() / 2..], features)).expect("biases");
        } else if self.options & 16 != 0 {
            let numbers = |from: f64| (0..features).map(|i| from + 0.37 * i as f64).collect::<Vec<_>>();
            bn.set_weight(&numbers(-1.5)).expect("weights");
            bn.set_bias(&numbers(0.25)).expect("biases");
        }
        bn
    }

    /// Returns whether the gradients of training go through a ReLU. Otherwise those of evaluation do.
    fn trains_through_relu(&self) -> bool {
        self.len & 1 == 1
    }

    /// Returns the number of values before the outputs in their memory, so that they start anywhere in a cache line.
    fn lead(&self) -> usize {
        usize::from(self.options >> 6)
    }
}

/// Everything that a path computes from a batch.
struct Outputs<T> {
    moments: Moments,
    trained: Vec<T>,
    trained_in_place: Vec<T>,
    evaluated: Vec<T>,
    evaluated_in_place: Vec<T>,
    running: Vec<f64>,
    backward: Backward<T>,
    fused: [Vec<T>; 2],
}

/// The gradients of a training step, and of an evaluation in place.
struct Backward<T> {
    sums: GradientSums,
    parameters: Vec<f64>,
    of_training: Vec<T>,
    of_evaluation: Vec<T>,
}

/// Computes everything. `second` are the gradients with respect to the outputs, and a residual.
fn outputs<T: FromBits>(
    header: &Header,
    path: Path,
    bn: &BatchNorm,
    [data, second]: [&[T]; 2],
    layout: Layout,
) -> Outputs<T> {
    let lead = header.lead();
    let x = Batch::new(data, layout).expect("a batch");
    let bn = bn.clone().with_path(path);
    let (mut bn, mut bn_in_place) = (bn.clone(), bn);
    let memory = || [&vec![T::from_f64(0.5); lead], data].concat();
    let (mut trained, mut trained_in_place) = (memory(), memory());
    if layout.count() >= 2 {
        let y = BatchMut::new(&mut trained[lead..], layout).expect("y");
        bn.forward_train(x, y).expect("trains");
        let y = BatchMut::new(&mut trained_in_place[lead..], layout).expect("y");
        bn_in_place.forward_train_in_place(y).expect("trains in place");
    }
    let norm = bn.to_inference();
    let (mut evaluated, mut evaluated_in_place) = (memory(), memory());
    norm.forward(x, BatchMut::new(&mut evaluated[lead..], layout).expect("y")).expect("evaluates");
    let y = BatchMut::new(&mut evaluated_in_place[lead..], layout).expect("y");
    norm.forward_in_place(y).expect("evaluates in place");
    let running = [bn.running_mean(), bn.running_var(), bn_in_place.running_mean(), bn_in_place.running_var()].concat();
    let (moments, relu) = (path.moments(x), header.trains_through_relu());
    let backward = backward(&bn, &moments, [data, second, &evaluated[lead..]], layout, relu, lead);
    let fused = fused(bn, [data, second], layout, relu, lead);
    Outputs { moments, trained, trained_in_place, evaluated, evaluated_in_place, running, backward, fused }
}

/// Computes the gradients, either those of training or those of evaluation through a ReLU with the output `out`.
fn backward<T: FromBits>(
    bn: &BatchNorm,
    moments: &Moments,
    [data, dy, out]: [&[T]; 3],
    layout: Layout,
    relu: bool,
    lead: usize,
) -> Backward<T> {
    let [x, dy_batch, out] = [data, dy, out].map(|data| Batch::new(data, layout).expect("a batch"));
    let memory = || [&vec![T::from_f64(0.5); lead], dy].concat();
    let (mut of_training, mut of_evaluation) = (memory(), memory());
    let of_outputs = match relu {
        true => GradOutput::through_relu(dy_batch, out).expect("the same layout"),
        false => dy_batch.into(),
    };
    let sums = bn.backward_sums(moments, x, of_outputs).expect("sums");
    let dx = BatchMut::new(&mut of_training[lead..], layout).expect("dx");
    let training = bn.backward_train(moments, x, of_outputs, dx).expect("gradients");
    let dy = BatchMut::new(&mut of_evaluation[lead..], layout).expect("dy");
    let dy = if relu { dy.into() } else { GradOutputMut::through_relu(dy, out).expect("the same layout") };
    let evaluation = bn.backward_eval_in_place(x, dy).expect("gradients");
    let parameters = [training.weight(), training.bias(), evaluation.weight(), evaluation.bias()].concat();
    Backward { sums, parameters, of_training, of_evaluation }
}

/// Adds a residual: in evaluation, and in training, in place. One of them applies a ReLU.
fn fused<T: FromBits>(
    bn: BatchNorm,
    [data, residual]: [&[T]; 2],
    layout: Layout,
    relu: bool,
    lead: usize,
) -> [Vec<T>; 2] {
    let [x, residual] = [data, residual].map(|data| Batch::new(data, layout).expect("a batch"));
    let memory = || [&vec![T::from_f64(0.5); lead], data].concat();
    let (mut evaluated, mut trained) = (memory(), memory());
    let activations = [Activation::None, Activation::Relu];
    let norm = bn.to_inference().with_activation(activations[usize::from(!relu)]);
    let y = BatchMut::new(&mut evaluated[lead..], layout).expect("y");
    norm.forward_add(x, residual, y).expect("evaluates");
    if layout.count() >= 2 {
        let mut bn = bn.with_activation(activations[usize::from(relu)]);
        let y = BatchMut::new(&mut trained[lead..], layout).expect("y");
        bn.forward_train_add_in_place(y, residual).expect("trains in place");
    }
    [evaluated, trained]
}

fn assert_same<T: FromBits>(name: &str, expected: &Outputs<T>, given: &Outputs<T>) {
    assert_eq!(given.moments, expected.moments, "{name}: moments");
    assert_same_bits(&format!("{name}: trained"), &expected.trained, &given.trained);
    assert_same_bits(&format!("{name}: trained in place"), &expected.trained_in_place, &given.trained_in_place);
    assert_same_bits(&format!("{name}: evaluated"), &expected.evaluated, &given.evaluated);
    assert_same_bits(&format!("{name}: evaluated in place"), &expected.evaluated_in_place, &given.evaluated_in_place);
    assert_same_bits(&format!("{name}: running"), &expected.running, &given.running);
    for (what, expected, given) in [
        ("of training", &expected.backward.of_training, &given.backward.of_training),
        ("of evaluation", &expected.backward.of_evaluation, &given.backward.of_evaluation),
        ("evaluated, fused", &expected.fused[0], &given.fused[0]),
        ("trained, fused", &expected.fused[1], &given.fused[1]),
    ] {
        assert_same_bits(&format!("{name}: {what}"), expected, given);
    }
    assert_eq!(given.backward.sums, expected.backward.sums, "{name}: sums of gradients");
    assert_same_bits(&format!("{name}: parameters"), &expected.backward.parameters, &given.backward.parameters);
}

/// Returns pools of 1 and 3 threads, which are started once, not for every input.
fn pools() -> &'static [ThreadPool; 2] {
    static POOLS: OnceLock<[ThreadPool; 2]> = OnceLock::new();
    POOLS.get_or_init(|| [1, 3].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("a pool")))
}

fn check<T: FromBits>(header: &Header, bytes: &[u8]) {
    let values: Vec<T> = header.recipe.values(bytes);
    let layout = header.sides.layout(header.len());
    let mut data = cycle(&values, layout.checked_len().expect("a small layout"));
    header.samples.replace(layout, &mut data);
    let bn = header.layer(&values, layout.features());

    // The same values in another order, so that other ones meet.
    let second: Vec<T> = (0..data.len()).map(|at| data[(at * 7 + 3) % data.len()]).collect();
    let outputs = |path| outputs(header, path, &bn, [&data, &second], layout);
    let expected = outputs(Path::Scalar);
    for feature in 0..layout.features() {
        let column = data.chunks(layout.inner()).skip(feature).step_by(layout.features()).flatten();
        assert_classes(&layout.to_string(), &expected.moments, feature, column.map(|x| x.to_f64()));
    }
    assert_same_bits("scalar, in place", &expected.trained, &expected.trained_in_place);
    assert_same_bits("scalar, in place", &expected.evaluated, &expected.evaluated_in_place);
    let compare = |name: &str, path, pool: Option<&ThreadPool>| {
        let given = match pool {
            Some(pool) => pool.install(|| outputs(path)),
            None => outputs(path),
        };
        assert_same(&format!("{layout}, {}, {name}", std::any::type_name::<T>()), &expected, &given);
    };
    if header.is_large() {
        let isa = Isa::detect();
        return compare(&format!("parallel on {isa}"), Path::Parallel(isa), Some(&pools()[1]));
    }
    // One instruction set for wide and long layouts, which have many values at any length.
    let isas: Vec<Isa> = Isa::available().collect();
    let isas = if header.sides.is_far() { &isas[usize::from(header.len) % isas.len()..][..1] } else { &isas };
    for &isa in isas {
        compare(&format!("simd on {isa}"), Path::Simd(isa), None);
        for pool in pools() {
            let name = format!("parallel on {isa}, {} threads", pool.current_num_threads());
            compare(&name, Path::Parallel(isa), Some(pool));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Unstructured::new(data);
    let Ok(header) = Header::arbitrary(&mut bytes) else { return };
    let bytes = bytes.take_rest();
    if header.double { check::<f64>(&header, bytes) } else { check::<f32>(&header, bytes) }
});
