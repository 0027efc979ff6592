//! The versions this server reports: etcd's, whose interface it speaks, and its own.

use quorate_core::view::Facts;

/// The etcd version whose behaviour clients may expect.
pub const ETCD: &str = "3.7.1";
/// Our own version.
pub const QUORATE: &str = env!("CARGO_PKG_VERSION");
/// The commit this was built from, if the build said so.
pub const GIT_SHA: &str = match option_env!("QUORATE_GIT_SHA") {
    Some(sha) => sha,
    None => "not provided",
};
/// Where etcd names its Go compiler.
pub const LANGUAGE: &str = "none (Rust)";

/// The version of the stored data's layout, in etcd's numbering: that of the cluster, which a
/// member's rows follow. None needs another layout from 3.6 on.
pub fn storage(facts: &Facts) -> &str {
    &facts.cluster_version
}

/// The system's name, as etcd spells it.
pub const fn system() -> &'static str {
    std::env::consts::OS
}

/// The processor's name, as etcd spells it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// What `--version` prints.
pub fn banner() -> String {
    format!(
        "etcd Version: {ETCD}\nGit SHA: {GIT_SHA}\nGo Version: {LANGUAGE}\n\
         Go OS/Arch: {}/{}\nQuorate Version: {QUORATE}\n",
        system(),
        architecture()
    )
}

/// `X.Y` of a version `X.Y.Z`, or all of it if it has no two dots.
pub fn minor(version: &str) -> &str {
    let end = version.match_indices('.').nth(1).map_or(version.len(), |(at, _)| at);
    &version[..end]
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_banner_starts_with_etcds_four_lines() {
        let banner = super::banner();
        let names: Vec<&str> = banner.lines().filter_map(|l| Some(l.split_once(':')?.0)).collect();
        assert_eq!(
            names,
            ["etcd Version", "Git SHA", "Go Version", "Go OS/Arch", "Quorate Version"]
        );
        assert!(banner.starts_with("etcd Version: 3.7.1\n"));
    }

    #[test]
    fn a_minor_version_is_two_numbers() {
        assert_eq!(super::minor("3.7.1"), "3.7");
        assert_eq!(super::minor("3.7"), "3.7");
        assert_eq!(super::minor(""), "");
    }
}
