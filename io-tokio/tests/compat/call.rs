//! Unary calls as bytes, so that a body need not be a message; replies as what they mean.

use bytes::Bytes;
use prost::{DecodeError, Message};
use quorate_proto::etcdserverpb as pb;

macro_rules! methods {
    ($($name:ident $path:literal: $request:ident -> $response:ident;)*) => {
        /// The calls that scripts are made of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Method {
            $($name,)*
        }

        /// Their replies.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Reply {
            $($name(pb::$response),)*
        }

        impl Method {
            pub(crate) const fn path(self) -> &'static str {
                match self {
                    $(Self::$name => concat!("/etcdserverpb.", $path),)*
                }
            }

            /// What a reply's body means.
            pub(crate) fn read(self, body: Bytes) -> Result<Reply, DecodeError> {
                Ok(match self {
                    $(Self::$name => Reply::$name(Message::decode(body)?),)*
                })
            }

            /// A request's body in words.
            pub(crate) fn tell(self, body: &Bytes) -> String {
                match self {
                    $(Self::$name => match pb::$request::decode(body.clone()) {
                        Ok(request) => format!("{request:?}"),
                        Err(error) => format!("({error})"),
                    },)*
                }
            }
        }

        impl Reply {
            pub(crate) fn header_mut(&mut self) -> Option<&mut pb::ResponseHeader> {
                match self {
                    $(Self::$name(reply) => reply.header_mut(),)*
                }
            }
        }
    };
}

/// A reply that says whom it is from, and when.
trait Headed {
    fn header_mut(&mut self) -> Option<&mut pb::ResponseHeader>;
}

macro_rules! headed {
    ($($response:ident)*) => {
        $(impl Headed for pb::$response {
            fn header_mut(&mut self) -> Option<&mut pb::ResponseHeader> {
                self.header.as_mut()
            }
        })*
    };
}

headed! {
    RangeResponse PutResponse DeleteRangeResponse TxnResponse CompactionResponse
    LeaseGrantResponse LeaseRevokeResponse LeaseTimeToLiveResponse LeaseLeasesResponse
    HashKvResponse StatusResponse AlarmResponse MemberListResponse
}

impl Headed for pb::RangeStreamResponse {
    fn header_mut(&mut self) -> Option<&mut pb::ResponseHeader> {
        self.range_response.as_mut()?.header.as_mut()
    }
}

methods! {
    Range "KV/Range": RangeRequest -> RangeResponse;
    RangeStream "KV/RangeStream": RangeRequest -> RangeStreamResponse;
    Put "KV/Put": PutRequest -> PutResponse;
    Delete "KV/DeleteRange": DeleteRangeRequest -> DeleteRangeResponse;
    Txn "KV/Txn": TxnRequest -> TxnResponse;
    Compact "KV/Compact": CompactionRequest -> CompactionResponse;
    Grant "Lease/LeaseGrant": LeaseGrantRequest -> LeaseGrantResponse;
    Revoke "Lease/LeaseRevoke": LeaseRevokeRequest -> LeaseRevokeResponse;
    TimeToLive "Lease/LeaseTimeToLive": LeaseTimeToLiveRequest -> LeaseTimeToLiveResponse;
    Leases "Lease/LeaseLeases": LeaseLeasesRequest -> LeaseLeasesResponse;
    HashKv "Maintenance/HashKV": HashKvRequest -> HashKvResponse;
    Status "Maintenance/Status": StatusRequest -> StatusResponse;
    Alarm "Maintenance/Alarm": AlarmRequest -> AlarmResponse;
    Members "Cluster/MemberList": MemberListRequest -> MemberListResponse;
}

/// One unary call.
#[derive(Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) body: Bytes,
}

/// A code and a text.
pub(crate) type Refused = (tonic::Code, String);

/// What came of a call.
pub(crate) type Answer = Result<Reply, Refused>;

impl Call {
    pub(crate) fn new(method: Method, request: &impl Message) -> Self {
        Self { method, body: request.encode_to_vec().into() }
    }

    /// Whether it leaves everything as it is, so that its like may go beside it.
    pub(crate) fn is_read(&self) -> bool {
        use Method::{HashKv, Leases, Members, Range, RangeStream, TimeToLive};
        matches!(self.method, Range | RangeStream | HashKv | Leases | Members | TimeToLive)
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN_MAX: usize = 400;
        let shown = &self.body[..self.body.len().min(SHOWN_MAX)];
        let told = self.method.tell(&self.body);
        let told: String = told.chars().take(4 * SHOWN_MAX).collect();
        write!(f, "{:?} {told}\n  body ({} bytes):", self.method, self.body.len())?;
        shown.iter().try_for_each(|byte| write!(f, " {byte:02x}"))
    }
}
