//! Folding against plain loops in f64: the folded layer computes what both layers compute one after the other.

use batchnorm::{Activation, Batch, BatchMut, BatchNorm, Element, Error, Inference, Layout, Result};

/// Values in [-1, 1), without a pattern that rows, groups or kernels share.
fn values<T: Element>(len: usize, seed: usize) -> Vec<T> {
    let value = |i: usize| ((i + 1) * (seed * 2 + 7919) * 104_729 % 20_011) as f64 / 10_005.5 - 1.0;
    (0..len).map(|i| T::from_f64(value(i))).collect()
}

fn wide<T: Element>(values: &[T]) -> Vec<f64> {
    values.iter().map(|x| x.to_f64()).collect()
}

/// A frozen layer with all four parameters, the last feature constant in training.
fn layer(features: usize, eps: f64) -> Inference {
    let mut bn = BatchNorm::new(features).with_eps(eps).expect("eps");
    let mut variance: Vec<f64> = values(features, 3).iter().map(|v: &f64| v * v * 9.0 + 0.1).collect();
    variance[features - 1] = 0.0;
    bn.set_running_mean(&values::<f64>(features, 1).iter().map(|m| m * 5.0).collect::<Vec<_>>()).expect("fits");
    bn.set_running_var(&variance).expect("fits");
    bn.set_weight(&values::<f64>(features, 4)).expect("fits");
    bn.set_bias(&values::<f64>(features, 5)).expect("fits");
    bn.to_inference()
}

fn normalise(bn: &Inference, x: &[f64], inner: usize) -> Vec<f64> {
    let layout = Layout::ncl(x.len() / inner / bn.num_features(), bn.num_features(), inner);
    let mut y = vec![0.0; x.len()];
    bn.forward(Batch::new(x, layout).expect("x"), BatchMut::new(&mut y, layout).expect("y")).expect("runs");
    y
}

/// The shape of a convolution of one image.
#[derive(Clone, Copy)]
struct Conv {
    inputs: usize,
    outputs: usize,
    groups: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: usize,
    padding: usize,
}

impl Conv {
    fn weights(&self) -> usize {
        self.inputs * self.outputs / self.groups * self.kernel[0] * self.kernel[1]
    }

    fn output(&self) -> [usize; 2] {
        [0, 1].map(|d| (self.size[d] + 2 * self.padding - self.kernel[d]) / self.stride + 1)
    }

    /// `x` is [inputs, height, width], `weight` [outputs, inputs / groups, height, width].
    fn apply(&self, weight: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
        let [height, width] = self.output();
        let (of_in, of_out) = (self.inputs / self.groups, self.outputs / self.groups);
        let mut y = Vec::new();
        for (o, i, j) in (0..self.outputs).flat_map(|o| (0..height * width).map(move |at| (o, at / width, at % width)))
        {
            let mut sum = bias[o];
            for (c, k, l) in (0..of_in).flat_map(|c| {
                let kernel = self.kernel;
                (0..kernel[0] * kernel[1]).map(move |at| (c, at / kernel[1], at % kernel[1]))
            }) {
                let (row, column) = (i * self.stride + k, j * self.stride + l);
                let inside = |at: usize, size: usize| at >= self.padding && at - self.padding < size;
                if inside(row, self.size[0]) && inside(column, self.size[1]) {
                    let channel = o / of_out * of_in + c;
                    let place = (channel * self.size[0] + row - self.padding) * self.size[1] + column - self.padding;
                    sum += weight[((o * of_in + c) * self.kernel[0] + k) * self.kernel[1] + l] * x[place];
                }
            }
            y.push(sum);
        }
        y
    }
}

/// A transposed convolution in one dimension. `x` is [inputs, len], `weight` [inputs, outputs / groups, kernel].
fn transposed(
    (inputs, outputs, groups, kernel, stride): (usize, usize, usize, usize, usize),
    weight: &[f64],
    bias: &[f64],
    x: &[f64],
) -> Vec<f64> {
    let (len, of_in, of_out) = (x.len() / inputs, inputs / groups, outputs / groups);
    let wide = (len - 1) * stride + kernel;
    let mut y: Vec<f64> = bias.iter().flat_map(|b| vec![*b; wide]).collect();
    for i in 0..inputs {
        for o in 0..of_out {
            for (at, k) in (0..len).flat_map(|at| (0..kernel).map(move |k| (at, k))) {
                let output = i / of_in * of_out + o;
                y[output * wide + at * stride + k] += weight[(i * of_out + o) * kernel + k] * x[i * len + at];
            }
        }
    }
    y
}

