//! Who is believed: the same chains, names and lists that Go and etcd accept.
//!
//! ```text
//! shown chain ──> one of the trusted certificates itself?  ──> in its time, for this purpose
//!            '──> else leads to a trusted one (webpki)
//!            ──> nothing of it revoked ──> its name allowed ──> in
//! ```
//!
//! Two rules are Go's and not webpki's. A certificate that stands itself among the trusted ones is
//! good, even if it is an authority's own: small clusters use one certificate for everything. And a
//! certificate for any purpose is one for this purpose.
//!
//! Answers to: Go's `crypto/x509/verify.go`; etcd v3.7.1 `client/pkg/transport/listener_tls.go`
//! (checkCRL: serial numbers alone count, whoever issued the list and however old it is)

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage};
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};

use super::Allowed;
use super::names::{common_name, serial_of};

/// It does not decode.
const BAD: CertificateError = CertificateError::BadEncoding;

/// What a certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be connected to.
    Server,
    /// To connect.
    Client,
}

/// The purpose that stands for all, as it is told in certificates.
const ANY_PURPOSE: [usize; 5] = [2, 5, 29, 37, 0];

impl Purpose {
    const fn number(self) -> &'static [usize] {
        match self {
            Self::Server => KeyUsage::SERVER_AUTH_REPR,
            Self::Client => KeyUsage::CLIENT_AUTH_REPR,
        }
    }

    const fn usage(self) -> KeyUsage {
        match self {
            Self::Server => KeyUsage::server_auth(),
            Self::Client => KeyUsage::client_auth(),
        }
    }
}

impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut present = Vec::new();
        for purpose in purposes {
            present.push(purpose?.to_decoded_oid());
        }
        let fits = |one: &Vec<usize>| one == self.number() || *one == ANY_PURPOSE;
        if present.is_empty() || present.iter().any(fits) {
            return Ok(());
        }
        let required = self.usage();
        Err(webpki::Error::RequiredEkuNotFoundContext(webpki::RequiredEkuNotFoundContext {
            required,
            present,
        }))
    }
}

/// Judges what the other side shows.
#[derive(Debug)]
pub(super) struct Judge {
    /// Whether anybody is believed who has a certificate.
    pub(super) is_blind: bool,
    pub(super) trusted: Vec<CertificateDer<'static>>,
    /// Of these; the system's if nobody says.
    pub(super) roots: Option<RootCertStore>,
    pub(super) hints: Vec<DistinguishedName>,
    /// Serial numbers, without leading zeros.
    pub(super) revoked: BTreeSet<Vec<u8>>,
    pub(super) allowed: Allowed,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl Judge {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        now: UnixTime,
        purpose: Purpose,
    ) -> Result<(), Error> {
        if self.is_blind {
            return Ok(());
        }
        if self.trusted.contains(leaf) {
            check_alone(leaf, now, purpose)?;
        } else {
            let cert = EndEntityCert::try_from(leaf).map_err(refusal)?;
            let (algorithms, roots) = (self.algorithms.all, &self.roots().roots);
            let path = cert.verify_for_usage(algorithms, roots, issuers, now, purpose, None, None);
            self.check_anchor(path.map_err(refusal)?.anchor(), now)?;
        }
        for shown in std::iter::once(leaf).chain(issuers) {
            if !self.revoked.is_empty() && self.revoked.contains(serial_of(shown)?) {
                return Err(CertificateError::Revoked.into());
            }
        }
        self.check_allowed(leaf)
    }

    /// Whether one of the trusted certificates that are this anchor is in its time. Of the system's
    /// authorities only those are there that are.
    fn check_anchor(&self, anchor: &TrustAnchor<'_>, now: UnixTime) -> Result<(), Error> {
        let trusted = self.trusted.iter().zip(&self.roots().roots);
        let mut judged = trusted.filter(|(_, root)| *root == anchor).map(|(cert, _)| {
            let (_, cert) = X509Certificate::from_der(cert).map_err(|_| BAD)?;
            check_time(&cert, now)
        });
        let first = judged.next().unwrap_or(Ok(()));
        if first.is_ok() || judged.any(|one| one.is_ok()) { Ok(()) } else { Ok(first?) }
    }

