//! `member`, `move-leader` and `downgrade`.

use std::ffi::OsString;

use clap::{Args, Subcommand};
use quorate_proto::etcdserverpb::downgrade_request::DowngradeAction;
use quorate_proto::etcdserverpb::{
    DowngradeRequest, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberPromoteRequest,
    MemberRemoveRequest, MemberUpdateRequest, MoveLeaderRequest, ResponseHeader, StatusRequest,
};

use super::Session;
use super::client::{Line, Repeat};
use super::get::is_serializable;
use super::number::parse_member;
use super::print::{Members, Said};
use crate::tool::Failure;
use crate::tool::quote::quote;

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Words {
    /// Adds a member to the cluster
    Add {
        /// where the others reach it, URLs separated by commas
        #[arg(long, default_value = "")]
        peer_urls: String,
        /// it follows, and does not vote
        #[arg(long)]
        learner: bool,
        #[arg(value_name = "<memberName> [options]")]
        words: Vec<OsString>,
    },
    /// Removes a member from the cluster
    Remove {
        #[arg(value_name = "<memberID>")]
        words: Vec<OsString>,
    },
    /// Changes where the others reach a member
    Update {
        /// where the others reach it, URLs separated by commas
        #[arg(long, default_value = "")]
        peer_urls: String,
        #[arg(value_name = "<memberID> [options]")]
        words: Vec<OsString>,
    },
    /// Lists all members of the cluster
    List {
        /// linearizable (l) or serializable (s)
        #[arg(long, default_value = "l")]
        consistency: String,
        #[arg(value_name = "")]
        words: Vec<OsString>,
    },
    /// Makes a member that follows one that votes
    Promote {
        #[arg(value_name = "<memberID>")]
        words: Vec<OsString>,
    },
}

/// Does it.
pub(super) async fn run(words: Words, session: &Session) -> Result<(), Failure> {
    match words {
        Words::Add { peer_urls, learner, words } => add(&words, &peer_urls, learner, session).await,
        Words::Remove { words } => remove(&words, session).await,
        Words::Update { peer_urls, words } => update(&words, &peer_urls, session).await,
        Words::List { consistency, .. } => list(&consistency, session).await,
        Words::Promote { words } => promote(&words, session).await,
    }
}

async fn add(
    words: &[OsString],
    peer_urls: &str,
    is_learner: bool,
    session: &Session,
) -> Result<(), Failure> {
    let name = match words {
        [] => return Err(Failure::words("member name not provided")),
        [name] => name.to_string_lossy(),
        _ => {
            let words = words.iter().map(|word| word.to_string_lossy());
            let urls = words.filter(|word| word.to_lowercase().starts_with("http"));
            let meant = urls.map(|url| format!(", did you mean --peer-urls={url}"));
            return Err(Failure::words(format!("too many arguments{}", meant.collect::<String>())));
        }
    };
    let peer_ur_ls = split(peer_urls)?;
    peer_ur_ls.iter().try_for_each(|url| check_url(url))?;
    let request = MemberAddRequest { peer_ur_ls, is_learner };
    let asked = async |line: Line| line.cluster().member_add(request.clone()).await;
    let answer = session.ask(session.within(), Repeat::Never, asked).await?;
    let printer = session.printer()?;
    let words = Some(added(&answer, &name, peer_urls));
    printer.print(&Members { reply: &answer, words })
}

/// What was added, and how it is to be started.
fn added(answer: &MemberAddResponse, name: &str, peer_urls: &str) -> String {
    let member = answer.member.clone().unwrap_or_default();
    let cluster = answer.header.as_ref().map_or(0, |header| header.cluster_id);
    let role = if member.is_learner { " as learner " } else { " " };
    let all = answer.members.iter().flat_map(|known| {
        let name = if known.id == member.id { name } else { known.name.as_str() };
        known.peer_ur_ls.iter().map(move |url| format!("{name}={url}"))
    });
    let all = all.collect::<Vec<_>>().join(",");
    format!(
        "Member {:16x} added{role}to cluster {cluster:16x}\n\nETCD_NAME={}\n\
         ETCD_INITIAL_CLUSTER={}\nETCD_INITIAL_ADVERTISE_PEER_URLS={}\n\
         ETCD_INITIAL_CLUSTER_STATE=\"existing\"\n",
        member.id,
        quote(name.as_bytes()),
        quote(all.as_bytes()),
        quote(peer_urls.as_bytes())
    )
}

fn split(peer_urls: &str) -> Result<Vec<String>, Failure> {
    if peer_urls.is_empty() {
        return Err(Failure::words("member peer urls not provided"));
    }
    Ok(peer_urls.split(',').map(str::to_owned).collect())
}

/// Refuses what no member can be reached by, before a server does.
fn check_url(url: &str) -> Result<(), Failure> {
    let url = url.trim();
    let wrong = |what: &str| Err(Failure::new(format!("{what}: {url}")));
    let Some((scheme, rest)) = url.split_once("://") else {
        return wrong("URL scheme must be http, https, unix, or unixs");
    };
    match scheme {
        "unix" | "unixs" => return Ok(()),
        "http" | "https" => {}
        _ => return wrong("URL scheme must be http, https, unix, or unixs"),
    }
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    if !has_port {
        return wrong("URL address does not have the form \"host:port\"");
    }
    if path.is_empty() { Ok(()) } else { wrong("URL must not contain a path") }
}

