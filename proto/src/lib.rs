//! etcd's messages and services under etcd's names and numbers, and Quorate's own peer service.
//!
//! The text of every message is in `proto/*.proto`; Rust is generated from it when the crate is
//! built. By default there are only messages, usable without `std`; the feature `services` adds
//! tonic's client and server stubs.
//!
//! Every `bytes` field is a [`bytes::Bytes`]: cloning a message shares its keys and values.
#![cfg_attr(not(feature = "services"), no_std)]
#![allow(missing_docs, clippy::large_enum_variant, clippy::doc_lazy_continuation)]

extern crate alloc;

#[cfg(feature = "services")]
pub mod codec;

macro_rules! package {
    ($(#[$doc:meta])* $name:ident, $file:literal) => {
        $(#[$doc])*
        pub mod $name {
            include!(concat!(env!("OUT_DIR"), "/", $file, ".rs"));
        }
    };
}

package!(
    /// Users, roles, permissions.
    authpb, "authpb"
);
package!(
    /// The client API and the envelope of a log entry.
    etcdserverpb, "etcdserverpb"
);
package!(
    /// Leases at rest.
    leasepb, "leasepb"
);
package!(
    /// Membership in the log.
    membershippb, "membershippb"
);
package!(
    /// Keys, values, events.
    mvccpb, "mvccpb"
);
package!(
    /// Consensus messages and entries.
    raftpb, "raftpb"
);
package!(
    /// The election service.
    v3electionpb, "v3electionpb"
);
package!(
    /// The lock service.
    v3lockpb, "v3lockpb"
);
package!(
    /// Records of the log's files.
    walpb, "walpb"
);

/// `grpc.health.v1`.
pub mod health {
    include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
}

package!(
    /// Between members of one cluster.
    quoratepeer, "quoratepeer"
);
pub use quoratepeer as peer;

/// A `FileDescriptorSet` of everything here, for whoever looks at messages by name.
#[cfg(feature = "services")]
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
