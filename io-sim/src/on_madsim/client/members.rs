//! Who is in the group, and how a member is.

use quorate_proto::etcdserverpb as pb;

use super::words::answer;
use super::{Answer, Ask, Client, Result, unexpected};

answer! {
    /// Who is in the group.
    MemberListResponse, MemberListResponse
}
answer! {
    /// How a member is.
    StatusResponse, StatusResponse
}

impl MemberListResponse {
    /// The members.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.0.members.iter().cloned().map(Member).collect()
    }
}

impl StatusResponse {
    /// Who leads, by id; 0 for nobody.
    #[must_use]
    pub const fn leader(&self) -> u64 {
        self.0.leader
    }

    /// Its term.
    #[must_use]
    pub const fn raft_term(&self) -> u64 {
        self.0.raft_term
    }

    /// The last entry it has applied.
    #[must_use]
    pub const fn raft_applied_index(&self) -> u64 {
        self.0.raft_applied_index
    }
}

/// A member of the group.
#[derive(Clone, Debug, PartialEq)]
pub struct Member(pb::Member);

impl Member {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.0.id
    }

    /// Its name; empty until it has started.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Where the others find it.
    #[must_use]
    pub fn peer_urls(&self) -> &[String] {
        &self.0.peer_ur_ls
    }

    /// Where clients find it.
    #[must_use]
    pub fn client_urls(&self) -> &[String] {
        &self.0.client_ur_ls
    }

    /// Whether it has no vote.
    #[must_use]
    pub const fn is_learner(&self) -> bool {
        self.0.is_learner
    }
}

impl Client {
    /// Who is in the group now.
    ///
    /// # Errors
    /// As `put`.
    pub async fn member_list(&mut self) -> Result<MemberListResponse> {
        match self.ask(|| Ask::Members { is_linearizable: true }, true).await? {
            Answer::Members(list) => Ok(MemberListResponse(list)),
            other => Err(unexpected(&other)),
        }
    }

    /// How some member is.
    ///
    /// # Errors
    /// As `put`.
    pub async fn status(&mut self) -> Result<StatusResponse> {
        match self.ask(|| Ask::Status, true).await? {
            Answer::Status(status) => Ok(StatusResponse(status)),
            other => Err(unexpected(&other)),
        }
    }
}
