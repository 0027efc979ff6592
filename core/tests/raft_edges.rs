//! What a replica does at its limits, and when those around it break their word.

mod raft_net;

use bytes::Bytes;
use prost::Message as _;
use quorate_core::ids::{LogIndex, MemberId, Term};
use quorate_core::input::ReplicaInput;
use quorate_core::limits;
use quorate_core::output::ReplicaOutput;
use quorate_core::storage::{Entry, EntryKind, HardState, LogContents, SnapshotMark};
use quorate_core::time::{Duration, Time};
use quorate_core::{Config, Machine, Replica};
use quorate_proto::raftpb::{ConfChange, ConfState};
use raft_net::{Net, TICK};

fn alone() -> Net {
    let mut net = Net::default();
    net.add(1, &[1], |config| config.log_bytes_max = 1 << 20);
    net.settle();
    net.seen.clear();
    net
}

fn propose(net: &mut Net, count: usize, bytes: usize) {
    for _ in 0..count {
        let data = Bytes::from(vec![7; bytes]);
        net.propose(1, 1, data);
    }
    net.drain(1);
    net.settle();
}

fn committed(net: &Net) -> Vec<u64> {
    let indexes = |(_, output): &(u64, ReplicaOutput)| match output {
        ReplicaOutput::Committed { entries } => {
            entries.iter().map(|entry| entry.index.get()).collect()
        }
        _ => Vec::new(),
    };
    net.seen.iter().flat_map(indexes).collect()
}

#[test]
fn committed_bytes_wait_for_apply() {
    let mut net = alone();
    net.member(1).holds_applied = true;
    for _ in 0..60 {
        propose(&mut net, 1, 1 << 20);
    }
    let handed_out = committed(&net);
    assert_eq!(handed_out, (3..3 + limits::APPLY_BYTES_MAX / (1 << 20)).collect::<Vec<_>>());
    net.handle(1, ReplicaInput::Applied { index: LogIndex(*handed_out.last().unwrap()) });
    assert_eq!(committed(&net), (3..=62).collect::<Vec<_>>());
}

#[test]
fn committed_entries_wait_for_apply() {
    let mut net = alone();
    net.member(1).holds_applied = true;
    let many = limits::APPLY_GAP_MAX as usize;
    propose(&mut net, many, 1);
    propose(&mut net, many, 1);
    assert_eq!(committed(&net).len(), many);
    net.handle(1, ReplicaInput::Applied { index: LogIndex(5) });
    assert_eq!(committed(&net).len(), many + 3, "as many as were applied");
    net.handle(1, ReplicaInput::Applied { index: LogIndex(5 + many as u64) });
    assert_eq!(committed(&net), (3..=(2 + 2 * many as u64)).collect::<Vec<_>>());
}

#[test]
fn a_large_log_is_cut_before_its_time() {
    let mut net = alone();
    for _ in 0..8 {
        propose(&mut net, 1, 300 << 10);
    }
    let mark = net.member(1).sync_store();
    assert_eq!(mark.index, LogIndex(10));
    net.handle(1, ReplicaInput::Synced { mark });
    let cuts = net.seen.iter().filter_map(|(_, output)| match output {
        ReplicaOutput::Cut { mark } => Some((mark.index, mark.conf_state.voters.clone())),
        _ => None,
    });
    assert_eq!(cuts.collect::<Vec<_>>(), [(LogIndex(7), vec![1])], "three of 300 KiB stay");
}

fn outputs(replica: &mut Replica) -> Vec<ReplicaOutput> {
    std::iter::from_fn(|| replica.poll_output()).collect()
}

fn config() -> Config {
    Config { member: MemberId(1), ..Config::default() }
}

fn mark(index: u64) -> SnapshotMark {
    let conf_state = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
    SnapshotMark { index: LogIndex(index), term: Term(2), conf_state }
}

fn contents(start: u64, last: u64, commit: u64) -> LogContents {
    let entry = |index| Entry { term: Term(2), index: LogIndex(index), ..Entry::default() };
    LogContents {
        mark: if start == 0 { SnapshotMark::default() } else { mark(start) },
        hard_state: HardState { term: Term(2), vote: 0, commit: LogIndex(commit) },
        entries: (start + 1..=last).map(entry).collect(),
    }
}

fn open(stored: u64, log: LogContents) -> Result<Replica, String> {
    Replica::open(&config(), mark(stored), log, Time::ZERO).map_err(|fault| fault.what)
}

#[test]
fn broken_word_halts_the_member_for_good() {
    let breaches = [
        ReplicaInput::Persisted { number: 1 },
        ReplicaInput::Applied { index: LogIndex(21) },
        ReplicaInput::Synced { mark: mark(21) },
        ReplicaInput::SnapshotTaken { mark: SnapshotMark::default() },
    ];
    for breach in breaches {
        let mut replica = open(10, contents(5, 20, 20)).unwrap();
        assert_eq!(outputs(&mut replica).len(), 3, "role, entries, commit index");
        replica.handle(Time::ZERO, breach.clone());
        let after = outputs(&mut replica);
        assert!(matches!(after[..], [ReplicaOutput::Halt(_)]), "{breach:?}: {after:?}");
        replica.handle(Time::ZERO, ReplicaInput::Applied { index: LogIndex(11) });
        replica.handle_timeout(Time(u64::MAX));
        assert_eq!((outputs(&mut replica), replica.poll_timeout()), (vec![], None));
    }
}

