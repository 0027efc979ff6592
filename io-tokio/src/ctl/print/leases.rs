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

/// A lease that was granted.
pub(in crate::ctl) struct Granted(pub(in crate::ctl) LeaseGrantResponse);

impl Answer for Granted {
    fn simple(&self, _: Ink, page: &mut Vec<u8>) {
        let (id, ttl) = (self.0.id, self.0.ttl);
        page.extend(format!("lease {id:016x} granted with TTL({ttl}s)\n").into_bytes());
    }

    fn fields(&self, ink: Ink) -> Option<Fields> {
        let mut fields = Fields::of(self.0.header.as_ref(), ink);
        fields.lease("ID", self.0.id, ink);
        fields.value("TTL", self.0.ttl);
        Some(fields)
    }

    fn json(&self, _: Ink) -> String {
        let LeaseGrantResponse { header, id, ttl, error } = &self.0;
        let error = go_text(error);
        flat(header.as_ref(), &format!("\"ID\":{id},\"TTL\":{ttl},\"Error\":{error}"))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(header_bytes(self.0.header.as_ref()))
    }
}

/// A lease that was kept alive.
pub(in crate::ctl) struct Renewed(pub(in crate::ctl) LeaseKeepAliveResponse);

impl Answer for Renewed {
    fn simple(&self, _: Ink, page: &mut Vec<u8>) {
        let (id, ttl) = (self.0.id, self.0.ttl);
        page.extend(format!("lease {id:016x} keepalived with TTL({ttl})\n").into_bytes());
    }

    fn fields(&self, ink: Ink) -> Option<Fields> {
        let mut fields = Fields::of(self.0.header.as_ref(), ink);
        fields.lease("ID", self.0.id, ink);
        fields.value("TTL", self.0.ttl);
        Some(fields)
    }

    fn json(&self, _: Ink) -> String {
        let (id, ttl) = (self.0.id, self.0.ttl);
        flat(self.0.header.as_ref(), &format!("\"ID\":{id},\"TTL\":{ttl}"))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(header_bytes(self.0.header.as_ref()))
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
