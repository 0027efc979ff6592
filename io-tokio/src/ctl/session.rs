//! What one call of the tool was told: flags, environment, and what follows from them.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches as _};
use tonic::{Response, Status};

use super::cli::Globals;
use super::client::reach::Reach;
use super::client::{Client, Identity, Line, Repeat};
use super::environment;
use super::print::{Ink, Printer};
use crate::tool::format::Format;
use crate::tool::{self, Failure};

/// Flags that every command has, and whether some of them were given.
pub(super) struct Session {
    pub(super) globals: Globals,
    /// Whether somebody named a time for commands.
    pub(super) is_timeout_given: bool,
    /// Whether `--` is the last word, after which something was to come.
    pub(super) ends_in_separator: bool,
    /// Files that were named, and have no name.
    nameless: Option<&'static str>,
    /// Who one is, as soon as that was asked.
    identity: OnceCell<Option<Identity>>,
}

impl Session {
    /// Reads what the environment has to say as well; remarks on it go to standard error.
    pub(super) fn new(
        root: &clap::Command,
        matches: &ArgMatches,
        words: &[OsString],
    ) -> Result<Self, Failure> {
        let given = environment::read(root, matches, std::env::vars_os())?;
        for (what, variable) in &given.remarks {
            tool::log("warn", what, &[("environment-variable", variable)]);
        }
        let wrong = |error: clap::Error| Failure::new(error.to_string());
        let all = merged(root, matches, given.words).map_err(wrong)?;
        let globals = Globals::from_arg_matches(&all).map_err(wrong)?;
        if globals.debug {
            shown(root, &all).iter().for_each(|setting| eprintln!("{setting}"));
        }
        let is_given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let Reach { cert, key, cacert, .. } = &globals.reach;
        let files = [("cert", cert), ("key", key), ("cacert", cacert)];
        let mut nameless = files.iter().filter(|(id, file)| file.is_empty() && is_given(id));
        Ok(Self {
            nameless: nameless.next().map(|(id, _)| *id),
            is_timeout_given: all.value_source("command_timeout")
                != Some(ValueSource::DefaultValue),
            ends_in_separator: words.last().is_some_and(|last| last == "--"),
            identity: OnceCell::new(),
            globals,
        })
    }

    /// A client of the servers that were named.
    pub(super) async fn client(&self) -> Result<Client, Failure> {
        let endpoints = self.endpoints().await?;
        self.check()?;
        self.client_at(&endpoints).await
    }

    /// The servers that were named.
    pub(super) async fn endpoints(&self) -> Result<Vec<String>, Failure> {
        self.globals.reach.endpoints().await
    }

    /// Refuses what cannot be had, before anything is asked.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if let Some(flag) = self.nameless {
            return Err(Failure::words(format!("empty string is passed to --{flag} option")));
        }
        self.printer().map(drop)
    }

    /// A client of other servers.
    pub(super) async fn client_at(&self, endpoints: &[String]) -> Result<Client, Failure> {
        let reach = &self.globals.reach;
        if self.identity.get().is_none() {
            // It was empty a moment ago, and nobody else is here.
            let _ = self.identity.set(reach.identity()?);
        }
        let identity = self.identity.get().cloned().flatten();
        Client::open(reach.way()?, endpoints, identity, reach.limits()).await
    }

    /// Calls a server.
    pub(super) async fn ask<R>(
        &self,
        within: Option<Duration>,
        repeat: Repeat,
        ask: impl AsyncFn(Line) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        Ok(self.client().await?.call(within, repeat, ask).await?)
    }

    /// How long a short command may take.
    pub(super) fn within(&self) -> Option<Duration> {
        Some(self.globals.command_timeout)
    }

    /// How answers are printed.
    pub(super) fn printer(&self) -> Result<Printer, Failure> {
        let format = Format::parse(&self.globals.write_out)?;
        Ok(Printer { format, ink: Ink { is_hex: self.globals.hex, is_value_only: false } })
    }
}

/// Flags of the command line, and those of the environment that it does not have.
fn merged(
    root: &clap::Command,
    matches: &ArgMatches,
    given: Vec<OsString>,
) -> Result<ArgMatches, clap::Error> {
    let mut words = vec![OsString::from("ctl")];
    for arg in root.get_arguments() {
        let (id, Some(long)) = (arg.get_id().as_str(), arg.get_long()) else { continue };
        if matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        for value in matches.get_raw(id).into_iter().flatten() {
            let mut word = OsString::from(format!("--{long}="));
            word.push(value);
            words.push(word);
        }
    }
    words.extend(given);
    root.clone().try_get_matches_from(words)
}

/// All settings, but for what is nobody else's business.
fn shown(root: &clap::Command, matches: &ArgMatches) -> Vec<String> {
    const SECRET: [&str; 3] = ["auth_jwt_token", "password", "user"];
    let is_shown =
        |arg: &&clap::Arg| !arg.is_hide_set() && !SECRET.contains(&arg.get_id().as_str());
    let flags = root.get_arguments().filter(is_shown);
    let line = |arg: &clap::Arg| {
        let values = matches.get_raw(arg.get_id().as_str())?;
        let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
        Some(format!("{}={}", environment::variable(arg.get_long()?), values.join(",")))
    };
    flags.filter_map(line).collect()
}
