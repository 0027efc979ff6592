//! Commands and flags, declared once: parsing, help, completions and pages of the manual all
//! follow from here.
//!
//! Every command takes any number of words after its flags, and counts them itself: how many are
//! too many is told in its own words.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::{auth, check, election, endpoint, get, lease, lock, member, mirror, role, top, user};
use super::{delete, put, txn, watch};
use crate::client::reach::Reach;
use crate::tool::flags::duration;
use crate::tool::help::Group;

/// Titles, and the commands below each.
pub(super) const GROUPS: &[Group] = &[
    ("Key-value commands", &["compaction", "del", "get", "lease", "put", "txn", "watch"]),
    (
        "Cluster maintenance commands",
        &["alarm", "defrag", "downgrade", "endpoint", "member", "move-leader", "snapshot", "top"],
    ),
    ("Concurrency commands", &["elect", "lock"]),
    ("Authentication commands", &["auth", "role", "user"]),
    ("Utility commands", &["check", "completion", "help", "make-mirror", "options", "version"]),
];

/// What was asked for.
#[derive(Debug, Parser)]
#[command(
    about = "Speaks with etcd and Quorate from a command line.",
    infer_subcommands = true,
    disable_help_flag = true,
    disable_help_subcommand = true
)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) globals: Globals,
    /// help for the command
    #[arg(short, long, global = true, hide = true)]
    pub(super) help: bool,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Flags that every command has; each can be given in the environment as well.
#[derive(Args, Clone, Debug)]
pub(super) struct Globals {
    #[command(flatten)]
    pub(super) reach: Reach,
    /// print settings to standard error
    #[arg(long, global = true)]
    pub(super) debug: bool,
    /// output format: fields, json, protobuf, simple or table
    #[arg(short, long, global = true, default_value = "simple")]
    pub(super) write_out: String,
    /// print keys, values and ids in hexadecimal
    #[arg(long, global = true)]
    pub(super) hex: bool,
    /// how long a short command may take, not counting the connection
    #[arg(long, global = true, default_value = "5s", value_parser = duration)]
    pub(super) command_timeout: Duration,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Gets one key, or a range of them
    Get(get::Words),
    /// Puts a value below a key
    #[command(long_about = put::ABOUT)]
    Put(put::Words),
    /// Deletes a key, or a range of them [key, range_end)
    Del(delete::Words),
    /// Does several requests at once, if all comparisons hold
    #[command(long_about = txn::ABOUT)]
    Txn(txn::Words),
    /// Forgets history before a revision
    Compaction(put::Compaction),
    /// Watches keys change
    Watch(watch::Words),
    /// Grants, revokes, lists and renews leases
    #[command(subcommand_required = false)]
    Lease {
        #[command(subcommand)]
        command: Option<lease::Words>,
    },
    /// Lists alarms and switches them off
    Alarm {
        #[command(subcommand)]
        command: Option<endpoint::Alarm>,
    },
    /// Gives back space that the members' stores no longer need
    Defrag(endpoint::Defrag),
    /// Asks endpoints how they are
    Endpoint {
        #[command(flatten)]
        scope: endpoint::Scope,
        #[command(subcommand)]
        command: Option<endpoint::Words>,
    },
    /// Makes another member the leader
    MoveLeader(member::MoveLeader),
    /// Prints the versions of this tool
    Version(Rest),
    /// Lists, adds, removes and changes members
    Member {
        #[command(subcommand)]
        command: Option<member::Words>,
    },
    /// Saves what a member holds
    Snapshot {
        #[command(subcommand)]
        command: Option<endpoint::Snapshot>,
    },
    /// Copies keys to another cluster, and goes on as they change
    MakeMirror(mirror::Words),
    /// Holds a lock, while a command runs or until a signal
    Lock(lock::Words),
    /// Takes part in an election, or observes one
    Elect(election::Words),
    /// Switches authentication on and off
    Auth {
        #[command(subcommand)]
        command: Option<auth::Words>,
    },
    /// Adds, deletes and changes users
    User {
        #[command(subcommand)]
        command: Option<user::Words>,
    },
    /// Adds, deletes and changes roles
    Role {
        #[command(subcommand)]
        command: Option<role::Words>,
    },
    /// Tries how fast a cluster is, and how much it holds
    Check {
        #[command(subcommand)]
        command: Option<check::Words>,
    },
    /// Prints a completion script, or writes pages of the manual
    Completion(Completion),
    /// Prepares, starts or calls off a downgrade of the cluster
    Downgrade {
        #[command(subcommand)]
        command: Option<member::Downgrade>,
    },
    /// Lists the flags that every command has
    Options(Rest),
    /// Shows a cluster live: members, lag, rates, slow requests, watches, leases
    Top(top::Words),
    /// Help about any command
    Help(Help),
}

/// Words after a command that takes none.
#[derive(Args, Debug)]
pub(super) struct Rest {
    #[arg(value_name = "")]
    pub(super) words: Vec<OsString>,
}

/// A command to tell about.
#[derive(Args, Debug)]
pub(super) struct Help {
    #[arg(value_name = "[command]")]
    pub(super) words: Vec<OsString>,
}

/// For which shell.
#[derive(Args, Debug)]
pub(super) struct Completion {
    #[arg(value_name = "[bash|zsh|fish|powershell] or man <directory>")]
    pub(super) words: Vec<OsString>,
}
