//! Places to listen at: ports of hosts, and sockets in the file system.
//!
//! Invariants
//! - A port of all addresses takes both IPv4 and IPv6 where the system has both, as Go's does.
//! - A socket's file that is left over is taken over; one that somebody listens at is not, and
//!   neither is any other file.
//! - A socket's file goes when its listener does.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::{fs, net, os::unix};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::capacity::BACKLOG;
use super::entrance::Entrance;
use crate::cli::Place;

/// A connection, whatever it runs over.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection of any kind.
pub type Wire = Box<dyn Io>;

/// A bound place that does not serve yet.
pub struct Bound {
    pub(super) listener: Listener,
    /// Where it really listens.
    pub address: String,
    pub(super) entrance: Entrance,
}

impl Bound {
    /// A place at which somebody else listens.
    pub fn elsewhere(arrivals: impl Arrivals + 'static, address: String) -> Self {
        let listener = Listener::Elsewhere(Box::new(arrivals));
        Self { listener, address, entrance: Entrance::plain() }
    }

    /// The same, where others are let in.
    pub fn with_entrance(self, entrance: Entrance) -> Self {
        Self { entrance, ..self }
    }

    /// The address, if it is a port's.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        self.address.parse().ok()
    }

    /// Who is let in there.
    pub const fn entrance(&self) -> &Entrance {
        &self.entrance
    }
}

/// A stream of connections that comes from elsewhere than the system's sockets.
pub trait Arrivals: Send + Sync {
    /// The next connection, and where it comes from. Cancelling the wait loses none.
    fn next(&self) -> Arriving<'_>;
}

/// See [`Arrivals`].
pub type Arriving<'a> = Pin<Box<dyn Future<Output = io::Result<(Wire, SocketAddr)>> + Send + 'a>>;

/// What listens.
pub(super) enum Listener {
    Port(net::TcpListener),
    File(unix::net::UnixListener, SocketFile),
    Elsewhere(Box<dyn Arrivals>),
}

/// A socket's file, removed when nobody listens there any more.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Binds to a place; `localhost` is IPv4 where there is a choice.
pub fn bind(place: &Place) -> io::Result<Bound> {
    let (listener, address) = match place {
        Place::Port { host, port } => {
            let listener = bind_port(host, *port)?;
            let address = listener.local_addr()?.to_string();
            (Listener::Port(listener), address)
        }
        Place::File(path) => (bind_file(path)?, path.clone()),
    };
    Ok(Bound { listener, address, entrance: Entrance::plain() })
}

fn bind_port(host: &str, port: u16) -> io::Result<net::TcpListener> {
    if host.is_empty() || [Ipv4Addr::UNSPECIFIED.to_string().as_str(), "::"].contains(&host) {
        return listen_at((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| {
            match error.kind() {
                ErrorKind::AddrInUse | ErrorKind::PermissionDenied => Err(error),
                // A system without IPv6.
                _ => listen_at((Ipv4Addr::UNSPECIFIED, port).into()),
            }
        });
    }
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let mut bound = Err(ErrorKind::AddrNotAvailable.into());
    for address in addresses {
        bound = listen_at(address);
        if bound.is_ok() {
            break;
        }
    }
    bound
}

fn listen_at(address: SocketAddr) -> io::Result<net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // What the process that ran here before has left must not be waited for.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn bind_file(path: &str) -> io::Result<Listener> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "a file of that name is no socket; remove it, or name another one",
            ));
        }
        Ok(_) if unix::net::UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(
                ErrorKind::AddrInUse,
                "somebody listens at that file; stop that process, or name another file",
            ));
        }
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    let listener = unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(Listener::File(listener, SocketFile(path.into())))
}

/// What accepts.
pub(super) enum Accepting {
    Port(TcpListener),
    File { listener: UnixListener, _file: SocketFile },
    Elsewhere(Box<dyn Arrivals>),
}

impl Accepting {
    pub(super) fn new(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Port(listener) => Self::Port(TcpListener::from_std(listener)?),
            Listener::File(listener, _file) => {
                Self::File { listener: UnixListener::from_std(listener)?, _file }
            }
            Listener::Elsewhere(arrivals) => Self::Elsewhere(arrivals),
        })
    }

    pub(super) async fn accept(&self) -> io::Result<Arrived> {
        match self {
            Self::Port(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok(Arrived::Port(stream.into_std()?, from))
            }
            Self::File { listener, .. } => {
                Ok(Arrived::File(listener.accept().await?.0.into_std()?))
            }
            Self::Elsewhere(arrivals) => {
                let (wire, from) = arrivals.next().await?;
                Ok(Arrived::Elsewhere(wire, from))
            }
        }
    }
}

/// A connection on its way to the thread where it will live.
pub(super) enum Arrived {
    Port(net::TcpStream, SocketAddr),
    File(unix::net::UnixStream),
    Elsewhere(Wire, SocketAddr),
}

impl Arrived {
    /// Where it comes from.
    pub(super) const fn from(&self) -> Option<SocketAddr> {
        match self {
            Self::Port(_, from) | Self::Elsewhere(_, from) => Some(*from),
            Self::File(_) => None,
        }
    }

    /// The connection, on this thread's runtime from now on.
    pub(super) fn open(self) -> io::Result<Wire> {
        Ok(match self {
            Self::Port(stream, _) => {
                // Without it small answers wait for acknowledgements.
                let _ = stream.set_nodelay(true);
                Box::new(TcpStream::from_std(stream)?)
            }
            Self::File(stream) => Box::new(UnixStream::from_std(stream)?),
            Self::Elsewhere(wire, _) => wire,
        })
    }
}
