//! Commands and flags, declared once.
//!
//! They are parsed by clap, not by the server's own table: etcdutl's flags are not Go's own but
//! those of a library that parses as clap does (two dashes before long names, one before short
//! ones, flags anywhere, beginnings of commands). What differs, `tool::flags` asks of clap.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::tool::flags::duration;

/// What was asked for.
#[derive(Debug, Parser)]
#[command(
    about = "Works on snapshots and on data directories of members that do not run.",
    infer_subcommands = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(super) struct Words {
    /// Time to wait for a file another process holds; 0 to wait without end.
    #[arg(long, global = true, default_value = "10s", value_parser = duration)]
    pub(super) timeout: Duration,
    /// Output format: fields, json, protobuf, simple or table.
    #[arg(short, long, global = true, default_value = "simple")]
    pub(super) write_out: String,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tells about snapshots, or makes a member of one.
    Snapshot {
        #[command(subcommand)]
        command: Snapshot,
    },
    /// Prints the hash of a file's keys and history.
    Hashkv {
        /// A snapshot, or etcd's database.
        #[arg(value_name = "filename")]
        file: PathBuf,
        /// Last revision to hash; 0 for the newest.
        #[arg(long, default_value_t = 0)]
        rev: i64,
    },
    /// Gives back space that a stopped member's store no longer needs.
    Defrag {
        /// The member's data.
        #[arg(long)]
        data_dir: PathBuf,
    },
    /// Says whether a stopped member's data has the layout of some version.
    Migrate {
        /// The member's data.
        #[arg(long)]
        data_dir: PathBuf,
        /// That version, X.Y.
        #[arg(long)]
        target_version: String,
        /// Go on when it cannot be done; not possible here.
        #[arg(long)]
        force: bool,
    },
    /// Reads every byte of a stopped member's data, and says what is wrong.
    Check {
        /// The member's data.
        data_dir: PathBuf,
        /// Where its log is, if not below.
        #[arg(long)]
        wal_dir: Option<PathBuf>,
    },
    /// Makes a stopped member the only one of a cluster whose majority is lost for ever.
    Recover {
        /// The member's data.
        data_dir: PathBuf,
        /// Where its log is, if not below.
        #[arg(long)]
        wal_dir: Option<PathBuf>,
        /// Only say what would be done, and what to think of before.
        #[arg(long)]
        dry_run: bool,
    },
    /// Turns a stopped etcd member's data into Quorate's.
    Adopt {
        /// The etcd member's data: 3.5 to 3.7.
        etcd_dir: PathBuf,
        /// Where etcd's log is, if not below; Quorate's goes below its data in any case.
        #[arg(long)]
        wal_dir: Option<PathBuf>,
        /// Where Quorate's data goes; in etcd's place if not given, which stays as member.etcd.
        #[arg(long)]
        data_dir: Option<PathBuf>,
    },
    /// Prints the versions of this tool.
    Version,
    /// Prints a completion script, or writes pages of the manual.
    Completion {
        /// A shell: bash, zsh, fish or powershell; or `man` and a folder.
        words: Vec<OsString>,
    },
}

/// Commands on snapshots.
#[derive(Debug, Subcommand)]
pub(super) enum Snapshot {
    /// Prints hash, revision, number of keys and size of a snapshot.
    Status {
        /// The snapshot.
        #[arg(value_name = "filename")]
        file: PathBuf,
    },
    /// Makes a data directory of a snapshot.
    Restore(Restore),
}

/// How a snapshot is restored.
#[derive(Args, Debug)]
pub(super) struct Restore {
    /// The snapshot.
    #[arg(value_name = "filename")]
    pub(super) file: PathBuf,
    /// Where the data goes; named after the member if not given.
    #[arg(long, default_value = "")]
    pub(super) data_dir: String,
    /// Where the log goes; below the data if not given.
    #[arg(long, default_value = "")]
    pub(super) wal_dir: String,
    /// The members of the new cluster.
    #[arg(long, default_value = "default=http://localhost:2380")]
    pub(super) initial_cluster: String,
    /// A word that keeps clusters with equal URLs apart.
    #[arg(long, default_value = "etcd-cluster")]
    pub(super) initial_cluster_token: String,
    /// This member's peer URLs.
    #[arg(long, default_value = "http://localhost:2380")]
    pub(super) initial_advertise_peer_urls: String,
    /// This member's name.
    #[arg(long, default_value = "default")]
    pub(super) name: String,
    /// Do not hold the snapshot against its checksum, which copies of a database do not have.
    #[arg(long)]
    pub(super) skip_hash_check: bool,
    /// Of no meaning here.
    #[arg(long, default_value_t = 10 << 30)]
    pub(super) initial_memory_map_size: u64,
    /// By how much the newest revision rises.
    #[arg(long, default_value_t = 0)]
    pub(super) bump_revision: u64,
    /// Forget history before the newest revision; wanted with --bump-revision.
    #[arg(long)]
    pub(super) mark_compacted: bool,
}
