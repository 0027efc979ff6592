//! `lock`: held while a command runs, or until a signal.

use std::ffi::OsString;

use clap::Args;
use quorate_proto::etcdserverpb::RangeRequest;
use quorate_proto::v3lockpb::{LockRequest, UnlockRequest};

use super::client::{Client, Line, Repeat};
use super::get::bytes;
use super::session_lease::SessionLease;
use super::{Session, exec, signals};
use crate::tool::Failure;

/// What to lock.
#[derive(Args, Debug)]
pub(super) struct Words {
    /// seconds the lock outlives this command if that dies
    #[arg(long, default_value_t = 10)]
    ttl: i64,
    #[arg(value_name = "<lockname> [exec-command arg1 arg2 ...]")]
    words: Vec<OsString>,
}

/// Does it.
pub(super) async fn lock(words: Words, session: &Session) -> Result<(), Failure> {
    let Some((name, command)) = words.words.split_first() else {
        return Err(Failure::words(
            "lock takes a lock name argument and an optional command to execute",
        ));
    };
    let client = session.client().await?;
    let lease = SessionLease::grant(&client, words.ttl).await?;
    tokio::select! {
        biased;
        held = hold(name, command, &client, &lease, session) => held,
        () = lease.keep() => Err(Failure::new("session expired")),
    }
}

async fn hold(
    name: &OsString,
    command: &[OsString],
    client: &Client,
    lease: &SessionLease<'_>,
    session: &Session,
) -> Result<(), Failure> {
    let mut ended = signals::ended()?;
    let request = LockRequest { name: bytes(name), lease: lease.id };
    let asked = async |line: Line| line.lock().lock(request.clone()).await;
    let locked = tokio::select! {
        biased;
        () = ended.wait() => return Err(Failure::new("context canceled")),
        locked = client.call(None, Repeat::Never, asked) => locked?,
    };
    let unlock = async || -> Result<(), Failure> {
        let request = UnlockRequest { key: locked.key.clone() };
        let asked = async |line: Line| line.lock().unlock(request.clone()).await;
        Ok(client.call(None, Repeat::IfLost, asked).await.map(|_| ())?)
    };
    if !command.is_empty() {
        let revision = locked.header.as_ref().map_or(0, |header| header.revision);
        let key = String::from_utf8_lossy(&locked.key).into_owned();
        let ran = run(command, &key, revision).await;
        let unlocked = unlock().await;
        return ran.and(unlocked);
    }
    let request = RangeRequest { key: locked.key.clone(), ..RangeRequest::default() };
    let asked = async |line: Line| line.kv().range(request.clone()).await;
    let found = client.call(None, Repeat::IfLost, asked).await?;
    if found.kvs.is_empty() {
        return Err(Failure::new("lock lost on init"));
    }
    session.printer()?.print(&found)?;
    ended.wait().await;
    unlock().await
}

async fn run(command: &[OsString], key: &str, revision: i64) -> Result<(), Failure> {
    let (program, words) = (&command[0], &command[1..]);
    let mut run = tokio::process::Command::new(program);
    run.args(words).env("ETCD_LOCK_KEY", key).env("ETCD_LOCK_REV", revision.to_string());
    // Go's commands read nothing unless they are told to.
    run.stdin(std::process::Stdio::null());
    match run.status().await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
            Err(Failure { code, text: exec::ended(status) })
        }
        Err(error) => Err(Failure::new(exec::not_started(program, &error))),
    }
}
