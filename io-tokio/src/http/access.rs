//! Whose pages may ask by HTTP, and by which names of this server.
//!
//! ```text
//! no TLS: Host: evil.example ──> not of --host-whitelist ──> 421
//! Origin: https://app.example:443 ──> of --cors ──> Access-Control-Allow-Origin: the same
//! OPTIONS ──> 200, whatever the path: browsers ask before they ask
//! ```
//!
//! Answers to: etcd v3.7.1 `server/embed/serve.go` (accessController)

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    HeaderMap, HeaderValue, ORIGIN,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use tracing::warn;

use super::hosts::host_of;
use super::pages::{Page, trouble};
use crate::transport::IsSecure;

/// Some, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Listed {
    /// Whoever it is.
    #[default]
    All,
    /// These only.
    These(BTreeSet<String>),
}

impl Listed {
    /// Reads names separated by commas; `*`, or none at all, stand for all.
    pub fn parse(words: &str) -> Self {
        let names = words.split(',').map(str::trim).filter(|name| !name.is_empty());
        let names: BTreeSet<String> = names.map(str::to_owned).collect();
        match names.is_empty() || names.contains("*") {
            true => Self::All,
            false => Self::These(names),
        }
    }

    /// Whether it is one of them.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(name),
        }
    }

    /// Those that are named.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        match self {
            Self::All => None,
            Self::These(names) => Some(names.iter()),
        }
        .into_iter()
        .flatten()
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::These(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

/// What the settings say about requests by HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Whose pages may read answers.
    pub origins: Listed,
    /// By which names this server may be asked without TLS.
    pub hosts: Listed,
}

/// What is added to the answer of a request that may go on.
pub struct Grant(Option<HeaderValue>);

impl Access {
    /// Whether a request may go on; else, or if that is all it wants to know, its answer.
    pub fn judge<B>(&self, request: &Request<B>) -> Result<Grant, Box<Page>> {
        let is_secure = request.extensions().get::<IsSecure>().is_some();
        let host = host_of(request);
        if !is_secure && !self.hosts.has(host) {
            warn!(host, "rejecting HTTP request to prevent DNS rebinding attacks");
            return Err(Box::new(trouble(StatusCode::MISDIRECTED_REQUEST, &misdirected(host))));
        }
        let grant = Grant(self.granted(request.headers()));
        if request.method() == Method::OPTIONS {
            let mut page = Response::new(Full::new(Bytes::new()));
            grant.note(page.headers_mut());
            return Err(Box::new(page));
        }
        Ok(grant)
    }

    /// The origin that may read the answer.
    fn granted(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.origins == Listed::All {
            return Some(HeaderValue::from_static("*"));
        }
        let origin = headers.get(ORIGIN)?;
        self.origins.has(origin.to_str().ok()?).then(|| origin.clone())
    }
}

impl Grant {
    /// Adds it.
    pub fn note(self, headers: &mut HeaderMap) {
        let Some(origin) = self.0 else { return };
        let methods = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
        headers.append(ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.append(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let asked = HeaderValue::from_static("accept, content-type, authorization");
        headers.append(ACCESS_CONTROL_ALLOW_HEADERS, asked);
    }
}

fn misdirected(host: &str) -> String {
    format!(
        "this server is not known as {host:?}: ask by one of its names, by TLS, or give this one \
         to --host-whitelist. A stranger's page may lead browsers here (CVE-2018-5702)."
    )
}

#[cfg(test)]
mod tests {
    use http::header::HOST;

    use super::*;

    fn access(origins: &str, hosts: &str) -> Access {
        Access { origins: Listed::parse(origins), hosts: Listed::parse(hosts) }
    }

    fn request(method: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri("/version");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn granted(access: &Access, origin: &str) -> Option<HeaderValue> {
        let mut headers = HeaderMap::new();
        access.judge(&request("GET", &[("origin", origin)])).ok().unwrap().note(&mut headers);
        headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).cloned()
    }

    #[test]
    fn origins_are_granted_by_name_or_all() {
        let all = HeaderValue::from_static("*");
        for words in ["*", "", "http://a:1,*"] {
            assert_eq!(granted(&access(words, "*"), "http://b:2"), Some(all.clone()), "{words}");
        }
        let some = access("http://a:1,https://b:2", "*");
        assert_eq!(granted(&some, "https://b:2").unwrap(), "https://b:2");
        for stranger in ["https://a:1", "http://a:1/", "http://c", "null"] {
            assert_eq!(granted(&some, stranger), None, "{stranger}");
        }
    }

    #[test]
    fn hosts_are_asked_about_where_nothing_else_proves_them() {
        let access = access("*", "a.example,10.0.0.1");
        let code = |request| access.judge(&request).err().map(|page| page.status().as_u16());
        assert_eq!(code(request("GET", &[(HOST.as_str(), "a.example:2379")])), None);
        assert_eq!(code(request("GET", &[(HOST.as_str(), "10.0.0.1")])), None);
        for host in ["b.example", "localhost:2379", "A.example"] {
            assert_eq!(code(request("GET", &[(HOST.as_str(), host)])), Some(421), "{host}");
        }
        let mut secure = request("GET", &[(HOST.as_str(), "b.example")]);
        secure.extensions_mut().insert(IsSecure);
        assert_eq!(code(secure), None);
    }

    #[test]
    fn what_is_only_asked_is_answered_at_once() {
        let access = access("http://a:1", "*");
        let page = access.judge(&request("OPTIONS", &[("origin", "http://a:1")])).err().unwrap();
        assert_eq!(page.status(), 200);
        assert_eq!(page.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "http://a:1");
        let page = access.judge(&request("OPTIONS", &[("origin", "http://b:1")])).err().unwrap();
        assert_eq!((page.status().as_u16(), page.headers().len()), (200, 0));
    }
}
