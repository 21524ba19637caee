//! A disk of memory: what is left of a commit when the disk costs nothing.

use fchannel::io::{File, Filling, LockAttempt, Medium, Sync, Vfs};
use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

type Bytes = Arc<Mutex<Vec<u8>>>;

/// Files in memory, a real clock, no threads: who commits leads.
#[derive(Debug)]
pub struct MemoryVfs {
    files: Mutex<BTreeMap<PathBuf, Bytes>>,
    started: Instant,
    drawn: AtomicU64,
}

impl Default for MemoryVfs {
    fn default() -> Self {
        Self {
            files: Mutex::default(),
            started: Instant::now(),
            drawn: AtomicU64::new(0x9e37_79b9_7f4a_7c15),
        }
    }
}

struct MemoryFile(Bytes);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(locked(&self.0).len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = locked(&self.0);
        let rest = bytes.get(index(offset)?..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), rest.get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], _: Sync) -> io::Result<()> {
        let mut bytes = locked(&self.0);
        let mut at = index(offset)?;
        for buf in bufs {
            if bytes.len() < at {
                bytes.resize(at, 0);
            }
            // What is appended is copied once, and not zeroed first.
            let (over, behind) = buf.split_at(buf.len().min(bytes.len() - at));
            if let Some(place) = bytes.get_mut(at..at + over.len()) {
                place.copy_from_slice(over);
            }
            bytes.extend_from_slice(behind);
            at += buf.len();
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl MemoryVfs {
    /// Another disk with the same bytes.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::default();
        for (path, bytes) in locked(&self.files).iter() {
            copy.put(path, locked(bytes).clone());
        }
        // Salts that the original drew are not drawn again.
        copy.drawn.store(self.drawn.load(Ordering::Relaxed), Ordering::Relaxed);
        copy
    }

    fn put(&self, path: &Path, bytes: Vec<u8>) -> Bytes {
        let file: Bytes = Arc::new(Mutex::new(bytes));
        locked(&self.files).insert(path.to_path_buf(), Arc::clone(&file));
        file
    }
}

impl Vfs for MemoryVfs {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<LockAttempt> {
        Ok(LockAttempt::Taken(Box::new(())))
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let files = locked(&self.files);
        let here = files.keys().filter(|path| path.parent() == Some(dir));
        Ok(here.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create(&self, path: &Path, head: &[u8], donor: Option<&Path>) -> io::Result<Arc<dyn File>> {
        if let Some(donor) = donor {
            self.remove(donor)?;
        }
        Ok(Arc::new(MemoryFile(self.put(path, head.to_vec()))))
    }

    fn reserve(&self, path: &Path, _: u64) -> io::Result<Filling> {
        self.put(path, Vec::new());
        Ok(Box::new(|_| Ok(true)))
    }

    fn retire(&self, path: &Path, spare: &Path) -> io::Result<()> {
        self.remove(path)?;
        self.put(spare, Vec::new());
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let files = locked(&self.files);
        let file = files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemoryFile(Arc::clone(file))))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.put(path, bytes.to_vec());
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        locked(&self.files).remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn medium(&self, _: &Path) -> io::Result<Medium> {
        Ok(Medium::Memory("memory"))
    }

    fn wall_ms(&self) -> u64 {
        1_800_000_000_000
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn random(&self) -> u64 {
        // Distinct is all that a salt needs to be here: nobody attacks a benchmark.
        self.drawn.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }

    fn spawn(&self, _: &str, _: Box<dyn FnOnce() + Send>) -> io::Result<Option<JoinHandle<()>>> {
        Ok(None)
    }
}
