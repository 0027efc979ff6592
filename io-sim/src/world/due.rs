//! What is due once faults are over, whoever runs the members: each says what is missing.

use std::collections::BTreeMap;

use quorate_core::Role;
use quorate_core::ids::{LogIndex, MemberId};

use super::client::Watcher;
use super::plan::Shape;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

/// How long all clients may take to be served, and all watchers to catch up, in nanoseconds.
pub(crate) const PATIENCE: u64 = 60 * SECOND;

/// One leader, of the quorum and known to all of it.
pub(crate) fn check_leader(roles: &[Role], quorum: &[MemberId]) -> Result<(), String> {
    let first = roles.first().map(|role| (role.term, role.leader));
    let is_agreed = roles.iter().all(|role| Some((role.term, role.leader)) == first);
    let leader = first.and_then(|(_, leader)| leader);
    let is_inside = leader.is_some_and(|leader| quorum.contains(&leader));
    let is_led = roles.iter().filter(|role| role.is_leader).count() == 1;
    let told = || format!("no leader for 10 election timeouts: {roles:?}");
    (is_agreed && is_inside && is_led).then_some(()).ok_or_else(told)
}

/// As many keys were put as there are.
pub(crate) fn check_served(have: usize, shape: &Shape) -> Result<(), String> {
    let want = shape.keys;
    let told = || format!("only {have} of {want} puts were answered after healing");
    (have as u64 == want).then_some(()).ok_or_else(told)
}

/// Members are equal: by how far each has applied, and its digest there.
pub(crate) fn check_equal(applied: &[(LogIndex, u64)]) -> Result<(), String> {
    let is_equal = applied.windows(2).all(|pair| pair[0] == pair[1]);
    let told = || format!("members differ: (applied, digest) = {applied:?}");
    is_equal.then_some(()).ok_or_else(told)
}

/// A watcher has seen the last put of each key, by key the revision, that it watches.
pub(crate) fn check_watcher(
    number: usize,
    watcher: &Watcher,
    bells: &BTreeMap<u64, i64>,
) -> Result<(), String> {
    let (first, end) = watcher.keys;
    let last = bells.range(first..end).map(|(_, revision)| *revision).max().unwrap_or(0);
    let newest = bells.values().copied().max().unwrap_or(0);
    let Watcher { seen, synced, .. } = *watcher;
    if seen < last {
        return Err(format!("watcher {number} is at revision {seen}, not {last}"));
    }
    if synced < newest && watcher.from <= newest {
        return Err(format!("stream of watcher {number} is at {synced}, not {newest}"));
    }
    Ok(())
}

/// How long a lease can live that nobody keeps alive any more, with a quarter to spare for slow
/// clocks, and three seconds for the work; in nanoseconds.
pub(crate) fn longest_life(shape: &Shape) -> u64 {
    let ttl = shape.lease_ttl * SECOND + shape.election_ms * MILLISECOND;
    ttl + ttl / 4 + 3 * SECOND
}
