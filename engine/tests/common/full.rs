//! Another world's disk with so much room and no more: a write beyond it writes what fits, and fails.

use fchannel::io::{File, Filling, LockAttempt, Medium, Sync, Vfs, delegate_vfs};
use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

/// A world with one directory, whose files together may not pass a limit. Clones share it.
#[derive(Clone)]
pub(crate) struct FullVfs {
    inner: Arc<dyn Vfs>,
    dir: PathBuf,
    limit: Arc<Mutex<u64>>,
    /// Others take at once what is given back.
    greedy: Arc<Mutex<bool>>,
    /// What `free_bytes` says is not what a write finds: a quota.
    lies: Arc<Mutex<bool>>,
}

impl FullVfs {
    pub(crate) fn new(inner: Arc<dyn Vfs>, dir: &Path) -> Self {
        Self {
            inner,
            dir: dir.to_path_buf(),
            limit: Arc::new(Mutex::new(u64::MAX)),
            greedy: Arc::default(),
            lies: Arc::default(),
        }
    }

    /// What all files occupy.
    pub(crate) fn used(&self) -> u64 {
        let names = self.inner.list(&self.dir).unwrap_or_default();
        let len = |name| self.inner.open(&self.dir.join(name)).and_then(|file| file.len());
        names.into_iter().filter_map(|name| len(name).ok()).sum()
    }

    /// Others leave so much room.
    pub(crate) fn leave(&self, bytes: u64) {
        *self.limit.lock().unwrap() = self.used() + bytes;
    }

    /// Others take all the room there is, now and later.
    pub(crate) fn leave_nothing(&self) {
        self.leave(0);
        *self.greedy.lock().unwrap() = true;
    }

    /// `free_bytes` says from now on that there is room.
    pub(crate) fn deny_it(&self) {
        *self.lies.lock().unwrap() = true;
    }

    /// There is room for everything.
    pub(crate) fn leave_all(&self) {
        *self.greedy.lock().unwrap() = false;
        *self.limit.lock().unwrap() = u64::MAX;
    }

    fn free(&self) -> u64 {
        let mut limit = self.limit.lock().unwrap();
        if *self.greedy.lock().unwrap() {
            *limit = self.used().min(*limit);
        }
        limit.saturating_sub(self.used())
    }

    fn ask(&self, bytes: u64) -> io::Result<()> {
        if bytes <= self.free() { Ok(()) } else { Err(full()) }
    }

    fn file(&self, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FullFile { inner, disk: self.clone() })
    }
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

struct FullFile {
    inner: Arc<dyn File>,
    disk: FullVfs,
}

impl File for FullFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], sync: Sync) -> io::Result<()> {
        let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let room = (self.inner.len()? + self.disk.free()).saturating_sub(offset);
        if bytes.len() as u64 <= room {
            return self.inner.write_at(offset, bufs, sync);
        }
        let fits = &bytes[..usize::try_from(room).unwrap()];
        self.inner.write_at(offset, &[IoSlice::new(fits)], Sync::No)?;
        Err(full())
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }
}

impl Vfs for FullVfs {
    delegate_vfs!(
        inner: create_dir lock sync_dir list retire remove medium wall_ms monotonic random spawn
    );

    fn create(&self, path: &Path, head: &[u8], donor: Option<&Path>) -> io::Result<Arc<dyn File>> {
        let there = match donor {
            // In whole blocks.
            Some(donor) => self.inner.open(donor)?.len()?.next_multiple_of(4096),
            None => 0,
        };
        self.ask((head.len() as u64).saturating_sub(there))?;
        Ok(self.file(self.inner.create(path, head, donor)?))
    }

    fn reserve(&self, path: &Path, size_bytes: u64) -> io::Result<Filling> {
        self.ask(size_bytes)?;
        self.inner.reserve(path, size_bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.file(self.inner.open(path)?))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.ask(bytes.len() as u64)?;
        self.inner.replace(path, bytes)
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(if *self.lies.lock().unwrap() { u64::MAX >> 1 } else { self.free() })
    }
}
