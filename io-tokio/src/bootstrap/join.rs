//! Joining a cluster that runs: who its members are, asked of any of them.
//!
//! ```text
//!   --initial-cluster  -->  GET /members of each other member, until one answers
//!                           its list and --initial-cluster must name the same URLs
//! ```
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/cluster_util.go`,
//! `server/etcdserver/api/membership/cluster.go` (ValidateClusterAndAssignIDs)

use std::time::Duration;

use quorate_core::config::Peer;
use quorate_core::ids::{ClusterId, MemberId};
use quorate_core::membership::MemberRecord;

use super::{Bootstrap, BootstrapError, resolve, show, texts};
use crate::cli::{Settings, Url};
use crate::transport::Dialer;

/// How long one member may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Longest list of members that is read.
const LIST_BYTES_MAX: usize = 1 << 20;

/// A cluster as one of its members tells it.
struct Running {
    cluster: ClusterId,
    members: Vec<MemberRecord>,
}

/// This member among those of the running cluster.
pub(super) async fn join(
    settings: &Settings,
    dialer: &Dialer,
) -> Result<Bootstrap, BootstrapError> {
    let mut reasons = Vec::new();
    let others = settings.initial_cluster.iter().filter(|(name, _)| *name != settings.name);
    for url in others.flat_map(|(_, urls)| urls) {
        let asked = tokio::time::timeout(ANSWER_MAX, ask(dialer, url)).await;
        match asked.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(running) => return place(settings, running),
            Err(reason) => reasons.push(format!("{url}: {reason}")),
        }
    }
    Err(BootstrapError::CannotAsk(reasons.join("; ")))
}

async fn ask(dialer: &Dialer, url: &Url) -> Result<Running, String> {
    let answer = dialer.get(url, "/members", LIST_BYTES_MAX).await?;
    let cluster = answer.headers().get("x-etcd-cluster-id");
    let cluster = cluster.and_then(|id| id.to_str().ok());
    let cluster = cluster.and_then(|id| u64::from_str_radix(id, 16).ok());
    let cluster = ClusterId(cluster.ok_or("it does not name its cluster")?);
    let members = serde_json::from_slice(answer.body()).map_err(|error| error.to_string())?;
    Ok(Running { cluster, members })
}

/// Finds every member of the flags among the running ones.
fn place(settings: &Settings, running: Running) -> Result<Bootstrap, BootstrapError> {
    let listed = &settings.initial_cluster;
    if listed.len() != running.members.len() {
        let running = running.members.iter().flat_map(|member| member.peer_urls.clone());
        let running = running.collect::<Vec<_>>().join(",");
        return Err(BootstrapError::CountMismatch(show(listed), running));
    }
    let mut own = None;
    for (name, urls) in listed {
        let found = running.members.iter().find(|member| names_same(urls, &member.peer_urls));
        let found = found.ok_or_else(|| BootstrapError::NoMatch(texts(urls).join(",")))?;
        if *name == settings.name {
            own = Some(MemberId(found.id));
        }
    }
    let peers = running.members.into_iter().map(|member| Peer {
        id: MemberId(member.id),
        name: member.name,
        peer_urls: member.peer_urls,
    });
    Ok(Bootstrap {
        member: own.ok_or_else(|| BootstrapError::LocalNameMissing(settings.name.clone()))?,
        cluster: running.cluster,
        peers: peers.collect(),
        is_new: false,
    })
}

/// Whether both name the same addresses; names may differ if they resolve alike.
fn names_same(listed: &[Url], running: &[String]) -> bool {
    let running: Vec<Url> = running.iter().filter_map(|url| Url::parse(url).ok()).collect();
    let is_same = |a: &Url, b: &Url| a == b || resolve(a).is_some_and(|at| resolve(b) == Some(at));
    listed.len() == running.len()
        && listed.iter().all(|url| running.iter().any(|other| is_same(url, other)))
}

#[cfg(test)]
mod tests;
