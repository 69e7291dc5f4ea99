//! Hashes of everything that the crate computes from a batch.

use batchnorm::{Accumulator, Batch, BatchMut, BatchNorm, Element, Layout, Moments, Path, Precision};
#[cfg(feature = "half")]
use half::{bf16, f16};
use sha2::{Digest, Sha256};

use crate::batches::{SHAPES, Shape, batch};
use crate::layer::{differentiate, fold, fuse, shard};
use crate::runs::Run;
use crate::streams::stream;

/// Gradients and fused steps are hashed of the first batch of each shape, and of all others up to this size. An emulated
/// machine takes minutes for more.
const SMALL: usize = 1 << 10;

/// Larger batches are not evaluated with a ReLU nor split into shards, each of which takes the path of a smaller batch,
/// and have no fused steps in f64.
pub(crate) const LARGE: usize = 1 << 16;

/// Most values of f16 and bf16 batches.
#[cfg(feature = "half")]
const HALF: usize = 1 << 14;

/// What is hashed of each shape and element type, a section each.
const OPERATIONS: [&str; 9] =
    ["moments", "accumulator", "training", "evaluation", "stream", "gradients", "fused", "shards", "folding"];

/// Returns the digests of each run as text: a line per section.
pub(crate) fn digests(runs: &[Run]) -> Vec<String> {
    let mut texts = vec![String::new(); runs.len()];
    for shape in &SHAPES {
        sections::<f32>(shape, "f32", runs, &mut texts);
        in_double(shape, runs, &mut texts);
        sections::<f64>(shape, "f64", runs, &mut texts);
        #[cfg(feature = "half")]
        in_half::<f16>(shape, "f16", runs, &mut texts);
        #[cfg(feature = "half")]
        in_half::<bf16>(shape, "bf16", runs, &mut texts);
    }
    texts
}

fn sections<T: Element>(shape: &Shape, element: &str, runs: &[Run], texts: &mut [String]) {
    let mut hashes: Vec<[Hash; OPERATIONS.len()]> = runs.iter().map(|_| Default::default()).collect();
    for number in 0..shape.batches {
        let (data, dy) = (batch::<T>(shape, number), of_outputs::<T>(shape, number));
        for (run, hashes) in runs.iter().zip(&mut hashes) {
            run.install(|| {
                let [moments, accumulated, trained, evaluated, streamed, gradients, fused, shards, folded] = hashes;
                let of_all = measure(run.path, &data, shape.layout, moments);
                accumulate(run.path, &data, shape.layout, accumulated);
                let bn = train(run.path, Precision::Single, &data, shape.layout, trained);
                evaluate(run.path, &bn, &data, shape.layout, evaluated);
                stream(run.path, &data, shape.layout, streamed);
                if let Some(dy) = &dy {
                    let out = fuse(run.path, Precision::Single, [&data, dy], shape.layout, fused);
                    differentiate(run.path, [&data, dy, &out], shape.layout, gradients);
                    shard(run.path, [&data, dy], shape.layout, shards);
                    fold(run.path, &data, &of_all, folded);
                }
            });
        }
    }
    for (hashes, text) in hashes.into_iter().zip(texts) {
        for (hash, operation) in hashes.into_iter().zip(OPERATIONS) {
            *text += &format!("{}  {}, {element}, {operation}\n", hex(&hash.0.finalize()), shape.name);
        }
    }
}

/// The sections of f32 batches that are normalised in f64.
fn in_double(shape: &Shape, runs: &[Run], texts: &mut [String]) {
    let mut hashes: Vec<[Hash; 3]> = runs.iter().map(|_| Default::default()).collect();
    for number in 0..shape.batches {
        let data = batch::<f32>(shape, number);
        let residual = of_outputs::<f32>(shape, number).filter(|_| data.len() <= LARGE);
        for (run, [trained, evaluated, fused]) in runs.iter().zip(&mut hashes) {
            run.install(|| {
                let bn = train(run.path, Precision::Double, &data, shape.layout, trained);
                evaluate(run.path, &bn, &data, shape.layout, evaluated);
                if let Some(residual) = &residual {
                    fuse(run.path, Precision::Double, [&data, residual], shape.layout, fused);
                }
            });
        }
    }
    for (hashes, text) in hashes.into_iter().zip(texts) {
        for (hash, operation) in hashes.into_iter().zip(["training", "evaluation", "fused"]) {
            *text += &format!("{}  {}, f32 in f64, {operation}\n", hex(&hash.0.finalize()), shape.name);
        }
    }
}

/// The sections of the first f16 or bf16 batch. Not of all shapes: the sums are those of f32 batches.
#[cfg(feature = "half")]
fn in_half<T: Element>(shape: &Shape, element: &str, runs: &[Run], texts: &mut [String]) {
    if shape.layout.checked_len().is_none_or(|len| !(1..=HALF).contains(&len)) {
        return;
    }
    let data = batch::<T>(shape, 0);
    for (run, text) in runs.iter().zip(texts) {
        let [mut moments, mut trained, mut evaluated] = <[Hash; 3]>::default();
        run.install(|| {
            let _ = measure(run.path, &data, shape.layout, &mut moments);
            let bn = train(run.path, Precision::Single, &data, shape.layout, &mut trained);
            evaluate(run.path, &bn, &data, shape.layout, &mut evaluated);
        });
        for (hash, operation) in [(moments, "moments"), (trained, "training"), (evaluated, "evaluation")] {
            *text += &format!("{}  {}, {element}, {operation}\n", hex(&hash.0.finalize()), shape.name);
        }
    }
}

