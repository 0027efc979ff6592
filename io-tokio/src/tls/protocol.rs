//! Versions of TLS and cipher suites, by the names Go has for them.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion};

/// A version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// What is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The oldest version.
    pub min: Version,
    /// The newest one.
    pub max: Version,
    /// Cipher suites of TLS 1.2; all there are if nobody says. Those of 1.3 cannot be chosen, as
    /// with Go.
    pub suites: Option<Vec<CipherSuite>>,
}

impl Default for Protocol {
    fn default() -> Self {
        Self { min: Version::Tls12, max: Version::Tls13, suites: None }
    }
}

/// Suites by Go's names, and two that etcd knows by older ones.
const SUITES: [(&str, CipherSuite); 11] = [
    ("TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// Suites that Go speaks and rustls does not: CBC, RC4, 3DES, and keys exchanged by RSA.
const UNSPOKEN: [&str; 16] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

impl Version {
    /// Reads a version as etcd's flags name it.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "TLS1.2" => Some(Self::Tls12),
            "TLS1.3" => Some(Self::Tls13),
            _ => None,
        }
    }
}

impl Protocol {
    /// Reads names of suites separated by commas; comes with those that are known to Go and not
    /// spoken here. The error is a name nobody knows.
    pub fn parse_suites(names: &str) -> Result<(Vec<CipherSuite>, Vec<&'static str>), &str> {
        let (mut suites, mut unspoken) = (Vec::new(), Vec::new());
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if let Some((_, suite)) = SUITES.iter().find(|(known, _)| *known == name) {
                suites.push(*suite);
            } else {
                unspoken.push(*UNSPOKEN.iter().find(|known| **known == name).ok_or(name)?);
            }
        }
        Ok((suites, unspoken))
    }

    /// Whether some suite of TLS 1.2 is left.
    pub fn speaks_12(&self) -> bool {
        let is_of_12 = |suite: &CipherSuite| suite.as_str().is_some_and(|s| s.contains("ECDHE"));
        self.min == Version::Tls12
            && self.suites.as_ref().is_none_or(|suites| suites.iter().any(is_of_12))
    }

    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        let mut provider = aws_lc_rs::default_provider();
        if let Some(chosen) = &self.suites {
            provider.cipher_suites.retain(|suite| match suite {
                SupportedCipherSuite::Tls13(_) => true,
                SupportedCipherSuite::Tls12(_) => chosen.contains(&suite.suite()),
            });
        }
        Arc::new(provider)
    }

    pub(super) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let mut versions = Vec::with_capacity(2);
        if self.max == Version::Tls13 {
            versions.push(&TLS13);
        }
        if self.speaks_12() {
            versions.push(&TLS12);
        }
        versions
    }
}
