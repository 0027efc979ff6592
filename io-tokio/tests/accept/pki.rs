//! An authority of a test, the certificates it issues and the ones it revokes.
//!
//! ```text
//! dir/NAME.pem                 the authority's own certificate
//! dir/LEAF.pem, LEAF.key       what it issued
//! ```

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, SignatureAlgorithm,
};
use time::{Duration, OffsetDateTime};

/// An authority with a directory.
pub(crate) struct Authority {
    dir: PathBuf,
    name: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// What a certificate shall say.
#[derive(Clone)]
pub(crate) struct Wish<'a> {
    pub(crate) common_name: &'a str,
    pub(crate) hosts: &'a [&'a str],
    pub(crate) serial: u64,
    /// In days from now.
    pub(crate) lasts: (i64, i64),
    pub(crate) is_authority: bool,
    pub(crate) purposes: &'a [ExtendedKeyUsagePurpose],
    pub(crate) algorithm: &'static SignatureAlgorithm,
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Self {
            common_name: "",
            hosts: &["localhost", "127.0.0.1", "::1"],
            serial: 1,
            lasts: (-1, 300),
            is_authority: false,
            purposes: &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            algorithm: &rcgen::PKCS_ECDSA_P256_SHA256,
        }
    }
}

impl Wish<'_> {
    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "tests");
        if !self.common_name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, self.common_name);
        }
        let host = |host: &&str| match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*host).try_into().expect("a name")),
        };
        params.subject_alt_names = self.hosts.iter().map(host).collect();
        params.serial_number = Some(SerialNumber::from(self.serial));
        let now = OffsetDateTime::now_utc();
        params.not_before = now + Duration::days(self.lasts.0);
        params.not_after = now + Duration::days(self.lasts.1);
        params.extended_key_usages = self.purposes.to_vec();
        if self.is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    }
}

impl Authority {
    /// A new one of that name, its certificate written.
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        Self::lasting(dir, name, Wish::default().lasts)
    }

    /// The same with a certificate for these days.
    pub(crate) fn lasting(dir: &Path, name: &str, lasts: (i64, i64)) -> Self {
        let params = own_params(name, lasts);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let authority = Self { dir: dir.to_owned(), name: name.to_owned(), issuer };
        fs::write(authority.cert(), authority.pem()).expect("a directory to write to");
        authority
    }

    /// Another certificate of its own, for the usual days.
    pub(crate) fn renewed(&self) -> String {
        let params = own_params(&self.name, Wish::default().lasts);
        params.self_signed(self.issuer.key()).expect("a certificate").pem()
    }

    /// Where its certificate is.
    pub(crate) fn cert(&self) -> PathBuf {
        self.dir.join(format!("{}.pem", self.name))
    }

    /// Its certificate.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a certificate into files of that name.
    pub(crate) fn issue(&self, file: &str, wish: &Wish<'_>) -> Issued {
        let key = KeyPair::generate_for(wish.algorithm).expect("a key");
        let cert = wish.params().signed_by(&key, &self.issuer).expect("a certificate");
        write_pair(&self.dir, file, &cert.pem(), &key)
    }

    /// A list of revoked serial numbers, in DER.
    pub(crate) fn revoke(&self, serials: &[u64]) -> Vec<u8> {
        let now = OffsetDateTime::now_utc();
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now - Duration::days(3),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: now - Duration::days(2),
            // Expired, as lists of small clusters are.
            next_update: now - Duration::days(1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("a list").der().to_vec()
    }
}

/// What an authority's own certificate says.
fn own_params(name: &str, lasts: (i64, i64)) -> CertificateParams {
    let wish = Wish { common_name: name, hosts: &[], purposes: &[], lasts, ..Wish::default() };
    let mut params = Wish { is_authority: true, ..wish }.params();
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params
}

/// A certificate that is signed with its own key.
pub(crate) fn self_signed(dir: &Path, file: &str, wish: &Wish<'_>) -> Issued {
    let key = KeyPair::generate_for(wish.algorithm).expect("a key");
    let cert = wish.params().self_signed(&key).expect("a certificate");
    write_pair(dir, file, &cert.pem(), &key)
}

fn write_pair(dir: &Path, file: &str, cert: &str, key: &KeyPair) -> Issued {
    let issued =
        Issued { cert: dir.join(format!("{file}.pem")), key: dir.join(format!("{file}.key")) };
    // The key first: whoever looks in between finds a pair that does not match, and looks again.
    replace(&issued.key, key.serialize_pem().as_bytes());
    replace(&issued.cert, cert.as_bytes());
    issued
}

/// Replaces a file at once, as those do that care.
pub(crate) fn replace(path: &Path, bytes: &[u8]) {
    let aside = path.with_extension("new");
    fs::write(&aside, bytes).expect("a directory to write to");
    fs::rename(&aside, path).expect("a file to replace");
}
