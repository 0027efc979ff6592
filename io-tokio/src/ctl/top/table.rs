//! Samples as text.

use std::time::Duration;

use super::sample::{Said, Sample, Seen};
use crate::cli::show_duration;
use crate::tool::format::{Table, show_bytes};

/// Names of the columns.
const HEADER: [&str; 12] = [
    "name", "ID", "role", "term", "index", "lag", "db", "writes/s", "reads/s", "sync", "slow",
    "watches",
];
/// Syncs of the log beyond this bucket, in seconds, are slow.
const SLOW_SYNC: &str = "le=\"0.128\"";
const SYNC: &str = "etcd_disk_wal_fsync_duration_seconds";

/// A line on the cluster as a whole.
pub(super) fn summary(sample: &Sample) -> String {
    let answers: Vec<&Said> =
        sample.members.iter().filter_map(|it| it.said.as_ref().ok()).collect();
    let leader = answers.iter().map(|said| said.status.leader).find(|leader| *leader != 0);
    let leader = leader.and_then(|id| sample.members.iter().find(|seen| seen.member.id == id));
    let revisions = answers.iter().filter_map(|said| said.status.header);
    let revision = revisions.map(|header| header.revision).max();
    let watches = answers.iter().filter_map(|said| watches(said));
    format!(
        "cluster {:x}  members {}/{}  leader {}  revision {}  watches {}  leases {}",
        sample.cluster,
        answers.len(),
        sample.members.len(),
        leader.map_or("none", |seen| seen.member.name.as_str()),
        shown(revision),
        watches.fold(0.0, |sum, count| sum + count),
        shown(sample.leases)
    )
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn watches(said: &Said) -> Option<f64> {
    said.page.as_ref().map(|page| page.sum("etcd_debugging_mvcc_watcher_total"))
}

/// A row for each member; rates are those between two samples.
pub(super) fn table(before: &Sample, now: &Sample) -> Table {
    let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
    let newest = now.members.iter().filter_map(|seen| seen.said.as_ref().ok());
    let newest = newest.map(|said| said.status.raft_index).max().unwrap_or(0);
    let row = |seen: &Seen| {
        let earlier = before.members.iter().find(|it| it.member.id == seen.member.id);
        let earlier = earlier.and_then(|seen| seen.said.as_ref().ok());
        match &seen.said {
            Ok(said) => row(seen, said, earlier, (newest, seconds)),
            Err(why) => down(seen, why),
        }
    };
    Table { header: HEADER.to_vec(), rows: now.members.iter().map(row).collect() }
}

fn down(seen: &Seen, why: &str) -> Vec<String> {
    let mut row = vec![seen.member.name.clone(), format!("{:x}", seen.member.id), why.to_owned()];
    row.resize(HEADER.len(), "-".to_owned());
    row
}

fn row(
    seen: &Seen,
    said: &Said,
    earlier: Option<&Said>,
    (newest, seconds): (u64, f64),
) -> Vec<String> {
    let Said { status, page } = said;
    let role = match seen.member.id {
        id if status.leader == id => "leader",
        _ if status.is_learner => "learner",
        _ => "follower",
    };
    let rate = |names: &[&str]| {
        let (now, then) = (page.as_ref()?, earlier?.page.as_ref()?);
        let grown: f64 = names.iter().map(|name| now.sum(name) - then.sum(name)).sum();
        (seconds > 0.0).then(|| format!("{:.1}", grown.max(0.0) / seconds))
    };
    let writes = ["etcd_mvcc_put_total", "etcd_mvcc_delete_total", "etcd_mvcc_txn_total"];
    vec![
        seen.member.name.clone(),
        format!("{:x}", seen.member.id),
        role.to_owned(),
        status.raft_term.to_string(),
        status.raft_index.to_string(),
        newest.saturating_sub(status.raft_applied_index).to_string(),
        show_bytes(status.db_size.cast_unsigned()),
        shown(rate(&writes)),
        shown(rate(&["etcd_mvcc_range_total"])),
        shown(sync(said, earlier)),
        shown(slow(said)),
        shown(watches(said)),
    ]
}

/// How long a sync of the log took on average since the last look.
fn sync(said: &Said, earlier: Option<&Said>) -> Option<String> {
    let (now, then) = (said.page.as_ref()?, earlier?.page.as_ref()?);
    let grown = |suffix: &str| {
        let name = format!("{SYNC}_{suffix}");
        now.sum(&name) - then.sum(&name)
    };
    let (seconds, count) = (grown("sum"), grown("count"));
    let average = Duration::try_from_secs_f64(seconds / count).ok()?;
    // Three digits are as much as one can read.
    let micros = Duration::from_micros(u64::try_from(average.as_micros()).ok()?);
    Some(show_duration(micros))
}

/// How much was slow.
fn slow(said: &Said) -> Option<f64> {
    let page = said.page.as_ref()?;
    let fast = page.sum_where(&format!("{SYNC}_bucket"), SLOW_SYNC);
    let syncs = page.sum(&format!("{SYNC}_count")) - fast;
    let others = ["etcd_server_slow_apply_total", "etcd_server_slow_read_indexes_total"];
    Some(syncs + others.iter().map(|name| page.sum(name)).sum::<f64>())
}
