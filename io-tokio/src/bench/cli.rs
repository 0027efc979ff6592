//! Commands and flags, declared once.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::client::reach::Reach;
use crate::tool::flags::duration;
use crate::tool::help::Group;

/// Titles, and the commands below each.
pub(super) const GROUPS: &[Group] = &[
    ("Key-value commands", &["mixed", "put", "range", "txn-mixed", "txn-put"]),
    ("Watch commands", &["watch", "watch-get", "watch-latency"]),
    ("Lease commands", &["lease-keepalive"]),
    ("Utility commands", &["help", "options"]),
];

/// What was asked for.
#[derive(Debug, Parser)]
#[command(
    about = "Puts load on etcd and Quorate, and tells how they bear it.",
    infer_subcommands = true,
    disable_help_flag = true,
    disable_help_subcommand = true
)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) reach: Reach,
    #[command(flatten)]
    pub(super) size: Size,
    #[command(flatten)]
    pub(super) output: Output,
    /// help for the command
    #[arg(short, long, global = true, hide = true)]
    pub(super) help: bool,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// How much load, whatever it is.
#[derive(Args, Clone, Debug)]
pub(super) struct Size {
    /// clients, each with one operation at a time
    #[arg(long, global = true, default_value_t = 1)]
    pub(super) clients: u64,
    /// connections they share
    #[arg(long, global = true, default_value_t = 1)]
    pub(super) conns: u64,
    /// threads that drive them (0 for one on each processor)
    #[arg(long, global = true, default_value_t = 0)]
    pub(super) threads: u64,
    /// how long to go on at most (0s: until --total)
    #[arg(long, global = true, default_value = "0s", value_parser = duration)]
    pub(super) duration: Duration,
    /// connect to the leader only
    #[arg(long, global = true)]
    pub(super) target_leader: bool,
}

/// What is told, and where.
#[derive(Args, Clone, Debug)]
pub(super) struct Output {
    /// all digits of all numbers
    #[arg(long, global = true)]
    pub(super) precise: bool,
    /// tell about each second as well
    #[arg(long, global = true)]
    pub(super) sample: bool,
    /// write the report for programs to this file
    #[arg(long, global = true, default_value = "")]
    pub(super) json: String,
    /// draw the report to this file
    #[arg(long, global = true, default_value = "")]
    pub(super) svg: String,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Puts keys
    Put(Put),
    /// Reads a key, or a range of them [key, end-range)
    Range(Range),
    /// Puts several keys in each transaction
    TxnPut(TxnPut),
    /// Reads ranges and puts keys, in transactions
    TxnMixed(TxnMixed),
    /// Reads keys and puts keys
    Mixed(Mixed),
    /// Makes watches, and puts what they watch
    Watch(Watch),
    /// Tells how late events of one key are
    WatchLatency(WatchLatency),
    /// Reads beside many watches that begin in the past
    WatchGet(WatchGet),
    /// Keeps leases alive
    LeaseKeepalive(LeaseKeepalive),
    /// Lists the flags that every command has
    Options(Rest),
    /// Help about any command
    Help(Rest),
}

/// Words that are not flags.
#[derive(Args, Debug)]
pub(super) struct Rest {
    #[arg(value_name = "")]
    pub(super) words: Vec<OsString>,
}

/// How many operations, and how fast.
#[derive(Args, Clone, Debug)]
pub(super) struct Amount {
    /// operations in all (without end if 0)
    #[arg(long, default_value_t = 10_000)]
    pub(super) total: u64,
    /// operations per second at most (no limit if 0)
    #[arg(long, default_value_t = 0)]
    pub(super) rate: u64,
}

/// What is put.
#[derive(Args, Clone, Debug)]
pub(super) struct Pairs {
    /// bytes of a key
    #[arg(long, default_value_t = 8)]
    pub(super) key_size: u64,
    /// bytes of a value
    #[arg(long, default_value_t = 8)]
    pub(super) val_size: u64,
    /// how many keys there are
    #[arg(long, default_value_t = 1)]
    pub(super) key_space_size: u64,
    /// take keys one after the other
    #[arg(long)]
    pub(super) sequential_keys: bool,
}

/// What and how much to put.
#[derive(Args, Debug)]
pub(super) struct Put {
    #[command(flatten)]
    pub(super) amount: Amount,
    #[command(flatten)]
    pub(super) pairs: Pairs,
    #[arg(value_name = "")]
    pub(super) words: Vec<OsString>,
}

