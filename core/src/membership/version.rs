//! Versions as clusters have them: two numbers, and what an operator writes for them.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/version/downgrade.go`, `cluster_util.go`

use alloc::format;
use alloc::string::String;
use core::fmt;

/// A version without its patch: `3.7` of `3.7.1`, written `3.7.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MinorVersion {
    major: i64,
    minor: i64,
}

impl MinorVersion {
    /// The least version a cluster can have: what it is given while members are unknown.
    pub(crate) const LEAST: Self = Self { major: 3, minor: 0 };

    /// Reads `X.Y.Z`, with or without a pre-release and metadata.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (text, metadata) = text.split_once('+').unwrap_or((text, ""));
        let (numbers, pre_release) = text.split_once('-').unwrap_or((text, ""));
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !metadata.chars().chain(pre_release.chars()).all(is_word) {
            return None;
        }
        let mut numbers = numbers.splitn(3, '.').map(parse_number);
        let version = Self { major: numbers.next()??, minor: numbers.next()?? };
        numbers.next()?.map(|_| version)
    }

    /// Reads what an operator gives as a target: `X.Y.Z` or `X.Y`.
    pub(crate) fn parse_target(text: &str) -> Option<Self> {
        Self::parse(text).or_else(|| Self::parse(&format!("{text}.0")))
    }

    /// The version clusters of this one may go down to.
    pub(crate) fn previous(self) -> Self {
        Self { minor: self.minor - 1, ..self }
    }

    /// As answers have it: `X.Y`.
    pub(crate) fn short(self) -> String {
        format!("{}.{}", self.major, self.minor)
    }

    /// Whether a cluster of this version may get the other: any later one of its major version.
    pub(crate) fn may_rise_to(self, other: Self) -> bool {
        self.major == other.major && self < other
    }
}

impl fmt::Display for MinorVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.0", self.major, self.minor)
    }
}

fn parse_number(digits: &str) -> Option<i64> {
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_etcd_reads_them() {
        let shown = |text| MinorVersion::parse(text).map(|version| format!("{version}"));
        for (text, expected) in [
            ("3.7.1", Some("3.7.0")),
            ("3.7.0-rc.1+git", Some("3.7.0")),
            ("4.0.99", Some("4.0.0")),
            ("3.7", None),
            ("3.7.x", None),
            ("3.+7.0", None),
            ("3..0", None),
            ("", None),
            ("3.7.0-ä", None),
            ("99999999999999999999.0.0", None),
        ] {
            assert_eq!(shown(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_target_may_leave_the_patch_out() {
        let six = MinorVersion { major: 3, minor: 6 };
        for text in ["3.6", "3.6.0", "3.6.9", "3.6.0-alpha"] {
            assert_eq!(MinorVersion::parse_target(text), Some(six), "{text}");
        }
        for text in ["3", "v3.6", "3.6.0.0", "3.6-alpha", ""] {
            assert_eq!(MinorVersion::parse_target(text), None, "{text}");
        }
        assert_eq!(six.short(), "3.6");
        assert_eq!(six.previous().short(), "3.5");
    }
}
