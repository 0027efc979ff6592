//! One stream, right and then wrong in every way.

use quorate_proto::mvccpb::KeyValue;

use super::*;
use crate::history::{Changes, Watched};

fn put(key: &str, revision: i64) -> Event {
    let kv = KeyValue {
        key: key.to_owned().into(),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        value: "v".into(),
        lease: 0,
    };
    Event { r#type: EventType::Put as i32, kv: Some(kv), prev_kv: None }
}

fn delete(key: &str, revision: i64) -> Event {
    let kv = KeyValue { key: key.to_owned().into(), mod_revision: revision, ..Default::default() };
    Event { r#type: EventType::Delete as i32, kv: Some(kv), prev_kv: None }
}

/// Revision 2: a and b; 3: other; 4: a goes; 5: c.
fn changes() -> Vec<Changes> {
    let of = |revision, events| Changes { revision, events };
    vec![
        of(2, vec![put("a", 2), put("b", 2)]),
        of(3, vec![put("other", 3)]),
        of(4, vec![delete("a", 4)]),
        of(5, vec![put("c", 5)]),
    ]
}

/// A watch of a to d from a revision on.
fn create(start_revision: i64) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest {
        key: "a".into(),
        range_end: "d".into(),
        start_revision,
        ..Default::default()
    }
}

fn frame(revision: i64, events: Vec<Event>) -> pb::WatchResponse {
    let header = Some(pb::ResponseHeader { revision, ..Default::default() });
    pb::WatchResponse { header, events, ..Default::default() }
}

fn created(revision: i64) -> pb::WatchResponse {
    pb::WatchResponse { created: true, ..frame(revision, vec![]) }
}

/// What the oracle says of a stream with one watch.
fn said(request: pb::WatchCreateRequest, frames: Vec<pb::WatchResponse>) -> String {
    told(vec![RequestUnion::CreateRequest(request)], frames)
}

/// What it says of any stream.
fn told(requests: Vec<RequestUnion>, frames: Vec<pb::WatchResponse>) -> String {
    let request = |it| Traffic::Request(pb::WatchRequest { request_union: Some(it) });
    let responses = frames.into_iter().map(Traffic::Response);
    let traffic = requests.into_iter().map(request).chain(responses);
    let watched = traffic.map(|what| Watched { at: 0, stream: 1, what }).collect();
    let history = History { watched, truth: Truth::Changes(changes()), ..History::default() };
    check(&history).map_or_else(|violation| violation.what, |()| "fine".to_owned())
}

fn all(from: i64) -> Vec<pb::WatchResponse> {
    vec![
        created(1),
        frame(2, vec![put("a", 2), put("b", 2)]),
        frame(5, vec![delete("a", 4), put("c", 5)]),
        frame(5, vec![]),
    ]
    .into_iter()
    .filter(|frame| frame.created || frame.header.as_ref().unwrap().revision >= from)
    .collect()
}

#[test]
fn right_streams_are_accepted() {
    assert_eq!(said(create(0), all(1)), "fine");
    assert_eq!(said(create(1), all(1)), "fine");
    assert_eq!(said(create(3), all(3)), "fine");
    let filters = vec![pb::watch_create_request::FilterType::Noput as i32];
    let filtered = pb::WatchCreateRequest { filters, ..create(1) };
    assert_eq!(said(filtered, vec![created(1), frame(4, vec![delete("a", 4)])]), "fine");
    let fragment = pb::WatchCreateRequest { fragment: true, ..create(2) };
    let first = pb::WatchResponse { fragment: true, ..frame(2, vec![put("a", 2)]) };
    assert_eq!(said(fragment, vec![created(1), first, frame(2, vec![put("b", 2)])]), "fine");
}

#[test]
fn a_gap_is_found() {
    let mut frames = all(1);
    frames.remove(1);
    let expected = "stream 1: watch 0: revision 4 came, but 2 was due first";
    assert_eq!(said(create(1), frames), expected);
}

#[test]
fn a_repeated_or_late_revision_is_found() {
    let mut frames = all(1);
    frames.insert(2, frames[1].clone());
    let expected = "stream 1: watch 0: revision 2 again or too late: 3 was next";
    assert_eq!(said(create(1), frames), expected);
    let mut frames = all(1);
    frames[2].events.reverse();
    let expected = "stream 1: watch 0: revision 5 came, but 4 was due first";
    assert_eq!(said(create(1), frames), expected);
}

#[test]
fn a_split_revision_is_found() {
    let halves = vec![created(1), frame(2, vec![put("a", 2)]), frame(2, vec![put("b", 2)])];
    let what = said(create(1), halves);
    assert!(what.starts_with("stream 1: watch 0: revision 2 came as [Event"), "{what}");
}

#[test]
fn progress_ahead_of_events_is_found() {
    let expected = "stream 1: watch 0: progress to 4, but revision 2 was never sent";
    assert_eq!(said(create(1), vec![created(1), frame(4, vec![])]), expected);
    let whole_stream = pb::WatchResponse { watch_id: -1, ..frame(4, vec![]) };
    assert_eq!(said(create(1), vec![created(1), whole_stream]), expected);
}

#[test]
fn events_outside_the_question_are_found() {
    let before = vec![created(1), frame(2, vec![put("a", 2), put("b", 2)])];
    let expected = "stream 1: watch 0: revision 2 again or too late: 3 was next";
    assert_eq!(said(create(3), before), expected);
    let foreign = vec![created(2), frame(3, vec![put("other", 3)])];
    let expected = "stream 1: watch 0: events of revision 3, which has none for it";
    assert_eq!(said(create(3), foreign), expected);
    let stranger = pb::WatchResponse { watch_id: 8, ..frame(3, vec![]) };
    assert_eq!(
        said(create(3), vec![created(1), stranger]),
        "stream 1: a frame for watch 8, which does not exist"
    );
    assert_eq!(
        said(create(3), vec![created(1), frame(9, vec![])]),
        "stream 1: a frame of revision 9; there were only 5"
    );
}

#[test]
fn the_value_before_is_checked() {
    let wants = pb::WatchCreateRequest { prev_kv: true, ..create(4) };
    let with = |prev_kv| vec![created(1), frame(4, vec![Event { prev_kv, ..delete("a", 4) }])];
    assert_eq!(said(wants.clone(), with(put("a", 2).kv)), "fine");
    let expected = "stream 1: watch 0: revision 4 came without its prev_kv";
    assert_eq!(said(wants.clone(), with(None)), expected);
    let what = said(wants, with(put("a", 3).kv));
    assert!(what.starts_with("stream 1: watch 0: revision 4 came with a wrong prev_kv"), "{what}");
}

#[test]
fn a_cancel_names_a_compaction_that_was_in_the_way() {
    let cancel = |compact_revision| {
        let cancel = pb::WatchResponse { canceled: true, compact_revision, ..frame(0, vec![]) };
        said(create(3), vec![created(1), cancel])
    };
    let expected = "stream 1: watch 0: cancelled for compaction 3, but it was at 3";
    assert_eq!(cancel(3), expected);
    let expected = "stream 1: watch 0: cancelled for compaction 4, which never was";
    assert_eq!(cancel(4), expected);
}

#[test]
fn nothing_but_another_cancel_comes_after_a_cancel() {
    let cancel = || pb::WatchResponse { canceled: true, ..frame(1, vec![]) };
    let asked = |times| {
        let cancel = RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 0 });
        let mut requests = vec![cancel; times];
        requests.push(RequestUnion::CreateRequest(create(1)));
        requests
    };
    assert_eq!(told(asked(2), vec![created(1), cancel(), cancel()]), "fine");
    let expected = "stream 1: watch 0: cancelled, but nobody asked for it";
    assert_eq!(told(asked(1), vec![created(1), cancel(), cancel()]), expected);
    let late = vec![created(1), cancel(), frame(2, vec![put("a", 2), put("b", 2)])];
    assert_eq!(told(asked(1), late), "stream 1: watch 0: a frame after its end");
}

