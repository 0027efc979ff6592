//! A state that cannot be trusted: fenced, and replaced by the leader's image.
//!
//! ```text
//!   digest differs from the majority's --.                        Installed
//!   what is stored does not read --------+--> fenced ... WantImage ---------> as good as new
//! ```
//!
//! A fenced member answers no client, tells watchers nothing and applies nothing; it votes, and
//! keeps the log, which is sound. So the others see a member that lags. One that differs raises the
//! CORRUPT alarm for itself, on which all refuse changes until it is repaired; damage that was
//! found when it was read concerns nobody else.
//!
//! Invariants
//! - What differs is remembered at rest: a fenced member that restarts is fenced.
//! - It is tried [`REPAIRS_MAX`] times in one run; a sole voter has nobody to be repaired from.
//!   Then the member halts.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/corrupt.go`, where an operator does all of it

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use quorate_proto::etcdserverpb::{
    AlarmRequest, AlarmType, InternalRaftRequest, alarm_request::AlarmAction,
};
use quorate_proto::peer::{Correction, PeerMessage, Report, peer_message::Message};

use super::State;
use crate::door::pending::Waiter;
use crate::error::StorageFault;
use crate::ids::{LogIndex, MemberId};
use crate::output::{Note, StateOutput};
use crate::schema::{fenced_row, meta};
use crate::storage::StateRead;
use crate::time::{Duration, Time, Wake};
use crate::upkeep::compare::{Comparison, Trail, Verdict};

/// Times a state is replaced in one run: what is damaged more often has a cause.
const REPAIRS_MAX: u32 = 3;
/// How long an alarm may take before it is raised, or taken back, again.
const RETRY: Duration = Duration::from_secs(2);
/// How long after a repair an alarm of one's own may still arrive.
const AFTERMATH: Duration = Duration::from_secs(60);

/// Why a state is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Its digest is not the majority's after that entry.
    Differs(LogIndex),
    /// It does not read.
    Damaged(StorageFault),
}

/// What this member thinks of its own state, and of others'.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) trail: Trail,
    comparison: Comparison,
    doubt: Option<Doubt>,
    repairs: u32,
    /// Until then an alarm of this member's own is taken back: it was repaired.
    aftermath: Option<Time>,
    /// When alarms are looked after next.
    next_at: Time,
    /// Whether the replica wanted an image of a state that was not to be given away.
    pub(super) owes_image: bool,
}

impl Trust {
    /// What was remembered at rest.
    pub(super) fn load(image: &dyn StateRead, trail: Trail) -> Result<Self, StorageFault> {
        let fenced_at = meta::load_number(image, meta::FENCED)?;
        Ok(Self {
            trail,
            comparison: Comparison::default(),
            doubt: fenced_at.map(|index| match index {
                0 => Doubt::Damaged(StorageFault::damage("the store was damaged")),
                index => Doubt::Differs(LogIndex(index)),
            }),
            repairs: 0,
            aftermath: None,
            next_at: Time::ZERO,
            owes_image: false,
        })
    }

    /// Whether the state is not to be shown to anybody.
    pub(super) fn is_fenced(&self) -> bool {
        self.doubt.is_some()
    }

    /// Another leads, or in another term: it has compared nothing yet.
    pub(super) fn on_leader(&mut self) {
        self.comparison = Comparison::default();
    }

    pub(super) fn poll_timeout(&self) -> Option<Wake> {
        let is_due = matches!(self.doubt, Some(Doubt::Differs(_))) || self.aftermath.is_some();
        is_due.then_some(Wake { at: self.next_at, timer: "corruption alarm" })
    }
}

impl State {
    /// Nothing this member has is shown to anybody until the leader's image has replaced it.
    pub(super) fn fence(&mut self, doubt: Doubt) {
        if self.trust.is_fenced() {
            return;
        }
        let others = self.ledgers.members.voters().filter(|id| *id != self.config.member).count();
        if others == 0 || self.trust.repairs >= REPAIRS_MAX {
            return self.halt(match doubt {
                Doubt::Damaged(fault) => fault,
                Doubt::Differs(index) => StorageFault::new(format!(
                    "the state differs from the majority's after entry {index}, again: move the \
                     data directory away and add the member anew"
                )),
            });
        }
        if let Doubt::Differs(index) = doubt {
            self.draft.writes.push(fenced_row(Some(index)));
            self.ship();
        }
        let why = match &doubt {
            Doubt::Differs(index) => format!("it differs from the majority's after entry {index}"),
            Doubt::Damaged(fault) => fault.what.clone(),
        };
        self.trust.doubt = Some(doubt);
        self.begin_repair(why);
    }

