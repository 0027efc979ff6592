//! What one call of the tool was told: flags, environment, and what follows from them.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches as _};
use tonic::{Response, Status};

use super::cli::Globals;
use super::client::{Client, Identity, Limits, Line, Repeat};
use super::environment;
use super::print::{Ink, Printer};
use super::way::{Secure, Way};
use crate::srv;
use crate::tool::format::Format;
use crate::tool::{self, Failure};
use crate::transport::Patience;

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
        let files = [("cert", &globals.cert), ("key", &globals.key), ("cacert", &globals.cacert)];
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

    /// The servers that were named, by their domain or one by one.
    pub(super) async fn endpoints(&self) -> Result<Vec<String>, Failure> {
        let Globals { discovery_srv, discovery_srv_name, insecure_discovery, .. } = &self.globals;
        if discovery_srv.is_empty() {
            return Ok(self.globals.endpoints.clone());
        }
        let found = srv::clients(discovery_srv, discovery_srv_name).await.map_err(Failure::new)?;
        let urls = found.into_iter().map(|target| target.url);
        let (secure, insecure): (Vec<_>, Vec<_>) =
            urls.partition(|url| *insecure_discovery || url.is_secure);
        for url in insecure {
            eprintln!("ignoring discovered insecure endpoint \"{url}\"");
        }
        Ok(match secure.as_slice() {
            [] => self.globals.endpoints.clone(),
            found => found.iter().map(ToString::to_string).collect(),
        })
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
        if self.identity.get().is_none() {
            let Globals { user, password, auth_jwt_token, .. } = &self.globals;
            let identity = match auth_jwt_token.as_str() {
                "" => identity_of(user, password, "Password: ")?,
                token => Some(Identity::Token(token.to_owned())),
            };
            // It was empty a moment ago, and nobody else is here.
            let _ = self.identity.set(identity);
        }
        let identity = self.identity.get().cloned().flatten();
        Client::open(self.way()?, endpoints, identity, self.globals.limits()).await
    }

    /// What secures the way to servers.
    pub(super) fn way(&self) -> Result<Way, Failure> {
        let given = self.globals.clone();
        self.globals.way(&Secure {
            cert: given.cert,
            key: given.key,
            cacert: given.cacert,
            // Who does not trust DNS wants the domain's own certificate.
            server_name: if given.insecure_discovery { String::new() } else { given.discovery_srv },
            insecure_transport: given.insecure_transport,
            insecure_skip_tls_verify: given.insecure_skip_tls_verify,
        })
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

/// Who one is by what flags say; asks for a password that nobody gave.
pub(super) fn identity_of(
    user: &str,
    password: &str,
    prompt: &str,
) -> Result<Option<Identity>, Failure> {
    Identity::of_user(user, password, || {
        rpassword::prompt_password(prompt).map_err(|error| Failure::new(error.to_string()))
    })
}

impl Globals {
    /// The way to servers, secured like this.
    pub(super) fn way(&self, secure: &Secure) -> Result<Way, Failure> {
        let patience =
            Patience::of_client(self.dial_timeout, self.keepalive_time, self.keepalive_timeout);
        Way::new(secure, patience).map_err(Failure::words)
    }

    /// How much is sent and taken.
    pub(super) fn limits(&self) -> Limits {
        let usual = Limits::new(self.dial_timeout);
        let or = |given: i64, usual| {
            usize::try_from(given).ok().filter(|given| *given > 0).unwrap_or(usual)
        };
        Limits {
            request_bytes_max: or(self.max_request_bytes, usual.request_bytes_max),
            answer_bytes_max: or(self.max_recv_bytes, usual.answer_bytes_max),
            ..usual
        }
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
