//! Just enough of Rust's shape to count: comments and literals blanked out, braces matched.

use std::ops::Range;

/// One file, and what of it is code.
pub(crate) struct Source {
    /// Relative to the workspace, with forward slashes.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// The same with comments, strings and characters blanked: same bytes, same lines.
    pub(crate) code: String,
    /// Inline test modules, as ranges of bytes.
    pub(crate) tests: Vec<Range<usize>>,
}

/// One function.
#[derive(Debug, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Where its `fn` stands.
    pub(crate) start: usize,
    /// Lines from `fn` to the closing brace; 1 without a body.
    pub(crate) lines: usize,
    pub(crate) arguments: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        let tests = if path.ends_with(".rs") { test_modules(&code) } else { Vec::new() };
        Self { path: path.to_owned(), text: text.to_owned(), code, tests }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file is tests or benches.
    pub(crate) fn is_test_file(&self) -> bool {
        self.path.ends_with("/tests.rs")
            || ["/tests/", "/benches/"].iter().any(|part| self.path.contains(part))
    }

    /// Whether what stands at `place` is test code.
    pub(crate) fn is_test(&self, place: usize) -> bool {
        self.is_test_file() || self.tests.iter().any(|range| range.contains(&place))
    }

    /// The number of the line `place` is on, from 1.
    pub(crate) fn line_of(&self, place: usize) -> usize {
        1 + count_lines(&self.text[..place])
    }

    /// Places of a word in the code, whole words only.
    pub(crate) fn words(&self, word: &str) -> Vec<usize> {
        let is_part = |byte: Option<&u8>| {
            byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        };
        let bytes = self.code.as_bytes();
        let places = self.code.match_indices(word).map(|(place, _)| place);
        let whole = |place: &usize| {
            !is_part(place.checked_sub(1).and_then(|before| bytes.get(before)))
                && !is_part(bytes.get(place + word.len()))
        };
        places.filter(whole).collect()
    }

    /// All functions with a name.
    pub(crate) fn functions(&self) -> Vec<Function> {
        self.words("fn").into_iter().filter_map(|start| self.function(start)).collect()
    }

    fn function(&self, start: usize) -> Option<Function> {
        let rest = &self.code[start + 2..];
        let name: String = identifier(rest.trim_start()).to_owned();
        if name.is_empty() {
            return None;
        }
        let open = start + 2 + parameters(rest)?;
        let close = matching(&self.code, open)?;
        let end = body_end(&self.code, close + 1);
        Some(Function {
            name,
            start,
            lines: 1 + count_lines(&self.code[start..end]),
            arguments: arguments(&self.code[open + 1..close]),
        })
    }
}

fn count_lines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// The identifier a text begins with.
pub(crate) fn identifier(text: &str) -> &str {
    let end = text.find(|it: char| !(it.is_ascii_alphanumeric() || it == '_'));
    &text[..end.unwrap_or(text.len())]
}

/// Where the parameter list opens, behind a name and perhaps generics.
fn parameters(rest: &str) -> Option<usize> {
    let mut angles = 0;
    let mut before = ' ';
    for (place, it) in rest.char_indices() {
        match it {
            '<' => angles += 1,
            '>' if before != '-' => angles -= 1,
            '(' if angles == 0 => return Some(place),
            '{' | ';' => return None,
            _ => {}
        }
        before = it;
    }
    None
}

/// The bracket that closes the one at `open`.
pub(crate) fn matching(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0;
    for (place, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(place);
                }
            }
            _ => {}
        }
    }
    None
}

/// The end of the body that follows a parameter list, or of the declaration without one.
fn body_end(code: &str, from: usize) -> usize {
    let mut brackets = 0;
    for (place, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'[' | b'(' => brackets += 1,
            b']' | b')' => brackets -= 1,
            b';' if brackets == 0 => return place,
            b'{' => return matching(code, place).unwrap_or(place),
            _ => {}
        }
    }
    code.len()
}

/// Arguments in a parameter list, the receiver among them.
fn arguments(list: &str) -> usize {
    let (mut depth, mut commas, mut is_open) = (0, 0, false);
    let mut before = b' ';
    for byte in list.bytes() {
        match byte {
            b'(' | b'[' | b'{' | b'<' => depth += 1,
            b'>' if before == b'-' => {}
            b')' | b']' | b'}' | b'>' => depth -= 1,
            b',' if depth == 0 => {
                commas += 1;
                is_open = false;
                before = byte;
                continue;
            }
            _ => {}
        }
        is_open |= !byte.is_ascii_whitespace();
        before = byte;
    }
    commas + usize::from(is_open)
}

