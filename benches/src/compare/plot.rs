//! Pictures: bars of ratios with what they must reach, latency over load, memory over keys.

use std::path::Path;

use clap::ValueEnum as _;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::Outcome;
use crate::cli::Flavour;
use crate::figure::{Figure, Metric};
use crate::row::{Bound, Row};
use crate::table::{Line, median};

const BAR_HEIGHT: u32 = 34;
const WIDTH: u32 = 900;
const CURVE_HEIGHT: u32 = 420;
const FONT: &str = "sans-serif";
const FINE: RGBColor = RGBColor(46, 125, 50);
const WORSE: RGBColor = RGBColor(198, 40, 40);
const OTHER: RGBColor = RGBColor(120, 120, 120);
const FAINT: RGBColor = RGBColor(190, 190, 190);
/// Those whose ratios are drawn.
const METRICS: [Metric; 9] = [
    Metric::Cpu,
    Metric::Rate,
    Metric::P50,
    Metric::P99,
    Metric::Lag99,
    Metric::Growth,
    Metric::RssMib,
    Metric::DiskMib,
    Metric::Seconds,
];
/// Those that every window has: they are drawn where there is nothing to be reached as well.
const WINDOW: [Metric; 4] = [Metric::Cpu, Metric::Rate, Metric::P50, Metric::P99];
/// The least that has a place on a logarithmic axis.
const LOG_LEAST: f64 = 1e-3;
/// How the names of memory's cases go on behind the number of keys.
const KEYS_OF: &str = " keys of 256 B";

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Draws what can be drawn; returns how many pictures that was.
pub(crate) fn draw_all(lines: &[Line], figures: &[Figure], out: &Path) -> Outcome<usize> {
    let mut members: Vec<u8> = lines.iter().map(|line| line.members).collect();
    members.dedup();
    let mut drawn = 0;
    for count in members {
        for metric in METRICS {
            let bars: Vec<(&Line, f64)> = lines
                .iter()
                .filter(|line| (line.members, line.metric) == (count, metric))
                .filter(|line| line.must().is_some() || WINDOW.contains(&metric))
                .filter(|line| line.row != Row::Load)
                .filter_map(|line| Some((line, line.to_etcd()?)))
                .collect();
            if !bars.is_empty() {
                let path = out.join(format!("ratio-{}-{count}.svg", metric.name()));
                draw_bars(metric, &bars, &path)?;
                drawn += 1;
            }
        }
        for kind in ["get", "put"] {
            let path = out.join(format!("load-{kind}-{count}.svg"));
            drawn += usize::from(draw_load(figures, (count, kind), &path)?);
        }
        let path = out.join(format!("memory-{count}.svg"));
        drawn += usize::from(draw_memory(figures, count, &path)?);
    }
    Ok(drawn)
}

fn draw_bars(metric: Metric, bars: &[(&Line, f64)], path: &Path) -> Outcome<()> {
    // The axis goes up.
    let bars: Vec<&(&Line, f64)> = bars.iter().rev().collect();
    let height = 110 + BAR_HEIGHT * bars.len() as u32;
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let musts = bars.iter().filter_map(|(line, _)| ratio_must(line));
    let most = bars.iter().map(|(_, ratio)| *ratio).chain(musts).fold(1.0, f64::max) * 1.15;
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("{}: quorate / etcd, and what it must be", metric.title()), (FONT, 20))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(260)
        .build_cartesian_2d(0.0..most, (0..bars.len()).into_segmented())?;
    let label = |at: &SegmentValue<usize>| match at {
        SegmentValue::CenterOf(bar) => bars
            .get(*bar)
            .map_or_else(String::new, |(line, _)| format!("{} {}", line.row.name(), line.case)),
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(WHITE)
        .y_labels(bars.len())
        .y_label_formatter(&label)
        .x_label_formatter(&|ratio| format!("{ratio:.1}x"))
        .draw()?;
    chart.draw_series(bars.iter().enumerate().map(|(at, (line, ratio))| {
        let colour = match line.is_met() {
            Some(true) => FINE,
            Some(false) => WORSE,
            None => OTHER,
        };
        let corners = [(0.0, SegmentValue::Exact(at)), (*ratio, SegmentValue::Exact(at + 1))];
        let mut bar = Rectangle::new(corners, colour.mix(0.8).filled());
        bar.set_margin(4, 4, 0, 0);
        bar
    }))?;
    chart.draw_series(bars.iter().enumerate().map(|(at, (_, ratio))| {
        let text = format!(" {ratio:.2}x");
        Text::new(text, (*ratio, SegmentValue::CenterOf(at)), (FONT, 14))
    }))?;
    chart.draw_series(bars.iter().enumerate().filter_map(|(at, (line, _))| {
        let must = ratio_must(line)?;
        let ends = [(must, SegmentValue::Exact(at)), (must, SegmentValue::Exact(at + 1))];
        Some(PathElement::new(ends, BLACK.stroke_width(3)))
    }))?;
    area.present()?;
    Ok(())
}

