//! Which version the cluster has: decided by its leader, from what its members say they are.
//!
//! ```text
//!   undecided --all known--> the lowest        3.7 --a downgrade to 3.6 is on--> 3.6
//!       '------patience ends--> 3.0 --all known--> the lowest        ^--cancelled--'
//! ```
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/version/monitor.go`

use crate::membership::MinorVersion;

/// What the leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    /// The cluster's, if it was decided.
    pub(crate) cluster: Option<MinorVersion>,
    /// The lowest of all members', if all are known.
    pub(crate) lowest: Option<MinorVersion>,
    /// What the cluster is being taken down to.
    pub(crate) downgrade: Option<MinorVersion>,
    /// Whether members that are silent were waited for long enough.
    pub(crate) is_patience_over: bool,
}

impl Versions {
    /// The version the cluster should get instead of its own.
    pub(crate) fn decide(self) -> Option<MinorVersion> {
        let Some(cluster) = self.cluster else {
            return self.lowest.or(self.is_patience_over.then_some(MinorVersion::LEAST));
        };
        let lowest = self.lowest?;
        let Some(target) = self.downgrade else {
            return cluster.may_rise_to(lowest).then_some(lowest);
        };
        // Members one version above the target understand it: they follow before they are
        // replaced, so that those that replace them may join.
        (cluster.previous() == target && lowest.previous() == target).then_some(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Option<MinorVersion> {
        MinorVersion::parse_target(text)
    }

    fn decide(cluster: &str, lowest: &str, downgrade: &str) -> Option<alloc::string::String> {
        let versions = Versions {
            cluster: version(cluster),
            lowest: version(lowest),
            downgrade: version(downgrade),
            is_patience_over: false,
        };
        versions.decide().map(MinorVersion::short)
    }

    #[test]
    fn the_first_decision_waits_for_all_but_not_for_ever() {
        assert_eq!(decide("", "3.6", "").as_deref(), Some("3.6"));
        assert_eq!(decide("", "", ""), None);
        let late =
            Versions { cluster: None, lowest: None, downgrade: None, is_patience_over: true };
        assert_eq!(late.decide(), Some(MinorVersion::LEAST));
        let known = Versions { lowest: version("3.7"), ..late };
        assert_eq!(known.decide(), version("3.7"));
    }

    #[test]
    fn it_rises_with_the_lowest_member_and_never_falls_by_itself() {
        assert_eq!(decide("3.0", "3.7", "").as_deref(), Some("3.7"));
        assert_eq!(decide("3.6", "3.7", "").as_deref(), Some("3.7"));
        assert_eq!(decide("3.7", "3.7", ""), None);
        assert_eq!(decide("3.7", "3.6", ""), None);
        assert_eq!(decide("3.7", "4.0", ""), None);
        assert_eq!(decide("3.6", "", ""), None);
    }

    #[test]
    fn a_downgrade_takes_it_down_at_once_and_holds_it_there() {
        assert_eq!(decide("3.7", "3.7", "3.6").as_deref(), Some("3.6"));
        assert_eq!(decide("3.6", "3.7", "3.6"), None);
        assert_eq!(decide("3.6", "3.6", "3.6"), None);
        assert_eq!(decide("3.7", "3.6", "3.6"), None, "as etcd: who is there already is too low");
    }
}
