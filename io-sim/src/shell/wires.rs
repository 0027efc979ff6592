//! Turmoil's connections where the shell expects the system's: the two ends of its seam.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use quorate_io_tokio::cli::Place;
use quorate_io_tokio::transport::bind::{Arrivals, Arriving, Bound, Wire};
use quorate_io_tokio::transport::{Dialing, Ways};
use turmoil::net::{TcpListener, TcpStream};

/// Where members serve clients.
pub(super) const CLIENT_PORT: u16 = 2379;
/// Where they serve each other.
pub(super) const PEER_PORT: u16 = 2380;

/// Where a member lives.
pub(super) const fn member_address(place: u64) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, place as u8 + 1))
}

/// Where a client does.
pub(super) const fn client_address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 1, number as u8 + 1))
}

/// A URL of a member's.
pub(super) fn url(is_secure: bool, place: u64, port: u16) -> String {
    let scheme = if is_secure { "https" } else { "http" };
    format!("{scheme}://{}:{port}", member_address(place))
}

/// A port of the host that runs this.
struct Port(TcpListener);

impl Arrivals for Port {
    fn next(&self) -> Arriving<'_> {
        Box::pin(async {
            let (stream, from) = self.0.accept().await?;
            Ok((Box::new(stream) as Wire, from))
        })
    }
}

/// Listens at a port of the host that runs this.
pub(super) async fn listen(port: u16) -> io::Result<Bound> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    Ok(Bound::elsewhere(Port(listener), format!("0.0.0.0:{port}")))
}

/// Connections from the host that runs this.
#[derive(Debug)]
pub(super) struct Links;

impl Ways for Links {
    fn dial<'a>(&'a self, place: &'a Place) -> Dialing<'a> {
        Box::pin(async move {
            match place {
                Place::Port { host, port } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    Ok(Box::new(stream) as Wire)
                }
                Place::File(_) => Err(io::ErrorKind::Unsupported.into()),
            }
        })
    }
}
