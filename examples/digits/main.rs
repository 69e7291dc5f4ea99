//! Reads handwritten digits with a convolutional network that PyTorch trained (`train.py` beside this file), with plain
//! loops for the convolutions and this crate for the four batch norms: separately from the ReLU, fused with it in one
//! pass, or folded into the convolutions. Run from the root: `cargo run --release --example digits`.
//!
//! Fails if the logits are not those of PyTorch.

mod network;
mod tensors;

use std::error::Error;

use network::{CLASSES, LAYERS, Network, Norm, SIDE, Times};
use tensors::File;

/// The digits that the network has not seen.
const IMAGES: usize = 360;

/// Logits may differ from PyTorch's by this.
const MOST: f32 = 1e-5;

/// A layer's time is the shortest of this number of runs.
const RUNS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let model = File::parse(include_bytes!("model.safetensors"))?;
    let known = File::parse(include_bytes!("held_out.safetensors"))?;
    let pixels = known.bytes("images", &[IMAGES, 1, SIDE, SIDE])?;
    let labels = known.bytes("labels", &[IMAGES])?;
    let expected = known.floats("logits", &[IMAGES, CLASSES])?;
    let images: Vec<f32> = pixels.iter().map(|pixel| f32::from(*pixel) / 16.0).collect();

    show(pixels, labels, &expected);
    println!("{IMAGES} digits; PyTorch reads {} of them right\n", right(&expected, labels));
    println!("batch norm | right | largest difference of a logit | ms per layer: convolution + the rest");
    let mut passed = true;
    for norm in [Norm::Separate, Norm::Fused, Norm::Folded] {
        let network = Network::read(&model, norm)?;
        let (logits, mut times) = network.forward(&images)?;
        for _ in 1..RUNS {
            shorten(&mut times, &network.forward(&images)?.1);
        }
        let difference = logits.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let right_here = right(&logits, labels);
        println!("{:10} | {right_here:5} | {difference:29.1e} | {}", format!("{norm:?}"), table(&times));
        // Not by the largest difference, which leaves NaN out.
        let near = logits.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= MOST);
        passed &= near && logits.len() == expected.len() && right_here == right(&expected, labels);
    }
    if !passed {
        return Err(format!("the logits differ from PyTorch's by more than {MOST:.0e}, or the digits do").into());
    }
    Ok(())
}

/// Returns the digit of the largest logit for each image.
fn digits(logits: &[f32]) -> impl Iterator<Item = u8> {
    logits
        .chunks_exact(CLASSES)
        .map(|logits| (0..10).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap_or(0) as u8)
}

fn right(logits: &[f32], labels: &[u8]) -> usize {
    digits(logits).zip(labels).filter(|(digit, label)| digit == *label).count()
}

fn shorten(times: &mut Times, others: &Times) {
    for (time, other) in times.as_flattened_mut().iter_mut().zip(others.as_flattened()) {
        *time = (*time).min(*other);
    }
}

fn table(times: &Times) -> String {
    let layers: [String; LAYERS] =
        times.map(|[conv, rest]| format!("{:.2} + {:.3}", conv.as_secs_f64() * 1e3, rest.as_secs_f64() * 1e3));
    layers.join(", ")
}

/// Prints the first digits, and those that the network reads wrong, with what it reads.
fn show(pixels: &[u8], labels: &[u8], logits: &[f32]) {
    const ACROSS: usize = 6;
    let read: Vec<u8> = digits(logits).collect();
    let wrong = (ACROSS..IMAGES).filter(|image| read[*image] != labels[*image]);
    let shown: Vec<usize> = (0..ACROSS).chain(wrong).take(2 * ACROSS).collect();
    for images in shown.chunks(ACROSS) {
        for row in 0..SIDE {
            let line = images.iter().map(|image| {
                let row = &pixels[(image * SIDE + row) * SIDE..][..SIDE];
                row.iter()
                    .map(|pixel| ["  ", "░░", "▒▒", "▓▓", "██"][usize::from(*pixel).min(16) / 4])
                    .collect::<String>()
            });
            println!("{}", line.collect::<Vec<_>>().join("   ").trim_end());
        }
        let captions = images.iter().map(|image| {
            let (read, label) = (read[*image], labels[*image]);
            let wrong = if read == label { String::new() } else { format!(", is {label}") };
            format!("{:19}", format!("reads {read}{wrong}"))
        });
        println!("{}\n", captions.collect::<String>().trim_end());
    }
}
