//! The lexer of `.properties` files, to the letter of `java.util.Properties`, which keeps the place of every character.
//!
//! Two steps, as in Java: natural lines are joined to logical lines (comments, blank lines, continuations), then each logical line is
//! split into key and value and unescaped. Every character of the result knows the bytes of the file that it came from, so that a
//! diagnostic can point at a word in a continued line.

use super::conf_file::{ConfFile, Span};
use std::{iter::Peekable, str::CharIndices};

/// Unescaped, trimmed text of the file, with the place of each character.
#[derive(Clone, Debug, Default)]
pub struct Text {
    text: String,
    spans: Vec<Span>,
    /// Where it would stand if it is empty.
    origin: usize,
}

impl Text {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// All of it, as written in the file.
    #[must_use]
    pub fn span(&self) -> Span {
        match (self.spans.first(), self.spans.last()) {
            (Some(first), Some(last)) => first.to(*last),
            _ => Span { start: self.origin, end: self.origin },
        }
    }

    /// The place of a range of bytes of [`as_str`](Self::as_str).
    #[must_use]
    pub fn slice(&self, start: usize, end: usize) -> Span {
        let index_of =
            |offset: usize| self.text.get(..offset).map_or(0, |before| before.chars().count());
        let slice = self.spans.get(index_of(start)..index_of(end)).unwrap_or_default();
        match (slice.first(), slice.last()) {
            (Some(first), Some(last)) => first.to(*last),
            _ => self.span(),
        }
    }

    /// The words between blanks, each with its place.
    #[must_use]
    pub fn words(&self) -> Vec<(&str, Span)> {
        let mut words = Vec::new();
        let mut open: Option<(usize, Span)> = None;
        for ((offset, c), span) in self.text.char_indices().zip(&self.spans) {
            if !is_java_space(c) {
                open = Some(open.map_or((offset, *span), |(start, word)| (start, word.to(*span))));
            } else if let Some((start, word)) = open.take() {
                words.push((&self.text[start..offset], word));
            }
        }
        words.extend(open.map(|(start, word)| (&self.text[start..], word)));
        words
    }

    /// Offset and place of what starts with the first separator or blank. A key has one only if it was escaped, most likely by mistake.
    #[must_use]
    pub fn behind_separator(&self) -> Option<(usize, Span)> {
        let mut chars = self.text.char_indices().zip(&self.spans);
        let ((offset, _), span) =
            chars.find(|((_, c), _)| matches!(c, '=' | ':') || is_java_space(*c))?;
        Some((offset, span.to(self.span())))
    }

    fn push(&mut self, c: char, span: Span) {
        self.text.push(c);
        self.spans.push(span);
    }

    /// Trims as Java's `String.trim` does, which is how Flume treats keys and values.
    fn trim(&mut self) {
        let is_blank = |c: char| c <= ' ';
        let kept = self.text.trim_end_matches(is_blank).len();
        self.text.truncate(kept);
        // Blanks are one byte each, so bytes cut are characters cut.
        self.spans.truncate(self.text.chars().count());
        let blanks = kept - self.text.trim_start_matches(is_blank).len();
        self.text.drain(..blanks);
        self.spans.drain(..blanks);
    }
}

/// One `key = value` of the file.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Left of the separator.
    pub key: Text,
    /// Right of the separator; empty if there is none.
    pub value: Text,
}

/// What is wrong with an escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `\u` without four hexadecimal digits: Java refuses the whole file.
    MalformedEscape,
    /// Half of a surrogate pair: read as U+FFFD.
    LoneSurrogate,
}

/// The entries of a file in their order, duplicates included, and what is wrong with its escapes.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// In the order of the file.
    pub entries: Vec<Entry>,
    /// In the order of the file.
    pub faults: Vec<(Fault, Span)>,
}

/// Splits a file into its entries. Never fails: what is malformed is kept as it is written, and listed.
#[must_use]
pub fn lex(file: &ConfFile) -> Entries {
    let mut lines = LogicalLines { rest: file.text().char_indices().peekable() };
    let mut all = Entries::default();
    while let Some((line, start)) = lines.next_line() {
        let (key, value, end) = split(&line);
        let key = unescape(key, start, &mut all.faults);
        let value = unescape(value, end, &mut all.faults);
        all.entries.push(Entry { key, value });
    }
    all
}

