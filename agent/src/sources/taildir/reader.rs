//! One file that is followed.

use super::{
    matcher::{FileId, Look},
    position::Mark,
};
use crate::text::{Ending, Lines};
use bytes::{Bytes, BytesMut};
use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::PathBuf,
    time::{Instant, SystemTime},
};

/// A line longer than this comes in pieces, with a warning. Flume reads it whole, and the agent runs out of memory.
const LINE_BYTES_MAX: usize = 8 << 20;

/// Bodies in one transaction, so that long lines do not add up in memory.
const BATCH_BYTES_MAX: usize = 4 << 20;

const READ_BYTES: usize = 64 << 10;

/// A file that is followed, under its name or after it.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) id: FileId,
    pub(super) born_ms: u64,
    pub(super) group: usize,
    /// The name it is followed by: part of its identity.
    pub(super) path: PathBuf,
    /// Where it lies now. Differs from `path` after a rename.
    pub(super) lies_at: PathBuf,
    /// No longer under its name: followed until it is quiet, then forgotten.
    pub(super) gone: bool,
    pub(super) modified: SystemTime,
    /// Up to here all events are committed.
    pub(super) position: u64,
    /// There may be something to read.
    pub(super) pending: bool,
    /// When it grew last.
    pub(super) grown: Instant,
    /// Failures in a row.
    pub(super) failures: u32,
    /// The mark in the channel is further than the file: it has to be put back before anything else, or it would win at a restart.
    pub(super) mark_ahead: bool,
    file: Option<File>,
    lines: Lines,
    /// Up to here lines were given out.
    given: u64,
    /// Up to here bytes were read.
    read: u64,
    warned_long: bool,
}

/// Lines of one file, for one transaction.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Offsets of the starts, and bodies.
    pub(super) lines: Vec<(u64, Bytes)>,
    /// The position once these are committed.
    pub(super) end: u64,
    /// The position goes back, which has to be committed even if there are no lines.
    pub(super) back: bool,
}

/// What came of reading on.
enum Filled {
    More,
    End,
    /// The file was cut: it starts over.
    Cut,
}

impl Tail {
    pub(super) fn new(path: PathBuf, group: usize, look: &Look, position: u64) -> Self {
        Self {
            id: look.id,
            born_ms: look.born_ms,
            group,
            lies_at: path.clone(),
            path,
            gone: false,
            modified: look.modified,
            position,
            pending: position != look.len,
            grown: Instant::now(),
            failures: 0,
            mark_ahead: false,
            file: None,
            lines: Lines::new(Ending::Lf, LINE_BYTES_MAX),
            given: position,
            read: position,
            warned_long: false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    pub(super) fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    pub(super) fn mark(&self, position: u64) -> Mark {
        Mark {
            position,
            born_ms: self.born_ms,
            name: Bytes::copy_from_slice(self.name().as_bytes()),
        }
    }

    /// Notes what a look at the file showed.
    pub(super) fn looked(&mut self, look: &Look) {
        self.modified = look.modified;
        self.pending |= look.len != self.read;
    }

    /// Looks at the open descriptor: the only way to one that has no name left.
    pub(super) fn look_again(&mut self) {
        let look = match &self.file {
            Some(file) => file.metadata().ok().and_then(|metadata| Look::of(&metadata)),
            None => Look::at(&self.lies_at).ok().flatten().filter(|look| look.id == self.id),
        };
        if let Some(look) = look {
            self.looked(&look);
        }
    }

    /// The next lines, at most `events_max`; `last` takes what stands after the last line end, too. Nothing: the end was reached.
    ///
    /// # Errors
    /// The file cannot be opened or read, or it is another one by now (`NotFound`).
    pub(super) fn read(&mut self, events_max: usize, last: bool) -> io::Result<Read> {
        self.open()?;
        let mut read = Read { lines: Vec::new(), end: self.given, back: self.mark_ahead };
        let mut bytes = 0;
        while !read.back && read.lines.len() < events_max && bytes < BATCH_BYTES_MAX {
            let line = match self.lines.next() {
                Some(line) => line,
                None => match self.fill() {
                    Ok(Filled::More) => continue,
                    Ok(Filled::Cut) => {
                        read.back = true;
                        break;
                    }
                    Ok(Filled::End) => match if last { self.lines.rest() } else { None } {
                        Some(line) => line,
                        None => break,
                    },
                    // The lines come first; the error comes again.
                    Err(_) if !read.lines.is_empty() => break,
                    Err(error) => return Err(error),
                },
            };
            if line.cut && !std::mem::replace(&mut self.warned_long, true) {
                tracing::warn!(file = %self.path.display(), offset = self.given, bytes_max = LINE_BYTES_MAX, "a long line comes in pieces");
            }
            let body = if line.cut { line.body } else { without_cr(line.body) };
            bytes += body.len();
            read.lines.push((self.given, body));
            self.given += line.len as u64;
        }
        read.end = self.given;
        if read.lines.is_empty() && !read.back {
            self.at_end();
        }
        Ok(read)
    }

    fn at_end(&mut self) {
        self.pending = false;
        if self.lines.pending() == 0 {
            // A thousand quiet files need no thousand buffers.
            *self.lines.buffer() = BytesMut::new();
        }
    }

    /// Opens the file, if it is not open. From then on a rename or a removal is no loss.
    pub(super) fn open(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            let file = File::open(&self.lies_at)?;
            let look = Look::of(&file.metadata()?).filter(|look| look.id == self.id);
            let look = look.ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, "replaced by another file")
            })?;
            self.grown = Instant::now();
            self.looked(&look);
            self.file = Some(file);
        }
        Ok(())
    }

    /// Reads on. A file that is shorter than what was read of it starts over.
    fn fill(&mut self) -> io::Result<Filled> {
        let Some(file) = &self.file else { return Ok(Filled::End) };
        let buffer = self.lines.buffer();
        let old = buffer.len();
        buffer.resize(old + READ_BYTES, 0);
        let result = file.read_at(buffer.get_mut(old..).unwrap_or_default(), self.read);
        let len = *result.as_ref().unwrap_or(&0);
        buffer.truncate(old + len);
        result?;
        if len == 0 && file.metadata()?.len() < self.read {
            tracing::warn!(file = %self.path.display(), position = self.position, "file was cut: it is read from its start");
            self.rewind(0);
            return Ok(Filled::Cut);
        }
        self.read += len as u64;
        if len == 0 {
            return Ok(Filled::End);
        }
        self.grown = Instant::now();
        Ok(Filled::More)
    }

    fn rewind(&mut self, to: u64) {
        self.lines = Lines::new(Ending::Lf, LINE_BYTES_MAX);
        (self.position, self.given, self.read) = (to, to, to);
    }

    /// Gives the descriptor back. What was read and not given out is read again.
    pub(super) fn close(&mut self) {
        self.file = None;
        self.rewind(self.given);
    }
}

