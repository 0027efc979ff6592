//! The offline tool: what is done to files while no member runs on them.
//!
//! ```text
//! $ quorate utl snapshot status backup.db          the same as: etcdutl snapshot status backup.db
//! 54cc6ea0, 64, 41, 156 kB, 3.7.0
//! $ quorate utl snapshot restore backup.db --data-dir new
//! $ quorate utl adopt default.etcd                 an etcd member's data becomes Quorate's
//! $ quorate utl check default.quorate              reads every byte of a stopped member's data
//! $ quorate utl recover default.quorate --dry-run  what going on without the others would mean
//! ```
//!
//! It answers to the name `etcdutl` as well, and takes that tool's commands, flags and formats.
//!
//! Invariants
//! - What is read is judged in full before anything is written: a refusal leaves nothing behind.
//! - No file that was given is changed. A directory that is worked on is locked.
//! - Exit codes are etcdutl's: 1 for failures, 4 for a format a command does not have, 128 for
//!   flags that contradict each other.
//!
//! Answers to: etcd v3.7.1 `etcdutl/`

mod adopt;
mod check;
mod cli;
mod directory;
mod print;
mod recover;
mod restore;
mod source;
mod status;

use std::process::ExitCode;

use clap::CommandFactory as _;
use quorate_core::error::StorageFault;

use cli::{Command, Snapshot, Words};

use crate::cli::Called;
use crate::tool::Failure;
use crate::tool::format::Format;
use crate::{tool, version};

/// The name of etcd's own tool.
const ETCDUTL: &str = "etcdutl";
/// Our own.
const QUORATE_UTL: &str = "quorate utl";

impl From<StorageFault> for Failure {
    fn from(fault: StorageFault) -> Self {
        Self::new(fault.what)
    }
}

/// The words for this tool, if the program was called for it.
pub fn called(program: &str, words: &[String]) -> Option<Vec<String>> {
    if program.rsplit('/').next() == Some(ETCDUTL) {
        return Some([&[ETCDUTL.to_owned()], words].concat());
    }
    let (first, rest) = words.split_first()?;
    (first == "utl").then(|| [&[QUORATE_UTL.to_owned()], rest].concat())
}

/// Its declarations, by one of its names.
pub(crate) fn declared(name: &'static str) -> clap::Command {
    tool::flags::as_go(Words::command().name(name))
}

/// Runs it; the first word is its name.
pub fn main(words: &[String]) -> ExitCode {
    let called = match words.first().map(String::as_str) {
        Some(ETCDUTL) => Called::Etcd,
        _ => Called::Quorate,
    };
    let words = match tool::flags::parse::<Words>(words) {
        Ok(words) => words,
        Err(error) => return tool::flags::tell_usage(&error),
    };
    match run(words, called).and_then(|text| tool::print(text.as_bytes())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(),
    }
}

/// Does what was asked; what to print.
fn run(words: Words, called: Called) -> Result<String, Failure> {
    let patience = words.timeout;
    let format = || Format::parse(&words.write_out);
    match words.command {
        Command::Snapshot { command: Snapshot::Status { file } } => {
            print::render(&status::status(&file, patience)?, format()?)
        }
        Command::Snapshot { command: Snapshot::Restore(flags) } => {
            restore::restore(&flags, patience, called)
        }
        Command::Hashkv { file, rev } => {
            print::render(&status::hash_kv(&file, rev, patience)?, format()?)
        }
        Command::Defrag { data_dir } => directory::defragment(&data_dir, patience),
        Command::Migrate { data_dir, target_version, force } => {
            directory::migrate(&data_dir, (&target_version, force), patience)
        }
        Command::Check { data_dir, wal_dir } => {
            check::check(&data_dir, wal_dir.as_deref(), patience)
        }
        Command::Adopt { etcd_dir, wal_dir, data_dir } => {
            let wal_dir = wal_dir.unwrap_or_else(|| etcd_dir.join("member").join("wal"));
            adopt::adopt((&etcd_dir, &wal_dir), data_dir.as_deref(), patience)
        }
        Command::Recover { data_dir, wal_dir, dry_run } => {
            recover::recover(&data_dir, wal_dir.as_deref(), dry_run, patience)
        }
        Command::Completion { words } => {
            let name = if called == Called::Etcd { ETCDUTL } else { QUORATE_UTL };
            tool::completion::complete(&declared(name), &words)
        }
        Command::Version => {
            let (etcd, api) = (version::ETCD, version::minor(version::ETCD));
            Ok(format!("etcdutl version: {etcd}\nAPI version: {api}\n"))
        }
    }
}

#[cfg(test)]
mod tests;
