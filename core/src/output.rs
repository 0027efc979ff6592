//! Everything a member wants done: one closed enum per machine. Executing outputs in the order
//! given is always correct; what may not happen before durability has not been emitted yet.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::peer::PeerMessage;
use quorate_proto::raftpb;

use crate::error::{Misbehaviour, Refusal, StorageFault};
use crate::ids::{BarrierId, LogIndex, MemberId, RequestId, Revision, StreamId, Term, Token};
use crate::input::{Followers, Role};
use crate::storage::{Entry, EntryKind, HardState, SnapshotMark, StateRead, Write};
use crate::time::Duration;
use crate::view::View;

/// What the [`Replica`](crate::Replica) wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplicaOutput {
    /// To the transport. Announcements of an image go with the image pinned at their index.
    Send {
        /// The receiver.
        to: MemberId,
        /// The message.
        message: raftpb::Message,
    },
    /// To the log; answered by `Persisted`.
    Persist(Persist),
    /// To `State`: entries to apply.
    Committed {
        /// The entries.
        entries: Vec<Entry>,
    },
    /// To `State`: how far the log is committed.
    CommitIndex {
        /// The commit index.
        index: LogIndex,
    },
    /// To `State`: a barrier's answer.
    BarrierReached {
        /// The barrier.
        context: BarrierId,
        /// The read index.
        index: LogIndex,
    },
    /// To `State`: a barrier that will not be answered.
    BarrierLost {
        /// The barrier.
        context: BarrierId,
    },
    /// To `State`: a proposal that was not taken.
    ProposalDropped {
        /// The proposal.
        id: RequestId,
        /// The term it was for.
        in_term: Term,
    },
    /// To `State`: leadership or term changed.
    Role(Role),
    /// To `State`: how this leader's followers are.
    Followers(Followers),
    /// To `State`: pin an image; answered by `SnapshotTaken`.
    TakeSnapshot,
    /// To the log: entries up to here are not needed any more. Never before the store has them.
    Cut {
        /// Where the log may begin.
        mark: SnapshotMark,
    },
    /// To the counters: a peer misbehaved; its message was dropped.
    Misbehaved {
        /// The peer.
        from: MemberId,
        /// How.
        how: Misbehaviour,
    },
    /// To the log file.
    Note(Note),
    /// This member was removed from the group, and others know: stop.
    Removed,
    /// Nothing can be done any more: stop.
    Halt(StorageFault),
}

/// One numbered batch for the log, written and synced as one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Persist {
    /// Rises by one from batch to batch.
    pub number: u64,
    /// Term, vote and commit, when they changed.
    pub hard_state: Option<HardState>,
    /// Entries to append; one whose index the log already has replaces it and all after it.
    pub entries: Vec<Entry>,
    /// An image that was received for this mark replaces the store's content first, then the log
    /// starts over behind it.
    pub snapshot: Option<SnapshotMark>,
    /// Whether it must be synced before it is reported; false when only the commit index moved.
    pub must_sync: bool,
}

/// What [`State`](crate::State) wants done.
#[derive(Clone)]
pub enum StateOutput {
    /// To the client: a request's answer.
    Respond {
        /// The request.
        token: Token,
        /// What became of it.
        result: Result<Response, Refusal>,
    },
    /// To the client's reader: this view is current enough for the read.
    ReadReady {
        /// The read.
        token: Token,
        /// What to read from.
        result: Result<View, Refusal>,
    },
    /// To the client's watch stream, in order.
    Stream {
        /// The stream.
        stream: StreamId,
        /// The frame.
        frame: pb::WatchResponse,
    },
    /// To whoever reads without asking: the newest view.
    Publish(View),
    /// To `Replica`: an entry for the log.
    Propose {
        /// Its id.
        id: RequestId,
        /// Its bytes.
        data: Bytes,
        /// What they are.
        kind: EntryKind,
        /// The only term in which it may enter the log.
        in_term: Term,
        /// Whether a member that follows passes it on to that term's leader.
        may_forward: bool,
    },
    /// To `Replica`: what became of a committed change of the group.
    Changed {
        /// The change's entry.
        index: LogIndex,
        /// Whether it takes effect.
        is_accepted: bool,
    },
    /// To `Replica`: hand leadership over.
    TransferLeader {
        /// The successor, if it matters who.
        to: Option<MemberId>,
    },
    /// To `Replica`: an image of the leader's is wanted, in place of all this member has.
    WantImage,
    /// To `Replica`: a read barrier.
    Barrier {
        /// The barrier.
        context: BarrierId,
    },
    /// To `Replica`: applied up to here.
    Applied {
        /// Last applied entry.
        index: LogIndex,
        /// Digest of the whole state at that index: equal on all members.
        digest: u64,
    },
    /// To the store; answered by `Stored`, and by `Synced` if it asks for that.
    Store(Batch),
    /// To `Replica` and the transport: an image, pinned.
    SnapshotTaken {
        /// What it covers.
        mark: SnapshotMark,
        /// The image.
        image: Arc<dyn StateRead>,
    },
    /// To `Replica`: the store durably holds everything up to here.
    Synced {
        /// The durable point.
        mark: SnapshotMark,
    },
    /// To the transport: a question or an answer.
    Send {
        /// The receiver.
        to: MemberId,
        /// The message.
        message: PeerMessage,
    },
    /// To the log file.
    Note(Note),
    /// Nothing can be done any more: stop.
    Halt(StorageFault),
}

