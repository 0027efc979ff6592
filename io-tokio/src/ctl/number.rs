//! Numbers among a command's words.

use std::ffi::OsStr;

use crate::tool::Failure;
use crate::tool::flags::{number, signed, told};

/// A whole number.
pub(super) fn parse_decimal(word: &OsStr) -> Result<i64, String> {
    signed(&word.to_string_lossy(), |digits| number(digits, 10))
}

/// A lease's id, as it is written: in hexadecimal.
pub(super) fn parse_lease(word: &str) -> Result<i64, String> {
    signed(word, |digits| number(digits, 16))
}

/// The lease a command is for.
pub(super) fn lease_of(word: &OsStr) -> Result<i64, Failure> {
    parse_lease(&word.to_string_lossy())
        .map_err(|error| Failure::words(format!("bad lease ID arg ({error}), expecting ID in Hex")))
}

/// The id of a member, in hexadecimal.
pub(super) fn parse_member(word: &OsStr) -> Result<u64, String> {
    let word = word.to_string_lossy();
    number(&word, 16).map_err(|why| told("ParseUint", &word, why))
}
