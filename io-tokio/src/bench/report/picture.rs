//! The report as a picture, an SVG that needs nothing else: how latencies are distributed, which
//! share of operations was how fast, and throughput over time; a line for each track.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::Report;
use crate::bench::tally::Tally;

const WIDTH: u32 = 900;
const HEIGHT: u32 = 1_050;
const TITLE_HEIGHT: u32 = 40;
const FONT: &str = "sans-serif";
/// Colours that differ in brightness too.
const COLOURS: [RGBColor; 3] =
    [RGBColor(21, 101, 192), RGBColor(198, 40, 40), RGBColor(46, 125, 50)];
/// Shares at which the percentile curve has points: 1 - 10^-(n/8), up to five nines.
const CURVE_STEPS: i32 = 40;
/// Steps of the distribution for each factor of ten.
const DECADE_STEPS: f64 = 20.0;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;
/// A track's name and points.
type Course<'a> = (&'a str, Vec<(f64, f64)>);

/// The whole picture, as text.
pub(in crate::bench) fn draw(report: &Report<'_>) -> Result<String, String> {
    let mut svg = String::new();
    draw_into(&mut svg, report).map_err(|error| format!("cannot draw: {error}"))?;
    Ok(svg)
}

fn draw_into(svg: &mut String, report: &Report<'_>) -> Drawn {
    let area = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let (title, charts) = area.split_vertically(TITLE_HEIGHT);
    let text = format!(
        "quorate bench {}: {} clients, {} connections, {:.1} s",
        report.benchmark, report.load.clients, report.load.connections, report.seconds
    );
    title.draw(&Text::new(text, (16, 12), (FONT, 20)))?;
    let courses = |course: fn(&Tally) -> Vec<(f64, f64)>| -> Vec<Course<'_>> {
        let seen = report.tracks.iter().filter(|(_, tally)| tally.ops() > 0);
        seen.map(|(name, tally)| (*name, course(tally))).collect()
    };
    let panels = charts.split_evenly((3, 1));
    distribution(&panels[0], &courses(shares))?;
    percentiles(&panels[1], &courses(curve))?;
    throughput(&panels[2], &courses(rates))?;
    area.present()?;
    Ok(())
}

/// Latencies in milliseconds, and the share of operations that took about so long.
fn shares(tally: &Tally) -> Vec<(f64, f64)> {
    let step_of =
        |nanos: u64| (((nanos.max(1) as f64) / 1e6).log10() * DECADE_STEPS).floor() as i64;
    let (first, last) = (step_of(tally.latency_nanos.min()), step_of(tally.latency_nanos.max()));
    let mut counts = vec![0; (last - first + 1).max(1) as usize];
    for recorded in tally.latency_nanos.iter_recorded() {
        let step = step_of(recorded.value_iterated_to()).clamp(first, last);
        counts[(step - first) as usize] += recorded.count_at_value();
    }
    let share = |count: u64| 100.0 * count as f64 / tally.ops() as f64;
    let millis = |at: usize| 10_f64.powf((first + at as i64) as f64 / DECADE_STEPS);
    counts.iter().enumerate().map(|(at, count)| (millis(at), share(*count))).collect()
}

/// How many nines of operations, and the milliseconds they took at most.
fn curve(tally: &Tally) -> Vec<(f64, f64)> {
    let point = |step: i32| {
        let nines = f64::from(step) / 8.0;
        (nines, tally.micros_at(1.0 - 10_f64.powf(-nines)) / 1e3)
    };
    // Beyond the number of operations there is nothing to be told apart.
    let nines = (tally.ops() as f64).log10();
    (0..=CURVE_STEPS).map(point).filter(|(at, _)| *at <= nines).collect()
}

/// Seconds of the run, and operations per second.
fn rates(tally: &Tally) -> Vec<(f64, f64)> {
    let seconds = tally.course.span_seconds() as f64;
    let spans = tally.course.spans().enumerate();
    spans.map(|(at, span)| (at as f64 * seconds, span.count as f64 / seconds)).collect()
}

/// The least and the most of something, which is more than the least.
fn bounds(courses: &[Course<'_>], of: fn(&(f64, f64)) -> f64) -> (f64, f64) {
    let all = || courses.iter().flat_map(|(_, points)| points.iter().map(of));
    let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    if least < most { (least, most) } else { (least.min(most), most.max(least.min(1.0)) + 1.0) }
}

fn distribution(area: &Area<'_>, courses: &[Course<'_>]) -> Drawn {
    let ((least, most), (_, share)) = (bounds(courses, |it| it.0), bounds(courses, |it| it.1));
    let mut chart = ChartBuilder::on(area)
        .caption("latency: share of operations, %", (FONT, 16))
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(60)
        .build_cartesian_2d((least..most * 1.05).log_scale(), 0.0..share * 1.1)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("milliseconds")
        .x_label_formatter(&millis)
        .draw()?;
    for ((name, points), colour) in courses.iter().zip(COLOURS) {
        let filled = AreaSeries::new(points.iter().copied(), 0.0, colour.mix(0.2));
        chart
            .draw_series(filled.border_style(colour.stroke_width(2)))?
            .label(*name)
            .legend(move |at| mark(at, colour));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).draw()?;
    Ok(())
}

fn percentiles(area: &Area<'_>, courses: &[Course<'_>]) -> Drawn {
    let ((_, nines), (least, most)) = (bounds(courses, |it| it.0), bounds(courses, |it| it.1));
    let least = least.max(most / 1e6).max(1e-6);
    let mut chart = ChartBuilder::on(area)
        .caption("latency: milliseconds within which a share of operations ended", (FONT, 16))
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..nines, (least * 0.9..most * 1.1).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_labels(6)
        .x_label_formatter(&|nines| percent(*nines))
        .y_label_formatter(&millis)
        .draw()?;
    for ((name, points), colour) in courses.iter().zip(COLOURS) {
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
        chart.draw_series(line)?.label(*name).legend(move |at| mark(at, colour));
    }
    Ok(())
}

fn throughput(area: &Area<'_>, courses: &[Course<'_>]) -> Drawn {
    let ((_, seconds), (_, most)) = (bounds(courses, |it| it.0), bounds(courses, |it| it.1));
    let mut chart = ChartBuilder::on(area)
        .caption("operations per second", (FONT, 16))
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..seconds, 0.0..most * 1.1)?;
    chart.configure_mesh().light_line_style(WHITE).x_desc("seconds").draw()?;
    for ((_, points), colour) in courses.iter().zip(COLOURS) {
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
    }
    Ok(())
}

fn mark((x, y): (i32, i32), colour: RGBColor) -> PathElement<(i32, i32)> {
    PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(3))
}

fn millis(millis: &f64) -> String {
    if *millis < 1.0 { format!("{millis:.3}") } else { format!("{millis:.0}") }
}

/// `0%`, `90%`, `99.9%`.
fn percent(nines: f64) -> String {
    let digits = (nines.round() as usize).saturating_sub(2);
    format!("{:.digits$}%", 100.0 - 100.0 * 10_f64.powf(-nines))
}
