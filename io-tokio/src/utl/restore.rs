//! A snapshot becomes the data of a new cluster's member.
//!
//! ```text
//! rows of the snapshot, but  members, members_removed   those of the new cluster
//!                            consistent_index, term     n, 1
//!                            confState                  n voters
//! log                        begins behind entry n of term 1, as if n entries had added them
//! ```
//!
//! Every member restores the same file with the same flags but its own name, and the cluster goes
//! on from there. Its id is computed as for a cluster that is new, so nobody of the old one can
//! speak to it.
//!
//! Answers to: etcd v3.7.1 `etcdutl/snapshot/v3_snapshot.go`

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_core::Config;
use quorate_core::config::Peer;
use quorate_core::error::StorageFault;
use quorate_core::ids::{LogIndex, Term};
use quorate_core::membership::MemberRecord;
use quorate_core::mvcc::{RevisionKey, RowKey};
use quorate_core::schema::{encode_mark, meta};
use quorate_core::storage::{HardState, SnapshotMark, StateRead, Table, Write};
use quorate_proto::raftpb::ConfState;

use super::cli::Restore;
use super::{Failure, source};
use crate::bolt::BoltFile;
use crate::bootstrap::{self, Bootstrap};
use crate::cli::{self, Called, Outcome};
use crate::disk::amended::Amended;
use crate::disk::recovery::{self, Beginning};
use crate::disk::{DataDir, Identity};

/// Restores a snapshot.
pub(super) fn restore(
    flags: &Restore,
    patience: Duration,
    called: Called,
) -> Result<String, Failure> {
    if (flags.bump_revision > 0) != flags.mark_compacted {
        return Err(Failure::words("--mark-compacted required if --revision-bump > 0"));
    }
    let cluster = judge_cluster(flags)?;
    let (data_dir, wal_dir) = places(flags, called)?;
    let file = source::open(&flags.file, patience)?;
    check_hash(&file, flags.skip_hash_check)?;
    let about = |failure: Failure| Failure {
        text: format!("cannot restore {}: {}", flags.file.display(), failure.text),
        ..failure
    };
    source::check_known(&file).map_err(about)?;
    let mark = mark_of(&cluster.peers);
    let writes = amend(&file, &cluster.peers, &mark, flags.bump_revision)?;
    let rows: Arc<dyn StateRead> = Arc::new(Amended::new(Arc::new(file), writes));
    let config = Config { member: cluster.member, cluster: cluster.cluster, ..Config::default() };
    source::check_rows(&config, &rows)?;

    let dir = DataDir::open_with_wal(&data_dir, &wal_dir)?;
    let identity = Identity { member: cluster.member, cluster: cluster.cluster };
    let vote = cluster.peers.first().map_or(0, |peer| peer.id.get());
    let hard_state = HardState { term: mark.term, vote, commit: mark.index };
    let entries = Vec::new();
    recovery::begin(&dir, Beginning { identity, rows, mark, entries, hard_state })?;
    eprintln!(
        "restored {} to {} as member {} of cluster {}",
        flags.file.display(),
        data_dir.display(),
        cluster.member,
        cluster.cluster
    );
    Ok(String::new())
}

/// The flags mean what they mean to a server that starts a cluster.
fn judge_cluster(flags: &Restore) -> Result<Bootstrap, Failure> {
    let words = [
        format!("--name={}", flags.name),
        format!("--initial-cluster={}", flags.initial_cluster),
        format!("--initial-cluster-token={}", flags.initial_cluster_token),
        format!("--initial-advertise-peer-urls={}", flags.initial_advertise_peer_urls),
    ];
    let understood = cli::parse(&words, []).and_then(|outcome| match outcome {
        Outcome::Run { flags, .. } => cli::understand(&flags, Called::Etcd),
        _ => Err(cli::CliError { code: 1, text: "no settings".to_owned() }),
    });
    let settings = understood.map_err(|error| Failure::new(error.text))?;
    bootstrap::found(&settings).map_err(|error| Failure::new(error.to_string()))
}

/// Where data and log go; nothing may be there.
fn places(flags: &Restore, called: Called) -> Result<(PathBuf, PathBuf), Failure> {
    let data_dir = match flags.data_dir.as_str() {
        "" => PathBuf::from(called.data_dir(&flags.name)),
        given => PathBuf::from(given),
    };
    let is_empty =
        |path: &Path| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if data_dir.exists() && !is_empty(&data_dir) {
        return Err(Failure::new(format!(
            "data-dir \"{}\" not empty or could not be read",
            data_dir.display()
        )));
    }
    let wal_dir = match flags.wal_dir.as_str() {
        "" => data_dir.join("member").join("wal"),
        given => PathBuf::from(given),
    };
    if wal_dir.exists() {
        return Err(Failure::new(format!("wal-dir \"{}\" exists", wal_dir.display())));
    }
    Ok((data_dir, wal_dir))
}

fn check_hash(file: &BoltFile, is_skipped: bool) -> Result<(), Failure> {
    match (is_skipped, file.has_hash()) {
        (true, _) => Ok(()),
        (false, true) => Ok(file.verify_hash()?),
        (false, false) => Err(Failure::new("snapshot missing hash but --skip-hash-check=false")),
    }
}

/// One entry for each member, as where a cluster begins.
fn mark_of(peers: &[Peer]) -> SnapshotMark {
    let voters = peers.iter().map(|peer| peer.id.get()).collect();
    SnapshotMark {
        index: LogIndex(peers.len() as u64),
        term: Term(1),
        conf_state: ConfState { voters, ..ConfState::default() },
    }
}

/// What differs from the snapshot.
fn amend(
    file: &BoltFile,
    peers: &[Peer],
    mark: &SnapshotMark,
    bump: u64,
) -> Result<Vec<Write>, Failure> {
    let mut writes = Vec::new();
    for table in [Table::Members, Table::MembersRemoved] {
        let gone = source::keys(file, table)?.into_iter();
        writes.extend(gone.map(|key| Write { table, key, value: None }));
    }
    writes.extend(peers.iter().map(|peer| {
        let record = MemberRecord {
            id: peer.id.get(),
            peer_urls: peer.peer_urls.clone(),
            name: peer.name.clone(),
            ..MemberRecord::default()
        };
        record.row()
    }));
    writes.extend(encode_mark(mark));
    if bump > 0 {
        let newest = newest_revision(file)?;
        let bumped = i64::try_from(bump).ok().and_then(|bump| newest.checked_add(bump));
        let main = bumped
            .ok_or_else(|| Failure::words("--bump-revision leads beyond the last revision"))?;
        let row = RowKey { at: RevisionKey::first_of(main), is_tombstone: false };
        writes.push(Write { table: Table::Key, key: row.encode(), value: Some(Bytes::new()) });
        writes.push(meta::encode_revision(meta::SCHEDULED_COMPACT, main));
    }
    Ok(writes)
}

fn newest_revision(file: &BoltFile) -> Result<i64, StorageFault> {
    let mut newest = Ok(0);
    file.scan(Table::Key, &[], &[], &mut |key, _| {
        newest = RowKey::parse(key).map(|row| row.at.main);
        if newest.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    newest
}