/// What separates the names of a list: Java's `\s`.
pub(super) fn is_java_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

type Chars = Vec<(char, usize)>;
/// A part of a logical line, still escaped.
type Raw = [(char, usize)];

struct LogicalLines<'a> {
    rest: Peekable<CharIndices<'a>>,
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn is_end_of_line(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

impl LogicalLines<'_> {
    /// The next line that is neither blank nor a comment, continuations joined, and where it starts.
    ///
    /// It is empty only if the file ends in a line of nothing but a backslash, in which Java finds an entry, too.
    fn next_line(&mut self) -> Option<(Chars, usize)> {
        let mut line = Chars::new();
        let mut skips_blanks = true;
        // Only a line that continues nothing may be skipped because it is empty.
        let mut continues = false;
        let mut escaped = false;
        let mut start = 0;
        while let Some((offset, c)) = self.rest.next() {
            if skips_blanks {
                if is_blank(c) || (!continues && is_end_of_line(c)) {
                    continue;
                }
                skips_blanks = false;
                continues = false;
            }
            if line.is_empty() && matches!(c, '#' | '!') {
                self.skip_comment();
                skips_blanks = true;
            } else if !is_end_of_line(c) {
                start = if line.is_empty() { offset } else { start };
                line.push((c, offset));
                escaped = c == '\\' && !escaped;
            } else if line.is_empty() {
                skips_blanks = true;
            } else if escaped {
                line.pop();
                if self.rest.peek().is_none() {
                    return Some((line, start));
                }
                (skips_blanks, continues, escaped) = (true, true, false);
                if c == '\r' {
                    self.rest.next_if(|(_, next)| *next == '\n');
                }
            } else {
                return Some((line, start));
            }
        }
        if line.is_empty() {
            return None;
        }
        if escaped {
            line.pop();
        }
        Some((line, start))
    }

    fn skip_comment(&mut self) {
        for (_, c) in self.rest.by_ref() {
            if is_end_of_line(c) {
                break;
            }
        }
    }
}

/// Key, value and the offset where the value would stand if it is empty.
fn split(line: &Raw) -> (&Raw, &Raw, usize) {
    let mut escaped = false;
    let is_end_of_key = |(c, _): &(char, usize)| {
        let ends = !escaped && (is_blank(*c) || matches!(c, '=' | ':'));
        escaped = *c == '\\' && !escaped;
        ends
    };
    let key_end = line.iter().position(is_end_of_key).unwrap_or(line.len());
    let (key, rest) = line.split_at(key_end);
    // Blanks, at most one separator, blanks.
    let mut separated = false;
    let is_value = |(c, _): &(char, usize)| {
        let separates = !separated && matches!(c, '=' | ':');
        separated |= separates;
        !separates && !is_blank(*c)
    };
    let value_start = rest.iter().position(is_value).unwrap_or(rest.len());
    let end = line.last().map_or(0, |(c, offset)| offset + c.len_utf8());
    (key, &rest[value_start..], end)
}

fn unescape(raw: &Raw, origin: usize, faults: &mut Vec<(Fault, Span)>) -> Text {
    let mut text = Text { origin, ..Text::default() };
    let mut rest = raw;
    // The first half of a surrogate pair.
    let mut high: Option<(u32, Span)> = None;
    while let Some((unit, span, tail)) = next_unit(rest, faults) {
        rest = tail;
        if let Some((first, first_span)) = high.take() {
            if (0xdc00..0xe000).contains(&unit) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (unit - 0xdc00);
                text.push(char::from_u32(code).unwrap_or('\u{fffd}'), first_span.to(span));
                continue;
            }
            faults.push((Fault::LoneSurrogate, first_span));
            text.push('\u{fffd}', first_span);
        }
        if (0xd800..0xdc00).contains(&unit) {
            high = Some((unit, span));
            continue;
        }
        let c = char::from_u32(unit).unwrap_or_else(|| {
            faults.push((Fault::LoneSurrogate, span));
            '\u{fffd}'
        });
        text.push(c, span);
    }
    if let Some((_, span)) = high {
        faults.push((Fault::LoneSurrogate, span));
        text.push('\u{fffd}', span);
    }
    text.trim();
    text
}

