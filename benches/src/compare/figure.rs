//! What is measured, and one figure of it.

use crate::cli::Flavour;
use crate::row::Row;

/// What a figure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    Cpu,
    Rate,
    P50,
    P99,
    P999,
    Lag99,
    Longest,
    Times,
    Kept,
    Pause,
    Seconds,
    RssMib,
    Growth,
    DiskMib,
}

impl Metric {
    const ALL: [Self; 14] = [
        Self::Cpu,
        Self::Rate,
        Self::P50,
        Self::P99,
        Self::P999,
        Self::Lag99,
        Self::Longest,
        Self::Times,
        Self::Kept,
        Self::Pause,
        Self::Seconds,
        Self::RssMib,
        Self::Growth,
        Self::DiskMib,
    ];

    /// The one of that name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// What it is called in tables, with its unit.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Cpu => "server CPU s per 1,000",
            Self::Rate => "operations/s",
            Self::P50 => "p50, us",
            Self::P99 => "p99, us",
            Self::P999 => "p99.9, us",
            Self::Lag99 => "p99 lag, us",
            Self::Longest => "longest, us",
            Self::Times => "p99 over own calm p99",
            Self::Kept => "operations/s over own without",
            Self::Pause => "longest beyond it, ms",
            Self::Seconds => "seconds",
            Self::RssMib => "resident, MiB",
            Self::Growth => "resident growth, MiB",
            Self::DiskMib => "on disk, MiB",
        }
    }

    /// Its name in files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu_s_per_1000",
            Self::Rate => "ops_per_s",
            Self::P50 => "p50_us",
            Self::P99 => "p99_us",
            Self::P999 => "p999_us",
            Self::Lag99 => "p99_lag_us",
            Self::Longest => "longest_us",
            Self::Times => "p99_over_calm",
            Self::Kept => "ops_kept",
            Self::Pause => "pause_ms",
            Self::Seconds => "seconds",
            Self::RssMib => "rss_mib",
            Self::Growth => "rss_growth_mib",
            Self::DiskMib => "disk_mib",
        }
    }
}

/// One server in one round.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) members: u8,
    pub(crate) round: u32,
    pub(crate) flavour: Flavour,
    pub(crate) row: Row,
    /// What of the row, such as `get/64`.
    pub(crate) case: String,
    pub(crate) metric: Metric,
    pub(crate) value: f64,
}
