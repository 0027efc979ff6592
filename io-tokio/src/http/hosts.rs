//! By which names a server may be asked.
//!
//! A page of a stranger's can have its own name resolve to this server's address; a browser then
//! takes both for one site, and lets the page read what the server answers. Such a request names
//! the stranger's host: whoever looks at that name is safe.
//!
//! Answers to: etcd v3.7.1 `server/embed/serve.go` (accessController), CVE-2018-5702

use std::collections::BTreeSet;
use std::net::IpAddr;

use http::Request;
use http::header::HOST;

/// Names of hosts, without ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts(BTreeSet<String>);

impl Hosts {
    /// These.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let names = names.into_iter().filter(|name| !name.is_empty());
        Self(names.map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Whether it is one of these, or cannot be a stranger's: addresses are nobody's names, and a
    /// browser asks no server for this machine's own.
    pub fn has_or_is_local(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = host.to_ascii_lowercase();
        bare.parse::<IpAddr>().is_ok() || host == "localhost" || self.0.contains(&host)
    }
}

/// The host that a request names, without its port; empty if it names none.
pub(crate) fn host_of<B>(request: &Request<B>) -> &str {
    without_port(authority_of(request))
}

/// The host and the port that a request names: HTTP/2 has them elsewhere.
pub(crate) fn authority_of<B>(request: &Request<B>) -> &str {
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    authority.or(named).unwrap_or_default()
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_this_machine_and_known_names_are_let_in() {
        let hosts = Hosts::new(["Db.Example".to_owned()]);
        let is_let_in = |host: &str| {
            let request = Request::builder().header(HOST, host).body(()).expect("a request");
            hosts.has_or_is_local(host_of(&request))
        };
        for host in ["127.0.0.1:2381", "[::1]:2381", "10.1.2.3", "LOCALHOST:1", "db.example:80"] {
            assert!(is_let_in(host), "{host}");
        }
        for host in ["evil.example:2381", "127.0.0.1.evil.example", "xdb.example", "", ":80"] {
            assert!(!is_let_in(host), "{host}");
        }
    }

    #[test]
    fn the_authority_counts_before_the_header() {
        let request = Request::builder().uri("http://evil.example/").header(HOST, "localhost");
        assert_eq!(host_of(&request.body(()).expect("a request")), "evil.example");
    }
}