/// A character or a half of a surrogate pair, where it stands, and what follows it.
type Unit<'a> = (u32, Span, &'a Raw);

/// The next character after unescaping.
fn next_unit<'a>(raw: &'a Raw, faults: &mut Vec<(Fault, Span)>) -> Option<Unit<'a>> {
    let ((c, start), tail) = raw.split_first()?;
    let here = Span { start: *start, end: start + c.len_utf8() };
    if *c != '\\' {
        return Some((u32::from(*c), here, tail));
    }
    // The last backslash of a line was taken as a continuation, so another character follows.
    let Some(((escape, at), tail)) = tail.split_first() else {
        return Some((u32::from('\\'), here, tail));
    };
    let span = here.to(Span { start: *at, end: at + escape.len_utf8() });
    let unit = match escape {
        't' => '\t',
        'n' => '\n',
        'r' => '\r',
        'f' => '\u{c}',
        'u' => return Some(unicode_escape(span, tail, faults)),
        other => *other,
    };
    Some((u32::from(unit), span, tail))
}

fn unicode_escape<'a>(span: Span, tail: &'a Raw, faults: &mut Vec<(Fault, Span)>) -> Unit<'a> {
    let digits = tail.iter().take(4).map_while(|(c, _)| c.to_digit(16));
    let (count, unit) = digits.fold((0, 0), |(count, unit), digit| (count + 1, unit * 16 + digit));
    let end = tail[..count].last().map_or(span.end, |(_, offset)| offset + 1);
    let span = Span { start: span.start, end };
    if count == 4 {
        return (unit, span, &tail[4..]);
    }
    faults.push((Fault::MalformedEscape, span));
    (u32::from('u'), span, tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexed(text: &str) -> (ConfFile, Entries) {
        let file = ConfFile::decode("x.conf", text.as_bytes());
        let entries = lex(&file);
        (file, entries)
    }

    #[test]
    fn the_place_of_a_value_is_where_it_starts_in_the_file() {
        let (file, all) = lexed("# head\na1.sinks = k1 \\\n    k2\nb : 1\n");
        assert_eq!(all.entries[0].value.as_str(), "k1 k2");
        let places: Vec<_> = all.entries[0]
            .value
            .words()
            .iter()
            .map(|(word, span)| (*word, file.position(span.start)))
            .map(|(word, position)| (word, position.line, position.column))
            .collect();
        assert_eq!(places, [("k1", 2, 12), ("k2", 3, 5)]);
        assert_eq!(file.position(all.entries[1].value.span().start).column, 5);
    }

    #[test]
    fn an_escape_is_one_character_of_several_bytes() {
        let (file, all) = lexed("k=\\u0041\\ud83d\\ude00b c");
        let value = &all.entries[0].value;
        assert_eq!(value.as_str(), "A😀b c");
        assert_eq!(file.position(value.words()[1].1.start).column, 23);
        assert_eq!(value.span(), Span { start: 2, end: 23 });
    }

    #[test]
    fn a_malformed_escape_is_listed_with_its_place_and_the_rest_is_read() {
        let (file, all) = lexed("a=x\\u12g\nb=\\ud800\nc=2");
        assert_eq!(all.faults[0].0, Fault::MalformedEscape);
        assert_eq!(file.position(all.faults[0].1.start).column, 4);
        assert_eq!(all.faults[1].0, Fault::LoneSurrogate);
        assert_eq!(all.entries[2].value.as_str(), "2");
    }

    #[test]
    fn values_are_trimmed_as_flume_trims_and_places_follow() {
        let (_, all) = lexed("k=\\u0020 a b\\t  \n");
        assert_eq!(all.entries[0].value.as_str(), "a b");
        assert_eq!(all.entries[0].value.span(), Span { start: 9, end: 12 });
    }
}
