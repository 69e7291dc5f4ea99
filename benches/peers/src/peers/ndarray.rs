//! ndarray: it has no batch norm of its own, so this is what its users write.
//!
//! There are two versions: an expression that allocates its result, and one `Zip` into an existing array.

use ndarray::{Array, Array1, ArrayView, Axis, Dimension, Ix2, Ix3, Zip, aview1};

use super::Run;
use crate::case::{Case, EPS, MOMENTUM, Op};

pub fn run(case: &Case, op: Op) -> Option<Run<'_>> {
    match (op, case.shape.len()) {
        (Op::Fused | Op::Backward, _) => None,
        (_, 2) => Some(expression(case, columns(case), op)),
        _ => Some(expression(case, planes(case), op)),
    }
}

pub fn preallocated(case: &Case, op: Op) -> Option<Run<'_>> {
    match (op, case.shape.len()) {
        (Op::Moments | Op::Fused | Op::Backward, _) => None,
        (_, 2) => Some(zip(case, columns(case), op)),
        _ => Some(zip(case, planes(case), op)),
    }
}

type MeanVariance = (Array1<f32>, Array1<f32>);

/// A batch of either rank, and what depends on the rank.
struct View<'a, D> {
    x: ArrayView<'a, f32, D>,
    moments: fn(&ArrayView<'a, f32, D>) -> MeanVariance,
    /// One value per feature, shaped to broadcast.
    spread: fn(Array1<f32>) -> Array<f32, D>,
}

fn columns(case: &Case) -> View<'_, Ix2> {
    View {
        x: ArrayView::from_shape((case.shape[0], case.shape[1]), &case.x).expect("as long as the shape"),
        moments: |x| (x.mean_axis(Axis(0)).expect("has rows"), x.var_axis(Axis(0), 0.0)),
        spread: |values| values.insert_axis(Axis(0)),
    }
}

fn planes(case: &Case) -> View<'_, Ix3> {
    let shape = (case.shape[0], case.shape[1], case.layout().inner());
    View {
        x: ArrayView::from_shape(shape, &case.x).expect("as long as the shape"),
        moments: |x| {
            let channels = || x.axis_iter(Axis(1));
            (
                channels().map(|channel| channel.mean().expect("has values")).collect(),
                channels().map(|c| c.var(0.0)).collect(),
            )
        },
        spread: |values| values.insert_axis(Axis(0)).insert_axis(Axis(2)),
    }
}

fn expression<'a, D: Dimension + 'a>(case: &'a Case, view: View<'a, D>, op: Op) -> Run<'a> {
    let mut layer = Layer::new(case, &view);
    Box::new(move |result| {
        if op == Op::Moments {
            let (mean, variance) = std::hint::black_box((view.moments)(&view.x));
            result.into_iter().for_each(|result| result.extend(mean.iter().chain(&variance)));
            return;
        }
        if op == Op::Training {
            layer.measure(&view);
        }
        let y = std::hint::black_box((&view.x - &layer.mean) * &layer.scale + &layer.bias);
        result.into_iter().for_each(|result| result.extend(&y));
    })
}

fn zip<'a, D: Dimension + 'a>(case: &'a Case, view: View<'a, D>, op: Op) -> Run<'a> {
    let mut layer = Layer::new(case, &view);
    let mut y = Array::<f32, D>::zeros(view.x.raw_dim());
    Box::new(move |result| {
        if op == Op::Training {
            layer.measure(&view);
        }
        let parameters = Zip::from(&mut y).and(&view.x).and_broadcast(&layer.mean).and_broadcast(&layer.scale);
        parameters.and_broadcast(&layer.bias).for_each(|y, x, mean, scale, bias| *y = (x - mean) * scale + bias);
        result.into_iter().for_each(|result| result.extend(&y));
    })
}

/// The parameters, shaped to broadcast, and the running statistics that training updates.
struct Layer<'a, D> {
    mean: Array<f32, D>,
    scale: Array<f32, D>,
    bias: Array<f32, D>,
    weight: &'a [f32],
    running_mean: Array1<f32>,
    running_var: Array1<f32>,
}

impl<'a, D: Dimension> Layer<'a, D> {
    fn new(case: &'a Case, view: &View<'a, D>) -> Self {
        let [mean, variance, bias] = [&case.mean, &case.variance, &case.bias].map(|values| aview1(values).to_owned());
        Layer {
            mean: (view.spread)(mean.clone()),
            scale: (view.spread)(scale(&variance, &case.weight)),
            bias: (view.spread)(bias),
            weight: &case.weight,
            running_mean: mean,
            running_var: variance,
        }
    }

    fn measure(&mut self, view: &View<'a, D>) {
        let (mean, variance) = (view.moments)(&view.x);
        let count = (view.x.len() / mean.len()) as f32;
        self.scale = (view.spread)(scale(&variance, self.weight));
        self.running_mean = &self.running_mean * (1.0 - MOMENTUM) + &mean * MOMENTUM;
        self.running_var = &self.running_var * (1.0 - MOMENTUM) + variance * (MOMENTUM * count / (count - 1.0));
        self.mean = (view.spread)(mean);
    }
}

fn scale(variance: &Array1<f32>, weight: &[f32]) -> Array1<f32> {
    &aview1(weight) / (variance + EPS).sqrt()
}
