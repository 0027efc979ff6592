//! The way on for the last member of a cluster whose quorum is lost for ever.
//!
//! The member's own log becomes the truth: entries that nobody can vote on any more count as
//! committed, and behind them stand changes of the group that leave nobody but this member. They
//! are ordinary entries, judged and applied like any other, so that the stored members and the
//! raft group follow as always, and whoever was left behind is a removed member for ever.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/raft.go` (createConfChangeEnts)

use alloc::vec::Vec;

use bytes::Bytes;
use prost::Message;
use quorate_proto::etcdserverpb as pb;

use super::Change;
use crate::ids::{LogIndex, MemberId, RequestId, Term};
use crate::storage::{Entry, EntryKind};

/// The entries that leave `member` alone among `members`, for a log that ends with `last`. `None`
/// if it is not among them: a removed member cannot stand for its cluster.
pub fn leave_alone(
    member: MemberId,
    members: &[pb::Member],
    last: (LogIndex, Term),
) -> Option<Vec<Entry>> {
    let own = members.iter().find(|one| one.id == member.get())?;
    let promoted = own.is_learner.then_some(Change::Promote(member));
    let others = members.iter().filter(|one| one.id != member.get());
    let removed = others.map(|one| Change::Remove(MemberId(one.id)));
    let (index, term) = last;
    let entry = |(n, change): (u64, Change)| Entry {
        term,
        index: LogIndex(index.get() + n),
        kind: EntryKind::ConfChange,
        // Nobody waits for them.
        data: Bytes::from(change.encode(RequestId(0)).encode_to_vec()),
    };
    Some((1..).zip(promoted.into_iter().chain(removed)).map(entry).collect())
}

#[cfg(test)]
mod tests {
    use quorate_proto::raftpb::ConfChange;

    use super::*;

    fn member(id: u64, is_learner: bool) -> pb::Member {
        pb::Member { id, is_learner, ..pb::Member::default() }
    }

    fn changes(member: u64, members: &[pb::Member]) -> Option<Vec<(u64, u64, Change)>> {
        let entries = leave_alone(MemberId(member), members, (LogIndex(7), Term(3)))?;
        let read = |entry: &Entry| {
            let change = ConfChange::decode(entry.data.clone()).expect("a change");
            let change = Change::load(&change).expect("of ours");
            (entry.index.get(), entry.term.get(), change)
        };
        Some(entries.iter().map(read).collect())
    }

    #[test]
    fn everybody_else_goes() {
        let members = [member(1, false), member(2, false), member(3, true)];
        let expected = [(8, 3, Change::Remove(MemberId(1))), (9, 3, Change::Remove(MemberId(3)))];
        assert_eq!(changes(2, &members).as_deref(), Some(&expected[..]));
        assert_eq!(changes(1, &members[..1]).as_deref(), Some(&[][..]));
    }

    #[test]
    fn a_learner_becomes_a_voter_first() {
        let members = [member(1, false), member(3, true)];
        let expected = [(8, 3, Change::Promote(MemberId(3))), (9, 3, Change::Remove(MemberId(1)))];
        assert_eq!(changes(3, &members).as_deref(), Some(&expected[..]));
    }

    #[test]
    fn whoever_was_removed_stands_for_nobody() {
        assert_eq!(changes(4, &[member(1, false)]), None);
    }
}