/// The member a command is for.
fn member_of(words: &[OsString]) -> Result<u64, Failure> {
    let [id] = words else { return Err(Failure::words("member ID is not provided")) };
    parse_member(id)
        .map_err(|why| Failure::words(format!("bad member ID arg ({why}), expecting ID in Hex")))
}

fn done(id: u64, what: &str, header: Option<&ResponseHeader>) -> Option<String> {
    let cluster = header.map_or(0, |header| header.cluster_id);
    Some(format!("Member {id:16x} {what} cluster {cluster:16x}\n"))
}

async fn remove(words: &[OsString], session: &Session) -> Result<(), Failure> {
    let id = member_of(words)?;
    let asked = async |line: Line| line.cluster().member_remove(MemberRemoveRequest { id }).await;
    let answer = session.ask(session.within(), Repeat::Never, asked).await?;
    let words = done(id, "removed from", answer.header.as_ref());
    session.printer()?.print(&Members { reply: &answer, words })
}

async fn update(words: &[OsString], peer_urls: &str, session: &Session) -> Result<(), Failure> {
    let id = member_of(words)?;
    let request = MemberUpdateRequest { id, peer_ur_ls: split(peer_urls)? };
    request.peer_ur_ls.iter().try_for_each(|url| check_url(url))?;
    let asked = async |line: Line| line.cluster().member_update(request.clone()).await;
    let answer = session.ask(session.within(), Repeat::Never, asked).await?;
    let words = done(id, "updated in", answer.header.as_ref());
    session.printer()?.print(&Members { reply: &answer, words })
}

async fn promote(words: &[OsString], session: &Session) -> Result<(), Failure> {
    let id = member_of(words)?;
    let asked = async |line: Line| line.cluster().member_promote(MemberPromoteRequest { id }).await;
    let answer = session.ask(session.within(), Repeat::Never, asked).await?;
    let words = done(id, "promoted in", answer.header.as_ref());
    session.printer()?.print(&Members { reply: &answer, words })
}

async fn list(consistency: &str, session: &Session) -> Result<(), Failure> {
    let linearizable = !is_serializable(consistency)?;
    let request = MemberListRequest { linearizable };
    let asked = async |line: Line| line.cluster().member_list(request).await;
    let answer = session.ask(session.within(), Repeat::IfLost, asked).await?;
    session.printer()?.print(&Members { reply: &answer, words: None })
}

/// Whom to make the leader.
#[derive(Args, Debug)]
pub(super) struct MoveLeader {
    #[arg(value_name = "<transferee-member-id>")]
    words: Vec<OsString>,
}

/// Does it.
pub(super) async fn move_leader(words: MoveLeader, session: &Session) -> Result<(), Failure> {
    let [target] = words.words.as_slice() else {
        return Err(Failure::words("move-leader command needs 1 argument"));
    };
    let target_id = parse_member(target).map_err(Failure::words)?;
    let client = session.client().await?;
    for endpoint in client.endpoints() {
        let client = client.at(endpoint);
        let asked = async |line: Line| line.maintenance().status(StatusRequest {}).await;
        let status = client.call(session.within(), Repeat::IfLost, asked).await?;
        if status.header.is_none_or(|header| header.member_id != status.leader) {
            continue;
        }
        let request = MoveLeaderRequest { target_id };
        let asked = async |line: Line| line.maintenance().move_leader(request).await;
        let answer = client.call(session.within(), Repeat::IfLost, asked).await?;
        let (from, to) = (status.leader, target_id);
        let words = format!("Leadership transferred from {from:x} to {to:x}\n");
        return session.printer()?.print(&Said::new(&answer, words));
    }
    let endpoints = client.endpoints().collect::<Vec<_>>().join(" ");
    Err(Failure::words(format!("no leader endpoint given at [{endpoints}]")))
}

/// What to do about a downgrade.
#[derive(Debug, Subcommand)]
pub(super) enum Downgrade {
    /// Says whether the cluster could be downgraded
    Validate {
        #[arg(value_name = "<TARGET_VERSION>")]
        words: Vec<OsString>,
    },
    /// Starts a downgrade
    Enable {
        #[arg(value_name = "<TARGET_VERSION>")]
        words: Vec<OsString>,
    },
    /// Calls a downgrade off
    Cancel {
        #[arg(value_name = "")]
        words: Vec<OsString>,
    },
}

/// Does it.
pub(super) async fn downgrade(words: Downgrade, session: &Session) -> Result<(), Failure> {
    let (action, what, version) = match &words {
        Downgrade::Validate { words } => (DowngradeAction::Validate, "validate", target(words)?),
        Downgrade::Enable { words } => (DowngradeAction::Enable, "enable", target(words)?),
        Downgrade::Cancel { .. } => (DowngradeAction::Cancel, "cancel", String::new()),
    };
    let request = DowngradeRequest { action: action as i32, version };
    let asked = async |line: Line| line.maintenance().downgrade(request.clone()).await;
    let answer = session.ask(session.within(), Repeat::Never, asked).await?;
    let words = format!("Downgrade {what} success, cluster version {}\n", answer.version);
    session.printer()?.print(&Said::new(&answer, words))
}

fn target(words: &[OsString]) -> Result<String, Failure> {
    match words {
        [] => Err(Failure::words("TARGET_VERSION not provided")),
        [version] if version.is_empty() => Err(Failure::words("target version not provided")),
        [version] => Ok(version.to_string_lossy().into_owned()),
        _ => Err(Failure::words("too many arguments")),
    }
}
