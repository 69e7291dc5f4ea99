//! A ResNet of four stages with random weights, with candle's batch normalisation and with this one: the time of both, of
//! the whole network and of its batch-norm layers alone, and the largest difference.
//!
//!     cargo run --release --example resnet

use std::time::Instant;

use batchnorm_candle::BatchNormConfig;
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Module, ModuleT, VarBuilder, VarMap, conv2d_no_bias};

type Norm = Box<dyn ModuleT>;

/// Makes a layer of either kind.
type NewNorm = fn(usize, VarBuilder<'_>) -> Result<Norm>;

fn ours(channels: usize, vb: VarBuilder<'_>) -> Result<Norm> {
    Ok(Box::new(batchnorm_candle::batch_norm(channels, BatchNormConfig::default(), vb)?))
}

fn theirs(channels: usize, vb: VarBuilder<'_>) -> Result<Norm> {
    Ok(Box::new(candle_nn::batch_norm(channels, BatchNormConfig::default(), vb)?))
}

/// Two convolutions with batch normalisation, and the input added.
struct Block {
    convolutions: [Conv2d; 2],
    norms: [Norm; 2],
    shortcut: Option<(Conv2d, Norm)>,
}

impl Block {
    fn new(from: usize, to: usize, stride: usize, norm: NewNorm, vb: VarBuilder<'_>) -> Result<Self> {
        let conv = |from, size, stride, name: &str| {
            let config = Conv2dConfig { padding: size / 2, stride, ..Default::default() };
            conv2d_no_bias(from, to, size, config, vb.pp(name))
        };
        let shortcut = if from == to {
            None
        } else {
            Some((conv(from, 1, stride, "downsample.0")?, norm(to, vb.pp("downsample.1"))?))
        };
        Ok(Block {
            convolutions: [conv(from, 3, stride, "conv1")?, conv(to, 3, 1, "conv2")?],
            norms: [norm(to, vb.pp("bn1"))?, norm(to, vb.pp("bn2"))?],
            shortcut,
        })
    }
}

impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let y = self.norms[0].forward_t(&self.convolutions[0].forward(x)?, train)?.relu()?;
        let y = self.norms[1].forward_t(&self.convolutions[1].forward(&y)?, train)?;
        let x = match &self.shortcut {
            Some((conv, norm)) => norm.forward_t(&conv.forward(x)?, train)?,
            None => x.clone(),
        };
        (y + x)?.relu()
    }
}

struct ResNet {
    stem: Conv2d,
    norm: Norm,
    blocks: Vec<Block>,
}

impl ResNet {
    fn new(norm: NewNorm, vb: VarBuilder<'_>) -> Result<Self> {
        let config = Conv2dConfig { padding: 1, ..Default::default() };
        let widths = [32, 32, 64, 128, 256];
        let blocks = widths.windows(2).enumerate().map(|(stage, width)| {
            let stride = if stage == 0 { 1 } else { 2 };
            Block::new(width[0], width[1], stride, norm, vb.pp(format!("layer{}.0", stage + 1)))
        });
        Ok(ResNet {
            stem: conv2d_no_bias(3, widths[0], 3, config, vb.pp("conv1"))?,
            norm: norm(widths[0], vb.pp("bn1"))?,
            blocks: blocks.collect::<Result<_>>()?,
        })
    }
}

impl ModuleT for ResNet {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let first = self.norm.forward_t(&self.stem.forward(x)?, train)?.relu()?;
        let last = self.blocks.iter().try_fold(first, |x, block| block.forward_t(&x, train))?;
        last.mean((2, 3))
    }
}

/// Returns the fewest seconds of some calls of each, which take turns.
fn fastest(mut run: impl FnMut(usize) -> Result<()>) -> Result<[f64; 2]> {
    let mut least = [f64::INFINITY; 2];
    for _ in 0..10 {
        for (which, least) in least.iter_mut().enumerate() {
            let start = Instant::now();
            run(which)?;
            *least = least.min(start.elapsed().as_secs_f64());
        }
    }
    Ok(least)
}

fn main() -> Result<()> {
    let variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    // The second network finds the variables of the first.
    let networks = [ResNet::new(theirs, vb.clone())?, ResNet::new(ours, vb.clone())?];
    let x = Tensor::randn(0f32, 1.0, (8, 3, 32, 32), &Device::Cpu)?;
    println!("a ResNet of four stages, random weights, batch [8, 3, 32, 32], ms per call:\n");
    println!("| | candle_nn | batchnorm-candle | ratio |\n|---|---:|---:|---:|");
    let row = |name: &str, [theirs, ours]: [f64; 2]| {
        println!("| {name} | {:.2} | {:.2} | {:.2} |", theirs * 1e3, ours * 1e3, theirs / ours);
    };
    for (name, train) in [("evaluation", false), ("training, forward", true)] {
        row(name, fastest(|which| networks[which].forward_t(&x, train).map(|_| ()))?);
    }
    let step = |layer: &dyn ModuleT, x: &Tensor| layer.forward_t(x, true)?.sqr()?.sum_all()?.backward().map(|_| ());
    row("training, forward and backward", fastest(|which| step(&networks[which], &x))?);

    let channels = 64;
    let x64 = Tensor::randn(0f32, 1.0, (8, channels, 32, 32), &Device::Cpu)?;
    let layers = [theirs(channels, vb.pp("alone"))?, ours(channels, vb.pp("alone"))?];
    for (name, train) in [("one layer [8, 64, 32, 32], evaluation", false), ("the same, training, forward", true)] {
        row(name, fastest(|which| layers[which].forward_t(&x64, train).map(|_| ()))?);
    }
    row("the same, forward and backward", fastest(|which| step(layers[which].as_ref(), &x64))?);

    let outputs = [false, true].map(|train| {
        let [a, b] = [0, 1].map(|i| networks[i].forward_t(&x, train));
        let largest = |x: &Tensor| x.abs()?.max_all()?.to_scalar::<f32>();
        let (a, b) = (a?, b?);
        Ok::<_, candle_core::Error>(largest(&(&a - &b)?)? / largest(&a)?)
    });
    for (name, difference) in ["evaluation", "training"].into_iter().zip(outputs) {
        let difference = difference?;
        println!("\nlargest difference in {name}, of the largest output: {difference:.1e}");
        assert!(difference < 1e-4, "the networks differ");
    }
    Ok(())
}
