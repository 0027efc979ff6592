//! Keys, values, transactions, events.

use prost::Message as _;
use quorate_proto::etcdserverpb::response_op::Response;
use quorate_proto::etcdserverpb::{
    DeleteRangeResponse, PutResponse, RangeResponse, ResponseOp, TxnResponse, WatchResponse,
};
use quorate_proto::mvccpb::event::EventType;
use quorate_proto::mvccpb::{Event, KeyValue};

use super::{Answer, Fields, Ink, Reply};
use crate::gateway::{go_message, go_text};

fn line(bytes: &[u8], ink: Ink, page: &mut Vec<u8>) {
    if ink.is_hex {
        page.extend(bytes.iter().flat_map(|byte| format!("\\x{byte:02x}").into_bytes()));
    } else {
        page.extend_from_slice(bytes);
    }
    page.push(b'\n');
}

fn pair(kv: &KeyValue, ink: Ink, page: &mut Vec<u8>) {
    if !ink.is_value_only {
        line(&kv.key, ink, page);
    }
    line(&kv.value, ink, page);
}

/// A message that has every format but tables, JSON and bytes as it is.
trait Plain: Reply {
    fn simple(&self, ink: Ink, page: &mut Vec<u8>);

    fn fields(&self, ink: Ink) -> Fields;
}

impl<M: Plain> Answer for M {
    fn simple(&self, ink: Ink, page: &mut Vec<u8>) {
        Plain::simple(self, ink, page);
    }

    fn fields(&self, ink: Ink) -> Option<Fields> {
        Some(Plain::fields(self, ink))
    }

    fn json(&self, _: Ink) -> String {
        self.go_json()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

impl Plain for RangeResponse {
    fn simple(&self, ink: Ink, page: &mut Vec<u8>) {
        self.kvs.iter().for_each(|kv| pair(kv, ink, page));
    }

    fn fields(&self, ink: Ink) -> Fields {
        let mut fields = Fields::of(self.header.as_ref(), ink);
        self.kvs.iter().for_each(|kv| fields.pair("", kv, ink));
        fields.value("More", self.more);
        fields.value("Count", self.count);
        fields
    }
}

impl Plain for PutResponse {
    fn simple(&self, ink: Ink, page: &mut Vec<u8>) {
        page.extend_from_slice(b"OK\n");
        self.prev_kv.iter().for_each(|kv| pair(kv, ink, page));
    }

    fn fields(&self, ink: Ink) -> Fields {
        let mut fields = Fields::of(self.header.as_ref(), ink);
        self.prev_kv.iter().for_each(|kv| fields.pair("Prev", kv, ink));
        fields
    }
}

impl Plain for DeleteRangeResponse {
    fn simple(&self, ink: Ink, page: &mut Vec<u8>) {
        page.extend_from_slice(format!("{}\n", self.deleted).as_bytes());
        self.prev_kvs.iter().for_each(|kv| pair(kv, ink, page));
    }

    fn fields(&self, ink: Ink) -> Fields {
        let mut fields = Fields::of(self.header.as_ref(), ink);
        fields.value("Deleted", self.deleted);
        self.prev_kvs.iter().for_each(|kv| fields.pair("Prev", kv, ink));
        fields
    }
}

impl Plain for TxnResponse {
    fn simple(&self, ink: Ink, page: &mut Vec<u8>) {
        page.extend_from_slice(if self.succeeded { b"SUCCESS\n" } else { b"FAILURE\n" });
        for ResponseOp { response } in &self.responses {
            page.push(b'\n');
            match response {
                Some(Response::ResponseRange(answer)) => Plain::simple(answer, ink, page),
                Some(Response::ResponsePut(answer)) => Plain::simple(answer, ink, page),
                Some(Response::ResponseDeleteRange(answer)) => Plain::simple(answer, ink, page),
                Some(Response::ResponseTxn(answer)) => Plain::simple(answer, ink, page),
                None => page.extend_from_slice(b"unexpected response\n"),
            }
        }
    }

    fn fields(&self, ink: Ink) -> Fields {
        let mut fields = Fields::of(self.header.as_ref(), ink);
        fields.value("Succeeded", self.succeeded);
        for ResponseOp { response } in &self.responses {
            let part = match response {
                Some(Response::ResponseRange(answer)) => Plain::fields(answer, ink),
                Some(Response::ResponsePut(answer)) => Plain::fields(answer, ink),
                Some(Response::ResponseDeleteRange(answer)) => Plain::fields(answer, ink),
                Some(Response::ResponseTxn(answer)) => Plain::fields(answer, ink),
                None => Fields::default(),
            };
            fields.append(&part);
        }
        fields
    }
}

impl Answer for WatchResponse {
    fn simple(&self, ink: Ink, page: &mut Vec<u8>) {
        for event in &self.events {
            page.extend_from_slice(format!("{}\n", kind(event)).as_bytes());
            event.prev_kv.iter().for_each(|kv| pair(kv, ink, page));
            pair(&event.kv.clone().unwrap_or_default(), ink, page);
        }
    }

    fn fields(&self, ink: Ink) -> Option<Fields> {
        let mut fields = Fields::of(self.header.as_ref(), ink);
        for event in &self.events {
            fields.value("Type", kind(event));
            event.prev_kv.iter().for_each(|kv| fields.pair("Prev", kv, ink));
            fields.pair("", &event.kv.clone().unwrap_or_default(), ink);
        }
        Some(fields)
    }

    /// The shape of etcd's client, which is not that of the message.
    fn json(&self, _: Ink) -> String {
        let part = |name: &str, bytes: &[u8]| go_message(name, bytes).unwrap_or_default();
        let header = self.header.as_ref().map(prost::Message::encode_to_vec);
        let header = header.map(|bytes| part("etcdserverpb.ResponseHeader", &bytes));
        let events = self.events.iter().map(|event| part("mvccpb.Event", &event.encode_to_vec()));
        let events = match self.events.is_empty() {
            true => "null".to_owned(),
            false => format!("[{}]", events.collect::<Vec<_>>().join(",")),
        };
        format!(
            "{{\"Header\":{},\"Events\":{events},\"CompactRevision\":{},\"Canceled\":{},\
             \"Created\":{},\"CancelReason\":{}}}",
            header.as_deref().unwrap_or("null"),
            self.compact_revision,
            self.canceled,
            self.created,
            go_text(&self.cancel_reason)
        )
    }

    /// Without what etcd's client does not hand on.
    fn protobuf(&self) -> Option<Vec<u8>> {
        let handed_on =
            Self { watch_id: 0, cancel_reason: String::new(), fragment: false, ..self.clone() };
        Some(handed_on.encode_to_vec())
    }
}

/// `PUT` or `DELETE`.
pub(in crate::ctl) fn kind(event: &Event) -> &'static str {
    EventType::try_from(event.r#type).map_or("UNKNOWN", |kind| kind.as_str_name())
}
