use std::time::Duration;

use super::cli::{Command, Snapshot, Words};
use super::print::render;
use super::*;

fn words(text: &str) -> Result<Words, clap::Error> {
    let words: Vec<&str> = ["etcdutl"].into_iter().chain(text.split_whitespace()).collect();
    tool::flags::parse(&words)
}

#[test]
fn it_is_called_by_name_or_as_a_subcommand() {
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert_eq!(called("quorate", &own(&["--name", "utl"])), None);
    assert_eq!(
        called("quorate", &own(&["utl", "version"])),
        Some(own(&["quorate utl", "version"]))
    );
    assert_eq!(called("/usr/bin/etcdutl", &own(&["version"])), Some(own(&["etcdutl", "version"])));
}

#[test]
fn words_are_taken_as_etcdutl_takes_them() {
    for text in [
        "snapshot restore --name=a f --data-dir d --skip-hash-check -w json",
        "snap rest f --name b --name=a --data-dir=d --skip-hash-check=true -wjson",
        "-w=json --timeout 1m snapshot restore --skip-hash-check=1 --name a --data-dir d -- f",
    ] {
        let words = words(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(words.write_out, "json");
        let Command::Snapshot { command: Snapshot::Restore(flags) } = words.command else {
            panic!("{text}");
        };
        assert_eq!((flags.name.as_str(), flags.data_dir.as_str()), ("a", "d"));
        assert!(flags.skip_hash_check && !flags.mark_compacted);
        assert_eq!(flags.initial_cluster, "default=http://localhost:2380");
    }
    assert_eq!(words("version --timeout=1m30s").unwrap().timeout, Duration::from_secs(90));
    for text in ["", "defrag", "hashkv", "migrate --data-dir d", "hashkv --nope f", "nope"] {
        assert!(words(text).is_err(), "{text}");
    }
}

#[derive(serde::Serialize)]
struct Two {
    a: u32,
    b: &'static str,
}

impl print::Report for Two {
    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![("a", self.a.to_string()), ("long name", self.b.to_owned())]
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![("A", self.a.to_string())]
    }
}

#[test]
fn reports_look_as_etcdutl_prints_them() {
    let print = |format| render(&Two { a: 12_345, b: "x" }, Format::parse(format)?);
    assert_eq!(print("simple").unwrap(), "12345, x\n");
    assert_eq!(print("fields").unwrap(), "\"A\" : 12345\n");
    assert_eq!(print("json").unwrap(), "{\"a\":12345,\"b\":\"x\"}\n");
    assert_eq!(
        print("table").unwrap(),
        "┌───────┬───────────┐\n\
         │   A   │ LONG NAME │\n\
         ├───────┼───────────┤\n\
         │ 12345 │         x │\n\
         └───────┴───────────┘\n"
    );
    assert_eq!(print("protobuf").unwrap_err().code, 4);
    assert_eq!(print("yaml").unwrap_err().code, 4);
}

#[test]
fn contradicting_flags_have_a_code_of_their_own() {
    for text in ["snapshot restore f --bump-revision 5", "snapshot restore f --mark-compacted"] {
        let failure = run(words(text).unwrap(), Called::Etcd).unwrap_err();
        assert_eq!(failure.code, 128);
    }
}