/// Asserts that values agree but for rounding: of sums of some ten products, scaled by `bn`, in f64, and of weights to T.
fn assert_close<T: Element>(name: &str, bn: &Inference, folded: &[f64], expected: &[f64]) {
    assert_eq!(folded.len(), expected.len(), "{name}");
    let unit = if size_of::<T>() == 4 { 2f64.powi(-24) } else { 2f64.powi(-53) };
    let bound = 50.0 * unit * bn.scale().iter().fold(1f64, |largest, scale| largest.max(scale.abs()));
    for (at, (a, b)) in folded.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= bound, "{name}: value {at} is {a}, but should be {b}");
    }
}

const CONVS: [Conv; 5] = [
    Conv { inputs: 3, outputs: 4, groups: 1, size: [5, 6], kernel: [3, 2], stride: 1, padding: 0 },
    Conv { inputs: 4, outputs: 6, groups: 2, size: [5, 6], kernel: [2, 3], stride: 2, padding: 1 },
    Conv { inputs: 6, outputs: 4, groups: 2, size: [3, 3], kernel: [1, 1], stride: 1, padding: 0 },
    Conv { inputs: 5, outputs: 5, groups: 5, size: [4, 7], kernel: [3, 3], stride: 1, padding: 1 },
    Conv { inputs: 2, outputs: 3, groups: 1, size: [1, 9], kernel: [1, 4], stride: 2, padding: 0 },
];

fn into_the_layer_before<T: Element>() {
    for (conv, with_bias) in CONVS.into_iter().flat_map(|conv| [(conv, false), (conv, true)]) {
        let bn = layer(conv.outputs, 1e-3);
        let mut weight: Vec<T> = values(conv.weights(), 11);
        let mut bias: Vec<T> = if with_bias { values(conv.outputs, 12) } else { vec![T::from_f64(0.0); conv.outputs] };
        let x: Vec<f64> = values(conv.inputs * conv.size[0] * conv.size[1], 13);
        let [height, width] = conv.output();
        let expected = normalise(&bn, &conv.apply(&wide(&weight), &wide(&bias), &x), height * width);
        bn.fold_into_conv(&mut weight, &mut bias).expect("fits");
        assert_close::<T>("convolution before", &bn, &conv.apply(&wide(&weight), &wide(&bias), &x), &expected);
    }
    for shape in [(3, 4, 1, 3, 2), (4, 6, 2, 3, 1), (6, 4, 2, 1, 3), (5, 5, 5, 4, 2)] {
        let (inputs, outputs, groups, kernel, stride) = shape;
        let bn = layer(outputs, 1e-3);
        let mut weight: Vec<T> = values(inputs * outputs / groups * kernel, 21);
        let mut bias: Vec<T> = values(outputs, 22);
        let x: Vec<f64> = values(inputs * 7, 23);
        let inner = 6 * stride + kernel;
        let expected = normalise(&bn, &transposed(shape, &wide(&weight), &wide(&bias), &x), inner);
        bn.fold_into_conv_transpose(&mut weight, &mut bias, inputs, groups).expect("fits");
        assert_close::<T>("transposed before", &bn, &transposed(shape, &wide(&weight), &wide(&bias), &x), &expected);
    }
}

