//! Durations in buckets: an addition or two each, no lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Where buckets end, in seconds.
#[derive(Clone, Copy, Debug)]
pub enum Scale {
    /// At the first bound, then at twice the one before: so many.
    Doubling(f64, u32),
    /// Where the library puts them that counts etcd's calls.
    Calls,
}

impl Scale {
    fn bounds(self) -> Vec<f64> {
        match self {
            Self::Doubling(first, count) => {
                (0..count).map(|place| first * f64::from(1_u32 << place)).collect()
            }
            Self::Calls => vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
        }
    }
}

/// How long something took, each time; clones count together.
#[derive(Clone, Debug)]
pub struct Timing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: Vec<f64>,
    /// One for each bound, and one for what is above all.
    buckets: Vec<AtomicU64>,
    nanos: AtomicU64,
}

impl Timing {
    /// Nothing yet.
    pub fn new(scale: Scale) -> Self {
        let bounds = scale.bounds();
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { bounds, buckets, nanos: AtomicU64::new(0) }))
    }

    /// It took so long once more.
    pub fn observe(&self, took: Duration) {
        let Inner { bounds, buckets, nanos } = &*self.0;
        let seconds = took.as_secs_f64();
        let place = bounds.partition_point(|bound| *bound < seconds);
        buckets[place].fetch_add(1, Ordering::Relaxed);
        nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// All of it together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.0.nanos.load(Ordering::Relaxed))
    }

    /// How often.
    pub fn count(&self) -> u64 {
        self.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }
}

impl TypedMetric for Timing {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Timing {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Inner { bounds, buckets, nanos } = &*self.0;
        let counts = buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let all: Vec<(f64, u64)> =
            bounds.iter().copied().chain([f64::INFINITY]).zip(counts).collect();
        let count = all.iter().map(|(_, count)| count).sum();
        let sum = nanos.load(Ordering::Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<Vec<(&str, &str)>>(sum, count, &all, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// What every series of a table has in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heading {
    /// The metric.
    pub(super) name: &'static str,
    /// What it means.
    pub(super) help: &'static str,
    /// A label that is the same in every series.
    pub(super) constant: Option<(&'static str, &'static str)>,
    /// The label that tells them apart; empty if there is nothing to tell apart.
    pub(super) label: &'static str,
    /// Its values.
    pub(super) kinds: &'static [&'static str],
    /// The buckets.
    pub(super) scale: Scale,
}

/// Durations of a fixed set of things, those that succeeded apart from those that failed. A series
/// appears once it has a value.
#[derive(Clone, Debug)]
pub(super) struct Timings {
    heading: Heading,
    /// By kind: failed, succeeded.
    each: Arc<[[Timing; 2]]>,
}

impl Timings {
    /// Nothing yet.
    pub(super) fn new(heading: Heading) -> Self {
        let pair = |_| [Timing::new(heading.scale), Timing::new(heading.scale)];
        Self { heading, each: heading.kinds.iter().map(pair).collect() }
    }

    /// The thing of that place among the kinds took so long.
    pub(super) fn observe(&self, kind: usize, is_success: bool, took: Duration) {
        if let Some(pair) = self.each.get(kind) {
            pair[usize::from(is_success)].observe(took);
        }
    }
}

impl Collector for Timings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Heading { name, help, constant, label, kinds, .. } = self.heading;
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (kind, pair) in kinds.iter().zip(self.each.iter()) {
            for (success, timing) in ["false", "true"].into_iter().zip(pair) {
                if timing.count() > 0 {
                    let own = Some((label, *kind)).filter(|_| !label.is_empty());
                    let labels: Vec<(&str, &str)> =
                        constant.into_iter().chain(own).chain([("success", success)]).collect();
                    timing.encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode_registry;
    use prometheus_client::registry::Registry;

    #[test]
    fn a_duration_counts_in_every_bucket_it_fits_into() {
        let timing = Timing::new(Scale::Doubling(0.001, 3));
        for micros in [0, 1_000, 1_001, 4_000, 4_001] {
            timing.observe(Duration::from_micros(micros));
        }
        let mut registry = Registry::default();
        registry.register("t", "T", timing);
        let mut text = String::new();
        encode_registry(&mut text, &registry).expect("a string takes all");
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("t_")).collect();
        let expected = [
            "t_sum 0.010002",
            "t_count 5",
            "t_bucket{le=\"0.001\"} 2",
            "t_bucket{le=\"0.002\"} 3",
            "t_bucket{le=\"0.004\"} 4",
            "t_bucket{le=\"+Inf\"} 5",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_series_appears_with_its_first_value() {
        let timings = Timings::new(Heading {
            name: "t",
            help: "T",
            constant: Some(("version", "v3")),
            label: "op",
            kinds: &["Put", "Txn"],
            scale: Scale::Doubling(1.0, 1),
        });
        timings.observe(1, true, Duration::ZERO);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(timings));
        let mut text = String::new();
        encode_registry(&mut text, &registry).expect("a string takes all");
        assert!(text.contains("t_count{version=\"v3\",op=\"Txn\",success=\"true\"} 1"), "{text}");
        assert!(!text.contains("Put"), "{text}");
    }
}
