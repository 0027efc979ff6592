//! Why a handshake failed, and what to do about it.

use std::io;

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible,
    PeerMisbehaved,
};

/// A handshake's failure in one sentence.
pub fn explain(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(refusal)) => of_certificate(refusal),
        Some(Error::NoCertificatesPresented) => {
            "client didn't provide a certificate; give it one that --trusted-ca-file has issued"
                .to_owned()
        }
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "first record does not look like a TLS handshake; use an https URL to connect here"
                .to_owned()
        }
        Some(Error::PeerIncompatible(why)) => of_incompatible(why),
        Some(Error::AlertReceived(alert)) => of_alert(*alert),
        Some(Error::PeerMisbehaved(PeerMisbehaved::ServerNameMustContainOneHostName)) => {
            "tls: client asks for a server name that is no host's, as clients of sockets in the \
             file system do by an absolute path; connect to unixs://localhost:name, where name is \
             the socket's relative path, or give the client a server name"
                .to_owned()
        }
        Some(other) => format!("tls: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "EOF: the other side hung up".to_owned()
        }
        None => error.to_string(),
    }
}

fn of_certificate(refusal: &CertificateError) -> String {
    use CertificateError as Refusal;
    match refusal {
        Refusal::Expired | Refusal::ExpiredContext { .. } => {
            "x509: certificate has expired; issue a new one, and compare the clocks of both hosts"
                .to_owned()
        }
        Refusal::NotValidYet | Refusal::NotValidYetContext { .. } => {
            "x509: certificate is not valid yet; compare the clocks of both hosts".to_owned()
        }
        Refusal::UnknownIssuer => {
            "x509: certificate signed by unknown authority; add its authority's certificate to the \
             trusted CA file, and those between the two to the other side's certificate file"
                .to_owned()
        }
        Refusal::Revoked => {
            "certificate revoked: its serial number is on the revocation list; issue a new one"
                .to_owned()
        }
        Refusal::NotValidForName => {
            "client certificate authentication failed: it is trusted, but of no common name or \
             hostname that is allowed; allow one of its names, or issue one with an allowed name"
                .to_owned()
        }
        Refusal::NotValidForNameContext { expected, presented } => of_name(expected, presented),
        Refusal::InvalidPurpose | Refusal::InvalidPurposeContext { .. } => {
            "x509: certificate specifies an incompatible key usage; issue one whose extended key \
             usage has serverAuth and clientAuth, or none at all"
                .to_owned()
        }
        Refusal::BadEncoding => {
            "x509: certificate cannot be read; issue one of version 3".to_owned()
        }
        Refusal::BadSignature => {
            "x509: certificate's signature is not its issuer's; two authorities of one name may \
             be at work: put the right one into the trusted CA file"
                .to_owned()
        }
        Refusal::Other(OtherError(inner)) => {
            let inner = inner.downcast_ref::<webpki::Error>();
            inner.map_or_else(|| format!("x509: {refusal}"), of_chain)
        }
        other => format!("x509: {other}"),
    }
}

/// "DnsName(\"a\")" and "IpAddress(...)" are how they come; Go names what is inside.
fn of_name(expected: &ServerName<'_>, presented: &[String]) -> String {
    let bare = |one: &String| {
        let inside = one.split_once('(').map_or(one.as_str(), |(_, inside)| inside);
        inside.trim_end_matches(')').trim_matches('"').to_owned()
    };
    let presented: Vec<String> = presented.iter().map(bare).collect();
    let expected = expected.to_str();
    if presented.is_empty() {
        return format!(
            "x509: certificate is not valid for any names, but wanted to match {expected}; issue \
             one with subject alternative names, a common name does not count"
        );
    }
    format!(
        "x509: certificate is valid for {}, not {expected}; issue one that names it, or connect by \
         a name it has",
        presented.join(", ")
    )
}

fn of_chain(error: &webpki::Error) -> String {
    use webpki::Error as Pki;
    match error {
        Pki::CaUsedAsEndEntity => {
            "x509: an authority's own certificate is shown as a host's; add this very certificate \
             to the trusted CA file, or issue one without CA:TRUE"
                .to_owned()
        }
        Pki::UnsupportedCertVersion => {
            "x509: certificate of version 1; issue one of version 3, as every tool of today does"
                .to_owned()
        }
        Pki::UnsupportedSignatureAlgorithmContext(_)
        | Pki::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "x509: certificate is signed in a way that is not accepted (SHA-1, or RSA below 2048 \
             bits); issue it with SHA-256 and a larger key"
                .to_owned()
        }
        other => format!("x509: {other:?}; issue another certificate"),
    }
}

fn of_incompatible(why: &PeerIncompatible) -> String {
    match why {
        PeerIncompatible::NoCipherSuitesInCommon => {
            "tls: no cipher suite supported by both client and server; see --cipher-suites, and \
             which of them the certificate's kind of key allows"
                .to_owned()
        }
        PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => {
            "tls: client offered only unsupported versions; see --tls-min-version and \
             --tls-max-version"
                .to_owned()
        }
        other => format!("tls: {other:?}"),
    }
}

/// What the other side said. Go's words for the one that tests look for.
fn of_alert(alert: AlertDescription) -> String {
    let (words, cure) = match alert {
        AlertDescription::BadCertificate => ("bad certificate", "its log says why"),
        AlertDescription::CertificateRequired => {
            ("certificate required", "give this side a client certificate")
        }
        AlertDescription::UnknownCA => {
            ("unknown certificate authority", "add this side's authority to what it trusts")
        }
        AlertDescription::CertificateExpired => ("expired certificate", "issue a new one"),
        AlertDescription::CertificateRevoked => ("revoked certificate", "issue a new one"),
        AlertDescription::ProtocolVersion => {
            ("protocol version not supported", "see --tls-min-version and --tls-max-version")
        }
        AlertDescription::HandshakeFailure => ("handshake failure", "see --cipher-suites"),
        other => return format!("remote error: tls: {other:?}; the other side's log may say why"),
    };
    format!("remote error: tls: {words}; {cure}")
}
