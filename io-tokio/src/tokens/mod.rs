//! What a user gets for a password: a token that an entry issues, or one that is signed here.
//!
//! ```text
//!   --auth-token=simple                          issued by the core, the same at all members
//!   --auth-token=jwt,sign-method=ES256,...       header.claims.signature, by this room
//!                    |                              '- {"exp":..,"revision":7,"username":"alice"}
//!                    options -> keys (read anew when their files change) -> jwt
//!   --auth-token=                                none: nobody gets in by a password
//! ```
//!
//! Invariants
//! - A token counts only under the method that was configured, whatever its header says.
//! - A file that cannot be read any more, or holds no key, changes nothing: the keys before stay.
//!
//! Deliberately absent: who the user is and may do. That is the core's affair.
//!
//! Answers to: etcd v3.7.1 `server/auth/jwt.go`, `server/auth/options.go`

mod jwt;
mod keys;
mod options;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use quorate_core::auth::Identity;
use quorate_core::error::Refusal;
use tracing::{info, warn};

use keys::{Files, Keys};
pub use options::{JwtOptions, Method, TokenKind};

/// How often key files are looked at.
const FILES_INTERVAL: Duration = Duration::from_secs(5);
/// Letters of a token before its dot.
const PREFIX_LETTERS: usize = 16;

/// Tokens of one kind. Cloning is cheap.
#[derive(Clone)]
pub enum Tokens {
    /// Issued by entries.
    Simple,
    /// Signed.
    Signed(Arc<Signed>),
    /// None at all.
    Absent,
}

/// Signed tokens.
pub struct Signed {
    options: JwtOptions,
    keys: ArcSwap<Keys>,
}

impl Tokens {
    /// Tokens as configured; reads the keys they need.
    pub fn open(kind: &TokenKind) -> Result<Self, String> {
        Ok(match kind {
            TokenKind::Simple => Self::Simple,
            TokenKind::Jwt(options) => {
                let keys =
                    ArcSwap::from_pointee(Keys::load(options.method, Files::read(options)?)?);
                Self::Signed(Arc::new(Signed { options: options.clone(), keys }))
            }
            TokenKind::Absent => Self::Absent,
        })
    }

    /// Whether users get tokens here.
    pub(crate) fn check_issuing(&self) -> Result<(), Refusal> {
        match self {
            Self::Signed(signed) if !signed.keys.load().can_sign() => Err(Refusal::VerifyOnlyKey),
            Self::Absent => Err(Refusal::AuthFailed),
            _ => Ok(()),
        }
    }

    /// The random part of a token that an entry issues; empty if none shall.
    pub(crate) fn prefix(&self) -> String {
        let letter = |n: u8| char::from(if n < 26 { b'a' + n } else { b'A' + n - 26 });
        let letters = match self {
            Self::Simple => PREFIX_LETTERS,
            Self::Signed(_) | Self::Absent => 0,
        };
        std::iter::repeat_with(|| letter(rand::random_range(0..52))).take(letters).collect()
    }

    /// Keeps the keys those of their files; never ends.
    pub async fn follow_files(&self) {
        let Self::Signed(signed) = self else { return std::future::pending().await };
        loop {
            tokio::time::sleep(FILES_INTERVAL).await;
            let signed = Arc::clone(signed);
            // One that panics is as good as one that reads nothing.
            let _ = tokio::task::spawn_blocking(move || signed.look_at_files()).await;
        }
    }
}

impl Signed {
    /// A token for a user as of an auth revision.
    pub(crate) fn sign(&self, user: &str, revision: u64) -> Result<String, Refusal> {
        jwt::sign(&self.keys.load(), (user, revision), SystemTime::now() + self.options.ttl)
    }

    /// Whom a token names, if it is good.
    pub(crate) fn read(&self, token: &str) -> Result<Identity, Refusal> {
        let found = jwt::read(&self.keys.load(), token, SystemTime::now());
        found.ok_or(Refusal::InvalidAuthToken)
    }

    fn look_at_files(&self) {
        let loaded = match Files::read(&self.options) {
            Ok(files) if *self.keys.load().files() == files => return,
            Ok(files) => Keys::load(self.options.method, files),
            Err(error) => Err(error),
        };
        match loaded {
            Ok(keys) => {
                self.keys.store(Arc::new(keys));
                info!("read the keys of tokens anew");
            }
            Err(error) => warn!(error, "the keys of tokens changed to none; those before stay"),
        }
    }
}

#[cfg(test)]
mod tests;
