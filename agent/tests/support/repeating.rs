//! A world whose directories have the same bytes in each run.

use fchannel::io::{File, Filling, Holder, LockAttempt, Medium, StdVfs, Vfs};
use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Real files, and a clock and chance that repeat. It has no threads, so that nothing happens at its own time.
#[derive(Default)]
pub(crate) struct Repeating {
    files: StdVfs,
    calls: AtomicU64,
}

impl Repeating {
    fn next(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Vfs for Repeating {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.create_dir(dir)
    }
    fn lock(&self, dir: &Path) -> io::Result<LockAttempt> {
        self.files.lock(dir)
    }
    fn holder(&self, dir: &Path) -> io::Result<Holder> {
        self.files.holder(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.sync_dir(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.files.list(dir)
    }
    fn create(&self, path: &Path, head: &[u8], donor: Option<&Path>) -> io::Result<Arc<dyn File>> {
        self.files.create(path, head, donor)
    }
    fn reserve(&self, path: &Path, size_bytes: u64) -> io::Result<Filling> {
        self.files.reserve(path, size_bytes)
    }
    fn retire(&self, path: &Path, spare: &Path) -> io::Result<()> {
        self.files.retire(path, spare)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.files.open(path)
    }
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.files.replace(path, bytes)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.remove(path)
    }
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.files.free_bytes(dir)
    }
    fn medium(&self, dir: &Path) -> io::Result<Medium> {
        self.files.medium(dir)
    }
    fn wall_ms(&self) -> u64 {
        1_795_162_442_000 + self.next()
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn random(&self) -> u64 {
        self.next().wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
    fn spawn(
        &self,
        _name: &str,
        _body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Option<JoinHandle<()>>> {
        Ok(None)
    }
}
