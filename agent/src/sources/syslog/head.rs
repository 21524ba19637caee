//! What stands before the text of a message: RFC 5424 as Flume reads it, or RFC 3164.
//!
//! It reads what these regular expressions find (the tests compare), in one walk: a matcher that goes back took two fifths of the agent's
//! time. Digits, blanks and word characters are ASCII, as in Java; and a `\r` in the middle matches nothing, as there.
//!
//! ```text
//! <(\d{1,3})>(\d?)\s?(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?(?:[+-]\d{2}:\d{2}|Z)?|-)\s(\w[\w.@-]*|-)\s([^\n\r]*)
//! <(\d{1,3})>(\d?)\s?([A-Z][a-z][a-z]\s{1,2}\d{1,2}\s\d{2}:\d{2}:\d{2})\s(\w[\w.@-]*)\s([^\n\r]*)
//! ```

use memchr::memchr2;

/// The fields, empty where there is none or a `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) priority: &'a str,
    pub(super) version: &'a str,
    pub(super) time: Time<'a>,
    pub(super) host: &'a str,
    pub(super) body: &'a [u8],
}

/// A time as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time<'a> {
    /// Perhaps empty.
    Rfc5424(&'a str),
    Rfc3164(&'a str),
}

impl<'a> Head<'a> {
    /// `None`: it is written in neither way.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let mut scan = Scan { text, at: 0 };
        scan.one(|byte| byte == b'<')?;
        let priority = scan.span(1, 3, |byte| byte.is_ascii_digit())?;
        scan.one(|byte| byte == b'>')?;
        let unversioned = scan;
        let version = scan.span(0, 1, |byte| byte.is_ascii_digit())?;
        scan.span(0, 1, is_blank)?;
        let (version, (time, host, body)) = match rest(scan) {
            Some(rest) => (version, rest),
            // The digit belongs to the year.
            None if !version.is_empty() => ("", rest(unversioned)?),
            None => return None,
        };
        Some(Self { priority, version, time, host, body })
    }
}