fn without_cr(body: Bytes) -> Bytes {
    match body.split_last() {
        Some((b'\r', rest)) => body.slice(..rest.len()),
        _ => body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, io::Write, path::Path};

    fn tail(path: &Path) -> Tail {
        Tail::new(path.to_owned(), 0, &Look::at(path).unwrap().unwrap(), 0)
    }

    fn text(read: &Read) -> Vec<(u64, &str)> {
        read.lines
            .iter()
            .map(|(offset, body)| (*offset, std::str::from_utf8(body).unwrap()))
            .collect()
    }

    fn append(path: &Path, text: &str) {
        fs::OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn test_taildir_event_reader_line_ends_and_offsets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "one\ntwo\r\nth\rree\n\npart").unwrap();
        let mut tail = tail(&path);
        assert_eq!(text(&tail.read(2, false).unwrap()), [(0, "one"), (4, "two")]);
        let rest = tail.read(9, false).unwrap();
        assert_eq!((text(&rest), rest.end), (vec![(9, "th\rree"), (16, "")], 17));
        assert!(tail.read(9, false).unwrap().lines.is_empty());
        append(&path, "ial\n");
        assert_eq!(text(&tail.read(9, false).unwrap()), [(17, "partial")]);
        append(&path, "no end");
        assert!(tail.read(9, false).unwrap().lines.is_empty());
        assert_eq!(text(&tail.read(9, true).unwrap()), [(25, "no end")]);
    }

    #[test]
    fn a_file_that_was_cut_starts_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "one\ntwo\npart").unwrap();
        let mut tail = tail(&path);
        assert_eq!(tail.read(9, false).unwrap().lines.len(), 2);
        fs::write(&path, "new\n").unwrap();
        let cut = tail.read(9, false).unwrap();
        assert_eq!(
            (cut.lines.len(), cut.end, cut.back),
            (0, 0, true),
            "committed before reading on"
        );
        let read = tail.read(9, false).unwrap();
        assert_eq!((text(&read), read.back), (vec![(0, "new")], false));
    }

    #[test]
    fn lines_that_were_read_before_a_cut_go_out_with_the_position_of_after() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "one\ntwo\n").unwrap();
        let mut tail = tail(&path);
        assert_eq!(text(&tail.read(1, false).unwrap()), [(0, "one")]);
        fs::write(&path, "").unwrap();
        let read = tail.read(9, false).unwrap();
        assert_eq!((text(&read), read.end, read.back), (vec![(4, "two")], 0, true));
    }

    #[test]
    fn a_long_line_comes_in_pieces_and_nothing_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let long = "x".repeat(LINE_BYTES_MAX + 10);
        fs::write(&path, format!("{long}\nshort\n")).unwrap();
        let mut tail = tail(&path);
        let mut lens = Vec::new();
        loop {
            let read = tail.read(9, false).unwrap();
            if read.lines.is_empty() {
                break;
            }
            lens.extend(read.lines.iter().map(|(_, body)| body.len()));
        }
        assert_eq!(lens, [LINE_BYTES_MAX, 10, 5]);
    }

    #[test]
    fn another_file_under_the_name_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "one\n").unwrap();
        let mut tail = tail(&path);
        fs::write(dir.path().join("g"), "two\n").unwrap();
        fs::rename(dir.path().join("g"), &path).unwrap();
        assert_eq!(tail.read(9, false).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
