//! The charsets that confs name, decoded piece by piece.

/// A charset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    Utf8,
    Latin1,
    Ascii,
    Utf16Be,
    Utf16Le,
}

impl Charset {
    /// By one of the names that Java knows.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => Self::Utf8,
            "iso-8859-1" | "iso8859_1" | "latin1" => Self::Latin1,
            "us-ascii" | "ascii" => Self::Ascii,
            "utf-16be" => Self::Utf16Be,
            "utf-16le" => Self::Utf16Le,
            _ => return None,
        })
    }

    /// True if `\n`, `\r` and blanks are the bytes that they are in ASCII.
    pub(crate) fn is_ascii_compatible(self) -> bool {
        !matches!(self, Self::Utf16Be | Self::Utf16Le)
    }

    /// The bytes of `text`; `?` for what the charset does not have, as Java.
    pub(crate) fn encode(self, text: &str) -> Vec<u8> {
        let narrow = |max: u32| {
            text.chars().map(move |character| match u8::try_from(u32::from(character)) {
                Ok(byte) if u32::from(byte) <= max => byte,
                _ => b'?',
            })
        };
        match self {
            Self::Utf8 => text.as_bytes().to_vec(),
            Self::Latin1 => narrow(0xFF).collect(),
            Self::Ascii => narrow(0x7F).collect(),
            Self::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Self::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        }
    }
}

/// Decodes a stream; what is malformed becomes U+FFFD, as Java does it.
#[derive(Debug)]
pub(crate) struct Decoder {
    charset: Charset,
    /// The start of a character whose rest is still to come: at most four bytes.
    pending: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new(charset: Charset) -> Self {
        Self { charset, pending: Vec::new() }
    }

    /// Appends the characters of the next bytes.
    pub(crate) fn decode(&mut self, bytes: &[u8], out: &mut String) {
        match self.charset {
            Charset::Latin1 => out.extend(bytes.iter().copied().map(char::from)),
            Charset::Ascii => out.extend(
                bytes
                    .iter()
                    .map(|byte| if byte.is_ascii() { char::from(*byte) } else { '\u{FFFD}' }),
            ),
            Charset::Utf8 if self.pending.is_empty() => self.utf8(bytes, out),
            Charset::Utf8 => {
                let all = [std::mem::take(&mut self.pending).as_slice(), bytes].concat();
                self.utf8(&all, out);
            }
            Charset::Utf16Be => self.utf16(bytes, out, u16::from_be_bytes),
            Charset::Utf16Le => self.utf16(bytes, out, u16::from_le_bytes),
        }
    }

    fn utf8(&mut self, mut bytes: &[u8], out: &mut String) {
        loop {
            let error = match std::str::from_utf8(bytes) {
                Ok(text) => return out.push_str(text),
                Err(error) => error,
            };
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            // Valid by what was just found.
            out.push_str(std::str::from_utf8(valid).unwrap_or_default());
            let Some(len) = error.error_len() else {
                self.pending = rest.to_vec();
                return;
            };
            out.push('\u{FFFD}');
            bytes = rest.get(len..).unwrap_or_default();
        }
    }

    fn utf16(&mut self, bytes: &[u8], out: &mut String, unit: fn([u8; 2]) -> u16) {
        let all = [std::mem::take(&mut self.pending).as_slice(), bytes].concat();
        let (pairs, odd) = all.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
        // A pair of surrogates may be cut between its halves.
        let half = units.last().filter(|last| (0xD800..0xDC00).contains(*last));
        let whole = units.len() - usize::from(half.is_some());
        out.extend(
            char::decode_utf16(units.into_iter().take(whole))
                .map(|decoded| decoded.unwrap_or('\u{FFFD}')),
        );
        self.pending = pairs.get(whole..).unwrap_or_default().as_flattened().to_vec();
        self.pending.extend_from_slice(odd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Charset; 5] =
        [Charset::Utf8, Charset::Latin1, Charset::Ascii, Charset::Utf16Be, Charset::Utf16Le];

    fn decoded(charset: Charset, chunks: &[&[u8]]) -> String {
        let (mut decoder, mut out) = (Decoder::new(charset), String::new());
        for chunk in chunks {
            decoder.decode(chunk, &mut out);
        }
        out
    }

    #[test]
    fn names_of_java_are_known() {
        assert_eq!(Charset::by_name("UTF-8"), Some(Charset::Utf8));
        assert_eq!(Charset::by_name("ISO-8859-1"), Some(Charset::Latin1));
        assert_eq!(Charset::by_name("Shift_JIS"), None);
    }

    #[test]
    fn malformed_bytes_become_the_replacement_character() {
        assert_eq!(decoded(Charset::Utf8, &[b"a\xFFb\xE2\x82c"]), "a\u{FFFD}b\u{FFFD}c");
        assert_eq!(decoded(Charset::Ascii, &[b"a\xE9"]), "a\u{FFFD}");
        assert_eq!(Charset::Ascii.encode("a\u{e9}"), b"a?");
    }

    proptest! {
        #[test]
        fn any_chunks_give_the_same_text(text: String, at: prop::sample::Index) {
            for charset in ALL {
                let bytes = charset.encode(&text);
                let (left, right) = bytes.split_at(at.index(bytes.len() + 1));
                let whole = decoded(charset, &[&bytes]);
                prop_assert_eq!(&decoded(charset, &[left, right]), &whole);
                if !matches!(charset, Charset::Latin1 | Charset::Ascii) {
                    prop_assert_eq!(&whole, &text);
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, at: prop::sample::Index) {
            let (left, right) = bytes.split_at(at.index(bytes.len() + 1));
            for charset in ALL {
                prop_assert_eq!(decoded(charset, &[left, right]), decoded(charset, &[&bytes]));
            }
        }
    }
}
