//! Where servers are, what secures the way to them, and going it.
//!
//! ```text
//!   127.0.0.1:2379   unix:path       encrypted if anything about certificates was said
//!   http://  unix://                 never, always      https://  unixs://
//! ```
//!
//! Answers to: etcd v3.7.1 `client/v3/config.go`, `client/v3/internal/endpoint/endpoint.go`

use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Channel;

use super::direct::Direct;
use crate::cli::Url;
use crate::tls::{Keyring, Pair, Security, Source};
use crate::transport::{DialError, Dialer, Patience};

/// Servers end connections that are probed more often.
const KEEPALIVE_MIN: Duration = Duration::from_secs(10);

/// What flags say about certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secure {
    /// The file of the certificate that is shown; none if empty.
    pub cert: String,
    /// That of its private key.
    pub key: String,
    /// That of the authorities that are believed; the system's if empty.
    pub cacert: String,
    /// Whom servers' certificates must name, if not who was asked.
    pub server_name: String,
    /// Whether nobody asked for TLS but by an endpoint's scheme.
    pub insecure_transport: bool,
    /// Whether everybody is believed.
    pub insecure_skip_tls_verify: bool,
}

impl Default for Secure {
    fn default() -> Self {
        Self {
            cert: String::new(),
            key: String::new(),
            cacert: String::new(),
            server_name: String::new(),
            insecure_transport: true,
            insecure_skip_tls_verify: false,
        }
    }
}

impl Secure {
    /// Whether anything of it asks for TLS.
    fn is_asked(&self) -> bool {
        let words = [&self.cert, &self.key, &self.cacert, &self.server_name];
        words.iter().any(|word| !word.is_empty())
            || !self.insecure_transport
            || self.insecure_skip_tls_verify
    }

    /// The files, which have to be there; told in etcdctl's words.
    fn security(&self) -> Result<Security, String> {
        let Self { cert, key, cacert, .. } = self;
        if cert.is_empty() != key.is_empty() {
            return Err(format!(
                "KeyFile and CertFile must both be present[key: {key}, cert: {cert}]"
            ));
        }
        for path in [cert, key, cacert].into_iter().filter(|path| !path.is_empty()) {
            let opened = std::fs::File::open(path);
            opened.map_err(|error| format!("open {path}: {}", plain(&error.to_string())))?;
        }
        let source = |flag, path: &str| (!path.is_empty()).then(|| Source::new(flag, path));
        let pair = source("cert", cert).zip(source("key", key));
        Ok(Security {
            client_pair: pair.map(|(cert, key)| Pair { cert, key }),
            trusted_ca: source("cacert", cacert),
            is_blind: self.insecure_skip_tls_verify,
            ..Security::default()
        })
    }
}

/// The way to servers.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    dialer: Dialer,
    /// Whether endpoints that do not say are spoken to by TLS.
    is_secure: bool,
}

impl Way {
    /// Secured like this.
    ///
    /// # Errors
    /// Which file cannot be used.
    pub(crate) fn new(secure: &Secure, patience: Patience) -> Result<Self, String> {
        let keyring = Keyring::open("client", secure.security()?)?;
        let keepalive_time = patience.keepalive_time.max(KEEPALIVE_MIN);
        let patience = Patience { keepalive_time, ..patience };
        let mut dialer = Dialer::new(Arc::new(keyring)).with_patience(patience);
        if !secure.server_name.is_empty() {
            dialer = dialer.expecting(secure.server_name.clone());
        }
        Ok(Self { dialer, is_secure: secure.is_asked() })
    }

    /// Where endpoints of one cluster are: the first one decides for all whether TLS is spoken.
    pub(crate) fn places(&self, endpoints: &[String]) -> Vec<Place> {
        let named = || endpoints.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        let is_secure = named().next().is_some_and(|first| match first.split_once(':') {
            Some(("https" | "unixs", _)) => true,
            Some(("http", _)) => false,
            _ => self.is_secure,
        });
        named().map(|endpoint| Place::new(endpoint, is_secure)).collect()
    }

    /// A connection, or why there is none.
    pub(crate) async fn dial(&self, place: &Place) -> Result<Channel, String> {
        self.dialer.channel(&place.url).await.map_err(|error| unreachable(&error, place))
    }

    /// A connection with nothing between a call and HTTP/2, or why there is none.
    pub(super) async fn dial_directly(&self, place: &Place) -> Result<Direct, String> {
        let patience = self.dialer.patience();
        let begin = async |url: &Url, wire| Direct::begin(url, wire, patience).await;
        let begun = self.dialer.begin(&place.url, begin).await;
        begun.map_err(|error| unreachable(&error, place))
    }

