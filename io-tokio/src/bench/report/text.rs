//! The report for people, in the layout of etcd's tool:
//!
//! ```text
//! Summary:
//!   Total:        1.0342 secs.
//!   Requests/sec: 9669.3100
//!
//! Response time histogram:
//!   0.0021 [812]  |∎∎∎∎∎∎∎∎
//!
//! Latency distribution:
//!   99.9% in 0.0104 secs.
//! ```

use std::fmt::Write as _;

use super::{PERCENTILES, Report, steps};
use crate::bench::cli::Output;
use crate::bench::tally::Tally;

/// Steps of the histogram.
const STEPS: u32 = 10;
/// How long the longest of its bars is.
const BAR_CHARS: u64 = 40;

/// The whole report.
pub(in crate::bench) fn render(report: &Report<'_>, output: &Output) -> String {
    let page = Page { is_precise: output.precise, has_samples: output.sample };
    let mut text = String::new();
    if report.is_interrupted {
        text += "\nInterrupted: what follows is about what was done until then.\n";
    }
    for (name, tally) in &report.tracks {
        if report.tracks.len() > 1 {
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(text, "\n{name}: {} operations", tally.ops());
        }
        text += &page.track(report, tally);
    }
    text
}

/// How numbers are shown, and what of them.
struct Page {
    is_precise: bool,
    has_samples: bool,
}

impl Page {
    fn number(&self, number: f64) -> String {
        if self.is_precise { format!("{number}") } else { format!("{number:.4}") }
    }

    fn seconds(&self, seconds: f64) -> String {
        format!("{} secs", self.number(seconds))
    }

    fn track(&self, report: &Report<'_>, tally: &Tally) -> String {
        let mut text = String::new();
        if tally.ops() > 0 {
            text += &self.summary(report, tally);
            text += &self.histogram(tally);
            text += &self.distribution(tally);
            if self.has_samples {
                text += &samples(tally);
            }
        }
        if !tally.errors.is_empty() {
            text += "\nError distribution:\n";
            for (kind, count) in &tally.errors {
                let _ = writeln!(text, "  [{count}]\t{kind}");
            }
        }
        text
    }

    fn summary(&self, report: &Report<'_>, tally: &Tally) -> String {
        let latency = &tally.latency_nanos;
        let seconds = |nanos: f64| self.seconds(nanos / 1e9);
        format!(
            "\nSummary:\n  Total:\t{}.\n  Slowest:\t{}.\n  Fastest:\t{}.\n  Average:\t{}.\n  \
             Stddev:\t{}.\n  Requests/sec:\t{}\n",
            self.seconds(report.seconds),
            seconds(latency.max() as f64),
            seconds(latency.min() as f64),
            seconds(latency.mean()),
            seconds(latency.stdev()),
            self.number(report.rate(tally)),
        )
    }

    fn histogram(&self, tally: &Tally) -> String {
        let steps = steps(tally, STEPS);
        let most = steps.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
        let mut text = "\nResponse time histogram:\n".to_owned();
        for (seconds, count) in steps {
            let bar = "∎".repeat((count * BAR_CHARS / most) as usize);
            let _ = writeln!(text, "  {} [{count}]\t|{bar}", self.number(seconds));
        }
        text
    }

    fn distribution(&self, tally: &Tally) -> String {
        let mut text = "\nLatency distribution:\n".to_owned();
        for percent in PERCENTILES {
            let seconds = self.seconds(tally.micros_at(percent / 100.0) / 1e6);
            let _ = writeln!(text, "  {percent}% in {seconds}.");
        }
        text
    }
}

/// Each span of the run; times count from its begin.
fn samples(tally: &Tally) -> String {
    let mut text = "\nSample in one second (second latency throughput):\n\
                    SECOND,MIN-LATENCY-MS,AVG-LATENCY-MS,MAX-LATENCY-MS,AVG-THROUGHPUT\n"
        .to_owned();
    let seconds = tally.course.span_seconds();
    for (number, span) in tally.course.spans().enumerate() {
        let _ = writeln!(
            text,
            "{},{:.3},{:.3},{:.3},{}",
            number as u64 * seconds,
            span.least_nanos as f64 / 1e6,
            span.average_nanos() / 1e6,
            span.most_nanos as f64 / 1e6,
            span.count / seconds,
        );
    }
    text
}
