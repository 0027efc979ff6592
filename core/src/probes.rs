//! Places a simulator must have been to: a run of many seeds that never gets to one of them tests
//! less than it seems to.
//!
//! ```text
//!   probe!("leader deposed with a read waiting");    counts, in a build with `--cfg probes`
//! ```
//!
//! In an ordinary build nothing is counted; that the name is one of [`PROBES`] is checked in every
//! build.

#[cfg(probes)]
use core::sync::atomic::{AtomicU64, Ordering};

/// Every place, by name.
pub const PROBES: [&str; 26] = [
    "leader deposed with a read waiting",
    "leadership handed over for a silent disk",
    "leader stepped down for a silent disk",
    "leadership handed over for a slow disk",
    "leader removed itself",
    "removed by its own log",
    "promise held back for the disk",
    "change of the group held back for the disk",
    "several batches written at once",
    "image installed",
    "image from before its receiver was added",
    "wish of another term refused",
    "write kept until somebody leads",
    "write proposed again to a new leader",
    "current without a barrier",
    "barrier asked of a quorum alone",
    "quorum of a barrier was late",
    "renewal asked for a barrier",
    "renewal of a lease cut short",
    "lease with several keys ended",
    "compaction at the revision of a deletion",
    "heads made anew",
    "start from heads that are gone in part",
    "watch canceled by a compaction",
    "watcher fell behind",
    "rights changed while a call was under way",
];

/// Where a name is in [`PROBES`].
///
/// # Panics
/// If it is not: always while the program is built.
#[must_use]
pub const fn place(name: &str) -> usize {
    let mut n = 0;
    while n < PROBES.len() {
        if is_same(PROBES[n].as_bytes(), name.as_bytes()) {
            return n;
        }
        n += 1;
    }
    panic!("no such probe")
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut n = 0;
    while n < a.len() && n < b.len() && a[n] == b[n] {
        n += 1;
    }
    n == a.len() && n == b.len()
}

#[cfg(probes)]
static HITS: [AtomicU64; PROBES.len()] = [const { AtomicU64::new(0) }; PROBES.len()];

/// The place of this number was reached.
#[cfg(probes)]
pub fn hit(place: usize) {
    HITS[place].fetch_add(1, Ordering::Relaxed);
}

/// How often each place was reached; none in an ordinary build.
#[must_use]
pub fn hits() -> Option<[u64; PROBES.len()]> {
    #[cfg(probes)]
    return Some(core::array::from_fn(|n| HITS[n].load(Ordering::Relaxed)));
    #[cfg(not(probes))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_probe_has_its_own_place() {
        for (n, name) in PROBES.iter().enumerate() {
            assert_eq!(place(name), n, "{name}");
        }
    }
}