    fn roots(&self) -> &RootCertStore {
        static SYSTEMS: OnceLock<RootCertStore> = OnceLock::new();
        let load = || {
            let mut roots = RootCertStore::empty();
            // One that cannot be read is left out, as everywhere where the system's are used.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        };
        self.roots.as_ref().unwrap_or_else(|| SYSTEMS.get_or_init(load))
    }

    fn check_allowed(&self, leaf: &CertificateDer<'_>) -> Result<(), Error> {
        let is_allowed = match &self.allowed {
            Allowed::Anyone => true,
            Allowed::CommonNames(names) => {
                common_name(leaf).is_some_and(|name| names.contains(&name))
            }
            Allowed::Hostnames(names) => names.iter().any(|name| check_name(leaf, name).is_ok()),
        };
        if is_allowed { Ok(()) } else { Err(CertificateError::NotValidForName.into()) }
    }
}

/// Whether a trusted certificate is good now and for this, with nobody to vouch for it.
fn check_alone(
    leaf: &CertificateDer<'_>,
    now: UnixTime,
    purpose: Purpose,
) -> Result<(), CertificateError> {
    let (_, cert) = X509Certificate::from_der(leaf).map_err(|_| BAD)?;
    check_time(&cert, now)?;
    let usage = cert.extended_key_usage().map_err(|_| BAD)?;
    let fits = usage.is_none_or(|usage| {
        let usage = usage.value;
        usage.any
            || match purpose {
                Purpose::Server => usage.server_auth,
                Purpose::Client => usage.client_auth,
            }
    });
    if fits { Ok(()) } else { Err(CertificateError::InvalidPurpose) }
}

fn check_time(cert: &X509Certificate<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let now = ASN1Time::from_timestamp(seconds).map_err(|_| BAD)?;
    if now < cert.validity().not_before {
        return Err(CertificateError::NotValidYet);
    }
    if now > cert.validity().not_after {
        return Err(CertificateError::Expired);
    }
    Ok(())
}

fn check_name(leaf: &CertificateDer<'_>, name: &str) -> Result<(), Error> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let name = ServerName::try_from(bare).map_err(|_| CertificateError::NotValidForName)?;
    check_server_name(leaf, &name)
}

fn check_server_name(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    let cert = EndEntityCert::try_from(leaf).map_err(refusal)?;
    cert.verify_is_valid_for_subject_name(name).map_err(refusal)
}

/// The same refusal in rustls's words, which choose the alert that the other side hears.
fn refusal(error: webpki::Error) -> Error {
    use webpki::Error as Pki;
    let refusal = match error {
        Pki::BadDer | Pki::BadDerTime | Pki::TrailingData(_) => CertificateError::BadEncoding,
        Pki::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        Pki::CertExpired { time, not_after } => {
            CertificateError::ExpiredContext { time, not_after }
        }
        Pki::UnknownIssuer => CertificateError::UnknownIssuer,
        Pki::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        Pki::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        Pki::CertNotValidForName(found) => CertificateError::NotValidForNameContext {
            expected: found.expected,
            presented: found.presented,
        },
        other => CertificateError::Other(OtherError(Arc::new(other))),
    };
    refusal.into()
}

/// Whether the other side has the key of its certificate is asked alike of both.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, signed, &self.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, signed, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}

impl ClientCertVerifier for Judge {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(leaf, issuers, now, Purpose::Client)?;
        Ok(ClientCertVerified::assertion())
    }

    signatures!();
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(leaf, issuers, now, Purpose::Server)?;
        if !self.is_blind {
            check_server_name(leaf, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    signatures!();
}