    /// A page of a server, which it has for those who do not speak gRPC.
    pub(crate) async fn page(
        &self,
        endpoint: &str,
        path: &str,
        bytes_max: usize,
    ) -> Result<String, String> {
        let places = self.places(&[endpoint.to_owned()]);
        let place = places.first().ok_or("no address")?;
        let url = Url::parse(&place.url).map_err(|error| error.to_string())?;
        let page = self.dialer.get(&url, path, bytes_max).await?.into_body();
        String::from_utf8(page.to_vec()).map_err(|error| error.to_string())
    }
}

/// An endpoint as it was named, and its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: String,
    url: String,
}

impl Place {
    fn new(endpoint: &str, is_secure: bool) -> Self {
        let is_file = ["unix:", "unixs:"].iter().any(|scheme| endpoint.starts_with(scheme));
        let rest = match endpoint.split_once("://") {
            Some((_, rest)) => rest,
            None if is_file => endpoint.split_once(':').map_or("", |(_, path)| path),
            None => endpoint,
        };
        let url = match (is_file, is_secure) {
            (true, true) => format!("unixs://{rest}"),
            (true, false) => format!("unix://{rest}"),
            (false, _) => {
                let authority = rest.split('/').next().unwrap_or_default();
                format!("{}://{authority}", if is_secure { "https" } else { "http" })
            }
        };
        Self { name: endpoint.to_owned(), url }
    }
}

/// Why a server cannot be reached, in the words of Go's dialler.
fn unreachable(error: &DialError, place: &Place) -> String {
    let (network, address) = match place.url.split_once("://") {
        Some(("unix" | "unixs", path)) => ("unix", path),
        Some((_, authority)) => ("tcp", authority),
        None => ("tcp", place.url.as_str()),
    };
    let why = match error {
        DialError::Address(why) => format!("no address: {why}"),
        DialError::Unreachable(why) => {
            let why = plain(why);
            format!("transport: Error while dialing: dial {network} {address}: connect: {why}")
        }
        DialError::Handshake(why) => format!("transport: authentication handshake failed: {why}"),
        DialError::Silent(why) => format!("error reading server preface: {why}"),
    };
    format!("connection error: desc = \"{why}\"")
}

/// What the system says, as Go says it.
fn plain(why: &str) -> String {
    why.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(endpoints: &[&str], is_secure: bool) -> Vec<String> {
        let keyring = Keyring::open("client", Security::default()).unwrap();
        let way = Way { dialer: Dialer::new(Arc::new(keyring)), is_secure };
        let endpoints: Vec<_> = endpoints.iter().map(|&text| text.to_owned()).collect();
        way.places(&endpoints).into_iter().map(|place| place.url).collect()
    }

    #[test]
    fn addresses_are_written_in_many_ways() {
        for (text, plain, secure) in [
            ("127.0.0.1:2379", "http://127.0.0.1:2379", "https://127.0.0.1:2379"),
            (" http://[::1]:2379/", "http://[::1]:2379", "http://[::1]:2379"),
            ("https://a:1/path", "https://a:1", "https://a:1"),
            ("unix:///run/s.sock", "unix:///run/s.sock", "unixs:///run/s.sock"),
            ("unix://s.sock", "unix://s.sock", "unixs://s.sock"),
            ("unix:s.sock", "unix://s.sock", "unixs://s.sock"),
            ("unixs:///run/s.sock", "unixs:///run/s.sock", "unixs:///run/s.sock"),
            ("unixs:localhost:7", "unixs://localhost:7", "unixs://localhost:7"),
        ] {
            assert_eq!(urls(&[text], false), [plain]);
            assert_eq!(urls(&[text], true), [secure]);
        }
    }

    #[test]
    fn the_first_endpoint_decides_for_all() {
        assert_eq!(
            urls(&["", "https://a:1", "http://b:2", "c:3"], false),
            ["https://a:1", "https://b:2", "https://c:3"]
        );
        assert_eq!(urls(&["http://a:1", "https://b:2"], true), ["http://a:1", "http://b:2"]);
        assert_eq!(urls(&["a:1", "http://b:2"], true), ["https://a:1", "https://b:2"]);
    }

    #[test]
    fn files_that_cannot_be_used_are_told() {
        let none = Secure::default;
        assert!(!none().is_asked() && none().security().is_ok());
        let half = Secure { key: "k".into(), ..none() }.security().unwrap_err();
        assert_eq!(half, "KeyFile and CertFile must both be present[key: k, cert: ]");
        let absent = Secure { cacert: "/no/such".into(), ..none() }.security().unwrap_err();
        assert_eq!(absent, "open /no/such: no such file or directory");
        assert!(Secure { insecure_transport: false, ..none() }.is_asked());
        assert!(Secure { server_name: "a".into(), ..none() }.is_asked());
        assert!(Secure { insecure_skip_tls_verify: true, ..none() }.security().unwrap().is_blind);
    }
}
