//! The report for programs.

use serde_json::{Value, json};

use super::{PERCENTILES, Report, steps};
use crate::bench::tally::Tally;
use crate::version;

/// Steps of the histogram.
const STEPS: u32 = 50;

/// The whole report, as text.
pub(in crate::bench) fn render(report: &Report<'_>) -> String {
    let tracks: Vec<Value> =
        report.tracks.iter().map(|(name, tally)| track(report, name, tally)).collect();
    let whole = json!({
        "benchmark": report.benchmark,
        "tool_version": version::QUORATE,
        "endpoints": report.target.endpoints(),
        "clients": report.load.clients,
        "connections": report.load.connections,
        "threads": report.load.busy_threads(),
        "seconds": report.seconds,
        "interrupted": report.is_interrupted,
        "tracks": tracks,
    });
    format!("{whole:#}\n")
}

fn track(report: &Report<'_>, name: &str, tally: &Tally) -> Value {
    let latency = &tally.latency_nanos;
    let percentiles: serde_json::Map<String, Value> = PERCENTILES
        .iter()
        .map(|percent| (percent.to_string(), (tally.micros_at(percent / 100.0) / 1e6).into()))
        .collect();
    let histogram: Vec<Value> = steps(tally, STEPS)
        .into_iter()
        .map(|(seconds, count)| json!({ "up_to_seconds": seconds, "count": count }))
        .collect();
    let span_seconds = tally.course.span_seconds();
    let course: Vec<Value> = tally
        .course
        .spans()
        .enumerate()
        .map(|(number, span)| {
            json!({
                "second": number as u64 * span_seconds,
                "operations": span.count,
                "fastest_seconds": span.least_nanos as f64 / 1e9,
                "average_seconds": span.average_nanos() / 1e9,
                "slowest_seconds": span.most_nanos as f64 / 1e9,
            })
        })
        .collect();
    json!({
        "name": name,
        "operations": tally.ops(),
        "operations_per_second": report.rate(tally),
        "errors": tally.errors,
        "latency_seconds": {
            "fastest": latency.min() as f64 / 1e9,
            "slowest": latency.max() as f64 / 1e9,
            "average": latency.mean() / 1e9,
            "stddev": latency.stdev() / 1e9,
            "percentiles": percentiles,
        },
        "histogram": histogram,
        "course": course,
    })
}
