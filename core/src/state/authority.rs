//! In whose name: the identities that requests come with, and our own.

use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;

use super::State;
use crate::auth::gate::{self, Gate};
use crate::auth::{Identity, ROOT};
use crate::error::Refusal;
use crate::ids::{LeaseId, StreamId};
use crate::input::Request;

impl State {
    /// What is judged at the door: calls that no entry carries, or whose entries nobody judges.
    pub(super) fn check_rights(&self, who: &Identity, request: &Request) -> Result<(), Refusal> {
        let book = &self.ledgers.auth.book;
        let gate = Gate { book, who, leases: &self.ledgers.leases };
        match request {
            Request::LeaseGrant(_) | Request::LeaseRevoke(_) => book.check_somebody(who),
            Request::LeaseKeepAlive(renewal) => {
                book.check_somebody(who)?;
                gate.check_lease_renewal(LeaseId(renewal.id))
            }
            Request::LeaseTimeToLive(ask) => {
                book.check_somebody(who)?;
                if ask.keys { gate.check_lease_keys(LeaseId(ask.id)) } else { Ok(()) }
            }
            Request::LeaseLeases(_) => {
                book.check_somebody(who)?;
                let all = self.ledgers.leases.list();
                all.into_iter().try_for_each(|lease| gate.check_lease_keys(lease))
            }
            Request::Alarm(alarm) if alarm.action == pb::alarm_request::AlarmAction::Get as i32 => {
                book.check_somebody(who)
            }
            Request::Alarm(_)
            | Request::Compact(_)
            | Request::MoveLeader(_)
            | Request::Downgrade(_)
            | Request::MemberAdd(_)
            | Request::MemberRemove(_)
            | Request::MemberUpdate(_)
            | Request::MemberPromote(_) => book.check_root(who),
            // Their entries are judged when they are applied.
            Request::Put(_) | Request::DeleteRange(_) | Request::Txn(_) | Request::Auth(_) => {
                Ok(())
            }
        }
    }

    /// What the core does by itself it does as root, as soon as there is one: auth may be on by the
    /// time it is applied.
    pub(super) fn own_identity(&self) -> Identity {
        let book = &self.ledgers.auth.book;
        if book.roles_of(ROOT).is_err() {
            return Identity::default();
        }
        Identity { user: ROOT.into(), revision: book.revision() }
    }

    pub(super) fn handle_watch(
        &mut self,
        stream: StreamId,
        who: Result<Identity, Refusal>,
        message: pb::WatchRequest,
    ) {
        self.draft.has_new_view = true;
        if let Some(RequestUnion::CreateRequest(create)) = &message.request_union
            // What no watch can begin at is refused for that, whoever asks.
            && create.start_revision >= 0
        {
            let book = &self.ledgers.auth.book;
            let keys = (&create.key, &create.range_end);
            let checked = who.and_then(|who| gate::check_watch(book, &who, keys));
            if let Err(refusal) = checked {
                return self.hub.handle_refused(self.now, stream, gate::watch_words(refusal));
            }
        }
        self.hub.handle_message(self.now, stream, message);
    }

    pub(super) fn handle_token_used(&mut self, token: &str) {
        if self.ledgers.auth.tokens.renew(token, self.now) {
            self.draft.has_new_facts = true;
            self.draft.has_new_view = true;
        }
    }
}
