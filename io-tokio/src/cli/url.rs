//! The URLs members listen on and advertise.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// `http://host:port` or `unix://path`; `https` and `unixs` with TLS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url {
    /// Whether TLS is spoken there.
    pub is_secure: bool,
    /// Where.
    pub place: Place,
}

/// Where one listens, or connects to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A host's port.
    Port {
        /// A name, or an address without brackets.
        host: String,
        /// The number; 0 lets the system choose, where listening.
        port: u16,
    },
    /// A socket's file, relative to where the program was started unless it begins with a slash.
    File(String),
}

/// Why a text is no such URL, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(pub String);

impl Url {
    /// Plain HTTP at a port.
    pub fn http(host: impl Into<String>, port: u16) -> Self {
        Self { is_secure: false, place: Place::Port { host: host.into(), port } }
    }

    /// Reads one URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let (is_secure, is_file) = match scheme {
            "http" => (false, false),
            "https" => (true, false),
            "unix" => (false, true),
            "unixs" => (true, true),
            _ => return Err(wrong(text, "URL scheme must be http, https, unix, or unixs")),
        };
        let place = match is_file {
            true if rest.is_empty() => return Err(wrong(text, "URL names no file")),
            true => Place::File(rest.to_owned()),
            false => parse_port(text, rest)?,
        };
        Ok(Self { is_secure, place })
    }

    /// Whether a socket can be bound to it without asking a name server.
    pub fn is_bindable(&self) -> bool {
        match &self.place {
            Place::Port { host, .. } => {
                host.is_empty() || host == "localhost" || host.parse::<IpAddr>().is_ok()
            }
            Place::File(_) => true,
        }
    }

    /// What a request to it names as its host.
    pub fn authority(&self) -> String {
        match &self.place {
            Place::Port { .. } => self.place.to_string(),
            Place::File(_) => "localhost".to_owned(),
        }
    }
}

fn wrong(text: &str, why: &str) -> UrlError {
    UrlError(format!("{why} ({text}); write http://host:port, https://host:port or unix://path"))
}

fn parse_port(text: &str, rest: &str) -> Result<Place, UrlError> {
    let wrong = |why| Err(wrong(text, why));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !path.is_empty() {
        return wrong("URL must not contain a path");
    }
    let Some((host, port)) = authority.rsplit_once(':') else {
        return wrong("URL address does not have the form \"host:port\"");
    };
    let Ok(port) = port.parse() else {
        return wrong("URL's port is no number from 0 to 65535");
    };
    let host = match host.strip_prefix('[').map(|inner| inner.strip_suffix(']')) {
        Some(Some(inner)) => inner,
        Some(None) => return wrong("URL's address has an open bracket"),
        None if host.contains(':') => {
            return wrong("URL's IPv6 address must stand in brackets");
        }
        None => host,
    };
    Ok(Place::Port { host: host.to_owned(), port })
}

impl fmt::Display for Place {
    /// `host:port`, as the resolver takes it, or the file's path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { host, port } => match host.parse::<IpAddr>() {
                Ok(IpAddr::V6(address)) => write!(f, "[{address}]:{port}"),
                _ => write!(f, "{host}:{port}"),
            },
            Self::File(path) => f.write_str(path),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (&self.place, self.is_secure) {
            (Place::Port { .. }, false) => "http",
            (Place::Port { .. }, true) => "https",
            (Place::File(_), false) => "unix",
            (Place::File(_), true) => "unixs",
        };
        write!(f, "{scheme}://{}", self.place)
    }
}

/// Reads URLs separated by commas, at least one; they come back sorted, as etcd keeps them.
pub fn parse_urls(text: &str) -> Result<Vec<Url>, UrlError> {
    let mut urls = text.split(',').map(Url::parse).collect::<Result<Vec<_>, _>>()?;
    urls.sort_by_key(Url::to_string);
    Ok(urls)
}

/// Reads members, each with its URLs: `name=URL`, separated by commas, at least one. They come back
/// in the order of their names.
pub fn parse_members(text: &str) -> Result<Vec<(String, Vec<Url>)>, UrlError> {
    let mut members = BTreeMap::<String, Vec<Url>>::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, url) = part
            .split_once('=')
            .filter(|(name, url)| !name.is_empty() && !url.is_empty())
            .ok_or_else(|| UrlError(format!("empty URL given for {part:?}")))?;
        members.entry(name.to_owned()).or_default().push(Url::parse(url)?);
    }
    if members.is_empty() {
        return Err(UrlError("no member is named".to_owned()));
    }
    for urls in members.values_mut() {
        urls.sort_by_key(Url::to_string);
    }
    Ok(members.into_iter().collect())
}
