//! `/debug/`: variables, and profiles where they are asked for.
//!
//! | path below `/debug/` | |
//! |---|---|
//! | `vars` | always |
//! | `pprof/`, `pprof/cmdline`, `pprof/profile?seconds=` | by `--enable-pprof` or at level debug |
//! | `pprof/heap` and the other kinds of Go's | likewise: 501, and why |
//!
//! Answers to: etcd v3.7.1 `pkg/debugutil/pprof.go`; Go's `net/http/pprof`

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use http_body_util::Full;
use quorate_core::view::Facts;

use super::pages::{JSON, Page, TEXT, page, trouble};
use super::profile::profile;
use super::vars::vars;

/// How long a profile takes when nobody says, and at most.
const PROFILE: Duration = Duration::from_secs(30);
const PROFILE_MAX: Duration = Duration::from_secs(600);

/// Profiles of Go's that are none here, and why.
const ABSENT: [(&str, &str); 8] = [
    ("allocs", "the allocator keeps no account of who asked it: use heaptrack"),
    ("block", "waits are not recorded: use perf trace"),
    ("goroutine", "there are no goroutines: use gdb -p with `thread apply all backtrace`"),
    ("heap", "the allocator keeps no account of who asked it: use heaptrack"),
    ("mutex", "waits for locks are not recorded: use perf lock"),
    ("symbol", "profiles carry their names with them"),
    ("threadcreate", "threads are created once, at the start"),
    ("trace", "there is no scheduler to trace: use perf sched, or distributed tracing"),
];

/// One of these pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Debug {
    Vars,
    Index,
    Cmdline,
    Profile,
    Absent(&'static str),
}

/// The page of a path.
pub(super) fn find(path: &str, has_profiles: bool) -> Option<Debug> {
    let path = path.strip_prefix("/debug/")?;
    if path == "vars" {
        return Some(Debug::Vars);
    }
    let kind = path.strip_prefix("pprof/").filter(|_| has_profiles)?;
    match kind {
        "" => Some(Debug::Index),
        "cmdline" => Some(Debug::Cmdline),
        "profile" => Some(Debug::Profile),
        kind => ABSENT.iter().find(|(name, _)| *name == kind).map(|(_, why)| Debug::Absent(why)),
    }
}

/// Answers for it.
pub(super) async fn answer(debug: Debug, query: &str, facts: &Facts) -> Page {
    match debug {
        Debug::Vars => {
            let mut page = page(StatusCode::OK, JSON, vars(facts));
            let kind = HeaderValue::from_static("application/json; charset=utf-8");
            page.headers_mut().insert(CONTENT_TYPE, kind);
            page
        }
        Debug::Index => page(StatusCode::OK, TEXT, index()),
        Debug::Cmdline => page(StatusCode::OK, TEXT, words().join("\0")),
        Debug::Profile => take(length(query)).await,
        Debug::Absent(why) => trouble(StatusCode::NOT_IMPLEMENTED, why),
    }
}

/// What this program was started with.
pub(super) fn words() -> Vec<String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect()
}

fn index() -> String {
    let absent = ABSENT.map(|(name, why)| format!("{name}: none; {why}\n")).concat();
    format!("/debug/pprof/\n\nprofile?seconds=30: where processors' time goes\ncmdline\n\n{absent}")
}

/// As Go reads it: what is no number, or none above zero, stands for the default.
fn length(query: &str) -> Duration {
    let word = query.split('&').find_map(|part| part.strip_prefix("seconds="));
    let seconds = word.and_then(|word| word.parse().ok()).filter(|seconds| *seconds > 0);
    seconds.map_or(PROFILE, Duration::from_secs).min(PROFILE_MAX)
}

async fn take(length: Duration) -> Page {
    match profile(length).await {
        Ok(bytes) => {
            let mut page = Response::new(Full::new(Bytes::from(bytes)));
            for (name, value) in [
                (CONTENT_TYPE, "application/octet-stream"),
                (CONTENT_DISPOSITION, "attachment; filename=\"profile\""),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ] {
                page.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            page
        }
        Err(why) => {
            let words = format!("Could not enable CPU profiling: {why}");
            trouble(StatusCode::INTERNAL_SERVER_ERROR, &words)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_there_when_asked_for() {
        assert_eq!(find("/debug/vars", false), Some(Debug::Vars));
        for path in ["/debug/pprof/", "/debug/pprof/profile", "/debug/pprof/heap"] {
            assert_eq!(find(path, false), None);
            assert!(find(path, true).is_some(), "{path}");
        }
        for path in ["/debug/", "/debug/pprof", "/debug/pprof/nope", "/debug/requests"] {
            assert_eq!(find(path, true), None, "{path}");
        }
    }

    #[test]
    fn a_length_is_a_number_of_seconds() {
        for (query, seconds) in
            [("", 30), ("seconds=2", 2), ("a=b&seconds=5", 5), ("seconds=0", 30), ("seconds=x", 30)]
        {
            assert_eq!(length(query), Duration::from_secs(seconds), "{query}");
        }
        assert_eq!(length("seconds=9999999"), PROFILE_MAX);
    }
}
