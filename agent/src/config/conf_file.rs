//! The text of a conf and where things are in it.

/// The largest conf that is read: far more than any agent needs, small enough to keep a position for each character.
pub const CONF_BYTES_MAX: usize = 1 << 20;

/// A half-open range of bytes in the decoded text of a conf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One behind the last byte.
    pub end: usize,
}

impl Span {
    /// From here to the end of `last`.
    #[must_use]
    pub fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end.max(self.start) }
    }

    /// True if they have a byte in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// A place as people count: both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line of the file.
    pub line: usize,
    /// Character of the line.
    pub column: usize,
}

/// A decoded conf: its name, its text and the starts of its lines.
#[derive(Clone, Debug)]
pub struct ConfFile {
    name: String,
    text: String,
    line_starts: Vec<usize>,
}

impl ConfFile {
    /// Reads `bytes` as UTF-8 if they are that, else as ISO-8859-1, which is how Java reads any conf.
    ///
    /// A byte order mark is dropped: Flume would make it a part of the first key.
    #[must_use]
    pub fn decode(name: impl Into<String>, bytes: &[u8]) -> Self {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
            Err(_) => bytes.iter().copied().map(char::from).collect(),
        };
        let line_starts = line_starts(&text);
        Self { name: name.into(), text, line_starts }
    }

    /// The name to be shown, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where `offset` is. An offset behind the text counts as its end.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let line = self.line_starts.partition_point(|start| *start <= offset).max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or_default();
        Position { line, column: before.chars().count() + 1 }
    }

    /// The bytes of a line (from 1) without its terminator.
    #[must_use]
    pub fn line(&self, line: usize) -> Span {
        let end_of_text = self.text.len();
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(end_of_text);
        let end = self.line_starts.get(line).copied().unwrap_or(end_of_text);
        let content = self.text.get(start..end).unwrap_or_default();
        Span { start, end: start + content.trim_end_matches(['\n', '\r']).len() }
    }
}

/// Lines end as Java's do: at `\n`, `\r` or `\r\n`.
fn line_starts(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let ends_line = |index: usize| match bytes.get(index) {
        Some(b'\n') => true,
        Some(b'\r') => bytes.get(index + 1) != Some(&b'\n'),
        _ => false,
    };
    let starts = (0..bytes.len()).filter(|index| ends_line(*index)).map(|index| index + 1);
    std::iter::once(0).chain(starts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_as_java_does_and_columns_in_characters() {
        let file = ConfFile::decode("x.conf", "a\r\nbü=c\rd\n".as_bytes());
        assert_eq!(file.position(0), Position { line: 1, column: 1 });
        let equals = file.text().find('=').unwrap();
        assert_eq!(file.position(equals), Position { line: 2, column: 3 });
        assert_eq!(file.position(file.text().find('d').unwrap()).line, 3);
        let second = file.line(2);
        assert_eq!(&file.text()[second.start..second.end], "bü=c");
        assert_eq!(file.position(usize::MAX).line, 4);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_latin1_and_a_byte_order_mark_is_dropped() {
        assert_eq!(ConfFile::decode("", b"k=\xfc").text(), "k=ü");
        assert_eq!(ConfFile::decode("", b"\xef\xbb\xbfk=v").text(), "k=v");
    }
}