/// Rows to write as one; the applied index is among them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// How many images were installed before it in this run. The store drops batches of an
    /// earlier epoch than its own: they belong to content that is gone.
    pub epoch: u64,
    /// The applied index once it is written.
    pub index: LogIndex,
    /// The rows.
    pub writes: Vec<Write>,
    /// Whether it, and all before it, must survive a crash before `Synced` is reported.
    pub sync: bool,
}

/// Answers to [`Request`](crate::Request)s, headers filled.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// `KV.Put`
    Put(pb::PutResponse),
    /// `KV.DeleteRange`
    DeleteRange(pb::DeleteRangeResponse),
    /// `KV.Txn`
    Txn(pb::TxnResponse),
    /// `KV.Compact`
    Compact(pb::CompactionResponse),
    /// `Lease.LeaseGrant`
    LeaseGrant(pb::LeaseGrantResponse),
    /// `Lease.LeaseRevoke`
    LeaseRevoke(pb::LeaseRevokeResponse),
    /// `Lease.LeaseKeepAlive`
    LeaseKeepAlive(pb::LeaseKeepAliveResponse),
    /// `Lease.LeaseTimeToLive`
    LeaseTimeToLive(pb::LeaseTimeToLiveResponse),
    /// `Lease.LeaseLeases`
    LeaseLeases(pb::LeaseLeasesResponse),
    /// `Maintenance.Alarm`
    Alarm(pb::AlarmResponse),
    /// Through `Auth`; the token is empty unless one was asked for.
    Auth(pb::AuthenticateResponse),
    /// `Maintenance.MoveLeader`
    MoveLeader(pb::MoveLeaderResponse),
    /// `Maintenance.Downgrade`
    Downgrade(pb::DowngradeResponse),
    /// `Cluster.MemberAdd`
    MemberAdd(pb::MemberAddResponse),
    /// `Cluster.MemberRemove`
    MemberRemove(pb::MemberRemoveResponse),
    /// `Cluster.MemberUpdate`
    MemberUpdate(pb::MemberUpdateResponse),
    /// `Cluster.MemberPromote`
    MemberPromote(pb::MemberPromoteResponse),
}

/// What an operator should be able to read in the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// This member became leader.
    BecameLeader {
        /// Of this term.
        term: Term,
    },
    /// This member is not leader any more.
    SteppedDown {
        /// The term it led.
        term: Term,
        /// Why, when it was its own decision.
        why: &'static str,
    },
    /// Another member leads.
    Follows {
        /// The leader.
        leader: MemberId,
        /// Its term.
        term: Term,
    },
    /// The log's disk has not answered for long.
    LogStalled {
        /// The batch it owes.
        number: u64,
    },
    /// This leader's log is later than those of a quorum, again and again: another shall lead.
    LogLags {
        /// How much later the last write was.
        by: Duration,
    },
    /// This member's name and URLs are known to all: it may serve.
    Published,
    /// The cluster's version was decided.
    ClusterVersion {
        /// As X.Y.Z.
        version: String,
    },
    /// A member was added to the group.
    MemberAdded {
        /// The member.
        member: MemberId,
    },
    /// A member was removed from the group.
    MemberRemoved {
        /// The member.
        member: MemberId,
    },
    /// A learner became a voter.
    MemberPromoted {
        /// The member.
        member: MemberId,
    },
    /// A member's peer URLs changed.
    MemberUpdated {
        /// The member.
        member: MemberId,
    },
    /// A compaction's last record is gone.
    CompactionFinished {
        /// The compacted revision.
        revision: Revision,
    },
    /// A leader's image replaced the state.
    SnapshotApplied {
        /// Applied index of the image.
        index: LogIndex,
    },
    /// This member trusts its state no more, and serves nothing of it.
    Fenced {
        /// Why.
        why: String,
    },
    /// The leader's image has replaced such a state.
    Repaired,
    /// An alarm was raised or taken back.
    Alarm {
        /// Whose.
        member: MemberId,
        /// Its kind's name.
        kind: &'static str,
        /// Whether it is raised now.
        raised: bool,
    },
}
