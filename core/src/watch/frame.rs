//! The responses a stream carries.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use prost::Message;
use prost::length_delimiter_len;
use quorate_proto::etcdserverpb::{ResponseHeader, WatchResponse};
use quorate_proto::mvccpb::{Event, KeyValue};

use crate::ids::{ClusterId, MemberId, Revision, Term, WatchId};

/// The id of responses that speak for no single watch.
const NO_WATCH: WatchId = WatchId(-1);

/// What stands at the top of every response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letterhead {
    pub(super) cluster: ClusterId,
    pub(super) member: MemberId,
    pub(super) term: Term,
}

impl Letterhead {
    fn frame(&self, id: WatchId, revision: Revision) -> WatchResponse {
        let header = ResponseHeader {
            cluster_id: self.cluster.get(),
            member_id: self.member.get(),
            revision: revision.get(),
            raft_term: self.term.get(),
        };
        WatchResponse { header: Some(header), watch_id: id.get(), ..Default::default() }
    }

    /// The watch exists.
    pub(super) fn created(&self, id: WatchId, revision: Revision) -> WatchResponse {
        WatchResponse { created: true, ..self.frame(id, revision) }
    }

    /// The watch was not created.
    pub(super) fn refused(&self, reason: String, revision: Revision) -> WatchResponse {
        let created = self.created(NO_WATCH, revision);
        WatchResponse { canceled: true, cancel_reason: reason, ..created }
    }

    /// The client's cancel was heard.
    pub(super) fn canceled(&self, id: WatchId, revision: Revision) -> WatchResponse {
        WatchResponse { canceled: true, ..self.frame(id, revision) }
    }

    /// What the watch would need is compacted. The header has no revision, as etcd's has none.
    pub(super) fn compacted(&self, id: WatchId, compacted: Revision) -> WatchResponse {
        let canceled = self.canceled(id, Revision(0));
        WatchResponse { compact_revision: compacted.get(), ..canceled }
    }

    /// The stream is given up.
    pub(super) fn ended(&self, reason: &str, revision: Revision) -> WatchResponse {
        let canceled = self.canceled(NO_WATCH, revision);
        WatchResponse { cancel_reason: String::from(reason), ..canceled }
    }

    /// Nothing up to `revision` is outstanding for this watch.
    pub(super) fn progress(&self, id: WatchId, revision: Revision) -> WatchResponse {
        self.frame(id, revision)
    }

    /// Nothing up to `revision` is outstanding for any watch of the stream.
    pub(super) fn progress_all(&self, revision: Revision) -> WatchResponse {
        self.frame(NO_WATCH, revision)
    }

    /// Events.
    pub(super) fn events(&self, id: WatchId, at: Revision, events: Vec<Event>) -> WatchResponse {
        WatchResponse { events, ..self.frame(id, at) }
    }
}

/// Bytes a frame takes in memory, not counting what it shares with its stream. Whoever passes
/// frames on counts them so too, to know when to say it.
pub fn frame_bytes(frame: &WatchResponse) -> usize {
    let kv_bytes =
        |kv: &Option<KeyValue>| kv.as_ref().map_or(0, |kv| kv.key.len() + kv.value.len());
    let events = frame.events.iter();
    let held = events.map(|event| kv_bytes(&event.kv) + kv_bytes(&event.prev_kv)).sum::<usize>();
    mem::size_of::<WatchResponse>() + frame.events.len() * mem::size_of::<Event>() + held
}

/// Cuts a response whose encoding reaches `bytes_max` into parts that stay below it. A part holds
/// one event at least, however large.
pub(super) fn split(mut frame: WatchResponse, bytes_max: usize) -> Vec<WatchResponse> {
    if frame.events.len() < 2 || frame.encoded_len() < bytes_max {
        return Vec::from([frame]);
    }
    let events = mem::take(&mut frame.events);
    frame.fragment = true;
    let head_bytes = frame.encoded_len();
    let mut parts = Vec::new();
    let mut part = frame.clone();
    let mut part_bytes = head_bytes;
    for event in events {
        let event_bytes = field_bytes(&event);
        if !part.events.is_empty() && part_bytes + event_bytes >= bytes_max {
            parts.push(mem::replace(&mut part, frame.clone()));
            part_bytes = head_bytes;
        }
        part_bytes += event_bytes;
        part.events.push(event);
    }
    part.fragment = false;
    parts.push(part);
    parts
}

/// Bytes an event takes inside a response: its tag, its length, itself.
fn field_bytes(event: &Event) -> usize {
    let bytes = event.encoded_len();
    1 + length_delimiter_len(bytes) + bytes
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn frame(value_bytes: &[usize]) -> WatchResponse {
        let event = |&length: &usize| {
            let value = Bytes::from(alloc::vec![b'x'; length]);
            let kv = KeyValue { key: Bytes::from_static(b"k"), value, ..Default::default() };
            Event { kv: Some(kv), ..Default::default() }
        };
        let head = Letterhead { cluster: ClusterId(1), member: MemberId(2), term: Term(3) };
        head.events(WatchId(7), Revision(9), value_bytes.iter().map(event).collect())
    }

    fn shape(parts: &[WatchResponse]) -> Vec<(usize, bool)> {
        parts.iter().map(|part| (part.events.len(), part.fragment)).collect()
    }

    #[test]
    fn parts_stay_below_the_limit_and_only_the_last_is_unmarked() {
        let whole = frame(&[100, 100, 100, 100, 100]);
        let parts = split(whole.clone(), 250);
        assert_eq!(shape(&parts), [(2, true), (2, true), (1, false)]);
        assert!(parts.iter().all(|part| part.encoded_len() < 250));
        assert!(parts.iter().all(|part| part.header == whole.header && part.watch_id == 7));
        let events: Vec<Event> = parts.into_iter().flat_map(|part| part.events).collect();
        assert_eq!(events, whole.events);
    }

    #[test]
    fn the_limit_itself_is_too_much_and_one_byte_less_is_not() {
        let whole = frame(&[100, 100]);
        let bytes = whole.encoded_len();
        assert_eq!(shape(&split(whole.clone(), bytes + 1)), [(2, false)]);
        assert_eq!(shape(&split(whole, bytes)), [(1, true), (1, false)]);
    }

    #[test]
    fn an_event_above_the_limit_travels_whole() {
        assert_eq!(shape(&split(frame(&[1_000]), 10)), [(1, false)]);
        let parts = split(frame(&[1, 1_000, 1]), 200);
        assert_eq!(shape(&parts), [(1, true), (1, true), (1, false)]);
    }
}
