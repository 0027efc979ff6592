//! Where a server is, and the way to it.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::cli::Globals;
use crate::tool::Failure;

/// Servers end connections that are probed more often.
const KEEPALIVE_MIN: Duration = Duration::from_secs(10);

/// `host:port`, `http://host:port`, `unix:path` or `unix://path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(String),
    Unix(PathBuf),
}

impl Address {
    pub(super) fn parse(endpoint: &str) -> Result<Self, Failure> {
        let endpoint = endpoint.trim();
        if endpoint.starts_with("https://") || endpoint.starts_with("unixs:") {
            return Err(Failure::words(format!(
                "{endpoint} asks for TLS, which this build does not speak to servers"
            )));
        }
        if let Some(path) = endpoint.strip_prefix("unix:") {
            return Ok(Self::Unix(path.strip_prefix("//").unwrap_or(path).into()));
        }
        let authority = endpoint.strip_prefix("http://").unwrap_or(endpoint);
        let authority = authority.split('/').next().unwrap_or_default();
        Ok(Self::Tcp(authority.to_owned()))
    }

    /// A connection, or why there is none.
    pub(super) async fn dial(&self, globals: &Globals) -> Result<Channel, String> {
        let authority = match self {
            Self::Tcp(authority) => authority.as_str(),
            Self::Unix(_) => "localhost",
        };
        let endpoint = Endpoint::from_shared(format!("http://{authority}"))
            .map_err(|error| format!("no address: {authority}: {error}"))?
            .http2_keep_alive_interval(globals.keepalive_time.max(KEEPALIVE_MIN))
            .keep_alive_timeout(globals.keepalive_timeout)
            .keep_alive_while_idle(false);
        let connected = async {
            match self.clone() {
                Self::Tcp(authority) => {
                    let dial = move |_| dial_tcp(authority.clone());
                    endpoint.connect_with_connector(service_fn(dial)).await
                }
                Self::Unix(path) => {
                    let dial = move |_| dial_unix(path.clone());
                    endpoint.connect_with_connector(service_fn(dial)).await
                }
            }
        };
        match tokio::time::timeout(globals.dial_timeout, connected).await {
            Ok(connected) => connected.map_err(|error| self.unreachable(&error)),
            Err(_) => Err(self.unreachable(&io::Error::other("i/o timeout"))),
        }
    }

    /// Why a server cannot be reached, in the words of Go's dialler.
    fn unreachable(&self, error: &dyn Error) -> String {
        let mut cause = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let cause = cause.to_string();
        let cause = cause.split(" (os error").next().unwrap_or_default().to_lowercase();
        let place = match self {
            Self::Tcp(authority) => format!("tcp {authority}"),
            Self::Unix(path) => format!("unix {}", path.display()),
        };
        format!(
            "connection error: desc = \"transport: Error while dialing: dial {place}: connect: \
             {cause}\""
        )
    }
}

async fn dial_tcp(authority: String) -> io::Result<TokioIo<TcpStream>> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}

async fn dial_unix(path: PathBuf) -> io::Result<TokioIo<UnixStream>> {
    Ok(TokioIo::new(UnixStream::connect(path).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_in_many_ways() {
        for (text, address) in [
            ("127.0.0.1:2379", Address::Tcp("127.0.0.1:2379".into())),
            (" http://[::1]:2379/", Address::Tcp("[::1]:2379".into())),
            ("unix:///run/s.sock", Address::Unix("/run/s.sock".into())),
            ("unix://s.sock", Address::Unix("s.sock".into())),
            ("unix:s.sock", Address::Unix("s.sock".into())),
        ] {
            assert_eq!(Address::parse(text), Ok(address), "{text}");
        }
        for text in ["https://127.0.0.1:2379", "unixs:///run/s.sock"] {
            assert_eq!(Address::parse(text).unwrap_err().code, 128, "{text}");
        }
    }
}
