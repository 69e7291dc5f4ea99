//! One thread beside several: what it costs to wake threads, back to back and after a pause, from outside a pool and
//! from inside, and in pools with more threads than the machine has cores.
//!
//! ```text
//! cargo bench --bench threads                         # (half a minute)
//! cargo bench --bench threads -- --only training      # rows whose "shape operation type" has this word
//! cargo bench --bench threads -- --threads 4          # a pool of four threads (default: one per core)
//! ```

mod common;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use batchnorm::{Element, Isa, Layout, Path};
use bytemuck::Pod;
use common::args::Usage;
use common::measure::min_median;
use common::nasty::Kind;
use common::{Bench, Op, Shape, shape};
use rayon::{ThreadPool, ThreadPoolBuilder};

const SHAPES: [Shape; 9] = [
    shape("NC 256x256", Layout::nc(256, 256)),
    shape("NC 512x256", Layout::nc(512, 256)),
    shape("NC 512x512", Layout::nc(512, 512)),
    shape("NC 1024x512", Layout::nc(1024, 512)),
    shape("NC 8192x128", Layout::nc(8192, 128)),
    shape("NC 65536x128", Layout::nc(65_536, 128)),
    shape("NCHW 8x512x7x7", Layout::nchw(8, 512, 7, 7)),
    shape("NCHW 8x256x14x14", Layout::nchw(8, 256, 14, 14)),
    shape("NCHW 8x64x56x56", Layout::nchw(8, 64, 56, 56)),
];

const USAGE: Usage = Usage {
    name: "threads",
    about: "One thread beside several: back to back, after a pause, from outside a pool and from inside.",
    only: Some("shape operation type"),
    file: None,
    more: &[("threads", "threads of the pool (default: one per core)")],
};

const LEGEND: &str = "
Microseconds per call: the minimum, and the median after the slash.
simd         the calling thread alone                  back to back  calls follow each other at once
parallel     the threads of the pool                   pause         a millisecond of sleep before each call
auto         what users get                            inside        called by a thread of the pool
pool of 16   parallel, in a pool of sixteen threads
The last two columns are simd or parallel, whichever is faster, divided by auto: 1 is the best choice.";

/// Rounds, if time allows, and calls that follow each other in a round.
const ROUNDS: usize = 60;
const CALLS: usize = 5;
const SECONDS: f64 = 1.0;

fn main() -> ExitCode {
    let options = match USAGE.parse() {
        Ok(options) => options,
        Err(code) => return code,
    };
    let threads = match options.get::<usize>("threads") {
        Ok(threads) => threads.unwrap_or(0),
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    let pool = |threads| ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    ThreadPoolBuilder::new().num_threads(threads).build_global().expect("the first global pool");
    let pools = Pools { inside: pool(threads), many: pool(16) };
    let mut printed = 0;
    for shape in SHAPES {
        for op in Op::ALL {
            if options.wants(&format!("{} {} f32", shape.name, op.name())) {
                row::<f32>(shape, op, "f32", &pools, options.test, &mut printed);
            }
            if options.wants(&format!("{} {} f64", shape.name, op.name())) {
                row::<f64>(shape, op, "f64", &pools, options.test, &mut printed);
            }
        }
    }
    if printed > 0 {
        println!("{LEGEND}");
    }
    options.exit(printed)
}

struct Pools {
    inside: ThreadPool,
    many: ThreadPool,
}

/// A way to run the operation.
#[derive(Clone, Copy)]
enum Way {
    Outside(Path),
    Inside(Path),
    Many(Path),
}

fn row<T: Element + Pod>(shape: Shape, op: Op, element: &str, pools: &Pools, test: bool, printed: &mut usize) {
    let (simd, parallel) = (Path::Simd(Isa::detect()), Path::Parallel(Isa::detect()));
    let ways = [
        (Way::Outside(simd), false),
        (Way::Outside(parallel), false),
        (Way::Outside(Path::Auto), false),
        (Way::Outside(simd), true),
        (Way::Outside(parallel), true),
        (Way::Outside(Path::Auto), true),
        (Way::Inside(parallel), false),
        (Way::Many(parallel), false),
    ];
    let mut bench = Bench::<T>::new(Kind::Normal, shape.layout);
    let mut times = [const { Vec::new() }; 8];
    let start = Instant::now();
    for round in 0..if test { 1 } else { ROUNDS } {
        if round >= 5 && start.elapsed().as_secs_f64() > SECONDS {
            break;
        }
        for (times, (way, pause)) in times.iter_mut().zip(ways) {
            let mut run = |path| run(&mut bench, op, path, pause, times);
            match way {
                Way::Outside(path) => run(path),
                Way::Inside(path) => pools.inside.install(|| run(path)),
                Way::Many(path) => pools.many.install(|| run(path)),
            }
        }
    }
    let times = times.map(min_median);
    if *printed == 0 {
        let names = ["simd", "parallel", "auto", "simd, pause", "parallel, pause", "auto, pause"];
        let more = ["parallel, inside", "pool of 16", "best / auto", "best / auto, pause"];
        println!("| shape | type | operation | {} | {} |", names.join(" | "), more.join(" | "));
        println!("|---|---|---|{}", "---:|".repeat(10));
    }
    *printed += 1;
    let cell = |(min, median): (f64, f64)| format!("{:.1}/{:.1}", min * 1e6, median * 1e6);
    let of_auto = |simd: usize| times[simd].0.min(times[simd + 1].0) / times[simd + 2].0;
    let cells = times.map(cell).join(" | ");
    println!("| {} | {element} | {} | {cells} | {:.2} | {:.2} |", shape.name, op.name(), of_auto(0), of_auto(3));
}

/// Runs an operation several times in a row; the first call, which finds the data of another one in the caches, does
/// not count unless each call follows a pause.
fn run<T: Element + Pod>(bench: &mut Bench<T>, op: Op, path: Path, pause: bool, times: &mut Vec<f64>) {
    for call in 0..=CALLS {
        if pause {
            if call > 1 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let start = Instant::now();
        bench.run(op, path);
        let time = start.elapsed().as_secs_f64();
        if call > 0 {
            times.push(time);
        }
    }
}