/// What to read.
#[derive(Args, Debug)]
pub(super) struct Range {
    #[command(flatten)]
    pub(super) amount: Amount,
    /// l(inearizable) or s(erializable)
    #[arg(long, default_value = "l")]
    pub(super) consistency: String,
    /// keys in an answer at most (no limit if 0)
    #[arg(long, default_value_t = 0)]
    pub(super) limit: i64,
    /// only count them
    #[arg(long)]
    pub(super) count_only: bool,
    #[arg(value_name = "<key> [end-range]")]
    pub(super) words: Vec<OsString>,
}

/// What to put in transactions.
#[derive(Args, Debug)]
pub(super) struct TxnPut {
    #[command(flatten)]
    pub(super) amount: Amount,
    #[command(flatten)]
    pub(super) pairs: Pairs,
    /// puts in each transaction
    #[arg(long, default_value_t = 1)]
    pub(super) txn_ops: u64,
    #[arg(value_name = "")]
    pub(super) words: Vec<OsString>,
}

/// What to read, what to put, and how much of each.
#[derive(Args, Debug)]
pub(super) struct Mixed {
    #[command(flatten)]
    pub(super) amount: Amount,
    #[command(flatten)]
    pub(super) pairs: Pairs,
    /// l(inearizable) or s(erializable)
    #[arg(long, default_value = "l")]
    pub(super) consistency: String,
    /// reads for each put
    #[arg(long, default_value = "1", value_parser = ratio)]
    pub(super) rw_ratio: f64,
    #[arg(value_name = "")]
    pub(super) words: Vec<OsString>,
}

/// The same in transactions, which read ranges.
#[derive(Args, Debug)]
pub(super) struct TxnMixed {
    #[command(flatten)]
    pub(super) mixed: Mixed,
    /// where ranges end (behind the last key if empty)
    #[arg(long, default_value = "")]
    pub(super) end_key: String,
    /// keys in an answer at most
    #[arg(long, default_value_t = 1_000)]
    pub(super) limit: i64,
}

/// Watches, and puts of what they watch.
#[derive(Args, Debug)]
pub(super) struct Watch {
    /// streams of watches
    #[arg(long, default_value_t = 10)]
    pub(super) streams: u64,
    /// watches on each
    #[arg(long, default_value_t = 100)]
    pub(super) watch_per_stream: u64,
    /// keys that are watched
    #[arg(long, default_value_t = 1)]
    pub(super) watched_key_total: u64,
    /// puts in all
    #[arg(long, default_value_t = 1_000)]
    pub(super) put_total: u64,
    /// puts per second at most (no limit if 0)
    #[arg(long, default_value_t = 0)]
    pub(super) put_rate: u64,
    /// bytes of a key
    #[arg(long, default_value_t = 32)]
    pub(super) key_size: u64,
    /// take keys one after the other
    #[arg(long)]
    pub(super) sequential_keys: bool,
    #[arg(value_name = "")]
    pub(super) words: Vec<OsString>,
}

/// Watches of one key, and puts of it.
#[derive(Args, Debug)]
pub(super) struct WatchLatency {
    /// streams of watches
    #[arg(long, default_value_t = 10)]
    pub(super) streams: u64,
    /// watches on each
    #[arg(long, default_value_t = 10)]
    pub(super) watchers_per_stream: u64,
    /// events have the value before as well
    #[arg(long)]
    pub(super) prevkv: bool,
    /// puts in all
    #[arg(long, default_value_t = 1_000)]
    pub(super) put_total: u64,
    /// puts per second at most (no limit if 0)
    #[arg(long, default_value_t = 100)]
    pub(super) put_rate: u64,
    /// bytes of the key
    #[arg(long, default_value_t = 32)]
    pub(super) key_size: u64,
    /// bytes of a value
    #[arg(long, default_value_t = 32)]
    pub(super) val_size: u64,
    #[arg(value_name = "")]
    pub(super) words: Vec<OsString>,
}

/// Watches of the past.
#[derive(Args, Debug)]
pub(super) struct WatchGet {
    /// watches in all
    #[arg(long, default_value_t = 10_000)]
    pub(super) watchers: u64,
    /// streams they share
    #[arg(long, default_value_t = 1)]
    pub(super) streams: u64,
    /// events that each is shown
    #[arg(long, default_value_t = 8)]
    pub(super) events: u64,
    #[arg(value_name = "")]
    pub(super) words: Vec<OsString>,
}

/// How often to keep leases alive: each client has one.
#[derive(Args, Debug)]
pub(super) struct LeaseKeepalive {
    #[command(flatten)]
    pub(super) amount: Amount,
    #[arg(value_name = "")]
    pub(super) words: Vec<OsString>,
}

/// How many of one for one of another.
fn ratio(word: &str) -> Result<f64, String> {
    let number = word.parse::<f64>().ok().filter(|ratio| ratio.is_finite() && *ratio >= 0.0);
    number.ok_or_else(|| format!("{word} is no ratio"))
}
