//! The network of `train.py`: four convolutions, each with a batch norm and a ReLU, and a linear layer.

use std::error::Error;
use std::time::{Duration, Instant};

use batchnorm::{Activation, Batch, BatchMut, BatchNorm, Inference, Layout};

use crate::tensors::File;

pub(crate) const SIDE: usize = 8;
pub(crate) const CLASSES: usize = 10;

/// PyTorch's default, which a state dict does not hold.
const EPS: f64 = 1e-5;

/// Input channels, output channels and stride of each convolution.
const CONVOLUTIONS: [(usize, usize, usize); LAYERS] = [(1, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1)];
pub(crate) const LAYERS: usize = 4;

/// How the batch norm of a layer runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Norm {
    /// By itself; then the input is added, in the last layer; then the ReLU.
    Separate,
    /// With the addition and the ReLU in the same pass.
    Fused,
    /// Not at all: its scale and shift are in the convolution.
    Folded,
}

/// The time that a layer took: the convolution, and everything after it.
pub(crate) type Times = [[Duration; 2]; LAYERS];

/// A convolution with a kernel of 3x3 and a padding of 1, and its batch norm.
struct Layer {
    channels: [usize; 2],
    stride: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
    norm: Inference,
    /// Whether the layer adds its input before the ReLU.
    residual: bool,
}

impl Layer {
    /// Reads the layer of this number, from 1 on.
    fn read(file: &File<'_>, number: usize) -> Result<Self, Box<dyn Error>> {
        let (from, to, stride) = CONVOLUTIONS[number - 1];
        let weight = file.floats(&format!("conv{number}.weight"), &[to, from, 3, 3])?;
        let state = |name: &str| -> Result<Vec<f64>, Box<dyn Error>> {
            Ok(file.floats(&format!("bn{number}.{name}"), &[to])?.into_iter().map(f64::from).collect())
        };
        let mut bn = BatchNorm::new(to).with_eps(EPS)?;
        bn.set_weight(&state("weight")?)?;
        bn.set_bias(&state("bias")?)?;
        bn.set_running_mean(&state("running_mean")?)?;
        bn.set_running_var(&state("running_var")?)?;
        let (norm, residual) = (bn.to_inference(), number == LAYERS);
        Ok(Layer { channels: [from, to], stride, weight, bias: vec![0.0; to], norm, residual })
    }

    /// Returns the outputs for images of a side, and how long both halves took.
    fn forward(&self, norm: Norm, x: &[f32], side: usize) -> batchnorm::Result<(Vec<f32>, [Duration; 2])> {
        let start = Instant::now();
        let mut y = self.convolution(x, side);
        let convolved = start.elapsed();
        let to = side / self.stride;
        let layout = Layout::nchw(x.len() / (self.channels[0] * side * side), self.channels[1], to, to);
        let residual = self.residual.then_some(x);
        if norm == Norm::Fused {
            let values = BatchMut::new(&mut y, layout)?;
            match residual {
                Some(x) => self.norm.forward_add_in_place(values, Batch::new(x, layout)?)?,
                None => self.norm.forward_in_place(values)?,
            }
        } else {
            if norm == Norm::Separate {
                self.norm.forward_in_place(BatchMut::new(&mut y, layout)?)?;
            }
            for (y, x) in y.iter_mut().zip(residual.unwrap_or_default()) {
                *y += x;
            }
            // NaN stays NaN.
            y.iter_mut().for_each(|y| *y = if *y <= 0.0 { 0.0 } else { *y });
        }
        Ok((y, [convolved, start.elapsed() - convolved]))
    }

    /// Plain loops. Sums are f64, so that differences from PyTorch are its own.
    fn convolution(&self, x: &[f32], side: usize) -> Vec<f32> {
        let [from, to] = self.channels;
        let side_out = side / self.stride;
        let images = x.len() / (from * side * side);
        let mut y = Vec::with_capacity(images * to * side_out * side_out);
        let mut sums = vec![0f64; side_out * side_out];
        for image in x.chunks_exact(from * side * side) {
            for (weight, bias) in self.weight.chunks_exact(from * 9).zip(&self.bias) {
                sums.fill(f64::from(*bias));
                for (kernel, plane) in weight.chunks_exact(9).zip(image.chunks_exact(side * side)) {
                    self.add_plane(&mut sums, kernel, plane, side);
                }
                y.extend(sums.iter().map(|sum| *sum as f32));
            }
        }
        y
    }

    /// Adds what one input channel contributes to one output channel.
    fn add_plane(&self, sums: &mut [f64], kernel: &[f32], plane: &[f32], side: usize) {
        let side_out = side / self.stride;
        for (at, weight) in kernel.iter().enumerate() {
            let (down, right) = (at / 3, at % 3);
            for row in 0..side_out {
                // The padding is one position above and to the left.
                let Some(row_in) = (row * self.stride + down).checked_sub(1).filter(|row| *row < side) else {
                    continue;
                };
                for column in 0..side_out {
                    let column_in = (column * self.stride + right).checked_sub(1).filter(|column| *column < side);
                    if let Some(column_in) = column_in {
                        let product = f64::from(*weight) * f64::from(plane[row_in * side + column_in]);
                        sums[row * side_out + column] += product;
                    }
                }
            }
        }
    }
}

pub(crate) struct Network {
    layers: Vec<Layer>,
    norm: Norm,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Network {
    pub(crate) fn read(file: &File<'_>, norm: Norm) -> Result<Self, Box<dyn Error>> {
        let mut layers = (1..=LAYERS).map(|number| Layer::read(file, number)).collect::<Result<Vec<_>, _>>()?;
        for layer in &mut layers {
            match norm {
                Norm::Separate => {}
                Norm::Fused => layer.norm = layer.norm.clone().with_activation(Activation::Relu),
                Norm::Folded => layer.norm.fold_into_conv(&mut layer.weight, &mut layer.bias)?,
            }
        }
        let (_, features, _) = CONVOLUTIONS[LAYERS - 1];
        let weight = file.floats("fc.weight", &[CLASSES, features])?;
        Ok(Network { layers, norm, weight, bias: file.floats("fc.bias", &[CLASSES])? })
    }

    /// Returns the logits of images, and how long each layer took.
    pub(crate) fn forward(&self, images: &[f32]) -> batchnorm::Result<(Vec<f32>, Times)> {
        let (mut x, mut side, mut times) = (images.to_vec(), SIDE, Times::default());
        for (layer, time) in self.layers.iter().zip(&mut times) {
            (x, *time) = layer.forward(self.norm, &x, side)?;
            side /= layer.stride;
        }
        let features = self.weight.len() / CLASSES;
        let means: Vec<f64> = x
            .chunks_exact(side * side)
            .map(|plane| plane.iter().map(|x| f64::from(*x)).sum::<f64>() / plane.len() as f64)
            .collect();
        let logits = means.chunks_exact(features).flat_map(|means| {
            self.weight.chunks_exact(features).zip(&self.bias).map(move |(weight, bias)| {
                let products = means.iter().zip(weight).map(|(mean, weight)| mean * f64::from(*weight));
                (products.sum::<f64>() + f64::from(*bias)) as f32
            })
        });
        Ok((logits.collect(), times))
    }
}
