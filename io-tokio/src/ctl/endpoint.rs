//! `endpoint`, `alarm`, `defrag` and `snapshot`: what each endpoint is asked by itself.

use std::ffi::OsString;
use std::time::Instant;

use clap::{Args, Subcommand};
use quorate_proto::etcdserverpb::alarm_request::AlarmAction;
use quorate_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, HashKvRequest,
    MemberListRequest, RangeRequest, StatusRequest,
};

use super::client::{Client, Line, Repeat, Trouble};
use super::print::{Hash, Hashes, Health, Healths, Said, Status, Statuses};
use super::{Session, save};
use crate::cli::show_duration;
use crate::tool::{self, Failure};

/// Which endpoints.
#[derive(Args, Debug)]
pub(super) struct Scope {
    /// ask all members of the cluster
    #[arg(long, global = true)]
    cluster: bool,
}

/// What to ask.
#[derive(Debug, Subcommand)]
pub(super) enum Words {
    /// Says whether endpoints are well
    Health {
        #[arg(value_name = "")]
        words: Vec<OsString>,
    },
    /// Tells what endpoints' members are doing
    Status {
        #[arg(value_name = "")]
        words: Vec<OsString>,
    },
    /// Prints the hash of what endpoints' members hold
    Hashkv {
        /// last revision to hash; 0 for the newest
        #[arg(long, default_value_t = 0)]
        rev: i64,
        #[arg(value_name = "")]
        words: Vec<OsString>,
    },
}

/// Does it.
pub(super) async fn run(words: Words, scope: &Scope, session: &Session) -> Result<(), Failure> {
    match words {
        Words::Health { .. } => health(scope, session).await,
        Words::Status { .. } => status(scope, session).await,
        Words::Hashkv { rev, .. } => hash_kv(rev, scope, session).await,
    }
}

/// The endpoints that are meant.
async fn endpoints(scope: &Scope, session: &Session) -> Result<Vec<String>, Failure> {
    if !scope.cluster {
        let endpoints = session.endpoints().await?;
        session.check()?;
        session.globals.reach.way()?;
        return Ok(endpoints);
    }
    // Whatever is wrong here is a failure like any other.
    let client = session.client().await.map_err(|failure| Failure::new(failure.text))?;
    let request = MemberListRequest { linearizable: true };
    let asked = async |line: Line| line.cluster().member_list(request).await;
    let answer = client.call(session.within(), Repeat::IfLost, asked).await.map_err(|trouble| {
        let what = "failed to fetch endpoints from etcd cluster member list";
        Failure::new(format!("{what}: {trouble}"))
    })?;
    Ok(answer.members.into_iter().flat_map(|member| member.client_ur_ls).collect())
}

/// A client of one endpoint.
async fn client_of(endpoint: &str, session: &Session) -> Result<Client, Failure> {
    session.client_at(&[endpoint.to_owned()]).await
}

async fn health(scope: &Scope, session: &Session) -> Result<(), Failure> {
    let endpoints = endpoints(scope, session).await?;
    let asked = endpoints.iter().map(|endpoint| look(endpoint, session));
    let healths = Healths(futures_util::future::join_all(asked).await);
    session.printer()?.print(&healths)?;
    if healths.0.iter().any(|health| !health.error.is_empty()) {
        return Err(Failure::new("unhealthy cluster"));
    }
    Ok(())
}

async fn look(endpoint: &str, session: &Session) -> Health {
    let endpoint = endpoint.to_owned();
    let client = match client_of(&endpoint, session).await {
        Ok(client) => client,
        Err(failure) => return Health { endpoint, took: String::new(), error: failure.text },
    };
    let started = Instant::now();
    let request = RangeRequest { key: "health".into(), ..RangeRequest::default() };
    let asked = async |line: Line| line.kv().range(request.clone()).await;
    let answer = client.call(session.within(), Repeat::IfLost, asked).await;
    let took = show_duration(started.elapsed());
    let error = match answer {
        // That too was answered by a majority.
        Err(trouble) if !trouble.is("etcdserver: permission denied") => trouble.to_string(),
        _ => match alarm_call(AlarmAction::Get, 0, AlarmType::None, &client, session).await {
            Err(_) => "Unable to fetch the alarm list".to_owned(),
            Ok(answer) if answer.alarms.is_empty() => String::new(),
            Ok(answer) => {
                let names = answer.alarms.iter().map(|alarm| alarm_name(alarm.alarm));
                let names = names.map(|name| format!("{name} "));
                format!("Active Alarm(s): {}", names.collect::<String>())
            }
        },
    };
    Health { endpoint, took, error }
}

fn alarm_name(alarm: i32) -> &'static str {
    match AlarmType::try_from(alarm) {
        Ok(AlarmType::Nospace) => "NOSPACE",
        Ok(AlarmType::Corrupt) => "CORRUPT",
        _ => "UNKNOWN",
    }
}

