//! Proposals of this member that wait to be applied.
//!
//! ```text
//!   insert --> unsent --send--> sent in term 4 --applied--> removed
//!                ^                   |
//!                '---- lost: an entry of term 5 is applied, or the replica would not take it
//! ```
//!
//! A proposal enters the log in the term it was sent in or never. So a member that has applied an
//! entry of a later term knows which of its proposals are lost, and proposes them anew: a leader
//! that dies costs its clients an election, not a time-out.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::config::Config;
use crate::error::Refusal;
use crate::ids::{LeaseId, REQUEST_SUFFIX_BITS, RequestId, Term, Token};
use crate::limits::{PENDING_BYTES_MAX, PENDING_REQUESTS_MAX};
use crate::pinch::Site;
use crate::storage::EntryKind;
use crate::time::{Duration, Time, Wake};

/// Who waits for a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A client.
    Client(Token),
    /// A client that wants to hear only when a compaction's last record is gone.
    Physical(Token),
    /// The core itself, for a lease that has run out.
    Expiry(LeaseId),
    /// The core itself, for the time that leases have left.
    Checkpoint,
    /// The core itself; asked again later if it fails.
    Upkeep,
}

impl Waiter {
    /// Whether only the leader itself may propose it: forwarded or repeated, it could be a deposed
    /// leader's, and what that one knows of leases is old.
    fn is_leaders_own(self) -> bool {
        match self {
            Self::Expiry(_) => !crate::planted!("deposed-leader-revokes"),
            Self::Checkpoint => !crate::planted!("checkpoint-repeated"),
            Self::Client(_) | Self::Physical(_) | Self::Upkeep => false,
        }
    }
}

/// One proposal.
#[derive(Debug)]
struct Proposal {
    deadline: Time,
    waiter: Waiter,
    sent_in: Option<Term>,
    /// None if it cannot be proposed again.
    data: Option<Bytes>,
    kind: EntryKind,
}

/// A proposal on its way to the replica.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) id: RequestId,
    pub(crate) data: Bytes,
    pub(crate) kind: EntryKind,
    pub(crate) may_forward: bool,
}

/// See the module. Ids rise and everyone waits equally long, so the first is the first to time
/// out.
#[derive(Debug)]
pub(crate) struct Pending {
    waiting: BTreeMap<RequestId, Proposal>,
    /// Those of them that are to be sent as soon as somebody leads.
    unsent: BTreeSet<RequestId>,
    kept_bytes: u64,
    requests_max: usize,
    bytes_max: u64,
    patience: Duration,
    prefix: u64,
    suffix: u64,
}

