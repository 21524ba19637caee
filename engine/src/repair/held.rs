//! A world in which one's own locks are no obstacle: who holds the directories opens the channel in them, and lets nobody in between.

use crate::io::{File, Filling, Holder, LockAttempt, Medium, Vfs};
use std::{io, path::Path, sync::Arc, thread::JoinHandle, time::Duration};

/// Another world, whose locks are held already.
pub(super) struct Held(pub(super) Arc<dyn Vfs>);

impl Vfs for Held {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir(dir)
    }

    fn lock(&self, _dir: &Path) -> io::Result<LockAttempt> {
        Ok(LockAttempt::Taken(Box::new(())))
    }

    fn holder(&self, dir: &Path) -> io::Result<Holder> {
        self.0.holder(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }

    fn create(&self, path: &Path, head: &[u8], donor: Option<&Path>) -> io::Result<Arc<dyn File>> {
        self.0.create(path, head, donor)
    }

    fn reserve(&self, path: &Path, size_bytes: u64) -> io::Result<Filling> {
        self.0.reserve(path, size_bytes)
    }

    fn retire(&self, path: &Path, spare: &Path) -> io::Result<()> {
        self.0.retire(path, spare)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.0.open(path)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.0.replace(path, bytes)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.0.free_bytes(dir)
    }

    fn medium(&self, dir: &Path) -> io::Result<Medium> {
        self.0.medium(dir)
    }

    fn wall_ms(&self) -> u64 {
        self.0.wall_ms()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn random(&self) -> u64 {
        self.0.random()
    }

    fn spawn(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Option<JoinHandle<()>>> {
        self.0.spawn(name, body)
    }
}
