//! A disk of memory: it forgets nothing and fails never. What a disk does to a log in a crash is the business of the simulated one; here
//! the bytes themselves are hostile.

use fchannel::io::{File, Filling, LockAttempt, Medium, Sync, Vfs};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

type Content = Arc<Mutex<Vec<u8>>>;

#[derive(Default)]
struct Disk {
    files: BTreeMap<PathBuf, Content>,
    dirs: BTreeSet<PathBuf>,
    random: u64,
    clock_ms: u64,
}

/// Clones share the disk.
#[derive(Clone, Default)]
pub struct MemoryVfs(Arc<Mutex<Disk>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryVfs {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.0)
    }

    /// A disk with these files.
    pub fn of(files: &BTreeMap<PathBuf, Vec<u8>>) -> Self {
        let vfs = Self::default();
        let mut disk = vfs.disk();
        for (path, bytes) in files {
            disk.dirs.extend(path.ancestors().skip(1).map(Path::to_path_buf));
            disk.files.insert(path.clone(), Arc::new(Mutex::new(bytes.clone())));
        }
        drop(disk);
        vfs
    }

    /// All files with their bytes.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let disk = self.disk();
        disk.files.iter().map(|(path, content)| (path.clone(), lock(content).clone())).collect()
    }

    /// Lets time pass.
    pub fn pass(&self, ms: u64) {
        self.disk().clock_ms += ms;
    }

    fn put(&self, path: &Path, bytes: Vec<u8>) -> Arc<dyn File> {
        let content = Arc::new(Mutex::new(bytes));
        self.disk().files.insert(path.to_path_buf(), Arc::clone(&content));
        Arc::new(MemoryFile(content))
    }
}

struct MemoryFile(Content);

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let content = lock(&self.0);
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let len = buf.len().min(content.len() - from);
        buf[..len].copy_from_slice(&content[from..from + len]);
        Ok(len)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], _: Sync) -> io::Result<()> {
        let mut content = lock(&self.0);
        let mut at = offset as usize;
        for buf in bufs {
            let end = at + buf.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[at..end].copy_from_slice(buf);
            at = end;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Vfs for MemoryVfs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk().dirs.extend(dir.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<LockAttempt> {
        let lock: Box<dyn Any + Send + std::marker::Sync> = Box::new(());
        Ok(LockAttempt::Taken(lock))
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk();
        if !disk.dirs.contains(dir) {
            return Err(not_found());
        }
        let all = disk.files.keys().chain(&disk.dirs);
        let here =
            all.filter(|path| path.parent() == Some(dir)).filter_map(|path| path.file_name());
        Ok(here.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn create(&self, path: &Path, head: &[u8], donor: Option<&Path>) -> io::Result<Arc<dyn File>> {
        let mut bytes = match donor {
            Some(donor) => {
                let content = self.disk().files.remove(donor).ok_or_else(not_found)?;
                std::mem::take(&mut *lock(&content))
            }
            None => Vec::new(),
        };
        let len = bytes.len().max(head.len());
        bytes.resize(len, 0);
        bytes[..head.len()].copy_from_slice(head);
        Ok(self.put(path, bytes))
    }

    fn reserve(&self, path: &Path, size_bytes: u64) -> io::Result<Filling> {
        self.put(path, vec![0; size_bytes as usize]);
        Ok(Box::new(|_| Ok(true)))
    }

    fn retire(&self, path: &Path, spare: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let content = disk.files.remove(path).ok_or_else(not_found)?;
        disk.files.insert(spare.to_path_buf(), content);
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let content = self.disk().files.get(path).cloned().ok_or_else(not_found)?;
        Ok(Arc::new(MemoryFile(content)))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.put(path, bytes.to_vec());
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let gone = disk.files.remove(path).is_some() || disk.dirs.remove(path);
        if gone { Ok(()) } else { Err(not_found()) }
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn medium(&self, _: &Path) -> io::Result<Medium> {
        Ok(Medium::Disk)
    }

    fn wall_ms(&self) -> u64 {
        1_795_000_000_000 + self.disk().clock_ms
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.disk().clock_ms)
    }

    fn random(&self) -> u64 {
        let mut disk = self.disk();
        disk.random += 1;
        disk.random.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn spawn(&self, _: &str, _: Box<dyn FnOnce() + Send>) -> io::Result<Option<JoinHandle<()>>> {
        Ok(None)
    }
}
