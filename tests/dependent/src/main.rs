//! Prints the fastest time of inference and of moments, in nanoseconds per call: "NAME SHAPE TIME".

use std::hint::black_box;
use std::time::{Duration, Instant};

use batchnorm::{Batch, BatchMut, BatchNorm, Element, Isa, Layout, Path, Workspace};

const CALLS: usize = 30;

fn main() -> batchnorm::Result<()> {
    for (name, layout) in [("8x64x56x56", Layout::nchw(8, 64, 56, 56)), ("1024x512", Layout::nc(1024, 512))] {
        times::<f32>(&format!("{name} f32"), layout)?;
        times::<f64>(&format!("{name} f64"), layout)?;
    }
    Ok(())
}

fn times<T: Element>(name: &str, layout: Layout) -> batchnorm::Result<()> {
    // On one thread: other threads would time the machine's load.
    let path = Path::Simd(Isa::detect());
    let data: Vec<T> = (0..layout.count() * layout.features()).map(|i| T::from_f64((i % 1009) as f64)).collect();
    let x = Batch::new(&data, layout)?;
    let mut y = data.clone();
    let norm = BatchNorm::new(layout.features()).to_inference().with_path(path);
    let (mut m, mut workspace) = (path.moments(x), Workspace::default());

    let mut forward = Ok(());
    let inference = fastest(|| forward = BatchMut::new(&mut y, layout).and_then(|y| norm.forward(black_box(x), y)));
    forward?;
    black_box(&y);
    let moments = fastest(|| path.moments_into(black_box(x), black_box(&mut m), &mut workspace));
    println!("inference {name} {}\nmoments {name} {}", inference.as_nanos(), moments.as_nanos());
    Ok(())
}

/// Returns the fastest of some calls.
fn fastest(mut call: impl FnMut()) -> Duration {
    let mut fastest = Duration::MAX;
    for _ in 0..CALLS {
        let start = Instant::now();
        call();
        fastest = fastest.min(start.elapsed());
    }
    fastest
}