fn into_the_layer_after<T: Element>() {
    for conv in CONVS.into_iter().filter(|conv| conv.padding == 0) {
        let bn = layer(conv.inputs, 1e-3);
        let mut weight: Vec<T> = values(conv.weights(), 31);
        let mut bias: Vec<T> = values(conv.outputs, 32);
        let x: Vec<f64> = values(conv.inputs * conv.size[0] * conv.size[1], 33);
        let normalised = normalise(&bn, &x, conv.size[0] * conv.size[1]);
        let expected = conv.apply(&wide(&weight), &wide(&bias), &normalised);
        // One pixel and a kernel of one: a linear layer.
        if conv.kernel == [1, 1] && conv.groups == 1 {
            bn.fold_into_following_linear(&mut weight, &mut bias).expect("fits");
        } else {
            bn.fold_into_following_conv(&mut weight, &mut bias, conv.groups).expect("fits");
        }
        assert_close::<T>("convolution after", &bn, &conv.apply(&wide(&weight), &wide(&bias), &x), &expected);
    }
}

/// A linear layer is a convolution of one pixel.
fn linear<T: Element>() {
    let conv = Conv { inputs: 7, outputs: 5, groups: 1, size: [1, 1], kernel: [1, 1], stride: 1, padding: 0 };
    let x: Vec<f64> = values(7, 41);
    let (weight, bias): (Vec<T>, Vec<T>) = (values(35, 42), values(5, 43));
    let (before, after) = (layer(5, 1e-5), layer(7, 1e-3));

    let expected = normalise(&before, &conv.apply(&wide(&weight), &wide(&bias), &x), 1);
    let (mut w, mut b) = (weight.clone(), bias.clone());
    before.fold_into_linear(&mut w, &mut b).expect("fits");
    assert_close::<T>("linear before", &before, &conv.apply(&wide(&w), &wide(&b), &x), &expected);

    let expected = conv.apply(&wide(&weight), &wide(&bias), &normalise(&after, &x, 1));
    let (mut w, mut b) = (weight.clone(), bias);
    after.fold_into_following_linear(&mut w, &mut b).expect("fits");
    assert_close::<T>("linear after", &after, &conv.apply(&wide(&w), &wide(&b), &x), &expected);
}

#[test]
fn folded_layers_compute_what_both_layers_compute() {
    into_the_layer_before::<f32>();
    into_the_layer_before::<f64>();
    into_the_layer_after::<f32>();
    into_the_layer_after::<f64>();
    linear::<f32>();
    linear::<f64>();
}

/// Weights for f32 are `weight * scale` in f64, rounded once, as PyTorch's in f64.
#[test]
fn f32_weights_are_rounded_once() {
    let mut bn = BatchNorm::new(3);
    bn.set_running_mean(&[0.3, 1e3, -7.0]).expect("fits");
    bn.set_running_var(&[0.7, 12.0, 1e-3]).expect("fits");
    bn.set_weight(&[1.1, -0.9, 3.0]).expect("fits");
    bn.set_bias(&[0.2, 0.1, 5.0]).expect("fits");
    let (before, bias): (Vec<f32>, Vec<f32>) = (values(3 * 50, 51), values(3, 52));
    let (mut after, mut new_bias) = (before.clone(), bias.clone());
    bn.to_inference().fold_into_linear(&mut after, &mut new_bias).expect("fits");
    let weight = bn.weight().expect("set");
    for feature in 0..3 {
        let scale = weight[feature] * (1.0 / (bn.running_var()[feature] + 1e-5).sqrt());
        for at in feature * 50..(feature + 1) * 50 {
            assert_eq!(after[at], (f64::from(before[at]) * scale) as f32);
        }
        let shifted = (f64::from(bias[feature]) - bn.running_mean()[feature]) * scale;
        assert_eq!(new_bias[feature], (shifted + bn.bias().expect("set")[feature]) as f32);
    }
}

/// The rounding errors of the weights do not grow with the mean, because the bias is made of the rounded weights.
#[test]
fn a_following_layer_sees_x_minus_mean() {
    let mut bn = BatchNorm::new(1).with_eps(0.0).expect("eps");
    bn.set_running_mean(&[1e6]).expect("fits");
    bn.set_running_var(&[3.0]).expect("fits");
    let (mut weight, mut bias): (Vec<f32>, _) = (values(100, 61), [0.0f32; 100]);
    bn.to_inference().fold_into_following_linear(&mut weight, &mut bias).expect("fits");
    for (weight, bias) in weight.into_iter().zip(bias) {
        assert_eq!(bias, (-f64::from(weight) * 1e6) as f32);
    }
}

