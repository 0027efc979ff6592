//! Medians over rounds, ratios between servers, as text and CSV.

use std::fmt::Write;

use crate::cli::Flavour;
use crate::measure::{Memory, Sample};

/// One figure of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    Cpu,
    Throughput,
    P50,
    P99,
}

impl Metric {
    pub(crate) const ALL: [Self; 4] = [Self::Cpu, Self::Throughput, Self::P50, Self::P99];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Cpu => "server CPU per operation, us",
            Self::Throughput => "operations per second",
            Self::P50 => "p50 latency, us",
            Self::P99 => "p99 latency, us",
        }
    }

    pub(crate) const fn file_stem(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Throughput => "throughput",
            Self::P50 => "p50",
            Self::P99 => "p99",
        }
    }

    pub(crate) fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::Cpu => sample.cpu_seconds * 1e6 / sample.ops as f64,
            Self::Throughput => sample.ops as f64 / sample.seconds,
            Self::P50 => sample.p50_us,
            Self::P99 => sample.p99_us,
        }
    }
}

/// Medians of one workload and metric; absent where a server did not run it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) quorate: Option<f64>,
    pub(crate) etcd: Option<f64>,
    pub(crate) floor: Option<f64>,
}

impl Row {
    fn of(name: &str, median_for: impl Fn(Flavour) -> Option<f64>) -> Self {
        Self {
            name: name.into(),
            quorate: median_for(Flavour::Quorate),
            etcd: median_for(Flavour::Etcd),
            floor: median_for(Flavour::Floor),
        }
    }

    /// Quorate's figure over etcd's.
    pub(crate) fn to_etcd(&self) -> Option<f64> {
        ratio(self.quorate, self.etcd)
    }

    /// Quorate's figure over the floor's.
    pub(crate) fn to_floor(&self) -> Option<f64> {
        ratio(self.quorate, self.floor)
    }
}

fn ratio(ours: Option<f64>, theirs: Option<f64>) -> Option<f64> {
    match (ours?, theirs?) {
        (_, 0.0) => None,
        (ours, theirs) => Some(ours / theirs),
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// Everything measured, one row per workload and metric.
pub(crate) struct Summary {
    pub(crate) sections: Vec<(Metric, Vec<Row>)>,
    memory: Vec<Row>,
}

impl Summary {
    pub(crate) fn of(samples: &[Sample], memories: &[Memory]) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for sample in samples {
            if !names.contains(&sample.workload.as_str()) {
                names.push(&sample.workload);
            }
        }
        let row = |metric: Metric, name: &str| {
            Row::of(name, |flavour| {
                let is_wanted = |s: &&Sample| s.flavour == flavour && s.workload == name;
                median(samples.iter().filter(is_wanted).map(|s| metric.of(s)).collect())
            })
        };
        let section = |metric| (metric, names.iter().map(|name| row(metric, name)).collect());
        let memory = |name: &str, kib_of: fn(&Memory) -> u64| {
            Row::of(name, |flavour| {
                let of_flavour = memories.iter().filter(|memory| memory.flavour == flavour);
                median(of_flavour.map(|memory| kib_of(memory) as f64 / 1024.0).collect())
            })
        };
        Self {
            sections: Metric::ALL.into_iter().map(section).collect(),
            memory: vec![memory("idle", |m| m.idle_kib), memory("loaded", |m| m.loaded_kib)],
        }
    }

    pub(crate) fn to_text(&self, heading: &str) -> String {
        let mut text = heading.to_string();
        for (metric, rows) in &self.sections {
            push_section(&mut text, metric.title(), rows);
        }
        push_section(&mut text, "resident memory, MiB (all members)", &self.memory);
        text
    }
}

fn push_section(text: &mut String, title: &str, rows: &[Row]) {
    let heads = ["quorate", "etcd", "floor", "q/etcd", "q/floor"];
    let [a, b, c, d, e] = heads;
    let _ = writeln!(text, "\n{title:36} {a:>10} {b:>10} {c:>10} {d:>8} {e:>8}");
    for row in rows {
        let _ = writeln!(
            text,
            "  {:34} {:>10} {:>10} {:>10} {:>8} {:>8}",
            row.name,
            figure(row.quorate),
            figure(row.etcd),
            figure(row.floor),
            times(row.to_etcd()),
            times(row.to_floor()),
        );
    }
}

fn figure(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(value) if value.abs() >= 1000.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.1}"),
    }
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}x"))
}

