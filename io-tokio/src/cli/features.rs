//! etcd's feature gates: which there are, and what was said about each.

use super::parse::CliError;
use super::table::Word as _;

/// A feature that etcd has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// `ALPHA` or `BETA`: beta features are on unless somebody says otherwise.
    pub stage: &'static str,
}

const ALPHA: &str = "ALPHA";
const BETA: &str = "BETA";

const fn feature(name: &'static str, stage: &'static str) -> Feature {
    Feature { name, stage }
}

const ALL: [Feature; 11] = [
    feature("AllAlpha", ALPHA),
    feature("AllBeta", BETA),
    feature("CompactHashCheck", ALPHA),
    feature("FastLeaseKeepAlive", BETA),
    feature("InitialCorruptCheck", ALPHA),
    feature("LeaseCheckpoint", ALPHA),
    feature("LeaseCheckpointPersist", ALPHA),
    feature("PriorityRequest", ALPHA),
    feature("SetMemberLocalAddr", ALPHA),
    feature("StopGRPCServiceOnDefrag", ALPHA),
    feature("TxnModeWriteWithSharedBuffer", BETA),
];

/// Whether a feature is on when nobody says: of the two that name others, neither.
fn is_on(feature: &Feature) -> bool {
    feature.stage == BETA && feature.name != "AllBeta"
}

/// Reads `Name=true,Name=false`. A stage's own switch counts where the feature's name is not given.
pub(super) fn features(gates: &str) -> Result<Vec<(Feature, bool)>, CliError> {
    let mut given = Vec::new();
    for gate in gates.split(',').map(str::trim).filter(|gate| !gate.is_empty()) {
        let wrong = |why: &str| CliError::settings(format!("--feature-gates {gate:?}: {why}"));
        let (name, value) = gate.split_once('=').ok_or_else(|| wrong("missing bool value"))?;
        let name = name.trim();
        if !ALL.iter().any(|feature| feature.name == name) {
            return Err(wrong("unrecognized feature gate"));
        }
        given.push((name, bool::read(value.trim()).map_err(wrong)?));
    }
    let said = |name: &str| given.iter().rev().find(|(given, _)| *given == name).map(|(_, on)| *on);
    let of_stage = |feature: &Feature| match feature.stage {
        ALPHA => said("AllAlpha"),
        _ => said("AllBeta"),
    };
    let value = |feature: &Feature| {
        said(feature.name).or_else(|| of_stage(feature)).unwrap_or_else(|| is_on(feature))
    };
    Ok(ALL.iter().map(|feature| (*feature, value(feature))).collect())
}

#[cfg(test)]
mod tests {
    use super::features;

    fn on(gates: &str) -> Vec<&'static str> {
        let all = features(gates).expect("they are understood").into_iter();
        all.filter(|(_, is_on)| *is_on).map(|(feature, _)| feature.name).collect()
    }

    #[test]
    fn a_name_counts_more_than_its_stage_and_a_stage_more_than_the_default() {
        assert_eq!(on(""), ["FastLeaseKeepAlive", "TxnModeWriteWithSharedBuffer"]);
        assert_eq!(
            on("AllBeta=false, TxnModeWriteWithSharedBuffer=true"),
            ["TxnModeWriteWithSharedBuffer"]
        );
        let all = on("AllAlpha=true,CompactHashCheck=false,CompactHashCheck=true");
        assert!(all.contains(&"CompactHashCheck") && all.contains(&"LeaseCheckpoint"), "{all:?}");
    }
}
