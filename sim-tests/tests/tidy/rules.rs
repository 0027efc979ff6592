//! The rules, each a function from a file to what is wrong with it.

use super::scan::{Source, identifier};

/// Something to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The rule's name.
    pub(crate) rule: &'static str,
    /// The file.
    pub(crate) path: String,
    /// What in it: a function's name, a line's number, a word.
    pub(crate) subject: String,
    /// Why.
    pub(crate) why: String,
}

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 600;
const TEST_LINES_MAX: usize = 150;
const LINE_COLUMNS_MAX: usize = 100;
const ARGUMENTS_MAX: usize = 5;

/// Written in two halves, so that this file does not find itself.
const MARKERS: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
];

const NAME_PARTS: [&str; 6] = ["manager", "helper", "util", "common", "handler", "processor"];

/// Paths of one machine, and hosts nobody needs to know to use a package.
const FORBIDDEN: [&str; 8] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("//cra", "tes."),
    concat!("//static.cra", "tes."),
    concat!("//py", "pi."),
    concat!("//registry.np", "mjs."),
];

/// What `core` may depend on.
const CORE_DEPENDENCIES: [&str; 10] = [
    "base64",
    "bytes",
    "crc",
    "prost",
    "quorate-proto",
    "raft",
    "serde",
    "serde_json",
    "slog",
    "xxhash-rust",
];

const VOCABULARY: [&str; 16] = [
    "config", "draw", "error", "event", "ids", "input", "limits", "machine", "output", "peer",
    "pinch", "planted", "probe", "stage", "storage", "time",
];

/// Rooms of `core` that know words, rows at rest and themselves, and nothing else.
const LEDGERS: [&str; 6] = ["alarm", "auth", "lease", "membership", "mvcc", "watch"];

/// All that is wrong with a file.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut rules: Vec<fn(&Source) -> Vec<Finding>> = vec![lines, words, file_name];
    if source.is_rust() {
        rules.extend([functions as fn(&Source) -> Vec<Finding>, length, unwraps, type_names]);
    }
    if source.is_rust() && source.path.starts_with("core/src/") {
        rules.extend([no_std as fn(&Source) -> Vec<Finding>, rooms]);
    }
    if source.path == "core/Cargo.toml" {
        rules.push(dependencies);
    }
    rules.iter().flat_map(|rule| rule(source)).collect()
}

fn finding(rule: &'static str, source: &Source, subject: impl ToString, why: String) -> Finding {
    Finding { rule, path: source.path.clone(), subject: subject.to_string(), why }
}

fn lines(source: &Source) -> Vec<Finding> {
    if !source.is_rust() && !source.path.ends_with(".proto") {
        return Vec::new();
    }
    let wide = source.text.lines().enumerate().filter_map(|(number, line)| {
        let columns = line.chars().count();
        (columns > LINE_COLUMNS_MAX)
            .then(|| finding("columns", source, number + 1, format!("{columns} columns")))
    });
    wide.collect()
}

fn words(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let found = |list: &[&'static str]| list.iter().find(|word| line.contains(**word)).copied();
        if let Some(word) = found(&MARKERS).filter(|_| source.is_rust()) {
            findings.push(finding("marker", source, number + 1, format!("left over: {word}")));
        }
        if let Some(word) = found(&FORBIDDEN) {
            findings.push(finding("word", source, number + 1, format!("names {word}")));
        }
    }
    findings
}

fn functions(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for function in source.functions() {
        if function.lines > FUNCTION_LINES_MAX {
            let why = format!("{} lines", function.lines);
            findings.push(finding("function", source, &function.name, why));
        }
        if function.arguments > ARGUMENTS_MAX {
            let why = format!("{} arguments", function.arguments);
            findings.push(finding("arguments", source, &function.name, why));
        }
    }
    findings
}

fn length(source: &Source) -> Vec<Finding> {
    let lines = |range: std::ops::Range<usize>| source.text[range].lines().count();
    let tests: Vec<usize> = source.tests.iter().cloned().map(lines).collect();
    let mut findings = Vec::new();
    for count in &tests {
        if *count > TEST_LINES_MAX {
            findings.push(finding("tests", source, "tests", format!("{count} lines of tests")));
        }
    }
    let count = source.text.lines().count() - tests.iter().sum::<usize>();
    if count > FILE_LINES_MAX && !source.is_test_file() {
        findings.push(finding("file", source, "file", format!("{count} lines without tests")));
    }
    findings
}

