//! What is measured: a shape with its data, and an operation on it.

use std::fmt;

use batchnorm::{Batch, Layout};

/// Shapes `[N, C]` that fit a cache, and that do not; narrow, tiny and wide ones; then shapes `[N, C, H, W]` of a
/// ResNet.
pub const SHAPES: [&[usize]; 9] = [
    &[64, 256],
    &[1024, 512],
    &[65536, 128],
    &[1_000_000, 5],
    &[6, 5],
    &[64, 65536],
    &[8, 64, 56, 56],
    &[8, 256, 14, 14],
    &[8, 512, 7, 7],
];

pub const EPS: f32 = 1e-5;
pub const MOMENTUM: f32 = 0.1;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Mean and variance of each feature, as two arrays of f32.
    Moments,
    /// Normalisation by given statistics, with weight and bias.
    Inference,
    /// Normalisation by the batch's statistics, with weight and bias.
    Training,
    /// Inference, a residual added, and a ReLU.
    Fused,
    /// The gradients of training with respect to inputs, weight and bias.
    Backward,
}

impl Op {
    pub const ALL: [Op; 5] = [Op::Moments, Op::Inference, Op::Training, Op::Fused, Op::Backward];
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Op::Moments => "moments",
            Op::Inference => "inference",
            Op::Training => "training",
            Op::Fused => "fused",
            Op::Backward => "backward",
        })
    }
}

/// A batch and a layer's parameters.
pub struct Case {
    pub shape: &'static [usize],
    pub x: Vec<f32>,
    /// A second batch: the residual, or the gradients with respect to outputs.
    pub other: Vec<f32>,
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

impl Case {
    pub fn new(shape: &'static [usize]) -> Self {
        let features = shape[1];
        let per_feature = |at: fn(f32) -> f32| (0..features).map(|f| at((f % 8) as f32 / 8.0)).collect();
        let mut state = 1u64;
        let mut values = || (0..shape.iter().product()).map(|_| uniform(&mut state)).collect();
        Case {
            shape,
            x: values(),
            other: values(),
            weight: per_feature(|t| 0.5 + t),
            bias: per_feature(|t| t - 0.5),
            mean: per_feature(|t| 0.25 * t),
            variance: per_feature(|t| 0.5 + t),
        }
    }

    pub fn layout(&self) -> Layout {
        Layout::new(self.shape[0], self.shape[1], self.shape[2..].iter().product())
    }

    pub fn batch(&self) -> Batch<'_, f32> {
        Batch::new(&self.x, self.layout()).expect("the data fill the shape")
    }

    pub fn other(&self) -> Batch<'_, f32> {
        Batch::new(&self.other, self.layout()).expect("the data fill the shape")
    }

    pub fn features(&self) -> usize {
        self.shape[1]
    }

    pub fn name(&self) -> String {
        self.shape.iter().map(|side| side.to_string()).collect::<Vec<_>>().join("x")
    }
}

/// Returns values in -0.5..1.5, the same in every run. Their mean is small, so that peers that sum in f32 come close to
/// the right result, and only a peer that was called incorrectly is far from it.
fn uniform(state: &mut u64) -> f32 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    (*state >> 40) as f32 / (1u64 << 23) as f32 - 0.5
}
