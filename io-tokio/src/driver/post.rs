//! What travels between the loops.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use quorate_core::auth::Identity;
use quorate_core::error::{Refusal, StorageFault};
use quorate_core::ids::{MemberId, StreamId, Token};
use quorate_core::output::{Batch, Persist};
use quorate_core::storage::{SnapshotMark, StateRead};
use quorate_core::{ReplicaInput, Request, Response, StateInput, View};
use quorate_proto::raftpb;

use super::office::{Answer, Listener};
use crate::channels::{CLIENT_INPUTS_MAX, PEER_MESSAGES_MAX, PEER_QUESTIONS_MAX, Share};

/// To the replica's loop.
pub(super) enum ToReplica {
    /// From another loop, in order.
    Inputs(Vec<ReplicaInput>),
    /// From the transport; counted in its share.
    Peer { from: MemberId, message: raftpb::Message },
    /// An image to send when the replica announces it.
    Image { mark: SnapshotMark, image: Arc<dyn StateRead> },
    /// End after this turn.
    Stop,
}

/// To the state's loop.
pub(super) enum ToState {
    /// From another loop, in order.
    Inputs(Vec<StateInput>),
    /// A client's call; counted.
    Call {
        token: Token,
        who: Result<Identity, Refusal>,
        request: Request,
        answer: Answer<Response>,
    },
    /// A client's read; counted.
    Read { token: Token, answer: Answer<View> },
    /// A client opened a stream; counted.
    Open { stream: StreamId, frame_bytes_max: usize, listener: Listener },
    /// Something else of a client's; counted.
    Client(StateInput),
    /// What follows a client's earlier input: never refused.
    After(StateInput),
    /// Nobody waits for that answer any more.
    Forget { token: Token },
    /// From another member; counted.
    Peer(StateInput),
    /// What one thread's clients handed in together.
    Lot(Vec<ToState>),
    /// End after this turn.
    Stop,
}

/// To the log's loop.
pub(super) enum LogWork {
    Persist(Persist),
    Cut(SnapshotMark),
    Stop,
}

/// To the store's loop.
pub(super) enum ToStore {
    Batches(Vec<Batch>),
    Install { mark: SnapshotMark, answer: SyncSender<Result<Arc<dyn StateRead>, StorageFault>> },
    Defragment,
    Stop,
}

/// Shares of the loops' queues.
pub(super) struct Shares {
    pub(super) clients: Share,
    pub(super) peer_messages: Share,
    pub(super) peer_questions: Share,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            clients: Share::new(CLIENT_INPUTS_MAX),
            peer_messages: Share::new(PEER_MESSAGES_MAX),
            peer_questions: Share::new(PEER_QUESTIONS_MAX),
        }
    }
}
