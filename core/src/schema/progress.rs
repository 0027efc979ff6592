//! How far the store has come, and with whom: the rows of `meta` that travel in every batch.
//!
//! Answers to: etcd v3.7.1 `server/storage/schema/cindex.go`, `confstate.go`

use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_proto::raftpb::ConfState;
use serde::{Deserialize, Serialize};

use super::meta;
use crate::error::StorageFault;
use crate::ids::{LogIndex, Term};
use crate::storage::{SnapshotMark, StateRead, Table, Write};

/// Ours alone: no tool of etcd's looks for it.
pub(super) const DIGEST: &str = "quorate.digest";
/// Ours as well: there if the store was an etcd member's.
pub(super) const ADOPTED: &str = "quorate.adopted";

/// What travels in every batch: the applied position and the digest of the state there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Progress {
    /// Position, term and configuration.
    pub(crate) mark: SnapshotMark,
    /// Digest of everything applied up to there.
    pub(crate) digest: u64,
}

/// etcd's JSON form of a configuration.
#[derive(Deserialize, Serialize)]
struct ConfStateJson {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    voters: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    learners: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    voters_outgoing: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    learners_next: Vec<u64>,
    #[serde(default)]
    auto_leave: bool,
}

impl Progress {
    /// Rows of position, term and digest; the configuration only when `with_conf_state`.
    pub(crate) fn encode(&self, with_conf_state: bool, writes: &mut Vec<Write>) {
        let row = |name: &'static str, value: Bytes| Write {
            table: Table::Meta,
            key: Bytes::from_static(name.as_bytes()),
            value: Some(value),
        };
        if crate::planted!("auth-index-unsaved") && writes.iter().any(|it| it.table == Table::Auth)
        {
            return;
        }
        let number = |name, number| row(name, meta::encode_number(number));
        let index = match self.mark.index.get() {
            index if crate::planted!("applied-index-ahead") => index + 1,
            index if crate::planted!("entry-reapplied") => index - 1,
            index => index,
        };
        writes.push(number(meta::CONSISTENT_INDEX, index));
        writes.push(number(meta::TERM, self.mark.term.get()));
        writes.push(number(DIGEST, self.digest));
        if with_conf_state {
            writes.push(row(meta::CONF_STATE, encode_conf_state(&self.mark.conf_state)));
        }
    }

    /// Reads what `encode` wrote; a fresh store is at the very beginning.
    pub(crate) fn load(image: &dyn StateRead) -> Result<Self, StorageFault> {
        let number = |name| Ok(meta::load_number(image, name)?.unwrap_or(0));
        let conf_state = match image.get(Table::Meta, meta::CONF_STATE.as_bytes())? {
            Some(json) => load_conf_state(&json)?,
            None => ConfState::default(),
        };
        Ok(Self {
            mark: SnapshotMark {
                index: LogIndex(number(meta::CONSISTENT_INDEX)?),
                term: Term(number(meta::TERM)?),
                conf_state,
            },
            digest: number(DIGEST)?,
        })
    }
}

/// The rows that say how far a store goes, for one that does not come from applied entries.
pub fn encode_mark(mark: &SnapshotMark) -> Vec<Write> {
    let mut writes = Vec::new();
    Progress { mark: mark.clone(), digest: 0 }.encode(true, &mut writes);
    writes
}

/// The row that says that a store was an etcd member's, which has no digest.
pub fn adopted_row() -> Write {
    Write {
        table: Table::Meta,
        key: Bytes::from_static(ADOPTED.as_bytes()),
        value: Some(Bytes::new()),
    }
}

/// Whether the store was an etcd member's, or comes from one that was.
pub(crate) fn is_adopted(image: &dyn StateRead) -> Result<bool, StorageFault> {
    Ok(image.get(Table::Meta, ADOPTED.as_bytes())?.is_some())
}

/// How far the rows of a store go.
pub fn stored_mark(image: &dyn StateRead) -> Result<SnapshotMark, StorageFault> {
    Ok(Progress::load(image)?.mark)
}

/// The row that says after which entry this member's state was found to be wrong, or that it was
/// found not to read.
pub(crate) fn fenced_row(differs_at: Option<LogIndex>) -> Write {
    let index = differs_at.unwrap_or_default();
    Write {
        table: Table::Meta,
        key: Bytes::from_static(meta::FENCED.as_bytes()),
        value: Some(meta::encode_number(index.get())),
    }
}

fn encode_conf_state(state: &ConfState) -> Bytes {
    let json = ConfStateJson {
        voters: state.voters.clone(),
        learners: state.learners.clone(),
        voters_outgoing: state.voters_outgoing.clone(),
        learners_next: state.learners_next.clone(),
        auto_leave: state.auto_leave,
    };
    Bytes::from(serde_json::to_vec(&json).expect("numbers and a flag always have a JSON form"))
}

fn load_conf_state(json: &[u8]) -> Result<ConfState, StorageFault> {
    let state: ConfStateJson = serde_json::from_slice(json)
        .map_err(|e| StorageFault::new(format!("meta row confState is not its JSON: {e}")))?;
    Ok(ConfState {
        voters: state.voters,
        learners: state.learners,
        voters_outgoing: state.voters_outgoing,
        learners_next: state.learners_next,
        auto_leave: state.auto_leave,
    })
}