fn unwraps(source: &Source) -> Vec<Finding> {
    let places = source.code.match_indices(".unwrap()").map(|(place, _)| place);
    let outside = places.filter(|place| !source.is_test(*place));
    let lines = outside.map(|place| source.line_of(place));
    lines.map(|line| finding("unwrap", source, line, "unwrap outside tests".to_owned())).collect()
}

fn banned(name: &str) -> Option<&'static str> {
    let mut spread = String::new();
    for it in name.chars() {
        if it.is_ascii_uppercase() {
            spread.push('_');
        }
        spread.push(it.to_ascii_lowercase());
    }
    let parts: Vec<&str> = spread.split(|it: char| !it.is_ascii_alphanumeric()).collect();
    let is_named = |word: &&str| {
        parts.iter().any(|part| part == word || part.strip_suffix('s') == Some(*word))
    };
    NAME_PARTS.iter().copied().find(|word| is_named(word))
}

fn file_name(source: &Source) -> Vec<Finding> {
    let found = banned(&source.path);
    found
        .map(|word| finding("name", source, word, "a file's name".to_owned()))
        .into_iter()
        .collect()
}

fn type_names(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for keyword in ["struct", "enum", "trait", "type", "mod"] {
        for place in source.words(keyword) {
            let name = identifier(source.code[place + keyword.len()..].trim_start());
            if banned(name).is_some() {
                findings.push(finding("name", source, name, format!("the name of a {keyword}")));
            }
        }
    }
    findings
}

fn no_std(source: &Source) -> Vec<Finding> {
    let places = source
        .words("std")
        .into_iter()
        .filter(|place| !source.is_test(*place) && source.code[place + 3..].starts_with("::"));
    let lines = places.map(|place| source.line_of(place));
    lines.map(|line| finding("std", source, line, "core knows no std".to_owned())).collect()
}

fn dependencies(source: &Source) -> Vec<Finding> {
    let section = source.text.split_once("[dependencies]").map_or("", |(_, rest)| rest);
    let section = section.split_once("\n[").map_or(section, |(section, _)| section);
    let names = section.lines().filter_map(|line| line.split_once(['.', ' ', '=']));
    let names = names.map(|(name, _)| name).filter(|name| !name.is_empty() && *name != "#");
    names
        .filter(|name| !CORE_DEPENDENCIES.contains(name))
        .map(|name| finding("dependency", source, name, "not on core's list".to_owned()))
        .collect()
}

/// The room of `core` a file belongs to.
fn room_of(path: &str) -> &str {
    let inside = path.strip_prefix("core/src/").unwrap_or(path);
    let first = inside.split('/').next().unwrap_or(inside);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn rooms(source: &Source) -> Vec<Finding> {
    let room = room_of(&source.path);
    let may = |other: &str| {
        other == room
            || VOCABULARY.contains(&other)
            || LEDGERS.contains(&room) && other == "schema"
            || other.starts_with(|it: char| it.is_ascii_uppercase())
    };
    if room != "raft" && room != "schema" && !LEDGERS.contains(&room) {
        return Vec::new();
    }
    imports(source)
        .into_iter()
        .filter(|(place, other)| !source.is_test(*place) && !may(other))
        .map(|(place, other)| {
            let line = source.line_of(place);
            finding("room", source, &other, format!("{room} imports {other} on line {line}"))
        })
        .collect()
}

/// First segments behind `crate::`, and behind `super::super::`, each with its place.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for root in ["crate::", "super::super::"] {
        for (place, _) in source.code.match_indices(root) {
            let start = place + root.len();
            let rest = &source.code[start..];
            let segments = if rest.starts_with('{') { group(rest) } else { vec![identifier(rest)] };
            let named = segments.into_iter().filter(|it| !it.is_empty() && *it != "super");
            found.extend(named.map(|segment| (place, segment.to_owned())));
        }
    }
    found
}

