//! What folding a batch norm into a neighbouring f32 layer costs: the largest error of outputs of standard deviation 1,
//! for means that are large compared with the standard deviation. Run from the root:
//! `cargo run --release --example folding`.
//!
//! The exact outputs are those of both layers in f64 with the unfolded weights, of the same f32 inputs.

use batchnorm::{Batch, BatchMut, BatchNorm, Layout, Result, moments};

const ROWS: usize = 4096;
const WIDTH: usize = 64;

fn main() -> Result<()> {
    println!("largest error of f32 layers of {WIDTH} inputs, in standard deviations of the output");
    println!("                  |  linear, then batch norm    |  batch norm, then linear");
    println!("mean / deviation  |  apart        folded        |  apart        folded");
    for exponent in [0, 1, 2, 3, 4, 5, 6] {
        let ratio = 10f64.powi(exponent);
        let [before, before_folded] = layer_before(ratio)?;
        let [after, after_folded] = layer_after(ratio)?;
        println!(
            "1e{exponent}               |  {before:8.1e}     {before_folded:8.1e}      |  {after:8.1e}     {after_folded:8.1e}"
        );
    }
    Ok(())
}

/// A linear layer whose outputs have means of about `ratio` standard deviations, because its inputs have, and a batch
/// norm after it.
fn layer_before(ratio: f64) -> Result<[f64; 2]> {
    let (weight, bias) = (random(WIDTH * WIDTH, 2), random(WIDTH, 3));
    let x: Vec<f32> = random(ROWS * WIDTH, 1).iter().map(|x| x + (ratio / 3f64.sqrt()) as f32).collect();
    let exact = linear(&x, &weight, &bias, |x| f64::from(*x));
    let norm = trained(&exact)?;
    let exact = normalised(&norm, &exact)?;

    let (mut folded_weight, mut folded_bias) = (weight.clone(), bias.clone());
    norm.fold_into_linear(&mut folded_weight, &mut folded_bias)?;
    let apart = normalised(&norm, &linear(&x, &weight, &bias, |x| *x))?;
    let folded = linear(&x, &folded_weight, &folded_bias, |x| *x);
    Ok([largest_error(&exact, &apart), largest_error(&exact, &folded)])
}

/// A batch norm of inputs with means of `ratio` standard deviations, and a linear layer after it.
fn layer_after(ratio: f64) -> Result<[f64; 2]> {
    let weight: Vec<f32> = random(WIDTH * WIDTH, 2).iter().map(|w| w * (3.0 / WIDTH as f32).sqrt()).collect();
    let (means, bias) = (random(WIDTH, 3), random(WIDTH, 4));
    let mean = |at: usize| (2.0 + f64::from(means[at % WIDTH])) / 2.0 * ratio / 3f64.sqrt();
    let x: Vec<f32> = random(ROWS * WIDTH, 1).iter().enumerate().map(|(at, x)| x + mean(at) as f32).collect();
    let wide: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    let norm = trained(&wide)?;
    let exact = linear(&normalised(&norm, &wide)?, &weight, &bias, |x| *x);

    let (mut folded_weight, mut folded_bias) = (weight.clone(), bias.clone());
    norm.fold_into_following_linear(&mut folded_weight, &mut folded_bias)?;
    let apart = linear(&normalised(&norm, &x)?, &weight, &bias, |x| *x);
    let folded = linear(&x, &folded_weight, &folded_bias, |x| *x);
    Ok([largest_error(&exact, &apart), largest_error(&exact, &folded)])
}

/// Returns a frozen layer with the statistics of these values.
fn trained(x: &[f64]) -> Result<batchnorm::Inference> {
    let m = moments(Batch::new(x, Layout::nc(ROWS, WIDTH))?);
    let mut bn = BatchNorm::new(WIDTH);
    bn.set_running_mean(m.means())?;
    bn.set_running_var(&(0..WIDTH).map(|feature| m.variance(feature, 1.0)).collect::<Vec<_>>())?;
    Ok(bn.to_inference())
}

fn normalised<T: batchnorm::Element>(norm: &batchnorm::Inference, x: &[T]) -> Result<Vec<T>> {
    let (mut y, layout) = (x.to_vec(), Layout::nc(ROWS, WIDTH));
    norm.forward_in_place(BatchMut::new(&mut y, layout)?)?;
    Ok(y)
}

/// Returns `weight * x + bias` for each row of `x`, computed in the type that `of` converts to.
fn linear<X, T>(x: &[X], weight: &[f32], bias: &[f32], of: impl Fn(&X) -> T) -> Vec<T>
where
    T: Copy + From<f32> + std::ops::Mul<Output = T> + std::ops::AddAssign,
{
    let mut y = Vec::with_capacity(ROWS * WIDTH);
    for row in x.chunks_exact(WIDTH) {
        for (weights, bias) in weight.chunks_exact(WIDTH).zip(bias) {
            let mut sum = T::from(*bias);
            for (x, weight) in row.iter().zip(weights) {
                sum += of(x) * T::from(*weight);
            }
            y.push(sum);
        }
    }
    y
}

fn largest_error(exact: &[f64], given: &[f32]) -> f64 {
    exact.iter().zip(given).map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max)
}

/// Returns numbers that are spread evenly over [-1, 1), the same in each run.
fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        // SplitMix64 (Steele, Lea and Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}
