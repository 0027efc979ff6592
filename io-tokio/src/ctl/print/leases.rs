//! Leases, in the shapes of etcd's client: the header's fields stand among the others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_proto::etcdserverpb::{
    LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseTimeToLiveResponse,
    ResponseHeader,
};

use super::{Answer, Fields, Ink};
use crate::gateway::{go_message, go_text};

/// A header's fields and more, as one object.
fn flat(header: Option<&ResponseHeader>, more: &str) -> String {
    let header = header.map(prost::Message::encode_to_vec).unwrap_or_default();
    let header = go_message("etcdserverpb.ResponseHeader", &header).unwrap_or_default();
    match header.trim_end_matches('}') {
        "{" | "" => format!("{{{more}}}"),
        fields => format!("{fields},{more}}}"),
    }
}

/// All that is left of such an answer in bytes.
fn header_bytes(header: Option<&ResponseHeader>) -> Vec<u8> {
    header.map(prost::Message::encode_to_vec).unwrap_or_default()
}

/// A lease that lives from now on: that was granted, or kept alive.
pub(in crate::ctl) struct Living {
    header: Option<ResponseHeader>,
    id: i64,
    ttl: i64,
    /// What happened to it.
    words: String,
    /// Only a grant has that field, and it is empty.
    error: Option<String>,
}

impl From<LeaseGrantResponse> for Living {
    fn from(LeaseGrantResponse { header, id, ttl, error }: LeaseGrantResponse) -> Self {
        Self { header, id, ttl, words: format!("granted with TTL({ttl}s)"), error: Some(error) }
    }
}

impl From<LeaseKeepAliveResponse> for Living {
    fn from(LeaseKeepAliveResponse { header, id, ttl }: LeaseKeepAliveResponse) -> Self {
        Self { header, id, ttl, words: format!("keepalived with TTL({ttl})"), error: None }
    }
}

impl Answer for Living {
    fn simple(&self, _: Ink, page: &mut Vec<u8>) {
        page.extend(format!("lease {:016x} {}\n", self.id, self.words).into_bytes());
    }

    fn fields(&self, ink: Ink) -> Option<Fields> {
        let mut fields = Fields::of(self.header.as_ref(), ink);
        fields.lease("ID", self.id, ink);
        fields.value("TTL", self.ttl);
        Some(fields)
    }

    fn json(&self, _: Ink) -> String {
        let error = self.error.as_ref().map(|error| format!(",\"Error\":{}", go_text(error)));
        let more = format!("\"ID\":{},\"TTL\":{}", self.id, self.ttl);
        flat(self.header.as_ref(), &(more + &error.unwrap_or_default()))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(header_bytes(self.header.as_ref()))
    }
}

/// How long a lease lives on, and with which keys if they were asked for.
pub(in crate::ctl) struct Remaining {
    pub(in crate::ctl) reply: LeaseTimeToLiveResponse,
    pub(in crate::ctl) has_keys: bool,
}

impl Answer for Remaining {
    fn simple(&self, _: Ink, page: &mut Vec<u8>) {
        let LeaseTimeToLiveResponse { id, ttl, granted_ttl, keys, .. } = &self.reply;
        if (*granted_ttl, *ttl) == (0, -1) {
            page.extend(format!("lease {id:016x} already expired\n").into_bytes());
            return;
        }
        let text = format!("lease {id:016x} granted with TTL({granted_ttl}s), remaining({ttl}s)");
        page.extend(text.into_bytes());
        if self.has_keys {
            page.extend(b", attached keys([");
            page.extend(keys.join(&b' '));
            page.extend(b"])");
        }
        page.push(b'\n');
    }

    fn fields(&self, ink: Ink) -> Option<Fields> {
        let mut fields = Fields::of(self.reply.header.as_ref(), ink);
        fields.lease("ID", self.reply.id, ink);
        fields.value("TTL", self.reply.ttl);
        fields.value("GrantedTTL", self.reply.granted_ttl);
        self.reply.keys.iter().for_each(|key| fields.text("Key", key));
        Some(fields)
    }

    fn json(&self, _: Ink) -> String {
        let LeaseTimeToLiveResponse { header, id, ttl, granted_ttl, keys } = &self.reply;
        let encoded = keys.iter().map(|key| format!("\"{}\"", STANDARD.encode(key)));
        let keys = match keys.is_empty() {
            true => "null".to_owned(),
            false => format!("[{}]", encoded.collect::<Vec<_>>().join(",")),
        };
        let more =
            format!("\"id\":{id},\"ttl\":{ttl},\"granted-ttl\":{granted_ttl},\"keys\":{keys}");
        flat(header.as_ref(), &more)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(header_bytes(self.reply.header.as_ref()))
    }
}

/// Which leases there are.
pub(in crate::ctl) struct Leases(pub(in crate::ctl) LeaseLeasesResponse);

impl Answer for Leases {
    fn simple(&self, _: Ink, page: &mut Vec<u8>) {
        page.extend(format!("found {} leases\n", self.0.leases.len()).into_bytes());
        for lease in &self.0.leases {
            page.extend(format!("{:016x}\n", lease.id).into_bytes());
        }
    }

    fn fields(&self, ink: Ink) -> Option<Fields> {
        let mut fields = Fields::of(self.0.header.as_ref(), ink);
        self.0.leases.iter().for_each(|lease| fields.lease("ID", lease.id, ink));
        Some(fields)
    }

    fn json(&self, _: Ink) -> String {
        let leases = self.0.leases.iter().map(|lease| format!("{{\"id\":{}}}", lease.id));
        let leases = leases.collect::<Vec<_>>().join(",");
        flat(self.0.header.as_ref(), &format!("\"leases\":[{leases}]"))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(header_bytes(self.0.header.as_ref()))
    }
}
