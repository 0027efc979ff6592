//! Lines that are typed: words, and comparisons.

use quorate_proto::etcdserverpb::Compare;
use quorate_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use super::number::{parse_decimal, parse_lease};
use crate::tool::Failure;
use crate::tool::quote::{quote, unquote};

/// The words of a line: plain ones, and ones between quotes, single or double.
pub(super) fn words(line: &str) -> Result<Vec<OsString>, Failure> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => quoted_end(rest),
            '\'' => rest[1..].find('\'').map(|at| at + 2),
            c if c.is_ascii_whitespace() => None,
            _ => Some(rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len())),
        };
        let Some(end) = end else {
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let (word, after) = rest.split_at(end);
        rest = after;
        words.push(match first {
            '"' => {
                let (bytes, _) = unquote(word).ok_or_else(|| Failure::input("invalid syntax"))?;
                OsString::from_vec(bytes)
            }
            '\'' => word[1..word.len() - 1].into(),
            _ => word.into(),
        });
    }
    Ok(words)
}

/// Where a text between double quotes ends, whatever is escaped in it.
fn quoted_end(text: &str) -> Option<usize> {
    let mut is_escaped = true;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// A comparison such as `mod("key") > "5"`.
pub(super) fn parse_compare(line: &str) -> Result<Compare, Failure> {
    let malformed = |what: String| Failure::input(format!("malformed comparison: {line}{what}"));
    let (target, rest) = line.split_once('(').ok_or_else(|| malformed(String::new()))?;
    let (key, op, value) = parse_parts(rest);
    let (Some(key), Some(op), Some(value)) = (&key, op, &value) else {
        let [key, value] = [key, value].map(Option::unwrap_or_default);
        let (key, op, value) = (quote(&key), op.unwrap_or_default(), quote(&value));
        return Err(malformed(format!("; got {target}({key}) {op} {value}")));
    };
    let invalid = |_| Failure::input(format!("invalid txn compare request: {line}"));
    let number = || parse_decimal(OsStr::from_bytes(value)).map_err(invalid);
    let (target, union) = match target {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number()?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number()?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number()?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.clone().into())),
        "lease" => {
            let id = parse_lease(&String::from_utf8_lossy(value)).map_err(invalid)?;
            (CompareTarget::Lease, TargetUnion::Lease(id))
        }
        other => return Err(malformed(format!(" (unknown target {other})"))),
    };
    let result = match op {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        _ => return Err(malformed(format!(" (unknown result {op})"))),
    };
    Ok(Compare {
        result: result as i32,
        target: target as i32,
        key: key.clone().into(),
        range_end: bytes::Bytes::new(),
        target_union: Some(union),
    })
}

/// Key, operator and value of `"key") > "5"`, as far as they are there.
fn parse_parts(text: &str) -> (Option<Vec<u8>>, Option<&str>, Option<Vec<u8>>) {
    let Some((key, rest)) = unquote(text.trim_start()) else { return (None, None, None) };
    let Some(rest) = rest.strip_prefix(')').filter(|rest| rest.starts_with(char::is_whitespace))
    else {
        return (Some(key), None, None);
    };
    let rest = rest.trim_start();
    let (op, rest) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
    let op = Some(op).filter(|op| !op.is_empty());
    (Some(key), op, unquote(rest.trim_start()).map(|(value, _)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_between_spaces_or_quotes() {
        for (line, expected) in [
            ("put a b", &["put", "a", "b"][..]),
            ("  put 'a b' \"c\\td\"  ", &["put", "a b", "c\td"]),
            (r#"put a"b c"#, &["put", "a\"b", "c"]),
            (r#"put "open"#, &["put", "open"]),
            (r#"put "" ''"#, &["put", "", ""]),
            ("", &[]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
        assert_eq!(words(r#"put "\q""#).unwrap_err().code, 3);
    }

    #[test]
    fn comparisons_have_targets_operators_and_values() {
        let compare = parse_compare(r#"mod("a b") > "5""#).unwrap();
        assert_eq!((compare.result, compare.target), (1, 2));
        assert_eq!(compare.key, &b"a b"[..]);
        assert_eq!(compare.target_union, Some(TargetUnion::ModRevision(5)));
        let compare = parse_compare("val(`k`)   != \"v\" ").unwrap();
        assert_eq!(compare.target_union, Some(TargetUnion::Value("v".into())));
        let compare = parse_compare(r#"lease("k") = "ff""#).unwrap();
        assert_eq!(compare.target_union, Some(TargetUnion::Lease(255)));
        for (line, told) in [
            ("mod", "malformed comparison: mod"),
            (r#"mod("k")>"3""#, r#"malformed comparison: mod("k")>"3"; got mod("k")  """#),
            (r#"mod("k") > "x""#, r#"invalid txn compare request: mod("k") > "x""#),
            (
                r#"size("k") > "1""#,
                r#"malformed comparison: size("k") > "1" (unknown target size)"#,
            ),
        ] {
            let failure = parse_compare(line).unwrap_err();
            assert_eq!((failure.code, failure.text.as_str()), (3, told));
        }
        assert_eq!(parse_compare(r#"mod("k") ~ "1""#).unwrap_err().code, 3);
    }
}
