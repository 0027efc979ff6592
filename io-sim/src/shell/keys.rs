//! What members and clients show each other, and believe: one certificate for all of them.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use quorate_io_tokio::tls::{Keyring, Pair, Security, Source};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ED25519, date_time_ymd,
};

use super::plan::MEMBERS;
use super::wires::member_address;

/// Simulated time begins with Unix's, and no run lasts for years.
const VALID_YEARS: (i32, i32) = (1970, 1980);

/// One for everybody; with TLS everybody has to show it.
pub(super) fn keyring(is_secure: bool) -> Result<Arc<Keyring>, String> {
    if !is_secure {
        return Keyring::open("simulated", Security::default()).map(Arc::new);
    }
    let made = tempfile::tempdir().map_err(|error| error.to_string())?;
    make(made.path()).map_err(|error| format!("cannot make certificates: {error}"))?;
    let file = |name| Source::new("simulated", made.path().join(name));
    let security = Security {
        pair: Some(Pair { cert: file("all.pem"), key: file("all.key") }),
        trusted_ca: Some(file("authority.pem")),
        asks_clients: true,
        ..Security::default()
    };
    Ok(Arc::new(Keyring::open("simulated", security)?.kept()))
}

/// An authority, and what it issues. Signatures of this kind have one length: on the wire a run
/// looks the same twice.
fn make(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut authority = valid(CertificateParams::default());
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = KeyPair::generate_for(&PKCS_ED25519)?;
    let authority = CertifiedIssuer::self_signed(authority, own)?;

    let hosts: Vec<String> = (0..MEMBERS).map(|place| member_address(place).to_string()).collect();
    let mut all = valid(CertificateParams::new(hosts)?);
    all.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let issued = all.signed_by(&key, &authority)?;
    std::fs::write(folder.join("authority.pem"), authority.pem())?;
    std::fs::write(folder.join("all.pem"), issued.pem())?;
    std::fs::write(folder.join("all.key"), key.serialize_pem())?;
    Ok(())
}

fn valid(mut params: CertificateParams) -> CertificateParams {
    let (first, last) = VALID_YEARS;
    params.not_before = date_time_ymd(first, 1, 1);
    params.not_after = date_time_ymd(last, 1, 1);
    params
}
