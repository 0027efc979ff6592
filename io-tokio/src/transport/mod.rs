//! Sockets: the ports members listen on, and the streams between members.
//!
//! ```text
//! bind ──> accept ──> entrance: TLS, first words ──> listen: gRPC -> grpc/, /v3/ -> gateway/,
//!                     one task per connection, on I/O thread 0..n    all else -> http/
//! machines ──> peers: a bounded queue per peer and class ──> peer thread ──> the other member
//! ```
//!
//! Invariants
//! - Every queue is bounded; its size and what happens when it is full stand in [`capacity`].
//! - Raft's traffic has a thread of its own: clients cannot starve it.
//! - Nobody waits for a socket except the task that owns it.
//!
//! Answers to: etcd v3.7.1 `server/embed/serve.go`, `server/etcdserver/api/rafthttp/`

mod authority;
pub mod bind;
mod dial;
mod entrance;
mod exit;
pub mod flush;
mod heard;
mod intake;
pub mod listen;
pub mod peers;
mod pings;
mod porch;
mod threads;

use std::sync::Arc;

pub(crate) use dial::innermost;
pub use dial::{DialError, Dialer, Dialing, Patience, Ways};
pub use entrance::{Entrance, Kind};
pub use exit::Exit;
pub(crate) use heard::Heard;
pub use threads::IoThreads;

/// The common name in the certificate that a connection's other side has shown and proven to have:
/// in the extensions of every request on it, where clients are asked for certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedName(pub Arc<str>);

/// In the extensions of every request that comes by TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsSecure;

/// How much every queue of this room holds, and what happens when it is full.
pub mod capacity {
    /// Clients' connections at once, if the process may have so many descriptors; further ones wait
    /// in the system's backlog.
    pub const CONNECTIONS_MAX: usize = 65_536;
    /// Members' connections at once; further ones wait likewise. Clients cannot take them.
    pub const PEER_CONNECTIONS_MAX: usize = 1_024;
    /// Descriptors that are not for connections but for files.
    pub const DESCRIPTORS_KEPT: usize = 256;
    /// Connections that nobody knows yet: for a further one the longest silent has to go.
    pub const STRANGERS_MAX: usize = 1_024;
    /// Calls at once on one connection, whatever the settings say; a client's further ones wait.
    pub const STREAMS_MAX: u32 = 16_384;
    /// Handshakes that are calculated at once for clients, and for members; others wait.
    pub const HANDSHAKES_AT_ONCE_MAX: usize = 2;
    /// Connections the system holds for a place until they are accepted; it refuses further ones.
    pub const BACKLOG: i32 = 4_096;
    /// Urgent messages waiting for one peer; further ones are dropped and the peer is reported
    /// unreachable.
    pub const URGENT_MESSAGES_MAX: usize = 1_024;
    /// Bulky messages waiting for one peer; further ones are dropped likewise.
    pub const BULK_MESSAGES_MAX: usize = 1_024;
    /// Forwarded proposals and questions that wait for a connection to come; further ones are
    /// dropped, and their clients run into their time-outs.
    pub const PATIENT_MESSAGES_MAX: usize = 1_024;
    /// Messages that travel in one envelope.
    pub const ENVELOPE_MESSAGES_MAX: usize = 64;
    /// Bytes after which an envelope takes no further message.
    pub const ENVELOPE_BYTES_MAX: usize = 1 << 20;
    /// Envelopes between a queue and its connection; the queue waits.
    pub const ENVELOPES_AHEAD_MAX: usize = 2;
    /// Chunks between disk and network, either way; the faster side waits.
    pub const CHUNKS_AHEAD_MAX: usize = 4;
    /// Largest message a peer may send: an envelope and one entry of the largest kind.
    pub const PEER_MESSAGE_BYTES_MAX: usize = 512 << 20;
}
