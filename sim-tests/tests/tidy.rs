//! The habits of the whole workspace, checked: lengths, names, imports between rooms of `core`,
//! words that do not belong here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/scan.rs"]
mod scan;

use rules::Finding;
use scan::Source;

/// What is allowed nevertheless: rule, file, subject, and the reason. The list only shrinks: an
/// exception that is not needed any more fails the test.
const EXCEPTIONS: &[(&str, &str, &str, &str)] = &[
    ("arguments", "io-tokio/src/tls/judge.rs", "verify_server_cert", "a trait of rustls's"),
    ("arguments", PLATTER, "setattr", "a trait of fuser's"),
    ("arguments", PLATTER, "mkdir", "a trait of fuser's"),
    ("arguments", PLATTER, "create", "a trait of fuser's"),
    ("arguments", PLATTER, "rename", "a trait of fuser's"),
    ("arguments", PLATTER, "read", "a trait of fuser's"),
    ("arguments", PLATTER, "write", "a trait of fuser's"),
    ("arguments", PLATTER, "fsync", "a trait of fuser's"),
    ("arguments", PLATTER, "fsyncdir", "a trait of fuser's"),
    ("arguments", PLATTER, "readdir", "a trait of fuser's"),
    ("arguments", PLATTER, "fallocate", "a trait of fuser's"),
];

/// A file system for tests.
const PLATTER: &str = "io-tokio/tests/platter/serve.rs";

const KINDS: [&str; 8] = ["rs", "proto", "toml", "md", "sh", "yml", "yaml", "txt"];

/// The workspace's folder.
fn root() -> PathBuf {
    let member = std::env::var_os("CARGO_MANIFEST_DIR").expect("tests are run by cargo");
    Path::new(&member).parent().expect("a member of a workspace").to_owned()
}

/// Every file of the workspace that people write, by path.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).expect("the workspace can be read");
        for entry in entries.map(|entry| entry.expect("the workspace can be read")) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = path.extension().map(|kind| kind.to_string_lossy().into_owned());
            if path.is_dir() {
                if !name.starts_with("target") && name != ".git" {
                    folders.push(path);
                }
            } else if kind.is_some_and(|kind| KINDS.contains(&kind.as_str())) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn findings(root: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in files(root) {
        let text = std::fs::read_to_string(&path).expect("people write text");
        let relative = path.strip_prefix(root).expect("found below the root");
        findings.extend(rules::check(&Source::new(&relative.to_string_lossy(), &text)));
    }
    findings
}

fn is_excepted(finding: &Finding) -> bool {
    EXCEPTIONS.iter().any(|(rule, path, subject, _)| {
        *rule == finding.rule && *path == finding.path && *subject == finding.subject
    })
}

#[test]
fn the_workspace_is_tidy() {
    let findings = findings(&root());
    let open: Vec<String> = findings
        .iter()
        .filter(|finding| !is_excepted(finding))
        .map(|it| format!("{}: {} [{} {}]", it.path, it.why, it.rule, it.subject))
        .collect();
    assert!(open.is_empty(), "{} findings:\n{}", open.len(), open.join("\n"));

    let needed: BTreeSet<(&str, &str, &str)> =
        findings.iter().map(|it| (it.rule, it.path.as_str(), it.subject.as_str())).collect();
    for (rule, path, subject, reason) in EXCEPTIONS {
        let is_needed = needed.contains(&(*rule, *path, *subject));
        assert!(is_needed, "not needed any more: {rule} {path} {subject} ({reason})");
    }
}

#[test]
fn the_whole_workspace_is_looked_at() {
    let root = root();
    let files = files(&root);
    for file in ["core/src/lib.rs", "core/Cargo.toml", "proto/proto/kv.proto"] {
        assert!(files.contains(&root.join(file)), "{file}");
    }
}
