//! The URLs members listen on and advertise.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url {
    /// A name, or an address without brackets.
    pub host: String,
    /// The port; 0 lets the system choose, where listening.
    pub port: u16,
}

/// Why a text is no such URL, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(pub String);

impl Url {
    /// Reads one URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let wrong = |why: &str| Err(UrlError(format!("{why} ({text}); write http://host:port")));
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("URL scheme must be http, https, unix, or unixs");
        };
        match scheme {
            "http" => {}
            "https" | "unix" | "unixs" => return wrong("URL scheme is not served by this build"),
            _ => return wrong("URL scheme must be http, https, unix, or unixs"),
        }
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
        Ok(Self { host: host.to_owned(), port })
    }

    /// Whether a socket can be bound to it without asking a name server.
    pub fn is_bindable(&self) -> bool {
        self.host.is_empty() || self.host == "localhost" || self.host.parse::<IpAddr>().is_ok()
    }

    /// `host:port`, as the resolver takes it.
    pub fn authority(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
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
