//! Flags as Go's tools take them, declared with clap.
//!
//! The declarations are clap's, plain ones; [`as_go`] then gives all of them what pflag's have:
//! booleans take a value after `=`, values may begin with a dash, numbers may be written `0x1f`,
//! and what is wrong with a value is said in Go's words.

use std::any::TypeId;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, Parser};

use super::quote::quote;
use crate::cli::parse_duration;

/// Reads words by declarations made Go's; the first word is the tool's name.
pub(crate) fn parse<T: Parser>(words: &[impl AsRef<std::ffi::OsStr>]) -> Result<T, clap::Error> {
    let words = words.iter().map(|word| OsString::from(word.as_ref()));
    T::from_arg_matches(&as_go(T::command()).try_get_matches_from(words)?)
}

/// Says what is wrong with words, or what help was asked for.
pub(crate) fn tell_usage(error: &clap::Error) -> ExitCode {
    // Nothing can be done about an output that is closed.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// A command whose flags, and those of all commands below it, are Go's.
pub(crate) fn as_go(command: Command) -> Command {
    command.args_override_self(true).mut_args(arg_as_go).mut_subcommands(as_go)
}

fn arg_as_go(arg: Arg) -> Arg {
    let kind = arg.get_value_parser().type_id();
    match arg.get_action() {
        ArgAction::SetTrue => {
            let is_on = arg.get_default_values().iter().any(|value| value == "true");
            arg.action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value(if is_on { "true" } else { "false" })
                .value_parser(boolean)
        }
        _ if arg.is_positional() => arg,
        _ if kind == TypeId::of::<i64>() => arg.allow_hyphen_values(true).value_parser(integer),
        _ if kind == TypeId::of::<u64>() => arg.allow_hyphen_values(true).value_parser(unsigned),
        _ => arg.allow_hyphen_values(true),
    }
}

/// Whether a flag, as [`as_go`] left it, is a boolean.
pub(crate) fn is_boolean(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<bool>()
}

/// What pflag calls the kind of a flag's value; nothing for booleans.
pub(crate) fn kind(arg: &Arg) -> &'static str {
    let kind = arg.get_value_parser().type_id();
    match arg.get_action() {
        _ if kind == TypeId::of::<bool>() => "",
        _ if kind == TypeId::of::<i64>() => "int",
        _ if kind == TypeId::of::<u64>() => "uint",
        _ if kind == TypeId::of::<f64>() => "float",
        _ if kind == TypeId::of::<Duration>() => "duration",
        ArgAction::Append => "strings",
        _ => "string",
    }
}

/// A duration such as `1m30s`.
pub(crate) fn duration(word: &str) -> Result<Duration, String> {
    parse_duration(word).ok_or_else(|| {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let after = word.trim_start_matches(is_number);
        let unit = &after[..after.find(is_number).unwrap_or(after.len())];
        let quoted = quote(word.as_bytes());
        match (word.starts_with(is_number), unit) {
            (false, _) => format!("time: invalid duration {quoted}"),
            (true, "") => format!("time: missing unit in duration {quoted}"),
            (true, unit) => {
                format!("time: unknown unit {} in duration {quoted}", quote(unit.as_bytes()))
            }
        }
    })
}

fn boolean(word: &str) -> Result<bool, String> {
    match word {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(told("ParseBool", word, "invalid syntax")),
    }
}

fn integer(word: &str) -> Result<i64, String> {
    signed(word, magnitude)
}

/// A number that may have a sign before it.
pub(crate) fn signed(
    word: &str,
    magnitude: impl FnOnce(&str) -> Result<u64, &'static str>,
) -> Result<i64, String> {
    let (is_negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let number = magnitude(digits).and_then(|number| {
        let number = i128::from(number);
        i64::try_from(if is_negative { -number } else { number }).map_err(|_| OUT_OF_RANGE)
    });
    number.map_err(|why| told("ParseInt", word, why))
}

fn unsigned(word: &str) -> Result<u64, String> {
    magnitude(word).map_err(|why| told("ParseUint", word, why))
}

/// What Go says of a number too large for its kind.
const OUT_OF_RANGE: &str = "value out of range";

/// A number in the base its beginning names.
fn magnitude(digits: &str) -> Result<u64, &'static str> {
    let lower = digits.to_ascii_lowercase();
    let (radix, rest) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some(_) if lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    number(&rest.replace('_', ""), radix)
}

/// A number without a sign.
pub(crate) fn number(digits: &str, radix: u32) -> Result<u64, &'static str> {
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err("invalid syntax");
    }
    u64::from_str_radix(digits, radix).map_err(|_| OUT_OF_RANGE)
}

/// What Go's parsers say.
pub(crate) fn told(function: &str, word: &str, why: &str) -> String {
    format!("strconv.{function}: parsing {}: {why}", quote(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_in_go() {
        for (word, number) in [
            ("0", 0),
            ("-5", -5),
            ("+7", 7),
            ("0x1F", 31),
            ("010", 8),
            ("0b101", 5),
            ("0o17", 15),
            ("1_000", 1_000),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(integer(word), Ok(number), "{word}");
        }
        let told = |word| integer(word).unwrap_err();
        assert_eq!(told("5s"), "strconv.ParseInt: parsing \"5s\": invalid syntax");
        assert_eq!(told(""), "strconv.ParseInt: parsing \"\": invalid syntax");
        assert_eq!(told("--1"), "strconv.ParseInt: parsing \"--1\": invalid syntax");
        assert_eq!(
            told("9223372036854775808"),
            "strconv.ParseInt: parsing \"9223372036854775808\": value out of range"
        );
        assert!(unsigned("-1").is_err());
    }
}
