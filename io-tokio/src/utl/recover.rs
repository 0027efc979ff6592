//! A way on for a cluster whose quorum is lost for ever: one member goes on alone.
//!
//! The same as `--force-new-cluster` does at a start, but told and judged beforehand.
//!
//! Answers to: etcd's disaster recovery guide, where a flag is all there is

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_core::Config;
use quorate_core::schema::stored_mark;
use quorate_core::storage::{LogContents, LogRead as _, SnapshotMark, StateRead};

use super::{Failure, directory};
use crate::bootstrap::alone::{self, Plan};
use crate::disk::store::Store;
use crate::disk::{Identity, StateWrite as _, wal};

/// Makes the member of `data_dir` the only one of its cluster, or only says what that would do.
pub(super) fn recover(
    data_dir: &Path,
    wal_dir: Option<&Path>,
    is_dry_run: bool,
    patience: Duration,
) -> Result<String, Failure> {
    let dir = directory::lock(data_dir, wal_dir, patience)?;
    let store = Store::open(&dir.store())?;
    let stored = (stored_mark(&*store.image())?, store.image());
    if is_dry_run {
        let (identity, log, _) = wal::read(dir.wal(), &stored.0)?;
        let plan = plan(identity, &stored, &log.load(&stored.0)?)?;
        return Ok(format!("would do this: {}\n\n{}", plan.describe(identity.member), BEFORE));
    }
    let (identity, log, mut writer) = wal::open(dir.wal(), &stored.0, wal::Settings::default())?;
    let mut contents = log.load(&stored.0)?;
    let plan = plan(identity, &stored, &contents)?;
    let told = plan.describe(identity.member);
    plan.carry_out(&mut writer, &mut contents)?;
    Ok(format!("done: {told}\n\n{AFTER}"))
}

fn plan(
    identity: Identity,
    (mark, image): &(SnapshotMark, Arc<dyn StateRead>),
    log: &LogContents,
) -> Result<Plan, Failure> {
    let config = Config { member: identity.member, cluster: identity.cluster, ..Config::default() };
    alone::plan(&config, (mark, Arc::clone(image)), log).map_err(Failure::new)
}

const BEFORE: &str = "\
Before you do it:
  1. Be sure that a majority of the members is lost for ever. If one of them can be started again,
     start it instead: nothing is lost then.
  2. Stop all members that are left, and run this with --dry-run on each. Go on with the one whose
     entry is the highest: what only the others had is lost.
  3. Keep a copy of the data directory.
Then run it again without --dry-run.
";

const AFTER: &str = "\
Now:
  1. Start this member as usual; --initial-cluster does not matter any more. It serves at once.
  2. Look at the data: the last writes before the loss may or may not be there.
  3. Never start the other members on their old data: move it away. Add each anew, one by one,
     with `member add`, and start it with --initial-cluster-state=existing.
";
