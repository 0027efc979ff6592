//! Answers that are a message and a sentence.

use prost::Message;
use quorate_proto::etcdserverpb as pb;

use super::{Answer, Fields, Ink};
use crate::gateway::go_message;

/// A message of the API.
pub(in crate::ctl) trait Reply: Message + Sized {
    /// Its full name.
    const NAME: &'static str;

    /// Who answered.
    fn header(&self) -> Option<&pb::ResponseHeader>;

    /// The message as Go writes it.
    fn go_json(&self) -> String {
        // Its own bytes are bytes of its kind.
        go_message(Self::NAME, &self.encode_to_vec()).unwrap_or_default()
    }
}

macro_rules! replies {
    ($($message:ident $($name:literal)?)+) => {
        $(
            impl Reply for pb::$message {
                const NAME: &'static str = replies!(@name $message $($name)?);

                fn header(&self) -> Option<&pb::ResponseHeader> {
                    self.header.as_ref()
                }
            }
        )+
    };
    (@name $message:ident) => { concat!("etcdserverpb.", stringify!($message)) };
    (@name $message:ident $name:literal) => { concat!("etcdserverpb.", $name) };
}

replies! {
    RangeResponse
    PutResponse
    DeleteRangeResponse
    TxnResponse
    WatchResponse
    HashKvResponse "HashKVResponse"
    StatusResponse
    LeaseRevokeResponse
    MemberAddResponse
    MemberRemoveResponse
    MemberUpdateResponse
    MemberPromoteResponse
    MemberListResponse
    MoveLeaderResponse
    AlarmResponse
    DowngradeResponse
    AuthStatusResponse
    AuthUserAddResponse
    AuthUserGetResponse
    AuthUserDeleteResponse
    AuthUserChangePasswordResponse
    AuthUserGrantRoleResponse
    AuthUserRevokeRoleResponse
    AuthUserListResponse
    AuthRoleAddResponse
    AuthRoleGetResponse
    AuthRoleDeleteResponse
    AuthRoleListResponse
    AuthRoleGrantPermissionResponse
    AuthRoleRevokePermissionResponse
}

/// Which fields an answer has after its header.
type More<M> = fn(&M, Ink, &mut Fields);

/// An answer, and what it says to people.
pub(in crate::ctl) struct Said<'a, M> {
    reply: &'a M,
    words: String,
    more: Option<More<M>>,
}

impl<'a, M: Reply> Said<'a, M> {
    /// One without the fields format.
    pub(in crate::ctl) fn new(reply: &'a M, words: String) -> Self {
        Self { reply, words, more: None }
    }

    /// One whose fields are its header's.
    pub(in crate::ctl) fn with_header(reply: &'a M, words: String) -> Self {
        Self { reply, words, more: Some(|_, _, _| {}) }
    }

    /// One that has more fields.
    pub(in crate::ctl) fn with_fields(reply: &'a M, words: String, more: More<M>) -> Self {
        Self { reply, words, more: Some(more) }
    }
}

impl<M: Reply> Answer for Said<'_, M> {
    fn simple(&self, _: Ink, page: &mut Vec<u8>) {
        page.extend_from_slice(self.words.as_bytes());
    }

    fn fields(&self, ink: Ink) -> Option<Fields> {
        let mut fields = Fields::of(self.reply.header(), ink);
        self.more?(self.reply, ink, &mut fields);
        Some(fields)
    }

    fn json(&self, _: Ink) -> String {
        self.reply.go_json()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.reply.encode_to_vec())
    }
}
