//! The syntax of `java.util.Properties`: comments, continued lines, escapes, `=`, `:` or blanks between key and value.

/// One assignment and the line, counted from 1, on which it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: String,
}

/// A `\u` that four hexadecimal digits do not follow, the one thing that Java refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MalformedEscape {
    pub(super) line: usize,
}

const BLANKS: [char; 3] = [' ', '\t', '\x0c'];

pub(super) fn parse(text: &str) -> Result<Vec<Property>, MalformedEscape> {
    let mut lines = natural_lines(text).zip(1..);
    let mut properties = Vec::new();
    while let Some((first, line)) = lines.next() {
        let first = first.trim_start_matches(BLANKS);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while is_continued(&logical) {
            logical.pop();
            let Some((next, _)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(BLANKS));
        }
        if logical.is_empty() {
            continue;
        }
        let (key, value) = split(&logical);
        let unescape = |text| unescape(text).ok_or(MalformedEscape { line });
        properties.push(Property { line, key: unescape(key)?, value: unescape(value)? });
    }
    Ok(properties)
}

/// Lines as they end in Java: `\n`, `\r` or both.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// An odd number of backslashes at the end: the last one is not itself escaped.
fn is_continued(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// Key and value, still escaped: parted by blanks, by one `=` or `:`, or by that between blanks.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let is_end = |c: char| {
        let ends = !escaped && (c == '=' || c == ':' || BLANKS.contains(&c));
        escaped = c == '\\' && !escaped;
        ends
    };
    let (key, rest) = line.split_at(line.find(is_end).unwrap_or(line.len()));
    let rest = rest.trim_start_matches(BLANKS);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, value.trim_start_matches(BLANKS))
}

/// `None` at a malformed `\u`. Collected as UTF-16, for a pair of escaped surrogates is one character.
fn unescape(text: &str) -> Option<String> {
    let mut units = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let plain = match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', None) => break,
            ('\\', Some('u')) => {
                units.push(hex_unit(&mut chars)?);
                continue;
            }
            ('\\', Some('t')) => '\t',
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('f')) => '\x0c',
            ('\\', Some(other)) => other,
            (plain, _) => plain,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    Some(String::from_utf16_lossy(&units))
}

fn hex_unit(chars: &mut std::str::Chars<'_>) -> Option<u16> {
    (0..4).try_fold(0, |unit, _| Some(unit << 4 | u16::try_from(chars.next()?.to_digit(16)?).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().into_iter().map(|property| (property.key, property.value)).collect()
    }

    fn pair(text: &str) -> (String, String) {
        let pairs = pairs(text);
        assert_eq!(pairs.len(), 1, "{text:?}: {pairs:?}");
        pairs.into_iter().next().unwrap()
    }

    fn is(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn key_and_value_are_parted_by_equals_colon_or_blanks() {
        for text in ["a=b", "a:b", "a b", "a = b", "a\t:\x0cb", "  a  b"] {
            assert_eq!(pair(text), is("a", "b"), "{text:?}");
        }
        assert_eq!(pair("listeners=PLAINTEXT://:9092"), is("listeners", "PLAINTEXT://:9092"));
        assert_eq!(pair("a==b"), is("a", "=b"));
        assert_eq!(pair("a"), is("a", ""));
        assert_eq!(pair("=b"), is("", "b"));
        assert_eq!(pair("a=b "), is("a", "b "));
    }

    #[test]
    fn comments_and_empty_lines_say_nothing() {
        assert_eq!(pairs("# a=b\n  ! c=d\n\n \t\n"), vec![]);
        assert_eq!(pair("# not continued \\\na=b # part of the value"), is("a", "b # part of the value"));
    }

    #[test]
    fn a_backslash_at_the_end_continues_the_line_without_the_next_ones_indent() {
        assert_eq!(pair("a=b,\\\n    c"), is("a", "b,c"));
        assert_eq!(pair("a=b,\\\r\n\t# c"), is("a", "b,# c"));
        assert_eq!(pair("a=b\\"), is("a", "b"));
        assert_eq!(pairs("a=b\\\\\nc=d"), vec![is("a", "b\\"), is("c", "d")]);
    }

    #[test]
    fn every_line_end_of_java_ends_a_line() {
        assert_eq!(pairs("a=1\rb=2\r\nc=3\nd=4"), vec![is("a", "1"), is("b", "2"), is("c", "3"), is("d", "4")]);
    }

    #[test]
    fn escapes_are_undone_in_keys_and_values() {
        assert_eq!(pair(r"a\ b\=c\:=d"), is("a b=c:", "d"));
        assert_eq!(pair(r"path=C\:\\data\ttab\q"), is("path", "C:\\data\ttabq"));
        assert_eq!(pair(r"\u006bey=\u00FC\uD83D\uDE00"), is("key", "ü😀"));
    }

    #[test]
    fn a_malformed_unicode_escape_is_refused_with_its_line() {
        for text in [r"a=\u12", r"a=\u12g4", r"\uu=1"] {
            assert_eq!(parse(&format!("ok=1\n{text}")), Err(MalformedEscape { line: 2 }), "{text}");
        }
    }

    #[test]
    fn a_property_knows_the_line_it_begins_on() {
        let lines: Vec<usize> = parse("# c\na=\\\n 1\n\nb=2").unwrap().iter().map(|property| property.line).collect();
        assert_eq!(lines, [2, 5]);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in r"[ab=: \t\x0c\\\r\n#!uü0-9]{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_escaped_comes_back(key in "[a-z.= :\\\\#é]{1,20}", value in "[a-z.= :\\\\\t\né]{0,20}") {
            let escape = |text: &str| -> String {
                text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
            };
            prop_assert_eq!(pair(&format!("{}={}", escape(&key), escape(&value))), (key, value));
        }
    }
}
