//! The log file: one line per event, as etcd writes it.
//!
//! ```text
//! {"level":"info","ts":"2026-01-02T15:04:05.999999Z","caller":"src/server.rs:81","msg":"..."}
//! ```
//!
//! Invariants
//! - Every line is one valid JSON object at every level, whatever a field holds.
//! - Nothing is ever coloured or wrapped: the output may be a terminal that a test reads.
//! - Only this project's events are written; libraries talk to nobody.
//! - A log that cannot be written to does not stop the server.
//!
//! Deliberately absent: sampling.
//!
//! Answers to: etcd v3.7.1 `client/pkg/logutil/zap.go`, `server/embed/config_logging.go`

mod line;
mod notes;
mod rotation;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use time::OffsetDateTime;
use time::UtcOffset;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use crate::cli::{LogFormat, LogLevel, LogOutput, Settings};
use line::Line;

pub use notes::Listener;
use rotation::Rotating;
pub use rotation::Rotation;

/// Events of this target end the process: they are of a level above `error`.
pub const FATAL: &str = "quorate::fatal";

/// The layer that writes lines.
#[derive(Debug)]
pub struct Lines<W> {
    level: LogLevel,
    format: LogFormat,
    offset: UtcOffset,
    outputs: Mutex<W>,
}

/// Several outputs as one.
#[derive(Debug)]
pub struct Outputs(Vec<Output>);

#[derive(Debug)]
enum Output {
    Stderr,
    Stdout,
    File(File),
    Rotating(Rotating),
}

impl Outputs {
    /// Opens all of them; files are turned over if that is said.
    pub fn open(outputs: &[LogOutput], rotation: Option<Rotation>) -> io::Result<Self> {
        let open = |output: &LogOutput| {
            Ok(match (output, rotation) {
                (LogOutput::Stderr, _) => Output::Stderr,
                (LogOutput::Stdout, _) => Output::Stdout,
                (LogOutput::File(path), Some(rotation)) => {
                    Output::Rotating(Rotating::open(path, rotation)?)
                }
                (LogOutput::File(path), None) => {
                    Output::File(OpenOptions::new().create(true).append(true).open(path)?)
                }
            })
        };
        outputs.iter().map(open).collect::<io::Result<_>>().map(Self)
    }
}

impl Write for Outputs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for output in &mut self.0 {
            // One full disk must not silence the other outputs.
            let _ = match output {
                Output::Stderr => io::stderr().lock().write_all(bytes),
                Output::Stdout => io::stdout().lock().write_all(bytes),
                Output::File(file) => file.write_all(bytes),
                Output::Rotating(file) => file.write_line(bytes),
            };
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().lock().flush()
    }
}

impl<W: Write> Lines<W> {
    /// A layer over an output. The zone is the system's; it is read once, before there are
    /// threads, or taken to be UTC.
    pub fn new(level: LogLevel, format: LogFormat, outputs: W) -> Self {
        let offset = UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC);
        Self { level, format, offset, outputs: Mutex::new(outputs) }
    }

    fn takes(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        let is_ours = target.starts_with("quorate");
        is_ours && metadata.is_event() && severity(metadata) >= self.level
    }
}

/// How serious an event is.
fn severity(metadata: &Metadata<'_>) -> LogLevel {
    match *metadata.level() {
        Level::ERROR if metadata.target() == FATAL => LogLevel::Fatal,
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        _ => LogLevel::Debug,
    }
}

impl<S: Subscriber, W: Write + Send + 'static> Layer<S> for Lines<W> {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.takes(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.takes(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.level {
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Error | LogLevel::Fatal => LevelFilter::ERROR,
        })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let now = OffsetDateTime::now_utc().to_offset(self.offset);
        let line = Line::of(event, severity(event.metadata()), now);
        let text = match self.format {
            LogFormat::Json => line.json(),
            LogFormat::Console => line.console(),
        };
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = outputs.write_all(text.as_bytes());
    }
}

/// Makes the outputs the process's log. The first call wins.
pub fn start(settings: &Settings) -> io::Result<()> {
    let outputs = Outputs::open(&settings.log_outputs, settings.log_rotation)?;
    start_with(settings.log_level, settings.log_format, outputs)
}

/// The same for a program that has no such settings: JSON on the standard error.
pub fn start_plain(level: LogLevel) -> io::Result<()> {
    start_with(level, LogFormat::Json, Outputs::open(&[LogOutput::Stderr], None)?)
}

fn start_with(level: LogLevel, format: LogFormat, outputs: Outputs) -> io::Result<()> {
    let lines = Lines::new(level, format, outputs);
    // A second log would take the first one's lines.
    let _ = tracing::subscriber::set_global_default(Registry::default().with(lines));
    Ok(())
}

#[cfg(test)]
mod tests;
