//! A ResNet of four stages with random weights, with burn's batch normalisation and with this one: the time of both, of the
//! whole network and of one layer alone, and the largest difference. The second network loads the record of the first.
//!
//!     cargo run --release --example resnet

use std::time::Instant;

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Distribution, Tensor};

/// Either layer.
trait Norm: Module {
    fn new(channels: usize, device: &Device) -> Self;
    fn apply<const D: usize>(&self, x: Tensor<D>) -> Tensor<D>;
}

impl Norm for burn::nn::BatchNorm {
    fn new(channels: usize, device: &Device) -> Self {
        burn::nn::BatchNormConfig::new(channels).init(device)
    }

    fn apply<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.forward(x)
    }
}

impl Norm for batchnorm_burn::BatchNorm {
    fn new(channels: usize, device: &Device) -> Self {
        batchnorm_burn::BatchNormConfig::new(channels).init(device)
    }

    fn apply<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.forward(x)
    }
}

/// A convolution and its batch normalisation.
#[derive(Module, Debug)]
struct ConvNorm<N: Module> {
    conv: Conv2d,
    norm: N,
}

impl<N: Norm> ConvNorm<N> {
    fn new(channels: [usize; 2], size: usize, stride: usize, device: &Device) -> Self {
        let pad = size / 2;
        let conv = Conv2dConfig::new(channels, [size, size])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
            .with_bias(false)
            .init(device);
        ConvNorm { conv, norm: N::new(channels[1], device) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.apply(self.conv.forward(x))
    }
}

/// Two convolutions with batch normalisation, and the input added.
#[derive(Module, Debug)]
struct Block<N: Module> {
    first: ConvNorm<N>,
    second: ConvNorm<N>,
    shortcut: Option<ConvNorm<N>>,
}

impl<N: Norm> Block<N> {
    fn new(from: usize, to: usize, stride: usize, device: &Device) -> Self {
        Block {
            first: ConvNorm::new([from, to], 3, stride, device),
            second: ConvNorm::new([to, to], 3, 1, device),
            shortcut: (from != to).then(|| ConvNorm::new([from, to], 1, stride, device)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.second.forward(relu(self.first.forward(x.clone())));
        let x = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x),
            None => x,
        };
        relu(y + x)
    }
}

#[derive(Module, Debug)]
struct ResNet<N: Module> {
    stem: ConvNorm<N>,
    blocks: Vec<Block<N>>,
}

impl<N: Norm> ResNet<N> {
    fn new(device: &Device) -> Self {
        let widths = [32, 32, 64, 128, 256];
        let blocks = widths.windows(2).enumerate();
        let blocks = blocks.map(|(stage, width)| Block::new(width[0], width[1], 1 + stage.min(1), device));
        ResNet { stem: ConvNorm::new([3, widths[0]], 3, 1, device), blocks: blocks.collect() }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let first = relu(self.stem.forward(x));
        self.blocks.iter().fold(first, |x, block| block.forward(x)).mean_dims(&[2, 3])
    }
}

/// Prints the fewest milliseconds of some calls of each, which take turns, and the ratios of these and of the medians.
fn compare(name: &str, runs: usize, theirs: impl Fn(), ours: impl Fn()) {
    let mut times = [vec![], vec![]];
    for _ in 0..runs {
        for (run, times) in [&theirs as &dyn Fn(), &ours].into_iter().zip(&mut times) {
            let start = Instant::now();
            run();
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    let ([theirs, ours], middle) = (&times, runs / 2);
    let (least, median) = (theirs[0] / ours[0], theirs[middle] / ours[middle]);
    println!("| {name} | {:.3} | {:.3} | {least:.2} | {median:.2} |", theirs[0], ours[0]);
}

/// Trains a step: forward, and backward through the sum of squares.
fn step<const D: usize>(forward: impl Fn(Tensor<D>) -> Tensor<D>, x: &Tensor<D>) {
    drop(forward(x.clone()).powi_scalar(2).sum().backward());
}

fn one_layer<const D: usize>(shape: [usize; D]) {
    let device = Device::flex().autodiff();
    let theirs = <burn::nn::BatchNorm as Norm>::new(shape[1], &device);
    let ours = <batchnorm_burn::BatchNorm as Norm>::new(shape[1], &device);
    let x = Tensor::<D>::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex());
    let (theirs_frozen, ours_frozen) = (theirs.valid(), ours.valid());
    let evaluate = |forward: &dyn Fn(Tensor<D>) -> Tensor<D>| drop(forward(x.clone()));
    compare(
        &format!("one layer {shape:?}, evaluation"),
        40,
        || evaluate(&|x| theirs_frozen.forward(x)),
        || evaluate(&|x| ours_frozen.forward(x)),
    );
    let x = Tensor::from_inner(x);
    let forward = |forward: &dyn Fn(Tensor<D>) -> Tensor<D>| drop(forward(x.clone()));
    compare("the same, training, forward", 40, || forward(&|x| theirs.forward(x)), || forward(&|x| ours.forward(x)));
    let x = x.clone().require_grad();
    compare("the same, forward and backward", 20, || step(|x| theirs.forward(x), &x), || step(|x| ours.forward(x), &x));
}

fn main() {
    let device = Device::flex().autodiff();
    let theirs = ResNet::<burn::nn::BatchNorm>::new(&device);
    let ours = ResNet::<batchnorm_burn::BatchNorm>::new(&device).load_record(theirs.clone().into_record());
    let (theirs_frozen, ours_frozen) = (theirs.valid(), ours.valid());
    let x = Tensor::<4>::random([8, 3, 32, 32], Distribution::Normal(0.0, 1.0), &Device::flex());

    println!("a ResNet of four stages, random weights, batch [8, 3, 32, 32], ms per call:\n");
    println!("| | burn::nn | batchnorm-burn | ratio | of medians |\n|---|---:|---:|---:|---:|");
    compare("evaluation", 20, || drop(theirs_frozen.forward(x.clone())), || drop(ours_frozen.forward(x.clone())));
    let x = Tensor::from_inner(x);
    compare("training, forward", 20, || drop(theirs.forward(x.clone())), || drop(ours.forward(x.clone())));
    compare("training, forward and backward", 10, || step(|x| theirs.forward(x), &x), || step(|x| ours.forward(x), &x));
    one_layer([8, 64, 32, 32]);
    one_layer([8192, 128]);

    // (`valid` also gathers the last running statistics, which a record of a training model may lack.)
    let ours_frozen = ours.valid();
    let theirs_frozen =
        ResNet::<burn::nn::BatchNorm>::new(&Device::flex()).load_record(ours_frozen.clone().into_record());
    let inner = x.clone().inner();
    let outputs = [
        ("evaluation", theirs_frozen.forward(inner.clone()), ours_frozen.forward(inner)),
        ("training", theirs.forward(x.clone()).inner(), ours.forward(x).inner()),
    ];
    for (name, theirs, ours) in outputs {
        let largest = |tensor: Tensor<4>| tensor.abs().max().into_scalar::<f32>();
        let difference = largest(theirs.clone() - ours) / largest(theirs);
        println!("\nlargest difference in {name}, of the largest output: {difference:.1e}");
        assert!(difference < 1e-4, "the networks differ");
    }
}