/// Returns gradients with respect to the outputs of a batch, which are a residual as well. `None` if the batch is not one
/// of those that have them.
fn of_outputs<T: Element>(shape: &Shape, number: usize) -> Option<Vec<T>> {
    let small = shape.layout.checked_len().is_some_and(|len| len <= SMALL);
    (number == 0 || small).then(|| batch(shape, number + shape.batches))
}

pub(crate) fn x<T: Element>(data: &[T], layout: Layout) -> Batch<'_, T> {
    Batch::new(data, layout).expect("a batch")
}

pub(crate) fn y<T: Element>(data: &mut [T], layout: Layout) -> BatchMut<'_, T> {
    BatchMut::new(data, layout).expect("a batch")
}

/// Hashes moments from one call, which it returns, and from two halves that are merged.
fn measure<T: Element>(path: Path, data: &[T], layout: Layout, hash: &mut Hash) -> Moments {
    let moments = path.moments(x(data, layout));
    hash.moments(&moments);
    let (features, inner) = (layout.features(), layout.inner());
    let half = layout.outer() / 2;
    let (low, high) = data.split_at(half * features * inner);
    let mut merged = path.moments(x(low, Layout::new(half, features, inner)));
    merged.merge(&path.moments(x(high, Layout::new(layout.outer() - half, features, inner)))).expect("same features");
    hash.moments(&merged);
    moments
}

/// Hashes the moments of rows that arrive in pieces of 1, 2, 4, ... outer blocks: after all pieces, and before the last
/// one.
fn accumulate<T: Element>(path: Path, data: &[T], layout: Layout, hash: &mut Hash) {
    let row = layout.features() * layout.inner();
    let mut rows = Accumulator::new(layout.features(), layout.inner()).expect("a shape").with_path(path);
    let (mut rest, mut outer) = (data, 1);
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(rest.len().min(outer * row));
        rows.update(x(piece, Layout::new(piece.len() / row, layout.features(), layout.inner()))).expect("same shape");
        if !tail.is_empty() && tail.len() <= 2 * outer * row {
            hash.moments(&rows.moments());
        }
        (rest, outer) = (tail, 2 * outer);
    }
    hash.moments(&rows.moments());
}

/// Trains two layers for two steps each, one of them in place. Returns the first layer.
fn train<T: Element>(path: Path, precision: Precision, data: &[T], layout: Layout, hash: &mut Hash) -> BatchNorm {
    let features = layout.features();
    let plain = BatchNorm::new(features).without_affine().with_cumulative_average().with_eps(0.0).expect("fine");
    let mut layers = [affine(features), plain].map(|bn| bn.with_path(path).with_precision(precision));
    if layout.count() >= 2 && features > 0 {
        for bn in &mut layers {
            let mut out = data.to_vec();
            bn.forward_train(x(data, layout), y(&mut out, layout)).expect("trains");
            hash.values(&out);
            bn.forward_train_in_place(y(&mut out, layout)).expect("trains");
            hash.values(&out);
            hash.values(bn.running_mean());
            hash.values(bn.running_var());
        }
    }
    let [first, _] = layers;
    first
}

fn evaluate<T: Element>(path: Path, bn: &BatchNorm, data: &[T], layout: Layout, hash: &mut Hash) {
    let norm = bn.to_inference().with_path(path);
    let mut out = data.to_vec();
    norm.forward(x(data, layout), y(&mut out, layout)).expect("evaluates");
    hash.values(&out);
    norm.forward_in_place(y(&mut out, layout)).expect("evaluates");
    hash.values(&out);
}

/// A layer whose weights and biases differ from feature to feature.
pub(crate) fn affine(features: usize) -> BatchNorm {
    let mut bn = BatchNorm::new(features);
    bn.set_weight(&parameters(features, -1.5)).expect("weights");
    bn.set_bias(&parameters(features, 0.25)).expect("biases");
    bn
}

fn parameters(features: usize, from: f64) -> Vec<f64> {
    (0..features).map(|feature| from + 0.37 * (feature % 11) as f64).collect()
}

#[derive(Default)]
pub(crate) struct Hash(Sha256);

impl Hash {
    pub(crate) fn moments(&mut self, moments: &Moments) {
        self.0.update(moments.counts().first().copied().unwrap_or(0).to_le_bytes());
        let (mut means, mut variances) = (vec![0.0; moments.num_features()], vec![0.0; moments.num_features()]);
        moments.means_into(&mut means).expect("one each");
        moments.variances_into(1.0, &mut variances).expect("one each");
        for (feature, (mean, variance)) in means.into_iter().zip(variances).enumerate() {
            self.values(&[mean, moments.m2(feature), variance]);
        }
        // The words that only merging and other processes see.
        let parts = moments.parts();
        for words in [parts.means_middle, parts.means_low, parts.m2s_low] {
            self.values(words);
        }
    }

    /// Hashes bits in a fixed byte order. All NaNs are hashed alike, because payloads and signs are not part of a
    /// result.
    pub(crate) fn values<T: Element>(&mut self, values: &[T]) {
        for x in values.iter().map(|x| x.to_f64()) {
            let x = if x.is_nan() { f64::NAN } else { x };
            if size_of::<T>() == size_of::<f32>() {
                self.0.update((x as f32).to_bits().to_le_bytes());
            } else {
                self.0.update(x.to_bits().to_le_bytes());
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
