//! Tokens of this member's run: who showed which password, and until when that counts.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use crate::ids::LogIndex;
use crate::limits::TOKENS_MAX;
use crate::time::{Duration, Time};

/// A token's life is told anew when an eighth of it is over: that much longer than promised it
/// lives, so that not every use of it has to be told.
const SLACK: u32 = 8;

/// Issued tokens. Cloning is O(1).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tokens {
    by_token: Arc<BTreeMap<String, Entry>>,
    ttl: Duration,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    user: Arc<str>,
    /// Uses after this are worth telling.
    fresh_until: Time,
    until: Time,
}

/// The index of the entry that issued a token: it ends in it.
pub(super) fn issued_at(token: &str) -> Option<LogIndex> {
    let (_, index) = token.split_once('.')?;
    index.parse().ok().map(LogIndex)
}

impl Tokens {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { by_token: Arc::default(), ttl }
    }

    /// Issues the token of the entry at `index`. Beyond [`TOKENS_MAX`] the one that ends first
    /// makes way.
    pub(super) fn issue(
        &mut self,
        user: &str,
        (prefix, index): (&str, LogIndex),
        now: Time,
    ) -> String {
        let token = format!("{prefix}.{index}");
        self.expire(now);
        let by_token = Arc::make_mut(&mut self.by_token);
        if by_token.len() >= TOKENS_MAX {
            let first = by_token.iter().min_by_key(|(_, entry)| entry.until);
            if let Some(first) = first.map(|(token, _)| token.clone()) {
                by_token.remove(&first);
            }
        }
        let entry = Entry::new(user.into(), self.ttl, now);
        by_token.insert(token.clone(), entry);
        token
    }

    /// Whose token it is, and whether its use is worth telling.
    pub(super) fn user_of(&self, token: &str, now: Time) -> Option<(Arc<str>, bool)> {
        let entry = self.by_token.get(token).filter(|entry| now < entry.until)?;
        Some((entry.user.clone(), now >= entry.fresh_until))
    }

    /// The token was used. Says whether there is such a token.
    pub(crate) fn renew(&mut self, token: &str, now: Time) -> bool {
        let is_alive = self.by_token.get(token).is_some_and(|entry| now < entry.until);
        if is_alive && let Some(entry) = Arc::make_mut(&mut self.by_token).get_mut(token) {
            *entry = Entry::new(entry.user.clone(), self.ttl, now);
        }
        is_alive
    }

    /// Forgets what has ended.
    fn expire(&mut self, now: Time) {
        if self.by_token.values().any(|entry| entry.until <= now) {
            Arc::make_mut(&mut self.by_token).retain(|_, entry| now < entry.until);
        }
    }

    pub(super) fn forget_user(&mut self, user: &str) {
        if self.by_token.values().any(|entry| *entry.user == *user) {
            Arc::make_mut(&mut self.by_token).retain(|_, entry| *entry.user != *user);
        }
    }

    pub(super) fn forget_all(&mut self) {
        self.by_token = Arc::default();
    }
}

impl Entry {
    fn new(user: Arc<str>, ttl: Duration, now: Time) -> Self {
        let slack = ttl / SLACK;
        Self { user, fresh_until: now + slack, until: now + ttl + slack }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(80);

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_lives_from_its_last_use() {
        let mut tokens = Tokens::new(TTL);
        let token = tokens.issue("alice", ("abc", LogIndex(7)), at(0));
        assert_eq!(token, "abc.7");
        assert_eq!(tokens.user_of(&token, at(9)), Some(("alice".into(), false)));
        assert_eq!(tokens.user_of(&token, at(10)), Some(("alice".into(), true)));
        assert!(tokens.renew(&token, at(80)));
        assert_eq!(tokens.user_of(&token, at(160)), Some(("alice".into(), true)));
        assert_eq!(tokens.user_of(&token, at(170)), None);
        assert!(!tokens.renew(&token, at(170)));
        tokens.expire(at(170));
        assert!(tokens.by_token.is_empty());
    }

    #[test]
    fn a_users_tokens_go_together() {
        let mut tokens = Tokens::new(TTL);
        let one = tokens.issue("alice", ("a", LogIndex(1)), at(0));
        let two = tokens.issue("bob", ("b", LogIndex(2)), at(0));
        tokens.forget_user("alice");
        assert_eq!(tokens.user_of(&one, at(1)), None);
        assert!(tokens.user_of(&two, at(1)).is_some());
    }

    #[test]
    fn their_number_is_bounded() {
        let mut tokens = Tokens::new(TTL);
        for n in 0..TOKENS_MAX as u64 {
            tokens.issue("alice", ("a", LogIndex(n)), at(0));
        }
        assert!(tokens.renew("a.0", at(1)));
        tokens.issue("alice", ("b", LogIndex(1)), at(2));
        assert_eq!(tokens.by_token.len(), TOKENS_MAX);
        // The one that ends first, and not the one that was used since.
        assert_eq!(tokens.user_of("a.1", at(2)), None);
        assert!(tokens.user_of("a.0", at(2)).is_some() && tokens.user_of("b.1", at(2)).is_some());
    }
}