#[test]
fn log_and_store_must_fit() {
    let refused = |stored, log| open(stored, log).err().unwrap();
    assert_eq!(
        refused(10, contents(11, 20, 20)),
        "the log and the store: the log begins after the store ends"
    );
    assert_eq!(
        refused(10, contents(5, 20, 21)),
        "the log and the store: the log ends before what was committed"
    );
    let mut gap = contents(5, 20, 20);
    gap.entries.remove(3);
    assert_eq!(refused(10, gap), "the log and the store: entries do not follow one another");
    let impossible = SnapshotMark { conf_state: ConfState::default(), ..mark(10) };
    let refused = Replica::open(&config(), impossible, contents(5, 20, 20), Time::ZERO).err();
    assert_eq!(refused.unwrap().what, "the stored group is impossible");
}

#[test]
fn a_log_that_ends_before_the_store_starts_over() {
    // A crash between an image's arrival in the store and the log's new beginning.
    let mut replica = open(30, contents(5, 20, 15)).unwrap();
    assert!(outputs(&mut replica).contains(&ReplicaOutput::CommitIndex { index: LogIndex(30) }));
    // A store ahead of the commit index on disk: nothing is handed out twice.
    let mut replica = open(20, contents(5, 22, 15)).unwrap();
    let all = outputs(&mut replica);
    assert!(!all.iter().any(|output| matches!(output, ReplicaOutput::Committed { .. })));
    assert!(all.contains(&ReplicaOutput::CommitIndex { index: LogIndex(20) }));
}

/// The last change but one is committed, or the last would not be there; but the last may be
/// replaced by something else.
#[test]
fn what_two_changes_tell_of_the_commit_index_is_kept_before_it_counts() {
    let mut log = contents(5, 22, 10);
    for place in [10, 14] {
        let data = ConfChange { node_id: 2, ..ConfChange::default() }.encode_to_vec().into();
        let entry = &mut log.entries[place];
        (entry.kind, entry.data) = (EntryKind::ConfChange, data);
    }
    let mut replica = open(10, log).unwrap();
    let all = outputs(&mut replica);
    let kept = all.iter().find_map(|output| match output {
        ReplicaOutput::Persist(batch) => Some((batch.hard_state?.commit, batch.must_sync)),
        _ => None,
    });
    assert_eq!(kept, Some((LogIndex(16), true)));
    let is_handed_out = |output: &ReplicaOutput| matches!(output, ReplicaOutput::Committed { .. });
    assert!(!all.iter().any(is_handed_out));
    replica.handle(Time::ZERO, ReplicaInput::Persisted { number: 1 });
    assert!(outputs(&mut replica).iter().any(is_handed_out));
}

#[test]
fn a_disk_that_never_answers_stops_nothing_else() {
    let mut net = Net::default();
    (1..=3).for_each(|id| net.add(id, &[1, 2, 3], |_| ()));
    net.run(20);
    net.member(1).hangs = true;
    net.seen.clear();
    for _ in 0..100 {
        net.propose(2, 1, "x");
        net.drain(2);
        net.run(1);
    }
    assert_eq!(net.member(2).applied.index, LogIndex(104));
    assert_eq!(net.member(1).applied.index, LogIndex(4));
    let changed = |(_, output): &(u64, ReplicaOutput)| matches!(output, ReplicaOutput::Role(_));
    assert!(!net.seen.iter().any(changed), "nobody lost the leader");
    net.member(1).hangs = false;
    net.run(1);
    assert_eq!(net.member(1).applied.index, LogIndex(104));
}

#[test]
fn the_rest_serves_writes_within_two_election_timeouts_of_a_hang() {
    for seed in 0..50 {
        let mut net = Net::default();
        for id in 1..=3 {
            net.add(id, &[1, 2, 3], |config| config.seed = seed);
        }
        net.run(40);
        let leader = |net: &mut Net| {
            let mut roles = net.seen.iter().rev();
            roles.find_map(|(id, output)| match output {
                ReplicaOutput::Role(role) if role.is_leader => Some(*id),
                _ => None,
            })
        };
        let old = leader(&mut net).expect("a leader");
        net.member(old).hangs = true;
        let other = 1 + old % 3;
        net.propose(old, 1, "x");
        net.drain(old);
        net.run(1);
        let election_timeout = net.member(old).config.election_timeout;
        let ticks = (2 * election_timeout).as_millis() / TICK.as_millis() - 1;
        net.run(ticks as usize - 1);
        let before = net.member(other).applied.index;
        net.propose(other, 2, "x");
        net.drain(other);
        net.run(1);
        assert_eq!(net.member(other).applied.index, before.next(), "seed {seed}");
    }
}

#[test]
fn timers_have_names_and_wake_in_order() {
    let mut net = alone();
    let wake = |net: &mut Net| net.member(1).replica.as_ref().unwrap().poll_timeout().unwrap();
    assert_eq!((wake(&mut net).at, wake(&mut net).timer), (Time::ZERO + TICK, "tick"));
    net.member(1).config.election_timeout = Duration::from_secs(1);
    net.member(1).hangs = true;
    propose(&mut net, 1, 1);
    net.elapse(1, Duration::from_millis(450));
    assert_eq!(wake(&mut net).timer, "tick");
    net.elapse(1, Duration::from_millis(500));
    let noted = |(_, output): &(u64, ReplicaOutput)| matches!(output, ReplicaOutput::Note(_));
    assert_eq!(net.seen.iter().filter(|seen| noted(seen)).count(), 1, "log stalled, once");
}
