//! From a connection to a known one: TLS or not, whose certificate, and the first words.
//!
//! ```text
//! http only    ─────────────────────────────────────────> first words
//! https only   ── handshake ── peers: from its host? ───> first words
//! both         ── first byte: a handshake's, or not ────> one or the other
//! ```
//!
//! Invariants
//! - A handshake takes at most [`HANDSHAKE_MAX`], first words at most [`SILENCE_MAX`].
//! - Few handshakes are calculated at once, and others run in between: a storm of them slows down
//!   itself.
//! - Who is refused is told in the log, with the reason; not for each of a storm.
//!
//! Answers to: etcd v3.7.1 `client/pkg/transport/listener_tls.go`

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::Request;
use tokio::io::AsyncReadExt as _;
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use super::bind::Wire;
use super::listen::is_half_a_preface;
use super::porch::Guest;
use super::{CertifiedName, IsSecure};
use crate::tls::{Keyring, check_address, common_name, explain};

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long a client may take to say something.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(300);
/// What every TLS connection begins with.
const HANDSHAKE: u8 = 22;
/// Refusals that are told one by one in each second.
const TOLD_MAX: u32 = 10;
/// First words, as far as they are read at once.
const FIRST_WORDS_BYTES: usize = 64;

/// Whose connections come to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Clients'.
    Client,
    /// Other members'.
    Peer,
}

impl Kind {
    /// In the log.
    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Peer => "peer",
        }
    }
}

/// Who is let in at a place.
#[derive(Clone, Debug)]
pub struct Entrance {
    kind: Kind,
    takes_plain: bool,
    keyring: Option<Arc<Keyring>>,
    told: Arc<Mutex<Told>>,
}

/// Refusals in this second.
#[derive(Debug)]
struct Told {
    since: Instant,
    count: u32,
}

/// A connection that is let in.
pub(super) struct Visitor {
    pub(super) io: Wire,
    /// What it said already.
    pub(super) head: BytesMut,
    pub(super) other_side: OtherSide,
}

/// What is known of who is at the other side of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct OtherSide {
    is_secure: bool,
    name: Option<CertifiedName>,
}

impl OtherSide {
    /// Says so in a request's extensions.
    pub(super) fn mark<B>(&self, request: &mut Request<B>) {
        if self.is_secure {
            request.extensions_mut().insert(IsSecure);
        }
        if let Some(name) = &self.name {
            request.extensions_mut().insert(name.clone());
        }
    }
}

/// Why one is not.
enum Refusal {
    /// It went, or has to make room.
    Left(&'static str),
    /// It is not welcome.
    Refused { server_name: String, why: String },
}

impl From<io::Error> for Refusal {
    fn from(_: io::Error) -> Self {
        Self::Left("the connection broke")
    }
}

impl Entrance {
    /// Everybody is let in, without TLS.
    pub fn plain() -> Self {
        Self::new(Kind::Client, true, None)
    }

    /// Connections of that kind: without TLS if that is taken, with it if there are keys.
    pub fn new(kind: Kind, takes_plain: bool, keyring: Option<Arc<Keyring>>) -> Self {
        let told = Told { since: Instant::now(), count: 0 };
        Self { kind, takes_plain, keyring, told: Arc::new(Mutex::new(told)) }
    }

    pub(super) fn is_for_peers(&self) -> bool {
        self.kind == Kind::Peer
    }

    /// Whether connections without TLS are let in.
    pub const fn takes_plain(&self) -> bool {
        self.takes_plain
    }

    /// Whether connections with TLS are.
    pub const fn takes_secure(&self) -> bool {
        self.keyring.is_some()
    }

    /// Lets a connection in; one that is not is told of in the log.
    pub(super) async fn let_in(
        &self,
        io: io::Result<Wire>,
        from: Option<SocketAddr>,
        guest: Guest,
        turns: &Semaphore,
    ) -> Option<Visitor> {
        let meeting = Meeting { entrance: self, from, guest, turns };
        let met = match io {
            Ok(io) => meeting.meet(io).await,
            Err(error) => Err(error.into()),
        };
        met.map_err(|refusal| self.tell(from, &refusal)).ok()
    }

    fn tell(&self, from: Option<SocketAddr>, refusal: &Refusal) {
        let from = from.map_or_else(|| "@".to_owned(), |from| from.to_string());
        let (server_name, why) = match refusal {
            Refusal::Left(why) => {
                debug!("remote-addr" = from, why, "a connection on an endpoint went unknown");
                return;
            }
            Refusal::Refused { server_name, why } => (server_name, why),
        };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.since.elapsed() >= Duration::from_secs(1) {
            if told.count > TOLD_MAX {
                let untold = told.count - TOLD_MAX;
                warn!(endpoint = self.kind.name(), untold, "more connections were rejected");
            }
            *told = Told { since: Instant::now(), count: 0 };
        }
        told.count += 1;
        if told.count <= TOLD_MAX {
            warn!(
                "remote-addr" = from,
                "server-name" = server_name,
                error = why,
                "rejected connection on {} endpoint",
                self.kind.name()
            );
        }
    }
}

/// One connection at the entrance.
struct Meeting<'a> {
    entrance: &'a Entrance,
    from: Option<SocketAddr>,
    guest: Guest,
    turns: &'a Semaphore,
}

