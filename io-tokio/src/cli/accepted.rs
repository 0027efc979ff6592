//! etcd's flags that change nothing here: taken for the sake of scripts that give them, with a
//! warning that says why; or refused, where silence would be a lie.

use super::table::Word;

/// How a flag's word is read before it is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Bool,
    Whole,
    Duration,
}

/// What comes of giving it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing, because of this.
    Without(&'static str),
    /// An error, unless the value is the default; and what to do instead.
    Not(&'static str),
}

/// A flag of etcd's that is none here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Its name, without dashes.
    pub(super) name: &'static str,
    /// Its value when nobody gives one.
    pub(super) default: &'static str,
    kind: Kind,
    verdict: Verdict,
}

use Kind::{Bool, Duration, Text, Whole};
use Verdict::{Not, Without};

const fn flag(name: &'static str, kind: Kind, default: &'static str, verdict: Verdict) -> Accepted {
    Accepted { name, default, kind, verdict }
}

const NOT_BBOLT: Verdict = Without("the store is not bbolt; it batches by itself");
const NOT_FILES: Verdict =
    Without("images of the state and segments of the log go as soon as nobody needs them");
const OWN_PACE: Verdict = Without("compaction goes in slices of less than a millisecond");
const LEGACY: Verdict = Without("etcd has not used it for years either");
/// All of them, in the order of etcd's help.
pub(super) const ACCEPTED: &[Accepted] = &[
    flag("max-snapshots", Whole, "5", NOT_FILES),
    flag("max-wals", Whole, "5", NOT_FILES),
    flag(
        "initial-election-tick-advance",
        Bool,
        "true",
        Without("a member that starts does not wait longer than it must"),
    ),
    flag("backend-bbolt-freelist-type", Text, "", NOT_BBOLT),
    flag("backend-batch-interval", Duration, "0s", NOT_BBOLT),
    flag("backend-batch-limit", Whole, "0", NOT_BBOLT),
    flag("socket-reuse-port", Bool, "false", Without("listeners are never shared")),
    flag("socket-reuse-address", Bool, "false", Without("addresses are always reused")),
    flag("raft-read-timeout", Duration, "5s", Without("streams to members are asked every 3 s")),
    flag("raft-write-timeout", Duration, "5s", Without("streams to members are asked every 3 s")),
    flag("memory-mlock", Bool, "false", Without("no file is mapped into memory")),
    flag("pre-vote", Bool, "true", Without("elections always begin with a pre-vote")),
    flag("v2-deprecation", Text, "write-only", Without("there is no v2 store")),
    flag(
        "discovery-fallback",
        Text,
        "exit",
        Not("without its cluster a member ends; there is no proxy to become"),
    ),
    flag("compaction-batch-limit", Whole, "0", OWN_PACE),
    flag("compaction-sleep-interval", Duration, "0s", OWN_PACE),
    flag(
        "bootstrap-defrag-threshold-megabytes",
        Whole,
        "0",
        Without("space that is not used comes back by itself"),
    ),
    flag("unsafe-no-fsync", Bool, "false", Without("everything acknowledged is on disk, always")),
    flag("cluster-active-size", Whole, "0", LEGACY),
    flag("cluster-remove-delay", Whole, "0", LEGACY),
    flag("cluster-sync-interval", Whole, "0", LEGACY),
    flag("config", Text, "", LEGACY),
    flag("force", Bool, "false", LEGACY),
    flag("max-result-buffer", Whole, "0", LEGACY),
    flag("max-retry-attempts", Whole, "0", LEGACY),
    flag("peer-heartbeat-interval", Whole, "0", LEGACY),
    flag("peer-election-timeout", Whole, "0", LEGACY),
    flag("retry-interval", Whole, "0", LEGACY),
    flag("snapshot", Bool, "false", LEGACY),
    flag("v", Bool, "false", LEGACY),
    flag("vv", Bool, "false", LEGACY),
    flag("test.coverprofile", Text, "", LEGACY),
    flag("test.outputdir", Text, "", LEGACY),
];

/// The one of that name.
pub(super) fn find(name: &str) -> Option<&'static Accepted> {
    ACCEPTED.iter().find(|flag| flag.name == name)
}

impl Accepted {
    /// Whether it may stand without a value.
    pub(super) fn is_boolean(&self) -> bool {
        self.kind == Bool
    }

    /// Whether it takes a duration.
    pub(super) fn is_duration(&self) -> bool {
        self.kind == Duration
    }

    /// Judges its word; the error says what was expected.
    pub(super) fn check(&self, word: &str) -> Result<(), &'static str> {
        match self.kind {
            Text => Ok(()),
            Bool => bool::read(word).map(drop),
            Whole => i64::read(word).map(drop),
            Duration => std::time::Duration::read(word).map(drop),
        }
    }

    /// What to say to somebody who gave it: a warning, or why nothing can be run.
    pub(super) fn judge(&self, word: &str) -> Result<String, String> {
        let is_default = word == self.default || (word.is_empty() && self.kind == Text);
        match self.verdict {
            Without(why) => Ok(format!("--{} changes nothing: {why}", self.name)),
            Not(_) if is_default => Ok(format!("--{} is as it always is", self.name)),
            Not(why) => Err(format!("--{} {word:?} is not served: {why}", self.name)),
        }
    }

    /// For the help text.
    pub(super) fn why(&self) -> &'static str {
        match self.verdict {
            Without(why) | Not(why) => why,
        }
    }
}
