//! The plot: a row of panels for each channel, raw and normalised in two ways.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::sensor::{CHANNELS, Channel};
use crate::{CLIP, HALF_LIFE, Row};

type Error = Box<dyn std::error::Error>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const SIZE: (u32, u32) = (1500, 1180);

/// Height of the titles of the columns, at the top.
const TITLES: u32 = 44;

/// Rows that share a point: the plot has the lowest and the highest value among them.
const ROWS_PER_POINT: usize = 20;

const RAW: RGBColor = RGBColor(90, 90, 90);
const NORMALISED: RGBColor = RGBColor(0, 90, 200);
const CLIPPED: RGBColor = RGBColor(210, 40, 40);

pub(crate) fn draw(file: &Path, rows: &[Row]) -> Result<(), Error> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (titles, panels) = root.split_vertically(TITLES);
    let names = [
        "raw, row by row".to_string(),
        "normalised by all rows so far".to_string(),
        format!("normalised by weighted rows, half-life {HALF_LIFE} rows"),
    ];
    for (area, name) in titles.split_evenly((1, 3)).iter().zip(names) {
        area.draw(&Text::new(name, (50, 16), ("sans-serif", 20)))?;
    }
    let values: [fn(&Row) -> &[f64]; 3] = [|row| &row.raw, |row| &row.by_all, |row| &row.by_latest];
    for (at, panel) in panels.split_evenly((CHANNELS.len(), 3)).iter().enumerate() {
        let (channel, column) = (at / 3, at % 3);
        let line: Vec<f64> = rows.iter().map(|row| values[column](row)[channel]).collect();
        draw_panel(panel, &CHANNELS[channel], &line, column > 0)?;
    }
    root.present()?;
    Ok(())
}

fn draw_panel(area: &Area<'_>, channel: &Channel, line: &[f64], normalised: bool) -> Result<(), Error> {
    let title = if normalised {
        channel.name.to_string()
    } else {
        format!("{} in {}, {}", channel.name, channel.unit, channel.about)
    };
    let range = if normalised { -1.3 * CLIP..1.3 * CLIP } else { range(line) };
    // As many decimal places as tell the labels from each other.
    let places = (1.0 - (range.end - range.start).log10().floor()).clamp(0.0, 9.0) as usize;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 15))
        .margin(8)
        .margin_right(24)
        .x_label_area_size(24)
        .y_label_area_size(if normalised { 40 } else { 104 })
        .build_cartesian_2d(0.0..line.len() as f64, range)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|row| format!("{row:.0}"))
        .y_label_formatter(&|value| format!("{value:.*}", if normalised { 0 } else { places }))
        .x_labels(5)
        .y_labels(5)
        .label_style(("sans-serif", 12))
        .draw()?;
    let color = if normalised { NORMALISED } else { RAW };
    chart.draw_series(LineSeries::new(points(line), color.stroke_width(1)))?;
    if normalised {
        for limit in [-CLIP, CLIP] {
            let ends = [(0.0, limit), (line.len() as f64, limit)];
            chart.draw_series(DashedLineSeries::new(ends, 5, 4, CLIPPED.stroke_width(1)))?;
        }
        let clipped = points(line).into_iter().filter(|(_, y)| y.abs() >= CLIP);
        chart.draw_series(clipped.map(|point| Circle::new(point, 3, CLIPPED.filled())))?;
    }
    Ok(())
}

/// Returns the range of the values, and some space.
fn range(line: &[f64]) -> std::ops::Range<f64> {
    let (low, high) = line.iter().fold((f64::MAX, f64::MIN), |(low, high), y| (low.min(*y), high.max(*y)));
    let space = 0.1 * (high - low);
    low - space..high + space
}

/// Returns the lowest and the highest of every few values, so that no outlier is lost and the file stays small.
fn points(line: &[f64]) -> Vec<(f64, f64)> {
    let ends = line.chunks(ROWS_PER_POINT).enumerate().flat_map(|(chunk, values)| {
        let place = |least: bool| {
            let order = |a: &(usize, &f64), b: &(usize, &f64)| a.1.total_cmp(b.1);
            let values = values.iter().enumerate();
            let found = if least { values.min_by(order) } else { values.max_by(order) };
            found.map(|(at, y)| ((chunk * ROWS_PER_POINT + at) as f64, *y))
        };
        let (low, high) = (place(true), place(false));
        // In the order of the rows.
        if low < high { [low, high] } else { [high, low] }
    });
    ends.flatten().collect()
}