    /// Asks for the image; also when a member starts fenced.
    pub(super) fn begin_repair(&mut self, why: String) {
        self.note(Note::Fenced { why });
        self.compact_at = None;
        self.draft.has_new_view = true;
        self.draft.has_new_facts = true;
        self.trust.next_at = self.now;
        self.outputs.push_back(StateOutput::WantImage);
    }

    /// An image has replaced everything.
    pub(super) fn on_repaired(&mut self) {
        self.trust.trail =
            Trail::from((self.ledgers.progress.mark.index, self.ledgers.progress.digest));
        let Some(doubt) = self.trust.doubt.take() else { return };
        self.trust.repairs += 1;
        if matches!(doubt, Doubt::Differs(_)) {
            self.trust.aftermath = Some(self.now + AFTERMATH);
            self.trust.next_at = self.now;
        }
        self.note(Note::Repaired);
    }

    /// Raises the alarm while it is due, and takes it back when it is not.
    pub(super) fn look_after_alarms(&mut self) {
        if self.role.leader.is_none() || self.now < self.trust.next_at {
            return;
        }
        let is_raised = self.ledgers.alarms.has(self.config.member, AlarmType::Corrupt);
        self.trust.aftermath = self.trust.aftermath.filter(|until| self.now < *until);
        let action = match &self.trust.doubt {
            Some(Doubt::Differs(_)) => AlarmAction::Activate,
            None if self.trust.aftermath.is_some() && is_raised => AlarmAction::Deactivate,
            _ => return self.trust.next_at = self.now + RETRY,
        };
        self.trust.next_at = self.now + RETRY;
        self.propose_corrupt(action, self.config.member);
    }

    fn propose_corrupt(&mut self, action: AlarmAction, member: MemberId) {
        let alarm = AlarmRequest {
            action: action as i32,
            member_id: member.get(),
            alarm: AlarmType::Corrupt as i32,
        };
        let envelope =
            InternalRaftRequest { alarm: Some(alarm.into()), ..InternalRaftRequest::default() };
        // Made again after a while if it is refused or lost.
        let _ = self.propose(envelope, Waiter::Upkeep);
    }

    /// What a member says of its state, held beside this leader's own.
    pub(super) fn compare(&mut self, from: MemberId, report: &Report) {
        // Zero says nothing: a member that was adopted from etcd has no common past to tell of yet.
        let says_something = |digest: &u64| *digest != 0;
        for said in report.digests.iter().filter(|said| says_something(&said.digest)) {
            let index = LogIndex(said.index);
            let own = self.trust.trail.at(index).filter(says_something);
            self.trust.comparison.hear(from, (index, said.digest), own);
        }
        if self.trust.is_fenced() || report.digests.is_empty() {
            return;
        }
        let voters: Vec<_> = self.ledgers.members.voters().collect();
        match self.trust.comparison.judge(self.now, &voters) {
            Verdict::Open => {}
            Verdict::Wrong(members) => {
                for (member, index) in members {
                    self.correct(member, index);
                }
            }
            Verdict::Self_ => {
                let index = self.ledgers.progress.mark.index;
                self.fence(Doubt::Differs(index));
            }
            Verdict::Split if self.ledgers.alarms.has(MemberId(0), AlarmType::Corrupt) => {}
            Verdict::Split => self.propose_corrupt(AlarmAction::Activate, MemberId(0)),
        }
    }

    fn correct(&mut self, to: MemberId, index: LogIndex) {
        let Some(digest) = self.trust.trail.at(index) else { return };
        let correction = Correction { index: index.get(), digest };
        let message = PeerMessage { message: Some(Message::Correction(correction)) };
        self.outputs.push_back(StateOutput::Send { to, message });
    }

    /// The leader says what the majority's digest is.
    pub(super) fn handle_correction(&mut self, from: MemberId, correction: &Correction) {
        let index = LogIndex(correction.index);
        let own = self.trust.trail.at(index);
        if self.role.leader == Some(from)
            && own.is_some_and(|own| own != 0 && own != correction.digest)
        {
            self.fence(Doubt::Differs(index));
        }
    }
}