impl Meeting<'_> {
    async fn meet(&self, mut io: Wire) -> Result<Visitor, Refusal> {
        let mut head = BytesMut::new();
        let Some(keyring) = &self.entrance.keyring else {
            self.listen(&mut io, &mut head).await?;
            return Ok(Visitor { io, head, other_side: OtherSide::default() });
        };
        if self.entrance.takes_plain {
            self.listen_once(&mut io, &mut head, 1).await?;
            if head.first() != Some(&HANDSHAKE) {
                self.listen(&mut io, &mut head).await?;
                return Ok(Visitor { io, head, other_side: OtherSide::default() });
            }
        }
        let shaken =
            tokio::time::timeout(HANDSHAKE_MAX, self.shake_hands(io, &head, keyring)).await;
        let (stream, name) = shaken.map_err(|_| Refusal::Refused {
            server_name: String::new(),
            why: format!("tls: handshake took longer than {HANDSHAKE_MAX:?}"),
        })??;
        let (mut io, mut head): (Wire, _) = (Box::new(stream), BytesMut::new());
        self.listen(&mut io, &mut head).await?;
        Ok(Visitor { io, head, other_side: OtherSide { is_secure: true, name } })
    }

    /// Waits for the first words, which of HTTP/2 are a whole preface.
    async fn listen(&self, io: &mut Wire, head: &mut BytesMut) -> Result<(), Refusal> {
        while is_half_a_preface(head) {
            self.listen_once(io, head, FIRST_WORDS_BYTES).await?;
        }
        Ok(())
    }

    async fn listen_once(
        &self,
        io: &mut Wire,
        head: &mut BytesMut,
        bytes_max: usize,
    ) -> Result<(), Refusal> {
        let mut words = [0; FIRST_WORDS_BYTES];
        let reading = tokio::time::timeout(SILENCE_MAX, io.read(&mut words[..bytes_max]));
        let read = self.guest.wait_for(reading).await.ok_or(Refusal::Left("others needed room"))?;
        let read = read.map_err(|_| Refusal::Left("it said nothing"))??;
        if read == 0 {
            return Err(Refusal::Left("it went without a word"));
        }
        head.extend_from_slice(&words[..read]);
        Ok(())
    }

    async fn shake_hands(
        &self,
        io: Wire,
        head: &[u8],
        keyring: &Arc<Keyring>,
    ) -> Result<(TlsStream<Wire>, Option<CertifiedName>), Refusal> {
        let mut acceptor = Acceptor::default();
        if !head.is_empty() {
            acceptor.read_tls(&mut &*head)?;
        }
        let hello = self.guest.wait_for(LazyConfigAcceptor::new(acceptor, io)).await;
        let hello =
            hello.ok_or(Refusal::Left("others needed room"))?.map_err(|error| {
                match error.kind() {
                    io::ErrorKind::UnexpectedEof => Refusal::Left("it went without a word"),
                    _ => Refusal::Refused { server_name: String::new(), why: explain(&error) },
                }
            })?;
        let server_name = hello.client_hello().server_name().unwrap_or_default().to_owned();
        let refused = |why: String| Refusal::Refused { server_name: server_name.clone(), why };
        let config = keyring.fresh().await.server.clone();
        let config = config.ok_or_else(|| refused("there is no certificate to show".to_owned()))?;
        let accepting = {
            let _turn = self.turns.acquire().await;
            let accepting = hello.into_stream(config);
            // What was ready meanwhile goes first.
            tokio::task::yield_now().await;
            accepting
        };
        let accepted = self.guest.wait_for(accepting).await;
        let accepted = accepted.ok_or(Refusal::Left("others needed room"))?;
        let stream = accepted.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Refusal::Left("it hung up during the handshake"),
            _ => refused(explain(&error)),
        })?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let leaf = leaf.map(|leaf| leaf.clone().into_owned());
        // As in etcd, a name counts only where names are asked for.
        let named = leaf.as_ref().filter(|_| keyring.security().asks_clients);
        let name = named.and_then(common_name).map(|name| CertifiedName(name.into()));
        if let Some(leaf) = leaf.filter(|_| keyring.security().checks_addresses) {
            self.check_host(leaf).await.map_err(refused)?;
        }
        Ok((stream, name))
    }

    async fn check_host(&self, leaf: CertificateDer<'static>) -> Result<(), String> {
        let Some(from) = self.from else { return Ok(()) };
        // It may ask a name server.
        let checking = tokio::task::spawn_blocking(move || check_address(&leaf, from.ip()));
        checking.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}
