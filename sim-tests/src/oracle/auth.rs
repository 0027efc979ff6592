//! Nobody gets what the rights forbid, and nobody is refused what they permit (oracle 7).
//!
//! ```text
//!   log:    enable @9    permit u1 @20    token t7.31 for u1 @31    delete u1 @40
//!   rights:    R9            R20                                        R40
//!   a read at a member that has applied 33, by t7.31: u1, judged by R20
//! ```
//!
//! - Who shows a token is the user it was issued to, as of the rights the member has; a token is
//!   good from its entry on until one ends it, and is refused only if it is not, or if the member
//!   cannot know it any more.
//! - A read is answered if and only if the rights of what it is read from permit it.
//! - What went through the log was answered if and only if the rights of its entry permitted it.
//! - What never reached the log was refused as some rights say that the member had meanwhile.
//!
//! Deliberately absent: that a token ends some time after its last use. No run lasts that long.

use std::collections::BTreeMap;

use prost::Message;
use quorate_core::Request;
use quorate_core::error::Refusal;
use quorate_core::ids::MemberId;
use quorate_core::storage::{Entry, EntryKind};
use quorate_core::time::Time;
use quorate_io_sim::world::observe::{
    CallId, Observer, Operation, Outcome, Seen, Shown, Violation,
};
use quorate_proto::etcdserverpb::InternalRaftRequest;

use super::wrong;
use crate::model::Judged;
use crate::model::auth::{Auth, Who};

const NAME: &str = "auth";

/// A token, and what the log says of it.
#[derive(Debug)]
struct Token {
    user: String,
    issued: u64,
    ended: Option<u64>,
}

/// A call under way.
#[derive(Debug)]
struct Asked {
    operation: Operation,
    /// What the member had applied when it looked, and what came of that.
    identified: Option<(u64, Result<Who, Refusal>)>,
    /// How its entry was judged.
    judged: Option<Result<(), Refusal>>,
}

/// The oracle. See the module.
#[derive(Debug, Default)]
pub struct Rights {
    judged: Judged,
    /// Before there were any.
    first: Auth,
    /// By entry: the rights from it on, where they changed.
    rights: BTreeMap<u64, Auth>,
    committed: u64,
    tokens: BTreeMap<String, Token>,
    /// From which entry on a member knows tokens.
    knows_from: BTreeMap<MemberId, u64>,
    proposed: BTreeMap<u64, CallId>,
    asked: BTreeMap<CallId, Asked>,
}

impl Observer for Rights {
    fn observe(&mut self, _at: Time, seen: &Seen) -> Result<(), Violation> {
        let judged = match seen {
            Seen::Called { call, operation, .. } => {
                let operation = operation.clone();
                self.asked.insert(*call, Asked { operation, identified: None, judged: None });
                Ok(())
            }
            Seen::Proposed { id, call: Some(call), .. } => {
                self.proposed.insert(id.0, *call);
                Ok(())
            }
            Seen::Committed { entries, .. } => {
                entries.iter().for_each(|entry| self.commit(entry));
                Ok(())
            }
            Seen::Started { member, stored, .. } => {
                self.knows_from.insert(*member, stored.index.0);
                Ok(())
            }
            Seen::Installed { member, mark } => {
                self.knows_from.insert(*member, mark.index.0);
                Ok(())
            }
            Seen::Identified { member, call, index, shown, who } => {
                let who = who.as_ref().map_err(|refusal| *refusal);
                let who = who.map(|it| Who { user: it.user.to_string(), revision: it.revision });
                if let Some(asked) = self.asked.get_mut(call) {
                    asked.identified = Some((index.0, who.clone()));
                }
                self.check_identity(*member, index.0, shown, &who)
                    .map_err(|what| format!("call {} on member {member}: {what}", call.0))
            }
            Seen::Returned { call, outcome, .. } => {
                self.check_answer(*call, outcome).map_err(|what| format!("call {}: {what}", call.0))
            }
            _ => Ok(()),
        };
        judged.map_err(|what| wrong(NAME, what))
    }
}

impl Rights {
    /// Each entry once: that members agree on it is another oracle's business.
    fn commit(&mut self, entry: &Entry) {
        let index = entry.index.0;
        if index <= self.committed {
            return;
        }
        self.committed = index;
        if entry.kind != EntryKind::Normal || entry.data.is_empty() {
            return;
        }
        let Ok(request) = InternalRaftRequest::decode(entry.data.clone()) else { return };
        let before = (self.judged.auth().revision, self.judged.auth().is_enabled);
        let judged = self.judged.take(&request);
        let auth = self.judged.auth();
        if (auth.revision, auth.is_enabled) != before {
            self.rights.insert(index, auth.clone());
        }
        if judged.is_ok() {
            self.follow_tokens(index, &request);
        }
        let id = request.header.as_ref().map_or(request.id, |header| header.id);
        let call = self.proposed.remove(&id);
        if let Some(asked) = call.and_then(|call| self.asked.get_mut(&call)) {
            asked.judged = Some(judged);
        }
    }

    fn follow_tokens(&mut self, index: u64, request: &InternalRaftRequest) {
        if let Some(ask) = &request.authenticate
            && self.judged.auth().is_enabled
            && self.judged.auth().knows(&ask.name)
        {
            let token = Token { user: ask.name.clone(), issued: index, ended: None };
            self.tokens.insert(format!("{}.{index}", ask.simple_token), token);
        }
        let deleted = request.auth_user_delete.as_ref().map(|it| &it.name);
        let changed = request.auth_user_change_password.as_ref().map(|it| &it.name);
        let user = deleted.or(changed);
        let is_off = request.auth_disable.is_some();
        for token in self.tokens.values_mut().filter(|token| token.ended.is_none()) {
            if is_off || user.is_some_and(|user| *user == token.user) {
                token.ended = Some(index);
            }
        }
    }

