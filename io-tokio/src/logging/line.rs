//! One event as text.

use std::fmt::{self, Write as _};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing::Event;
use tracing::field::{Field, Visit};

use crate::cli::LogLevel;

const STAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");
const ZONE: &[BorrowedFormatItem<'_>] =
    format_description!("[offset_hour sign:mandatory][offset_minute]");

/// An event, taken apart.
pub(super) struct Line {
    level: LogLevel,
    stamp: String,
    caller: String,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Line {
    pub(super) fn of(event: &Event<'_>, level: LogLevel, now: OffsetDateTime) -> Self {
        let metadata = event.metadata();
        let mut line = Self {
            level,
            stamp: stamp(now),
            caller: caller(metadata.file(), metadata.line()),
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut line);
        line
    }

    /// One JSON object.
    pub(super) fn json(&self) -> String {
        let mut text = String::with_capacity(256);
        // Written by hand: a map would sort what etcd has in this order.
        let _ = write!(
            text,
            "{{\"level\":\"{}\",\"ts\":\"{}\",\"caller\":{},\"msg\":{}",
            self.level_name(),
            self.stamp,
            Value::from(self.caller.as_str()),
            Value::from(self.message.as_str()),
        );
        for (name, value) in &self.fields {
            let _ = write!(text, ",{}:{value}", Value::from(*name));
        }
        text.push_str("}\n");
        text
    }

    /// Fields between tabs, the named ones as one JSON object at the end.
    pub(super) fn console(&self) -> String {
        let message = self.message.replace(['\n', '\t'], " ");
        let mut text = format!("{}\t{}\t{}\t{message}", self.stamp, self.level_name(), self.caller);
        for (index, (name, value)) in self.fields.iter().enumerate() {
            let lead = if index == 0 { "\t{" } else { ", " };
            let _ = write!(text, "{lead}{}: {value}", Value::from(*name));
        }
        if !self.fields.is_empty() {
            text.push('}');
        }
        text.push('\n');
        text
    }

    const fn level_name(&self) -> &'static str {
        match self.level {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
            LogLevel::Fatal => "fatal",
        }
    }

    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.push((field.name(), value.into()));
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            _ => self.put(field, value),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// The zone is `Z` or `+0200`.
fn stamp(now: OffsetDateTime) -> String {
    let mut text = now.format(STAMP).unwrap_or_default();
    if now.offset().is_utc() {
        text.push('Z');
    } else {
        text.push_str(&now.format(ZONE).unwrap_or_default());
    }
    text
}

/// The last folder, the file and the line.
fn caller(file: Option<&str>, line: Option<u32>) -> String {
    let file = file.unwrap_or("unknown");
    let start = file.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    format!("{}:{}", &file[start..], line.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    #[test]
    fn stamps_carry_microseconds_and_a_zone_without_a_colon() {
        for (now, text) in [
            (datetime!(2026-01-02 15:04:05.999999 UTC), "2026-01-02T15:04:05.999999Z"),
            (datetime!(2026-01-02 15:04:05.5 +2), "2026-01-02T15:04:05.500000+0200"),
            (datetime!(2026-01-02 15:04:05 -3:30), "2026-01-02T15:04:05.000000-0330"),
        ] {
            assert_eq!(super::stamp(now), text);
        }
    }

    #[test]
    fn a_caller_is_a_folder_a_file_and_a_line() {
        assert_eq!(super::caller(Some("a/b/c/server.rs"), Some(81)), "c/server.rs:81");
        assert_eq!(super::caller(Some("server.rs"), Some(1)), "server.rs:1");
        assert_eq!(super::caller(None, None), "unknown:0");
    }
}
