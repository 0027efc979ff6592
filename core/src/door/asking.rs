//! Questions only the leader can answer, asked of it on behalf of a client.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use quorate_proto::peer::{Ask, ask::Question};

use crate::config::Config;
use crate::error::Refusal;
use crate::ids::Token;
use crate::limits::PENDING_REQUESTS_MAX;
use crate::time::{Duration, Time, Wake};

/// How long before an unanswered question is asked again.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Asked {
    token: Token,
    question: Question,
    asked_at: Option<Time>,
    deadline: Time,
}

/// The questions under way.
#[derive(Debug)]
pub(crate) struct Asking {
    asked: BTreeMap<u64, Asked>,
    ids: u64,
    patience: Duration,
}

impl Asking {
    /// Nothing asked yet. Ids start with the member and its boot, so that an answer to a question
    /// of another member or of an earlier run finds nobody.
    pub(crate) fn new(config: &Config) -> Self {
        let ids = config.member.get() << 48 | (config.boot & ((1 << 28) - 1)) << 20;
        Self { asked: BTreeMap::new(), ids, patience: config.request_timeout() }
    }

    /// Notes a client's question; it leaves with the next [`poll_due`](Self::poll_due).
    pub(crate) fn insert(
        &mut self,
        now: Time,
        token: Token,
        question: Question,
    ) -> Result<(), Refusal> {
        if self.asked.len() >= PENDING_REQUESTS_MAX {
            return Err(Refusal::RequestTooManyRequests);
        }
        self.ids += 1;
        let deadline = now + self.patience;
        self.asked.insert(self.ids, Asked { token, question, asked_at: None, deadline });
        Ok(())
    }

    /// The questions to send now.
    pub(crate) fn poll_due(&mut self, now: Time) -> Vec<Ask> {
        let is_due = |asked: &Asked| asked.asked_at.is_none_or(|at| now.since(at) >= RETRY);
        let due = self.asked.iter_mut().filter(|(_, asked)| is_due(asked));
        due.map(|(&id, asked)| {
            asked.asked_at = Some(now);
            Ask { id, question: Some(asked.question) }
        })
        .collect()
    }

    /// Takes out who asked question `id`.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Token> {
        self.asked.remove(&id).map(|asked| asked.token)
    }

    /// Takes out all questions, because they can be answered here now, or by nobody.
    pub(crate) fn drain(&mut self) -> Vec<(Token, Question)> {
        core::mem::take(&mut self.asked).into_values().map(|a| (a.token, a.question)).collect()
    }

    /// Asks everything again at once: another member leads now.
    pub(crate) fn ask_again(&mut self) {
        self.asked.values_mut().for_each(|asked| asked.asked_at = None);
    }

    /// Takes out the next question whose time is over. Ids rise, so the first is the oldest.
    pub(crate) fn poll_late(&mut self, now: Time) -> Option<Token> {
        let (_, first) = self.asked.first_key_value()?;
        if first.deadline > now {
            return None;
        }
        self.asked.pop_first().map(|(_, asked)| asked.token)
    }

    /// When to look next. While there is nobody to ask, only deadlines count: a question that is
    /// due and cannot leave would want its turn again and again.
    pub(crate) fn poll_timeout(&self, has_leader: bool) -> Option<Wake> {
        let next = |asked: &Asked| match asked.asked_at {
            _ if !has_leader => asked.deadline,
            Some(at) => asked.deadline.min(at + RETRY),
            None => Time::ZERO,
        };
        let at = self.asked.values().map(next).min()?;
        Some(Wake { at, timer: "question to the leader" })
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::etcdserverpb::LeaseKeepAliveRequest;

    use super::*;
    use crate::ids::MemberId;

    #[test]
    fn a_question_nobody_can_be_asked_wakes_nobody_before_its_deadline() {
        let mut asking = Asking::new(&Config::default());
        let question = Question::KeepAlive(LeaseKeepAliveRequest { id: 7 });
        asking.insert(Time(10), Token(1), question).unwrap();
        let wake = |asking: &Asking, has_leader| asking.poll_timeout(has_leader).unwrap().at;
        let deadline = Time(10) + Config::default().request_timeout();
        assert_eq!([wake(&asking, true), wake(&asking, false)], [Time::ZERO, deadline]);
        assert_eq!(asking.poll_due(Time(20)).len(), 1);
        assert_eq!([wake(&asking, true), wake(&asking, false)], [Time(20) + RETRY, deadline]);
    }

    #[test]
    fn an_answer_that_went_astray_finds_nobody() {
        let ask = |member| {
            let config = Config { member: MemberId(member), boot: 5, ..Config::default() };
            let mut asking = Asking::new(&config);
            let question = Question::KeepAlive(LeaseKeepAliveRequest { id: 7 });
            asking.insert(Time(0), Token(member), question).unwrap();
            let id = asking.poll_due(Time(0))[0].id;
            (asking, id)
        };
        let ((mut first, _), (_, second)) = (ask(1), ask(2));
        assert_eq!(first.remove(second), None);
    }
}
