//! How commands that are run for somebody ended, in Go's words.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

/// A command that came to its end.
pub(super) fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => format!("signal: {}", signal.map_or("unknown".to_owned(), signal_name)),
    }
}

fn signal_name(number: i32) -> String {
    match number {
        2 => "interrupt".to_owned(),
        9 => "killed".to_owned(),
        15 => "terminated".to_owned(),
        number => format!("signal {number}"),
    }
}

/// A command that is none.
pub(super) fn not_started(program: &OsStr, error: &io::Error) -> String {
    let name = program.to_string_lossy();
    match error.kind() {
        io::ErrorKind::NotFound if name.contains('/') => {
            format!("fork/exec {name}: no such file or directory")
        }
        io::ErrorKind::NotFound => format!("exec: {name:?}: executable file not found in $PATH"),
        io::ErrorKind::PermissionDenied => format!("fork/exec {name}: permission denied"),
        _ => format!("fork/exec {name}: {error}"),
    }
}
