//! The rows of the table, and what each must reach.

use clap::ValueEnum;

use crate::figure::Metric;

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(crate) enum Row {
    W1,
    W2,
    W3,
    W4,
    W5,
    W6,
    W7,
    W8,
    W9,
    W10,
    W11,
    W12,
    W13,
    W14,
    W15,
    W16,
    /// Has no number: a disk that is slow in one of several members.
    Slow,
    /// No row of the table but a curve: latency over load.
    Load,
}

impl Row {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::W1 => "put, 1 client",
            Self::W2 => "put, 64 clients",
            Self::W3 => "put, 1,000 clients on 100 connections",
            Self::W4 => "linearizable get",
            Self::W5 => "serializable get",
            Self::W6 => "range of 1,000 keys",
            Self::W7 => "paginated list, 500 a page, exact counts",
            Self::W8 => "list of everything, streamed and unary",
            Self::W9 => "count of all keys",
            Self::W10 => "transaction: compare, put, else get",
            Self::W11 => "80 % get, 20 % put",
            Self::W12 => "watch fan-out",
            Self::W13 => "leases",
            Self::W14 => "puts during upkeep",
            Self::W15 => "memory",
            Self::W16 => "start, and disk",
            Self::Slow => "a disk that takes 50 ms over each sync",
            Self::Load => "latency over load",
        }
    }

    /// As it is asked for.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What it must reach.
    fn musts(self) -> Vec<Must> {
        use Metric::{
            Cpu, DiskMib, Growth, Kept, Lag99, P50, P99, Pause, Rate, RssMib, Seconds, Times,
        };
        match self {
            Self::W1 => vec![most(P50, 0.8)],
            Self::W2 => vec![most(Cpu, 0.4), least(Rate, 1.5), most(P99, 0.6)],
            Self::W3 => vec![most(Cpu, 0.35), least(Rate, 1.6), most(P99, 0.6)],
            Self::W4 => vec![most(Cpu, 0.35), least(Rate, 1.5), most(P99, 0.6)],
            Self::W5 => vec![most(Cpu, 0.3), least(Rate, 1.5)],
            Self::W6 => vec![least(Rate, 3.0), most(Cpu, 0.3)],
            Self::W7 => vec![least(Rate, 3.0)],
            Self::W8 => vec![most(Growth, 0.3)],
            Self::W9 => vec![most(P50, 0.02)],
            Self::W10 => vec![most(Cpu, 0.35), least(Rate, 1.6)],
            Self::W11 => vec![most(Cpu, 0.35), least(Rate, 1.5)],
            Self::W12 => vec![least(Rate, 2.0), most(Cpu, 0.3), most(Lag99, 0.5)],
            Self::W13 => vec![least(Rate, 2.0), at_most(Times, 2.0)],
            Self::W14 => vec![at_most(Times, 1.5), at_most(Pause, 10.0)],
            Self::W15 => vec![
                at_most(RssMib, 15.0).of("idle"),
                most(RssMib, 0.5).of("keys of 256 B"),
                at_most(RssMib, 6_144.0).of("keys of 1 KiB"),
                most(Growth, 0.5).of("watches"),
            ],
            Self::W16 => vec![
                most(Seconds, 0.3).of("keys of 256 B"),
                at_most(Seconds, 10.0).of("keys of 1 KiB"),
                most(DiskMib, 0.6),
            ],
            Self::Slow => vec![at_least(Kept, 0.95), at_most(P99, 5_000.0).of("gets")],
            Self::Load => vec![],
        }
    }

    /// What a figure of this row must reach, if anything.
    pub(crate) fn must(self, metric: Metric, case: &str) -> Option<Must> {
        let is_meant = |must: &Must| must.metric == metric && case.ends_with(must.case);
        self.musts().into_iter().find(is_meant)
    }
}

/// What a figure must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Must {
    pub(crate) metric: Metric,
    /// How the names of the cases end for which this holds.
    case: &'static str,
    pub(crate) bound: Bound,
}

/// Compared with what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    /// Quorate's figure over etcd's.
    RatioAtMost(f64),
    RatioAtLeast(f64),
    /// Quorate's figure as it is.
    AtMost(f64),
    AtLeast(f64),
}

const fn most(metric: Metric, ratio: f64) -> Must {
    Must { metric, case: "", bound: Bound::RatioAtMost(ratio) }
}

const fn least(metric: Metric, ratio: f64) -> Must {
    Must { metric, case: "", bound: Bound::RatioAtLeast(ratio) }
}

const fn at_most(metric: Metric, figure: f64) -> Must {
    Must { metric, case: "", bound: Bound::AtMost(figure) }
}

const fn at_least(metric: Metric, figure: f64) -> Must {
    Must { metric, case: "", bound: Bound::AtLeast(figure) }
}

impl Must {
    const fn of(self, case: &'static str) -> Self {
        Self { case, ..self }
    }

    /// In words.
    pub(crate) fn tell(self) -> String {
        match self.bound {
            Bound::RatioAtMost(ratio) => format!("<= {ratio}x"),
            Bound::RatioAtLeast(ratio) => format!(">= {ratio}x"),
            Bound::AtMost(figure) => format!("<= {figure}"),
            Bound::AtLeast(figure) => format!(">= {figure}"),
        }
    }

    /// Whether these figures reach it; unknown without them.
    pub(crate) fn is_met(self, figure: Option<f64>, ratio: Option<f64>) -> Option<bool> {
        Some(match self.bound {
            Bound::RatioAtMost(most) => ratio? <= most,
            Bound::RatioAtLeast(least) => ratio? >= least,
            Bound::AtMost(most) => figure? <= most,
            Bound::AtLeast(least) => figure? >= least,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn musts_are_met_missed_or_unknown() {
        let cpu = Row::W2.must(Metric::Cpu, "put/64").unwrap();
        assert_eq!(cpu.is_met(None, Some(0.4)), Some(true));
        assert_eq!(cpu.is_met(None, Some(0.41)), Some(false));
        assert_eq!(cpu.is_met(Some(1.0), None), None);
        let rate = Row::W2.must(Metric::Rate, "put/64").unwrap();
        assert_eq!(rate.is_met(None, Some(1.49)), Some(false));
        assert_eq!(rate.tell(), ">= 1.5x");
        assert_eq!(Row::W2.must(Metric::P50, "put/64"), None);
    }

    #[test]
    fn memory_has_a_must_for_each_case() {
        let must = |case| Row::W15.must(Metric::RssMib, case).map(|must| must.bound);
        assert_eq!(must("idle"), Some(Bound::AtMost(15.0)));
        assert_eq!(must("1000000 keys of 256 B"), Some(Bound::RatioAtMost(0.5)));
        assert_eq!(must("10000000 keys of 1 KiB"), Some(Bound::AtMost(6_144.0)));
        assert_eq!(must("loaded"), None);
        assert_eq!(Row::W15.name(), "W15");
    }
}
