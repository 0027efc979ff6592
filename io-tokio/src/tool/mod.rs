//! What the command line tools have in common: flags, formats, help, and how they end.
//!
//! ```text
//!   words ──flags──> clap ──> a command does its work ──> format ──> stdout
//!                     └─ wrong words ──help──> stderr, in the layout of Go's tools
//! ```
//!
//! Invariants
//! - Nothing here knows what a tool does: they share it, and copy nothing. Which tools there are
//!   only [`completion`] knows.
//! - What is printed looks as Go prints it: scripts read it.
//!
//! Answers to: spf13/cobra v1.10.2, spf13/pflag v1.0.10, olekukonko/tablewriter v1.1.4, and the
//! formats of Go's `strconv` and `encoding/json`

pub(crate) mod completion;
pub(crate) mod flags;
pub(crate) mod format;
pub(crate) mod help;
pub(crate) mod quote;
pub(crate) mod signals;

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::cli::LogLevel;
use crate::logging;

/// Runs what goes on until a signal ends the process, with a log; it ends by itself if it fails.
pub(crate) fn serve(level: LogLevel, run: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let failed = |error: io::Error| Failure::new(format!("cannot start: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = logging::start_plain(level)
        .and(runtime)
        .map_err(failed)
        .and_then(|runtime| runtime.block_on(run));
    ended.map_or_else(|failure| failure.end(), |()| ExitCode::SUCCESS)
}

/// Why nothing came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What the process ends with.
    pub(crate) code: u8,
    /// What is told.
    pub(crate) text: String,
}

impl Failure {
    /// Something that cannot be used, or was refused.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    /// A server that cannot be spoken to.
    pub(crate) fn connection(text: impl Into<String>) -> Self {
        Self { code: 2, text: text.into() }
    }

    /// Lines that were read and mean nothing.
    pub(crate) fn input(text: impl Into<String>) -> Self {
        Self { code: 3, text: text.into() }
    }

    /// A flag whose value is not supported.
    pub(crate) fn feature(text: impl Into<String>) -> Self {
        Self { code: 4, text: text.into() }
    }

    /// Work that was broken off.
    pub(crate) fn interrupted(text: impl Into<String>) -> Self {
        Self { code: 5, text: text.into() }
    }

    /// Something that was told already.
    pub(crate) fn told() -> Self {
        Self::new("")
    }

    /// Words that are too many, too few, or contradict each other.
    pub(crate) fn words(text: impl Into<String>) -> Self {
        Self { code: 128, text: text.into() }
    }
}

impl Failure {
    /// Tells it, and with what to end.
    pub(crate) fn end(&self) -> ExitCode {
        if !self.text.is_empty() {
            eprintln!("Error: {}", self.text);
        }
        ExitCode::from(self.code)
    }
}

/// Remarks on something, to standard error, as etcd's tools do.
pub(crate) fn log(level: &str, message: &str, fields: &[(&str, &str)]) {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let fields = fields.iter().map(|(name, value)| format!(",{}:{}", text(name), text(value)));
    let (level, message, fields) = (text(level), text(message), fields.collect::<String>());
    eprintln!("{{\"level\":{level},\"msg\":{message}{fields}}}");
}

/// Writes to standard output, at once.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.map_err(|error| Failure::new(format!("cannot print: {error}")))
}
