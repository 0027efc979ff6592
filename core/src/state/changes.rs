//! Changes of the group, and of its leader.
//!
//! ```text
//!   MemberAdd --> pending --leader here--> queue --judged--> Propose --committed--> apply
//!                    '--leader elsewhere--> ChangeWish --> the leader's queue ...      |
//!        the answer <------------------- applied here as well <------------------------'
//! ```
//!
//! The leader judges changes one at a time, each on the group that the one before it left: two
//! that are wise alone may together cost the quorum. It begins when everything of earlier terms is
//! applied. A wish is for one term; should its leader die, whoever wished knows from the first
//! entry of a later term whether the change is lost, and wishes again.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/server.go` (AddMember, RemoveMember, MoveLeader)

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message as _;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::peer::{ChangeRefusal, ChangeWish, PeerMessage, peer_message::Message};
use quorate_proto::raftpb::ConfChange;

use super::State;
use crate::door::pending::{Sending, Waiter};
use crate::error::Refusal;
use crate::ids::{MemberId, RequestId, Term, Token};
use crate::input::Request;
use crate::limits::{CHANGES_WAITING_MAX, TRANSFERS_WAITING_MAX};
use crate::membership::{Change, Circumstances, MemberRecord};
use crate::output::{Response, StateOutput};
use crate::storage::EntryKind;
use crate::time::{Time, Wake};

/// Changes of the group at their leader.
#[derive(Debug, Default)]
pub(super) struct Changes {
    waiting: VecDeque<Wish>,
    /// The one in the log and not applied yet.
    proposed: Option<RequestId>,
}

/// A change somebody wants.
#[derive(Debug)]
struct Wish {
    id: RequestId,
    /// The member whose client it is, if that is another.
    from: Option<MemberId>,
    data: Bytes,
}

/// A client that waits for leadership to arrive somewhere.
#[derive(Debug)]
pub(super) struct Transfer {
    token: Token,
    to: MemberId,
    deadline: Time,
}

impl Changes {
    /// Takes a wish in, unless too many wait.
    fn insert(&mut self, wish: Wish) -> Result<(), Wish> {
        if self.waiting.len() >= CHANGES_WAITING_MAX {
            return Err(wish);
        }
        self.waiting.push_back(wish);
        Ok(())
    }

    /// The change under way is applied, or will never be.
    pub(super) fn on_settled(&mut self) {
        self.proposed = None;
    }

    /// This member leads no longer, or in another term: whoever wished something finds out.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What a request for another group asks for.
fn wanted(request: &Request) -> Option<Change> {
    Some(match request {
        Request::MemberAdd(addition) => Change::Add(MemberRecord {
            id: addition.id.get(),
            peer_urls: addition.request.peer_ur_ls.clone(),
            is_learner: addition.request.is_learner,
            ..MemberRecord::default()
        }),
        Request::MemberRemove(remove) => Change::Remove(MemberId(remove.id)),
        Request::MemberUpdate(update) => Change::Update(MemberRecord {
            id: update.id,
            peer_urls: update.peer_ur_ls.clone(),
            ..MemberRecord::default()
        }),
        Request::MemberPromote(promote) => Change::Promote(MemberId(promote.id)),
        _ => return None,
    })
}

impl State {
    /// Lets a change of the group in, if the request is one.
    pub(super) fn admit_change(
        &mut self,
        token: Token,
        request: &Request,
    ) -> Option<Result<(), Refusal>> {
        let change = wanted(request)?;
        let id = self.pending.next_id();
        let data = Bytes::from(change.encode(id).encode_to_vec());
        Some(self.enter_log(id, data, EntryKind::ConfChange, Waiter::Client(token)))
    }

    /// A change of ours goes to whoever leads.
    pub(super) fn send_change(&mut self, leader: MemberId, Sending { id, data, .. }: Sending) {
        if self.role.is_leader {
            return self.take_wish(Wish { id, from: None, data });
        }
        let wish = ChangeWish { id: id.get(), term: self.role.term.get(), change: data };
        let message = PeerMessage { message: Some(Message::ChangeWish(wish)) };
        self.outputs.push_back(StateOutput::Send { to: leader, message });
    }

    pub(super) fn handle_wish(&mut self, from: MemberId, wish: ChangeWish) {
        let is_now = wish.term == self.role.term.get() || crate::planted!("stale-wish-taken");
        let is_for_us = self.role.is_leader && is_now;
        if is_for_us && self.ledgers.members.contains(from) {
            self.take_wish(Wish { id: RequestId(wish.id), from: Some(from), data: wish.change });
        } else if !is_now {
            crate::probe!("wish of another term refused");
        }
    }

    fn take_wish(&mut self, wish: Wish) {
        if let Err(wish) = self.changes.insert(wish) {
            self.refuse_wish(&wish, Refusal::RequestTooManyRequests);
        }
    }

