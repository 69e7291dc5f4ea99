//! Converts an ONNX file: its nodes `BatchNormalization` become nodes of this crate's operator.
//!
//!     cargo run --release --example convert -- [--leave-foldable] MODEL.onnx CONVERTED.onnx

use std::error::Error;
use std::path::Path;

use batchnorm_ort::Converter;

const USAGE: &str = "usage: convert [--leave-foldable] MODEL.onnx CONVERTED.onnx
  --leave-foldable  leave the nodes that ONNX Runtime folds into the convolution before them";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() || arguments.iter().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return Ok(());
    }
    let count = arguments.len();
    arguments.retain(|argument| argument != "--leave-foldable");
    let converter = if arguments.len() < count { Converter::new().leave_foldable() } else { Converter::new() };
    let [from, to] = arguments.as_slice() else { return Err(USAGE.into()) };

    let model = std::fs::read(from).map_err(|error| format!("{from}: {error}"))?;
    let converted = converter.convert(&model).map_err(|error| format!("{from}: {error}"))?;
    for name in converted.nodes() {
        println!("converted {name}");
    }
    for (name, reason) in converted.left() {
        println!("left {name}: {reason}");
    }
    if Path::new(from).parent() != Path::new(to).parent() {
        println!("weights in files of their own must be beside {to}, too");
    }
    std::fs::write(to, converted.model()).map_err(|error| format!("{to}: {error}").into())
}
