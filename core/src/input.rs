//! Everything that can happen to a member: one closed enum per machine.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::peer::{Answer, Ask, ChangeRefusal, ChangeWish, Correction, Report};
use quorate_proto::raftpb;

use crate::auth::Identity;
use crate::error::{Refusal, StorageFault};
use crate::ids::{BarrierId, LogIndex, MemberId, RequestId, StreamId, Term, Token};
use crate::peer::Message;
use crate::storage::{Entry, EntryKind, SnapshotMark, StateRead};

/// What happens to the [`Replica`](crate::Replica).
#[derive(Clone, Debug)]
pub enum ReplicaInput {
    /// `State` wants an entry in the log.
    Propose {
        /// Found again in `data` when the entry is applied, and in a refusal before that.
        id: RequestId,
        /// An encoded `InternalRaftRequest`, or a `ConfChange`.
        data: Bytes,
        /// Which of the two.
        kind: EntryKind,
        /// The only term in which it may enter the log. Once an entry of a later term is applied,
        /// a proposal that was not applied before never will be.
        in_term: Term,
        /// Whether a member that follows passes it on to that term's leader.
        may_forward: bool,
    },
    /// `State` wants to know how far it must have applied for reads to be current.
    Barrier {
        /// Comes back with the answer.
        context: BarrierId,
    },
    /// A peer's message.
    Peer {
        /// Who the transport says it is from.
        from: MemberId,
        /// Untrusted.
        message: raftpb::Message,
    },
    /// The batch of that number, and all before it, are on disk.
    Persisted {
        /// The batch's number.
        number: u64,
    },
    /// `State` has applied up to here (in memory).
    Applied {
        /// Last applied entry.
        index: LogIndex,
    },
    /// `State` has judged a committed change of the group; comes before `Applied` does.
    Changed {
        /// The change's entry.
        index: LogIndex,
        /// Whether it takes effect.
        is_accepted: bool,
    },
    /// The store durably holds everything up to the mark: the log may be cut behind it.
    Synced {
        /// The durable point.
        mark: SnapshotMark,
    },
    /// An image was pinned, on [`TakeSnapshot`](crate::ReplicaOutput::TakeSnapshot).
    SnapshotTaken {
        /// What the image covers.
        mark: SnapshotMark,
    },
    /// How sending an image ended.
    SnapshotSent {
        /// The receiver.
        to: MemberId,
        /// Whether it has all of it.
        delivered: bool,
    },
    /// `State` is not to be trusted: the leader's image shall replace it.
    WantImage,
    /// Messages to that member are being lost.
    Unreachable {
        /// The member.
        to: MemberId,
    },
    /// Another member, which has applied it, says that this one was removed. Until then it stays,
    /// whatever its own log says.
    Removed,
    /// Hand leadership over: to that member, or to whoever is furthest. Ignored by non-leaders.
    TransferLeader {
        /// The successor, if it matters who.
        to: Option<MemberId>,
    },
}

/// Raft's view of the group, for those who must know who leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// The current term.
    pub term: Term,
    /// The leader of that term, if known.
    pub leader: Option<MemberId>,
    /// Whether that is this member.
    pub is_leader: bool,
}

/// How those who follow this leader are; empty on members that do not lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followers {
    /// Heard from within an election timeout, by id.
    pub active: Vec<MemberId>,
    /// Those whose log is nearly as long as the leader's, by id.
    pub in_sync: Vec<MemberId>,
}

