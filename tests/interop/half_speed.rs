//! f16 and bf16 batches beside f32 batches: run from the root,
//! `cargo run --release -p batchnorm-interop-tests --example half`.
//!
//! One thread. A ratio is the time of a plain sum (moments) or of memcpy (inference, training) of the same bytes, divided
//! by ours; 1 is as fast as memory. "To f32" is inference into f32, which moves half as many bytes again. Each time is the shortest of some rounds in turn.

use std::hint::black_box;
use std::time::Instant;

use batchnorm::{Batch, BatchMut, BatchNorm, Element, Inference, Isa, Layout, Path, Result};
use half::{bf16, f16};

/// Bytes of a batch that comes from memory, and of one that stays in the second-level cache.
const SIZES: [(&str, usize); 2] = [("memory", 256 << 20), ("L2", 256 << 10)];

/// Inference into f32.
type ToF32<T> = fn(&Inference, Batch<'_, T>, BatchMut<'_, f32>) -> Result<()>;

fn main() -> Result<()> {
    println!("| from | ISA | layout | type | moments | inference | to f32 | training |");
    println!("|---|---|---|---|---:|---:|---:|---:|");
    for (from, bytes) in SIZES {
        for isa in Isa::available() {
            for planes in [false, true] {
                row::<f32>("f32", from, bytes, isa, planes, None)?;
                row::<f16>("f16", from, bytes, isa, planes, Some(Inference::forward_to_f32))?;
                row::<bf16>("bf16", from, bytes, isa, planes, Some(Inference::forward_to_f32))?;
            }
        }
    }
    Ok(())
}

fn row<T: Element>(
    name: &str,
    from: &str,
    bytes: usize,
    isa: Isa,
    planes: bool,
    to_f32: Option<ToF32<T>>,
) -> Result<()> {
    let len = bytes / size_of::<T>();
    let layout = if planes { Layout::new(len / (64 * 1024), 64, 1024) } else { Layout::nc(len / 128, 128) };
    let data: Vec<T> = (0..len).map(|at| T::from_f64(((at * 7919) % 1009) as f64 / 100.0)).collect();
    let (mut y, mut wide) = (data.clone(), vec![0f32; if to_f32.is_some() { len } else { 0 }]);
    let limits = vec![1f32; bytes / 4];
    let mut copied = limits.clone();
    let path = Path::Simd(isa);
    let norm = BatchNorm::new(layout.features()).to_inference().with_path(path);
    let mut bn = BatchNorm::new(layout.features()).with_path(path);
    let x = Batch::new(&data, layout)?;
    let mut least = [f64::INFINITY; 6];
    let rounds = if bytes > 1 << 24 { 7 } else { 400 };
    for _ in 0..rounds {
        let mut time = |which: usize, run: &mut dyn FnMut() -> Result<()>| {
            let start = Instant::now();
            let ran = run();
            least[which] = least[which].min(start.elapsed().as_secs_f64());
            ran
        };
        time(0, &mut || {
            black_box(sum(&limits));
            Ok(())
        })?;
        time(1, &mut || {
            copied.copy_from_slice(&limits);
            black_box(&mut copied);
            Ok(())
        })?;
        time(2, &mut || {
            let _ = black_box(path.moments(x));
            Ok(())
        })?;
        time(3, &mut || norm.forward(x, BatchMut::new(&mut y, layout)?))?;
        time(4, &mut || bn.forward_train(x, BatchMut::new(&mut y, layout)?))?;
        if let Some(to_f32) = to_f32 {
            time(5, &mut || to_f32(&norm, x, BatchMut::new(&mut wide, layout)?))?;
        }
    }
    let [read, copy, moments, inference, training, into_f32] = least;
    let into_f32 = if to_f32.is_some() { format!("{:.2}", 1.5 * copy / into_f32) } else { String::new() };
    let layout = if planes { "planes of 1024" } else { "rows of 128" };
    println!(
        "| {from} | {} | {layout} | {name} | {:.2} | {:.2} | {into_f32} | {:.2} |",
        isa.name(),
        read / moments,
        copy / inference,
        copy / training
    );
    Ok(())
}

/// In as many accumulators as keep a machine busy.
fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0; 128];
    for values in values.chunks_exact(sums.len()) {
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    sums.iter().sum()
}