    /// The rights as of an entry.
    fn at(&self, index: u64) -> &Auth {
        let newest = self.rights.range(..=index).next_back();
        newest.map_or(&self.first, |(_, auth)| auth)
    }

    fn check_identity(
        &self,
        member: MemberId,
        index: u64,
        shown: &Shown,
        who: &Result<Who, Refusal>,
    ) -> Result<(), String> {
        let auth = self.at(index);
        let expected = match shown {
            _ if !auth.is_enabled => Ok(Who::default()),
            Shown::Nothing => Ok(Who::default()),
            Shown::CommonName(name) => Ok(Who { user: name.clone(), revision: auth.revision }),
            Shown::Token(token) => {
                let good = self.tokens.get(token).filter(|token| {
                    token.issued <= index && token.ended.is_none_or(|ended| index < ended)
                });
                let user = good.map(|token| token.user.clone());
                let named = user.map(|user| Who { user, revision: auth.revision });
                named.ok_or(Refusal::InvalidAuthToken)
            }
        };
        let knows_from = self.knows_from.get(&member).copied().unwrap_or(0);
        let is_forgotten =
            |token: &str| self.tokens.get(token).is_some_and(|token| token.issued <= knows_from);
        let is_excused = *who == Err(Refusal::InvalidAuthToken)
            && matches!(shown, Shown::Token(token) if is_forgotten(token));
        if *who == expected || is_excused {
            return Ok(());
        }
        Err(format!("at entry {index} {shown:?} is {who:?}, should be {expected:?}"))
    }

    fn check_answer(&mut self, call: CallId, outcome: &Outcome) -> Result<(), String> {
        let Some(asked) = self.asked.remove(&call) else { return Ok(()) };
        // In runs without users nobody looks.
        let Some((index, who)) = asked.identified else { return Ok(()) };
        let (refused, is_answered) = match outcome {
            Outcome::Unknown => return Ok(()),
            Outcome::Refused(refusal) => (Some(*refusal).filter(|it| is_about_auth(*it)), false),
            Outcome::Range(_) | Outcome::Response(_) => (None, true),
        };
        let who = match who {
            Err(refusal) if is_answered => {
                return Err(format!("answered, but nobody is known who asks: {refusal:?}"));
            }
            Err(refusal) => {
                let is_right = refused.is_none_or(|refused| refused == refusal);
                let words = || format!("refused as {refused:?}, should be {refusal:?}");
                return is_right.then_some(()).ok_or_else(words);
            }
            Ok(who) => who,
        };
        let is_read = is_read(&asked.operation);
        let is_right = match (asked.judged, refused) {
            _ if is_read => {
                let judged = judge_read(self.at(index), &who, &asked.operation);
                judged.err() == refused
            }
            (Some(judged), _) if is_answered || refused.is_some() => judged.err() == refused,
            // It never reached the log: some rights since then say so.
            (_, Some(refusal)) => self.was_refused(&who, (&asked.operation, index), refusal),
            (_, None) => true,
        };
        let words = || {
            let judged = asked.judged;
            format!("{who:?} at {index}: {outcome:?}, entry judged {judged:?}")
        };
        is_right.then_some(()).ok_or_else(words)
    }

    /// Whether any rights from an entry on refuse a request at the door like that.
    fn was_refused(
        &self,
        who: &Who,
        (operation, index): (&Operation, u64),
        refusal: Refusal,
    ) -> bool {
        let Operation::Request(request) = operation else { return false };
        let later = self.rights.range(index + 1..).map(|(_, auth)| auth);
        let mut all = std::iter::once(self.at(index)).chain(later);
        all.any(|auth| judge_at_door(auth, who, request) == Err(refusal))
    }
}

fn is_about_auth(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::UserEmpty
            | Refusal::UserNotFound
            | Refusal::PermissionDenied
            | Refusal::AuthOldRevision
            | Refusal::InvalidAuthToken
    )
}

fn is_read(operation: &Operation) -> bool {
    match operation {
        Operation::Range(_) => true,
        Operation::Request(Request::Txn(txn)) => quorate_core::txn::is_read_only(txn),
        Operation::Request(_) => false,
    }
}

fn judge_read(auth: &Auth, who: &Who, operation: &Operation) -> Result<(), Refusal> {
    match operation {
        Operation::Range(range) => auth.check_read(who, range),
        Operation::Request(Request::Txn(txn)) => auth.check_read_txn(who, txn),
        Operation::Request(_) => Ok(()),
    }
}

/// What is judged before anything is proposed.
fn judge_at_door(auth: &Auth, who: &Who, request: &Request) -> Result<(), Refusal> {
    match request {
        Request::Compact(_)
        | Request::MoveLeader(_)
        | Request::Downgrade(_)
        | Request::MemberAdd(_)
        | Request::MemberRemove(_)
        | Request::MemberUpdate(_)
        | Request::MemberPromote(_) => auth.check_root(who),
        Request::LeaseGrant(_)
        | Request::LeaseRevoke(_)
        | Request::LeaseKeepAlive(_)
        | Request::LeaseTimeToLive(_)
        | Request::LeaseLeases(_) => auth.check_somebody(who),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
