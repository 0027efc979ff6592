//! What is measured, and one figure of it.

use clap::ValueEnum;

use crate::cli::Flavour;
use crate::row::Row;

/// What a figure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Metric {
    #[value(name = "cpu_s_per_1000")]
    Cpu,
    #[value(name = "ops_per_s")]
    Rate,
    #[value(name = "p50_us")]
    P50,
    #[value(name = "p99_us")]
    P99,
    #[value(name = "p999_us")]
    P999,
    #[value(name = "p99_lag_us")]
    Lag99,
    #[value(name = "longest_us")]
    Longest,
    #[value(name = "p99_over_calm")]
    Times,
    #[value(name = "ops_kept")]
    Kept,
    #[value(name = "pause_ms")]
    Pause,
    #[value(name = "seconds")]
    Seconds,
    #[value(name = "rss_mib")]
    RssMib,
    #[value(name = "rss_growth_mib")]
    Growth,
    #[value(name = "disk_mib")]
    DiskMib,
}

impl Metric {
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
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
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
