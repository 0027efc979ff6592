//! What certificates say about who shows them.
//!
//! Answers to: etcd v3.7.1 `client/pkg/transport/listener_tls.go` (checkCertSAN)

use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::Path;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{CertificateError, Error};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// The common name in a certificate; where there are several the last one, as Go has it.
pub fn common_name(cert: &CertificateDer<'_>) -> Option<String> {
    let (_, cert) = X509Certificate::from_der(cert).ok()?;
    let name = cert.subject().iter_common_name().last()?.as_str().ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The same of the first certificate in a file.
pub fn common_name_in(path: &Path) -> Result<Option<String>, String> {
    let cert = CertificateDer::from_pem_file(path);
    let cert = cert.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(common_name(&cert))
}

/// A certificate's serial number, without leading zeros.
pub(super) fn serial_of<'a>(cert: &'a CertificateDer<'_>) -> Result<&'a [u8], Error> {
    let parsed = X509Certificate::from_der(cert);
    let (_, parsed) = parsed.map_err(|_| CertificateError::BadEncoding)?;
    Ok(without_zeros(parsed.raw_serial()))
}

/// A number's bytes, as they are compared.
pub(super) fn without_zeros(mut number: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = number {
        number = rest;
    }
    number
}

/// Hosts a certificate names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hosts {
    addresses: Vec<IpAddr>,
    names: Vec<String>,
}

impl Hosts {
    fn of(cert: &CertificateDer<'_>) -> Self {
        let mut hosts = Self::default();
        let Ok((_, cert)) = X509Certificate::from_der(cert) else { return hosts };
        let Ok(Some(named)) = cert.subject_alternative_name() else { return hosts };
        for name in &named.value.general_names {
            match name {
                GeneralName::DNSName(name) => hosts.names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => hosts.addresses.extend(address(bytes)),
                _ => {}
            }
        }
        hosts
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| IpAddr::from(sixteen).to_canonical())
}

/// Whether a certificate that names hosts comes from one of them; the error says why not. It may
/// ask a name server, and takes as long as that does.
pub fn check_address(cert: &CertificateDer<'_>, from: IpAddr) -> Result<(), String> {
    let from = from.to_canonical();
    let hosts = Hosts::of(cert);
    if hosts == Hosts::default() || hosts.addresses.contains(&from) {
        return Ok(());
    }
    if hosts.names.iter().any(|name| is_at(name, from)) || is_called(from, &hosts.names) {
        return Ok(());
    }
    let addresses: Vec<String> = hosts.addresses.iter().map(IpAddr::to_string).collect();
    Err(format!(
        "tls: {from} does not match any of DNSNames {:?} nor of IP addresses {addresses:?} of its \
         certificate; issue one that names the address or a name that resolves to it, or give \
         --peer-skip-client-san-verification",
        hosts.names
    ))
}

fn is_at(name: &str, address: IpAddr) -> bool {
    let found = (name, 0).to_socket_addrs();
    !name.starts_with("*.") && found.is_ok_and(|mut all| all.any(|one| one.ip() == address))
}

/// Whether the address is called by one of the names, of which some may be wildcards.
fn is_called(address: IpAddr, names: &[String]) -> bool {
    let Ok(called) = dns_lookup::lookup_addr(&address) else { return false };
    let called = called.trim_end_matches('.');
    names.iter().any(|name| match name.strip_prefix('*') {
        Some(end) if end.starts_with('.') => called.ends_with(end),
        _ => called == name,
    })
}
