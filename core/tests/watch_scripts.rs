//! Transcripts of the watch hub, in `scripts/watch/`.
//!
//! | command | meaning |
//! |---|---|
//! | `open S [BYTES]` | a stream, its fragment threshold |
//! | `watch S KEY [END] [OPTION]...` | a create request; `..` is an open end, `""` an empty key |
//! | `cancel S ID`, `ask S`, `nothing S` | cancel, progress and empty requests |
//! | `refuse S REASON`, `close S` | the door refused a create; the client left |
//! | `apply a=1 -b` | one revision: puts and deletes; `a=*9` puts nine bytes |
//! | `miss a=1`, `install` | changes the hub hears of only by an image; the image |
//! | `compact N`, `term N`, `break` | a compaction; a term; a broken disk |
//! | `stall S`, `ready S N`, `flow S` | the shell keeps frames; passes N on; passes all on again |
//! | `served` | somebody is served who is not catching up |
//! | `step` | one step of catching up, if it is due |
//! | `after MS` | time passes; timers fire |
//! | `repeat N COMMAND` | prints how many frames came instead of the frames |
//! | `counts`, `wake`, `reads` | what the hub holds; its timer; how often history was read |
//!
//! Options: `from=N id=N filter=N prev notify fragment noput nodelete`.
#![allow(missing_docs, clippy::unwrap_used)]

mod transcript;
mod watch_history;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::error::StorageFault;
use quorate_core::ids::{ClusterId, MemberId, Revision, StreamId, Term};
use quorate_core::pinch::Pinch;
use quorate_core::time::Time;
use quorate_core::watch::{Hub, Setup};
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use quorate_proto::mvccpb::{Event, KeyValue};
use watch_history::{Change, Memory};

#[test]
fn transcripts() {
    transcript::run_all("watch", || {
        let mut world = World::new();
        move |command: &str| world.run(command)
    });
}

struct World {
    hub: Hub,
    memory: Memory,
    now: Time,
    stalled: BTreeSet<StreamId>,
}

impl World {
    fn new() -> Self {
        let setup = Setup {
            cluster: ClusterId(1),
            member: MemberId(2),
            seed: 3,
            progress_interval: Duration::from_secs(10),
            revision: Revision(1),
            pinch: Pinch::default(),
        };
        let (hub, memory) = (Hub::new(setup), Memory::new());
        Self { hub, memory, now: Time::ZERO, stalled: BTreeSet::new() }
    }

    fn run(&mut self, command: &str) -> String {
        if let Some(rest) = command.strip_prefix("repeat ") {
            let (times, command) = rest.split_once(' ').unwrap();
            return self.repeat(times.parse().unwrap(), command);
        }
        let mut lines = self.carry_out(command);
        for (stream, frame) in self.take_frames() {
            lines.push(format!("{stream}: {}", show(&frame)));
        }
        lines.join("\n")
    }

