//! What the benches share: shapes, data, operations by path, the limits of the machine, and timing.
#![allow(dead_code, unreachable_pub, reason = "each bench uses a part of it")]

pub mod args;
pub mod limits;
pub mod measure;
#[path = "../../tests/common/nasty.rs"]
pub mod nasty;

use std::ops::{Deref, DerefMut};

use batchnorm::{
    Activation, Batch, BatchMut, BatchNorm, Element, Gradients, Inference, Isa, Layout, Moments, Path, Workspace,
    moments,
};
use bytemuck::Pod;
use limits::Limit;
use nasty::Kind;

/// A batch shape and its name.
#[derive(Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    pub layout: Layout,
}

pub const fn shape(name: &'static str, layout: Layout) -> Shape {
    Shape { name, layout }
}

/// Typical shapes: tables of every width, and the activations of common networks.
pub const SHAPES: [Shape; 10] = [
    shape("NC 6x5", Layout::nc(6, 5)),
    shape("NC 64x256", Layout::nc(64, 256)),
    shape("NC 256x256", Layout::nc(256, 256)),
    shape("NC 1024x512", Layout::nc(1024, 512)),
    shape("NC 65536x128", Layout::nc(65_536, 128)),
    shape("NC 1000000x5", Layout::nc(1_000_000, 5)),
    shape("NC 64x65536", Layout::nc(64, 65_536)),
    shape("NCHW 8x64x56x56", Layout::nchw(8, 64, 56, 56)),
    shape("NCHW 8x256x14x14", Layout::nchw(8, 256, 14, 14)),
    shape("NCHW 8x512x7x7", Layout::nchw(8, 512, 7, 7)),
];

/// Shapes larger than any cache of the machine, to measure memory.
pub const LARGE: [Shape; 3] = [
    shape("NC 524288x128", Layout::nc(524_288, 128)),
    shape("NC 13421772x5", Layout::nc(13_421_772, 5)),
    shape("NCHW 320x64x56x56", Layout::nchw(320, 64, 56, 56)),
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    Moments,
    Inference,
    Training,
    /// Inference, a residual and a ReLU in one pass.
    Residual,
    /// The gradients of training with respect to inputs, weight and bias.
    Backward,
}

impl Op {
    pub const ALL: [Op; 5] = [Op::Moments, Op::Inference, Op::Training, Op::Residual, Op::Backward];
    /// Those whose limit is reading or copying one batch.
    pub const BASIC: [Op; 3] = [Op::Moments, Op::Inference, Op::Training];

    pub fn name(self) -> &'static str {
        match self {
            Op::Moments => "moments",
            Op::Inference => "inference",
            Op::Training => "training",
            Op::Residual => "residual",
            Op::Backward => "backward",
        }
    }

    /// Returns the number of bytes that must be moved. Every value is read once and, except for moments, written once; a
    /// residual is read, too. The backward pass reads the inputs and the outputs' gradients twice, because the gradients
    /// of the inputs depend on sums over all of them.
    pub fn bytes(self, values: usize, size: usize) -> usize {
        let per_value = match self {
            Op::Moments => 1,
            Op::Inference | Op::Training => 2,
            Op::Residual => 3,
            Op::Backward => 5,
        };
        values * size * per_value
    }
}

/// Returns the paths of this machine, the reference first.
pub fn paths() -> Vec<(String, Path)> {
    let mut paths = vec![("scalar".into(), Path::Scalar)];
    paths.extend(Isa::available().map(|isa| (format!("simd {isa}"), Path::Simd(isa))));
    paths.push((format!("parallel {}", Isa::detect()), Path::Parallel(Isa::detect())));
    paths.push(("auto".into(), Path::Auto));
    paths
}

const PAGE: usize = 4096;

/// Values that start 16 bytes past a page boundary, where glibc puts large vectors. It puts small ones anywhere. Values
/// that straddle cache lines, or addresses in `x` and `y` that look the same to the processor (4 KiB aliasing), then
/// cost up to a factor of two.
pub struct Buffer<T> {
    values: Vec<T>,
    start: usize,
}

