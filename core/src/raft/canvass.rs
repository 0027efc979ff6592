//! Whom a leader asks whether it still leads.
//!
//! For each read barrier the crate asks every follower. As many as make a quorum tell as much, for
//! half of what it costs in a group of three: so everybody is asked once a tick, and those whose
//! answers came first are asked alone until the next, unless they are late.
//!
//! ```text
//!   tick -- barrier ----- barrier ---- barrier ....... late ----- barrier -- tick -- barrier
//!           all           the quick    the quick       all        all                all
//!              `-- quorum of answers: the quick ones       `-- quorum of answers: ...
//! ```
//!
//! Invariants
//! - Heartbeats of the clock go to everybody: whom followers follow, and who is active, is decided
//!   as ever.
//! - What is not sent might have been lost on the way as well: only time depends on it.
//! - While barriers are rarer than ticks, everybody is asked for each of them.

use alloc::vec::Vec;

use bytes::Bytes;
use quorate_proto::raftpb::{self, MessageType};

use crate::ids::MemberId;
use crate::time::{Duration, Time, Wake};

/// How many times as long as they took before the quick ones may take.
const PATIENCE_FACTOR: u32 = 4;
/// How long they may take in any case: less than that says nothing on a busy machine.
const PATIENCE_MIN: Duration = Duration::from_millis(1);

/// Who is asked. See the module.
#[derive(Default)]
pub(crate) struct Canvass {
    /// Those who answered first when everybody was asked; with the leader they are a quorum.
    quick: Vec<MemberId>,
    /// How long they may take.
    patience: Duration,
    /// Everybody is asked by the next barrier.
    is_due: bool,
    /// Everybody was asked, and no quorum has answered.
    round: Option<Round>,
    /// Since when barriers wait and none is answered.
    waits_since: Option<Time>,
}

/// A barrier for which everybody was asked.
struct Round {
    context: Bytes,
    asked_at: Time,
    answered: Vec<MemberId>,
}

impl Canvass {
    /// This member does not lead, or those who were quick may not be a quorum any more.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// A tick has passed.
    pub(crate) fn note_tick(&mut self) {
        self.is_due = true;
    }

    /// Messages to that member are being lost.
    pub(crate) fn handle_unreachable(&mut self, to: MemberId) {
        if self.quick.contains(&to) {
            self.quick.clear();
        }
    }

    /// Takes questions out of what is to be sent, if others will do.
    pub(crate) fn choose(&mut self, now: Time, messages: &mut Vec<raftpb::Message>) {
        let Some(last) = messages.iter().rfind(|message| asks(message)) else { return };
        if self.is_due || self.round.is_none() {
            let context = last.context.clone();
            self.round = Some(Round { context, asked_at: now, answered: Vec::new() });
        }
        if !core::mem::take(&mut self.is_due) && !self.quick.is_empty() {
            crate::probe!("barrier asked of a quorum alone");
            messages.retain(|message| !asks(message) || self.quick.contains(&MemberId(message.to)));
        }
    }

    /// Whether that message answers a question to everybody which has no quorum yet.
    pub(crate) fn awaits(&self, message: &raftpb::Message) -> bool {
        let is_answer = message.r#type == MessageType::MsgHeartbeatResp as i32;
        is_answer && self.round.as_ref().is_some_and(|round| round.context == message.context)
    }

    /// A voter has answered it.
    pub(crate) fn handle_answer(
        &mut self,
        now: Time,
        from: MemberId,
        is_quorum: impl Fn(&[MemberId]) -> bool,
    ) {
        let Some(round) = &mut self.round else { return };
        if !round.answered.contains(&from) {
            round.answered.push(from);
        }
        if is_quorum(&round.answered) {
            self.patience = PATIENCE_MIN.max(PATIENCE_FACTOR * now.since(round.asked_at));
            self.quick = core::mem::take(&mut round.answered);
            self.round = None;
        }
    }

    /// How many barriers wait for a quorum, and whether some do so no longer.
    pub(crate) fn note_waiting(&mut self, now: Time, count: usize, is_served: bool) {
        let since = self.waits_since.filter(|_| !is_served).unwrap_or(now);
        self.waits_since = (count > 0).then_some(since);
    }

    /// When everybody has to be asked, if no barrier is answered until then.
    pub(crate) fn poll_timeout(&self) -> Option<Wake> {
        let since = self.waits_since.filter(|_| !self.quick.is_empty())?;
        Some(Wake { at: since + self.patience, timer: "quorum of a barrier" })
    }

    /// Whether everybody has to be asked now. From then on everybody is, until a quorum answers.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> bool {
        let is_late = self.poll_timeout().is_some_and(|wake| wake.at <= now);
        if is_late {
            crate::probe!("quorum of a barrier was late");
            self.quick.clear();
            self.is_due = true;
        }
        is_late
    }
}

