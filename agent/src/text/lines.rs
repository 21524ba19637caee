//! Splits a stream of bytes into lines, whatever pieces it arrives in.

use bytes::{Bytes, BytesMut};

/// What ends a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// `\n` alone; a `\r` belongs to the line.
    Lf,
    /// `\n`, `\r`, or both, as for Java's readers.
    Any,
}

/// A line, or a piece of one that is longer than the bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Without its ending. A copy, so that it does not hold on to the buffer.
    pub(crate) body: Bytes,
    /// Bytes of the stream that it took, its ending included (of `\r\n` under [`Ending::Any`] only the first one).
    pub(crate) len: usize,
    /// Its ending is still to come: the bound was reached.
    pub(crate) cut: bool,
}

/// The splitter. Memory: the bound and one read.
#[derive(Debug)]
pub(crate) struct Lines {
    ending: Ending,
    bytes_max: usize,
    buffer: BytesMut,
    /// Bytes of `buffer` that hold no ending.
    searched: usize,
    /// The last line ended with `\r`: a `\n` that follows belongs to it.
    after_cr: bool,
}

impl Lines {
    /// Lines longer than `bytes_max` come out in pieces of this size.
    pub(crate) fn new(ending: Ending, bytes_max: usize) -> Self {
        Self {
            ending,
            bytes_max: bytes_max.max(1),
            buffer: BytesMut::new(),
            searched: 0,
            after_cr: false,
        }
    }

    /// Where to append what was read. All lines should have been taken out before.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next line, if it is complete or too long.
    pub(crate) fn next(&mut self) -> Option<Line> {
        self.skip_second_half();
        let rest = self.buffer.get(self.searched..)?;
        let found = rest.iter().position(|byte| self.ends(*byte)).map(|at| self.searched + at);
        match found {
            Some(end) if end <= self.bytes_max => {
                self.after_cr = self.buffer.get(end) == Some(&b'\r');
                Some(self.split(end, 1))
            }
            _ if self.buffer.len() > self.bytes_max => {
                Some(Line { cut: true, ..self.split(self.bytes_max, 0) })
            }
            _ => {
                self.searched = self.buffer.len();
                None
            }
        }
    }

    /// What stands after the last ending, at the end of the stream.
    pub(crate) fn rest(&mut self) -> Option<Line> {
        self.skip_second_half();
        (!self.buffer.is_empty()).then(|| self.split(self.buffer.len(), 0))
    }

    /// Bytes that were read and not given out as lines.
    pub(crate) fn pending(&self) -> usize {
        self.buffer.len()
    }

    fn ends(&self, byte: u8) -> bool {
        byte == b'\n' || (byte == b'\r' && self.ending == Ending::Any)
    }

    fn skip_second_half(&mut self) {
        let Some(first) = self.buffer.first() else { return };
        let skip = self.after_cr && *first == b'\n';
        self.after_cr = false;
        if skip {
            bytes::Buf::advance(&mut self.buffer, 1);
            self.searched = self.searched.saturating_sub(1);
        }
    }

    fn split(&mut self, end: usize, ending: usize) -> Line {
        let body = Bytes::copy_from_slice(self.buffer.get(..end).unwrap_or_default());
        bytes::Buf::advance(&mut self.buffer, end + ending);
        self.searched = 0;
        Line { body, len: end + ending, cut: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What comes out when `chunks` go in, and the bytes that it took.
    fn split(ending: Ending, bytes_max: usize, chunks: &[&[u8]]) -> (Vec<Vec<u8>>, usize) {
        let mut lines = Lines::new(ending, bytes_max);
        let (mut out, mut taken) = (Vec::new(), 0);
        for chunk in chunks {
            lines.buffer().extend_from_slice(chunk);
            while let Some(line) = lines.next() {
                taken += line.len;
                out.push(line.body.to_vec());
            }
        }
        if let Some(line) = lines.rest() {
            taken += line.len;
            out.push(line.body.to_vec());
        }
        (out, taken)
    }

    #[test]
    fn endings() {
        let text: &[u8] = b"a\nb\r\nc\rd\n\ne";
        assert_eq!(split(Ending::Lf, 99, &[text]).0, [&b"a"[..], b"b\r", b"c\rd", b"", b"e"]);
        assert_eq!(split(Ending::Any, 99, &[text]).0, [&b"a"[..], b"b", b"c", b"d", b"", b"e"]);
        assert_eq!(split(Ending::Any, 99, &[b"a\r", b"\nb"]).0, [b"a", b"b"]);
    }

    #[test]
    fn long_lines_come_in_pieces() {
        let alphabet: &[u8] = b"abcdefghijklmnopqrstuvwxyz\nx\n";
        assert_eq!(
            split(Ending::Lf, 10, &[alphabet]).0,
            [&b"abcdefghij"[..], b"klmnopqrst", b"uvwxyz", b"x"]
        );
        assert_eq!(split(Ending::Lf, 3, &[b"abc\nabcd\n"]).0, [&b"abc"[..], b"abc", b"d"]);
    }

    proptest! {
        #[test]
        fn any_chunks_give_the_same_lines(
            text in prop::collection::vec(prop::sample::select(&b"ab\r\n"[..]), 0..60),
            cuts in prop::collection::vec(0_usize..60, 0..6),
            bytes_max in 1_usize..12,
            any: bool,
        ) {
            let ending = if any { Ending::Any } else { Ending::Lf };
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let whole = split(ending, bytes_max, &[&text]);
            prop_assert_eq!(&split(ending, bytes_max, &chunks), &whole);
            prop_assert!(whole.0.iter().all(|line| line.len() <= bytes_max));
            if !any {
                prop_assert_eq!(whole.1, text.len(), "every byte is accounted for");
            }
        }
    }
}