    pub(super) fn handle_refusal(&mut self, refusal: ChangeRefusal) {
        let id = RequestId(refusal.id);
        if self.pending.is_sent_in(id, Term(refusal.term))
            && let Some(waiter) = self.pending.remove(id)
        {
            self.give_up(waiter, super::reads::refusal_named(&refusal.refused));
        }
    }

    fn refuse_wish(&mut self, wish: &Wish, refusal: Refusal) {
        let Some(to) = wish.from else {
            if let Some(waiter) = self.pending.remove(wish.id) {
                self.give_up(waiter, refusal);
            }
            return;
        };
        let refused = ChangeRefusal {
            id: wish.id.get(),
            refused: refusal.name().into(),
            term: self.role.term.get(),
        };
        let message = PeerMessage { message: Some(Message::ChangeRefusal(refused)) };
        self.outputs.push_back(StateOutput::Send { to, message });
    }

    /// Proposes the next change, if none is under way, all of the past is applied, and this leader
    /// has looked who is there: it counts itself then.
    pub(super) fn propose_change(&mut self) {
        while self.role.is_leader
            && self.ledgers.leases.is_primary()
            && !self.followers.active.is_empty()
            && (self.changes.proposed.is_none() || crate::planted!("second-change-pending"))
            && let Some(wish) = self.changes.waiting.pop_front()
        {
            let change = ConfChange::decode(wish.data.clone()).ok();
            let change = change.filter(|change| change.id == wish.id.get());
            let change = change.as_ref().and_then(Change::load).ok_or(Refusal::MemberNotFound);
            match change.and_then(|change| self.judge_change(&change).map(|()| change)) {
                Ok(change) => self.propose_wish(wish, &change),
                Err(refusal) => self.refuse_wish(&wish, refusal),
            }
        }
    }

    fn judge_change(&self, change: &Change) -> Result<(), Refusal> {
        let members = &self.ledgers.members;
        members.check_change(change)?;
        let circumstances = Circumstances {
            leader: self.config.member,
            followers: &self.followers,
            learners_max: self.config.learners_max,
            is_strict: self.config.is_reconfig_strict,
        };
        members.judge(change, &circumstances)
    }

    /// A leader that shall go hands leadership over first, to whoever is furthest; its successor
    /// will be asked again. Were it to go as leader, nobody might be left who knows that it went.
    fn propose_wish(&mut self, wish: Wish, change: &Change) {
        let is_own_end = *change == Change::Remove(self.config.member);
        let has_heirs = self.config.is_reconfig_strict || self.followers.in_sync.len() > 1;
        if is_own_end && has_heirs {
            self.outputs.push_back(StateOutput::TransferLeader { to: None });
            return;
        }
        self.changes.proposed = Some(wish.id);
        self.outputs.push_back(StateOutput::Propose {
            id: wish.id,
            data: wish.data,
            kind: EntryKind::ConfChange,
            in_term: self.role.term,
            may_forward: false,
        });
    }

    /// `Maintenance.MoveLeader`: answered once the other member leads.
    pub(super) fn move_leader(
        &mut self,
        token: Token,
        request: pb::MoveLeaderRequest,
    ) -> Result<(), Refusal> {
        let to = MemberId(request.target_id);
        if !self.role.is_leader {
            return Err(Refusal::NotLeader);
        }
        if !self.ledgers.members.is_voter(to) {
            return Err(Refusal::BadLeaderTransferee);
        }
        if self.transfers.len() >= TRANSFERS_WAITING_MAX {
            return Err(Refusal::RequestTooManyRequests);
        }
        let deadline = self.now + 2 * self.config.election_timeout;
        self.transfers.push(Transfer { token, to, deadline });
        if to != self.config.member {
            self.outputs.push_back(StateOutput::TransferLeader { to: Some(to) });
        }
        self.settle_transfers();
        Ok(())
    }

    /// Answers those who waited for the leader there is now, or for too long.
    pub(super) fn settle_transfers(&mut self) {
        let (leader, now) = (self.role.leader, self.now);
        for transfer in core::mem::take(&mut self.transfers) {
            if leader == Some(transfer.to) {
                let response = Response::MoveLeader(pb::MoveLeaderResponse::default());
                self.respond(transfer.token, Ok(response));
            } else if transfer.deadline <= now {
                self.respond(transfer.token, Err(Refusal::TimeoutLeaderTransfer));
            } else {
                self.transfers.push(transfer);
            }
        }
    }

    pub(super) fn transfer_timeout(&self) -> Option<Wake> {
        let first = self.transfers.iter().map(|transfer| transfer.deadline).min()?;
        Some(Wake { at: first, timer: "leader transfer" })
    }

    /// Changes that the replica would not take, or that are applied, make way for the next.
    pub(super) fn on_change_dropped(&mut self, id: RequestId) {
        if self.changes.proposed == Some(id) {
            self.changes.on_settled();
        }
    }
}

/// Clients that wait for a leader.
pub(super) type Transfers = Vec<Transfer>;
