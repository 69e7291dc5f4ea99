//! A linear layer in plain loops.

use super::digits::Random;

/// `y = weight * x + bias` for each row `x` of a batch. The weight is `[outputs, inputs]`, as in PyTorch.
#[derive(Clone)]
pub(crate) struct Linear {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    inputs: usize,
}

impl Linear {
    /// Returns a layer with random weights, whose outputs are about as large as its inputs.
    pub(crate) fn new(inputs: usize, outputs: usize, random: &mut Random) -> Self {
        let scale = 1.0 / (inputs as f32).sqrt();
        let weight = (0..inputs * outputs).map(|_| random.noise() * scale).collect();
        Linear { weight, bias: vec![0.0; outputs], inputs }
    }

    /// Replaces `y` by the outputs.
    pub(crate) fn forward(&self, x: &[f32], y: &mut Vec<f32>) {
        y.clear();
        for x in x.chunks_exact(self.inputs) {
            y.extend(self.weight.chunks_exact(self.inputs).zip(&self.bias).map(|(row, bias)| dot(row, x) + bias));
        }
    }

    /// Replaces `dx` by the gradients with respect to the inputs: for each row, `dy * weight`.
    pub(crate) fn backward(&self, dy: &[f32], dx: &mut Vec<f32>) {
        dx.clear();
        dx.resize(dy.len() / self.bias.len() * self.inputs, 0.0);
        for (dy, dx) in dy.chunks_exact(self.bias.len()).zip(dx.chunks_exact_mut(self.inputs)) {
            for (dy, row) in dy.iter().zip(self.weight.chunks_exact(self.inputs)) {
                dx.iter_mut().zip(row).for_each(|(dx, weight)| *dx += dy * weight);
            }
        }
    }

    /// Moves weight and bias against their gradients, the sums of `dy * x` and of `dy` over all rows.
    pub(crate) fn step(&mut self, x: &[f32], dy: &[f32], rate: f32) {
        for (x, dy) in x.chunks_exact(self.inputs).zip(dy.chunks_exact(self.bias.len())) {
            for ((row, bias), dy) in self.weight.chunks_exact_mut(self.inputs).zip(&mut self.bias).zip(dy) {
                row.iter_mut().zip(x).for_each(|(weight, x)| *weight -= rate * dy * x);
                *bias -= rate * dy;
            }
        }
    }
}

/// Returns the inner product. Its eight sums let the compiler use lanes.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}
