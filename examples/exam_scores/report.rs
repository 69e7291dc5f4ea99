//! The report: moments, three normalisations, and whether all paths agree.

use std::fmt::Write;

use batchnorm::{Batch, BatchMut, BatchNorm, Isa, Layout, Moments, Path, moments};

use super::grid::grid;
use super::scores::Scores;

pub(crate) fn report(table: &Scores) -> Result<String, batchnorm::Error> {
    let layout = Layout::nc(table.rows.len(), table.columns.len());
    let m = moments(Batch::new(&table.values, layout)?);
    let features = 0..m.num_features();

    let mut text = format!("{} rows of {} features\n\n", layout.outer(), layout.features());
    let statistics: [(&str, Vec<f64>); 3] = [
        ("mean", features.clone().map(|i| m.mean(i)).collect()),
        ("var ddof 1", features.clone().map(|i| m.variance(i, 1.0)).collect()),
        ("var ddof 0", features.map(|i| m.variance(i, 0.0)).collect()),
    ];
    let title = "mean, unbiased variance (ddof 1), population variance (ddof 0)";
    text += &titled(title, &table.columns, statistics.iter().map(|(name, values)| (*name, &values[..])));

    for (name, divisor) in [("scores", 1.0), ("scores / 10000", 10_000.0), ("scores / 100", 100.0)] {
        let x: Vec<f32> = table.values.iter().map(|score| score / divisor).collect();
        let y: Vec<f64> = normalise(Path::Auto, &x, layout)?.into_iter().map(f64::from).collect();
        let rows = table.rows.iter().map(String::as_str).zip(y.chunks(layout.features()));
        text += &titled(&format!("normalised, {name}"), &table.columns, rows);
    }
    text += &agreement(&table.values, layout)?;
    Ok(text)
}

/// Normalises a batch with PyTorch's defaults.
fn normalise(path: Path, x: &[f32], layout: Layout) -> Result<Vec<f32>, batchnorm::Error> {
    let mut y = vec![0.0; x.len()];
    let mut bn = BatchNorm::new(layout.features()).with_path(path);
    bn.forward_train(Batch::new(x, layout)?, BatchMut::new(&mut y, layout)?)?;
    Ok(y)
}

/// Formats a table of numbers to four decimals, with a title.
fn titled<'a>(title: &str, columns: &[String], rows: impl Iterator<Item = (&'a str, &'a [f64])>) -> String {
    let mut cells = vec![[String::new()].iter().chain(columns).cloned().collect()];
    for (name, values) in rows {
        let values = values.iter().map(|value| format!("{value:.4}"));
        cells.push(std::iter::once(name.to_string()).chain(values).collect());
    }
    format!("{title}\n{}\n", grid(&cells))
}

/// Computes everything again by every path of this machine and reports whether the bits are the same.
fn agreement(x: &[f32], layout: Layout) -> Result<String, batchnorm::Error> {
    let compute = |path: Path| -> Result<(Moments, Vec<u32>), batchnorm::Error> {
        let bits = normalise(path, x, layout)?.iter().map(|y| y.to_bits()).collect();
        Ok((path.moments(Batch::new(x, layout)?), bits))
    };
    let reference = compute(Path::Scalar)?;
    let mut text = String::from("bits against the scalar path\n");
    let mut same = true;
    for isa in Isa::available() {
        for (name, path) in [("simd", Path::Simd(isa)), ("parallel", Path::Parallel(isa))] {
            let agrees = compute(path)? == reference;
            same &= agrees;
            let verdict = if agrees { "the same" } else { "DIFFERENT" };
            writeln!(text, "  {:<20} {verdict}", format!("{name} on {isa}")).expect("a string takes it");
        }
    }
    text += if same { "All paths gave the same bits.\n" } else { "The paths DISAGREE: please report this.\n" };
    Ok(text)
}
