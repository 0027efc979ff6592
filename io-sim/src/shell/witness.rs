//! What clients see, told to whoever judges it and written down, a line each.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use quorate_core::ids::{MemberId, StreamId};
use quorate_core::time::Time;
use quorate_proto::etcdserverpb as pb;
use xxhash_rust::xxh3::xxh3_64;

use crate::world::observe::{
    CallId, ClientId, Observer, Operation, Outcome, Seen, Verdict, Violation,
};

/// Characters of a line that are kept; its hash tells the rest.
const LINE_CHARS_MAX: usize = 240;

/// Copies are the same witness.
#[derive(Clone)]
pub(super) struct Witness(Rc<RefCell<Inner>>);

struct Inner {
    observer: Box<dyn Observer>,
    lines: Vec<String>,
    objection: Option<Violation>,
    counts: BTreeMap<&'static str, u64>,
    calls: u64,
    streams: u64,
}

/// Now, on the clock all hosts share.
pub(super) fn now() -> Time {
    Time::ZERO + turmoil::sim_elapsed().unwrap_or_default()
}

impl Witness {
    pub(super) fn new(observer: Box<dyn Observer>) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            observer,
            lines: Vec::new(),
            objection: None,
            counts: BTreeMap::new(),
            calls: 0,
            streams: 0,
        })))
    }

    /// Something that nobody judges.
    pub(super) fn note(&self, at: Time, text: &str) {
        self.0.borrow_mut().lines.push(format!("{:>13} {text}", at.0));
    }

    /// Counts something for the summary.
    pub(super) fn count(&self, what: &'static str) {
        *self.0.borrow_mut().counts.entry(what).or_default() += 1;
    }

    /// Something happened.
    pub(super) fn tell(&self, seen: &Seen) {
        let at = now();
        self.note(at, &line(&format!("{seen:?}")));
        let judged = self.0.borrow_mut().observer.observe(at, seen);
        if let Err(violation) = judged {
            self.object(violation);
        }
    }

    /// Something is wrong; the first objection counts.
    pub(super) fn object(&self, violation: Violation) {
        self.note(now(), &format!("{violation:?}"));
        self.0.borrow_mut().objection.get_or_insert(violation);
    }

    /// Something that was due did not happen.
    pub(super) fn miss(&self, what: String) {
        self.object(Violation { verdict: Verdict::Liveness, oracle: "liveness", what });
    }

    pub(super) fn objection(&self) -> Option<Violation> {
        self.0.borrow().objection.clone()
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0.borrow().counts.clone()
    }

    pub(super) fn take_lines(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut().lines)
    }

    pub(super) fn begin(&self, client: ClientId, member: MemberId, what: &Operation) -> CallId {
        let call = {
            let mut inner = self.0.borrow_mut();
            inner.calls += 1;
            CallId(inner.calls)
        };
        self.tell(&Seen::Called { client, call, member, operation: what.clone() });
        call
    }

    pub(super) fn end(&self, client: ClientId, call: CallId, outcome: &Outcome) {
        self.count(match outcome {
            Outcome::Unknown => "calls that came to nothing",
            _ => "calls answered",
        });
        self.tell(&Seen::Returned { client, call, outcome: outcome.clone() });
    }

    pub(super) fn open_stream(&self, client: ClientId, member: MemberId) -> StreamId {
        let stream = {
            let mut inner = self.0.borrow_mut();
            inner.streams += 1;
            StreamId(inner.streams)
        };
        self.count("streams");
        self.tell(&Seen::StreamOpened { client, stream, member });
        stream
    }

    pub(super) fn sent(&self, client: ClientId, stream: StreamId, message: &pb::WatchRequest) {
        self.tell(&Seen::StreamSent { client, stream, message: message.clone() });
    }

    pub(super) fn received(&self, client: ClientId, stream: StreamId, frame: &pb::WatchResponse) {
        self.count("frames");
        self.tell(&Seen::Frame { client, stream, frame: frame.clone() });
    }

    pub(super) fn end_stream(&self, client: ClientId, stream: StreamId) {
        self.tell(&Seen::StreamEnded { client, stream });
    }
}

/// A line that is long ends with its hash.
fn line(text: &str) -> String {
    match text.char_indices().nth(LINE_CHARS_MAX) {
        Some((end, _)) => format!("{}.. {:016x}", &text[..end], xxh3_64(text.as_bytes())),
        None => text.to_owned(),
    }
}