/// Whether a message asks for a barrier.
fn asks(message: &raftpb::Message) -> bool {
    message.r#type == MessageType::MsgHeartbeat as i32 && !message.context.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    use alloc::vec;

    fn questions(context: &'static str) -> Vec<raftpb::Message> {
        let ask = |to| raftpb::Message {
            r#type: MessageType::MsgHeartbeat as i32,
            to,
            context: Bytes::from_static(context.as_bytes()),
            ..raftpb::Message::default()
        };
        vec![ask(2), ask(3)]
    }

    /// Who is asked.
    fn asked(canvass: &mut Canvass, now: Time, context: &'static str) -> Vec<u64> {
        let mut messages = questions(context);
        canvass.choose(now, &mut messages);
        canvass.note_waiting(now, 1, false);
        messages.iter().map(|message| message.to).collect()
    }

    /// A group of three: whoever answers is a quorum with the leader.
    fn answer(canvass: &mut Canvass, now: Time, from: u64, context: &'static str) {
        let mut message = questions(context).remove(0);
        message.r#type = MessageType::MsgHeartbeatResp as i32;
        if canvass.awaits(&message) {
            canvass.handle_answer(now, MemberId(from), |answered| !answered.is_empty());
        }
        canvass.note_waiting(now, 0, true);
    }

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn who_answered_first_is_asked_alone_until_the_next_tick() {
        let mut canvass = Canvass::default();
        assert_eq!(asked(&mut canvass, at(0), "a"), [2, 3]);
        answer(&mut canvass, at(0), 3, "a");
        answer(&mut canvass, at(1), 2, "a");
        assert_eq!(asked(&mut canvass, at(2), "b"), [3]);
        answer(&mut canvass, at(3), 3, "b");
        canvass.note_tick();
        assert_eq!(asked(&mut canvass, at(4), "c"), [2, 3]);
        assert_eq!(asked(&mut canvass, at(4), "d"), [3], "one barrier a tick");
        answer(&mut canvass, at(5), 2, "c");
        assert_eq!(asked(&mut canvass, at(6), "e"), [2]);
    }

    #[test]
    fn everybody_is_asked_when_the_quick_are_late_and_until_a_quorum_answers() {
        let mut canvass = Canvass::default();
        asked(&mut canvass, at(0), "a");
        answer(&mut canvass, at(2), 3, "a");
        assert_eq!(canvass.poll_timeout(), None, "nobody waits");
        assert_eq!(asked(&mut canvass, at(10), "b"), [3]);
        let late = at(10) + PATIENCE_FACTOR * Duration::from_millis(2);
        assert_eq!(canvass.poll_timeout().map(|wake| wake.at), Some(late));
        assert!(!canvass.handle_timeout(late - Duration::from_nanos(1)));
        assert!(canvass.handle_timeout(late));
        assert_eq!(asked(&mut canvass, late, "b"), [2, 3]);
        assert_eq!(asked(&mut canvass, late, "c"), [2, 3]);
        assert_eq!(canvass.poll_timeout(), None, "there is nobody else to ask");
        answer(&mut canvass, late, 2, "b");
        assert_eq!(asked(&mut canvass, late, "d"), [2]);
    }

    #[test]
    fn the_quick_have_patience_anew_with_each_barrier_they_answer() {
        let mut canvass = Canvass::default();
        asked(&mut canvass, at(0), "a");
        answer(&mut canvass, at(0), 3, "a");
        asked(&mut canvass, at(5), "b");
        asked(&mut canvass, at(6), "c");
        let due = |canvass: &Canvass| canvass.poll_timeout().map(|wake| wake.at);
        assert_eq!(due(&canvass), Some(at(5) + PATIENCE_MIN));
        canvass.note_waiting(at(6), 1, true);
        assert_eq!(due(&canvass), Some(at(6) + PATIENCE_MIN));
    }

    #[test]
    fn a_lost_follower_is_not_asked_alone() {
        let mut canvass = Canvass::default();
        asked(&mut canvass, at(0), "a");
        answer(&mut canvass, at(0), 3, "a");
        canvass.handle_unreachable(MemberId(2));
        assert_eq!(asked(&mut canvass, at(1), "b"), [3]);
        canvass.handle_unreachable(MemberId(3));
        assert_eq!(asked(&mut canvass, at(1), "c"), [2, 3]);
    }

    #[test]
    fn heartbeats_of_the_clock_go_to_everybody() {
        let mut canvass = Canvass::default();
        asked(&mut canvass, at(0), "a");
        answer(&mut canvass, at(0), 3, "a");
        let mut messages = questions("");
        canvass.choose(at(1), &mut messages);
        assert_eq!(messages, questions(""));
    }
}
