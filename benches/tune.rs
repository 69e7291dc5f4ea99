//! Measures the constants of `src/tuning.rs` again on this machine: builds the crate with other values of each, and
//! prints the speed of each value beside the one in use.
//!
//! ```text
//! cargo bench --bench tune                                # every constant (half an hour, most of it building)
//! cargo bench --bench tune -- --only ROW_PREFETCH_FAR     # one constant
//! ```
//!
//! The constants stay constants, so that the crate pays nothing for this: `src/tuning.rs` reads each from an
//! environment variable when the crate is compiled. This bench builds itself once for each value, in a directory of its
//! own, and then runs these programs in turn, round after round. No value changes a result.

mod common;

use std::path::{Path as File, PathBuf};
use std::process::{Command, ExitCode};

use batchnorm::{Isa, Layout, Path};
use common::args::Usage;
use common::measure::{Effort, fastest};
use common::nasty::{self, Kind};
use common::{Bench, Op, Shape, shape};

/// A constant: values to try, and what shows its effect.
struct Constant {
    name: &'static str,
    values: &'static [usize],
    path: fn() -> Path,
    op: Op,
    shapes: &'static [Shape],
}

fn simd() -> Path {
    Path::Simd(Isa::detect())
}

fn parallel() -> Path {
    Path::Parallel(Isa::detect())
}

fn auto() -> Path {
    Path::Auto
}

const TINY: [Shape; 1] = [shape("NC 8x3", Layout::nc(8, 3))];
const WIDE: [Shape; 2] =
    [shape("NC 4096x2048", Layout::nc(4096, 2048)), shape("NC 256x65536", Layout::nc(256, 65_536))];
const LONG: [Shape; 2] =
    [shape("NC 262144x128", Layout::nc(262_144, 128)), shape("NC 4000000x5", Layout::nc(4_000_000, 5))];
const IN_CACHE: [Shape; 2] = [shape("NC 1024x512", Layout::nc(1024, 512)), shape("NC 8192x128", Layout::nc(8192, 128))];
const PLANES: [Shape; 2] = [
    shape("NCHW 64x64x56x56", Layout::nchw(64, 64, 56, 56)),
    shape("NCHW 64x256x14x14", Layout::nchw(64, 256, 14, 14)),
];
const IMAGES: [Shape; 4] = [
    shape("NCHW 8x256x14x14", Layout::nchw(8, 256, 14, 14)),
    shape("NCHW 8x64x56x56", Layout::nchw(8, 64, 56, 56)),
    shape("NCHW 32x64x56x56", Layout::nchw(32, 64, 56, 56)),
    shape("NCHW 64x64x56x56", Layout::nchw(64, 64, 56, 56)),
];
const FEW: [Shape; 3] = [
    shape("[8, 16384, 2]", Layout::new(8, 16_384, 2)),
    shape("[3, 4096, 9]", Layout::new(3, 4096, 9)),
    shape("[2, 4096, 25]", Layout::new(2, 4096, 25)),
];
/// Columns of wider tables, and few planes of larger images.
const STRIDED: [Shape; 4] = [
    shape("NC 16384x32 of 40", Layout::nc(16_384, 32).with_outer_stride(40)),
    shape("NC 4096x150 of 200", Layout::nc(4096, 150).with_outer_stride(200)),
    shape("NC 2048x400 of 500", Layout::nc(2048, 400).with_outer_stride(500)),
    shape("[4096, 12, 9] of 120", Layout::new(4096, 12, 9).with_outer_stride(120)),
];
const FORKS: [Shape; 3] = [
    shape("NC 1024x512", Layout::nc(1024, 512)),
    shape("NC 8192x128", Layout::nc(8192, 128)),
    shape("NC 32768x128", Layout::nc(32_768, 128)),
];

