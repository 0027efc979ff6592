//! Calls and replies as a history holds them: etcd's own messages, one variant for each method
//! whose meaning the model knows.
//!
//! At rest a message is its method's name and its protobuf bytes in hex: exact, short, and the
//! same for every implementation that speaks etcd's API.

use prost::Message;
use quorate_core::{Request, Response};
use quorate_proto::etcdserverpb as pb;

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ident, $response:ident),)*) => {
        /// What a client asked for.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Call {
            $($(#[$doc])* $name(pb::$request),)*
        }

        /// What it was answered.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Reply {
            $($(#[$doc])* $name(pb::$response),)*
        }

        impl Call {
            /// The method's name.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name),)* }
            }

            /// The request's protobuf bytes.
            pub fn encode(&self) -> Vec<u8> {
                match self { $(Self::$name(message) => message.encode_to_vec(),)* }
            }

            /// A request of the method `name`, if there is such a method and these are its bytes.
            pub fn parse(name: &str, bytes: &[u8]) -> Option<Self> {
                match name {
                    $(stringify!($name) => pb::$request::decode(bytes).ok().map(Self::$name),)*
                    _ => None,
                }
            }
        }

        impl Reply {
            /// The response's protobuf bytes.
            pub fn encode(&self) -> Vec<u8> {
                match self { $(Self::$name(message) => message.encode_to_vec(),)* }
            }

            /// A response of the method `name`, if there is such a method and these are its bytes.
            pub fn parse(name: &str, bytes: &[u8]) -> Option<Self> {
                match name {
                    $(stringify!($name) => pb::$response::decode(bytes).ok().map(Self::$name),)*
                    _ => None,
                }
            }

            /// The response's header.
            pub const fn header(&self) -> Option<&pb::ResponseHeader> {
                match self { $(Self::$name(message) => message.header.as_ref(),)* }
            }

            /// The same, to be changed.
            pub const fn header_mut(&mut self) -> &mut Option<pb::ResponseHeader> {
                match self { $(Self::$name(message) => &mut message.header,)* }
            }
        }
    };
}

calls! {
    /// `KV.Range`
    Range(RangeRequest, RangeResponse),
    /// `KV.Put`
    Put(PutRequest, PutResponse),
    /// `KV.DeleteRange`
    DeleteRange(DeleteRangeRequest, DeleteRangeResponse),
    /// `KV.Txn`
    Txn(TxnRequest, TxnResponse),
    /// `KV.Compact`
    Compact(CompactionRequest, CompactionResponse),
    /// `Lease.LeaseGrant`
    LeaseGrant(LeaseGrantRequest, LeaseGrantResponse),
    /// `Lease.LeaseRevoke`
    LeaseRevoke(LeaseRevokeRequest, LeaseRevokeResponse),
    /// One message of `Lease.LeaseKeepAlive`
    LeaseKeepAlive(LeaseKeepAliveRequest, LeaseKeepAliveResponse),
    /// `Lease.LeaseTimeToLive`
    LeaseTimeToLive(LeaseTimeToLiveRequest, LeaseTimeToLiveResponse),
    /// `Lease.LeaseLeases`
    LeaseLeases(LeaseLeasesRequest, LeaseLeasesResponse),
    /// `Maintenance.Alarm`
    Alarm(AlarmRequest, AlarmResponse),
    /// `Maintenance.MoveLeader`
    MoveLeader(MoveLeaderRequest, MoveLeaderResponse),
    /// `Maintenance.Downgrade`
    Downgrade(DowngradeRequest, DowngradeResponse),
    /// `Cluster.MemberAdd`
    MemberAdd(MemberAddRequest, MemberAddResponse),
    /// `Cluster.MemberRemove`
    MemberRemove(MemberRemoveRequest, MemberRemoveResponse),
    /// `Cluster.MemberUpdate`
    MemberUpdate(MemberUpdateRequest, MemberUpdateResponse),
    /// `Cluster.MemberPromote`
    MemberPromote(MemberPromoteRequest, MemberPromoteResponse),
}

impl Reply {
    /// The revision in its header; 0 without one.
    pub fn revision(&self) -> i64 {
        self.header().map_or(0, |header| header.revision)
    }
}

macro_rules! from_core {
    ($($name:ident)*) => {
        impl Call {
            /// What a request asks; nothing if histories do not tell it.
            pub fn of(request: Request) -> Option<Self> {
                Some(match request {
                    $(Request::$name(message) => Self::$name(message),)*
                    Request::MemberAdd(addition) => Self::MemberAdd(addition.request),
                    Request::Auth(_) => return None,
                })
            }
        }

        impl Reply {
            /// What a response answers; nothing if histories do not tell it.
            pub fn of(response: Response) -> Option<Self> {
                Some(match response {
                    $(Response::$name(message) => Self::$name(message),)*
                    Response::MemberAdd(message) => Self::MemberAdd(message),
                    Response::Auth(_) => return None,
                })
            }
        }
    };
}

from_core!(Put DeleteRange Txn Compact LeaseGrant LeaseRevoke LeaseKeepAlive LeaseTimeToLive
    LeaseLeases Alarm MoveLeader Downgrade MemberRemove MemberUpdate MemberPromote);

impl Call {
    /// What a committed entry of the log asks of keys and leases; nothing if it asks for something
    /// else.
    pub fn from_entry(entry: pb::InternalRaftRequest) -> Option<Self> {
        let pb::InternalRaftRequest { put, delete_range, txn, compaction, .. } = entry;
        (put.map(Self::Put))
            .or_else(|| delete_range.map(|it| Self::DeleteRange(*it)))
            .or_else(|| txn.map(|it| Self::Txn(*it)))
            .or_else(|| compaction.map(|it| Self::Compact(*it)))
            .or_else(|| entry.lease_grant.map(|it| Self::LeaseGrant(*it)))
            .or_else(|| entry.lease_revoke.map(|it| Self::LeaseRevoke(*it)))
            .or_else(|| entry.range.map(|it| Self::Range(*it)))
    }

    /// Whether it can only read keys: a range, or a transaction of nothing but ranges.
    pub fn is_read(&self) -> bool {
        use pb::request_op::Request::RequestRange;
        match self {
            Self::Range(_) => true,
            Self::Txn(txn) => txn
                .success
                .iter()
                .chain(&txn.failure)
                .all(|op| matches!(op.request, Some(RequestRange(_)))),
            _ => false,
        }
    }

    /// Whether it may be answered from the past: a read that asks for no more.
    pub fn is_serializable(&self) -> bool {
        use pb::request_op::Request::RequestRange;
        match self {
            Self::Range(range) => range.serializable,
            Self::Txn(txn) => {
                txn.success.iter().chain(&txn.failure).all(
                    |op| matches!(&op.request, Some(RequestRange(range)) if range.serializable),
                )
            }
            _ => false,
        }
    }
}
