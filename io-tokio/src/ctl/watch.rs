//! `watch`: events as they happen, and commands run for them.

use std::ffi::{OsStr, OsString};
use std::io::BufRead as _;
use std::process::Stdio;
use std::rc::Rc;

use bytes::Bytes;
use clap::{Args, Parser};
use quorate_proto::etcdserverpb::{WatchCreateRequest, WatchResponse};
use tokio::sync::mpsc;

use super::changes::{Asking, Changes};
use super::client::Client;
use super::get::{bytes, prefix_range};
use super::print::{Printer, kind};
use super::{Session, line};
use crate::channels::TOOL_INPUTS_MAX;
use crate::tool::quote::quote;
use crate::tool::{self, Failure};

/// What to watch.
#[derive(Args, Debug)]
pub(super) struct Words {
    /// read watches from standard input
    #[arg(short, long)]
    interactive: bool,
    #[command(flatten)]
    scope: Scope,
    #[arg(value_name = "[options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]")]
    words: Vec<OsString>,
    #[arg(last = true, value_name = "")]
    command: Vec<OsString>,
}

/// Which events.
#[derive(Args, Clone, Debug)]
struct Scope {
    /// all keys that begin with the key
    #[arg(long)]
    prefix: bool,
    /// from this revision on
    #[arg(long, default_value_t = 0)]
    rev: i64,
    /// print what was there before as well
    #[arg(long)]
    prev_kv: bool,
    /// tell from time to time how far the watch is
    #[arg(long)]
    progress_notify: bool,
}

/// A watch that is typed.
#[derive(Debug, Parser)]
#[command(disable_help_flag = true)]
struct Typed {
    #[command(flatten)]
    scope: Scope,
    words: Vec<OsString>,
    #[arg(last = true)]
    command: Vec<OsString>,
}

/// Does it.
pub(super) async fn watch(words: Words, session: &Session) -> Result<(), Failure> {
    let Words { interactive, scope, words, command } = words;
    if interactive {
        return read(session).await;
    }
    let wanted = Wanted::new(&words, command, &scope)?;
    if session.ends_in_separator {
        return Err(Failure::words(NO_COMMAND));
    }
    let client = session.client().await?;
    let watching = Watching { client, printer: session.printer()? };
    watching.follow(wanted, Asking::default()).await?;
    Err(Failure::interrupted("watch is canceled by the server"))
}

const NO_COMMAND: &str = "bad number of arguments (found separator --, but no commands)";
const CONFLICT: &str = "bad number of arguments (found conflicting environment key)";

/// A watch, and what is run for its events.
struct Wanted {
    create: WatchCreateRequest,
    command: Vec<OsString>,
}

impl Wanted {
    /// The environment can name the keys as well.
    fn new(words: &[OsString], command: Vec<OsString>, scope: &Scope) -> Result<Self, Failure> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let key = variable("ETCDCTL_WATCH_KEY");
        let end = variable("ETCDCTL_WATCH_RANGE_END");
        let words: Vec<OsString> = match (key, end) {
            (None, Some(end)) => {
                let end = end.to_string_lossy();
                return Err(Failure::words(format!(
                    "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={end:?}"
                )));
            }
            (None, None) => words.to_vec(),
            (Some(_), _) if !words.is_empty() => return Err(Failure::words(CONFLICT)),
            (Some(key), end) => [key].into_iter().chain(end).collect(),
        };
        let (key, range_end) = match words.as_slice() {
            [] => return Err(Failure::words("bad number of arguments")),
            [_, _] if scope.prefix => {
                let text = "`range_end` and `--prefix` are mutually exclusive";
                return Err(Failure::words(text));
            }
            [key, end] => (bytes(key), bytes(end)),
            [key, ..] if scope.prefix => prefix_range(bytes(key)),
            [key, ..] => (bytes(key), Bytes::new()),
        };
        let create = WatchCreateRequest {
            key,
            range_end,
            start_revision: scope.rev,
            progress_notify: scope.progress_notify,
            prev_kv: scope.prev_kv,
            ..WatchCreateRequest::default()
        };
        Ok(Self { create, command })
    }
}

/// What all watches of a command have in common.
struct Watching {
    client: Client,
    printer: Printer,
}

impl Watching {
    /// Prints what happens until the server has enough of it.
    async fn follow(&self, wanted: Wanted, asking: Asking) -> Result<(), Failure> {
        let mut changes = Changes::new(&self.client, wanted.create, asking);
        loop {
            match changes.next().await {
                Ok(answer) if answer.canceled => return self.print_end(&answer),
                Ok(answer) => self.print(&answer, &wanted.command).await?,
                Err(trouble) => {
                    eprintln!("watch was canceled ({trouble})");
                    return Ok(());
                }
            }
        }
    }