impl Pending {
    /// Ids follow etcd's layout: 16 bits of the member, 40 bits of start time, 8 bits that count
    /// and carry over.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            waiting: BTreeMap::new(),
            unsent: BTreeSet::new(),
            kept_bytes: 0,
            requests_max: config.pinch.bound(Site::PendingRequests, PENDING_REQUESTS_MAX),
            bytes_max: config.pinch.bound(Site::PendingBytes, PENDING_BYTES_MAX as usize) as u64,
            patience: config.request_timeout(),
            prefix: config.member.get() << REQUEST_SUFFIX_BITS,
            suffix: (config.boot & ((1 << 40) - 1)) << 8,
        }
    }

    /// A fresh id, never given before by any member.
    pub(crate) fn next_id(&mut self) -> RequestId {
        self.suffix = (self.suffix + 1) & ((1 << REQUEST_SUFFIX_BITS) - 1);
        RequestId(self.prefix | self.suffix)
    }

    /// Takes a proposal in. Given the term of a known leader it is returned, to be sent; otherwise
    /// it stays unsent.
    pub(crate) fn insert(
        &mut self,
        now: Time,
        (id, data, kind): (RequestId, Bytes, EntryKind),
        waiter: Waiter,
        led_in: Option<Term>,
    ) -> Result<Option<Sending>, Refusal> {
        if self.waiting.len() >= self.requests_max {
            return Err(Refusal::RequestTooManyRequests);
        }
        let has_room = self.kept_bytes + data.len() as u64 <= self.bytes_max;
        let kept = (has_room && !waiter.is_leaders_own()).then(|| data.clone());
        if led_in.is_none() && kept.is_none() {
            return Err(Refusal::NoLeader);
        }
        self.kept_bytes += size(kept.as_ref());
        let deadline = now + self.patience;
        let proposal = Proposal { deadline, waiter, sent_in: led_in, data: kept, kind };
        self.waiting.insert(id, proposal);
        if led_in.is_none() {
            crate::probe!("write kept until somebody leads");
            self.unsent.insert(id);
            return Ok(None);
        }
        Ok(Some(Sending { id, data, kind, may_forward: !waiter.is_leaders_own() }))
    }

    /// Takes out who waits for `id`, if it is one of ours.
    pub(crate) fn remove(&mut self, id: RequestId) -> Option<Waiter> {
        let proposal = self.waiting.remove(&id)?;
        self.unsent.remove(&id);
        self.kept_bytes -= size(proposal.data.as_ref());
        Some(proposal.waiter)
    }

    /// Sends what is unsent, in the term of a leader that is known.
    pub(crate) fn send(&mut self, term: Term) -> Vec<Sending> {
        let send = |id| {
            let proposal = self.waiting.get_mut(&id)?;
            proposal.sent_in = Some(term);
            let data = proposal.data.clone()?;
            crate::probe!("write proposed again to a new leader");
            Some(Sending { id, data, kind: proposal.kind, may_forward: true })
        };
        core::mem::take(&mut self.unsent).into_iter().filter_map(send).collect()
    }

    /// Whether `id` still waits, and was last sent in that term.
    pub(crate) fn is_sent_in(&self, id: RequestId, term: Term) -> bool {
        self.waiting.get(&id).is_some_and(|proposal| proposal.sent_in == Some(term))
    }

    /// The replica would not take `id`: it is unsent again. False if it cannot be.
    pub(crate) fn take_back(&mut self, id: RequestId) -> bool {
        match self.waiting.get_mut(&id) {
            Some(proposal) if proposal.data.is_some() => {
                proposal.sent_in = None;
                self.unsent.insert(id);
                true
            }
            _ => false,
        }
    }

    /// An entry of `term` is applied: proposals sent in earlier terms are lost, and unsent again.
    /// Returns those that cannot be.
    pub(crate) fn on_term_applied(&mut self, term: Term) -> Vec<RequestId> {
        let is_lost = |p: &Proposal| p.sent_in.is_some_and(|sent_in| sent_in < term);
        let mut hopeless = Vec::new();
        for (&id, proposal) in self.waiting.iter_mut().filter(|(_, p)| is_lost(p)) {
            if proposal.data.is_none() {
                hopeless.push(id);
                continue;
            }
            proposal.sent_in = None;
            self.unsent.insert(id);
        }
        hopeless
    }

    /// Entries up to `term` were skipped by an image, and proposals among them may have been
    /// applied: they are never proposed again.
    pub(crate) fn on_terms_skipped(&mut self, term: Term) {
        let is_doubtful = |p: &Proposal| p.sent_in.is_some_and(|sent_in| sent_in <= term);
        for proposal in self.waiting.values_mut().filter(|p| is_doubtful(p)) {
            self.kept_bytes -= size(proposal.data.take().as_ref());
        }
    }

    /// Takes out the next waiter whose time is over.
    pub(crate) fn poll_late(&mut self, now: Time) -> Option<Waiter> {
        let (&id, proposal) = self.waiting.first_key_value()?;
        if proposal.deadline > now {
            return None;
        }
        self.remove(id)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Wake> {
        let (_, proposal) = self.waiting.first_key_value()?;
        Some(Wake { at: proposal.deadline, timer: "request timeout" })
    }
}

