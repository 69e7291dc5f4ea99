//! Everything that a layer computes beside plain outputs: gradients, outputs with a ReLU and a residual, a step in two
//! halves, and the weights of a neighbour.

use batchnorm::{
    Activation, BatchNorm, Element, GradOutput, GradOutputMut, GradientSums, Gradients, Layout, Moments, Path,
    Precision,
};

use crate::outputs::{Hash, LARGE, affine, x, y};

/// Hashes gradients: of a training step through a ReLU whose output is `out`, in either precision, and of an
/// evaluation, in place.
pub(crate) fn differentiate<T: Element>(path: Path, [data, dy, out]: [&[T]; 3], layout: Layout, hash: &mut Hash) {
    let bn = running(path, layout.features());
    let (batch, moments, mut dx) = (x(data, layout), path.moments(x(data, layout)), dy.to_vec());
    let through = GradOutput::through_relu(x(dy, layout), x(out, layout)).expect("the same layout");
    hash.sums(&bn.backward_sums(&moments, batch, x(dy, layout)).expect("sums"));
    hash.gradients(&bn.backward_train(&moments, batch, through, y(&mut dx, layout)).expect("gradients"));
    hash.values(&dx);
    if size_of::<T>() == size_of::<f32>() && dx.len() <= LARGE {
        let bn = bn.clone().with_precision(Precision::Double);
        hash.gradients(&bn.backward_train(&moments, batch, x(dy, layout), y(&mut dx, layout)).expect("gradients"));
        hash.values(&dx);
    }

    dx.copy_from_slice(dy);
    let in_place = GradOutputMut::from(y(&mut dx, layout));
    hash.gradients(&bn.backward_eval_in_place(batch, in_place).expect("gradients"));
    hash.values(&dx);
}

/// Hashes outputs of evaluation with a ReLU, in place, and of training with a residual and a ReLU, which it returns.
pub(crate) fn fuse<T: Element>(
    path: Path,
    precision: Precision,
    [data, residual]: [&[T]; 2],
    layout: Layout,
    hash: &mut Hash,
) -> Vec<T> {
    let mut bn = running(path, layout.features()).with_precision(precision).with_activation(Activation::Relu);
    let mut out = data.to_vec();
    if data.len() <= LARGE {
        bn.to_inference().forward_in_place(y(&mut out, layout)).expect("evaluates");
        hash.values(&out);
    }
    if can_train(layout) {
        bn.forward_train_add(x(data, layout), x(residual, layout), y(&mut out, layout)).expect("trains");
        hash.values(&out);
    }
    out
}

/// Hashes a step of two shards, of about half the outer blocks each: outputs, running statistics and gradients.
pub(crate) fn shard<T: Element>(path: Path, [data, dy]: [&[T]; 2], layout: Layout, hash: &mut Hash) {
    if !can_train(layout) || data.len() > LARGE {
        return;
    }
    let (features, inner) = (layout.features(), layout.inner());
    let mut bn = running(path, features);
    let high = layout.outer() / 2;
    let layouts = [high, layout.outer() - high].map(|outer| Layout::new(outer, features, inner));
    let cut = high * features * inner;
    let shards = [(&data[..cut], &dy[..cut]), (&data[cut..], &dy[cut..])];
    let shards = [0, 1].map(|at| (x(shards[at].0, layouts[at]), x(shards[at].1, layouts[at])));

    let [mut moments, of_low] = shards.map(|(data, _)| bn.measure(data).expect("measures"));
    moments.merge(&of_low).expect("the same features");
    let mut out = data.to_vec();
    let (high, low) = out.split_at_mut(cut);
    bn.forward_train_with(&moments, shards[0].0, y(high, layouts[0])).expect("trains");
    bn.forward_with(&moments, shards[1].0, y(low, layouts[1])).expect("normalises");
    hash.values(&out);
    hash.values(bn.running_mean());
    hash.values(bn.running_var());

    let sums = |(data, dy)| bn.backward_sums(&moments, data, dy).expect("sums");
    let [mut of_all, of_low] = shards.map(sums);
    of_all.merge(&of_low).expect("the same features");
    hash.sums(&of_all);
    let (high, low) = out.split_at_mut(cut);
    for ((data, dy), dx) in shards.into_iter().zip([y(high, layouts[0]), y(low, layouts[1])]) {
        bn.backward_apply(&moments, &of_all, data, dy, dx).expect("gradients");
    }
    hash.values(&out);
}

/// Hashes the weights of neighbours into which a layer is folded, which has the statistics of the batch. The weights
/// are values of the batch.
pub(crate) fn fold<T: Element>(path: Path, data: &[T], moments: &Moments, hash: &mut Hash) {
    let features = moments.num_features();
    if data.len() < 2 * features {
        return;
    }
    let mut bn = affine(features).with_path(path);
    let (mut means, mut variances) = (vec![0.0; features], vec![0.0; features]);
    moments.means_into(&mut means).expect("one each");
    moments.variances_into(0.0, &mut variances).expect("one each");
    bn.set_running_mean(&means).expect("means");
    bn.set_running_var(&variances).expect("variances");
    let norm = bn.to_inference();

    // Two inputs, or two outputs.
    let (mut weight, mut bias) = (data[..2 * features].to_vec(), data[features..2 * features].to_vec());
    norm.fold_into_linear(&mut weight, &mut bias).expect("folds");
    hash.values(&weight);
    hash.values(&bias);
    norm.fold_into_conv_transpose(&mut weight, &mut bias, 2, 1).expect("folds");
    hash.values(&weight);
    let mut following = [T::from_f64(0.25), T::from_f64(-3.0)];
    weight.copy_from_slice(&data[..2 * features]);
    norm.fold_into_following_linear(&mut weight, &mut following).expect("folds");
    hash.values(&weight);
    hash.values(&following);
}

/// An affine layer whose running statistics differ from feature to feature.
fn running(path: Path, features: usize) -> BatchNorm {
    let numbers = |from: f64| (0..features).map(|feature| from + 0.37 * (feature % 11) as f64).collect::<Vec<_>>();
    let mut bn = affine(features).with_path(path);
    bn.set_running_mean(&numbers(-0.5)).expect("means");
    bn.set_running_var(&numbers(0.75)).expect("variances");
    bn
}

fn can_train(layout: Layout) -> bool {
    layout.features() > 0 && layout.count() >= 2
}

impl Hash {
    fn sums(&mut self, sums: &GradientSums) {
        let parts = sums.parts();
        for words in [parts.sum_dy, parts.sum_dy_low, parts.sum_dy_xmu, parts.sum_dy_xmu_low] {
            self.values(words);
        }
    }

    fn gradients(&mut self, gradients: &Gradients) {
        self.values(gradients.weight());
        self.values(gradients.bias());
    }
}
