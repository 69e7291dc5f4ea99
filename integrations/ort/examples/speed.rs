//! ONNX Runtime's own batch normalisation beside this operator: the times of sessions that differ in nothing else, and the
//! largest difference of their outputs. `./test` makes the models, sets `ORT_DYLIB_PATH` and runs this:
//!
//!     ./test

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use batchnorm_ort::Converter;
use ort::environment::Environment;
use ort::session::{Session, builder::GraphOptimizationLevel};
use ort::value::Tensor;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A model, a batch for it, and whether a ReLU after the normalisation becomes a part of it.
struct Case {
    name: &'static str,
    model: &'static str,
    shape: &'static [usize],
    fuse_relu: bool,
}

const fn case(name: &'static str, model: &'static str, shape: &'static [usize]) -> Case {
    Case { name, model, shape, fuse_relu: false }
}

const fn fused(name: &'static str, model: &'static str, shape: &'static [usize]) -> Case {
    Case { name, model, shape, fuse_relu: true }
}

/// One layer each.
const LAYERS: [Case; 9] = [
    case("inference", "layers/eval_5.onnx", &[6, 5]),
    case("inference", "layers/eval_64.onnx", &[1, 64, 56, 56]),
    case("inference", "layers/eval_64.onnx", &[32, 64, 56, 56]),
    case("inference", "layers/eval_512.onnx", &[8, 512, 7, 7]),
    case("inference", "layers/eval_32.onnx", &[65536, 32]),
    case("training", "layers/train_5.onnx", &[6, 5]),
    case("training", "layers/train_64.onnx", &[32, 64, 56, 56]),
    case("training", "layers/train_512.onnx", &[8, 512, 7, 7]),
    case("training", "layers/train_32.onnx", &[65536, 32]),
];

/// Networks: of the first kind ONNX Runtime cannot fold the normalisation, of the other it can.
const NETWORKS: [Case; 8] = [
    case("norm, ReLU, convolution", "networks/dense.onnx", &[1, 3, 32, 32]),
    fused("the same, ReLU fused", "networks/dense.onnx", &[1, 3, 32, 32]),
    case("norm, ReLU, convolution", "networks/dense.onnx", &[8, 3, 32, 32]),
    fused("the same, ReLU fused", "networks/dense.onnx", &[8, 3, 32, 32]),
    case("convolution, norm, ReLU", "networks/conv_bn_relu.onnx", &[1, 3, 32, 32]),
    fused("the same, ReLU fused", "networks/conv_bn_relu.onnx", &[1, 3, 32, 32]),
    case("convolution, norm, ReLU", "networks/conv_bn_relu.onnx", &[8, 3, 32, 32]),
    fused("the same, ReLU fused", "networks/conv_bn_relu.onnx", &[8, 3, 32, 32]),
];

const HEAD: &str = "| | batch | ONNX Runtime | this operator | ratio of fastest, medians | largest difference |
|---|---|---:|---:|---:|---:|";

fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/session-data");
    if std::env::var_os("ORT_DYLIB_PATH").is_none() || !folder.is_dir() {
        println!(
            "NOT RUN: it needs the models that ./test makes, and the path of ONNX Runtime's library in ORT_DYLIB_PATH"
        );
        return Ok(());
    }
    let env = ort::init().build()?;
    for threads in [1, 2] {
        println!("\nsessions of {threads} thread(s), us per call: the fastest and the median\n");
        println!("{HEAD}");
        for case in LAYERS.iter().chain(&NETWORKS) {
            compare(&env, &folder, case, GraphOptimizationLevel::All, threads)?;
        }
        println!(
            "\nthe networks without optimisation level 3: without ONNX Runtime's blocked layout of convolutions\n"
        );
        println!("{HEAD}");
        for case in &NETWORKS {
            compare(&env, &folder, case, GraphOptimizationLevel::Level2, threads)?;
        }
    }
    Ok(())
}

fn session(env: &Environment, model: &[u8], level: GraphOptimizationLevel, threads: usize) -> Result<Session> {
    let builder = Session::builder(env)?.with_intra_threads(threads)?.with_optimization_level(level)?;
    Ok(builder.with_operators(batchnorm_ort::operators()?)?.commit_from_memory(model)?)
}

fn compare(env: &Environment, folder: &Path, case: &Case, level: GraphOptimizationLevel, threads: usize) -> Result<()> {
    let path: PathBuf = folder.join(case.model);
    let model = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let converter = if case.fuse_relu { Converter::new().fuse_relu() } else { Converter::new() };
    let converted = converter.convert(&model)?.into_model();
    let mut sessions = [session(env, &model, level, threads)?, session(env, &converted, level, threads)?];
    let len = case.shape.iter().product();
    let values: Vec<f32> = (0..len).map(|at: usize| (at * 7919 % 1009) as f32 / 200.0 - 2.5).collect();
    let x = Tensor::from_array((case.shape.to_vec(), values))?;

    let mut outputs = Vec::new();
    for session in &mut sessions {
        outputs.push(session.run(ort::inputs!["x" => &x])?[0].try_extract_tensor::<f32>()?.1.to_vec());
    }
    let difference = outputs[0].iter().zip(&outputs[1]).fold(0.0, |most: f32, (a, b)| most.max((a - b).abs()));
    let largest = outputs[0].iter().fold(0.0, |most: f32, value| most.max(value.abs()));
    assert!(difference <= 1e-5 * largest, "the outputs differ: by {difference}, where the largest is {largest}");

    let times = times(&mut sessions, &x)?;
    let [theirs, ours] = &times;
    println!(
        "| {} | {:?} | {:.1}, {:.1} | {:.1}, {:.1} | {:.2}, {:.2} | {difference:.1e} |",
        case.name,
        case.shape,
        theirs[0],
        theirs[1],
        ours[0],
        ours[1],
        theirs[0] / ours[0],
        theirs[1] / ours[1],
    );
    Ok(())
}

/// Returns the least and the median of many calls' microseconds. The sessions take turns.
fn times(sessions: &mut [Session; 2], x: &Tensor<f32>) -> Result<[[f64; 2]; 2]> {
    let start = Instant::now();
    let mut all = [Vec::new(), Vec::new()];
    while start.elapsed().as_secs_f64() < 0.7 || all[0].len() < 20 {
        for (session, times) in sessions.iter_mut().zip(&mut all) {
            let start = Instant::now();
            session.run(ort::inputs!["x" => x])?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    Ok(all.map(|mut times| {
        times.sort_by(f64::total_cmp);
        [times[0], times[times.len() / 2]]
    }))
}