const CONSTANTS: [Constant; 16] = [
    Constant {
        name: "ROW_PREFETCH_FAR",
        values: &[8 << 10, 16 << 10, 64 << 10],
        path: simd,
        op: Op::Moments,
        shapes: &LONG,
    },
    Constant {
        name: "ROW_PREFETCH_NEAR",
        values: &[4 << 10, 16 << 10, 32 << 10],
        path: simd,
        op: Op::Moments,
        shapes: &IN_CACHE,
    },
    Constant { name: "PLANE_PREFETCH", values: &[8 << 10, 32 << 10], path: simd, op: Op::Moments, shapes: &PLANES },
    Constant {
        name: "PLANE_BLOCK_BYTES",
        values: &[1 << 13, 1 << 14, 1 << 16],
        path: simd,
        op: Op::Moments,
        shapes: &IMAGES,
    },
    Constant {
        name: "FEATURE_BLOCK_BYTES",
        values: &[128 << 10, 256 << 10, 768 << 10],
        path: simd,
        op: Op::Backward,
        shapes: &IMAGES,
    },
    Constant {
        name: "LARGEST_FEATURE_BYTES",
        values: &[256 << 10, 1 << 20, 2 << 20],
        path: simd,
        op: Op::Training,
        shapes: &IMAGES,
    },
    Constant { name: "OUTPUT_PREFETCH", values: &[512, 2048, 4096], path: simd, op: Op::Training, shapes: &IMAGES },
    Constant { name: "TILE_COLUMNS", values: &[256, 512, 2048, 4096], path: simd, op: Op::Moments, shapes: &WIDE },
    Constant { name: "TILE_PLANES", values: &[32, 128, 256], path: simd, op: Op::Moments, shapes: &PLANES },
    Constant { name: "FEW_VALUES_PER_FEATURE", values: &[16, 32], path: simd, op: Op::Moments, shapes: &FEW },
    Constant {
        name: "STRIDED_DIRECT_BYTES",
        values: &[256, 512, 2048],
        path: simd,
        op: Op::Inference,
        shapes: &STRIDED,
    },
    Constant { name: "STRIDED_TILE", values: &[512, 2048, 4096], path: simd, op: Op::Inference, shapes: &STRIDED },
    Constant {
        name: "PART_VALUES",
        values: &[1 << 15, 1 << 17, 1 << 18],
        path: parallel,
        op: Op::Moments,
        shapes: &FORKS,
    },
    Constant {
        name: "PARALLEL_MOMENTS",
        values: &[1 << 20, 1 << 21, 1 << 23],
        path: auto,
        op: Op::Moments,
        shapes: &FORKS,
    },
    Constant {
        name: "PARALLEL_NORMALIZE",
        values: &[1 << 19, 1 << 21, 1 << 22],
        path: auto,
        op: Op::Inference,
        shapes: &FORKS,
    },
    Constant {
        name: "PARALLEL_TRAINING",
        values: &[1 << 19, 1 << 20, 1 << 21],
        path: auto,
        op: Op::Training,
        shapes: &FORKS,
    },
];

const EFFORT: Effort = Effort { rounds: 5, seconds: 1.0, turn: 2e-3 };

/// How often the programs run in turn.
const ROUNDS: usize = 4;

const USAGE: Usage = Usage {
    name: "tune",
    about: "Measures the constants of src/tuning.rs again: builds the crate with other values of each.",
    only: Some("constant"),
    file: None,
    more: &[("measure", "measures one constant as this program was built; the bench runs itself so")],
};

