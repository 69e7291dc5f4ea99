//! How speed depends on the data: moments of numerically difficult columns, with the best instruction set of this
//! machine.
//!
//! ```text
//! cargo bench --bench kinds
//! ```
//!
//! Prints GB/s and, in brackets, the speed relative to a plain sum over the same bytes in the same run
//! (`common/limits.rs`), both from the fastest round. A chunk whose shift is far from its mean is read again. A chunk
//! for which no shift is good (NaN, infinities, overflow, underflow) takes the fallback, which is plain code: see step
//! 5 of the order in `src/spec/order.rs`.

mod common;

use std::process::ExitCode;

use batchnorm::{Element, Isa, Layout, Path};
use bytemuck::Pod;
use comfy_table::{CellAlignment, Table, presets};
use common::args::Usage;
use common::measure::{Effort, Rounds};
use common::nasty::{KINDS, Kind};
use common::{Bench, Op, Shape, shape};

const SHAPES: [Shape; 2] =
    [shape("NC 1024x512", Layout::nc(1024, 512)), shape("NCHW 8x64x56x56", Layout::nchw(8, 64, 56, 56))];

const EFFORT: Effort = Effort { rounds: 9, seconds: 1.0, turn: 2e-3 };

const USAGE: Usage = Usage {
    name: "kinds",
    about: "Measures moments of numerically difficult columns, with the best instruction set of this machine.",
    only: Some("columns"),
    file: None,
    more: &[],
};

fn main() -> ExitCode {
    let options = match USAGE.parse() {
        Ok(options) => options,
        Err(code) => return code,
    };
    let effort = if options.test { Effort::ONCE } else { EFFORT };
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let columns =
        ["f32", "f64"].into_iter().flat_map(|element| SHAPES.map(|shape| format!("{element} {}", shape.name)));
    table.set_header(std::iter::once("columns".to_string()).chain(columns));
    let kinds: Vec<_> = KINDS.into_iter().filter(|kind| options.wants(&format!("{kind:?}"))).collect();
    for &kind in &kinds {
        let figures = SHAPES.map(|shape| figure::<f32>(kind, shape, effort)).into_iter();
        let figures = figures.chain(SHAPES.map(|shape| figure::<f64>(kind, shape, effort)));
        table.add_row(std::iter::once(format!("{kind:?}")).chain(figures));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    if !kinds.is_empty() {
        println!("{table}\n");
        println!("GB/s at best time and, in brackets, time of a plain sum over the same bytes divided by ours");
    }
    options.exit(kinds.len())
}

fn figure<T: Element + Pod>(kind: Kind, shape: Shape, effort: Effort) -> String {
    let mut bench = Bench::<T>::new(kind, shape.layout);
    let path = Path::Simd(Isa::detect());
    let rounds = Rounds::measure(&mut bench, Op::Moments, &[path], effort);
    let (own, plain) = (rounds.path(path).0, rounds.plain(path).0);
    let bytes = Op::Moments.bytes(bench.x.len(), size_of::<T>()) as f64;
    format!("{:.1} ({:.2})", bytes / own / 1e9, plain / own)
}
