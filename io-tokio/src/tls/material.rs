//! What the files hold, made into configurations to serve and to dial by.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
};
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{
    ClientConfig, Error, InconsistentKeys, RootCertStore, ServerConfig, SignatureScheme,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use super::judge::Judge;
use super::names::without_zeros;
use super::{Pair, Security, Source};

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// What is offered to those who ask which protocol to speak.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Files, read: in the order in which the settings name them.
pub(super) type Contents = Vec<Vec<u8>>;

/// The files that matter to these settings.
pub(super) fn sources(security: &Security) -> Vec<&Source> {
    let pairs = security.pair.iter().chain(&security.client_pair);
    let files = pairs.flat_map(|pair| [&pair.cert, &pair.key]);
    files.chain(&security.trusted_ca).chain(&security.crl).collect()
}

/// Reads all of them.
pub(super) fn read(sources: &[&Source]) -> Result<Contents, String> {
    sources.iter().map(|source| read_one(source)).collect()
}

fn read_one(source: &Source) -> Result<Vec<u8>, String> {
    let refused = |why: &dyn std::fmt::Display| {
        format!("cannot read {source}: {why}; name a file that this user may read")
    };
    let size = fs::metadata(&source.path).map_err(|error| refused(&error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(refused(&format_args!("{size} bytes are too many")));
    }
    fs::read(&source.path).map_err(|error| refused(&error))
}

/// Configurations, ready to use.
#[derive(Debug)]
pub struct Material {
    /// To serve by; nothing without a certificate.
    pub server: Option<Arc<ServerConfig>>,
    /// To dial by.
    pub client: Arc<ClientConfig>,
    /// What an operator may want to know of it.
    pub(super) remarks: Vec<String>,
}

impl Material {
    /// Makes sense of what was read; the error says which file is wrong, and how to mend it.
    pub(super) fn build(security: &Security, contents: &Contents) -> Result<Self, String> {
        let all = sources(security);
        let held = |source: &Source| {
            let found = all.iter().position(|one| *one == source);
            found.and_then(|at| contents.get(at)).map_or(&[][..], Vec::as_slice)
        };
        let provider = security.protocol.provider();
        let load = |pair: &Pair| load_pair(pair, held(&pair.cert), held(&pair.key), &provider);
        let own = security.pair.as_ref().map(load).transpose()?;
        let shown = security.client_pair.as_ref().map(load).transpose()?.or_else(|| own.clone());
        let pairs = [(&security.pair, &own), (&security.client_pair, &shown)];
        let mut remarks = pairs.into_iter().filter_map(remark_on_time).collect();
        let judge = Arc::new(judge(security, &held, &provider, &mut remarks)?);
        let wrong = |error: Error| format!("the TLS settings do not work together: {error}");
        let versions = security.protocol.versions();
        let server = |own: Arc<CertifiedKey>| {
            let builder = ServerConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&versions)
                .map_err(wrong)?;
            let builder = if security.must_clients_prove() {
                builder.with_client_cert_verifier(judge.clone())
            } else {
                builder.with_no_client_auth()
            };
            let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
            config.alpn_protocols = PROTOCOLS.map(Vec::from).into();
            // A session taken up again would not be judged again.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            Ok::<_, String>(Arc::new(config))
        };
        let server = own.map(server).transpose()?;
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .map_err(wrong)?
            .dangerous()
            .with_custom_certificate_verifier(judge);
        let mut client = match shown {
            Some(pair) => builder.with_client_cert_resolver(Arc::new(Shown(pair))),
            None => builder.with_no_client_auth(),
        };
        client.resumption = tokio_rustls::rustls::client::Resumption::disabled();
        Ok(Self { server, client: Arc::new(client), remarks })
    }
}

/// A certificate that is shown whoever asks: hints about authorities are ignored, as in etcd.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn load_pair(
    pair: &Pair,
    cert: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, String> {
    let chain = certificates(&pair.cert, cert)?;
    let key = private_key(&pair.key, key)?;
    let (cert, key_file) = (&pair.cert, &pair.key);
    CertifiedKey::from_der(chain, key, provider).map(Arc::new).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => format!(
            "the private key in {key_file} does not belong to the certificate in {cert}; write \
             both files of the same pair"
        ),
        Error::InvalidCertificate(_) => {
            format!("the certificate in {cert} cannot be used: {error}; issue one of version 3")
        }
        other => format!(
            "the private key in {key_file} cannot be used: {other}; use RSA of 2048 to 8192 bits, \
             ECDSA on P-256, P-384 or P-521, or Ed25519"
        ),
    })
}

