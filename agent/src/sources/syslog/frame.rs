//! From bytes to messages: Flume's state machine.
//!
//! Messages end with `\n`; there is no octet counting. What differs from Flume: a `\r` before the end is not part of the message, and what
//! is there when a connection ends is a message, too (Flume drops it).

use bytes::Bytes;
use memchr::memchr;
use std::ops::Range;

/// A message, and whether its start was a priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// All of it, without its end: a slice of what was read, unless it came in pieces.
    pub(super) text: Bytes,
    /// `None`: it does not start with `<`, one to three digits, `>`.
    pub(super) priority: Option<u16>,
    /// It was longer than allowed, or its end did not come.
    pub(super) incomplete: bool,
}

/// Splits a stream of bytes into messages, whatever pieces it arrives in. Memory: one message.
#[derive(Debug)]
pub(super) struct Framer {
    bytes_max: usize,
    state: State,
    /// What earlier pieces brought of the message that is not complete.
    carried: Vec<u8>,
    priority: u16,
    digits: u8,
    bad: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    Priority,
    Data,
}

/// Flume's least `eventSize`.
const BYTES_MIN: usize = 10;

impl Framer {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max: bytes_max.max(BYTES_MIN),
            state: State::Start,
            carried: Vec::new(),
            priority: 0,
            digits: 0,
            bad: false,
        }
    }

    /// Takes a piece in, and gives each message that it completes to `out`.
    pub(super) fn feed(&mut self, piece: &Bytes, mut out: impl FnMut(Message)) {
        // Where the message that is being read begins in this piece.
        let mut from = 0;
        let mut at = 0;
        while let Some(byte) = piece.get(at) {
            if self.state != State::Data {
                at += 1;
                if self.state == State::Start && *byte == b'\n' {
                    from = at;
                } else {
                    self.step(*byte);
                }
                continue;
            }
            let room = self.bytes_max.saturating_sub(self.carried.len() + at - from);
            let rest = piece.get(at..).unwrap_or_default();
            let rest = rest.get(..room).unwrap_or(rest);
            if let Some(end) = memchr(b'\n', rest) {
                out(self.message(piece, from..at + end, false));
                at += end + 1;
                from = at;
            } else {
                at += rest.len();
                if rest.len() == room {
                    out(self.message(piece, from..at, true));
                    from = at;
                }
            }
        }
        self.carried.extend_from_slice(piece.get(from..).unwrap_or_default());
    }

    /// One byte before the data.
    fn step(&mut self, byte: u8) {
        match (self.state, byte) {
            (State::Start, b'<') => self.state = State::Priority,
            (State::Priority, b'>') => {
                self.bad = self.digits == 0;
                self.state = State::Data;
            }
            (State::Priority, b'0'..=b'9') if self.digits < 3 => {
                self.digits += 1;
                self.priority = self.priority * 10 + u16::from(byte - b'0');
            }
            _ => {
                self.bad = true;
                self.state = State::Data;
            }
        }
    }

    /// What is left when no more bytes come. A datagram needs no end; a stream that is cut leaves an incomplete message.
    pub(super) fn finish(&mut self, incomplete: bool) -> Option<Message> {
        (!self.carried.is_empty()).then(|| self.message(&Bytes::new(), 0..0, incomplete))
    }

    /// The message that ends with this part of a piece.
    fn message(&mut self, piece: &Bytes, part: Range<usize>, incomplete: bool) -> Message {
        let mut text = if self.carried.is_empty() {
            piece.slice(part)
        } else {
            let mut text = std::mem::take(&mut self.carried);
            text.extend_from_slice(piece.get(part).unwrap_or_default());
            text.into()
        };
        if !incomplete && text.last() == Some(&b'\r') {
            text.truncate(text.len() - 1);
        }
        let priority = (!self.bad && self.digits > 0).then_some(self.priority);
        (self.state, self.priority, self.digits, self.bad) = (State::Start, 0, 0, false);
        Message { text, priority, incomplete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(bytes_max: usize, chunks: &[&[u8]]) -> Vec<Message> {
        let (mut framer, mut out) = (Framer::new(bytes_max), Vec::new());
        for chunk in chunks {
            framer.feed(&Bytes::copy_from_slice(chunk), |message| out.push(message));
        }
        out.extend(framer.finish(true));
        out
    }

    fn seen(text: &str) -> Vec<(String, Option<u16>, bool)> {
        let message = |message: Message| {
            (String::from_utf8(message.text.into()).unwrap(), message.priority, message.incomplete)
        };
        frames(2500, &[text.as_bytes()]).into_iter().map(message).collect()
    }

    #[test]
    fn test_syslog_utils_bad_events_1_to_4() {
        for bad in [
            "<10F> bad bad data",
            "hi guys! <10> bad bad data",
            "<> bad bad data",
            "<123123123123123123123123123123> bad bad data",
        ] {
            assert_eq!(seen(&format!("{bad}\n")), [(bad.to_owned(), None, false)]);
        }
    }

    #[test]
    fn test_syslog_utils_good_and_bad_in_one_buffer() {
        let (bad, good) = ("hi guys! <10F> bad bad data", "<10>Good good good data");
        for pair in [[bad, good], [good, bad], [bad, bad], [good, good]] {
            let expected = pair.map(|text| (text.to_owned(), (text == good).then_some(10), false));
            assert_eq!(seen(&format!("{}\n\n{}\r\n", pair[0], pair[1])), expected);
        }
    }

    #[test]
    fn test_syslog_utils_extract_bad_event_large() {
        // Least size 10, though 5 was asked for.
        let all = frames(5, &[b"<10> bad bad data bad bad\n"]);
        let text: Vec<_> = all
            .iter()
            .map(|message| {
                (std::str::from_utf8(&message.text).unwrap(), message.priority, message.incomplete)
            })
            .collect();
        assert_eq!(
            text,
            [("<10> bad b", Some(10), true), ("ad data ba", None, true), ("d bad", None, false)]
        );
    }

    #[test]
    fn a_message_as_long_as_allowed_is_incomplete_and_its_end_is_ignored() {
        assert_eq!(
            frames(10, &[b"<1>1234567\n<2>x\n"])
                .iter()
                .map(|message| message.incomplete)
                .collect::<Vec<_>>(),
            [true, false]
        );
    }

    #[test]
    fn what_a_cut_stream_leaves_is_a_message() {
        assert_eq!(seen("<10>cut"), [("<10>cut".to_owned(), Some(10), true)]);
        assert_eq!(seen("<"), [("<".to_owned(), None, true)]);
    }

    proptest! {
        #[test]
        fn any_chunks_give_the_same_messages(
            bytes in prop::collection::vec(prop_oneof![prop::sample::select(&b"<>0129\r\nx"[..]), any::<u8>()], 0..120),
            cuts in prop::collection::vec(0_usize..120, 0..8),
            bytes_max in 0_usize..40,
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let whole = frames(bytes_max, &[&bytes]);
            prop_assert_eq!(&frames(bytes_max, &chunks), &whole);
            // Nothing but line ends is missing.
            let kept: Vec<u8> = whole.into_iter().flat_map(|message| message.text).filter(|byte| !b"\r\n".contains(byte)).collect();
            let sent: Vec<u8> = bytes.into_iter().filter(|byte| !b"\r\n".contains(byte)).collect();
            prop_assert_eq!(kept, sent);
        }
    }
}