#[test]
fn progress_before_the_start_or_between_fragments_is_found() {
    let expected = "stream 1: watch 0: progress to 3, but it starts at 5";
    assert_eq!(said(create(5), vec![created(1), frame(3, vec![])]), expected);
    let all = pb::WatchResponse { watch_id: -1, ..frame(3, vec![]) };
    assert_eq!(said(create(5), vec![created(1), all]), expected);
    let fragment = pb::WatchCreateRequest { fragment: true, ..create(2) };
    let first = pb::WatchResponse { fragment: true, ..frame(2, vec![put("a", 2)]) };
    let expected = "stream 1: watch 0: progress to 2 between two fragments";
    assert_eq!(said(fragment, vec![created(1), first, frame(2, vec![])]), expected);
}

#[test]
fn ids_and_refusals_are_checked() {
    let ask = |watch_id| {
        let create = pb::WatchCreateRequest { watch_id, ..create(5) };
        RequestUnion::CreateRequest(create)
    };
    let made = |watch_id| pb::WatchResponse { watch_id, ..created(1) };
    let refused = || pb::WatchResponse { canceled: true, ..made(-1) };
    assert_eq!(told(vec![ask(0), ask(7), ask(7)], vec![made(0), made(7), refused()]), "fine");
    let expected = "stream 1: watch 7 was asked for, watch 8 created";
    assert_eq!(told(vec![ask(7)], vec![made(8)]), expected);
    let expected = "stream 1: watch 0 was given the id of an earlier one";
    assert_eq!(told(vec![ask(0), ask(0)], vec![made(1), made(0)]), expected);
    let expected = "stream 1: a watch was created although its id is taken";
    assert_eq!(told(vec![ask(7), ask(7)], vec![made(7), made(7)]), expected);
    assert_eq!(told(vec![ask(0)], vec![refused()]), "stream 1: refused for no reason: ");
    let early = RequestUnion::CreateRequest(create(-1));
    let expected = "stream 1: a watch was created although its start is compacted for ever";
    assert_eq!(told(vec![early], vec![made(0)]), expected);
}
