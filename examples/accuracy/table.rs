//! Tables of the worst errors over the numerically difficult columns.

use comfy_table::{CellAlignment, Table, presets};

use crate::methods::Value;
use crate::nasty::{self, KINDS, Kind};
use crate::oracle::{error_in, exact, rational, ulp};

/// Lengths of the columns.
const LENGTHS: [usize; 4] = [7, 1000, 65_537, 1_000_003];

/// The rows of a table.
const GROUPS: [&str; 7] = [
    "ordinary",
    "mean/sd from 1e2 to 1e15",
    "constant",
    "alternating, periodic, last places",
    "sorted, trends, walks, steps",
    "outliers and heavy tails",
    "near the ends of the type's range",
];

/// Returns the row of a kind, or `None` for kinds with NaN and infinities.
fn group(kind: Kind) -> Option<usize> {
    Some(match kind {
        Kind::Normal | Kind::Few | Kind::Whole => 0,
        Kind::Offset(_) => 1,
        Kind::Constant(_) | Kind::Zeros => 2,
        Kind::Alternating(_) | Kind::Period(_) | Kind::LastPlaces(_) => 3,
        Kind::Sorted | Kind::Trend | Kind::Walk | Kind::Steps(_) | Kind::LateStep => 4,
        Kind::Spread | Kind::Cauchy | Kind::Pareto => 5,
        Kind::OutlierFirst | Kind::OutlierLast | Kind::OutlierEvery(_) => 5,
        Kind::Scaled(_) | Kind::Subnormal | Kind::TinySquares | Kind::HugeSquares | Kind::Extreme => 6,
        Kind::Poisoned | Kind::Infinite => return None,
    })
}

/// The worst errors of one method: of means, and of variances in each row of the table.
pub(crate) struct Results {
    name: &'static str,
    mean: f64,
    variance: [f64; GROUPS.len()],
}

pub(crate) fn measure<T: Value>() -> Vec<Results> {
    let methods = T::methods();
    let mut results: Vec<_> =
        methods.iter().map(|method| Results { name: method.name, mean: 0.0, variance: [0.0; GROUPS.len()] }).collect();
    for (seed, kind) in KINDS.into_iter().enumerate() {
        let Some(group) = group(kind) else { continue };
        for len in LENGTHS {
            let column = nasty::column::<T>(kind, seed as u64, 0, len);
            let exact = exact(column.iter().map(|x| batchnorm::Element::to_f64(*x)));
            if exact.m2 > rational(f64::MAX) {
                continue;
            }
            let variance = exact.variance(0);
            // The unit of the element type, in units of f64.
            let coarser = 2f64.powi(52 - T::DIGITS);
            let mean_unit = ulp(&exact.mean) * coarser + exact.sd() * 2f64.powi(-1 - T::DIGITS);
            for (method, results) in methods.iter().zip(&mut results) {
                let [given_mean, given_variance] = (method.run)(&column);
                results.mean = results.mean.max(error_in(given_mean, &exact.mean, mean_unit));
                let error = error_in(given_variance, &variance, ulp(&variance) * coarser);
                // 0 has no last place, so any error is infinite.
                let error = if variance == rational(0.0) && error > 0.0 { f64::INFINITY } else { error };
                results.variance[group] = results.variance[group].max(error);
            }
        }
    }
    results
}

pub(crate) fn table(results: &[Results]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["columns"].into_iter().chain(results.iter().map(|results| results.name)));
    for (at, group) in GROUPS.into_iter().enumerate() {
        table.add_row([group.to_string()].into_iter().chain(results.iter().map(|results| cell(results.variance[at]))));
    }
    table.add_row(["the mean, of all columns".into()].into_iter().chain(results.iter().map(|r| cell(r.mean))));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cell(error: f64) -> String {
    match error {
        0.0 => "0".into(),
        e if !e.is_finite() => "∞".into(),
        e if e < 0.01 => "<0.01".into(),
        e if e < 100.0 => format!("{e:.2}"),
        e => format!("{e:.0e}"),
    }
}
