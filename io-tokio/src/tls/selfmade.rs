//! Certificates that members make for themselves, for TLS without authorities.
//!
//! ```text
//! <data-dir>/fixtures/client/cert.pem, key.pem      made once, used again at every start
//! ```
//!
//! They keep listeners out, not liars: nobody can tell whose they are. They are no authorities, as
//! etcd's are: a client that is told to trust one as its authority may then still refuse it as a
//! server's.
//!
//! Answers to: etcd v3.7.1 `client/pkg/transport/listener.go` (SelfCert)

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};
use tracing::{info, warn};

use super::material::is_there;
use super::{Pair, Source};

/// What to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfMade {
    /// The flag that wants it.
    pub flag: &'static str,
    /// Where it is kept.
    pub dir: PathBuf,
    /// Names and addresses it is for.
    pub hosts: Vec<String>,
    /// How long it lasts.
    pub validity_years: u32,
}

impl SelfMade {
    /// The files; made now, unless they are there.
    pub(super) fn pair(&self) -> Result<Pair, String> {
        let (cert, key) = (self.dir.join("cert.pem"), self.dir.join("key.pem"));
        if !(is_there(&cert) && is_there(&key)) {
            self.make(&cert, &key).map_err(|error| {
                let dir = self.dir.display();
                format!("--{} cannot make a certificate in {dir}: {error}", self.flag)
            })?;
        }
        Ok(Pair { cert: Source::new(self.flag, cert), key: Source::new(self.flag, key) })
    }

    fn make(&self, cert_path: &Path, key_path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let key = KeyPair::generate()?;
        let params = self.params()?;
        let not_after = params.not_after;
        let cert = params.self_signed(&key)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        fs::write(cert_path, cert.pem())?;
        let mut key_file = OpenOptions::new();
        let mut key_file =
            key_file.write(true).create(true).truncate(true).mode(0o600).open(key_path)?;
        key_file.write_all(key.serialize_pem().as_bytes())?;
        warn!(
            "certificate-validity-bound-not-after" = %not_after,
            "automatically generate certificates"
        );
        info!(path = %cert_path.display(), "created cert file");
        info!(path = %key_path.display(), "created key file");
        Ok(())
    }

    fn params(&self) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::new(self.hosts.clone())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "etcd");
        params.not_before = OffsetDateTime::now_utc();
        params.not_after = params.not_before + Duration::days(365 * i64::from(self.validity_years));
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params)
    }
}
