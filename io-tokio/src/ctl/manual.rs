//! Help, completions and pages of the manual: all that follows from the declarations.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::Command;
use clap_complete::{Generator, Shell};

use super::cli::GROUPS;
use crate::tool::Failure;
use crate::tool::help::{Manual, Reply};
use crate::tool::quote::quote;

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

/// A script for a shell; or pages, written to a folder.
pub(super) fn complete(root: &Command, words: &[OsString]) -> Result<String, Failure> {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let words: Vec<&str> = words.iter().map(|word| &**word).collect();
    let shell = match words.as_slice() {
        ["man", folder] => return write_pages(root, Path::new(folder)).map(|()| String::new()),
        ["bash"] => Shell::Bash,
        ["zsh"] => Shell::Zsh,
        ["fish"] => Shell::Fish,
        ["powershell"] => Shell::PowerShell,
        [word] => {
            let name = format!("{} completion", root.get_name());
            return Err(Failure::new(format!(
                "invalid argument {} for {}",
                quote(word.as_bytes()),
                quote(name.as_bytes())
            )));
        }
        _ => return Err(Failure::new(format!("accepts 1 arg(s), received {}", words.len()))),
    };
    let mut root = root.clone();
    let program = root.get_name().split(' ').next().unwrap_or_default().to_owned();
    root.set_bin_name(program);
    root.build();
    let mut script = Vec::new();
    shell.generate(&root, &mut script);
    String::from_utf8(script).map_err(|error| Failure::new(error.to_string()))
}

fn write_pages(root: &Command, folder: &Path) -> Result<(), Failure> {
    let name = if root.get_name() == super::ETCDCTL { super::ETCDCTL } else { "quorate-ctl" };
    let root = root.clone().name(name);
    let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(root, folder));
    written.map_err(|error| Failure { code: 6, text: format!("{}: {error}", folder.display()) })
}