fn size(data: Option<&Bytes>) -> u64 {
    data.map_or(0, |data| data.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Term = Term(4);
    const LATER: Term = Term(5);
    const CLIENT: Waiter = Waiter::Client(Token(1));

    fn pending() -> Pending {
        Pending::new(&Config::default())
    }

    fn insert(
        pending: &mut Pending,
        bytes: usize,
        waiter: Waiter,
        led_in: Option<Term>,
    ) -> Result<(RequestId, bool), Refusal> {
        let id = pending.next_id();
        let data = Bytes::from(alloc::vec![0; bytes]);
        let entry = (id, data, EntryKind::Normal);
        pending.insert(Time(0), entry, waiter, led_in).map(|sending| (id, sending.is_some()))
    }

    fn ids(sent: &[Sending]) -> Vec<RequestId> {
        sent.iter().map(|sending| sending.id).collect()
    }

    #[test]
    fn without_a_leader_proposals_wait_in_order() {
        let mut pending = pending();
        let (first, is_sent) = insert(&mut pending, 1, CLIENT, None).unwrap();
        assert!(!is_sent);
        let (second, _) = insert(&mut pending, 1, CLIENT, None).unwrap();
        let (gone, _) = insert(&mut pending, 1, CLIENT, None).unwrap();
        pending.remove(gone);
        assert_eq!(pending.unsent.len(), 2, "nothing is kept of what nobody waits for");
        assert_eq!(ids(&pending.send(TERM)), [first, second]);
        assert_eq!(ids(&pending.send(TERM)), []);
    }

    #[test]
    fn what_was_not_taken_is_sent_in_the_next_term() {
        let mut pending = pending();
        let (id, is_sent) = insert(&mut pending, 1, CLIENT, Some(TERM)).unwrap();
        assert!(is_sent && pending.is_sent_in(id, TERM));
        assert!(pending.take_back(id));
        assert!(!pending.is_sent_in(id, TERM));
        assert_eq!(ids(&pending.send(LATER)), [id]);
        assert!(pending.is_sent_in(id, LATER) && !pending.is_sent_in(id, TERM));
    }

    #[test]
    fn what_an_image_skipped_is_never_proposed_again() {
        let mut pending = pending();
        let (old, _) = insert(&mut pending, 1, CLIENT, Some(TERM)).unwrap();
        let (new, _) = insert(&mut pending, 1, CLIENT, Some(LATER)).unwrap();
        pending.on_terms_skipped(TERM);
        assert_eq!(pending.on_term_applied(Term(6)), [old]);
        assert_eq!(ids(&pending.send(Term(6))), [new]);
    }

    #[test]
    fn what_a_leader_asks_of_itself_is_not_asked_by_its_successor() {
        let mut pending = pending();
        for waiter in [Waiter::Expiry(LeaseId(7)), Waiter::Checkpoint] {
            assert_eq!(insert(&mut pending, 1, waiter, None), Err(Refusal::NoLeader));
            let (id, _) = insert(&mut pending, 1, waiter, Some(TERM)).unwrap();
            assert_eq!(pending.on_term_applied(LATER), [id]);
            pending.remove(id);
        }
    }

    #[test]
    fn memory_for_repetition_is_bounded() {
        let mut pending = pending();
        let large = PENDING_BYTES_MAX as usize;
        let (kept, _) = insert(&mut pending, large, CLIENT, Some(TERM)).unwrap();
        assert_eq!(insert(&mut pending, 1, CLIENT, None), Err(Refusal::NoLeader));
        let (once, is_sent) = insert(&mut pending, 1, CLIENT, Some(TERM)).unwrap();
        assert!(is_sent, "proposed, though never again");
        assert_eq!(pending.on_term_applied(LATER), [once]);
        pending.remove(kept);
        assert!(insert(&mut pending, large, CLIENT, None).is_ok());
    }
}