    fn print_end(&self, answer: &WatchResponse) -> Result<(), Failure> {
        let reason = match answer.cancel_reason.as_str() {
            _ if answer.compact_revision != 0 => {
                "etcdserver: mvcc: required revision has been compacted".to_owned()
            }
            "" => "etcdserver: mvcc: required revision is a future revision".to_owned(),
            reason if reason.starts_with("etcdserver: ") => reason.to_owned(),
            reason => format!("rpc error: code = FailedPrecondition desc = {reason}"),
        };
        eprintln!("watch was canceled ({reason})");
        self.printer.print(answer)
    }

    async fn print(&self, answer: &WatchResponse, command: &[OsString]) -> Result<(), Failure> {
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        if answer.events.is_empty() && revision != 0 {
            tool::print(format!("progress notify: {revision}\n").as_bytes())?;
        }
        self.printer.print(answer)?;
        let Some((program, words)) = command.split_first() else { return Ok(()) };
        for event in &answer.events {
            let kv = event.kv.clone().unwrap_or_default();
            let mut run = tokio::process::Command::new(program);
            run.args(words)
                .env("ETCD_WATCH_REVISION", revision.to_string())
                .env("ETCD_WATCH_EVENT_TYPE", quote(kind(event).as_bytes()))
                .env("ETCD_WATCH_KEY", quote(&kv.key))
                .env("ETCD_WATCH_VALUE", quote(&kv.value))
                .stdin(Stdio::null());
            let told = match run.status().await {
                Ok(status) if status.success() => continue,
                Ok(status) => super::exec::ended(status),
                Err(error) => super::exec::not_started(program, &error),
            };
            eprintln!("command {} error ({told})", list(command));
            return Err(Failure::told());
        }
        Ok(())
    }
}

/// Words as Go shows a list of them.
fn list(words: &[OsString]) -> String {
    let words = words.iter().map(|word| quote(&bytes(word)));
    format!("[{}]", words.collect::<Vec<_>>().join(" "))
}

/// Watches that are typed, each a line; they run beside each other.
async fn read(session: &Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let watching = Rc::new(Watching { client, printer: session.printer()? });
    let (typed, mut lines) = mpsc::channel(TOOL_INPUTS_MAX);
    // It reads for ever, and ends with the process.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if typed.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut running = Vec::new();
    let tasks = tokio::task::LocalSet::new();
    tasks
        .run_until(async {
            while let Some(line) = lines.recv().await {
                let line = line.map_err(|error| broken(&error.to_string()))?;
                take(&line, &watching, &mut running).await?;
            }
            Err(broken("EOF"))
        })
        .await
}

fn broken(why: &str) -> Failure {
    Failure::input(format!("error reading watch request line: {why}"))
}

async fn take(
    text: &str,
    watching: &Rc<Watching>,
    running: &mut Vec<Asking>,
) -> Result<(), Failure> {
    let words = line::words(text)?;
    match words.first().and_then(|word| word.to_str()) {
        None => eprintln!("Invalid command: {text} (watch and progress supported)"),
        Some("watch") => {
            let has_key = std::env::var_os("ETCDCTL_WATCH_KEY").is_some();
            if words.len() < 2 && !has_key {
                let what = "command type or key is not provided";
                eprintln!("Invalid command {text} ({what})");
                return Ok(());
            }
            let wanted = parse_typed(&words)?;
            let (watching, asking) = (Rc::clone(watching), Asking::default());
            running.push(asking.clone());
            tokio::task::spawn_local(async move {
                if let Err(failure) = watching.follow(wanted, asking).await {
                    failure.end();
                    std::process::exit(i32::from(failure.code));
                }
            });
        }
        Some("progress") => {
            for asking in running.iter() {
                asking.progress().await;
            }
        }
        Some(_) => eprintln!("Invalid command {text} (only support watch)"),
    }
    Ok(())
}

fn parse_typed(words: &[OsString]) -> Result<Wanted, Failure> {
    if words.last().is_some_and(|last| last == OsStr::new("--")) {
        return Err(Failure::words(NO_COMMAND));
    }
    let typed = tool::flags::parse::<Typed>(words)
        .map_err(|error| Failure::words(tool::help::unreadable(words, &error)))?;
    Wanted::new(&typed.words, typed.command, &typed.scope)
}
