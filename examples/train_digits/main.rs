//! Trains a network with a batch norm to read digits, freezes it, and folds the batch norm away.
//!
//! ```text
//! cargo run --release --example train_digits                # the loss of each epoch, and the accuracy
//! cargo run --release --example train_digits -- --help      # options
//! ```
//!
//! The network is linear, batch norm with ReLU, linear, softmax. The crate computes the batch norm; the rest is plain
//! loops. It fails (exit code 1) if the loss does not fall, if many digits are misread, if folding changes what is read,
//! or if another path of the crate does not give the same losses, bit for bit.

mod curve;
mod digits;
mod linear;
mod network;
mod softmax;

use std::process::ExitCode;
use std::time::Instant;

use batchnorm::Path;
use digits::{Digits, Random};
use lexopt::prelude::*;
use network::{BATCH, Network};

const HELP: &str = "\
Trains a network with a batch norm to read digits of 8x8 pixels.

usage: train_digits [--epochs N] [--seed N]

  --epochs N    passes over the training data (default 15; below 5 may be too few)
  --seed N      of the digits and of the first weights (default 1)
  -h, --help    print this
";

const TRAINING: usize = 4000;
const HELD_OUT: usize = 2000;

/// The learning rate of the first epoch. It falls evenly to almost 0, so that the running statistics settle.
const RATE: f32 = 0.2;

/// The share of held-out digits that must be read right.
const ACCURACY: f64 = 0.95;

/// The share of held-out digits that folding may change: those that are nearly a tie.
const CHANGED: f64 = 0.001;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match arguments().and_then(|options| options.map_or(Ok(()), run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("train_digits: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy)]
struct Options {
    epochs: usize,
    seed: u64,
}

/// Returns the options, or none if all that was wanted is help.
fn arguments() -> Outcome<Option<Options>> {
    let mut options = Options { epochs: 15, seed: 1 };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("epochs") => options.epochs = parser.value()?.parse()?,
            Long("seed") => options.seed = parser.value()?.parse()?,
            Short('h') | Long("help") => {
                print!("{HELP}");
                return Ok(None);
            }
            _ => return Err(argument.unexpected().into()),
        }
    }
    if options.epochs < 2 {
        return Err(format!("--epochs is {}, but a loss that falls needs at least 2", options.epochs).into());
    }
    Ok(Some(options))
}

fn run(options: Options) -> Outcome<()> {
    let mut random = Random::new(options.seed);
    let (training, held_out) = (Digits::new(TRAINING, &mut random), Digits::new(HELD_OUT, &mut random));
    println!("One of the {TRAINING} digits to train on, and the loss of each epoch:\n\n{}", training.picture(0));

    let start = Instant::now();
    let (network, losses) = train(options, Path::Auto, &training, |epoch, loss, first| {
        println!("{}", curve::line(epoch, loss, first));
    })?;
    let time = start.elapsed();
    check_losses(&losses)?;
    evaluate(&network, &held_out)?;
    println!("trained in {time:.2?} ({:.0} digits/s)", (losses.len() * TRAINING) as f64 / time.as_secs_f64());

    let (_, again) = train(options, Path::Scalar, &training, |_, _, _| {})?;
    if again.iter().map(|loss| loss.to_bits()).ne(losses.iter().map(|loss| loss.to_bits())) {
        return Err("trained on the scalar path, the losses have other bits".into());
    }
    println!("trained again on the scalar path: the same losses, bit for bit");
    Ok(())
}

/// Trains a new network. Returns it and the mean loss of each epoch, which `report` gets as well, with the first one.
fn train(
    options: Options,
    path: Path,
    data: &Digits,
    report: impl Fn(usize, f64, f64),
) -> Outcome<(Network, Vec<f64>)> {
    let mut random = Random::new(options.seed ^ 0x5eed);
    let mut network = Network::new(path, &mut random)?;
    let (mut order, mut losses): (Vec<usize>, Vec<f64>) = ((0..data.len()).collect(), Vec::new());
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for epoch in 1..=options.epochs {
        random.shuffle(&mut order);
        let rate = RATE * (1.0 - (epoch - 1) as f32 / options.epochs as f32);
        let mut sum = 0.0;
        for batch in order.chunks_exact(BATCH) {
            data.copy(batch, &mut pixels, &mut labels);
            sum += network.train_step(&pixels, &labels, rate)?;
        }
        losses.push(sum / (data.len() / BATCH) as f64);
        report(epoch, losses[epoch - 1], losses[0]);
    }
    Ok((network, losses))
}

fn check_losses(losses: &[f64]) -> Outcome<()> {
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    // Written so that a loss of NaN fails.
    if last < 0.75 * first { Ok(()) } else { Err(format!("the loss fell from {first:.4} to {last:.4} only").into()) }
}

/// Reads the held-out digits with running statistics, and with the batch norm folded into the layer before it.
fn evaluate(network: &Network, held_out: &Digits) -> Outcome<()> {
    let (read, folded) = (network.read(held_out.pixels())?, network.read_folded(held_out.pixels())?);
    let accuracy = held_out.accuracy(&read);
    println!("\naccuracy on {HELD_OUT} other digits: {:.2} %", 100.0 * accuracy);
    println!("with the batch norm folded:      {:.2} %", 100.0 * held_out.accuracy(&folded));
    if accuracy < ACCURACY {
        return Err(format!("the accuracy is {accuracy:.3}, and should be at least {ACCURACY}").into());
    }
    let changed = read.iter().zip(&folded).filter(|(a, b)| a != b).count();
    if changed as f64 > CHANGED * HELD_OUT as f64 {
        return Err(format!("folding changes what {changed} of {HELD_OUT} digits are read as").into());
    }
    Ok(())
}