/// The ratio that a line must reach.
fn ratio_must(line: &Line) -> Option<f64> {
    match line.must()?.bound {
        Bound::RatioAtMost(ratio) | Bound::RatioAtLeast(ratio) => Some(ratio),
        Bound::AtMost(_) | Bound::AtLeast(_) => None,
    }
}

/// A server's points.
type Curve = (Flavour, Vec<(f64, f64)>);

/// Median latency and p99 over operations per second, for each server; whether there is any.
fn draw_load(figures: &[Figure], (members, kind): (u8, &str), path: &Path) -> Outcome<bool> {
    let of = |flavour: Flavour, metric: Metric| -> Vec<(f64, f64)> {
        let is_meant = |it: &&Figure| {
            it.row == Row::Load
                && (it.members, it.flavour) == (members, flavour)
                && it.case.starts_with(kind)
        };
        let mut cases: Vec<&str> =
            figures.iter().filter(is_meant).map(|it| it.case.as_str()).collect();
        cases.dedup();
        cases.sort_by_key(|case| number_in(case));
        cases.dedup();
        let middle = |case: &str, metric: Metric| {
            let is_meant = |it: &&Figure| is_meant(it) && it.case == case && it.metric == metric;
            median(figures.iter().filter(is_meant).map(|it| it.value).collect())
        };
        let point = |case: &str| Some((middle(case, Metric::Rate)?, middle(case, metric)? / 1e3));
        cases.into_iter().filter_map(point).collect()
    };
    let curves = |metric| -> Vec<Curve> {
        Flavour::value_variants().iter().copied().map(|it| (it, of(it, metric))).collect()
    };
    let (p50, p99) = (curves(Metric::P50), curves(Metric::P99));
    if p50.iter().all(|(_, points)| points.is_empty()) {
        return Ok(false);
    }
    let area = SVGBackend::new(path, (WIDTH, 2 * CURVE_HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let (above, below) = area.split_vertically(CURVE_HEIGHT);
    let axes = Axes { x: "operations per second", y: "ms", is_log: true };
    draw_curves(&above, &format!("{kind}: p50 over load, 1 to 1,000 clients"), axes, &p50)?;
    draw_curves(&below, &format!("{kind}: p99 over load, 1 to 1,000 clients"), axes, &p99)?;
    area.present()?;
    Ok(true)
}

/// Resident memory over keys of 256 B; whether there is any.
fn draw_memory(figures: &[Figure], members: u8, path: &Path) -> Outcome<bool> {
    let curve = |flavour: Flavour| {
        let is_meant = |it: &&Figure| {
            (it.row, it.metric, it.members) == (Row::W15, Metric::RssMib, members)
                && it.flavour == flavour
                && it.case.contains(KEYS_OF)
        };
        let meant = figures.iter().filter(is_meant);
        let mut points: Vec<(f64, f64)> =
            meant.map(|it| (number_in(&it.case) as f64, it.value)).collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        (flavour, points)
    };
    let curves: Vec<Curve> = Flavour::value_variants().iter().copied().map(curve).collect();
    if curves.iter().all(|(_, points)| points.len() < 2) {
        return Ok(false);
    }
    let area = SVGBackend::new(path, (WIDTH, CURVE_HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let axes = Axes { x: "keys", y: "MiB", is_log: false };
    draw_curves(&area, "resident memory over keys of 256 B", axes, &curves)?;
    area.present()?;
    Ok(true)
}

/// The number that a name begins or ends with.
fn number_in(case: &str) -> u64 {
    let is_digit = |c: char| c.is_ascii_digit();
    let first: String = case.chars().take_while(|c| is_digit(*c)).collect();
    let digits = if first.is_empty() { case.rsplit('/').next().unwrap_or("") } else { &first };
    digits.parse().unwrap_or(0)
}

/// What the axes are, and whether the one that goes up is logarithmic.
#[derive(Clone, Copy)]
struct Axes {
    x: &'static str,
    y: &'static str,
    is_log: bool,
}

impl Axes {
    fn place(self, (x, y): (f64, f64)) -> (f64, f64) {
        (x, if self.is_log { y.max(LOG_LEAST).log10() } else { y })
    }

    fn label(self, place: f64) -> String {
        let value = if self.is_log { 10_f64.powf(place) } else { place };
        if value < 1.0 && value > 0.0 { format!("{value:.2}") } else { format!("{value:.0}") }
    }
}

fn draw_curves(area: &Area<'_>, caption: &str, axes: Axes, curves: &[Curve]) -> Outcome<()> {
    let placed: Vec<Curve> = curves
        .iter()
        .map(|(flavour, points)| (*flavour, points.iter().map(|it| axes.place(*it)).collect()))
        .collect();
    let all = || placed.iter().flat_map(|(_, points): &Curve| points.iter());
    let most = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(1e-3, f64::max) * 1.1;
    let least = if axes.is_log { all().map(|it| it.1).fold(0.0, f64::min) } else { 0.0 };
    let mut chart = ChartBuilder::on(area)
        .caption(caption, (FONT, 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..most(|it| it.0), least..most(|it| it.1))?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(axes.x)
        .y_desc(axes.y)
        .y_label_formatter(&|place| axes.label(*place))
        .draw()?;
    for (flavour, points) in placed.iter().filter(|(_, points)| !points.is_empty()) {
        draw_curve(&mut chart, *flavour, points)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}

fn draw_curve(chart: &mut Chart<'_, '_>, flavour: Flavour, points: &[(f64, f64)]) -> Outcome<()> {
    let colour = match flavour {
        Flavour::Quorate => FINE,
        Flavour::Etcd => WORSE,
        Flavour::Floor => OTHER,
        Flavour::Door => FAINT,
    };
    let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3);
    chart
        .draw_series(line)?
        .label(flavour.name())
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(3)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::summarize;

    fn figure(row: Row, case: &str, flavour: Flavour, metric: Metric, value: f64) -> Figure {
        Figure { members: 1, round: 1, flavour, row, case: case.to_owned(), metric, value }
    }

    #[test]
    fn numbers_are_found_in_names() {
        assert_eq!(number_in("250000 keys of 256 B on the way"), 250_000);
        assert_eq!(number_in("put/64"), 64);
        assert_eq!(number_in("idle"), 0);
    }

    #[test]
    fn everything_that_was_measured_is_drawn() {
        let mut figures = Vec::new();
        for (flavour, factor) in [(Flavour::Quorate, 1.0), (Flavour::Etcd, 4.0)] {
            figures.push(figure(Row::W2, "put/64", flavour, Metric::Cpu, factor));
            for (clients, rate) in [(1, 10.0), (64, 100.0)] {
                let case = format!("put/{clients}");
                figures.push(figure(Row::Load, &case, flavour, Metric::Rate, rate));
                figures.push(figure(Row::Load, &case, flavour, Metric::P50, factor * rate));
                figures.push(figure(Row::Load, &case, flavour, Metric::P99, factor * rate));
            }
            for case in ["100 keys of 256 B on the way", "200 keys of 256 B"] {
                figures.push(figure(Row::W15, case, flavour, Metric::RssMib, factor));
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let drawn = draw_all(&summarize(&figures), &figures, dir.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let bars = read("ratio-cpu_s_per_1000-1.svg");
        assert!(bars.starts_with("<svg") && bars.contains("W2 put/64") && bars.contains("0.25x"));
        assert!(read("load-put-1.svg").contains("p99 over load"));
        assert!(read("memory-1.svg").contains("resident memory"));
        assert!(read("ratio-rss_mib-1.svg").contains("200 keys of 256 B"));
        assert_eq!(drawn, 4);
    }
}
