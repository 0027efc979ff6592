//! Members that applied the same entries hold the same state (oracle 3).
//!
//! The first member to report a digest at an index sets it; every other, and the same one after a
//! restart, must report the same.

use std::collections::BTreeMap;

use quorate_core::ids::MemberId;
use quorate_core::time::Time;
use quorate_io_sim::world::observe::{Observer, Seen, Violation};

use super::wrong;

const NAME: &str = "agreement";

/// The oracle. See the module.
#[derive(Debug, Default)]
pub struct Agreement {
    digests: BTreeMap<u64, (u64, MemberId)>,
    /// Where each running member is.
    applied: BTreeMap<MemberId, u64>,
}

impl Observer for Agreement {
    fn observe(&mut self, _at: Time, seen: &Seen) -> Result<(), Violation> {
        match seen {
            Seen::Started { member, stored, .. } => {
                self.applied.insert(*member, stored.index.0);
            }
            Seen::Applied { member, index, digest } => {
                return self.check(*member, index.0, *digest).map_err(|what| wrong(NAME, what));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Agreement {
    fn check(&mut self, member: MemberId, index: u64, digest: u64) -> Result<(), String> {
        let before = self.applied.insert(member, index).unwrap_or(0);
        if index < before {
            return Err(format!("member {member} applied entry {index} after {before}"));
        }
        let (first, other) = *self.digests.entry(index).or_insert((digest, member));
        if first != digest {
            return Err(format!(
                "at entry {index} member {member} has digest {digest:016x}, \
                 {other} had {first:016x}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::ids::LogIndex;
    use quorate_core::storage::SnapshotMark;

    use super::*;

    fn applied(member: u64, index: u64, digest: u64) -> Seen {
        Seen::Applied { member: MemberId(member), index: LogIndex(index), digest }
    }

    #[test]
    fn equal_digests_agree() {
        let mut oracle = Agreement::default();
        for seen in [applied(1, 5, 7), applied(2, 5, 7), applied(1, 6, 8), applied(3, 6, 8)] {
            assert_eq!(oracle.observe(Time::ZERO, &seen), Ok(()));
        }
    }

    #[test]
    fn another_digest_is_found() {
        let mut oracle = Agreement::default();
        assert_eq!(oracle.observe(Time::ZERO, &applied(1, 5, 7)), Ok(()));
        let violation = oracle.observe(Time::ZERO, &applied(2, 5, 9)).unwrap_err();
        assert_eq!(
            violation.what,
            "at entry 5 member 2 has digest 0000000000000009, 1 had 0000000000000007"
        );
    }

    #[test]
    fn two_images_in_place_before_the_first_is_told_of_are_in_order() {
        let installed = |index| {
            let mark = SnapshotMark { index: LogIndex(index), ..SnapshotMark::default() };
            Seen::Installed { member: MemberId(1), mark }
        };
        let mut oracle = Agreement::default();
        for seen in [installed(5), installed(9), applied(1, 5, 7), applied(1, 9, 8)] {
            assert_eq!(oracle.observe(Time::ZERO, &seen), Ok(()));
        }
    }

    #[test]
    fn applying_backwards_is_found() {
        let mut oracle = Agreement::default();
        assert_eq!(oracle.observe(Time::ZERO, &applied(1, 5, 7)), Ok(()));
        let violation = oracle.observe(Time::ZERO, &applied(1, 4, 6)).unwrap_err();
        assert_eq!(violation.what, "member 1 applied entry 4 after 5");
    }
}