impl<T: Pod> Buffer<T> {
    fn new(data: &[T]) -> Self {
        let spare = PAGE / size_of::<T>();
        let mut values: Vec<T> = Vec::with_capacity(spare + data.len());
        let start = (0..spare).find(|i| values.as_ptr().wrapping_add(*i).addr() % PAGE == 16).unwrap_or(0);
        values.resize(start, T::zeroed());
        values.extend_from_slice(data);
        Buffer { values, start }
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.values[self.start..]
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[self.start..]
    }
}

/// One batch with everything that the operations need; nothing is allocated while they run.
pub struct Bench<T> {
    pub layout: Layout,
    pub x: Buffer<T>,
    pub y: Buffer<T>,
    /// A residual, or the gradients of the outputs.
    other: Buffer<T>,
    /// Moments of `x`, for the backward pass.
    of_x: Moments,
    gradients: Gradients,
    moments: Moments,
    workspace: Workspace,
    layers: Vec<(Path, BatchNorm, Inference, Inference)>,
}

impl<T: Element + Pod> Bench<T> {
    pub fn new(kind: Kind, layout: Layout) -> Self {
        let paths: Vec<_> = paths().into_iter().map(|(_, path)| path).collect();
        Self::of(&nasty::batch::<T>(kind, 1, layout), layout, &paths)
    }

    /// Returns a batch of given values, with layers for some paths alone.
    pub fn of(data: &[T], layout: Layout, paths: &[Path]) -> Self {
        let (x, y) = (Buffer::new(data), Buffer::new(&vec![T::zeroed(); data.len()]));
        let mut bn = BatchNorm::new(layout.features());
        let numbers = |from: f64| (0..layout.features()).map(|i| from + i as f64 * 1e-3).collect::<Vec<_>>();
        bn.set_weight(&numbers(0.5)).expect("one each");
        bn.set_bias(&numbers(-0.5)).expect("one each");
        bn.set_running_mean(&numbers(0.1)).expect("one each");
        bn.set_running_var(&numbers(8.0)).expect("one each");
        let layer = |path| {
            let bn = bn.clone().with_path(path);
            (path, bn.clone(), bn.to_inference(), bn.to_inference().with_activation(Activation::Relu))
        };
        let layers = paths.iter().map(|path| layer(*path)).collect();
        let reversed: Vec<T> = data.iter().rev().copied().collect();
        let of_x = moments(Batch::new(data, layout).expect("a batch"));
        let (moments, workspace, gradients) = (Moments::default(), Workspace::default(), Gradients::default());
        Bench { layout, x, y, other: Buffer::new(&reversed), of_x, gradients, moments, workspace, layers }
    }

    pub fn run(&mut self, op: Op, path: Path) {
        let x = Batch::new(&self.x, self.layout).expect("a batch");
        let y = BatchMut::new(&mut self.y, self.layout).expect("a batch");
        let other = Batch::new(&self.other, self.layout).expect("a batch");
        let (_, bn, norm, relu) =
            self.layers.iter_mut().find(|(own, ..)| *own == path).expect("a path of this machine");
        match op {
            Op::Moments => path.moments_into(x, &mut self.moments, &mut self.workspace),
            Op::Inference => norm.forward(x, y).expect("runs"),
            Op::Training => bn.forward_train(x, y).expect("trains"),
            Op::Residual => relu.forward_add(x, other, y).expect("runs"),
            Op::Backward => bn.backward_train_into(&self.of_x, x, other, y, &mut self.gradients).expect("runs"),
        }
        std::hint::black_box((&self.moments, &self.y));
    }

    /// Runs a limit over the bytes of the batch itself: the same pages, in the same caches.
    pub fn limit(&mut self, limit: Limit) {
        let x = std::hint::black_box(&self.x[..]);
        let other = bytemuck::cast_slice(&self.other[..]);
        limit.run(bytemuck::cast_slice(x), other, bytemuck::cast_slice_mut(&mut self.y));
        std::hint::black_box(&self.y);
    }
}
