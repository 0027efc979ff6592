//! Text between quotes, as Go writes and reads it.

use std::fmt::Write as _;

/// Bytes as Go's `%q` shows them: what cannot be printed is escaped, what is no UTF-8 as bytes.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut quoted = String::with_capacity(bytes.len() + 2);
    quoted.push('"');
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push(c, &mut quoted));
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted.push('"');
    quoted
}

fn push(c: char, quoted: &mut String) {
    let short = match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{b}' => "\\v",
        _ => {
            let code = u32::from(c);
            let _ = match code {
                _ if is_printable(c) => write!(quoted, "{c}"),
                0..0x20 | 0x7f => write!(quoted, "\\x{code:02x}"),
                0..0x1_0000 => write!(quoted, "\\u{code:04x}"),
                _ => write!(quoted, "\\U{code:08x}"),
            };
            return;
        }
    };
    quoted.push_str(short);
}

/// Whether a character shows. Rust escapes those that do not, and marks that change the letter
/// before them only where there is none.
fn is_printable(c: char) -> bool {
    !c.is_control() && (c == '\'' || format!("a{c}").escape_debug().nth(1) == Some(c))
}

/// What stands between the quotes a text begins with, double ones or back quotes, and what comes
/// after; nothing if no such text begins there.
pub(crate) fn unquote(text: &str) -> Option<(Vec<u8>, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        let (raw, rest) = raw.split_once('`')?;
        return Some((raw.as_bytes().to_vec(), rest));
    }
    let mut chars = text.strip_prefix('"')?.chars();
    let mut bytes = Vec::new();
    loop {
        match chars.next()? {
            '"' => return Some((bytes, chars.as_str())),
            '\n' => return None,
            '\\' => unescape(&mut chars, &mut bytes)?,
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// What a backslash stands for.
fn unescape(chars: &mut std::str::Chars<'_>, bytes: &mut Vec<u8>) -> Option<()> {
    let byte = match chars.next()? {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        '"' => b'"',
        'x' => u8::try_from(code(chars, "", 2, 16)?).ok()?,
        digit @ '0'..='7' => {
            u8::try_from(code(chars, digit.encode_utf8(&mut [0; 4]), 2, 8)?).ok()?
        }
        'u' => return push_char(code(chars, "", 4, 16)?, bytes),
        'U' => return push_char(code(chars, "", 8, 16)?, bytes),
        _ => return None,
    };
    bytes.push(byte);
    Some(())
}

fn push_char(code: u32, bytes: &mut Vec<u8>) -> Option<()> {
    bytes.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

/// A number of so many more digits.
fn code(chars: &mut std::str::Chars<'_>, first: &str, more: usize, radix: u32) -> Option<u32> {
    let mut digits = first.to_owned();
    digits.extend(chars.by_ref().take(more));
    let is_whole = digits.len() == first.len() + more && digits.chars().all(|c| c.is_digit(radix));
    u32::from_str_radix(&digits, radix).ok().filter(|_| is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_gos() {
        for (bytes, quoted) in [
            (&b""[..], r#""""#),
            (b"it's a \"b\" \\", r#""it's a \"b\" \\""#),
            (b"\0\x01\x7f\n\t\x07", r#""\x00\x01\x7f\n\t\a""#),
            (b"\xff\xfea", r#""\xff\xfea""#),
            ("ä日\u{301}".as_bytes(), "\"ä日\u{301}\""),
            ("\u{a0}\u{200b}\u{85}".as_bytes(), r#""\u00a0\u200b\u0085""#),
            ("\u{e0001}😀".as_bytes(), "\"\\U000e0001😀\""),
        ] {
            assert_eq!(quote(bytes), quoted);
            assert_eq!(unquote(quoted), Some((bytes.to_vec(), "")), "{quoted}");
        }
    }

    #[test]
    fn quotes_end_where_they_end() {
        assert_eq!(unquote("\"a\") = 1"), Some((b"a".to_vec(), ") = 1")));
        assert_eq!(unquote("`a\\n` b"), Some((b"a\\n".to_vec(), " b")));
        assert_eq!(unquote(r#""\101\x42\u0043""#), Some((b"ABC".to_vec(), "")));
        for text in ["", "a", "\"a", "`a", r#""\q""#, r#""\x4""#, r#""\'""#] {
            assert_eq!(unquote(text), None, "{text}");
        }
    }
}
