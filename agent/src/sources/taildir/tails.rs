//! All files that are followed: found in their directories, kept through renames, forgotten when they are gone.

use super::{
    matcher::{FileId, Group, Look, Name, list},
    position::{Mark, Row, Saved, mark_key},
    print::Before,
    reader::{CUT, Tail},
};
use crate::component::Put;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Files with something to read that are opened before their turn, so that a file which is renamed, removed or compressed meanwhile is
/// not lost. At most a quarter of the descriptors that the process may have; files beyond that are opened as others are read.
const OPEN_AHEAD_MAX: usize = 1024;

fn open_ahead_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(OPEN_AHEAD_MAX, |limit| {
        usize::try_from(limit / 4).unwrap_or(OPEN_AHEAD_MAX).min(OPEN_AHEAD_MAX)
    })
}

/// The files that are followed.
pub(super) struct Tails {
    pub(super) groups: Vec<Group>,
    pub(super) source: Arc<str>,
    pub(super) files: BTreeMap<FileId, Tail>,
    /// Keys of marks that are no longer about anything.
    pub(super) stale: Vec<Bytes>,
    /// A file came or went since the position file was written.
    pub(super) changed: bool,
    pipeline: Arc<dyn Put>,
    saved: Saved,
    skip_to_end: bool,
}

