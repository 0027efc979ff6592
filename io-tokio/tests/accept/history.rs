//! What clients asked and learned, in the order of one clock, and what must be true of it.
//!
//! A history is written as JSON lines, messages as protobuf bytes in hex:
//!
//! ```text
//! {"kind":"operation","id":7,"client":1,"member":2,"called":1200,"returned":3400,
//!  "method":"Put","request":"0a0161120131","outcome":{"ok":"0a021802"}}
//! {"kind":"changes","revision":2,"events":["12090a01611002180220012a0131"]}
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prost::Message;
use quorate_proto::etcdserverpb::{PutRequest, PutResponse, RangeRequest, RangeResponse};
use quorate_proto::mvccpb::Event;
use quorate_sim_tests::model::Settings;
use serde_json::json;

/// How many of the longest gaps are worth a look.
const GAPS_SHOWN: usize = 8;

/// A request, and its answer if one came.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Put(PutRequest, Option<PutResponse>),
    Range(RangeRequest, Option<RangeResponse>),
}

impl Call {
    /// The revision in the answer's header.
    pub(crate) fn revision(&self) -> Option<i64> {
        let header = match self {
            Self::Put(_, answer) => answer.as_ref()?.header.as_ref(),
            Self::Range(_, answer) => answer.as_ref()?.header.as_ref(),
        };
        header.map(|header| header.revision)
    }

    fn to_line(&self) -> (&'static str, Vec<u8>, Option<Vec<u8>>) {
        match self {
            Self::Put(asked, answer) => {
                ("Put", asked.encode_to_vec(), answer.as_ref().map(Message::encode_to_vec))
            }
            Self::Range(asked, answer) => {
                ("Range", asked.encode_to_vec(), answer.as_ref().map(Message::encode_to_vec))
            }
        }
    }
}

/// One call of one client; without an answer its effect is unknown.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) id: u64,
    pub(crate) client: u64,
    pub(crate) member: u64,
    pub(crate) called: u64,
    pub(crate) returned: u64,
    pub(crate) call: Call,
}

/// All operations so far, on one clock.
pub(crate) struct Recorder {
    epoch: Instant,
    next_id: AtomicU64,
    operations: Mutex<Vec<Operation>>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let (next_id, operations) = (AtomicU64::new(1), Mutex::new(Vec::new()));
        Self { epoch: Instant::now(), next_id, operations }
    }

    /// Nanoseconds on the history's clock.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn push(&self, client: u64, member: u64, called: u64, call: Call) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let operation = Operation { id, client, member, called, returned: self.now(), call };
        self.operations.lock().expect("no client panics holding it").push(operation);
    }

    /// When the first put was acknowledged that was called at or after this instant.
    pub(crate) fn first_ack_since(&self, called: u64) -> Option<u64> {
        let operations = self.operations.lock().expect("no client panics holding it");
        // Operations are pushed as they return: the newest are last, older calls are long before.
        let recent = operations.iter().rev().take_while(|one| one.returned >= called);
        let is_ack =
            |one: &&Operation| one.called >= called && matches!(one.call, Call::Put(_, Some(_)));
        recent.filter(is_ack).map(|one| one.returned).min()
    }

    /// The longest times without an acknowledged put, longest first.
    pub(crate) fn gaps(&self) -> Vec<Duration> {
        let operations = self.operations.lock().expect("no client panics holding it");
        let acks = operations.iter().filter(|one| matches!(one.call, Call::Put(_, Some(_))));
        let mut acks: Vec<u64> = acks.map(|one| one.returned).collect();
        acks.sort_unstable();
        let gaps = acks.windows(2).map(|pair| Duration::from_nanos(pair[1] - pair[0]));
        let mut gaps: Vec<Duration> = gaps.collect();
        gaps.sort_unstable_by(|a, b| b.cmp(a));
        gaps.truncate(GAPS_SHOWN);
        gaps
    }

    pub(crate) fn snapshot(&self) -> Vec<Operation> {
        self.operations.lock().expect("no client panics holding it").clone()
    }
}

/// Events of each revision, as a watch of every key saw them.
pub(crate) type Changes = BTreeMap<i64, Vec<Event>>;

