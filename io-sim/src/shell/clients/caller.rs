//! A client's connection, and unary calls on it.

use std::rc::Rc;
use std::time::Duration;

use quorate_core::ids::MemberId;
use quorate_core::{Request, Response};
use quorate_io_tokio::transport::{Dialer, Patience};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::lease_client::LeaseClient;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Channel;

use crate::shell::course::Course;
use crate::shell::plan::MEMBERS;
use crate::shell::site::member_id;
use crate::shell::wires::{CLIENT_PORT, url};
use crate::world::luck::{Luck, Purpose};
use crate::world::observe::{ClientId, Operation, Outcome};

/// How long a client waits for an answer if it is in no haste.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(4);
/// For a connection, and for its first words.
const DIAL_MAX: Duration = Duration::from_secs(2);
/// In silence, before the other side is asked whether it is there; as often as etcd allows.
const KEEPALIVE_TIME: Duration = Duration::from_secs(6);
/// For the answer to that.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Larger than any message here.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// See the module.
pub(super) struct Caller {
    pub(super) id: ClientId,
    pub(super) course: Rc<Course>,
    pub(super) luck: Luck,
    dialer: Dialer,
    /// Where it is connected.
    connection: Option<(u64, Channel)>,
}

impl Caller {
    pub(super) fn new(course: &Rc<Course>, number: u32) -> Self {
        let patience = Patience::of_client(DIAL_MAX, KEEPALIVE_TIME, KEEPALIVE_TIMEOUT);
        Self {
            id: ClientId(number),
            course: Rc::clone(course),
            luck: Luck::new(course.plan.seed, Purpose::Client, number.into()),
            dialer: course.dialer.clone().with_patience(patience),
            connection: None,
        }
    }

    /// A connection to any member: the one there is, or a new one.
    pub(super) async fn connect(&mut self) -> Option<(MemberId, Channel)> {
        let place = match &self.connection {
            Some((place, _)) => *place,
            None => self.luck.below(MEMBERS),
        };
        self.connect_to(place).await
    }

    /// A connection to that member.
    pub(super) async fn connect_to(&mut self, place: u64) -> Option<(MemberId, Channel)> {
        if self.connection.as_ref().is_none_or(|(at, _)| *at != place) {
            self.hang_up();
            let url = url(self.course.plan.is_secure, place, CLIENT_PORT);
            let channel = self.dialer.channel(&url).await.ok()?;
            self.connection = Some((place, channel));
        }
        self.connection.as_ref().map(|(place, channel)| (member_id(*place), channel.clone()))
    }

    /// Closes the connection, whatever is under way on it.
    pub(super) fn hang_up(&mut self) {
        self.connection = None;
    }

    /// Makes a call and waits so long for its answer.
    pub(super) async fn call(&mut self, what: Operation, patience: Duration) -> Outcome {
        let Some((member, channel)) = self.connect().await else { return Outcome::Unknown };
        let witness = self.course.witness.clone();
        let call = witness.begin(self.id, member, &what);
        let answered = timeout(patience, send(channel, what)).await;
        let outcome = match answered {
            Ok(Ok(outcome)) => outcome,
            // Whether it had an effect is for the judge to find out.
            Ok(Err(_)) | Err(_) => Outcome::Unknown,
        };
        witness.end(self.id, call, &outcome);
        outcome
    }
}

async fn send(channel: Channel, what: Operation) -> Result<Outcome, Status> {
    let mut kv = KvClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut lease = LeaseClient::new(channel);
    let response = match what {
        Operation::Range(range) => {
            return Ok(Outcome::Range(kv.range(range).await?.into_inner()));
        }
        Operation::Request(request) => match request {
            Request::Put(put) => Response::Put(kv.put(put).await?.into_inner()),
            Request::DeleteRange(delete) => {
                Response::DeleteRange(kv.delete_range(delete).await?.into_inner())
            }
            Request::Txn(txn) => Response::Txn(kv.txn(txn).await?.into_inner()),
            Request::LeaseGrant(grant) => {
                Response::LeaseGrant(lease.lease_grant(grant).await?.into_inner())
            }
            Request::LeaseRevoke(revoke) => {
                Response::LeaseRevoke(lease.lease_revoke(revoke).await?.into_inner())
            }
            _ => return Err(Status::unimplemented("no client here asks that")),
        },
    };
    Ok(Outcome::Response(response))
}

/// A linearizable read of one key.
pub(super) fn get(key: bytes::Bytes) -> Operation {
    Operation::Range(pb::RangeRequest { key, ..Default::default() })
}

/// A put.
pub(super) fn put(key: bytes::Bytes, value: impl Into<bytes::Bytes>, lease: i64) -> Operation {
    let value = value.into();
    Operation::Request(Request::Put(pb::PutRequest { key, value, lease, ..Default::default() }))
}
