//! The client: a command line for whatever serves etcd's API.
//!
//! ```text
//! $ quorate ctl put greeting hello           the same as: etcdctl put greeting hello
//! OK
//! $ quorate ctl get greeting -w json
//! {"header":{"cluster_id":...},"kvs":[{"key":"Z3JlZXRpbmc=",...}],"count":1}
//! $ quorate ctl watch greeting -- sh -c 'echo it changed'
//! $ quorate ctl top                          members, lag and rates, live
//! ```
//!
//! It answers to the name `etcdctl` as well, and takes that tool's commands, flags, environment
//! and formats; what it prints is the same byte for byte, but for help, which is told in its own
//! words.
//!
//! ```text
//!   words ──cli──> a command's file ──client──> a server
//!   ETCDCTL_* ─┘        └────────────print────> stdout
//! ```
//!
//! Invariants
//! - Exit codes are etcdctl's: 1 for failures, 2 for connections, 3 for lines that mean nothing,
//!   4 for values and formats that are not supported, 5 for what was broken off, 128 for words.
//! - What was asked for and cannot be had is refused: no flag is ignored.
//! - Every command's flags are declared beside its work; help, completions and the manual's pages
//!   follow from them.
//!
//! Deliberately absent: logs of the transport with `--debug`.
//!
//! Answers to: etcd v3.7.1 `etcdctl/ctlv3/`

mod auth;
mod changes;
mod check;
mod cli;
mod delete;
mod election;
mod endpoint;
mod environment;
mod exec;
mod get;
mod lease;
mod line;
mod lock;
mod manual;
mod member;
mod metrics;
mod mirror;
mod number;
mod print;
mod put;
mod role;
mod save;
mod session;
mod session_lease;
mod top;
mod txn;
mod user;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use cli::{Command, Words};
use session::Session;

use crate::client::{self, way};
use crate::tool::help::Reply;
use crate::tool::{self, Failure, signals};
use crate::version;

/// The name of etcd's own tool.
const ETCDCTL: &str = "etcdctl";
/// Our own.
const QUORATE_CTL: &str = "quorate ctl";

/// The words for this tool, if the program was called for it; the first is its name.
pub fn called(program: &str, words: &[OsString]) -> Option<Vec<OsString>> {
    if program.rsplit('/').next() == Some(ETCDCTL) {
        return Some([&[ETCDCTL.into()], words].concat());
    }
    let (first, rest) = words.split_first()?;
    (first == "ctl").then(|| [&[QUORATE_CTL.into()], rest].concat())
}

/// Its declarations, by one of its names. By etcd's it has etcd's commands; ours is there all the
/// same.
pub(crate) fn declared(name: &'static str) -> clap::Command {
    let root = Words::command().name(name);
    tool::flags::as_go(root.mut_subcommand("top", |top| top.hide(name == ETCDCTL)))
}

/// Runs it; the first word is its name.
pub fn main(words: &[OsString]) -> ExitCode {
    let is_etcds = words.first().is_some_and(|word| word == ETCDCTL);
    let root = declared(if is_etcds { ETCDCTL } else { QUORATE_CTL });
    let parsed = root.clone().try_get_matches_from(words);
    let said = match parsed {
        Ok(matches) => match run(&root, &matches, words) {
            Ok(said) => said,
            Err(failure) => return failure.end(),
        },
        Err(error) => manual::of(&root).complain(&words[1..], &error),
    };
    said.tell()
}

/// Does what was asked; what is left to be said.
fn run(root: &clap::Command, matches: &ArgMatches, words: &[OsString]) -> Result<Reply, Failure> {
    let manual = manual::of(root);
    let said = |out| Ok(Reply { out, ..Reply::default() });
    let here = || said(manual.help(&manual.locate(&words[1..])));
    let asked =
        Words::from_arg_matches(matches).map_err(|error| Failure::new(error.to_string()))?;
    let Some(command) = asked.command.filter(|_| !asked.help) else { return here() };
    match command {
        Command::Help(help) => return Ok(manual::about(&manual, &help.words)),
        Command::Options(_) => {
            let what = "The following options can be passed to any command:";
            return said(format!("{what}\n\n{}", manual.options()));
        }
        Command::Version(_) => {
            let (etcd, api) = (version::ETCD, version::minor(version::ETCD));
            return said(format!("etcdctl version: {etcd}\nAPI version: {api}\n"));
        }
        Command::Completion(asked) => return said(tool::completion::complete(root, &asked.words)?),
        _ => {}
    }
    let is_group = matches.subcommand().is_some_and(|(name, below)| {
        let declared = root.find_subcommand(name);
        declared.is_some_and(|it| it.has_subcommands()) && below.subcommand_name().is_none()
    });
    if is_group {
        return here();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let session = Session::new(root, matches, words)?;
    runtime.block_on(work(command, &session)).map(|()| Reply::default())
}

/// Does what a command asks servers for.
async fn work(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Get(words) => get::get(words, session).await,
        Command::Put(words) => put::put(words, session).await,
        Command::Del(words) => delete::delete(words, session).await,
        Command::Txn(words) => txn::txn(words, session).await,
        Command::Compaction(words) => put::compact(words, session).await,
        Command::Watch(words) => watch::watch(words, session).await,
        Command::Lease { command: Some(words) } => lease::run(words, session).await,
        Command::Alarm { command: Some(words) } => endpoint::alarm(words, session).await,
        Command::Defrag(words) => endpoint::defragment(words, session).await,
        Command::Endpoint { scope, command: Some(words) } => {
            endpoint::run(words, &scope, session).await
        }
        Command::MoveLeader(words) => member::move_leader(words, session).await,
        Command::Member { command: Some(words) } => member::run(words, session).await,
        Command::Snapshot { command: Some(words) } => endpoint::snapshot(words, session).await,
        Command::MakeMirror(words) => mirror::mirror(words, session).await,
        Command::Lock(words) => lock::lock(words, session).await,
        Command::Elect(words) => election::elect(words, session).await,
        Command::Auth { command: Some(words) } => auth::run(words, session).await,
        Command::User { command: Some(words) } => user::run(words, session).await,
        Command::Role { command: Some(words) } => role::run(words, session).await,
        Command::Check { command: Some(words) } => check::run(words, session).await,
        Command::Downgrade { command: Some(words) } => member::downgrade(words, session).await,
        Command::Top(words) => top::top(words, session).await,
        // They were answered before, and the rest are groups without a command.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
