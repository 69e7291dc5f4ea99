//! Trains a network with a synchronised batch norm to read digits, on 1 and on 4 ranks, and compares the losses.
//!
//! ```text
//! cargo run --release --example train_digits                  # 1 and 4 ranks, by mpirun
//! cargo run --release --example train_digits -- --ranks 3     # 1 and 3
//! mpirun -n 2 target/release/examples/train_digits --worker   # one run
//! ```
//!
//! The network is linear, batch norm with ReLU, linear, softmax; the data are those of the example `train_digits` of the
//! crate `batchnorm`. It fails (exit code 1) if a bit of a loss differs between the runs, or if the loss does not fall.

#[path = "../../../examples/train_digits/digits.rs"]
#[allow(dead_code, reason = "the other example uses more of it")]
mod digits;
#[path = "../tests/common/launch.rs"]
mod launch;
#[path = "../../../examples/train_digits/linear.rs"]
#[allow(dead_code, reason = "the other example uses more of it")]
mod linear;
#[path = "train_digits/network.rs"]
mod network;
#[path = "../../../examples/train_digits/softmax.rs"]
#[allow(dead_code, reason = "the other example uses more of it")]
mod softmax;
#[path = "train_digits/sums.rs"]
mod sums;

use std::process::ExitCode;

use batchnorm_mpi::Error;
use digits::{Digits, PIXELS, Random};
use lexopt::prelude::*;
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;
use network::{BATCH, BLOCK, Network};

const HELP: &str = "\
Trains a network with a batch norm to read digits of 8x8 pixels, on 1 rank and on several, and compares the losses.

usage: train_digits [--ranks N] [--epochs N]

  --ranks N     ranks of the second run (default 4)
  --epochs N    passes over the training data (default 12)
  --worker      train: what each rank does under mpirun
  -h, --help    print this
";

const TRAINING: usize = 2 * BATCH;

/// The learning rate of the first epoch. It falls evenly to almost 0.
const RATE: f32 = 0.5;

/// Seconds that one run may take.
const LIMIT: u32 = 300;

#[derive(Clone, Copy)]
struct Options {
    ranks: usize,
    epochs: usize,
    worker: bool,
}

fn main() -> ExitCode {
    let done = match arguments() {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(options)) if options.worker => return batchnorm_mpi::run(|world| train(world, options.epochs)),
        Ok(Some(options)) => compare(options),
        Err(error) => Err(error.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("train_digits: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the options, or none if all that was wanted is help.
fn arguments() -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options { ranks: 4, epochs: 12, worker: false };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("ranks") => options.ranks = parser.value()?.parse()?,
            Long("epochs") => options.epochs = parser.value()?.parse()?,
            Long("worker") => options.worker = true,
            Short('h') | Long("help") => {
                print!("{HELP}");
                return Ok(None);
            }
            _ => return Err(argument.unexpected()),
        }
    }
    if options.epochs < 2 {
        return Err(format!("--epochs is {}, but a loss that falls needs at least 2", options.epochs).into());
    }
    Ok(Some(options))
}

/// Trains on one rank and on several, and compares what they print.
fn compare(options: Options) -> Result<(), String> {
    let epochs = options.epochs.to_string();
    let lines = |ranks: usize| {
        let run = launch::mpirun(ranks, &["--worker", "--epochs", &epochs], LIMIT)?;
        if run.timed_out {
            return Err(format!("{ranks} ranks have trained for more than {LIMIT} s"));
        }
        if !run.output.status.success() {
            return Err(format!("{ranks} ranks: {}\n{}", run.output.status, run.text()));
        }
        let text = String::from_utf8_lossy(&run.output.stdout);
        let (losses, others): (Vec<_>, Vec<_>) =
            text.lines().map(str::to_string).partition(|line| line.starts_with("epoch"));
        println!("{ranks} rank(s), trained in {:.1} s", run.time.as_secs_f64());
        losses.iter().chain(&others).for_each(|line| println!("  {line}"));
        Ok(losses)
    };
    let (one, several) = (lines(1)?, lines(options.ranks)?);
    if one.len() != options.epochs || one != several {
        return Err("the losses differ".into());
    }
    println!("the losses of 1 and of {} ranks are equal, bit for bit", options.ranks);
    Ok(())
}

/// What each rank does: it trains on its share of each batch. Rank 0 prints.
fn train(world: &SimpleCommunicator, epochs: usize) -> Result<(), Error> {
    // The same on all ranks: data, order and first weights.
    let mut random = Random::new(1);
    let data = Digits::new(TRAINING, &mut random);
    let mut network = Network::new(world, &mut random)?;
    let mut order: Vec<usize> = (0..data.len()).collect();
    let (mut pixels, mut labels, mut losses) = (Vec::new(), Vec::new(), Vec::new());
    for epoch in 1..=epochs {
        random.shuffle(&mut order);
        let rate = RATE * (1.0 - (epoch - 1) as f32 / epochs as f32);
        let mut sum = 0.0;
        for batch in order.chunks_exact(BATCH) {
            data.copy(&batch[network::share(world)], &mut pixels, &mut labels);
            sum += network.train_step(&pixels, &labels, rate)?;
        }
        let loss: f64 = sum / (TRAINING / BATCH) as f64;
        losses.push(loss);
        if world.rank() == 0 {
            println!("epoch {epoch:2}  loss {loss:.4}  bits {:016x}", loss.to_bits());
        }
    }
    if world.rank() == 0 {
        report(world, &network, epochs);
    }
    // Written so that a loss of NaN fails.
    if losses[epochs - 1] < 0.8 * losses[0] {
        return Ok(());
    }
    let reason = format!("the loss fell from {:.4} to {:.4} only", losses[0], losses[epochs - 1]);
    Err(Error::Rank { rank: world.rank(), reason })
}

/// Prints the bytes of the batch norm, counted and in theory.
fn report(world: &SimpleCommunicator, network: &Network<'_>, epochs: usize) {
    let (steps, features) = (epochs * (TRAINING / BATCH), network::HIDDEN);
    let sent = network.norm_traffic().sent as f64 / steps as f64;
    let rows = network::share(world).len();
    let shard = rows * features * size_of::<f32>();
    println!("each step, the batch norm of rank 0 sends {sent:.0} bytes; its shard of {rows} rows has {shard}");
    // Forward: a count and five f64; backward: a count and four. Each has a header.
    let (words, header, nodes) = (6 + 5, 24, network::nodes(world));
    println!("theory: {nodes} node(s) x {features} features x {words} words x 8, and 2 headers of {}", header * 8);
    println!("        = {} bytes", nodes * features * words * 8 + 2 * header * 8);
    println!(
        "(the linear layers' gradients: {} bytes; {PIXELS} inputs, blocks of {BLOCK} rows)",
        network.linear_bytes()
    );
}
