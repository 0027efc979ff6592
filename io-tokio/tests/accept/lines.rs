//! Command lines in a table, and what of their output is the same on every run.

use std::collections::BTreeMap;

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// As it is written.
    pub(crate) text: String,
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) typed: Vec<u8>,
    /// Whether only commands and flags are compared.
    pub(crate) is_help: bool,
}

/// Reads a table, leaving comments away.
pub(crate) fn parse(table: &str) -> Vec<Line> {
    let lines = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(parse_line).collect()
}

fn parse_line(text: &str) -> Line {
    let (is_help, rest) = match text.strip_prefix("? ") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mut rest, typed) = match rest.split_once(" <<") {
        Some((rest, typed)) => (rest, typed.strip_prefix(' ').unwrap_or(typed)),
        None => (rest, ""),
    };
    let mut env = Vec::new();
    while let Some((variable, after)) = rest.strip_prefix("env ").and_then(|it| it.split_once(' '))
    {
        let (name, value) = variable.split_once('=').expect("a variable has a value");
        env.push((name.to_owned(), value.to_owned()));
        rest = after;
    }
    let typed = typed.replace("\\n", "\n").into_bytes();
    Line { text: text.to_owned(), words: parse_words(rest), env, typed, is_help }
}

/// Words between spaces; parts between double quotes have escapes.
fn parse_words(text: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = text.bytes();
    let mut is_quoted = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            b'\\' if is_quoted => {
                let escaped = match bytes.next().expect("something is escaped") {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'x' => {
                        let digits = [bytes.next(), bytes.next()].map(|it| it.expect("two digits"));
                        let digits = std::str::from_utf8(&digits).expect("digits");
                        u8::from_str_radix(digits, 16).expect("hexadecimal digits")
                    }
                    other => other,
                };
                word.get_or_insert_default().push(escaped);
            }
            b' ' if !is_quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

/// What is compared of a run: output, last complaint, exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) out: String,
    pub(crate) complaint: String,
    pub(crate) code: Option<i32>,
}

/// Names of things that differ between runs, by what they are written as.
pub(crate) type Names = BTreeMap<String, &'static str>;

impl Line {
    /// What is compared of an output of this line.
    pub(crate) fn shown(&self, output: &std::process::Output, names: &Names) -> Shown {
        let is_protobuf = self.text.contains("-w protobuf");
        let out = match (self.is_help, is_protobuf) {
            (true, _) => skeleton(&String::from_utf8_lossy(&output.stdout)),
            (_, true) => self.fields(&output.stdout),
            _ => self.masked(&output.stdout, names),
        };
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_log = |line: &&str| line.is_empty() || line.starts_with("{\"level\":");
        let mut told = complaint.lines().filter(|line| !is_log(line));
        // Usage follows some errors.
        let error = told.clone().find(|line| line.starts_with("Error: "));
        let complaint = error.or_else(|| told.next_back()).unwrap_or_default();
        let complaint = self.masked(complaint.as_bytes(), names);
        Shown { out, complaint, code: output.status.code() }
    }

    fn masked(&self, bytes: &[u8], names: &Names) -> String {
        let mut text: String = bytes
            .utf8_chunks()
            .flat_map(|chunk| {
                let invalid = chunk.invalid().iter().map(|byte| format!("<{byte:02x}>"));
                [chunk.valid().to_owned()].into_iter().chain(invalid)
            })
            .collect();
        for (name, meaning) in names {
            text = text.replace(name, meaning);
        }
        let text = mask_ids(&text);
        // Prototext has one space between fields or two, as it likes; short ids are padded.
        let text = ["alarm:", "MEMBER", "CLUSTER"].iter().fold(text, |text, name| {
            text.replace(&format!("   {name}"), &format!(" {name}"))
                .replace(&format!("  {name}"), &format!(" {name}"))
        });
        let of_state = ["endpoint", "defrag", "lease timetolive"];
        let is_of_state = of_state.iter().any(|command| self.text.starts_with(command));
        // Ids are as wide as they are.
        if is_of_state || text.contains('│') {
            return mask_numbers(&text);
        }
        mask_terms(&text)
    }

    /// Fields of a message: which there are, and what is in those that have no ids.
    fn fields(&self, bytes: &[u8]) -> String {
        let has_ids = ["lease", "member", "alarm", "endpoint", "downgrade", "watch"];
        let has_ids = has_ids.iter().any(|command| self.text.starts_with(command));
        let (mut rest, mut shown) = (bytes, String::new());
        while !rest.is_empty() {
            use prost::encoding::{decode_key, decode_varint};
            let Ok((number, kind)) = decode_key(&mut rest) else { return format!("{bytes:?}") };
            let value = decode_varint(&mut rest).unwrap_or_default();
            shown += &format!("{number} {kind:?}");
            if kind == prost::encoding::WireType::LengthDelimited {
                let length = usize::try_from(value).unwrap_or(usize::MAX).min(rest.len());
                let (block, after) = rest.split_at(length);
                rest = after;
                if !has_ids && number != 1 {
                    shown += &format!(" {block:?}");
                }
            } else if !has_ids {
                shown += &format!(" {value}");
            }
            shown.push('\n');
        }
        shown
    }
}

/// Every long number and every id in hexadecimal becomes the same.
fn mask_ids(text: &str) -> String {
    let (mut masked, mut run) = (String::new(), String::new());
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_alphanumeric() {
            run.push(c);
            continue;
        }
        let is_number = run.len() >= 15 && run.chars().all(|c| c.is_ascii_digit());
        let is_id = (13..=16).contains(&run.len())
            && run.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase());
        masked += if is_number || is_id { "ID" } else { &run };
        run.clear();
        masked.push(c);
    }
    masked.pop();
    masked
}

/// Every number becomes the same, with its unit, and so does every width.
fn mask_numbers(text: &str) -> String {
    let (mut masked, mut last) = (String::new(), ' ');
    for c in text.chars() {
        let c = match c {
            c if c.is_ascii_digit() || (c == '.' && last == '0') => '0',
            c => c,
        };
        let is_width = matches!(c, '0' | ' ' | '─');
        if !is_width || c != last {
            masked.push(c);
        }
        last = c;
    }
    for unit in ["0m0s", "0ms", "0\u{b5}s", "0s", "0 kB", "0 MB", "0 B"] {
        masked = masked.replace(unit, "0");
    }
    masked
}

/// Terms of the cluster's leaders become the same.
fn mask_terms(text: &str) -> String {
    let mut masked = text.to_owned();
    for name in ["\"raft_term\":", "\"RaftTerm\" : "] {
        let mut parts = masked.split(name);
        let mut joined = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            joined += name;
            joined += part.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        masked = joined;
    }
    masked
}

/// Commands and flags of a help text, without what is said about them.
fn skeleton(help: &str) -> String {
    let mut shown = String::new();
    let lines = help.lines().skip_while(|line| *line != "Usage:");
    for line in lines.filter(|line| line.starts_with(' ') || line.ends_with(':')) {
        let line = line.trim();
        let end = if line.starts_with('-') { line.find("  ") } else { line.find(' ') };
        shown += &line[..end.unwrap_or(line.len())];
        shown.push('\n');
    }
    shown
}
