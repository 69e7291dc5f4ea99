//! The chart: one panel per operation, and the legend in place of a fourth panel.

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Width and height in pixels: as wide as a README.
const SIZE: (u32, u32) = (900, 720);

/// Space at the left of a panel for the y labels, and at the bottom for the x labels.
const LABELS: (u32, u32) = (50, 42);

pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) look: Look,
    /// Batch size in bytes, and GB/s.
    pub(crate) points: Vec<(f64, f64)>,
}

#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) color: RGBColor,
    pub(crate) dashed: bool,
    pub(crate) width: u32,
}

pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) lines: Vec<Line>,
    /// Names of marks, and their positions on the x axis.
    pub(crate) marks: Vec<(String, f64)>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Draws three panels as an SVG, with `notes` below the legend.
pub(crate) fn draw(panels: &[Panel], notes: &[String]) -> Result<String, Box<dyn std::error::Error>> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let areas = root.margin(6, 6, 6, 10).split_evenly((2, 2));
    let points = || panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
    // The same scale for all panels, with some margin.
    let x = span(points().map(|point| point.0), 1.3);
    let y = span(points().map(|point| point.1), 1.3);
    // Room for the names of the marks, above all lines.
    let y = y.start..2.0 * y.end;
    for (panel, area) in panels.iter().zip(&areas) {
        draw_panel(panel, area, x.clone(), y.clone())?;
    }
    if let (Some(panel), Some(area)) = (panels.first(), areas.last()) {
        draw_legend(&panel.lines, notes, area)?;
    }
    root.present()?;
    drop((areas, root));
    Ok(svg)
}

fn span(values: impl Iterator<Item = f64>, air: f64) -> std::ops::Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
    low / air..high * air
}

fn draw_panel(panel: &Panel, area: &Area<'_>, x: std::ops::Range<f64>, y: std::ops::Range<f64>) -> Drawn {
    let grey = RGBColor(0x66, 0x66, 0x66);
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 17).into_font().style(FontStyle::Bold))
        .x_label_area_size(LABELS.1)
        .y_label_area_size(LABELS.0)
        .margin_right(8)
        .margin_bottom(10)
        .build_cartesian_2d(x.clone().log_scale().base(2.0), y.clone().log_scale().base(2.0))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(BLACK.mix(0.12))
        .light_line_style(TRANSPARENT)
        .axis_style(grey)
        .label_style(("sans-serif", 15))
        .x_labels(5)
        .y_labels(12)
        .x_label_formatter(&|bytes| size(bytes.round() as u64))
        .y_label_formatter(&|rate| rate.to_string())
        .x_desc("batch size")
        .y_desc("GB/s")
        .set_all_tick_mark_size(4)
        .draw()?;
    let small = ("sans-serif", 14).into_text_style(area).color(&grey).pos(Pos::new(HPos::Right, VPos::Top));
    for (name, at) in panel.marks.iter().filter(|(_, at)| x.contains(at)) {
        chart.draw_series(DashedLineSeries::new([(*at, y.start), (*at, y.end)], 1, 3, grey.stroke_width(1)))?;
        let label = Text::new(format!("{name} "), (*at, y.end), small.clone());
        chart.draw_series([label])?;
    }
    for line in &panel.lines {
        let points = line.points.iter().copied();
        if line.look.dashed {
            chart.draw_series(DashedLineSeries::new(points, 6, 3, line.look.color.stroke_width(line.look.width)))?;
        } else {
            chart.draw_series(LineSeries::new(points, line.look.color.stroke_width(line.look.width)))?;
        }
    }
    Ok(())
}

fn draw_legend(lines: &[Line], notes: &[String], area: &Area<'_>) -> Drawn {
    let left = LABELS.0 as i32;
    let text = ("sans-serif", 17).into_text_style(area).pos(Pos::new(HPos::Left, VPos::Center));
    let mut y = 40;
    for line in lines {
        let (from, to) = ((left, y), (left + 36, y));
        let style = line.look.color.stroke_width(line.look.width.max(3));
        if line.look.dashed {
            area.draw(&DashedPathElement::new([from, to], 6, 3, style))?;
        } else {
            area.draw(&PathElement::new([from, to], style))?;
        }
        area.draw(&Text::new(line.name.as_str(), (left + 46, y), text.clone()))?;
        y += 22;
    }
    y += 6;
    let text = ("sans-serif", 14).into_text_style(area).pos(Pos::new(HPos::Left, VPos::Center));
    for note in notes {
        area.draw(&Text::new(note.as_str(), (left, y), text.clone()))?;
        y += 17;
    }
    Ok(())
}

/// Formats a size: 65536 as `64 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    let step = (bytes.max(1).ilog2() / 10).min(3);
    format!("{} {}", bytes >> (10 * step), ["B", "KiB", "MiB", "GiB"][step as usize])
}