/// Every sample, one line each.
pub(crate) fn to_csv(samples: &[Sample]) -> String {
    let mut csv = String::from(
        "round,server,workload,ops,seconds,ops_per_second,p50_us,p99_us,\
         cpu_seconds,cpu_us_per_op,rss_kib\n",
    );
    for sample in samples {
        let _ = writeln!(
            csv,
            "{},{},{},{},{:.3},{:.1},{:.1},{:.1},{:.2},{:.2},{}",
            sample.round,
            sample.flavour.name(),
            sample.workload,
            sample.ops,
            sample.seconds,
            Metric::Throughput.of(sample),
            sample.p50_us,
            sample.p99_us,
            sample.cpu_seconds,
            Metric::Cpu.of(sample),
            sample.rss_kib,
        );
    }
    csv
}

/// Memory of every round, one line each.
pub(crate) fn memory_to_csv(memories: &[Memory]) -> String {
    let mut csv = String::from("round,server,idle_kib,loaded_kib\n");
    for memory in memories {
        let name = memory.flavour.name();
        let _ = writeln!(csv, "{},{name},{},{}", memory.round, memory.idle_kib, memory.loaded_kib);
    }
    csv
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(flavour: Flavour, round: u32, ops: u64, cpu_seconds: f64) -> Sample {
        Sample {
            flavour,
            workload: "put/64".into(),
            round,
            ops,
            seconds: 2.0,
            p50_us: 100.0 * f64::from(round),
            p99_us: 900.0,
            cpu_seconds,
            rss_kib: 2048,
        }
    }

    #[test]
    fn medians_of_odd_even_and_none() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn ratios_are_of_medians_and_absent_without_both_sides() {
        let samples = [
            sample(Flavour::Quorate, 1, 40_000, 0.4),
            sample(Flavour::Quorate, 2, 60_000, 0.6),
            sample(Flavour::Quorate, 3, 50_000, 0.5),
            sample(Flavour::Etcd, 1, 20_000, 1.0),
        ];
        let summary = Summary::of(&samples, &[]);
        let (metric, rows) = &summary.sections[0];
        assert_eq!((*metric, rows.len()), (Metric::Cpu, 1));
        assert!((rows[0].quorate.unwrap() - 10.0).abs() < 1e-9);
        assert!((rows[0].etcd.unwrap() - 50.0).abs() < 1e-9);
        assert!((rows[0].to_etcd().unwrap() - 0.2).abs() < 1e-9);
        assert_eq!((rows[0].floor, rows[0].to_floor()), (None, None));
        let throughput = &summary.sections[1].1[0];
        assert_eq!((throughput.quorate, throughput.etcd), (Some(25_000.0), Some(10_000.0)));
    }

    #[test]
    fn a_row_reads_as_text() {
        let mut text = String::new();
        let row = Row { name: "get/1".into(), quorate: Some(2e4), etcd: Some(8e3), floor: None };
        push_section(&mut text, "operations per second", &[row]);
        let line = text.lines().last().unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["get/1", "20000", "8000", "-", "2.50x", "-"]);
    }

    #[test]
    fn csv_has_one_line_per_sample() {
        let csv = to_csv(&[sample(Flavour::Floor, 1, 1_000, 0.02)]);
        let expected = "1,floor,put/64,1000,2.000,500.0,100.0,900.0,0.02,20.00,2048";
        assert_eq!(csv.lines().nth(1), Some(expected));
    }
}
