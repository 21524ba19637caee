//! What stood before a position: the only thing that tells a file that goes on from one that was cut, or replaced, and has grown beyond
//! that position again.

use super::matcher::FileId;
use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

/// A line or a good part of one, with its time: enough to be found nowhere else.
pub(super) const BYTES_MAX: usize = 64;

/// The checksum of the bytes before a position, as a mark keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print {
    /// How many bytes it is about.
    pub(super) len: u8,
    pub(super) crc: u32,
}

impl Print {
    fn is_of(self, bytes: &[u8]) -> bool {
        let from = bytes.len().checked_sub(usize::from(self.len));
        from.and_then(|from| bytes.get(from..))
            .is_some_and(|tail| crc32fast::hash(tail) == self.crc)
    }
}

/// The last bytes before a position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    bytes: [u8; BYTES_MAX],
    len: usize,
}

impl Last {
    /// Before the first byte of a file there is nothing.
    pub(super) const START: Self = Self { bytes: [0; BYTES_MAX], len: 0 };

    /// What stands before `position`; less than that at the end of a shorter file.
    pub(super) fn read(file: &File, position: u64) -> io::Result<Self> {
        let mut last = Self::START;
        let len = usize::try_from(position).unwrap_or(BYTES_MAX).min(BYTES_MAX);
        let from = position - len as u64;
        while last.len < len {
            match file.read_at(&mut last.bytes[last.len..len], from + last.len as u64)? {
                0 => break,
                read => last.len += read,
            }
        }
        Ok(last)
    }

    /// Takes the bytes that come next.
    pub(super) fn push(&mut self, next: &[u8]) {
        let next = &next[next.len().saturating_sub(BYTES_MAX)..];
        let keep = self.len.min(BYTES_MAX - next.len());
        self.bytes.copy_within(self.len - keep..self.len, 0);
        self.len = keep + next.len();
        self.bytes[keep..self.len].copy_from_slice(next);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn print(&self) -> Print {
        // At most 64.
        Print { len: u8::try_from(self.len).unwrap_or(u8::MAX), crc: crc32fast::hash(self.bytes()) }
    }
}

/// What is known of the bytes before the position of a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Before {
    /// Nothing: the position is not from us.
    Unknown,
    /// What a mark says.
    Printed(Print),
    /// They were read.
    Read(Last),
}

impl Before {
    /// Of the start of a file.
    pub(super) const START: Self = Self::Read(Last::START);

    /// What a mark says, if it does.
    pub(super) fn of_mark(print: Option<Print>) -> Self {
        print.map_or(Self::Unknown, Self::Printed)
    }

    /// Looks at the bytes before `position` in the file under `path`, which closes again; `None` if they are others than these.
    ///
    /// # Errors
    /// The file cannot be read, or it is another one by now (`NotFound`).
    pub(super) fn look(self, path: &Path, id: FileId, position: u64) -> io::Result<Option<Self>> {
        if position == 0 {
            return Ok(Some(Self::START));
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if (FileId { device: metadata.dev(), inode: metadata.ino() }) != id {
            return Err(io::Error::new(io::ErrorKind::NotFound, "replaced by another file"));
        }
        self.check(&file, position)
    }

    /// As [`look`](Self::look), in an open file.
    pub(super) fn check(self, file: &File, position: u64) -> io::Result<Option<Self>> {
        let now = Last::read(file, position)?;
        let len = usize::try_from(position).unwrap_or(BYTES_MAX).min(BYTES_MAX);
        let is_same = now.len == len
            && match self {
                Self::Unknown => true,
                Self::Printed(print) => print.is_of(now.bytes()),
                Self::Read(last) => now.bytes().ends_with(last.bytes()),
            };
        Ok(is_same.then_some(Self::Read(now)))
    }

    pub(super) fn print(&self) -> Option<Print> {
        match self {
            Self::Unknown => None,
            Self::Printed(print) => Some(*print),
            Self::Read(last) => Some(last.print()),
        }
    }

    /// The bytes that are expected before what is read next, after `pending` ones.
    pub(super) fn expected(&self, pending: &[u8]) -> Last {
        let mut last = if let Self::Read(last) = self { *last } else { Last::START };
        last.push(pending);
        last
    }

    /// Takes the bytes that were given out.
    pub(super) fn push(&mut self, next: &[u8]) {
        if let Self::Read(last) = self {
            last.push(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_the_last_of_all_that_came() {
        let all: Vec<u8> = (0..200).collect();
        for pieces in [1, 3, 63, 64, 65, 200] {
            let mut last = Last::START;
            for piece in all.chunks(pieces) {
                last.push(piece);
            }
            assert_eq!(last.bytes(), &all[136..], "{pieces}");
        }
        let mut short = Last::START;
        short.push(b"ab");
        short.push(b"c");
        assert_eq!(short.bytes(), b"abc");
    }

    #[test]
    fn a_print_is_about_the_bytes_before_the_position_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let text = "0123456789".repeat(10);
        std::fs::write(&path, &text).unwrap();
        let file = File::open(&path).unwrap();
        for position in [0, 1, 10, 64, 65, 100] {
            let read = Before::Unknown.check(&file, position).unwrap().unwrap();
            let printed = Before::of_mark(read.print());
            for before in [read, printed] {
                assert!(before.check(&file, position).unwrap().is_some(), "{position}");
                let other = before.check(&file, position + 1).unwrap();
                assert_eq!(other.is_some(), position == 0, "{position}");
            }
        }
        assert!(Before::Unknown.check(&file, 101).unwrap().is_none(), "the file is shorter");
    }
}