/// Time, host, text.
fn rest(mut scan: Scan<'_>) -> Option<(Time<'_>, &str, &[u8])> {
    let start = scan.at;
    let dated = scan.one(|byte| byte.is_ascii_uppercase()).is_some();
    let time = if dated {
        scan.span(2, 2, |byte| byte.is_ascii_lowercase())?;
        scan.span(1, 2, is_blank)?;
        scan.span(1, 2, |byte| byte.is_ascii_digit())?;
        scan.one(is_blank)?;
        scan.like(b"00:00:00")?;
        Time::Rfc3164(scan.since(start))
    } else if scan.one(|byte| byte == b'-').is_some() {
        Time::Rfc5424("")
    } else {
        scan.like(b"0000-00-00T00:00:00")?;
        if scan.one(|byte| byte == b'.').is_some() {
            scan.span(1, 6, |byte| byte.is_ascii_digit())?;
        }
        if scan.one(|byte| byte == b'Z').is_none()
            && scan.one(|byte| matches!(byte, b'+' | b'-')).is_some()
        {
            scan.like(b"00:00")?;
        }
        Time::Rfc5424(scan.since(start))
    };
    scan.one(is_blank)?;
    let host = if !dated && scan.one(|byte| byte == b'-').is_some() {
        ""
    } else {
        let start = scan.at;
        scan.one(is_word)?;
        scan.span(0, usize::MAX, |byte| is_word(byte) || matches!(byte, b'.' | b'@' | b'-'))?;
        scan.since(start)
    };
    scan.one(is_blank)?;
    let body = scan.text.get(scan.at..)?;
    memchr2(b'\n', b'\r', body).is_none().then_some((time, host, body))
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A place in a text. No choice here has to be taken back: what may follow a run never belongs to it.
#[derive(Clone, Copy)]
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn one(&mut self, is: impl Fn(u8) -> bool) -> Option<()> {
        is(*self.text.get(self.at)?).then(|| self.at += 1)
    }

    /// As many as there are, up to `max`; `None` if they are fewer than `min`.
    fn span(&mut self, min: usize, max: usize, is: impl Fn(u8) -> bool) -> Option<&'a str> {
        let start = self.at;
        while self.at - start < max && self.one(&is).is_some() {}
        (self.at - start >= min).then(|| self.since(start))
    }

    /// What is like `pattern`: a digit for each `0`, the other bytes as they are.
    fn like(&mut self, pattern: &[u8]) -> Option<()> {
        let found = self.text.get(self.at..self.at + pattern.len())?;
        let fits = |(byte, wanted): (&u8, &u8)| {
            if *wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted }
        };
        found.iter().zip(pattern).all(fits).then(|| self.at += pattern.len())
    }

    /// Only ASCII was walked over.
    fn since(&self, start: usize) -> &'a str {
        let found = self.text.get(start..self.at).unwrap_or_default();
        std::str::from_utf8(found).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::bytes::Regex;
    use std::sync::LazyLock;

    /// Flume's, but for the classes that Java reads as ASCII.
    static RFC5424: LazyLock<Regex> = LazyLock::new(|| {
        let time =
            r"(?:(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?(?:[+-]\d{2}:\d{2}|Z)?)|-)";
        let head = r"(?-u)\A<(\d{1,3})>(?:(\d?)\s?)";
        Regex::new(&format!(r"{head}{time}\s(?:(\w[\w.@-]*)|-)\s([^\n\r]*)\z")).unwrap()
    });
    static RFC3164: LazyLock<Regex> = LazyLock::new(|| {
        let time = r"([A-Z][a-z][a-z]\s{1,2}\d{1,2}\s\d{2}:\d{2}:\d{2})";
        let head = r"(?-u)\A<(\d{1,3})>(?:(\d)?\s?)";
        Regex::new(&format!(r"{head}{time}\s(\w[\w.@-]*)\s([^\n\r]*)\z")).unwrap()
    });

    fn found(text: &[u8]) -> Option<Head<'_>> {
        let (found, is_old) = match RFC5424.captures(text) {
            Some(found) => (found, false),
            None => (RFC3164.captures(text)?, true),
        };
        let bytes = |group| found.get(group).map_or(&b""[..], |found| found.as_bytes());
        let word = |group| std::str::from_utf8(bytes(group)).unwrap();
        let time = if is_old { Time::Rfc3164(word(3)) } else { Time::Rfc5424(word(3)) };
        let (priority, version, host) = (word(1), word(2), word(4));
        Some(Head { priority, version, time, host, body: bytes(5) })
    }

    /// One of the parts, or something that is nearly one.
    fn part(good: &'static str) -> impl Strategy<Value = String> {
        prop_oneof![
            8 => proptest::string::string_regex(good).unwrap(),
            1 => "[0-9A-Za-z<>:.+@_TZ \t\r\n\u{b}-]{0,4}",
        ]
    }

    const TIME: &str = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,7})?([+-]\d{2}:\d{2}|Z)?";
    const OLD_TIME: &str = r"[A-Z][a-z][a-z][ \t\r]{1,3}\d{1,2} \d{2}:\d{2}:\d{2}";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn it_reads_what_the_regular_expressions_find(
            priority in part(r"<[0-9]{1,4}>"),
            version in part(r"[0-9]?[ \t\r\n]?"),
            time in prop_oneof![4 => part(TIME), 4 => part(OLD_TIME), 2 => part("-")],
            blanks in (part(r"\s"), part(r"\s")),
            host in part(r"[A-Za-z0-9_-][A-Za-z0-9_.@-]{0,5}|-"),
            body in prop_oneof![part(".{0,6}"), part("[a-z -]{0,9}")],
            cut in prop_oneof![9 => Just(0_usize), 1 => 0_usize..60],
        ) {
            let text = [&priority, &version, &time, &blanks.0, &host, &blanks.1, &body].map(String::as_bytes).concat();
            let text = &text[..text.len().saturating_sub(cut)];
            prop_assert_eq!(Head::parse(text), found(text));
        }

        #[test]
        fn no_bytes_are_read_otherwise(text in prop::collection::vec(prop::sample::select(&b"<1>2 -T:\rJa."[..]), 0..24)) {
            let text = [b"<1>", &text[..]].concat();
            prop_assert_eq!(Head::parse(&text), found(&text));
        }
    }
}
