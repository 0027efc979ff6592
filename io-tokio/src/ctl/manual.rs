//! Help.

use std::ffi::OsString;

use clap::Command;

use super::cli::GROUPS;
use crate::tool::help::{Manual, Reply};

/// The tool's manual.
pub(super) fn of(root: &Command) -> Manual<'_> {
    let footer = format!(
        "Use \"{} options\" for a list of global command-line options (applies to all commands).",
        root.get_name()
    );
    Manual { root, groups: GROUPS, footer }
}

/// The help of a command that is named.
pub(super) fn about(manual: &Manual<'_>, words: &[OsString]) -> Reply {
    let path = manual.locate(words);
    if path.len() > 1 || words.is_empty() {
        return Reply { out: manual.help(&path), ..Reply::default() };
    }
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let err = format!("Unknown help topic [`{}`]\n{}", words.join("` `"), manual.usage(&path));
    Reply { err, ..Reply::default() }
}