async fn status(scope: &Scope, session: &Session) -> Result<(), Failure> {
    let (mut found, mut is_whole) = (Vec::new(), true);
    for endpoint in endpoints(scope, session).await? {
        let client = client_of(&endpoint, session).await?;
        let asked = async |line: Line| line.maintenance().status(StatusRequest {}).await;
        match client.call(session.within(), Repeat::IfLost, asked).await {
            Ok(reply) => found.push(Status { endpoint, reply }),
            Err(trouble) => {
                is_whole = false;
                eprintln!("Failed to get the status of endpoint {endpoint} ({trouble})");
            }
        }
    }
    session.printer()?.print(&Statuses(found))?;
    if is_whole { Ok(()) } else { Err(Failure::told()) }
}

async fn hash_kv(revision: i64, scope: &Scope, session: &Session) -> Result<(), Failure> {
    let (mut found, mut last) = (Vec::new(), None);
    let request = HashKvRequest { revision };
    for endpoint in endpoints(scope, session).await? {
        let client = client_of(&endpoint, session).await?;
        let asked = async |line: Line| line.maintenance().hash_kv(request).await;
        match client.call(session.within(), Repeat::IfLost, asked).await {
            Ok(reply) => found.push(Hash { endpoint, reply }),
            Err(trouble) => {
                eprintln!("Failed to get the hash of endpoint {endpoint} ({trouble})");
                last = Some(trouble);
            }
        }
    }
    session.printer()?.print(&Hashes(found))?;
    last.map_or(Ok(()), |trouble| Err(trouble.into()))
}

/// Which members to defragment.
#[derive(Args, Debug)]
pub(super) struct Defrag {
    #[command(flatten)]
    scope: Scope,
    #[arg(value_name = "")]
    words: Vec<OsString>,
}

/// Does it, one after the other.
pub(super) async fn defragment(words: Defrag, session: &Session) -> Result<(), Failure> {
    let mut is_whole = true;
    for endpoint in endpoints(&words.scope, session).await? {
        let client = client_of(&endpoint, session).await?;
        let started = Instant::now();
        let asked = async |line: Line| line.maintenance().defragment(DefragmentRequest {}).await;
        let answer = client.call(session.within(), Repeat::Never, asked).await;
        let took = show_duration(started.elapsed());
        let what = format!("etcd member[{endpoint}]. took {took}");
        match answer {
            Ok(_) => tool::print(format!("Finished defragmenting {what}\n").as_bytes())?,
            Err(trouble) => {
                is_whole = false;
                eprintln!("Failed to defragment {what}. ({trouble})");
            }
        }
    }
    if is_whole { Ok(()) } else { Err(Failure::told()) }
}

/// What to do about alarms.
#[derive(Debug, Subcommand)]
pub(super) enum Alarm {
    /// Switches all alarms off
    Disarm {
        #[arg(value_name = "")]
        words: Vec<OsString>,
    },
    /// Lists all alarms
    List {
        #[arg(value_name = "")]
        words: Vec<OsString>,
    },
}

/// Does it.
pub(super) async fn alarm(words: Alarm, session: &Session) -> Result<(), Failure> {
    let (name, words, is_disarm) = match &words {
        Alarm::Disarm { words } => ("disarm", words, true),
        Alarm::List { words } => ("list", words, false),
    };
    if !words.is_empty() {
        return Err(Failure::words(format!("alarm {name} command accepts no arguments")));
    }
    let client = session.client().await?;
    let mut answer = alarm_call(AlarmAction::Get, 0, AlarmType::None, &client, session).await?;
    if is_disarm {
        // What comes of several answers has no header.
        let alarms = std::mem::take(&mut answer).alarms;
        for found in alarms {
            let kind = AlarmType::try_from(found.alarm).unwrap_or(AlarmType::None);
            let (off, member) = (AlarmAction::Deactivate, found.member_id);
            let disarmed = alarm_call(off, member, kind, &client, session).await?;
            answer.alarms.extend(disarmed.alarms);
        }
    }
    let line = |alarm: &AlarmMember| {
        let member = match alarm.member_id {
            0 => String::new(),
            id => format!("memberID:{id} "),
        };
        format!("{member}alarm:{}\n", alarm_name(alarm.alarm))
    };
    let lines = answer.alarms.iter().map(line).collect();
    let printed = Said::with_fields(&answer, lines, |answer, ink, fields| {
        for alarm in &answer.alarms {
            fields.id("MemberID", alarm.member_id, ink);
            fields.value("AlarmType", alarm_name(alarm.alarm));
            fields.gap();
        }
    });
    session.printer()?.print(&printed)
}

async fn alarm_call(
    action: AlarmAction,
    member_id: u64,
    alarm: AlarmType,
    client: &Client,
    session: &Session,
) -> Result<AlarmResponse, Trouble> {
    let request = AlarmRequest { action: action as i32, member_id, alarm: alarm as i32 };
    let asked = async |line: Line| line.maintenance().alarm(request).await;
    client.call(session.within(), Repeat::IfLost, asked).await
}

/// What to do with snapshots.
#[derive(Debug, Subcommand)]
pub(super) enum Snapshot {
    /// Saves what a member holds to a file
    Save {
        #[arg(value_name = "<filename>")]
        words: Vec<OsString>,
    },
}

/// Does it.
pub(super) async fn snapshot(words: Snapshot, session: &Session) -> Result<(), Failure> {
    let Snapshot::Save { words } = words;
    let [path] = words.as_slice() else {
        return Err(Failure::words("snapshot save expects one argument <filename>"));
    };
    save::save(path.as_ref(), session).await
}