impl Tails {
    /// Finds all files for the first time.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub(super) fn find(
        groups: Vec<Group>,
        source: Arc<str>,
        pipeline: Arc<dyn Put>,
        saved: Saved,
        skip_to_end: bool,
    ) -> io::Result<Self> {
        let mut tails = Self {
            groups,
            source,
            files: BTreeMap::new(),
            stale: Vec::new(),
            changed: true,
            pipeline,
            saved,
            skip_to_end,
        };
        for directory in tails.directories() {
            let names = tails.scan_names(&directory)?;
            tails.adopt(&directory, &names);
            for path in tails.missed(&directory, &names) {
                tracing::warn!(source = %tails.source, file = %path.display(),
                    "this file appeared while the agent was down, and no group follows its name: if it is a rotated log, its lines were \
                     not read");
            }
        }
        tails.open_ahead();
        tails.skip_to_end = false;
        tails.forget_saved();
        Ok(tails)
    }

    pub(super) fn directories(&self) -> BTreeSet<PathBuf> {
        self.groups.iter().map(|group| group.directory.clone()).collect()
    }

    /// The group that follows this name.
    pub(super) fn group_of(&self, directory: &Path, name: &OsStr) -> Option<usize> {
        self.groups.iter().position(|group| group.directory == directory && group.matches(name))
    }

    /// Looks where the files of a directory are now, and which ones are new.
    pub(super) fn scan(&mut self, directory: &Path) -> io::Result<()> {
        self.scan_names(directory)?;
        self.open_ahead();
        Ok(())
    }

    /// Opens files that have to wait for their turn, the oldest first. An error is left to the turn, which reports it.
    pub(super) fn open_ahead(&mut self) {
        let (open, mut closed): (Vec<_>, Vec<_>) = self
            .files
            .values_mut()
            .filter(|tail| tail.pending && tail.failures == 0)
            .partition(|tail| tail.is_open());
        closed.sort_by_key(|tail| tail.modified);
        for tail in closed.into_iter().take(open_ahead_max().saturating_sub(open.len())) {
            if let Err(error) = tail.open() {
                tracing::debug!(source = %self.source, file = %tail.path.display(), %error, "not opened ahead");
            }
        }
    }

    fn scan_names(&mut self, directory: &Path) -> io::Result<Vec<Name>> {
        let names = list(directory)?;
        self.locate(directory, &names);
        for Name { name, .. } in &names {
            if let Some(group) = self.group_of(directory, name) {
                self.meet(directory.join(name), group);
            }
        }
        Ok(names)
    }

    /// Finds out which of the known files have lost their name, and where they lie now.
    fn locate(&mut self, directory: &Path, names: &[Name]) {
        let known: Vec<FileId> = self
            .files
            .values()
            .filter(|tail| tail.path.parent() == Some(directory))
            .map(|tail| tail.id)
            .collect();
        for id in known {
            let Some(tail) = self.files.get_mut(&id) else { continue };
            match Look::at(&tail.path) {
                // The same inode with another birth is a new file that got an old number.
                Ok(Some(look)) if look.id == id && look.born_ms == tail.born_ms => {
                    tail.gone = false;
                    tail.lies_at.clone_from(&tail.path);
                    tail.looked(&look);
                    continue;
                }
                _ => {}
            }
            let born_ms = tail.born_ms;
            let moved = names
                .iter()
                .filter(|name| name.inode == id.inode)
                .map(|name| directory.join(&name.name));
            let moved = { moved }.find(|path| {
                matches!(Look::at(path), Ok(Some(look)) if look.id == id && look.born_ms == born_ms)
            });
            let group = moved.as_ref().and_then(|path| self.group_of(directory, path.file_name()?));
            let Some(tail) = self.files.get_mut(&id) else { continue };
            match moved {
                Some(path) if group.is_some() => {
                    tracing::warn!(source = %self.source, from = %tail.path.display(), to = %path.display(),
                        "a renamed file matches again: it is read from its start, as Flume does; let the pattern leave rotated names out");
                    self.files.remove(&id);
                    self.changed = true;
                }
                Some(path) => {
                    if tail.lies_at != path {
                        tracing::info!(source = %self.source, from = %tail.path.display(), to = %path.display(),
                            "file renamed, followed to its end");
                    }
                    tail.lies_at = path;
                    tail.gone = true;
                    tail.look_again();
                }
                None if tail.is_open() => {
                    tail.gone = true;
                    tail.look_again();
                }
                None if tail.pending || tail.failures > 0 => {
                    tracing::warn!(source = %self.source, file = %tail.path.display(), position = tail.position,
                        "file is gone before it could be opened: what it had from this position on is lost");
                    self.forget(id);
                }
                None => {
                    // Nothing to read it through: it was quiet when its descriptor was closed.
                    tracing::info!(source = %self.source, file = %tail.path.display(), position = tail.position, "file is gone");
                    self.forget(id);
                }
            }
        }
    }

    /// A file under a name that a group follows.
    fn meet(&mut self, path: PathBuf, group: usize) {
        let Ok(Some(look)) = Look::at(&path) else { return };
        // Under its name it was located before; under a second name it is the same file.
        if self.files.contains_key(&look.id) {
            return;
        }
        let mark = self.mark_of(path.parent().unwrap_or(Path::new("/")), look.id.inode);
        let (position, before) = self.start_of(&path, &look, mark.as_ref());
        tracing::info!(source = %self.source, file = %path.display(), inode = look.id.inode, position, "file followed");
        let mut tail = Tail::new(path, group, &look, (position, before));
        tail.mark_ahead = mark.is_some_and(|mark| mark.position > position);
        tail.pending |= tail.mark_ahead;
        // A new file may have got the inode of one just forgotten, and with it the key of its mark.
        let key = self.key_of(&tail);
        self.stale.retain(|stale| *stale != key);
        self.files.insert(look.id, tail);
        self.changed = true;
    }

    /// Where to begin: the mark, else the position file, else the start or the end. A file that was cut is read from its start.
    fn start_of(&self, path: &Path, look: &Look, mark: Option<&Mark>) -> (u64, Before) {
        let fresh = if self.skip_to_end { look.len } else { 0 };
        let mut before = Before::Unknown;
        let position = match mark {
            Some(mark)
                if mark.is_about(look) && mark.is_named(path.file_name().unwrap_or_default()) =>
            {
                self.compare(path, look, mark);
                before = Before::of_mark(mark.print);
                mark.position
            }
            Some(mark) => {
                if !mark.is_about(look) {
                    self.tell_gone(path, mark);
                }
                0
            }
            None => self.row_of(path, look).map_or(fresh, |row| row.position),
        };
        match before.look(path, look.id, position) {
            Ok(Some(before)) => (position, before),
            Ok(None) => {
                tracing::warn!(source = %self.source, file = %path.display(), position, inode = look.id.inode, "{CUT}");
                (0, Before::START)
            }
            // It will be looked at when it is opened.
            Err(_) if position <= look.len => (position, before),
            Err(_) => (0, Before::START),
        }
    }

    fn row_of(&self, path: &Path, look: &Look) -> Option<&Row> {
        self.saved.rows.iter().find(|row| row.inode == look.id.inode && row.path == path)
    }

    /// A position file that is behind is what a kill leaves, and what an operator makes who edits it: he shall learn why that does
    /// nothing. It is written after the mark, so one that is ahead means that the channel has lost something or is an older copy.
    fn compare(&self, path: &Path, look: &Look, mark: &Mark) {
        let Some(row) = self.row_of(path, look) else { return };
        let (marked, written) = (mark.position, row.position);
        if written > marked {
            tracing::warn!(source = %self.source, file = %path.display(), mark = marked, position_file = written,
                "the position file is ahead of the mark in the channel, which wins: lines between may come twice; was the channel's \
                 directory restored, or the position file edited?");
        } else if written < marked {
            tracing::info!(source = %self.source, file = %path.display(), mark = marked, position_file = written,
                "the position file is behind the mark in the channel, as after a kill: the mark wins");
        }
    }

    fn mark_of(&self, directory: &Path, inode: u64) -> Option<Mark> {
        Mark::decode(&self.pipeline.mark(&mark_key(&self.source, inode, directory))?)
    }

    /// Files that were renamed while the agent was down, to a name that no group follows: they are read to their end.
    fn adopt(&mut self, directory: &Path, names: &[Name]) {
        for Name { name, inode } in names {
            if self.group_of(directory, name).is_some() {
                continue;
            }
            let path = directory.join(name);
            let Some((old_name, position, before)) = self.left_behind(directory, *inode, &path)
            else {
                continue;
            };
            let Some(group) = self.group_of(directory, old_name.file_name().unwrap_or_default())
            else {
                continue;
            };
            let Ok(Some(look)) = Look::at(&path) else { continue };
            // Of another file that has got the number of one that is gone, nothing is known.
            let before = before.look(&path, look.id, position).ok().flatten();
            let Some(before) = before.filter(|_| !self.files.contains_key(&look.id)) else {
                continue;
            };
            tracing::info!(source = %self.source, from = %old_name.display(), to = %path.display(), position,
                "file was renamed while the agent was down, followed to its end");
            let mut tail = Tail::new(old_name, group, &look, (position, before));
            tail.lies_at = path;
            tail.gone = true;
            tail.pending = true;
            self.files.insert(look.id, tail);
        }
    }

    /// Files that look like a followed one after its rotation, but were never seen before it: between two rotations nobody was here. They
    /// are not read, since they could be anything; a copy that was compressed, for instance.
    fn missed(&self, directory: &Path, names: &[Name]) -> Vec<PathBuf> {
        let followed = self.files.values().map(|tail| &tail.path);
        let bases: BTreeSet<&[u8]> = followed
            .chain(self.saved.rows.iter().map(|row| &row.path))
            .filter(|path| path.parent() == Some(directory))
            .filter_map(|path| Some(path.file_name()?.as_encoded_bytes()))
            .collect();
        let is_rotated = |name: &OsStr| {
            let name = name.as_encoded_bytes();
            bases.iter().any(|base| name.len() > base.len() && name.starts_with(base))
        };
        let strangers = names.iter().filter(|Name { name, .. }| {
            self.saved.written_ms > 0
                && is_rotated(name)
                && self.group_of(directory, name).is_none()
        });
        let paths = strangers.map(|Name { name, .. }| directory.join(name));
        let is_missed = |path: &PathBuf| {
            Look::at(path).ok().flatten().is_some_and(|look| {
                look.born_ms > self.saved.written_ms
                    && look.len > 0
                    && !self.files.contains_key(&look.id)
            })
        };
        paths.filter(is_missed).collect()
    }

    /// The name and position that a file had, if it was followed under another name and this is the same file by its birth; and what stood
    /// before that position.
    fn left_behind(
        &self,
        directory: &Path,
        inode: u64,
        now_at: &Path,
    ) -> Option<(PathBuf, u64, Before)> {
        use std::os::unix::ffi::OsStrExt;
        let look = || Look::at(now_at).ok().flatten();
        if let Some(mark) = self.mark_of(directory, inode) {
            let name = OsStr::from_bytes(&mark.name);
            let before = Before::of_mark(mark.print);
            return mark.is_about(&look()?).then(|| (directory.join(name), mark.position, before));
        }
        let row = self
            .saved
            .rows
            .iter()
            .find(|row| row.inode == inode && row.path.parent() == Some(directory))?;
        // A file born later has got the inode of one that is gone.
        let older = look()?.born_ms <= self.saved.written_ms;
        older.then(|| (row.path.clone(), row.position, Before::Unknown))
    }

    /// The rows of the position file have served; marks of files that are gone can go.
    fn forget_saved(&mut self) {
        let saved = std::mem::take(&mut self.saved);
        for Row { inode, path, position } in saved.rows {
            let directory = path.parent().unwrap_or(Path::new("/"));
            let known = self
                .files
                .values()
                .any(|tail| tail.id.inode == inode && tail.path.parent() == Some(directory));
            if known {
                continue;
            }
            match self.mark_of(directory, inode) {
                Some(mark) => self.tell_gone(&path, &mark),
                None => {
                    tracing::info!(source = %self.source, file = %path.display(), position, "file is gone");
                }
            }
            self.stale.push(mark_key(&self.source, inode, directory));
        }
    }

    /// A file that went while the agent was down, and what is known to have been in it.
    fn tell_gone(&self, path: &Path, mark: &Mark) {
        let (file, position) = (path.display(), mark.position);
        if mark.unread > 0 {
            tracing::warn!(source = %self.source, %file, position, unread_bytes_min = mark.unread,
                "file is gone since the agent was stopped: what it had from this position on is lost");
        } else {
            tracing::info!(source = %self.source, %file, position, "file is gone");
        }
    }

    /// Follows a file no longer.
    pub(super) fn forget(&mut self, id: FileId) {
        if let Some(tail) = self.files.remove(&id) {
            self.stale.push(self.key_of(&tail));
            self.changed = true;
        }
    }

    pub(super) fn key_of(&self, tail: &Tail) -> Bytes {
        mark_key(&self.source, tail.id.inode, tail.path.parent().unwrap_or(Path::new("/")))
    }

    /// The rows of the position file, by path.
    pub(super) fn rows(&self) -> Vec<Row> {
        let row = |tail: &Tail| Row {
            inode: tail.id.inode,
            position: tail.position,
            path: tail.path.clone(),
        };
        let mut rows: Vec<_> = self.files.values().map(row).collect();
        rows.sort_by(|a, b| a.path.cmp(&b.path));
        rows
    }

    /// Files that may have something to read, the oldest first. Of those with one name only the oldest: a file that was renamed is read to
    /// its end before its successor begins, so that lines stay in order. Files of other names have their turns meanwhile.
    pub(super) fn pending(&self) -> Vec<FileId> {
        let mut heads: BTreeMap<&Path, &Tail> = BTreeMap::new();
        // A file that still has its name came last, even if a predecessor was written after it.
        let age = |tail: &Tail| (!tail.gone, tail.modified, tail.born_ms);
        for tail in self.files.values().filter(|tail| tail.pending) {
            let head = heads.entry(&tail.path).or_insert(tail);
            if age(tail) < age(head) {
                *head = tail;
            }
        }
        let mut pending: Vec<_> = heads.into_values().collect();
        // Stable: files of the same time stay sorted by path.
        pending.sort_by_key(|tail| tail.modified);
        pending.into_iter().map(|tail| tail.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Collector;
    use std::fs;

    #[test]
    fn a_file_that_nobody_saw_before_its_rotation_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a.log"), "1\n").unwrap();
        let look = Look::at(&at("a.log")).unwrap().unwrap();
        if look.born_ms == 0 {
            // This file system does not say: nothing can be known.
            return;
        }
        let row = Row { inode: look.id.inode, position: 0, path: at("a.log") };
        let saved = Saved { rows: vec![row], written_ms: look.born_ms + 1 };
        fs::rename(at("a.log"), at("a.log.2")).unwrap();
        fs::write(at("clock"), "").unwrap();
        // The clock of files ticks slowly.
        let is_later = |path: &Path| Look::at(path).unwrap().unwrap().born_ms > look.born_ms + 1;
        while !is_later(&at("clock")) {
            fs::write(at("clock.new"), "").unwrap();
            fs::rename(at("clock.new"), at("clock")).unwrap();
        }
        for (name, text) in [("a.log.1", "2\n"), ("a.log", "3\n"), ("b.log", "no"), ("a.log.0", "")]
        {
            fs::write(at(name), text).unwrap();
        }
        let mut tails = Tails {
            groups: vec![Group::new("g", at(r"a\.log").to_str().unwrap(), Vec::new()).unwrap()],
            source: "r1".into(),
            files: BTreeMap::new(),
            stale: Vec::new(),
            changed: false,
            pipeline: Arc::<Collector>::default(),
            saved,
            skip_to_end: false,
        };
        let names = tails.scan_names(dir.path()).unwrap();
        tails.adopt(dir.path(), &names);
        let followed: BTreeSet<_> = tails.files.values().map(|tail| tail.lies_at.clone()).collect();
        assert_eq!(followed, BTreeSet::from([at("a.log"), at("a.log.2")]));
        assert_eq!(tails.missed(dir.path(), &names), [at("a.log.1")]);
        tails.saved.written_ms = 0;
        assert!(tails.missed(dir.path(), &names).is_empty(), "a first start has missed nothing");
    }
}
