use std::sync::Arc;

use serde_json::Value;
use tracing::{debug, error, info, warn};

use super::*;

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn written(level: LogLevel, format: LogFormat, tell: impl FnOnce()) -> Vec<String> {
    let page = Page::default();
    let lines = Lines::new(level, format, page.clone());
    tracing::subscriber::with_default(Registry::default().with(lines), tell);
    let bytes = page.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_line_is_one_object_in_etcds_order() {
    let lines = written(LogLevel::Info, LogFormat::Json, || {
        info!(
            "max-cpu" = 2,
            address = "127.0.0.1:2379",
            odd = "a\"b\n\u{1}",
            ok = true,
            took = ?std::time::Duration::from_millis(5),
            "serving {}",
            "now"
        );
    });
    let parsed: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(parsed["level"], "info");
    assert_eq!(parsed["msg"], "serving now");
    assert_eq!(parsed["max-cpu"], 2);
    assert_eq!(parsed["odd"], "a\"b\n\u{1}");
    assert_eq!(parsed["ok"], true);
    assert_eq!(parsed["took"], "5ms");
    assert!(parsed["caller"].as_str().unwrap().starts_with("logging/tests.rs:"));
    let keys = ["{\"level\":", ",\"ts\":\"", ",\"caller\":", ",\"msg\":", ",\"max-cpu\":"];
    let places: Vec<usize> = keys.iter().map(|key| lines[0].find(key).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn the_level_decides_and_libraries_are_silent() {
    let tell = || {
        debug!("d");
        info!("i");
        warn!("w");
        error!("e");
        error!(target: FATAL, "f");
        error!(target: "h2::codec", "library");
    };
    for (level, seen) in [
        (LogLevel::Debug, &["debug", "info", "warn", "error", "fatal"][..]),
        (LogLevel::Info, &["info", "warn", "error", "fatal"]),
        (LogLevel::Warn, &["warn", "error", "fatal"]),
        (LogLevel::Error, &["error", "fatal"]),
        (LogLevel::Fatal, &["fatal"]),
    ] {
        let lines = written(level, LogFormat::Json, tell);
        let levels: Vec<String> = lines
            .iter()
            .map(|line| {
                let parsed: Value = serde_json::from_str(line).unwrap();
                parsed["level"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(levels, seen);
    }
}

#[test]
fn the_console_has_tabs_and_no_colours() {
    let lines = written(LogLevel::Info, LogFormat::Console, || {
        info!(a = 1, b = "x", "two\nlines");
        warn!("bare");
    });
    let columns: Vec<&str> = lines[0].split('\t').skip(1).collect();
    assert_eq!(columns[0], "info");
    assert!(columns[1].starts_with("logging/tests.rs:"));
    assert_eq!(columns[2..], ["two lines", "{\"a\": 1, \"b\": \"x\"}"]);
    assert!(lines[1].ends_with("\tbare"));
    assert!(!lines.concat().contains('\u{1b}'));
}

#[test]
fn several_files_get_the_same_lines() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a.log", "b.log"].map(|name| folder.path().join(name));
    let outputs: Vec<LogOutput> = paths.iter().cloned().map(LogOutput::File).collect();
    for _ in 0..2 {
        Outputs::open(&outputs, None).unwrap().write_all(b"line\n").unwrap();
    }
    for path in &paths {
        assert_eq!(std::fs::read_to_string(path).unwrap(), "line\nline\n");
    }
    assert!(Outputs::open(&[LogOutput::File(folder.path().join("no/such.log"))], None).is_err());
}