    fn repeat(&mut self, times: usize, command: &str) -> String {
        let mut frames: BTreeMap<StreamId, usize> = BTreeMap::new();
        for n in 0..times {
            self.carry_out(&command.replace("{n}", &n.to_string()));
            for (stream, _) in self.take_frames() {
                *frames.entry(stream).or_default() += 1;
            }
        }
        let lines = frames.iter().map(|(stream, count)| format!("{stream}: {count} frames"));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn take_frames(&mut self) -> Vec<(StreamId, WatchResponse)> {
        let mut frames = Vec::new();
        while let Some((stream, frame)) = self.hub.poll_frame() {
            frames.push((stream, frame));
            if !self.stalled.contains(&stream) {
                self.hub.handle_ready(self.now, stream, 1);
            }
        }
        frames
    }

    fn carry_out(&mut self, command: &str) -> Vec<String> {
        let words: Vec<&str> = command.split(' ').collect();
        let number = |n: usize| words[n].parse::<u64>().unwrap();
        let stream = || StreamId(number(1));
        match words[0] {
            "open" => {
                let bytes_max = words.get(2).map_or(2 << 20, |word| word.parse().unwrap());
                self.hub.open(stream(), bytes_max);
            }
            "close" => self.hub.close(stream()),
            "watch" => self.send(stream(), Some(RequestUnion::CreateRequest(create(&words[2..])))),
            "cancel" => {
                let request = WatchCancelRequest { watch_id: words[2].parse().unwrap() };
                self.send(stream(), Some(RequestUnion::CancelRequest(request)));
            }
            "ask" => {
                let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
                self.send(stream(), Some(request));
            }
            "nothing" => self.send(stream(), None),
            "refuse" => self.hub.handle_refused(self.now, stream(), &words[2..].join(" ")),
            "apply" => {
                let changes = self.memory.apply(&changes(&words[1..])).unwrap();
                return answer(self.hub.on_applied(&changes, &self.memory).map(|()| None));
            }
            "miss" => assert!(self.memory.apply(&changes(&words[1..])).is_some()),
            "install" => self.hub.on_installed(&self.memory),
            "compact" => self.memory.compact(words[1].parse().unwrap()),
            "term" => self.hub.set_term(Term(number(1))),
            "break" => self.memory.is_broken = true,
            "stall" => assert!(self.stalled.insert(stream())),
            "ready" => self.hub.handle_ready(self.now, stream(), number(2) as usize),
            "flow" => {
                assert!(self.stalled.remove(&stream()));
                self.hub.handle_ready(self.now, stream(), usize::MAX);
            }
            "served" => self.hub.note_served(self.now),
            "step" => {
                let stepped = self.hub.step(self.now, &self.memory);
                let has_more = self.hub.catch_up_due().is_some();
                return answer(stepped.map(|()| has_more.then_some("more to do")));
            }
            "after" => {
                self.now += Duration::from_millis(number(1));
                self.hub.handle_timeout(self.now);
            }
            "wake" => return vec![format!("{:?}", self.hub.poll_timeout())],
            "reads" => return vec![format!("{} times", self.memory.reads.get())],
            "counts" => return vec![format!("{:?}", self.hub.counts())],
            _ => panic!("unknown command {command}"),
        }
        Vec::new()
    }

    fn send(&mut self, stream: StreamId, request_union: Option<RequestUnion>) {
        self.hub.handle_message(self.now, stream, WatchRequest { request_union });
    }
}

fn answer(result: Result<Option<&str>, StorageFault>) -> Vec<String> {
    match result {
        Ok(said) => said.into_iter().map(String::from).collect(),
        Err(fault) => vec![format!("fault: {fault}")],
    }
}

fn text(word: &str) -> Bytes {
    Bytes::from(word.trim_matches('"').to_owned())
}

fn create(words: &[&str]) -> WatchCreateRequest {
    let mut request = WatchCreateRequest { key: text(words[0]), ..Default::default() };
    for word in &words[1..] {
        match word.split_once('=') {
            Some(("from", revision)) => request.start_revision = revision.parse().unwrap(),
            Some(("id", id)) => request.watch_id = id.parse().unwrap(),
            Some(("filter", number)) => request.filters.push(number.parse().unwrap()),
            _ => match *word {
                "prev" => request.prev_kv = true,
                "notify" => request.progress_notify = true,
                "fragment" => request.fragment = true,
                "noput" => request.filters.push(0),
                "nodelete" => request.filters.push(1),
                ".." => request.range_end = Bytes::from_static(&[0]),
                end => request.range_end = text(end),
            },
        }
    }
    request
}

/// `a=1` puts, `a=*100` puts a hundred bytes, `-a` deletes.
fn changes(words: &[&str]) -> Vec<Change> {
    let change = |word: &&str| match word.split_once('=') {
        None => (text(word.strip_prefix('-').unwrap()), None),
        Some((key, value)) => {
            let value = value.strip_prefix('*').map_or_else(
                || text(value),
                |length| Bytes::from(vec![b'x'; length.parse().unwrap()]),
            );
            (text(key), Some(value))
        }
    };
    words.iter().map(change).collect()
}

fn show(frame: &WatchResponse) -> String {
    let header = frame.header.as_ref().unwrap();
    assert_eq!((header.cluster_id, header.member_id), (1, 2));
    let mut said = format!("watch {}", frame.watch_id);
    let is_bare = !frame.created && !frame.canceled && frame.events.is_empty();
    let flags = [
        (frame.created, " created"),
        (frame.canceled, " canceled"),
        (is_bare, " progress"),
        (frame.fragment, " (more to come)"),
    ];
    flags.iter().filter(|(is_set, _)| *is_set).for_each(|(_, word)| said.push_str(word));
    said.push_str(&format!(", revision {}", header.revision));
    if header.raft_term != 0 {
        said.push_str(&format!(", term {}", header.raft_term));
    }
    if frame.compact_revision != 0 {
        said.push_str(&format!(", compacted {}", frame.compact_revision));
    }
    if !frame.cancel_reason.is_empty() {
        said.push_str(&format!(": {}", frame.cancel_reason));
    }
    frame.events.iter().for_each(|event| said.push_str(&format!("\n     {}", show_event(event))));
    said
}

fn show_event(event: &Event) -> String {
    let kind = if event.r#type == 0 { "put" } else { "delete" };
    let kv = event.kv.as_ref().unwrap();
    let before = event.prev_kv.as_ref();
    let before = before.map_or(String::new(), |kv| format!(", before: {}", show_kv(kv)));
    format!("{kind} {}{before}", show_kv(kv))
}

fn show_kv(kv: &KeyValue) -> String {
    let word = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let value =
        if kv.value.len() > 20 { format!("({} bytes)", kv.value.len()) } else { word(&kv.value) };
    let revisions = (kv.create_revision, kv.mod_revision, kv.version);
    match kv.version {
        0 => format!("{} at {}", word(&kv.key), revisions.1),
        _ => format!(
            "{}={value} at {} (created {}, version {})",
            word(&kv.key),
            revisions.1,
            revisions.0,
            revisions.2
        ),
    }
}
