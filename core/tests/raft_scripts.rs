//! Runs every transcript in `scripts/raft/`: commands after `> `, and what came of them.
//! `UPDATE_SCRIPTS=1` writes what comes of them now.
//!
//! Single commands show every output. `settle` (deliver and write until nothing moves) and
//! `run TICKS` leave out messages and batches. After `quiet`, a command shows nothing.

mod raft_net;

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use quorate_core::Machine;
use quorate_core::ids::{BarrierId, MemberId};
use quorate_core::input::{Followers, ReplicaInput, Role};
use quorate_core::output::{Note, Persist, ReplicaOutput};
use quorate_core::storage::{Entry, EntryKind, SnapshotMark};
use quorate_core::time::Duration;
use quorate_proto::raftpb::{self, MessageType as Kind};
use raft_net::{Net, TICK};

fn entry(term: u64, index: u64, is_change: bool, data: &[u8]) -> String {
    let text = match is_change {
        true => " change".to_string(),
        false if data.is_empty() => String::new(),
        false => format!(" {}", String::from_utf8_lossy(data)),
    };
    format!("{term}/{index}{text}")
}

fn entries(entries: &[Entry]) -> String {
    let one = |one: &Entry| {
        entry(one.term.get(), one.index.get(), one.kind != EntryKind::Normal, &one.data)
    };
    format!("[{}]", entries.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn wire_entries(entries: &[raftpb::Entry]) -> String {
    let one = |one: &raftpb::Entry| entry(one.term, one.index, one.r#type != 0, &one.data);
    format!("[{}]", entries.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn message(message: &raftpb::Message) -> String {
    let mut text = format!("{:?} term {}", message.r#type(), message.term);
    let is_anchored = message.index != 0 || message.log_term != 0;
    if is_anchored && message.log_term != 0 {
        let _ = write!(text, " at {}/{}", message.log_term, message.index);
    } else if is_anchored {
        let _ = write!(text, " at {}", message.index);
    }
    if !message.entries.is_empty() && message.r#type() != Kind::MsgReadIndex {
        let is_read = message.r#type() == Kind::MsgReadIndexResp;
        let shown = if is_read { String::new() } else { wire_entries(&message.entries) };
        let _ = write!(text, " {shown}");
    }
    if let Some(metadata) = message.snapshot.as_ref().and_then(|image| image.metadata.as_ref()) {
        let voters = metadata.conf_state.as_ref().map(|conf| conf.voters.clone());
        let _ = write!(text, " image {}/{} {voters:?}", metadata.term, metadata.index);
    }
    if message.commit != 0 {
        let _ = write!(text, " commit {}", message.commit);
    }
    if message.reject {
        let _ = write!(text, " reject hint {}", message.reject_hint);
    }
    if !message.context.is_empty() {
        text.push_str(" with context");
    }
    text.trim_end().to_string()
}

fn mark(mark: &SnapshotMark) -> String {
    format!("{}/{} {:?}", mark.term, mark.index, mark.conf_state.voters)
}

fn persist(batch: &Persist) -> String {
    let mut text = format!("Persist #{}", batch.number);
    if let Some(mark_) = &batch.snapshot {
        let _ = write!(text, " image {}", mark(mark_));
    }
    if let Some(hard) = batch.hard_state {
        let _ = write!(text, " term {} vote {} commit {}", hard.term, hard.vote, hard.commit);
    }
    if !batch.entries.is_empty() {
        let _ = write!(text, " {}", entries(&batch.entries));
    }
    text.push_str(if batch.must_sync { "" } else { " (no sync)" });
    text
}

fn note(note: &Note) -> String {
    match note {
        Note::BecameLeader { term } => format!("became leader of term {term}"),
        Note::SteppedDown { term, why: "" } => format!("stepped down from term {term}"),
        Note::SteppedDown { term, why } => format!("stepped down from term {term}: {why}"),
        Note::Follows { leader, term } => format!("follows {leader} in term {term}"),
        Note::LogStalled { number } => format!("log stalled at #{number}"),
        Note::LogLags { by } => format!("log lags by {} ms", by.as_millis()),
        other => format!("{other:?}"),
    }
}

fn show(output: &ReplicaOutput) -> String {
    match output {
        ReplicaOutput::Send { to, message: sent } => format!("to {to}: {}", message(sent)),
        ReplicaOutput::Persist(batch) => persist(batch),
        ReplicaOutput::Committed { entries: committed } => {
            format!("Committed {}", entries(committed))
        }
        ReplicaOutput::CommitIndex { index } => format!("CommitIndex {index}"),
        ReplicaOutput::BarrierReached { context, index } => {
            format!("BarrierReached {context} at {index}")
        }
        ReplicaOutput::BarrierLost { context } => format!("BarrierLost {context}"),
        ReplicaOutput::Followers(Followers { active, in_sync }) => {
            format!("Followers active {} in sync {}", ids(active), ids(in_sync))
        }
        ReplicaOutput::ProposalDropped { id, in_term } => {
            format!("ProposalDropped {id} of term {in_term}")
        }
        ReplicaOutput::Role(Role { term, leader, is_leader }) => {
            let leader = leader.map_or("nobody".to_string(), |leader| leader.to_string());
            let own = if *is_leader { ", itself" } else { "" };
            format!("Role term {term} leader {leader}{own}")
        }
        ReplicaOutput::Cut { mark: at } => format!("Cut {}", mark(at)),
        ReplicaOutput::Misbehaved { from, how } => format!("Misbehaved {from}: {how:?}"),
        ReplicaOutput::Note(text) => format!("Note {}", note(text)),
        ReplicaOutput::TakeSnapshot | ReplicaOutput::Removed => format!("{output:?}"),
        ReplicaOutput::Halt(fault) => format!("Halt {fault}"),
    }
}

struct Script {
    net: Net,
    proposed: u64,
}

impl Script {
    /// Runs one command; returns what it showed.
    fn run(&mut self, line: &str) -> String {
        let (is_quiet, line) = match line.strip_prefix("quiet ") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        self.net.seen.clear();
        let mut text = self.execute(words[0], &words[1..]);
        let is_brief = ["settle", "run"].contains(&words[0]);
        for (id, output) in &self.net.seen {
            let is_bulk = matches!(output, ReplicaOutput::Send { .. } | ReplicaOutput::Persist(_));
            if !(is_brief && is_bulk) {
                let _ = writeln!(text, "{id}: {}", show(output));
            }
        }
        if is_quiet { String::new() } else { text }
    }

    fn execute(&mut self, command: &str, words: &[&str]) -> String {
        let number =
            |at: usize| -> u64 { words.get(at).map_or(1, |word| word.parse().expect("a number")) };
        let id = words.first().and_then(|word| word.parse().ok()).unwrap_or(0);
        match command {
            "new" => self.begin(id, &words[1..]),
            "join" => self.net.add(id, &[], |_| ()),
            "settle" => self.net.settle(),
            "run" => self.net.run(id as usize),
            "tick" => (0..number(1)).for_each(|_| self.net.elapse(id, TICK)),
            "elapse" => self.net.elapse(id, Duration::from_millis(number(1))),
            "sleep" => self.net.member(id).now += Duration::from_millis(number(1)),
            "propose" => self.propose(id, &words[1..]),
            "persist" => self.net.persist(id, words.get(1).map_or(99, |_| number(1) as usize)),
            "deliver" => self.deliver(words.first().copied()),
            "lose" => {
                let (from, to) = link(words[0]);
                self.net.letters.retain(|letter| (letter.from, letter.to) != (from, to));
            }
            "twice" => {
                let again: Vec<_> = self.net.letters.iter().cloned().collect();
                self.net.letters.extend(again);
            }
            "cut" => self.cut(words[0]),
            "heal" => self.net.cut.clear(),
            "hang" => self.net.member(id).hangs = true,
            "recover" => self.net.member(id).hangs = false,
            "crash" => self.net.crash(id),
            "restart" => self.net.start(id),
            "hold" => self.net.member(id).holds_applied = true,
            "barrier" => {
                let context = BarrierId(number(1));
                self.net.handle(id, ReplicaInput::Barrier { context });
            }
            "transfer" => {
                let to = words.get(1).map(|_| MemberId(number(1)));
                self.net.handle(id, ReplicaInput::TransferLeader { to });
            }
            "sync" => {
                let mark = self.net.member(id).sync_store();
                self.net.handle(id, ReplicaInput::Synced { mark });
            }
            "change" => self.change(id, words),
            "told" => self.net.handle(id, ReplicaInput::Removed),
            "inject" => self.inject(id, words),
            "letters" => return self.letters(),
            "status" => return self.status(),
            other => panic!("no such command: {other}"),
        }
        String::new()
    }

    /// `new MEMBERS [keep ENTRIES]`
    fn begin(&mut self, members: u64, words: &[&str]) {
        let group: Vec<u64> = (1..=members).collect();
        let kept = match words {
            ["keep", kept] => Some(kept.parse().expect("a number")),
            _ => None,
        };
        for &id in &group {
            self.net.add(id, &group, |config| {
                config.snapshot_catchup_entries = kept.unwrap_or(5_000);
            });
        }
    }

    fn propose(&mut self, id: u64, texts: &[&str]) {
        for text in texts {
            self.proposed += 1;
            let data = Bytes::copy_from_slice(text.as_bytes());
            self.net.propose(id, self.proposed, data);
        }
        self.net.drain(id);
    }

    /// Delivers what waits now, on one link or everywhere.
    fn deliver(&mut self, only: Option<&str>) {
        let waiting = std::mem::take(&mut self.net.letters);
        for letter in waiting {
            if only.is_none_or(|only| link(only) == (letter.from, letter.to)) {
                self.net.deliver(letter);
            } else {
                self.net.letters.push_back(letter);
            }
        }
    }

    /// Cuts one direction, or all links of a member.
    fn cut(&mut self, what: &str) {
        if what.contains("->") {
            self.net.cut.insert(link(what));
            return;
        }
        let id: u64 = what.parse().expect("a member");
        for &other in self.net.members.keys() {
            self.net.cut.extend([(id, other), (other, id)]);
        }
    }

    /// `change LEADER add|learner|remove MEMBER`
    fn change(&mut self, leader: u64, words: &[&str]) {
        let kind = match words[1] {
            "add" => raftpb::ConfChangeType::ConfChangeAddNode,
            "learner" => raftpb::ConfChangeType::ConfChangeAddLearnerNode,
            "remove" => raftpb::ConfChangeType::ConfChangeRemoveNode,
            other => panic!("no such change: {other}"),
        };
        self.net.change(leader, kind, words[2].parse().expect("a member"));
    }

    /// `inject TO FROM KIND [field=number]...`
    fn inject(&mut self, to: u64, words: &[&str]) {
        let from = words[1].parse().expect("a member");
        let kind = Kind::from_str_name(words[2]).expect("a kind");
        let mut message =
            raftpb::Message { r#type: kind as i32, to, from, ..raftpb::Message::default() };
        for word in &words[3..] {
            let (field, number) = word.split_once('=').expect("field=number");
            let number = number.parse().expect("a number");
            match field {
                "term" => message.term = number,
                "log_term" => message.log_term = number,
                "index" => message.index = number,
                "commit" => message.commit = number,
                "priority" => message.priority = number.cast_signed(),
                "from" => message.from = number,
                "to" => message.to = number,
                "entry" => message.entries.push(raftpb::Entry {
                    index: number,
                    term: message.term,
                    ..raftpb::Entry::default()
                }),
                other => panic!("no such field: {other}"),
            }
        }
        self.net.handle(to, ReplicaInput::Peer { from: MemberId(from), message });
    }

    fn letters(&self) -> String {
        let mut text = String::new();
        for letter in &self.net.letters {
            let _ = writeln!(text, "{}->{}: {}", letter.from, letter.to, message(&letter.message));
        }
        text
    }

    fn status(&self) -> String {
        let mut text = String::new();
        for (id, member) in &self.net.members {
            let state = if member.replica.is_none() { " down" } else { "" };
            let hard = member.durable.log.hard_state;
            let wake = member.replica.as_ref().and_then(|replica| replica.poll_timeout());
            let timer = wake.map_or("", |wake| wake.timer);
            let _ = writeln!(
                text,
                "{id}:{state} disk {}..{} term {} vote {} commit {}, owes {}, applied {}, next {}",
                member.durable.log.mark.index.get() + 1,
                member.durable.last(),
                hard.term,
                hard.vote,
                hard.commit,
                member.pending.len(),
                member.applied.index,
                timer,
            );
        }
        text
    }
}

fn link(text: &str) -> (u64, u64) {
    let (from, to) = text.split_once("->").expect("FROM->TO");
    (from.parse().expect("a member"), to.parse().expect("a member"))
}

fn replay(text: &str) -> String {
    let mut script = Script { net: Net::default(), proposed: 0 };
    let mut played = String::new();
    for line in text.lines() {
        if line.starts_with('#') {
            let _ = writeln!(played, "{line}");
        } else if let Some(command) = line.strip_prefix("> ") {
            let _ = writeln!(played, "{line}");
            played.push_str(&script.run(command));
        } else if line.is_empty() {
            played.push('\n');
        }
    }
    played
}

fn ids(members: &[MemberId]) -> String {
    let ids: Vec<String> = members.iter().map(ToString::to_string).collect();
    ids.join(",")
}

#[test]
fn transcripts_come_out_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/raft");
    let listed = std::fs::read_dir(&folder).expect("the folder of transcripts");
    let mut paths: Vec<_> = listed.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() >= 12, "transcripts are missing: {}", paths.len());
    let mut differing = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a transcript");
        let played = replay(&text);
        if played == text {
            continue;
        }
        if std::env::var_os("UPDATE_SCRIPTS").is_some() {
            std::fs::write(&path, &played).expect("writable");
            continue;
        }
        let lines = text.lines().chain(std::iter::repeat("(end)"));
        let first = lines.zip(played.lines()).find(|(old, new)| old != new);
        differing.push((path.file_name().map(ToOwned::to_owned), first.map(two_strings)));
    }
    assert!(differing.is_empty(), "{differing:#?}");
}

fn two_strings((old, new): (&str, &str)) -> (String, String) {
    (format!("written: {old}"), format!("came out: {new}"))
}
