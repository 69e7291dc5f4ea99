//! A plot of the error of variances against mean / sd.

use std::path::Path;

use batchnorm::Element;
use num_traits::Zero;
use plotters::coord::Shift;
use plotters::coord::combinators::IntoLogRange;
use plotters::prelude::*;

use crate::methods::Value;
use crate::nasty::{Kind, column};
use crate::oracle::{error_in, exact, nearest};

type Error = Box<dyn std::error::Error>;

const SIZE: (u32, u32) = (1200, 584);

/// Height of the strip that explains the lines, at the bottom.
const LEGEND: u32 = 64;

/// Values per column, and columns per point, of which the worst is drawn.
const LEN: usize = 10_000;
const COLUMNS: u64 = 5;

/// The range of relative errors in the plot. Smaller errors are drawn at its lower end; larger ones are not drawn, and a
/// triangle marks each.
const ERRORS: std::ops::Range<f64> = 1e-17..1e2;

/// Methods, their colours and their line widths. ndarray uses a Welford recurrence, so its thin line lies on top of the
/// other.
const STYLES: [(&str, RGBColor, u32); 6] = [
    ("this crate", RGBColor(0, 90, 200), 4),
    ("stream", RGBColor(215, 60, 170), 2),
    ("two passes", RGBColor(0, 140, 90), 2),
    ("Welford", RGBColor(250, 170, 50), 5),
    ("ndarray", RGBColor(90, 40, 150), 2),
    ("E[x²] − E[x]²", RGBColor(200, 40, 40), 2),
];

pub(crate) fn draw(file: &Path) -> Result<(), Error> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (panels, strip) = root.split_vertically(SIZE.1 - LEGEND);
    let (left, right) = panels.split_horizontally(SIZE.0 / 2);
    panel::<f64>(&left, 1e15)?;
    // Above that, all values of a column soon round to the same f32.
    panel::<f32>(&right, 1e7)?;
    legend(&strip)?;
    root.present()?;
    Ok(())
}

/// The size of the triangles.
const CLIPPED: i32 = 6;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the lines in their colours, and what dashes mean.
fn legend(strip: &Area<'_>) -> Result<(), Error> {
    let mut x = 50;
    for (name, color, width) in STYLES {
        strip.draw(&PathElement::new([(x, 12), (x + 36, 12)], color.stroke_width(width)))?;
        strip.draw(&Text::new(name, (x + 44, 6), ("sans-serif", 15)))?;
        x += 150;
    }
    strip.draw(&Text::new("dashed: f32 values, computed in f64", (x, 6), ("sans-serif", 15)))?;
    strip.draw(&TriangleMarker::new((56, 40), CLIPPED, BLACK.filled()))?;
    let notes = "larger than 100 (off the scale).   ndarray computes Welford's recurrence, so its line lies on Welford's; \
                 for f64, that of the stream lies on this crate's.";
    strip.draw(&Text::new(notes, (66, 32), ("sans-serif", 15)))?;
    Ok(())
}

fn panel<T: Value>(area: &Area<'_>, largest: f64) -> Result<(), Error> {
    let title = format!("{} columns: relative error of the variance", std::any::type_name::<T>());
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d((1.0..largest).log_scale(), ERRORS.log_scale())?;
    let power = |x: &f64| format!("1e{:.0}", x.log10());
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("mean / standard deviation")
        .x_label_formatter(&power)
        .y_label_formatter(&power)
        .x_labels(9)
        .y_labels(11)
        .label_style(("sans-serif", 14))
        .draw()?;
    let mut row = 5.0 * ERRORS.end;
    for (name, points) in lines::<T>(largest) {
        let (method, in_f64) = name.split_once(" in ").map_or((name, false), |(method, _)| (method, true));
        let (_, color, width) =
            STYLES.into_iter().find(|(name, ..)| *name == method).expect("every method has a style");
        let style = color.stroke_width(width);
        // Each stretch within the range is a line of its own, or a dot.
        for stretch in points.split(|(_, error)| *error > ERRORS.end).filter(|stretch| !stretch.is_empty()) {
            if let [point] = stretch {
                chart.draw_series([Circle::new(*point, 2, color.filled())])?;
            } else if in_f64 {
                chart.draw_series(DashedLineSeries::new(stretch.iter().copied(), 7, 5, style))?;
            } else {
                chart.draw_series(LineSeries::new(stretch.iter().copied(), style))?;
            }
        }
        let clipped: Vec<_> = points.iter().filter(|(_, error)| *error > ERRORS.end).collect();
        if !clipped.is_empty() {
            // A row of triangles for each method.
            row /= 10.0;
            let triangle = |&&(mean, _): &&(f64, f64)| TriangleMarker::new((mean, row), CLIPPED, color.filled());
            chart.draw_series(clipped.iter().map(triangle))?;
        }
    }
    Ok(())
}

type Line = (&'static str, Vec<(f64, f64)>);

/// Returns the points of each method, two for each power of ten.
fn lines<T: Value>(largest: f64) -> Vec<Line> {
    let methods = T::methods();
    let mut lines: Vec<Line> = methods.iter().map(|method| (method.name, Vec::new())).collect();
    for half in 0..=(2.0 * largest.log10()) as i32 {
        let mean = 10f64.powf(f64::from(half) / 2.0);
        let mut worst = vec![ERRORS.start; methods.len()];
        for seed in 0..COLUMNS {
            let column = column::<T>(Kind::Offset(mean), seed, 0, LEN);
            let variance = exact(column.iter().map(|x| Element::to_f64(*x))).variance(0);
            if variance.is_zero() {
                continue;
            }
            for (method, worst) in methods.iter().zip(&mut worst) {
                let [_, given] = (method.run)(&column);
                *worst = worst.max(error_in(given, &variance, nearest(&variance)));
            }
        }
        for ((_, points), worst) in lines.iter_mut().zip(worst) {
            points.push((mean, worst));
        }
    }
    lines
}
