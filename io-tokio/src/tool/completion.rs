//! Completions for shells, and pages of the manual: what follows from declarations.
//!
//! By etcd's names each tool has its own; `quorate` has one script for all of them, which are its
//! commands `ctl`, `utl` and `bench`. For fish the generator goes two commands deep: flags of
//! `quorate utl snapshot restore` are only completed where the tool is called by its own name.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::Command;
use clap_complete::{Generator as _, Shell};

use super::Failure;
use super::quote::quote;
use crate::{bench, ctl, utl};

/// A script for a shell; or pages, written to a folder.
pub(crate) fn complete(root: &Command, words: &[OsString]) -> Result<String, Failure> {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let words: Vec<&str> = words.iter().map(|word| &**word).collect();
    let shell = match words.as_slice() {
        ["man", folder] => return write_pages(root, Path::new(folder)).map(|()| String::new()),
        ["bash"] => Shell::Bash,
        ["zsh"] => Shell::Zsh,
        ["fish"] => Shell::Fish,
        ["powershell"] => Shell::PowerShell,
        [word] => {
            let name = format!("{} completion", root.get_name());
            return Err(Failure::new(format!(
                "invalid argument {} for {}",
                quote(word.as_bytes()),
                quote(name.as_bytes())
            )));
        }
        _ => return Err(Failure::new(format!("accepts 1 arg(s), received {}", words.len()))),
    };
    let mut program = program(root);
    program.set_bin_name(program.get_name().to_owned());
    program.build();
    let mut script = Vec::new();
    shell.generate(&program, &mut script);
    String::from_utf8(script).map_err(|error| Failure::new(error.to_string()))
}

fn write_pages(root: &Command, folder: &Path) -> Result<(), Failure> {
    let pages = || clap_mangen::generate_to(program(root), folder);
    let written = fs::create_dir_all(folder).and_then(|()| pages());
    written.map_err(|error| Failure { code: 6, text: format!("{}: {error}", folder.display()) })
}

/// What is called: a tool by etcd's name, or ours with both tools in it.
fn program(root: &Command) -> Command {
    if !root.get_name().starts_with("quorate") {
        return root.clone();
    }
    let tool = |command: Command, name, about: &'static str| command.name(name).about(about);
    Command::new("quorate")
        .about("An etcd server, with its tools")
        .subcommand(tool(ctl::declared("ctl"), "ctl", "Speaks with servers, as etcdctl does"))
        .subcommand(tool(utl::declared("utl"), "utl", "Works on files, as etcdutl does"))
        .subcommand(tool(bench::declared("bench"), "bench", "Puts load on servers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn every_shell_completes_all_tools() {
        for shell in ["bash", "zsh", "fish", "powershell"] {
            let ours = complete(&ctl::declared("quorate ctl"), &words(&[shell])).unwrap();
            for part in
                ["keep-alive", "min-mod-rev", "adopt", "restore", "watch-latency", "quorate"]
            {
                assert!(ours.contains(part), "{part} for {shell}");
            }
            let etcds = complete(&utl::declared("etcdutl"), &words(&[shell])).unwrap();
            assert!(etcds.contains("mark-compacted") && !etcds.contains("keep-alive"), "{shell}");
        }
        let wrong = complete(&ctl::declared("etcdctl"), &words(&["tcsh"])).unwrap_err();
        assert_eq!(wrong.text, "invalid argument \"tcsh\" for \"etcdctl completion\"");
        assert!(complete(&ctl::declared("etcdctl"), &[]).is_err());
    }

    #[test]
    fn every_command_has_a_page() {
        let folder = std::env::temp_dir().join(format!("quorate-pages-{}", std::process::id()));
        let asked = [OsString::from("man"), folder.clone().into_os_string()];
        complete(&utl::declared("quorate utl"), &asked).unwrap();
        let page = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        assert!(page("quorate-ctl-lease-keep-alive.1").contains("Keeps a lease alive"));
        assert!(page("quorate-utl-snapshot-restore.1").contains("bump\\-revision"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
