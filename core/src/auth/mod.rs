//! Who may do what: users, their roles, the keys those open, and the tokens users show.
//!
//! ```text
//!   credential --identify--> Identity --gate--> may do it, or a refusal
//!                 (view)     user, revision      at the door, and again when its entry is applied
//! ```
//!
//! Worked example: `alice` holds role `app`, which grants READ on `[a, b)` and on `[b, c)`. A range
//! of `[a, bb)` is hers: a request must lie inside the union of what her roles grant.
//!
//! Invariants
//! - The book and its rows in the store are equal after every entry. Every change of a user or a
//!   role raises the auth revision by one.
//! - A request carries the revision its user was identified at, in its entry: if the book moved on
//!   before the entry is applied, all members refuse it alike.
//! - Whether root may do something depends on the role of that name alone, never on its rights.
//!
//! Tokens are not in the store: each member issues them when it applies the entry that asks for
//! one, so that all know it, and forgets them when it restarts or takes over an image, for it
//! cannot know which of them ended meanwhile.
//!
//! Deliberately absent: whatever needs randomness or is slow on purpose. Passwords are hashed and
//! compared, signatures made and verified, and certificates read by a shell; what that proved comes
//! in as a [`Credential`].
//!
//! Answers to: etcd v3.7.1 `server/auth/store.go`, `range_perm_cache.go`, `simple_token.go`

mod book;
mod change;
pub mod gate;
mod ranges;
mod tokens;

use alloc::sync::Arc;

use quorate_proto::etcdserverpb::InternalRaftRequest;

pub use book::Book;
pub(crate) use change::Done;
pub(crate) use tokens::Tokens;

use crate::error::Refusal;
use crate::ids::LogIndex;
use crate::time::Time;

/// Whether the request changes users and roles, or whether anybody asks for them.
pub(crate) fn is_change(request: &InternalRaftRequest) -> bool {
    change::Change::parse(request).is_some()
}

/// The user and the role that may do everything.
pub const ROOT: &str = "root";

/// In whose name something is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user; empty if nobody said.
    pub user: Arc<str>,
    /// The auth revision the user was identified at; 0 if nobody said.
    pub revision: u64,
}

/// The rights of one moment, for whoever reads. Cloning is O(1).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuthView {
    /// Users and roles.
    pub book: Arc<Book>,
    pub(crate) tokens: Tokens,
}

/// What a caller shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential<'a> {
    /// Nothing.
    Nothing,
    /// A token that an entry issued.
    Token(&'a str),
    /// The claims of a token whose signature is right.
    Claims(&'a Identity),
    /// The common name in a certificate that was verified.
    CommonName(&'a str),
}

/// What became of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identified {
    /// Whose it is.
    As {
        /// Who.
        who: Identity,
        /// Whether the core should be told that the token is in use.
        is_renewal_due: bool,
    },
    /// It was issued by an entry this member has not applied yet.
    NotYet(LogIndex),
}

impl AuthView {
    /// Who shows that credential. While auth is off everybody is nobody, whatever they show.
    pub fn identify(
        &self,
        shown: Credential<'_>,
        applied: LogIndex,
        now: Time,
    ) -> Result<Identified, Refusal> {
        let revision = self.book.revision();
        let known = |who| Ok(Identified::As { who, is_renewal_due: false });
        let token = match shown {
            _ if !self.book.is_enabled() => return known(Identity::default()),
            Credential::Nothing => return known(Identity::default()),
            Credential::Claims(who) => return known(who.clone()),
            Credential::CommonName(name) => {
                return known(Identity { user: name.into(), revision });
            }
            Credential::Token(token) => token,
        };
        let issued_at = tokens::issued_at(token).ok_or(Refusal::InvalidAuthToken)?;
        if issued_at > applied {
            return Ok(Identified::NotYet(issued_at));
        }
        let (user, is_renewal_due) =
            self.tokens.user_of(token, now).ok_or(Refusal::InvalidAuthToken)?;
        Ok(Identified::As { who: Identity { user, revision }, is_renewal_due })
    }
}

#[cfg(test)]
mod tests;
