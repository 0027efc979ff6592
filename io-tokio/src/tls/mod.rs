//! TLS: what files say, kept up to date; who is let in, and why not.
//!
//! ```text
//! files ──read again when they change──> Material: a config to serve by, a config to dial by
//!                                            |
//!   handshake ── Keyring::fresh ─────────────'        chain ──> Judge: trusted? revoked? allowed?
//! ```
//!
//! Invariants
//! - A handshake is done with what the files held at most [`LOOK_INTERVAL`] before, or a second
//!   where somebody is reading them; certificates, keys, authorities and revocation lists alike.
//!   Connections that are open stay open.
//! - Files that changed and cannot be used change nothing: what was in use stays in use, and the
//!   log says so.
//! - No session is resumed: every connection is judged by what holds when it begins.
//! - Every refusal names the flag or the certificate it is about, and what to do.
//!
//! Deliberately absent: several certificates chosen by the name a client asks for (etcd has one),
//! OCSP, renegotiation, TLS before 1.2.
//!
//! Answers to: etcd v3.7.1 `client/pkg/transport/listener.go`, `listener_tls.go`,
//! `client/pkg/tlsutil/`, and Go's `crypto/x509` where etcd relies on it

mod judge;
mod keyring;
mod material;
mod names;
mod protocol;
mod reason;
mod selfmade;

use std::fmt;
use std::path::{Path, PathBuf};

pub use keyring::{Keyring, LOOK_INTERVAL};
pub use material::Material;
pub use names::{check_address, common_name, common_name_in};
pub use protocol::{Protocol, Version};
pub use reason::explain;
pub use selfmade::SelfMade;

/// A file, and the flag that named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Without dashes.
    pub flag: &'static str,
    /// Where it is.
    pub path: PathBuf,
}

impl Source {
    /// The file that flag names.
    pub fn new(flag: &'static str, path: impl AsRef<Path>) -> Self {
        Self { flag, path: path.as_ref().to_owned() }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{} {}", self.flag, self.path.display())
    }
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, then those of its issuers.
    pub cert: Source,
    /// Its private key.
    pub key: Source,
}

/// Whose certificates are accepted among those that are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// Everybody's.
    #[default]
    Anyone,
    /// Those with one of these common names.
    CommonNames(Vec<String>),
    /// Those that are valid for one of these names or addresses.
    Hostnames(Vec<String>),
}

/// How the connections of one kind, clients' or peers', are secured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// What this member shows who connects to it; and whom it connects to, if there is no other.
    pub pair: Option<Pair>,
    /// What it shows whom it connects to.
    pub client_pair: Option<Pair>,
    /// A pair it makes for itself.
    pub self_made: Option<SelfMade>,
    /// Whom it believes; the system's authorities if nobody says.
    pub trusted_ca: Option<Source>,
    /// What was revoked.
    pub crl: Option<Source>,
    /// Whether everybody is believed who has a certificate.
    pub is_blind: bool,
    /// Whether who connects must show a certificate, whoever is believed.
    pub asks_clients: bool,
    /// Whose certificates are accepted.
    pub allowed: Allowed,
    /// Whether a certificate that names hosts must come from one of them.
    pub checks_addresses: bool,
    /// Versions and cipher suites.
    pub protocol: Protocol,
}

impl Security {
    /// Whether there is anything to serve TLS with.
    pub const fn can_serve(&self) -> bool {
        self.pair.is_some() || self.self_made.is_some()
    }

    /// Whether who connects must show a certificate: naming an authority is asking, as in etcd.
    pub const fn must_clients_prove(&self) -> bool {
        self.self_made.is_none() && (self.asks_clients || self.trusted_ca.is_some())
    }
}

#[cfg(test)]
mod tests;
