//! One file that is followed.

use super::{
    matcher::{FileId, Look},
    position::Mark,
    print::{BYTES_MAX, Before},
};
use crate::text::{Ending, Lines};
use bytes::{Bytes, BytesMut};
use rustix::io::Errno;
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, IoSliceMut},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

/// A line longer than this comes in pieces, with a warning. Flume reads it whole, and the agent runs out of memory.
const LINE_BYTES_MAX: usize = 8 << 20;

/// Bodies in one transaction, so that long lines do not add up in memory.
const BATCH_BYTES_MAX: usize = 4 << 20;

const READ_BYTES: usize = 64 << 10;

/// What is said of a file that does not go on where it was read to.
pub(super) const CUT: &str = "what stood before the position is no longer there: the file was cut or replaced, and is read from its start";

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
    /// When the first of them was.
    failing_since: Instant,
    /// The mark in the channel is further than the file: it has to be put back before anything else, or it would win at a restart.
    pub(super) mark_ahead: bool,
    file: Option<File>,
    /// What stood before `given` when it was read.
    before: Before,
    /// The length at the last look.
    len: u64,
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
    pub(super) fn new(
        path: PathBuf,
        group: usize,
        look: &Look,
        (position, before): (u64, Before),
    ) -> Self {
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
            failing_since: Instant::now(),
            mark_ahead: false,
            file: None,
            before,
            len: look.len,
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
            print: self.before.print(),
            unread: self.unread(position),
        }
    }

    /// Bytes behind `position`, by the last look at the file.
    pub(super) fn unread(&self, position: u64) -> u64 {
        self.len.saturating_sub(position)
    }

    /// It could not be read.
    pub(super) fn failed(&mut self) {
        if self.failures == 0 {
            self.failing_since = Instant::now();
        }
        self.pending = false;
        self.failures += 1;
    }

    /// Why it cannot be opened, if it has lost its name and could not be for so long. That the process has no descriptor left passes.
    pub(super) fn is_given_up(&mut self, after: Duration) -> Option<io::Error> {
        let is_due = self.gone
            && self.failures > 0
            && !self.is_open()
            && self.failing_since.elapsed() >= after;
        let error = if is_due { self.open().err()? } else { return None };
        let passes = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
        (!passes(Errno::MFILE) && !passes(Errno::NFILE)).then_some(error)
    }

    /// Notes what a look at the file showed.
    pub(super) fn looked(&mut self, look: &Look) {
        // As long as before and written since: it may have been cut between.
        self.pending |= look.len != self.read || look.modified != self.modified;
        self.modified = look.modified;
        self.len = look.len;
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
            self.before.push(&line.body);
            if line.len > line.body.len() {
                self.before.push(b"\n");
            }
            let body = if line.cut { line.body } else { without_cr(line.body) };
            bytes += body.len();
            read.lines.push((self.given, body));
            self.given += line.len as u64;
        }
        read.end = self.given;
        if let Some(file) = self.file.as_ref().filter(|_| !read.lines.is_empty()) {
            self.len = file.metadata()?.len();
        }
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
            let before = self.before.check(&file, self.given)?;
            self.grown = Instant::now();
            self.looked(&look);
            self.file = Some(file);
            match before {
                Some(before) => self.before = before,
                None => {
                    self.start_over();
                    self.mark_ahead = true;
                    self.pending = true;
                }
            }
        }
        Ok(())
    }

    /// Reads on, and sees whether what was read before still stands there: a file that was cut starts over.
    fn fill(&mut self) -> io::Result<Filled> {
        let Some(file) = &self.file else { return Ok(Filled::End) };
        let buffer = self.lines.buffer();
        let expected = self.before.expected(buffer);
        let expected = expected.bytes();
        let mut seen = [0; BYTES_MAX];
        let seen = &mut seen[..expected.len()];
        let old = buffer.len();
        buffer.resize(old + READ_BYTES, 0);
        // One call for both, so that nothing is cut between.
        let mut slices =
            [IoSliceMut::new(seen), IoSliceMut::new(buffer.get_mut(old..).unwrap_or_default())];
        let result = rustix::io::preadv(file, &mut slices, self.read - expected.len() as u64);
        let len = result.ok().and_then(|len| len.checked_sub(expected.len()));
        buffer.truncate(old + len.unwrap_or(0));
        result?;
        let Some(len) = len.filter(|_| seen == expected) else {
            buffer.truncate(old);
            return self.check_again();
        };
        self.read += len as u64;
        if len == 0 {
            return Ok(Filled::End);
        }
        self.grown = Instant::now();
        Ok(Filled::More)
    }

    /// Something is not what it was: the lines that were given out, or only what stood after them.
    fn check_again(&mut self) -> io::Result<Filled> {
        let Some(file) = &self.file else { return Ok(Filled::End) };
        if self.before.check(file, self.given)?.is_some() {
            self.rewind(self.given);
            return Ok(Filled::More);
        }
        self.start_over();
        Ok(Filled::Cut)
    }

    /// The file was cut, or another one has got its number.
    fn start_over(&mut self) {
        tracing::warn!(file = %self.lies_at.display(), position = self.given, inode = self.id.inode, "{CUT}");
        self.before = Before::START;
        self.rewind(0);
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
        Tail::new(path.to_owned(), 0, &Look::at(path).unwrap().unwrap(), (0, Before::START))
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
    fn a_file_that_was_cut_and_has_grown_beyond_its_position_starts_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        for closes in [false, true] {
            fs::write(&path, "one\ntwo\npart").unwrap();
            let mut tail = tail(&path);
            assert_eq!(tail.read(9, false).unwrap().lines.len(), 2);
            fs::write(&path, "new one\nnew two\n").unwrap();
            if closes {
                tail.close();
            }
            let cut = tail.read(9, false).unwrap();
            assert_eq!((cut.lines.len(), cut.end, cut.back), (0, 0, true));
            tail.mark_ahead = false;
            assert_eq!(text(&tail.read(9, false).unwrap()), [(0, "new one"), (8, "new two")]);
        }
    }

    #[test]
    fn a_line_that_is_written_anew_before_its_end_is_not_a_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "one\n\0\0\0").unwrap();
        let mut tail = tail(&path);
        assert_eq!(text(&tail.read(9, false).unwrap()), [(0, "one")]);
        assert!(tail.read(9, false).unwrap().lines.is_empty());
        fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(text(&tail.read(9, false).unwrap()), [(4, "two")]);
        fs::write(&path, "one\ntwo\nthr").unwrap();
        assert!(tail.read(9, false).unwrap().lines.is_empty());
        fs::write(&path, "one\ntwo\n").unwrap();
        let read = tail.read(9, false).unwrap();
        assert_eq!((read.lines.len(), read.back), (0, false));
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
