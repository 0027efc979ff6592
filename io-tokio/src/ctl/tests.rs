use clap::Parser as _;

use super::*;

fn root() -> clap::Command {
    declared(QUORATE_CTL)
}

fn os(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn complaint(words: &[&str]) -> Reply {
    let root = root();
    let all = [&["ctl"], words].concat();
    let error = root.clone().try_get_matches_from(&all).unwrap_err();
    manual::of(&root).complain(&os(words), &error)
}

#[test]
fn it_is_called_by_name_or_as_a_subcommand() {
    assert_eq!(called("quorate", &os(&["--name", "ctl"])), None);
    assert_eq!(called("quorate", &os(&["ctl", "get"])), Some(os(&["quorate ctl", "get"])));
    assert_eq!(called("/usr/bin/etcdctl", &os(&["get"])), Some(os(&["etcdctl", "get"])));
}

#[test]
fn flags_stand_anywhere_and_the_last_one_counts() {
    for words in [
        &["ctl", "get", "a", "--prefix", "b", "-wjson", "--limit=5", "--limit", "7"][..],
        &["ctl", "-w=fields", "--write-out", "json", "ge", "--limit=0x7", "--prefix=T", "a", "b"],
    ] {
        let root = root();
        let matches = root.try_get_matches_from(words).unwrap();
        let words = Words::from_arg_matches(&matches).unwrap();
        assert_eq!(words.globals.write_out, "json");
        let Some(Command::Get(get)) = words.command else { panic!("it is a get") };
        let told = get.request().unwrap_err();
        assert!(told.text.starts_with("too many arguments"), "{}", told.text);
    }
    let words = tool::flags::parse::<Words>(&["ctl", "--endpoints=a,b", "--endpoints", "c", "-h"]);
    let words = words.unwrap();
    assert_eq!(words.globals.reach.endpoints, ["a", "b", "c"]);
    assert!(words.help);
}

#[test]
fn declarations_are_sound() {
    root().debug_assert();
    assert!(Words::try_parse_from(["ctl", "nope"]).is_err());
}

#[test]
fn wrong_words_are_answered_in_the_words_of_go() {
    for (words, told) in [
        (&["get", "--nope"][..], "unknown flag: --nope"),
        (&["get", "-nx"], "unknown shorthand flag: 'n' in -nx"),
        (&["get", "a", "--limit"], "flag needs an argument: --limit"),
        (&["get", "a", "-w"], "flag needs an argument: 'w' in -w"),
        (
            &["get", "--limit=x"],
            "invalid argument \"x\" for \"--limit\" flag: strconv.ParseInt: parsing \"x\": \
             invalid syntax",
        ),
        (
            &["get", "--hex=x"],
            "invalid argument \"x\" for \"--hex\" flag: strconv.ParseBool: parsing \"x\": invalid \
             syntax",
        ),
    ] {
        let Reply { out, err, code } = complaint(words);
        assert_eq!((out.as_str(), code), ("", 1));
        let first = format!("Error: {told}\nUsage:\n  quorate ctl get [options] <key>");
        assert!(err.starts_with(&first), "{err}");
    }
    let unknown = complaint(&["gett"]);
    assert_eq!(
        unknown.err,
        "Error: unknown command \"gett\" for \"quorate ctl\"\n\nDid you mean this?\n\tget\n\n\
         Run 'quorate ctl --help' for usage.\n"
    );
    let group = complaint(&["lease", "nope"]);
    assert!(group.code == 0 && group.out.contains("\n  keep-alive  Keeps a lease alive\n"));
}

#[test]
fn help_looks_as_gos_tools_have_it() {
    let root = root();
    let manual = manual::of(&root);
    let path = manual.locate(&os(&["--write-out", "json", "end", "--cluster", "hashkv", "-x"]));
    assert_eq!(
        manual.help(&path),
        "Prints the hash of what endpoints' members hold\n\n\
         Usage:\n  quorate ctl endpoint hashkv [flags]\n\n\
         Flags:\n  -h, --help      help for hashkv\n      --rev int   last revision to hash; 0 \
         for the newest\n\n\
         Global Flags:\n      --cluster   ask all members of the cluster\n\
         Use \"quorate ctl options\" for a list of global command-line options (applies to all \
         commands).\n"
    );
    let options = manual.options();
    assert!(options.contains("  -w, --write-out string"), "{options}");
    assert!(options.contains("(default [127.0.0.1:2379])"), "{options}");
    assert!(!options.contains("--help"), "{options}");
}

#[test]
fn every_command_stands_in_a_group() {
    let grouped: Vec<&str> = cli::GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
    for command in root().get_subcommands() {
        assert!(grouped.contains(&command.get_name()), "{}", command.get_name());
    }
}

#[test]
fn the_environment_gives_flags_that_the_command_line_does_not() {
    let root = root();
    let read = |words: &[&str], variables: &[(&str, &str)]| {
        let matches = root.clone().try_get_matches_from([&["ctl"], words].concat()).unwrap();
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        environment::read(&root, &matches, variables)
    };
    let given = read(
        &["get", "a"],
        &[
            ("ETCDCTL_HEX", "true"),
            ("ETCDCTL_WRITE_OUT", ""),
            ("ETCDCTL_API", "3"),
            ("ETCDCTL_COMMAND_TIMEOUT", "soon"),
            ("ETCDCTL_HELP", "true"),
            ("ETCDCTL_WATCH_KEY", "k"),
            ("OTHER", "x"),
        ],
    )
    .unwrap();
    assert_eq!(given.words, ["--hex=true"]);
    let odd: Vec<&str> = given.remarks.iter().map(|(_, variable)| variable.as_str()).collect();
    assert_eq!(
        odd,
        [
            "ETCDCTL_API=3",
            "ETCDCTL_COMMAND_TIMEOUT=soon",
            "ETCDCTL_HELP=true",
            "ETCDCTL_WATCH_KEY=k"
        ]
    );
    let watch = read(&["watch", "a"], &[("ETCDCTL_WATCH_KEY", "k")]).unwrap();
    assert_eq!(watch, environment::Given::default());
    assert_eq!(read(&["get", "a", "--hex"], &[("ETCDCTL_HEX", "1")]), Err(Failure::told()));
}