/// What is wrong with a history, one line each; empty when nothing is.
pub(crate) fn find_faults(operations: &[Operation], changes: &Changes) -> Vec<String> {
    let mut faults = Vec::new();
    let mut writers: BTreeMap<i64, u64> = BTreeMap::new();
    for one in operations {
        let (Call::Put(asked, Some(_)), Some(revision)) = (&one.call, one.call.revision()) else {
            continue;
        };
        if let Some(other) = writers.insert(revision, one.id) {
            faults
                .push(format!("operations {other} and {} both wrote revision {revision}", one.id));
        }
        let is_there = changes.get(&revision).is_some_and(|events| {
            let kvs: Vec<_> = events.iter().filter_map(|event| event.kv.as_ref()).collect();
            matches!(kvs[..], [kv] if kv.key == asked.key && kv.value == asked.value)
        });
        if !is_there {
            faults.push(format!("operation {} was acknowledged at {revision} and is lost", one.id));
        }
    }
    find_backward_steps(operations, &mut faults);
    find_wrong_reads(operations, changes, &mut faults);
    faults
}

/// Whoever learned a revision must not learn a smaller one later, from whichever member.
fn find_backward_steps(operations: &[Operation], faults: &mut Vec<String>) {
    let mut by_return: Vec<&Operation> = operations.iter().collect();
    by_return.sort_by_key(|one| (one.returned, one.id));
    let mut known: BTreeMap<u64, i64> = BTreeMap::new();
    for one in by_return {
        let Some(revision) = one.call.revision() else { continue };
        let last = known.entry(one.client).or_default();
        if revision < *last {
            let client = one.client;
            faults.push(format!("client {client} went back from {last} to {revision}"));
        }
        *last = revision.max(*last);
    }
}

/// A read shows the newest change of its key at or before the revision it claims.
fn find_wrong_reads(operations: &[Operation], changes: &Changes, faults: &mut Vec<String>) {
    let mut mods: BTreeMap<&[u8], Vec<i64>> = BTreeMap::new();
    for (revision, events) in changes {
        for kv in events.iter().filter_map(|event| event.kv.as_ref()) {
            mods.entry(&kv.key).or_default().push(*revision);
        }
    }
    for one in operations {
        let (Call::Range(asked, Some(answer)), Some(revision)) = (&one.call, one.call.revision())
        else {
            continue;
        };
        let history = mods.get(&asked.key[..]).map_or(&[][..], Vec::as_slice);
        let newest = history.iter().rev().find(|at| **at <= revision);
        let shown = answer.kvs.first().map(|kv| kv.mod_revision);
        if newest.copied() != shown {
            let id = one.id;
            faults.push(format!("operation {id} read {shown:?} at {revision}, not {newest:?}"));
        }
    }
}

/// Has the history judged by what judges simulated clusters: whether some order of all operations
/// explains every answer.
pub(crate) fn check_order(operations: &[Operation], changes: &Changes) {
    let history = quorate_sim_tests::history::read(to_lines(operations, changes).as_bytes());
    let history = history.expect("a history as the checker reads it");
    let verdict = quorate_sim_tests::oracle::check_history(&history, Settings::default());
    assert_eq!(verdict.map_err(|violation| violation.what), Ok(()));
}

/// Writes the history where others can read it.
pub(crate) fn write(path: &Path, operations: &[Operation], changes: &Changes) {
    std::fs::write(path, to_lines(operations, changes)).expect("the history can be written");
}

fn to_lines(operations: &[Operation], changes: &Changes) -> String {
    let mut text = String::new();
    for one in operations {
        let (method, request, answer) = one.call.to_line();
        let outcome = match answer {
            Some(answer) => json!({ "ok": to_hex(&answer) }),
            None => json!("unknown"),
        };
        let line = json!({
            "kind": "operation", "id": one.id, "client": one.client, "member": one.member,
            "called": one.called, "returned": one.returned, "method": method,
            "request": to_hex(&request), "outcome": outcome,
        });
        let _ = writeln!(text, "{line}");
    }
    for (revision, events) in changes {
        let events: Vec<String> =
            events.iter().map(|event| to_hex(&event.encode_to_vec())).collect();
        let line = json!({ "kind": "changes", "revision": revision, "events": events });
        let _ = writeln!(text, "{line}");
    }
    text
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