fn main() -> ExitCode {
    let options = match USAGE.parse() {
        Ok(options) => options,
        Err(code) => return code,
    };
    if let Ok(Some(name)) = options.get::<String>("measure") {
        let Some(constant) = CONSTANTS.iter().find(|constant| constant.name == name) else {
            eprintln!("error: there is no constant {name}");
            return ExitCode::from(2);
        };
        measure(constant, EFFORT);
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<_> = CONSTANTS.iter().filter(|constant| options.wants(constant.name)).collect();
    for constant in &wanted {
        assert!(in_use(constant.name).is_some(), "src/tuning.rs does not have {}", constant.name);
        // Testing builds nothing.
        if options.test {
            measure(&Constant { shapes: &TINY, ..**constant }, Effort::ONCE);
        } else {
            tune(constant);
        }
    }
    options.exit(wanted.len())
}

/// Prints seconds per call for each shape, as compiled.
fn measure(constant: &Constant, effort: Effort) {
    for Shape { name, layout } in constant.shapes {
        let data = nasty::batch::<f32>(Kind::Normal, 1, Layout::nc(layout.checked_span().expect("a shape"), 1));
        let path = (constant.path)();
        println!("{name}: {}", fastest(&mut Bench::of(&data, *layout, &[path]), constant.op, path, effort));
    }
}

/// Builds a program for each value, runs them in turn and prints the fewest seconds of each.
fn tune(constant: &Constant) {
    let used = in_use(constant.name).expect("checked before");
    let mut programs = vec![(format!("{used} (in use)"), build(constant.name, None))];
    programs.extend(constant.values.iter().map(|value| (value.to_string(), build(constant.name, Some(*value)))));
    let mut fewest = vec![vec![f64::INFINITY; constant.shapes.len()]; programs.len()];
    for _ in 0..ROUNDS {
        for ((_, program), fewest) in programs.iter().zip(&mut fewest) {
            for (seconds, fewest) in run(program, constant.name).into_iter().zip(fewest) {
                *fewest = fewest.min(seconds);
            }
        }
    }
    println!("{}: time relative to the value in use", constant.name);
    let names: Vec<_> = constant.shapes.iter().map(|shape| shape.name).collect();
    println!("| value | {} | mean |\n|---|{}", names.join(" | "), "---:|".repeat(names.len() + 1));
    for ((value, _), seconds) in programs.iter().zip(&fewest) {
        let ratios: Vec<f64> = seconds.iter().zip(&fewest[0]).map(|(own, used)| own / used).collect();
        let mean = ratios.iter().product::<f64>().powf(1.0 / ratios.len() as f64);
        let figures: Vec<_> = ratios.iter().chain([&mean]).map(|ratio| format!("{ratio:.2}")).collect();
        println!("| {value} | {} |", figures.join(" | "));
    }
    println!();
}

/// Builds this bench with one constant changed, and returns a copy of the program.
fn build(name: &str, value: Option<usize>) -> PathBuf {
    let directory = File::new(env!("CARGO_MANIFEST_DIR")).join("../target/tune");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).arg("bench").args(["--bench", "tune", "--no-run", "--quiet"]);
    cargo.arg("--message-format=json").arg("--target-dir").arg(&directory);
    for constant in &CONSTANTS {
        cargo.env_remove(variable(constant.name));
    }
    if let Some(value) = value {
        cargo.env(variable(name), value.to_string());
    }
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).expect("JSON");
    let (_, rest) = messages.rsplit_once("\"executable\":\"").expect("a program");
    let program = rest.split('"').next().expect("a path");
    let copy = directory.join(format!("{name}-{}", value.map_or("in-use".into(), |value| value.to_string())));
    std::fs::copy(program, &copy).expect("a copy");
    copy
}

fn run(program: &File, name: &str) -> Vec<f64> {
    let output = Command::new(program).args(["--measure", name]).output().expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().filter_map(|line| line.rsplit_once(": ")?.1.parse().ok()).collect()
}

fn variable(name: &str) -> String {
    format!("BATCHNORM_{name}")
}

/// Returns the value of a constant as `src/tuning.rs` writes it.
fn in_use(name: &str) -> Option<&'static str> {
    let (_, rest) = include_str!("../src/tuning.rs").split_once(&format!("option_env!(\"{}\"), ", variable(name)))?;
    rest.split(");").next()
}
