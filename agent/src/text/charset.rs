//! The charsets that confs name, decoded piece by piece.

use encoding_rs::{CoderResult, EncoderResult, Encoding};

/// What a conf is told that names another one.
pub(crate) const CHARSET_HELP: &str = "UTF-8, ISO-8859-1 to -16, US-ASCII, windows-1250 to -1258, KOI8-R, KOI8-U, IBM866, \
     Shift_JIS, windows-31j, EUC-JP, ISO-2022-JP, GBK, GB2312, GB18030, Big5, EUC-KR and their aliases in Java are known";

/// A charset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    Utf8,
    Latin1,
    Ascii,
    Utf16Be,
    Utf16Le,
    /// One of many: none of those above, and with line ends as in ASCII.
    Other(&'static Encoding),
}

/// Java's names, in lower case. The labels that browsers use are no help: there `latin1` is windows-1252.
const OTHERS: &[(&Encoding, &[&str])] = &[
    (encoding_rs::WINDOWS_1250, &["windows-1250", "cp1250", "cp5346"]),
    (encoding_rs::WINDOWS_1251, &["windows-1251", "cp1251", "cp5347"]),
    (encoding_rs::WINDOWS_1252, &["windows-1252", "cp1252", "cp5348"]),
    (encoding_rs::WINDOWS_1253, &["windows-1253", "cp1253", "cp5349"]),
    (
        encoding_rs::WINDOWS_1254,
        &["windows-1254", "cp1254", "cp5350", "iso-8859-9", "iso8859_9", "latin5"],
    ),
    (encoding_rs::WINDOWS_1255, &["windows-1255", "cp1255"]),
    (encoding_rs::WINDOWS_1256, &["windows-1256", "cp1256"]),
    (encoding_rs::WINDOWS_1257, &["windows-1257", "cp1257", "cp5353"]),
    (encoding_rs::WINDOWS_1258, &["windows-1258", "cp1258"]),
    (
        encoding_rs::WINDOWS_874,
        &["x-windows-874", "windows-874", "ms874", "tis-620", "x-iso-8859-11"],
    ),
    (encoding_rs::ISO_8859_2, &["iso-8859-2", "iso8859_2", "latin2"]),
    (encoding_rs::ISO_8859_3, &["iso-8859-3", "iso8859_3", "latin3"]),
    (encoding_rs::ISO_8859_4, &["iso-8859-4", "iso8859_4", "latin4"]),
    (encoding_rs::ISO_8859_5, &["iso-8859-5", "iso8859_5", "cyrillic"]),
    (encoding_rs::ISO_8859_6, &["iso-8859-6", "iso8859_6", "arabic"]),
    (encoding_rs::ISO_8859_7, &["iso-8859-7", "iso8859_7", "greek"]),
    (encoding_rs::ISO_8859_8, &["iso-8859-8", "iso8859_8", "hebrew"]),
    (encoding_rs::ISO_8859_10, &["iso-8859-10"]),
    (encoding_rs::ISO_8859_13, &["iso-8859-13", "iso8859_13"]),
    (encoding_rs::ISO_8859_14, &["iso-8859-14"]),
    (encoding_rs::ISO_8859_15, &["iso-8859-15", "iso8859_15", "latin9"]),
    (encoding_rs::ISO_8859_16, &["iso-8859-16", "iso8859_16"]),
    (encoding_rs::KOI8_R, &["koi8-r", "koi8_r", "koi8"]),
    (encoding_rs::KOI8_U, &["koi8-u", "koi8_u"]),
    (encoding_rs::IBM866, &["ibm866", "cp866"]),
    (encoding_rs::MACINTOSH, &["x-macroman", "macroman"]),
    (encoding_rs::SHIFT_JIS, &["shift_jis", "shift-jis", "sjis", "x-sjis", "windows-31j", "ms932"]),
    (encoding_rs::EUC_JP, &["euc-jp", "euc_jp", "eucjp"]),
    (encoding_rs::ISO_2022_JP, &["iso-2022-jp", "iso2022jp"]),
    (encoding_rs::GBK, &["gbk", "cp936", "windows-936", "gb2312", "euc_cn", "euc-cn"]),
    (encoding_rs::GB18030, &["gb18030", "gb18030-2000", "gb18030-2022"]),
    (encoding_rs::BIG5, &["big5", "big5-hkscs", "big5_hkscs"]),
    (encoding_rs::EUC_KR, &["euc-kr", "euc_kr", "ks_c_5601-1987", "x-windows-949", "ms949"]),
];

impl Charset {
    /// By one of the names that Java knows.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => Self::Utf8,
            "iso-8859-1" | "iso8859_1" | "latin1" => Self::Latin1,
            "us-ascii" | "ascii" => Self::Ascii,
            "utf-16be" => Self::Utf16Be,
            "utf-16le" => Self::Utf16Le,
            name => {
                let (encoding, _) = OTHERS.iter().find(|(_, names)| names.contains(&name))?;
                Self::Other(encoding)
            }
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
            Self::Other(encoding) => encode_other(encoding, text),
        }
    }
}