/// Modules behind `#[cfg(test)]` that have a body here.
fn test_modules(code: &str) -> Vec<Range<usize>> {
    let mark = "#[cfg(test)]";
    let module = |(start, _): (usize, &str)| {
        let rest = code[start + mark.len()..].trim_start();
        let is_module = rest.strip_prefix("pub ").unwrap_or(rest).starts_with("mod ");
        let open = start + code[start..].find(['{', ';'])?;
        let is_inline = is_module && code.as_bytes()[open] == b'{';
        is_inline.then(|| matching(code, open).map(|close| start..close + 1))?
    };
    code.match_indices(mark).filter_map(module).collect()
}

/// Blanks comments, strings and characters; every byte keeps its place.
pub(crate) fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut place = 0;
    while place < bytes.len() {
        let end = skip(bytes, place);
        for byte in &mut code[place..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        place = end.max(place + 1);
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// The end of the comment or literal that begins at `place`; `place` if none does.
fn skip(bytes: &[u8], place: usize) -> usize {
    let rest = &bytes[place..];
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let in_word = place > 0 && is_word(bytes[place - 1]);
    match rest {
        [b'/', b'/', ..] => {
            place + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
        }
        [b'/', b'*', ..] => place + comment(rest),
        [b'"', ..] => place + quoted(rest, b'"'),
        [b'r' | b'b' | b'c', ..] if !in_word => place + prefixed(rest),
        [b'\'', b'\\', ..] => place + quoted(rest, b'\''),
        [b'\'', first, ..] => {
            let width = match first {
                0..0x80 => 1,
                0x80..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            if rest.get(1 + width) == Some(&b'\'') { place + width + 2 } else { place }
        }
        _ => place,
    }
}

fn comment(rest: &[u8]) -> usize {
    let (mut depth, mut place) = (0, 0);
    while place < rest.len() {
        match &rest[place..] {
            [b'/', b'*', ..] => (depth, place) = (depth + 1, place + 2),
            [b'*', b'/', ..] => (depth, place) = (depth - 1, place + 2),
            _ => place += 1,
        }
        if depth == 0 {
            return place;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut place = 1;
    while place < rest.len() {
        match rest[place] {
            b'\\' => place += 2,
            byte if byte == quote => return place + 1,
            _ => place += 1,
        }
    }
    rest.len()
}

/// Raw and byte literals: `r"`, `r#"`, `b"`, `br#"`, `b'`, `c"`.
fn prefixed(rest: &[u8]) -> usize {
    let letters = rest.iter().take_while(|byte| matches!(byte, b'r' | b'b' | b'c')).count();
    let hashes = rest[letters..].iter().take_while(|byte| **byte == b'#').count();
    let is_raw = rest[..letters].contains(&b'r');
    let head = letters + hashes;
    match rest.get(head) {
        Some(b'"') if is_raw && letters <= 2 => {
            let mut close = vec![b'"'];
            close.extend(std::iter::repeat_n(b'#', hashes));
            let body = &rest[head + 1..];
            let end = body.windows(close.len()).position(|window| window == close);
            end.map_or(rest.len(), |end| head + 1 + end + close.len())
        }
        Some(quote @ (b'"' | b'\'')) if letters == 1 && hashes == 0 => {
            letters + quoted(&rest[letters..], *quote)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left() {
        for (text, code) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ */ d", "a                 d"),
            (r#"a("b\"{") c"#, r#"a(      ) c"#),
            (r###"r#"a"{"# b"###, r###"         b"###),
            ("'{' 'a b'\\'' for", "    'a       for"),
            ("b\"{\" b'{' br", "          br"),
        ] {
            assert_eq!(blank(text), code, "{text}");
        }
    }

    #[test]
    fn functions_are_measured() {
        let text = "impl A {\n  fn a<F: Fn(u8) -> u8>(&self, f: F, m: Map<u8, [u8; 2]>,) -> u8 {\n\
                    \n  {}\n  }\n}\ntrait B { fn b(); }\n type C = fn(u8);";
        let source = Source::new("x.rs", text);
        let told: Vec<_> =
            source.functions().into_iter().map(|it| (it.name, it.lines, it.arguments)).collect();
        assert_eq!(told, [("a".to_owned(), 4, 3), ("b".to_owned(), 1, 0)]);
    }

    #[test]
    fn inline_tests_are_seen() {
        let source = Source::new("x.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\n");
        let places: Vec<bool> =
            source.functions().iter().map(|it| source.is_test(it.start)).collect();
        assert_eq!(places, [false, true]);
        let apart = Source::new("x.rs", "#[cfg(test)]\nmod tests;\nfn a() { b }\n");
        assert!(apart.tests.is_empty());
    }
}
