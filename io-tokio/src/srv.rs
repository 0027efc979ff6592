//! Servers that DNS names: records of the kind SRV.
//!
//! ```text
//!   _etcd-server-ssl._tcp.example.org   0 0 2380 a.example.org     members, with TLS
//!   _etcd-server._tcp.example.org       0 0 2380 a.example.org     members, without
//!   _etcd-client-ssl._tcp.example.org   0 0 2379 a.example.org     whom clients ask; likewise
//! ```
//!
//! The name servers are the system's, of `/etc/resolv.conf`; or the one that the variable
//! [`SERVER`] names, as `address:port`: service registries often have one that is not the system's.
//!
//! Deliberately absent: addresses. Hosts are looked up where they are connected to, by the system.
//!
//! Answers to: etcd v3.7.1 `client/pkg/srv/srv.go`

use std::cmp::Reverse;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr as _;
use std::sync::Arc;

use clap::Args;
use domain::base::Name;
use domain::base::iana::{Rcode, Rtype};
use domain::rdata::Srv;
use domain::resolv::StubResolver;
use domain::resolv::stub::conf::{ResolvConf, ServerConf, Transport};
use rand::seq::SliceRandom as _;
use tracing::{info, warn};

use crate::cli::{Place, Url};
use crate::tls::{Keyring, Security, Source};
use crate::transport::Dialer;

/// The variable that names a name server to ask instead of the system's.
pub const SERVER: &str = "QUORATE_NAME_SERVER";

/// A server that a record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it is.
    pub url: Url,
    /// Those with the lowest are asked, as long as there are any.
    pub priority: u16,
    /// How often it is asked beside others of its priority.
    pub weight: u16,
}

impl Target {
    /// One that is not compared with others.
    pub fn alone(url: Url) -> Self {
        Self { url, priority: 0, weight: 0 }
    }
}

/// Servers that a service's records name, those that come first by them first.
///
/// # Errors
/// Why there are none.
pub async fn look_up(service: &str, is_secure: bool, domain: &str) -> Result<Vec<Target>, String> {
    let name = format!("_{service}._tcp.{domain}");
    let told = |why: &dyn std::fmt::Display| format!("lookup {name}: {why}");
    let asked = Name::<Vec<u8>>::from_str(&name).map_err(|error| told(&error))?;
    let resolver = resolver().map_err(|error| told(&error))?;
    let answer = resolver.query((asked, Rtype::SRV)).await.map_err(|error| told(&error))?;
    match answer.header().rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => {}
        other => return Err(told(&format_args!("the name server answered {other}"))),
    }
    let section = answer.answer().map_err(|error| told(&error))?;
    let mut found = Vec::new();
    for record in section.limit_to_in::<Srv<_>>() {
        let record = record.map_err(|error| told(&error))?;
        let data = record.data();
        // A lone dot says that there is no such service.
        let host = data.target().to_string();
        if host != "." {
            let url = Url { is_secure, place: Place::Port { host, port: data.port() } };
            found.push(Target { url, priority: data.priority(), weight: data.weight() });
        }
    }
    if found.is_empty() {
        return Err(told(&"no such host"));
    }
    // Equals take turns.
    found.shuffle(&mut rand::rng());
    found.sort_by_key(|target| (target.priority, Reverse(target.weight)));
    Ok(found)
}

/// The name of a service whose records are asked for; clusters of one domain have names.
pub fn service(service: &str, is_secure: bool, name: &str) -> String {
    let ssl = if is_secure { "-ssl" } else { "" };
    let dash = if name.is_empty() { "" } else { "-" };
    format!("{service}{ssl}{dash}{name}")
}

/// Whom clients of a domain's cluster ask: with TLS, then without.
///
/// # Errors
/// Why there is neither.
pub async fn clients(domain: &str, name: &str) -> Result<Vec<Target>, String> {
    let of = async |is_secure| {
        look_up(&service("etcd-client", is_secure, name), is_secure, domain).await
    };
    match (of(true).await, of(false).await) {
        (Err(secure), Err(plain)) => Err(format!("dns lookup errors: {secure} and {plain}")),
        (secure, plain) => Ok([secure.unwrap_or_default(), plain.unwrap_or_default()].concat()),
    }
}

/// A domain that names servers, as the flags of whatever leads to them say it.
#[derive(Args, Debug)]
pub(crate) struct Domain {
    /// domain whose SRV records name the members
    #[arg(long, default_value = "")]
    discovery_srv: String,
    /// which cluster of that domain, if it has several
    #[arg(long, default_value = "")]
    discovery_srv_name: String,
    /// take members from DNS as they are, without asking for the domain's certificate
    #[arg(long)]
    insecure_discovery: bool,
}

impl Domain {
    /// Members that it names; if DNS is not believed, those that have the domain's certificate.
    pub(crate) async fn members(&self, trusted_ca: Source) -> Result<Vec<Target>, String> {
        let domain = &self.discovery_srv;
        if domain.is_empty() {
            return Ok(Vec::new());
        }
        let found = clients(domain, &self.discovery_srv_name).await?;
        let urls: Vec<_> = found.iter().map(|target| target.url.to_string()).collect();
        info!(srv_server = domain, endpoints = urls.join(","), "discovered cluster from SRV");
        if self.insecure_discovery {
            return Ok(found);
        }
        let is_named = !trusted_ca.path.as_os_str().is_empty();
        let trusted_ca = is_named.then_some(trusted_ca);
        let keyring = Keyring::open("members", Security { trusted_ca, ..Security::default() })?;
        let dialer = Dialer::new(Arc::new(keyring)).expecting(domain.clone());
        let (mut good, mut reasons) = (Vec::new(), Vec::new());
        for target in found {
            match dialer.check(&target.url).await {
                Ok(()) => good.push(target),
                Err(why) => reasons.push(why),
            }
        }
        if !reasons.is_empty() {
            warn!(reason = reasons.join(","), "failed to validate discovered endpoints");
        }
        Ok(good)
    }
}

fn resolver() -> io::Result<StubResolver> {
    let Some(named) = std::env::var_os(SERVER).filter(|named| !named.is_empty()) else {
        return Ok(StubResolver::new());
    };
    let address = named.to_str().and_then(|named| named.parse::<SocketAddr>().ok());
    let wrong = || io::Error::other(format!("{SERVER} is no address:port"));
    let mut conf = ResolvConf::new();
    conf.servers.push(ServerConf::new(address.ok_or_else(wrong)?, Transport::UdpTcp));
    conf.finalize();
    Ok(StubResolver::from_conf(conf))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_names() {
        assert_eq!(service("etcd-client", true, ""), "etcd-client-ssl");
        assert_eq!(service("etcd-server", false, "blue"), "etcd-server-blue");
        assert_eq!(service("etcd-server", true, "blue"), "etcd-server-ssl-blue");
    }
}
