//! Counts what was delivered: numbered lines in the files of a file_roll sink.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// What the numbers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// Numbers that were passed over and never came.
    pub(super) missing: u64,
    /// Lines that are no numbered lines.
    pub(super) out_of_order: u64,
    /// Lines that came again.
    pub(super) doubled: u64,
    /// Files that end in half a line.
    pub(super) torn: u64,
}

/// Reads the files forward as they grow, oldest first.
pub(super) struct Counter {
    dir: PathBuf,
    /// By name, which begins with the time at which its agent started.
    files: BTreeMap<PathBuf, Tail>,
    /// The number that comes next.
    next: u64,
    counted: Counted,
}

#[derive(Default)]
struct Tail {
    offset: u64,
    /// The beginning of a line whose end is not there yet.
    partial: Vec<u8>,
}

impl Counter {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            files: BTreeMap::new(),
            next: 0,
            counted: Counted::default(),
        }
    }

    /// How many different lines have come.
    pub(super) fn delivered(&self) -> u64 {
        self.next.saturating_sub(self.counted.missing)
    }

    pub(super) fn counted(&self) -> Counted {
        // A file that is not the newest grows no more: half a line at its end stays one.
        let torn =
            self.files.values().rev().skip(1).filter(|tail| !tail.partial.is_empty()).count();
        Counted { torn: torn as u64, ..self.counted }
    }

    /// Reads what is new.
    pub(super) fn look(&mut self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.dir)? {
            self.files.entry(entry?.path()).or_default();
        }
        let mut lines = Vec::new();
        for (path, tail) in &mut self.files {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(tail.offset))?;
            let before = tail.partial.len();
            file.read_to_end(&mut tail.partial)?;
            tail.offset += (tail.partial.len() - before) as u64;
            let whole =
                tail.partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            lines.extend(tail.partial.drain(..whole));
        }
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.count(line);
        }
        Ok(())
    }

    fn count(&mut self, line: &[u8]) {
        let digits = line.get(..10).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| digits.parse::<u64>().ok()) {
            Some(number) if number < self.next => self.counted.doubled += 1,
            Some(number) => {
                self.counted.missing += number - self.next;
                self.next = number + 1;
            }
            None => self.counted.out_of_order += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(files: &[&str]) -> Counted {
        let dir = tempfile::tempdir().unwrap();
        for (number, text) in files.iter().enumerate() {
            std::fs::write(dir.path().join(format!("{number}-1")), text).unwrap();
        }
        let mut counter = Counter::new(dir.path());
        counter.look().unwrap();
        counter.counted()
    }

    #[test]
    fn loss_doubles_and_torn_lines_are_told_apart() {
        let (a, b, c) = ("0000000000 x\n", "0000000001 x\n", "0000000002 x\n");
        assert_eq!(counted(&[&[a, b, c].concat()]), Counted::default());
        assert_eq!(
            counted(&[&[a, b].concat(), &[b, c].concat()]),
            Counted { doubled: 1, ..Counted::default() }
        );
        assert_eq!(
            counted(&[&[a, "00000000"].concat(), &[b, c].concat()]),
            Counted { torn: 1, ..Counted::default() }
        );
        assert_eq!(counted(&[&[a, c].concat()]), Counted { missing: 1, ..Counted::default() });
        assert_eq!(
            counted(&[&[a, "garbage\n"].concat()]),
            Counted { out_of_order: 1, ..Counted::default() }
        );
    }
}
