//! A world whose files can be read and whose changes stay in memory: what would be done can be done, and looked at.

use crate::{
    io::{File, Filling, Holder, LockAttempt, Medium, Sync, Vfs, delegate_vfs},
    sync::Mutex,
};
use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

/// The files of another world, and over them what was changed since.
pub(super) struct Overlay {
    below: Arc<dyn Vfs>,
    /// What is not as it is below; `None` is gone.
    changed: Mutex<BTreeMap<PathBuf, Option<Changed>>>,
}

#[derive(Clone)]
enum Changed {
    Directory,
    Made(Arc<InMemory>),
    /// A file below, under its old name.
    Renamed(PathBuf),
}

#[derive(Default)]
struct InMemory(Mutex<Vec<u8>>);

impl Overlay {
    pub(super) fn new(below: Arc<dyn Vfs>) -> Self {
        Self { below, changed: Mutex::default() }
    }

    fn set(&self, path: &Path, changed: Option<Changed>) {
        self.changed.lock().insert(path.to_path_buf(), changed);
    }

    fn changed(&self, path: &Path) -> Option<Option<Changed>> {
        self.changed.lock().get(path).cloned()
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Vfs for Overlay {
    delegate_vfs!(below: holder free_bytes medium wall_ms monotonic random);

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if self.below.list(dir).is_err() {
            self.set(dir, Some(Changed::Directory));
        }
        Ok(())
    }

    fn lock(&self, _dir: &Path) -> io::Result<LockAttempt> {
        Ok(LockAttempt::Taken(Box::new(())))
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = match (self.below.list(dir), self.changed(dir)) {
            (Err(_), Some(Some(Changed::Directory))) => Vec::new(),
            (answer, _) => answer?,
        };
        for (path, changed) in &*self.changed.lock() {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if path.parent() == Some(dir) {
                names.retain(|known| known != name);
                names.extend(changed.is_some().then(|| name.to_owned()));
            }
        }
        Ok(names)
    }

    fn create(&self, path: &Path, head: &[u8], donor: Option<&Path>) -> io::Result<Arc<dyn File>> {
        let made = Arc::new(InMemory(Mutex::new(head.to_vec())));
        self.set(path, Some(Changed::Made(Arc::clone(&made))));
        if let Some(donor) = donor {
            self.set(donor, None);
        }
        Ok(made)
    }

    /// A reserve of zeros is nothing to look at.
    fn reserve(&self, _path: &Path, _size_bytes: u64) -> io::Result<Filling> {
        Ok(Box::new(|_| Ok(true)))
    }

    fn retire(&self, path: &Path, spare: &Path) -> io::Result<()> {
        let moved = match self.changed(path) {
            Some(None) => return Err(gone()),
            Some(Some(changed)) => changed,
            None => {
                self.below.open(path)?;
                Changed::Renamed(path.to_path_buf())
            }
        };
        self.set(path, None);
        self.set(spare, Some(moved));
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        match self.changed(path) {
            None => self.below.open(path),
            Some(Some(Changed::Made(made))) => Ok(made),
            Some(Some(Changed::Renamed(old))) => self.below.open(&old),
            Some(Some(Changed::Directory)) => Err(io::ErrorKind::IsADirectory.into()),
            Some(None) => Err(gone()),
        }
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.create(path, bytes, None).map(drop)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.open(path)?;
        self.set(path, None);
        Ok(())
    }

    fn spawn(
        &self,
        _name: &str,
        _body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Option<JoinHandle<()>>> {
        Ok(None)
    }
}

impl File for InMemory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.lock();
        let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let read = rest.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(read)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], _sync: Sync) -> io::Result<()> {
        let mut bytes = self.0.lock();
        let mut at = usize::try_from(offset).unwrap_or(usize::MAX);
        for buf in bufs {
            let end = at.checked_add(buf.len()).ok_or(io::ErrorKind::FileTooLarge)?;
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            if let Some(place) = bytes.get_mut(at..end) {
                place.copy_from_slice(buf);
            }
            at = end;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