/// A scale that f64 cannot hold is applied factor by factor.
#[test]
fn scales_out_of_range_fold() {
    let mut bn = BatchNorm::new(1).with_eps(0.0).expect("eps");
    bn.set_running_var(&[1e-300]).expect("fits");
    bn.set_weight(&[1e200]).expect("fits");
    let (mut weight, mut bias) = ([1e-200f64], [0.0]);
    bn.to_inference().fold_into_linear(&mut weight, &mut bias).expect("fits");
    assert!((weight[0] / 1e150 - 1.0).abs() < 1e-14, "{weight:?}");
    assert_eq!(bias, [0.0]);
}

/// Calls with wrong shapes, and what they say.
#[test]
fn errors_name_both_numbers_and_leave_everything_unchanged() {
    type Call = fn(&Inference, &mut [f32], &mut [f32]) -> Result<()>;
    let (linear, following): (Call, Call) =
        (Inference::fold_into_linear::<f32>, Inference::fold_into_following_linear::<f32>);
    let transposed: Call = |bn, w, b| bn.fold_into_conv_transpose(w, b, 4, 2);
    let groups: Call = |bn, w, b| bn.fold_into_conv_transpose(w, b, 3, 2);
    let no_groups: Call = |bn, w, b| bn.fold_into_following_conv(w, b, 0);
    let conv: Call = |bn, w, b| bn.fold_into_following_conv(w, b, 2);
    let cases: [(Call, usize, usize, &str); 8] = [
        (linear, 29, 4, "the number of values of the weight must be a multiple of 4, but is 29"),
        (linear, 28, 3, "bias needs 4 values, one per feature, but got 3"),
        (transposed, 9, 4, "the number of values of the weight must be a multiple of 8, but is 9"),
        (groups, 8, 4, "3 channels cannot be split into 2 groups"),
        (following, 7, 2, "the weight needs 8 values, but has 7"),
        (no_groups, 8, 2, "4 channels cannot be split into 0 groups"),
        (conv, 7, 2, "the number of values of the weight must be a multiple of 4, but is 7"),
        (conv, 8, 3, "3 channels cannot be split into 2 groups"),
    ];
    let bn = layer(4, 1e-5);
    for (call, weights, biases, message) in cases {
        let (mut weight, mut bias): (Vec<f32>, Vec<f32>) = (values(weights, 1), values(biases, 2));
        let error = call(&bn, &mut weight, &mut bias).expect_err(message).to_string();
        assert_eq!(error, message);
        assert_eq!((weight, bias), (values(weights, 1), values(biases, 2)), "{message}");
    }
    let relu = bn.with_activation(Activation::Relu);
    let (mut weight, mut bias) = ([1.0f32; 8], [0.0f32; 2]);
    let error = relu.fold_into_following_linear(&mut weight, &mut bias).expect_err("an activation");
    assert!(matches!(error, Error::ActivationInBetween { activation: Activation::Relu, .. }), "{error}");
    relu.fold_into_linear(&mut weight, &mut [0.0; 4]).expect("the activation stays");
}

#[test]
fn layers_without_features_or_outputs() {
    let empty = BatchNorm::new(0).to_inference();
    empty.fold_into_linear::<f32>(&mut [], &mut []).expect("nothing");
    let mut bias = [1.0f32, 2.0];
    empty.fold_into_following_linear(&mut [], &mut bias).expect("nothing to add");
    assert_eq!(bias, [1.0, 2.0]);
    layer(3, 1e-5).fold_into_following_conv::<f64>(&mut [], &mut [], 1).expect("nothing");
    layer(3, 1e-5).fold_into_linear::<f64>(&mut [], &mut [0.0; 3]).expect("no inputs");
}

/// An empty weight fits any number of channels, also one too large to count to.
#[test]
fn kernels_without_weights() {
    for (channels, groups) in [(usize::MAX, 1), (usize::MAX - 1, 2), (4, 2)] {
        let mut bias = [1.0f32; 4];
        layer(4, 1e-3).fold_into_conv_transpose(&mut [], &mut bias, channels, groups).expect("nothing to scale");
        assert_ne!(bias, [1.0; 4]);
    }
}
