//! What is asked of every call before it is looked at.

use std::sync::atomic::{AtomicBool, Ordering};

use quorate_core::error::Refusal;
use quorate_core::view::Facts;

use super::Front;
use crate::metrics::Kind;

/// Looks in a row without a leader after which a stream that needs one ends.
const LEADERLESS_LOOKS_MAX: u32 = 3;

/// Remembers that the cluster's version was decided: it never is undecided again.
#[derive(Debug, Default)]
pub(super) struct Gate {
    is_capable: AtomicBool,
}

impl Gate {
    /// Whether a call may go on. Counts it by the version its client says it speaks.
    pub(super) fn check<B>(
        &self,
        front: &Front,
        kind: Kind,
        request: &http::Request<B>,
    ) -> Result<(), Refusal> {
        let headers = request.headers();
        let facts = &front.core.view().facts;
        if !self.is_capable.load(Ordering::Relaxed) {
            if facts.cluster_version.is_empty() {
                return Err(Refusal::NotCapable);
            }
            self.is_capable.store(true, Ordering::Relaxed);
        }
        if facts.is_fenced && !is_served_when_fenced(request.uri().path()) {
            return Err(Refusal::Corrupt);
        }
        if is_learner(facts) && !is_served_by_learners(request.uri().path()) {
            return Err(Refusal::NotSupportedForLearner);
        }
        let version = headers.get("client-api-version").map(http::HeaderValue::as_bytes);
        let version = str::from_utf8(version.unwrap_or(b"unknown"))
            .map_err(|_| Refusal::InvalidClientApiVersion)?;
        front.metrics.clients.count(version, kind == Kind::Unary);
        if requires_leader(headers) && facts.role.leader.is_none() {
            return Err(Refusal::NoLeader);
        }
        Ok(())
    }
}

/// Whether this member is a learner, which serves little.
pub(super) fn is_learner(facts: &Facts) -> bool {
    facts.members.iter().any(|member| member.is_learner && member.id == facts.member.get())
}

/// A member whose state is not to be trusted tells that it is there.
fn is_served_when_fenced(path: &str) -> bool {
    path == "/etcdserverpb.Maintenance/Status"
}

/// Of ranges only those that take what the member has; that is judged when they are read.
fn is_served_by_learners(path: &str) -> bool {
    matches!(
        path,
        "/etcdserverpb.Maintenance/Status"
            | "/etcdserverpb.Maintenance/Snapshot"
            | "/etcdserverpb.KV/Range"
    )
}

/// Whether a client wants its stream to end when there is no leader.
pub(super) fn requires_leader(headers: &http::HeaderMap) -> bool {
    headers.get("hasleader").is_some_and(|value| value == "true")
}

/// Ends when the member has been without a leader for long.
pub(super) async fn leader_lost(front: Front) {
    let mut looks = 0;
    while looks < LEADERLESS_LOOKS_MAX {
        tokio::time::sleep(front.limits.election_timeout).await;
        looks = match front.core.view().facts.role.leader {
            Some(_) => 0,
            None => looks + 1,
        };
    }
}
