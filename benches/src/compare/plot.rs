//! Bars of ratios, quorate over etcd, one SVG per metric.

use std::path::Path;

use plotters::prelude::*;

use crate::Outcome;
use crate::table::{Metric, Row, Summary};

const BAR_HEIGHT: u32 = 34;
const WIDTH: u32 = 900;
const FINE: RGBColor = RGBColor(46, 125, 50);
const WORSE: RGBColor = RGBColor(198, 40, 40);

/// Draws what can be drawn; returns how many plots that was.
pub(crate) fn draw_all(summary: &Summary, out: &Path) -> Outcome<usize> {
    let mut drawn = 0;
    for (metric, rows) in &summary.sections {
        let bars: Vec<(&Row, f64)> =
            rows.iter().filter_map(|row| Some((row, row.to_etcd()?))).collect();
        if !bars.is_empty() {
            draw(*metric, &bars, &out.join(format!("{}.svg", metric.file_stem())))?;
            drawn += 1;
        }
    }
    Ok(drawn)
}

fn draw(metric: Metric, bars: &[(&Row, f64)], path: &Path) -> Outcome<()> {
    let height = 110 + BAR_HEIGHT * bars.len() as u32;
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let most = bars.iter().map(|(_, ratio)| *ratio).fold(1.0, f64::max) * 1.15;
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("{}: quorate / etcd", metric.title()), ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(130)
        .build_cartesian_2d(0.0..most, (0..bars.len()).into_segmented())?;
    let label = |at: &SegmentValue<usize>| match at {
        SegmentValue::CenterOf(bar) => {
            bars.get(*bar).map_or_else(String::new, |(row, _)| row.name.clone())
        }
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(bars.len())
        .y_label_formatter(&label)
        .x_label_formatter(&|ratio| format!("{ratio:.1}x"))
        .draw()?;
    chart.draw_series(bars.iter().enumerate().map(|(at, (_, ratio))| {
        let colour = if is_better(metric, *ratio) { FINE } else { WORSE };
        let corners = [(0.0, SegmentValue::Exact(at)), (*ratio, SegmentValue::Exact(at + 1))];
        let mut bar = Rectangle::new(corners, colour.mix(0.8).filled());
        bar.set_margin(4, 4, 0, 0);
        bar
    }))?;
    chart.draw_series(bars.iter().enumerate().map(|(at, (_, ratio))| {
        let text = format!(" {ratio:.2}x");
        Text::new(text, (*ratio, SegmentValue::CenterOf(at)), ("sans-serif", 14))
    }))?;
    let ends = [(1.0, SegmentValue::Exact(0)), (1.0, SegmentValue::Exact(bars.len()))];
    chart.draw_series(std::iter::once(PathElement::new(ends, BLACK.stroke_width(2))))?;
    area.present()?;
    Ok(())
}

fn is_better(metric: Metric, ratio: f64) -> bool {
    if metric == Metric::Throughput { ratio >= 1.0 } else { ratio <= 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_throughput_and_less_of_the_rest_is_better() {
        assert!(is_better(Metric::Throughput, 1.5) && !is_better(Metric::Throughput, 0.9));
        assert!(is_better(Metric::Cpu, 0.3) && !is_better(Metric::P99, 1.1));
    }

    #[test]
    fn a_plot_names_its_workloads_and_ratios() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cpu.svg");
        let row = Row { name: "put/64".into(), quorate: Some(1.0), etcd: Some(4.0), floor: None };
        draw(Metric::Cpu, &[(&row, 0.25)], &path).unwrap();
        let svg = std::fs::read_to_string(path).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("put/64") && svg.contains("0.25x"));
    }
}
