//! The command line and the environment, from words to settings.
//!
//! ```text
//! argv ──parse──┐  (or a configuration file instead of both)
//!               ├──> Flags (typed words) ──understand──> Settings (what they mean together)
//! ETCD_* ──────┘
//! ```
//!
//! Invariants
//! - Every flag is declared once, in `table.rs`; its environment name follows from its name.
//! - The command line is Go's: `-x v`, `--x v`, `--x=v`; a boolean takes a value only after `=`;
//!   of a repeated flag the last one counts; the first word that is no flag ends the flags.
//!   Ready-made parsers refuse one dash before a long name, or the repeats: so this one is ours.
//! - A setting given both on the command line and in the environment is an error, as in etcd: one
//!   of the two would silently lose. Empty variables count as unset.
//! - Exit codes: 2 for words that are no flags or no values, 1 for settings that make no sense.
//!
//! - Of a configuration file everything counts, and nothing else does.
//!
//! Answers to: etcd v3.7.1 `server/etcdmain/config.go`, `server/embed/config.go`

mod accepted;
mod discovery;
mod features;
mod file;
mod parse;
mod security;
mod settings;
mod table;
mod units;
mod url;

pub use discovery::{Discovery, SrvNames};
pub use features::Feature;
pub use parse::{CliError, Outcome, help, parse};
pub use security::secure_clients;
pub use settings::{LogFormat, LogLevel, LogOutput, Settings, understand};
pub use table::{Flag, Flags, Section};
pub use units::{parse_duration, show_duration};
pub use url::{Place, Url, UrlError, parse_members, parse_urls};

/// The name the program was called by: it decides where data lies when nobody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// `quorate`, or anything else.
    Quorate,
    /// `etcd`: data directories are named as etcd names them.
    Etcd,
}

impl Called {
    /// Reads the first word of the command line.
    pub fn by(program: &str) -> Self {
        match program.rsplit('/').next() {
            Some("etcd") => Self::Etcd,
            _ => Self::Quorate,
        }
    }

    /// The data directory of a member of that name.
    pub fn data_dir(self, name: &str) -> String {
        match self {
            Self::Quorate => format!("{name}.quorate"),
            Self::Etcd => format!("{name}.etcd"),
        }
    }
}

#[cfg(test)]
mod tests;
