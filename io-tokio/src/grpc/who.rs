//! In whose name a call comes: the token in its metadata, or the name in its certificate.
//!
//! ```text
//! metadata: token, authorization ──┐
//! certificate: common name ────────┴─> Shown ──by a view──> Identity ──> the core judges
//! ```
//!
//! A token may name the entry that issued it. A member that has not applied that entry yet waits
//! for it, so that a token is good at every member as soon as its user has it.
//!
//! Answers to: etcd v3.7.1 `server/auth/store.go` (AuthInfoFromCtx, AuthInfoFromTLS)

use std::time::Duration;

use quorate_core::View;
use quorate_core::auth::{Book, Credential, Identified, Identity};
use quorate_core::error::Refusal;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Status};

use super::Front;
use super::status::status;
use crate::tokens::Tokens;
use crate::transport::CertifiedName;

/// How long a call may wait for its token's entry, and how often it looks.
const WAIT_MAX: Duration = Duration::from_secs(5);
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// What a call shows of its caller.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    token: Option<String>,
    name: Option<CertifiedName>,
}

impl Shown {
    pub(super) const NOTHING: Self = Self { token: None, name: None };

    pub(super) fn by(metadata: &MetadataMap, extensions: &Extensions) -> Self {
        // The gateway's calls have its own certificate, in etcd; whoever says to be one has none.
        let is_direct = !metadata.contains_key("grpcgateway-accept");
        let name = extensions.get::<CertifiedName>().filter(|_| is_direct).cloned();
        let value = metadata.get("token").or_else(|| metadata.get("authorization"));
        let token = value.map(|value| {
            // What is no text is no token; an empty one is refused like any other wrong one.
            let token = value.to_str().unwrap_or_default();
            token.strip_prefix("Bearer ").unwrap_or(token).to_owned()
        });
        Self { token, name }
    }

    pub(super) fn of<T>(call: &tonic::Request<T>) -> Self {
        Self::by(call.metadata(), call.extensions())
    }
}

impl Front {
    /// Who makes a call that shows this.
    pub(super) async fn identify(&self, shown: &Shown) -> Result<Identity, Refusal> {
        let known = async {
            loop {
                if let Some(who) = self.core.look(|view| self.identify_by(view, shown))? {
                    return Ok(who);
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        let late = |_| Err(Refusal::InvalidAuthToken);
        tokio::time::timeout(WAIT_MAX, known).await.unwrap_or_else(late)
    }

    /// A view to answer from, and who asks, by that same view.
    pub(super) async fn meet(
        &self,
        is_serializable: bool,
        shown: &Shown,
    ) -> Result<(View, Identity), Status> {
        loop {
            let view = self.view(is_serializable).await?;
            if let Some(who) = self.identify_by(&view, shown).map_err(status)? {
                return Ok((view, who));
            }
            self.identify(shown).await.map_err(status)?;
        }
    }

    /// Judges a call that only reads what this member knows, by the rights it knows.
    pub(super) async fn check_call<T>(
        &self,
        call: &tonic::Request<T>,
        check: impl FnOnce(&Book, &Identity) -> Result<(), Refusal>,
    ) -> Result<View, Status> {
        self.admit(true, call, check).await
    }

    /// A view to answer from, if by that view the caller may be answered.
    pub(super) async fn admit<T>(
        &self,
        is_serializable: bool,
        call: &tonic::Request<T>,
        check: impl FnOnce(&Book, &Identity) -> Result<(), Refusal>,
    ) -> Result<View, Status> {
        let (view, who) = self.meet(is_serializable, &Shown::of(call)).await?;
        check(&view.facts.auth.book, &who).map_err(status)?;
        Ok(view)
    }

    /// Nobody yet: the token was issued by an entry that the view does not have.
    fn identify_by(&self, view: &View, shown: &Shown) -> Result<Option<Identity>, Refusal> {
        let claims;
        let credential = match (shown, &self.tokens) {
            // It would count for nothing, and verifying a signature costs something.
            _ if !view.facts.auth.book.is_enabled() => Credential::Nothing,
            (Shown { token: Some(token), .. }, Tokens::Simple) => Credential::Token(token),
            (Shown { token: Some(token), .. }, Tokens::Signed(signed)) => {
                claims = signed.read(token)?;
                Credential::Claims(&claims)
            }
            (Shown { token: Some(_), .. }, Tokens::Absent) => {
                return Err(Refusal::InvalidAuthToken);
            }
            (Shown { name: Some(CertifiedName(name)), .. }, _) => Credential::CommonName(name),
            _ => Credential::Nothing,
        };
        Ok(match self.core.identify(view, credential)? {
            Identified::As { who, .. } => Some(who),
            Identified::NotYet(_) => None,
        })
    }
}
