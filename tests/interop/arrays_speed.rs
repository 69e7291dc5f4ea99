//! Means and variances of arrays and views beside ndarray's own: run from the root,
//! `cargo run --release -p batchnorm-interop-tests --example arrays`.
//!
//! Then columns of a wider table, by a layout with an outer stride, beside the same columns without gaps.
//!
//! A time is the shortest of ten, taken in turn. A ratio is the time of a plain sum of a contiguous array of as many
//! values, divided by ours; 1 is as fast as memory.

use std::hint::black_box;
use std::time::Instant;

use batchnorm::ndarray::mean_var_axis;
use batchnorm::{Batch, BatchMut, BatchNorm, Isa, Layout, Path};
use ndarray::{Array2, Array3, ArrayViewD, Axis, ShapeBuilder, s};

const ROUNDS: usize = 10;

fn main() -> batchnorm::Result<()> {
    println!("f32, all threads of rayon's pool for mean_var_axis; ms\n");
    println!("| array | axis | sum | mean_var_axis | ratio | mean_axis and var_axis | multiple |");
    println!("|---|---|---|---|---|---|---|");
    let value = |row: usize, column: usize| ((row * 7919 + column * 13) % 1009) as f32;
    let rows = Array2::from_shape_fn((65_536, 128), |(row, column)| value(row, column));
    let columns = Array2::from_shape_fn((65_536, 128).f(), |(row, column)| value(row, column));
    let wider = Array2::from_shape_fn((65_536, 200), |(row, column)| value(row, column));
    let images = Array3::from_shape_fn((32, 64, 4096), |(n, c, i)| value(64 * n + c, i));
    measure("C order [65536, 128]", rows.view().into_dyn(), 0)?;
    measure("C order [65536, 128]", rows.view().into_dyn(), 1)?;
    measure("Fortran order [65536, 128]", columns.view().into_dyn(), 0)?;
    measure("128 of 200 columns", wider.slice(s![.., 40..168]).into_dyn(), 0)?;
    measure("every second row, [32768, 128]", rows.slice(s![..;2, ..]).into_dyn(), 0)?;
    measure("C order [32, 64, 4096]", images.view().into_dyn(), 2)?;
    measure("C order [32, 64, 4096]", images.view().into_dyn(), 0)?;

    println!("\nf32, one thread; ms, with gaps (without)\n");
    println!("| features | values each | gap | rows | moments | inference | training |");
    println!("|---|---|---|---|---|---|---|");
    // Inference copies rows of up to 255 values, and small planes of up to 512, in tiles; moments copy rows of up to 63
    // in groups of rows.
    for (features, inner, gap, rows) in [
        (5, 1, 25, 8192),
        (32, 1, 16, 8192),
        (96, 1, 32, 4096),
        (192, 1, 64, 2048),
        (320, 1, 64, 1024),
        (1024, 1, 256, 512),
        (64, 9, 64, 512),
        (16, 3, 12, 4096),
        (64, 196, 12_544, 16),
    ] {
        for rows in [rows, 32 * rows] {
            measure_gaps(features, inner, gap, rows)?;
        }
    }
    Ok(())
}

fn measure_gaps(features: usize, inner: usize, gap: usize, rows: usize) -> batchnorm::Result<()> {
    let (block, width) = (features * inner, features * inner + gap);
    let whole = Layout::new(rows, features, inner);
    let gaps = whole.with_outer_stride(width);
    let table: Vec<f32> = (0..rows * width).map(|at| ((at * 7919) % 1009) as f32).collect();
    let packed: Vec<f32> = table.chunks(width).flat_map(|row| &row[..block]).copied().collect();
    let mut outputs = [table.clone(), packed.clone()];
    let path = Path::Simd(Isa::detect());
    let mut bn = BatchNorm::new(features).with_path(path);
    let norm = bn.to_inference();
    let mut least = [[f64::INFINITY; 2]; 3];
    for _ in 0..ROUNDS {
        for (at, (data, layout)) in [(&table, gaps), (&packed, whole)].into_iter().enumerate() {
            let x = Batch::new(data, layout)?;
            let mut time = |which: usize, run: &mut dyn FnMut() -> batchnorm::Result<()>| {
                let start = Instant::now();
                let done = run();
                least[which][at] = least[which][at].min(start.elapsed().as_secs_f64());
                done
            };
            time(0, &mut || {
                let _ = black_box(path.moments(x));
                Ok(())
            })?;
            let y = &mut outputs[at];
            time(1, &mut || norm.forward(x, BatchMut::new(y, layout)?))?;
            time(2, &mut || bn.forward_train(x, BatchMut::new(y, layout)?))?;
        }
    }
    let cells = least.map(|[gaps, whole]| format!("{:.3} ({:.3})", gaps * 1e3, whole * 1e3));
    println!("| {features} | {inner} | {gap} | {rows} | {} |", cells.join(" | "));
    Ok(())
}

fn measure(name: &str, x: ArrayViewD<'_, f32>, axis: usize) -> batchnorm::Result<()> {
    let contiguous: Vec<f32> = x.iter().copied().collect();
    let mut least = [f64::INFINITY; 3];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        black_box(sum(&contiguous));
        least[0] = least[0].min(start.elapsed().as_secs_f64());
        let start = Instant::now();
        black_box(mean_var_axis(&x, Axis(axis), 0.0)?);
        least[1] = least[1].min(start.elapsed().as_secs_f64());
        let start = Instant::now();
        black_box((x.mean_axis(Axis(axis)), x.var_axis(Axis(axis), 0.0)));
        least[2] = least[2].min(start.elapsed().as_secs_f64());
    }
    let [sum, ours, theirs] = least.map(|seconds| seconds * 1e3);
    println!("| {name} | {axis} | {sum:.2} | {ours:.2} | {:.2} | {theirs:.2} | {:.1} |", sum / ours, theirs / ours);
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