/// The first segments of `{a::b, c::{d, e}}`.
fn group(text: &str) -> Vec<&str> {
    let (mut depth, mut segments) = (0, Vec::new());
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(byte, b'{' | b',') {
            segments.push(identifier(text[place + 1..].trim_start()));
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let findings = check(&Source::new(path, text));
        findings.iter().map(|it| format!("{}:{}: {}", it.rule, it.subject, it.why)).collect()
    }

    #[test]
    fn lengths_are_found() {
        let fits = format!("fn a() {{{}}}\n", "\n".repeat(69));
        assert_eq!(found("x.rs", &fits), Vec::<String>::new());
        let long = format!("fn a() {{{}}}\n", "\n".repeat(70));
        assert_eq!(found("x.rs", &long), ["function:a: 71 lines"]);
        assert_eq!(found("x.rs", &"\n".repeat(601)), ["file:file: 601 lines without tests"]);
        assert_eq!(found("a/tests.rs", &"\n".repeat(601)), Vec::<String>::new());
        let tests = format!("#[cfg(test)]\nmod tests {{{}}}\n", "\n".repeat(599));
        assert_eq!(found("x.rs", &tests), ["tests:tests: 601 lines of tests"]);
        assert_eq!(
            found("x.rs", "fn a(a: A, b: B, c: C, d: D, e: E, f: F) {}"),
            ["arguments:a: 6 arguments"]
        );
    }

    #[test]
    fn words_and_wide_lines_are_found() {
        let wide = format!("// {}", "ä".repeat(98));
        assert_eq!(found("x.rs", &wide), ["columns:1: 101 columns"]);
        assert_eq!(found("x.proto", &wide), ["columns:1: 101 columns"]);
        assert_eq!(found("x.md", &wide), Vec::<String>::new());
        for marker in MARKERS {
            assert_eq!(
                found("x.rs", &format!("\n// {marker}")),
                [format!("marker:2: left over: {marker}")]
            );
        }
        for word in FORBIDDEN {
            assert_eq!(
                found("x.md", &format!("see http:{word}a")),
                [format!("word:1: names {word}")]
            );
        }
    }

    #[test]
    fn unwraps_and_names_are_found() {
        assert_eq!(found("x.rs", "fn a() {\n b.unwrap()\n}"), ["unwrap:2: unwrap outside tests"]);
        let test = "#[cfg(test)]\nmod tests {\n fn a() { b.unwrap() }\n}";
        assert_eq!(found("x.rs", test), Vec::<String>::new());
        assert_eq!(found("x.rs", "// b.unwrap()"), Vec::<String>::new());
        assert_eq!(found("io/file_utils.rs", ""), ["name:util: a file's name"]);
        assert_eq!(found("x.rs", "struct LogManager;"), ["name:LogManager: the name of a struct"]);
        assert_eq!(found("x.rs", "struct Utility;"), Vec::<String>::new());
    }

    #[test]
    fn rooms_keep_to_themselves() {
        let lease = |text| found("core/src/lease/book.rs", text);
        assert_eq!(lease("use crate::ids::A;\nuse crate::schema::b;"), Vec::<String>::new());
        assert_eq!(lease("\nuse crate::mvcc::A;"), ["room:mvcc: lease imports mvcc on line 2"]);
        assert_eq!(
            lease("use crate::{ids::{A, B}, auth::C};"),
            ["room:auth: lease imports auth on line 1"]
        );
        assert_eq!(
            lease("super::super::watch::a()"),
            ["room:watch: lease imports watch on line 1"]
        );
        assert_eq!(
            found("core/src/raft/mod.rs", "crate::schema::a()"),
            ["room:schema: raft imports schema on line 1"]
        );
        assert_eq!(found("core/src/apply/mod.rs", "use crate::mvcc::A;"), Vec::<String>::new());
        assert_eq!(lease("use std::io;"), ["std:1: core knows no std"]);
    }

    #[test]
    fn core_depends_on_nothing_new() {
        let text = "[package]\nname = \"x\"\n\n[dependencies]\n# Why.\nbytes.workspace = true\n\
                    tokio = \"1\"\n\n[lints]\nworkspace = true\n";
        assert_eq!(found("core/Cargo.toml", text), ["dependency:tokio: not on core's list"]);
    }
}
