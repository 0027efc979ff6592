//! Flags from the environment: `--command-timeout` is `ETCDCTL_COMMAND_TIMEOUT` as well.
//!
//! A flag given both ways is an error: one of the two would silently lose. A variable that is no
//! flag's, or has a value the flag cannot have, is told about and changes nothing.

use std::ffi::{OsStr, OsString};

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::tool::{self, Failure};

const PREFIX: &str = "ETCDCTL_";
/// Variables with this beginning are the watch command's.
const WATCH: &str = "ETCDCTL_WATCH_";
const SHADOWED: &str = "conflicting environment variable is shadowed by corresponding command-line \
                        flag (either unset environment variable or disable flag))";

/// Words to put in for flags that the environment gives, and remarks about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) words: Vec<OsString>,
    pub(super) remarks: Vec<Remark>,
}

/// What is odd about a variable.
pub(super) type Remark = (&'static str, String);

/// Reads the environment, given what the command line said.
pub(super) fn read(
    root: &clap::Command,
    matches: &ArgMatches,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Given, Failure> {
    let mut given = Given::default();
    let is_watch = matches.subcommand_name() == Some("watch");
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        if is_watch && name.starts_with(WATCH) {
            continue;
        }
        let flag = name[PREFIX.len()..].to_lowercase().replace('_', "-");
        let known = root.get_arguments().find(|arg| arg.get_long() == Some(flag.as_str()));
        let Some(arg) = known.filter(|arg| !arg.is_hide_set() && variable(&flag) == name) else {
            given.remarks.push(remark("unrecognized environment variable", name, &value));
            continue;
        };
        let id = arg.get_id().as_str();
        if matches.value_source(id) == Some(ValueSource::CommandLine) {
            tool::log("fatal", SHADOWED, &[("environment-variable", name)]);
            return Err(Failure::told());
        }
        if value.is_empty() {
            continue;
        }
        let mut word = OsString::from(format!("--{flag}="));
        word.push(&value);
        if root.clone().try_get_matches_from([OsStr::new("ctl"), word.as_os_str()]).is_err() {
            given.remarks.push(remark("invalid value of environment variable", name, &value));
            continue;
        }
        given.words.push(word);
    }
    Ok(given)
}

/// The name of a flag's variable.
pub(super) fn variable(flag: &str) -> String {
    PREFIX.to_owned() + &flag.to_uppercase().replace('-', "_")
}

fn remark(what: &'static str, name: &str, value: &OsStr) -> Remark {
    (what, format!("{name}={}", value.to_string_lossy()))
}