/// A certificate that is used out of its time, which may be an operator's only clue.
fn remark_on_time((pair, loaded): (&Option<Pair>, &Option<Arc<CertifiedKey>>)) -> Option<String> {
    let (pair, loaded) = (pair.as_ref()?, loaded.as_ref()?);
    let (_, cert) = X509Certificate::from_der(loaded.cert.first()?).ok()?;
    (!cert.validity().is_valid()).then(|| {
        format!(
            "the certificate in {} is valid from {} to {} only, and others will refuse it now; \
             issue a new one, or set the clock",
            pair.cert,
            cert.validity().not_before,
            cert.validity().not_after
        )
    })
}

fn certificates(source: &Source, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let path = source.path.display();
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) if bytes.starts_with(&[0x30]) => Err(format!(
            "{source} is DER, not PEM; convert it: openssl x509 -inform der -in {path} -out ..."
        )),
        Ok(_) => Err(format!("{source} holds no certificate in PEM; write one into it")),
        Err(error) => Err(format!("{source} is no proper PEM: {error}; write it again")),
    }
}

fn private_key(source: &Source, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let path = source.path.display();
    let has = |words: &[u8]| bytes.windows(words.len()).any(|window| window == words);
    if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
        return Err(format!(
            "the private key in {source} is encrypted; write it without a passphrase: openssl \
             pkey -in {path} -out ..."
        ));
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| {
        format!(
            "{source} holds no private key in PEM: {error}; write one into it, as PKCS#1, SEC1 or \
             PKCS#8"
        )
    })
}

fn judge<'a>(
    security: &Security,
    held: &impl Fn(&Source) -> &'a [u8],
    provider: &CryptoProvider,
    remarks: &mut Vec<String>,
) -> Result<Judge, String> {
    let trusted = match &security.trusted_ca {
        Some(source) => certificates(source, held(source))?,
        None => Vec::new(),
    };
    let mut roots = RootCertStore::empty();
    for cert in &trusted {
        roots.add(cert.clone()).map_err(|error| {
            let source = security.trusted_ca.as_ref().map(Source::to_string).unwrap_or_default();
            format!("a certificate in {source} cannot be read: {error}; take it out")
        })?;
    }
    let revoked = match &security.crl {
        Some(source) => revoked(source, held(source), remarks)?,
        None => BTreeSet::new(),
    };
    Ok(Judge {
        is_blind: security.is_blind || security.self_made.is_some(),
        hints: roots.subjects(),
        roots: (!trusted.is_empty()).then_some(roots),
        trusted,
        revoked,
        allowed: security.allowed.clone(),
        algorithms: provider.signature_verification_algorithms,
    })
}

/// Serial numbers on revocation lists, in DER as etcd has it or in PEM.
fn revoked(
    source: &Source,
    bytes: &[u8],
    remarks: &mut Vec<String>,
) -> Result<BTreeSet<Vec<u8>>, String> {
    let wrong = |why: &dyn std::fmt::Display| {
        format!("{source} is no certificate revocation list: {why}; write one, in DER or in PEM")
    };
    let lists = if bytes.starts_with(&[0x30]) {
        vec![CertificateRevocationListDer::from(bytes)]
    } else {
        let found: Result<Vec<_>, _> =
            CertificateRevocationListDer::pem_slice_iter(bytes).collect();
        found.map_err(|error| wrong(&error))?
    };
    if lists.is_empty() {
        return Err(wrong(&"it holds none"));
    }
    let mut revoked = BTreeSet::new();
    for list in &lists {
        let parsed = CertificateRevocationList::from_der(list);
        let (_, list) = parsed.map_err(|error| wrong(&error))?;
        let serials = list.iter_revoked_certificates();
        revoked.extend(serials.map(|one| without_zeros(one.raw_serial()).to_vec()));
        let now = x509_parser::time::ASN1Time::now();
        if let Some(next) = list.next_update().filter(|next| *next < now) {
            remarks.push(format!(
                "{source} should have been replaced by {next}; what it revokes stays revoked, as \
                 with etcd: publish a new list"
            ));
        }
    }
    Ok(revoked)
}

/// Whether a file is there.
pub(super) fn is_there(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file())
}
