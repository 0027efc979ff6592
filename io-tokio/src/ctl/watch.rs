//! `watch`: events as they happen, and commands run for them.
//!
//! A watch whose connection breaks goes on where it was, with the next server that answers.

use std::ffi::{OsStr, OsString};
use std::io::BufRead as _;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Parser};
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{
    WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::client::{Client, Trouble};
use super::get::{bytes, prefix_range};
use super::print::{Printer, kind};
use super::{Session, line};
use crate::tool::quote::quote;
use crate::tool::{self, Failure};

/// How many requests of one watch may wait to be sent: it creates, and asks how far it is. More
/// wait where they are typed.
const REQUESTS_MAX: usize = 4;
/// How long to rest before a broken watch goes on.
const RESUME_INTERVAL: Duration = Duration::from_millis(100);

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
    if std::env::args_os().next_back().is_some_and(|last| last == "--") {
        return Err(Failure::words(NO_COMMAND));
    }
    let client = session.client().await?;
    let watching = Watching { client, printer: session.printer()? };
    let (requests, _) = mpsc::channel(REQUESTS_MAX);
    watching.follow(wanted, &Asking(std::cell::RefCell::new(requests))).await?;
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

/// Where a running watch takes requests; another place after its connection broke.
struct Asking(std::cell::RefCell<mpsc::Sender<WatchRequest>>);

/// What all watches of a command have in common.
struct Watching {
    client: Client,
    printer: Printer,
}

impl Watching {
    /// Prints what happens until the server has enough of it.
    async fn follow(&self, mut wanted: Wanted, asking: &Asking) -> Result<(), Failure> {
        loop {
            let ended = match self.start(&wanted, asking).await {
                Ok(answers) => self.print_all(&mut wanted, answers).await?,
                Err(status) => Some(status),
            };
            let Some(status) = ended else { return Ok(()) };
            let trouble = Trouble::from(status);
            if !trouble.is_lost() {
                eprintln!("watch was canceled ({trouble})");
                return Ok(());
            }
            self.client.hang_up().await;
            tokio::time::sleep(RESUME_INTERVAL).await;
        }
    }

    async fn start(
        &self,
        wanted: &Wanted,
        asking: &Asking,
    ) -> Result<Streaming<WatchResponse>, Status> {
        let (requests, outgoing) = mpsc::channel(REQUESTS_MAX);
        let request_union = Some(RequestUnion::CreateRequest(wanted.create.clone()));
        let sent = requests.send(WatchRequest { request_union }).await;
        sent.map_err(|_| Status::unavailable("the watch ended before it began"))?;
        asking.0.replace(requests);
        let line = self.client.line_with_leader().await;
        Ok(line.watch().watch(ReceiverStream::new(outgoing)).await?.into_inner())
    }

    /// Prints answers; how the stream ended, or nothing if the watch did.
    async fn print_all(
        &self,
        wanted: &mut Wanted,
        mut answers: Streaming<WatchResponse>,
    ) -> Result<Option<Status>, Failure> {
        loop {
            let answer = match answers.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return Ok(Some(Status::unavailable("the stream ended"))),
                Err(status) if std::error::Error::source(&status).is_some() => {
                    return Ok(Some(Status::unavailable(status.message())));
                }
                Err(status) => return Ok(Some(status)),
            };
            if answer.canceled {
                self.print_end(&answer)?;
                return Ok(None);
            }
            if answer.created {
                continue;
            }
            self.print(&answer, &wanted.command).await?;
            if let Some(last) = answer.events.iter().filter_map(|event| event.kv.as_ref()).last() {
                wanted.create.start_revision = last.mod_revision + 1;
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
    let (typed, mut lines) = mpsc::channel(REQUESTS_MAX);
    // It reads for ever, and ends with the process.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if typed.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut running: Vec<Rc<Asking>> = Vec::new();
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
    running: &mut Vec<Rc<Asking>>,
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
            let (watching, asking) = (Rc::clone(watching), Rc::new(Asking::idle()));
            running.push(Rc::clone(&asking));
            tokio::task::spawn_local(async move {
                if let Err(failure) = watching.follow(wanted, &asking).await {
                    failure.end();
                    std::process::exit(i32::from(failure.code));
                }
            });
        }
        Some("progress") => {
            for asking in running.iter() {
                let request_union = Some(RequestUnion::ProgressRequest(WatchProgressRequest {}));
                let requests = asking.0.borrow().clone();
                // A watch that is over is not asked.
                let _ = requests.send(WatchRequest { request_union }).await;
            }
        }
        Some(_) => eprintln!("Invalid command {text} (only support watch)"),
    }
    Ok(())
}

impl Asking {
    fn idle() -> Self {
        Self(std::cell::RefCell::new(mpsc::channel(REQUESTS_MAX).0))
    }
}

fn parse_typed(words: &[OsString]) -> Result<Wanted, Failure> {
    if words.last().is_some_and(|last| last == OsStr::new("--")) {
        return Err(Failure::words(NO_COMMAND));
    }
    let typed = tool::flags::parse::<Typed>(words)
        .map_err(|error| Failure::words(error.to_string().lines().next().unwrap_or_default()))?;
    Wanted::new(&typed.words, typed.command, &typed.scope)
}
