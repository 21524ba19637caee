//! Hears from the kernel what happens in the directories.

use rustix::{
    fd::OwnedFd,
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    io,
    mem::MaybeUninit,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};
use tokio::io::unix::AsyncFd;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A file of this directory was written.
    Written(PathBuf, OsString),
    /// A name of this directory came or went.
    Named(PathBuf, OsString),
    /// Anything may have happened.
    Anything,
}

/// The watches on some directories.
#[derive(Debug)]
pub(super) struct Watch {
    fd: AsyncFd<OwnedFd>,
    directories: Vec<(i32, PathBuf)>,
}

const BUFFER_BYTES: usize = 16 << 10;

impl Watch {
    #[expect(
        deprecated,
        reason = "its successor is unsafe; an OwnedFd keeps its descriptor for as long as it lives, which is all that is asked"
    )]
    pub(super) fn new() -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { fd: AsyncFd::new(fd)?, directories: Vec::new() })
    }

    /// Watches a directory; one that is watched already stays so, one that was replaced is watched anew.
    pub(super) fn add(&mut self, directory: &Path) -> io::Result<()> {
        let flags = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::MOVE
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR;
        let id = inotify::add_watch(self.fd.get_ref(), directory, flags)?;
        self.directories.retain(|(old, path)| *old != id && path != directory);
        self.directories.push((id, directory.to_owned()));
        Ok(())
    }

    /// Waits until something has happened, and says all of it. Cancel-safe.
    pub(super) async fn changes(&self) -> io::Result<Vec<Change>> {
        loop {
            let mut ready = self.fd.readable().await?;
            let changes = self.changes_now()?;
            if !changes.is_empty() {
                return Ok(changes);
            }
            ready.clear_ready();
        }
    }

    /// What has happened by now.
    pub(super) fn changes_now(&self) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = inotify::Reader::new(self.fd.get_ref(), &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(changes),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let change = self.change(&event);
            if changes.last() != Some(&change) {
                changes.push(change);
            }
        }
    }

    fn change(&self, event: &inotify::Event<'_>) -> Change {
        let directory =
            self.directories.iter().find(|(id, _)| *id == event.wd()).map(|(_, path)| path.clone());
        let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
        match (directory, name) {
            (Some(directory), Some(name)) if event.events().contains(ReadFlags::MODIFY) => {
                Change::Written(directory, name)
            }
            (Some(directory), Some(name)) => Change::Named(directory, name),
            // The queue of the kernel overflowed, or a watch is gone.
            _ => Change::Anything,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn writes_and_names_are_heard() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = Watch::new().unwrap();
        watch.add(dir.path()).unwrap();
        watch.add(dir.path()).unwrap();
        assert_eq!(watch.changes_now().unwrap(), []);
        fs::write(dir.path().join("a"), "x").unwrap();
        fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        let path = || dir.path().to_owned();
        let expected = [
            Change::Named(path(), "a".into()),
            Change::Written(path(), "a".into()),
            Change::Named(path(), "a".into()),
            Change::Named(path(), "b".into()),
        ];
        assert_eq!(watch.changes().await.unwrap(), expected);
        fs::remove_dir_all(dir.path()).unwrap();
        assert!(watch.changes().await.unwrap().contains(&Change::Anything));
        assert!(watch.add(dir.path()).is_err());
    }
}