/// What happens to [`State`](crate::State).
#[derive(Clone)]
pub enum StateInput {
    /// A client's call that changes something, or that only the leader can answer.
    Request {
        /// Comes back with the answer.
        token: Token,
        /// In whose name, or why that is not known.
        who: Result<Identity, Refusal>,
        /// Untrusted.
        request: Request,
    },
    /// A client's linearizable read: answered with a [`View`](crate::View) once it is current.
    Read {
        /// Comes back with the view.
        token: Token,
    },
    /// A client opened a watch stream.
    StreamOpened {
        /// A number never used before in this run.
        stream: StreamId,
        /// The fragment threshold: frames the client can take, in encoded bytes.
        frame_bytes_max: usize,
    },
    /// A message on a watch stream.
    StreamMessage {
        /// The stream.
        stream: StreamId,
        /// In whose name, or why that is not known.
        who: Result<Identity, Refusal>,
        /// Untrusted.
        message: pb::WatchRequest,
    },
    /// A user's token was shown whose life is to be told anew.
    TokenUsed {
        /// Untrusted.
        token: String,
    },
    /// The shell has passed frames on and can take more.
    StreamReady {
        /// The stream.
        stream: StreamId,
        /// Frames passed on since the last such input.
        frames: usize,
    },
    /// The stream is gone.
    StreamClosed {
        /// The stream.
        stream: StreamId,
    },
    /// Entries a quorum has, in order, each exactly once in one run.
    Committed {
        /// The entries.
        entries: Vec<Entry>,
    },
    /// A barrier's answer: reads asked for before it are current once `index` is applied.
    BarrierReached {
        /// The barrier.
        context: BarrierId,
        /// The read index.
        index: LogIndex,
    },
    /// A barrier that will not be answered: the leader changed or is unknown.
    BarrierLost {
        /// The barrier.
        context: BarrierId,
    },
    /// Raft would not take a proposal.
    ProposalDropped {
        /// The proposal.
        id: RequestId,
        /// The term it was for: meanwhile it may have been sent in another.
        in_term: Term,
    },
    /// Leadership or term changed.
    Role(Role),
    /// How this leader's followers are.
    Followers(Followers),
    /// How far the log is known to be committed; for status and back-pressure.
    CommitIndex {
        /// The commit index.
        index: LogIndex,
    },
    /// The store has executed batches up to `index` and shows them in `image`.
    Stored {
        /// Applied index of the last batch in the image.
        index: LogIndex,
        /// What is stored now.
        image: Arc<dyn StateRead>,
    },
    /// What is stored was laid out anew, its rows as they were: images of before hold space.
    Relaid {
        /// What is stored now, as of the last `Stored`.
        image: Arc<dyn StateRead>,
    },
    /// All that was stored up to the mark will survive a crash.
    Synced {
        /// The durable point.
        index: LogIndex,
    },
    /// The store's content was replaced by a leader's image.
    Installed {
        /// What is stored now.
        image: Arc<dyn StateRead>,
    },
    /// `Replica` needs an image for a member that fell behind.
    TakeSnapshot,
    /// Another member asks something only the leader knows.
    Ask {
        /// Who asks.
        from: MemberId,
        /// Untrusted.
        ask: Ask,
    },
    /// The answer to such a question of ours.
    Answer {
        /// Who answers.
        from: MemberId,
        /// Untrusted.
        answer: Answer,
    },
    /// Another member wants its leader to propose a change of the group.
    ChangeWish {
        /// Who.
        from: MemberId,
        /// Untrusted.
        wish: ChangeWish,
    },
    /// The leader refused such a wish of ours.
    ChangeRefusal {
        /// Who refuses.
        from: MemberId,
        /// Untrusted.
        refusal: ChangeRefusal,
    },
    /// What another member tells its leader of itself.
    Report {
        /// Who.
        from: MemberId,
        /// Untrusted.
        report: Report,
    },
    /// The leader says that this member's state is wrong.
    Correction {
        /// Who.
        from: MemberId,
        /// Untrusted.
        correction: Correction,
    },
    /// What is stored was found damaged where it was read outside of this machine.
    Damaged {
        /// How.
        fault: StorageFault,
    },
    /// How large the store is; for status and the quota.
    DbSize {
        /// Bytes the store occupies.
        allocated: u64,
        /// Bytes of it that hold data.
        in_use: u64,
        /// Whether the disk is nearly full, whatever the quota says.
        is_disk_low: bool,
    },
    /// How much memory this member has left, when that changes.
    Memory(Memory),
}

/// How much memory a member has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Memory {
    /// As much as anybody may ask for.
    #[default]
    Enough,
    /// Enough for one after the other.
    Short,
    /// The same, but none for large answers.
    Out,
}

impl StateInput {
    /// What another member's message tells `State`; a message of raft's is for `Replica`, and comes
    /// back.
    #[expect(clippy::result_large_err, reason = "no error: the message goes on by value")]
    pub fn from_peer(from: MemberId, message: Message) -> Result<Self, raftpb::Message> {
        Ok(match message {
            Message::Raft(message) => return Err(message),
            Message::Ask(ask) => Self::Ask { from, ask },
            Message::Answer(answer) => Self::Answer { from, answer },
            Message::ChangeWish(wish) => Self::ChangeWish { from, wish },
            Message::ChangeRefusal(refusal) => Self::ChangeRefusal { from, refusal },
            Message::Report(report) => Self::Report { from, report },
            Message::Correction(correction) => Self::Correction { from, correction },
        })
    }

    /// Whether somebody waits for this, other than a watcher for what it missed.
    pub(crate) fn is_service(&self) -> bool {
        matches!(self, Self::Request { .. } | Self::Read { .. } | Self::Committed { .. })
    }
}

/// Calls that go through the core's loop. Reads of keys do not: they run against a view.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// `KV.Put`
    Put(pb::PutRequest),
    /// `KV.DeleteRange`
    DeleteRange(pb::DeleteRangeRequest),
    /// `KV.Txn`, unless it only reads
    Txn(pb::TxnRequest),
    /// `KV.Compact`
    Compact(pb::CompactionRequest),
    /// `Lease.LeaseGrant`
    LeaseGrant(pb::LeaseGrantRequest),
    /// `Lease.LeaseRevoke`
    LeaseRevoke(pb::LeaseRevokeRequest),
    /// One message of `Lease.LeaseKeepAlive`
    LeaseKeepAlive(pb::LeaseKeepAliveRequest),
    /// `Lease.LeaseTimeToLive`
    LeaseTimeToLive(pb::LeaseTimeToLiveRequest),
    /// `Lease.LeaseLeases`
    LeaseLeases(pb::LeaseLeasesRequest),
    /// `Maintenance.Alarm`
    Alarm(pb::AlarmRequest),
    /// `Maintenance.MoveLeader`
    MoveLeader(pb::MoveLeaderRequest),
    /// `Maintenance.Downgrade`
    Downgrade(pb::DowngradeRequest),
    /// A change through `Auth`, or a token: one of its auth fields is set, and nothing else.
    Auth(Box<pb::InternalRaftRequest>),
    /// `Cluster.MemberAdd`
    MemberAdd(MemberAddition),
    /// `Cluster.MemberRemove`
    MemberRemove(pb::MemberRemoveRequest),
    /// `Cluster.MemberUpdate`
    MemberUpdate(pb::MemberUpdateRequest),
    /// `Cluster.MemberPromote`
    MemberPromote(pb::MemberPromoteRequest),
}

/// `Cluster.MemberAdd`, and the new member's id, which depends on the wall clock.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberAddition {
    /// The id.
    pub id: MemberId,
    /// The call.
    pub request: pb::MemberAddRequest,
}
