//! What is asked of every call before it is looked at.

use std::sync::atomic::{AtomicBool, Ordering};

use quorate_core::error::Refusal;
use tonic::metadata::MetadataMap;

use super::Front;

/// Looks in a row without a leader after which a stream that needs one ends.
const LEADERLESS_LOOKS_MAX: u32 = 3;

/// Remembers that the cluster's version was decided: it never is undecided again.
#[derive(Debug, Default)]
pub(super) struct Gate {
    is_capable: AtomicBool,
}

impl Gate {
    /// Whether a call may go on. Health is told whatever happens.
    pub(super) fn check(
        &self,
        front: &Front,
        path: &str,
        headers: &http::HeaderMap,
    ) -> Result<(), Refusal> {
        if path.starts_with("/grpc.health.v1.Health/") {
            return Ok(());
        }
        if !self.is_capable.load(Ordering::Relaxed) {
            if front.core.view().facts.cluster_version.is_empty() {
                return Err(Refusal::NotCapable);
            }
            self.is_capable.store(true, Ordering::Relaxed);
        }
        if headers.get("client-api-version").is_some_and(|value| value.to_str().is_err()) {
            return Err(Refusal::InvalidClientApiVersion);
        }
        let must_have_leader = headers.get("hasleader").is_some_and(|value| value == "true");
        if must_have_leader && front.core.view().facts.role.leader.is_none() {
            return Err(Refusal::NoLeader);
        }
        Ok(())
    }
}

/// Whether a client wants its stream to end when there is no leader.
pub(super) fn requires_leader(metadata: &MetadataMap) -> bool {
    metadata.get("hasleader").is_some_and(|value| value == "true")
}

/// Ends when the member has been without a leader for long, if that matters.
pub(super) async fn leader_lost(front: &Front, matters: bool) {
    if !matters {
        return std::future::pending().await;
    }
    let mut looks = 0;
    while looks < LEADERLESS_LOOKS_MAX {
        tokio::time::sleep(front.limits.election_timeout).await;
        looks = match front.core.view().facts.role.leader {
            Some(_) => 0,
            None => looks + 1,
        };
    }
}
