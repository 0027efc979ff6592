//! `Maintenance.Downgrade`: taking the cluster's version one minor down, and thinking better of it.
//!
//! Each of its actions first makes sure that this member is current, as a read does. What a
//! downgrade is good for is decided elsewhere ([`upkeep::version`](crate::upkeep)).
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/v3_server.go` (Downgrade),
//! `server/etcdserver/version/version.go`

use alloc::string::ToString;

use quorate_proto::etcdserverpb::{
    DowngradeRequest, InternalRaftRequest, downgrade_request::DowngradeAction,
};
use quorate_proto::membershippb::DowngradeInfoSetRequest;

use super::{Reader, State};
use crate::door::pending::Waiter;
use crate::error::Refusal;
use crate::ids::Token;
use crate::membership::MinorVersion;
use crate::output::Response;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Would it be possible?
    Validate(MinorVersion),
    /// Do it.
    Enable(MinorVersion),
    /// Leave it.
    Cancel,
}

impl Wish {
    fn parse(request: &DowngradeRequest) -> Result<Self, Refusal> {
        let target = || MinorVersion::parse_target(&request.version);
        let target = || target().ok_or(Refusal::WrongDowngradeVersionFormat);
        Ok(match request.action() {
            DowngradeAction::Validate => Self::Validate(target()?),
            DowngradeAction::Enable => Self::Enable(target()?),
            DowngradeAction::Cancel => Self::Cancel,
        })
    }
}

impl State {
    pub(super) fn admit_downgrade(
        &mut self,
        token: Token,
        request: &DowngradeRequest,
    ) -> Result<(), Refusal> {
        let wish = Wish::parse(request)?;
        if self.ledgers.members.version().is_none() {
            return Err(Refusal::ClusterVersionUnavailable);
        }
        self.lane.enter(self.now, Reader::Downgrade(token, wish))
    }

    /// This member is current: the wish can be judged.
    pub(super) fn consider_downgrade(&mut self, token: Token, wish: Wish) {
        let entry = match self.judge_downgrade(wish) {
            Ok(Some(set)) => InternalRaftRequest {
                downgrade_info_set: Some(set.into()),
                ..InternalRaftRequest::default()
            },
            Ok(None) => {
                let mut response = self.ledgers.members.tell_downgrade();
                response.header = Some(self.header());
                return self.respond(token, Ok(Response::Downgrade(response)));
            }
            Err(refusal) => return self.respond(token, Err(refusal)),
        };
        if let Err(refusal) = self.propose(entry, Waiter::Client(token)) {
            self.respond(token, Err(refusal));
        }
    }

    /// What is to be proposed for it, if anything.
    fn judge_downgrade(&self, wish: Wish) -> Result<Option<DowngradeInfoSetRequest>, Refusal> {
        let members = &self.ledgers.members;
        match wish {
            Wish::Validate(target) => members.check_downgrade(target).map(|()| None),
            Wish::Enable(target) => {
                members.check_downgrade(target)?;
                Ok(Some(DowngradeInfoSetRequest { enabled: true, ver: target.to_string() }))
            }
            // As etcd: that none is under way is no reason to refuse.
            Wish::Cancel => Ok(members.downgrade().map(|_| DowngradeInfoSetRequest::default())),
        }
    }
}