fn encode_other(encoding: &'static Encoding, mut text: &str) -> Vec<u8> {
    let mut encoder = encoding.new_encoder();
    let mut out = Vec::new();
    loop {
        let room = encoder.max_buffer_length_from_utf8_without_replacement(text.len());
        out.reserve(room.unwrap_or_default());
        let (result, read) =
            encoder.encode_from_utf8_to_vec_without_replacement(text, &mut out, true);
        text = text.get(read..).unwrap_or_default();
        match result {
            EncoderResult::InputEmpty => return out,
            EncoderResult::OutputFull => {}
            EncoderResult::Unmappable(_) => out.push(b'?'),
        }
    }
}

/// Decodes a stream; what is malformed becomes U+FFFD, as Java does it.
pub(crate) struct Decoder {
    charset: Charset,
    /// For [`Charset::Other`]: it keeps its pending bytes itself.
    other: Option<encoding_rs::Decoder>,
    /// The start of a character whose rest is still to come: at most four bytes.
    pending: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new(charset: Charset) -> Self {
        let other = match charset {
            Charset::Other(encoding) => Some(encoding.new_decoder_without_bom_handling()),
            _ => None,
        };
        Self { charset, other, pending: Vec::new() }
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
            Charset::Other(_) => self.other(bytes, out),
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

    fn other(&mut self, mut bytes: &[u8], out: &mut String) {
        let Some(decoder) = &mut self.other else { return };
        loop {
            out.reserve(decoder.max_utf8_buffer_length(bytes.len()).unwrap_or_default());
            let (result, read, _) = decoder.decode_to_string(bytes, out, false);
            bytes = bytes.get(read..).unwrap_or_default();
            if result == CoderResult::InputEmpty {
                return;
            }
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

    fn all() -> impl Iterator<Item = Charset> {
        let own =
            [Charset::Utf8, Charset::Latin1, Charset::Ascii, Charset::Utf16Be, Charset::Utf16Le];
        own.into_iter().chain(OTHERS.iter().map(|(encoding, _)| Charset::Other(encoding)))
    }

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
        assert_eq!(Charset::by_name("IBM037"), None);
        let names: Vec<_> = OTHERS.iter().flat_map(|(_, names)| *names).collect();
        for (index, name) in names.iter().enumerate() {
            assert!(Charset::by_name(name).is_some(), "{name}");
            assert!(!names[..index].contains(name), "{name} stands twice");
        }
    }

    #[test]
    fn text_in_many_charsets() {
        for (name, bytes, text) in [
            ("windows-1252", &b"\x80 caf\xE9"[..], "\u{20ac} caf\u{e9}"),
            ("Cp1251", b"\xCF\xF0\xE8", "\u{41f}\u{440}\u{438}"),
            ("KOI8-R", b"\xF0\xD2\xC9", "\u{41f}\u{440}\u{438}"),
            ("ISO-8859-15", b"\xA4", "\u{20ac}"),
            ("Shift_JIS", b"\x93\xFA\x96{", "\u{65e5}\u{672c}"),
            ("EUC-JP", b"\xC6\xFC\xCB\xDC", "\u{65e5}\u{672c}"),
            ("ISO-2022-JP", b"\x1B$BF|K\\\x1B(B", "\u{65e5}\u{672c}"),
            ("GBK", b"\xD6\xD0\xCE\xC4", "\u{4e2d}\u{6587}"),
            ("GB18030", b"\x810\x810", "\u{80}"),
            ("Big5", b"\xA4\xA4\xA4\xE5", "\u{4e2d}\u{6587}"),
            ("EUC-KR", b"\xC7\xD1", "\u{d55c}"),
        ] {
            let charset = Charset::by_name(name).unwrap();
            let one_by_one: Vec<_> = bytes.chunks(1).collect();
            assert_eq!(decoded(charset, &one_by_one), text, "{name}");
            assert_eq!(charset.encode(text), bytes, "{name}");
            assert_eq!(
                charset.encode("OK\n\u{1F600}"),
                if name == "GB18030" { &b"OK\n\x949\xFC6"[..] } else { b"OK\n?" }
            );
        }
    }

    #[test]
    fn line_ends_are_never_a_part_of_a_character() {
        // Whatever byte may lead: a line end behind it is one, or bytes could not be split into lines.
        for charset in all().filter(|charset| charset.is_ascii_compatible()) {
            for lead in 0..=u8::MAX {
                for end in *b"\r\n" {
                    let text = decoded(charset, &[&[lead, end], b"x\n"]);
                    assert!(text.contains(char::from(end)), "{charset:?} {lead:x}");
                }
            }
        }
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
            for charset in all() {
                let bytes = charset.encode(&text);
                let (left, right) = bytes.split_at(at.index(bytes.len() + 1));
                let whole = decoded(charset, &[&bytes]);
                prop_assert_eq!(&decoded(charset, &[left, right]), &whole);
                if matches!(charset, Charset::Utf8 | Charset::Utf16Be | Charset::Utf16Le) {
                    prop_assert_eq!(&whole, &text);
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, at: prop::sample::Index) {
            let (left, right) = bytes.split_at(at.index(bytes.len() + 1));
            for charset in all() {
                prop_assert_eq!(decoded(charset, &[left, right]), decoded(charset, &[&bytes]));
            }
        }
    }
}
