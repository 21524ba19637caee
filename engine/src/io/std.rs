//! Real files. The one place of the engine that names `std::fs`.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the module that the others are sent to"
)]

use super::{
    File, Filling, Holder, LockAttempt, Medium, Sync, Vfs,
    durable::{self, Steps},
    not_for_want_of_room,
    sys::{self, uring::Ring},
};
use crate::{options::CommitCalls, sync::Mutex};
use rustix::{fs, io::Errno, rand};
use std::{
    fs::OpenOptions,
    io::{self, IoSlice, Read},
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Once},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

const LOCK_FILE: &str = "in_use.lock";

/// The operating system's files, clock and threads.
#[derive(Clone, Debug)]
pub struct StdVfs {
    started: Instant,
    commit_calls: CommitCalls,
}

impl Default for StdVfs {
    fn default() -> Self {
        Self::new(CommitCalls::default())
    }
}

impl StdVfs {
    /// Files that are written and synced by `commit_calls`.
    #[must_use]
    pub fn new(commit_calls: CommitCalls) -> Self {
        Self { started: Instant::now(), commit_calls }
    }

    /// Whether the kernel gives [`CommitCalls::IoUring`] to this process.
    ///
    /// # Errors
    /// Why not: it is too old, or forbids it, as many containers do.
    pub fn probe_io_uring() -> io::Result<()> {
        Ring::for_file(&std::fs::File::open("/dev/null")?).map(drop)
    }

    /// A ring for `file`, if there is to be one and the kernel gives it.
    fn ring_for(&self, file: &std::fs::File) -> Option<Mutex<Ring>> {
        match self.commit_calls {
            CommitCalls::WriteThenSync => None,
            CommitCalls::IoUring => match Ring::for_file(file) {
                Ok(ring) => Some(Mutex::new(ring)),
                Err(error) => {
                    // Each segment asks.
                    static TOLD: Once = Once::new();
                    TOLD.call_once(|| {
                        crate::trace::warning!(
                            error = error.to_string(),
                            "no io_uring here: commits write and sync by two calls"
                        );
                    });
                    None
                }
            },
        }
    }
}

struct StdFile {
    file: std::fs::File,
    /// Of a file that is written to, where its owner wants one and the kernel gives it.
    ring: Option<Mutex<Ring>>,
}

impl File for StdFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        retry_interrupted(|| self.file.read_at(buf, offset))
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], sync: Sync) -> io::Result<()> {
        if sync == Sync::Data
            && let Some(ring) = &self.ring
            && ring.lock().write_and_sync(offset, bufs)?
        {
            return Ok(());
        }
        write_all_vectored(&self.file, offset, bufs)?;
        match sync {
            Sync::No => Ok(()),
            Sync::Data => self.file.sync_data().map_err(not_for_want_of_room),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Btrfs writes blocks that are written over elsewhere first, for which a full disk has no room: a reserve would be none there, nor would
/// an old checkpoint make room for a new one. Only for a file that is still empty; our own checksums take the place of those that it
/// then has none of (docs/decisions/0011).
fn write_over_in_place(file: &std::fs::File) {
    const BTRFS: i64 = 0x9123_683e;
    if fs::fstatfs(file).is_ok_and(|statfs| statfs.f_type == BTRFS)
        && let Ok(flags) = fs::ioctl_getflags(file)
    {
        // Where it may not be, the file is as good as any but for a full disk.
        fs::ioctl_setflags(file, flags | fs::IFlags::NOCOW).unwrap_or_default();
    }
}

fn retry_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

/// One `pwritev` for each 1,024 buffers, as many as the kernel takes, and more where it wrote less than asked.
fn write_all_vectored(
    file: &std::fs::File,
    mut offset: u64,
    bufs: &[IoSlice<'_>],
) -> io::Result<()> {
    const BUFFERS_MAX: usize = 1024;
    for some in bufs.chunks(BUFFERS_MAX) {
        let total: usize = some.iter().map(|buf| buf.len()).sum();
        let mut written = retry_interrupted(|| Ok(rustix::io::pwritev(file, some, offset)?))?;
        let mut passed = 0;
        for buf in some {
            // What a short write left of this buffer, if anything.
            let from = written.saturating_sub(passed).min(buf.len());
            if written < total && from < buf.len() {
                let rest = buf.get(from..).unwrap_or_default();
                file.write_all_at(rest, offset + (passed + from) as u64)?;
                written = passed + buf.len();
            }
            passed += buf.len();
        }
        offset += total as u64;
    }
    Ok(())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(parent)?.sync_all()
}

impl Steps for StdVfs {
    type Made = std::fs::File;

    fn make(&self, path: &Path) -> io::Result<Self::Made> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        write_over_in_place(&file);
        Ok(file)
    }

    fn edit(&self, path: &Path) -> io::Result<Self::Made> {
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn fill(&self, file: &Self::Made, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn begin_write_out(&self, file: &Self::Made, offset: u64, bytes: u64) {
        sys::write_out::begin(file, offset, bytes);
    }

    fn sync_made(&self, file: &Self::Made) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => std::fs::remove_dir(path),
            answer => answer,
        }
    }

    fn sync_parent(&self, path: &Path) -> io::Result<()> {
        sync_parent(path)
    }
}

/// What the holder of a lock file wrote into it.
fn pid_in(file: &std::fs::File) -> Option<u32> {
    let mut pid = String::new();
    Read::take(file, 16).read_to_string(&mut pid).ok()?;
    pid.trim().parse().ok()
}

impl Vfs for StdVfs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        durable::create_dir(
            dir,
            &|path| path.exists(),
            &|path| std::fs::create_dir(path),
            &|path| sync_parent(path),
        )?;
        // A path that leads to something else is told now, by name, not later by a listing that fails.
        if dir.is_dir() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::NotADirectory)) }
    }

    fn lock(&self, dir: &Path) -> io::Result<LockAttempt> {
        // The directory itself, and first: a lock file that somebody removes as stale must not let a second writer in, and of two that
        // come at once each must not find one half of the lock taken. Where directories cannot be locked (network file systems), the
        // file is all there is.
        let directory = std::fs::File::open(dir)?;
        let contended = |error: &io::Error| error.kind() == fs2::lock_contended_error().kind();
        let path = dir.join(LOCK_FILE);
        if fs2::FileExt::try_lock_exclusive(&directory).is_err_and(|error| contended(&error)) {
            return Ok(LockAttempt::Held {
                pid: std::fs::File::open(path).ok().and_then(|file| pid_in(&file)),
            });
        }
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let flock = fs2::FileExt::try_lock_exclusive(&file);
        let taken = match flock {
            Ok(()) => sys::lock::try_lock_open_file_description(&file)?,
            Err(error) if contended(&error) => false,
            Err(error) => return Err(error),
        };
        if !taken {
            return Ok(LockAttempt::Held { pid: pid_in(&file) });
        }
        // Over the old one, and then cut: a full disk has no room for what had room a moment ago. The pid is for people; without it
        // the lock is as good.
        let pid = std::process::id().to_string();
        drop(file.write_all_at(pid.as_bytes(), 0).and_then(|()| file.set_len(pid.len() as u64)));
        Ok(LockAttempt::Taken(Box::new((directory, file))))
    }

    fn holder(&self, dir: &Path) -> io::Result<Holder> {
        let file = match std::fs::File::open(dir.join(LOCK_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Nobody),
            file => file?,
        };
        Ok(match sys::lock::is_locked(&file)? {
            true => Holder::Process { pid: pid_in(&file) },
            false => Holder::Nobody,
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::File::open(dir)?.sync_all()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            // Names of ours are ASCII: others are nobody's business.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, path: &Path, head: &[u8], donor: Option<&Path>) -> io::Result<Arc<dyn File>> {
        let file = durable::create(self, path, head, donor)?;
        let ring = self.ring_for(&file);
        Ok(Arc::new(StdFile { file, ring }))
    }

    fn reserve(&self, path: &Path, size_bytes: u64) -> io::Result<Filling> {
        durable::reserve(self, path, size_bytes)
    }

    fn retire(&self, path: &Path, spare: &Path) -> io::Result<()> {
        durable::retire(self, path, spare)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(StdFile { file: std::fs::File::open(path)?, ring: None }))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        durable::replace(self, path, bytes)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        durable::remove(self, path)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        fs2::available_space(dir)
    }

    fn medium(&self, dir: &Path) -> io::Result<Medium> {
        // Numbers of linux/magic.h.
        Ok(match u64::try_from(fs::statfs(dir)?.f_type).unwrap_or_default() {
            0x6969 => Medium::Network("NFS"),
            0xff53_4d42 | 0xfe53_4d42 | 0x517b => Medium::Network("SMB"),
            0x0102_1997 => Medium::Network("9P"),
            0x00c3_6400 => Medium::Network("Ceph"),
            0x0102_1994 => Medium::Memory("tmpfs"),
            0x8584_58f6 => Medium::Memory("ramfs"),
            _ => Medium::Disk,
        })
    }

    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        let mut filled = 0;
        while filled < bytes.len() {
            match rand::getrandom(
                bytes.get_mut(filled..).unwrap_or_default(),
                rand::GetRandomFlags::empty(),
            ) {
                Ok(more) => filled += more,
                Err(Errno::INTR) => {}
                // Since Linux 3.17 it cannot fail otherwise; a salt that repeats would make old frames valid again.
                Err(error) => panic!("getrandom: {error}"),
            }
        }
        u64::from_ne_bytes(bytes)
    }

    fn spawn(
        &self,
        name: &str,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Option<JoinHandle<()>>> {
        std::thread::Builder::new().name(name.to_owned()).spawn(body).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// By either calls: a chain takes 1,024 buffers, more go the other way.
    #[test]
    fn what_was_written_in_many_pieces_is_read_back() {
        for (calls, count) in [
            (CommitCalls::WriteThenSync, 3000u32),
            (CommitCalls::IoUring, 3000),
            (CommitCalls::IoUring, 1024),
            (CommitCalls::IoUring, 1),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let vfs = StdVfs::new(calls);
            let file = vfs.create(&dir.path().join("seg-1"), b"head", None).unwrap();
            let pieces: Vec<Vec<u8>> = (0..count).map(|n| n.to_le_bytes().to_vec()).collect();
            let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            file.write_at(4, &slices, Sync::Data).unwrap();
            file.write_at(0, &[IoSlice::new(b"HE")], Sync::Data).unwrap();
            let read = super::super::read_all(&vfs, &dir.path().join("seg-1"), 1 << 20).unwrap();
            assert_eq!(read[..4], *b"HEad");
            assert_eq!(read[4..], pieces.concat());
            assert_eq!(vfs.list(dir.path()).unwrap(), ["seg-1"], "no temporary name is left");
        }
    }

    /// Containers often forbid it: then there is nothing to test, and the output says so.
    fn ring_or_say_so(file: &std::fs::File) -> Option<Ring> {
        let ring = Ring::for_file(file);
        if let Err(error) = &ring {
            // The macros' output is shown of failed tests only.
            writeln!(io::stderr(), "not tested: no io_uring: {error}").unwrap();
        }
        ring.ok()
    }

    /// A read-only file refuses the write, and the chain its sync; the ring serves the next call all the same.
    #[test]
    fn a_failed_write_of_a_chain_is_told_and_its_sync_is_not_done() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), b"old").unwrap();
        let file = std::fs::File::open(dir.path().join("file")).unwrap();
        let Some(mut ring) = ring_or_say_so(&file) else { return };
        for _ in 0..3 {
            let error = ring.write_and_sync(0, &[IoSlice::new(b"new")]).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error}");
        }
        assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"old");
    }

    /// What found no room is no failed sync: the log goes on behind the first, and stops at the second.
    #[test]
    fn a_chain_that_finds_no_room_says_so() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let Some(mut ring) = ring_or_say_so(&full) else { return };
        let error = ring.write_and_sync(0, &[IoSlice::new(b"new")]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
    }

    #[test]
    fn a_donor_keeps_its_bytes_behind_the_head() {
        let dir = tempfile::tempdir().unwrap();
        let vfs = StdVfs::default();
        let spare = dir.path().join("spare-1");
        let mut fill = vfs.reserve(&spare, 100_000).unwrap();
        assert!(!fill(99_999).unwrap());
        assert_eq!(vfs.list(dir.path()).unwrap(), ["spare-1.tmp"]);
        assert!(fill(100_000).unwrap());
        let file = vfs.create(&dir.path().join("seg-2"), b"new head", Some(&spare)).unwrap();
        assert_eq!(file.len().unwrap(), 100_000);
        assert_eq!(vfs.list(dir.path()).unwrap(), ["seg-2"]);
    }

    #[test]
    fn the_second_lock_names_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let vfs = StdVfs::default();
        let first = vfs.lock(dir.path()).unwrap();
        assert!(matches!(first, LockAttempt::Taken(_)));
        assert!(
            matches!(vfs.lock(dir.path()).unwrap(), LockAttempt::Held { pid: Some(pid) } if pid == std::process::id())
        );
        drop(first);
        assert!(matches!(vfs.lock(dir.path()).unwrap(), LockAttempt::Taken(_)));
    }

    #[test]
    fn of_two_that_come_at_once_one_gets_the_lock() {
        for _ in 0..500 {
            let dir = tempfile::tempdir().unwrap();
            let together = std::sync::Barrier::new(2);
            let come = || {
                let vfs = StdVfs::default();
                together.wait();
                let lock = vfs.lock(dir.path()).unwrap();
                together.wait();
                matches!(lock, LockAttempt::Taken(_))
            };
            let (one, other) = std::thread::scope(|threads| {
                let other = threads.spawn(come);
                (come(), other.join().unwrap())
            });
            assert!(one != other, "one and only one");
        }
    }

    #[test]
    fn asking_for_the_holder_takes_nothing_and_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let vfs = StdVfs::default();
        assert_eq!(vfs.holder(dir.path()).unwrap(), Holder::Nobody);
        assert!(vfs.list(dir.path()).unwrap().is_empty());
        let lock = vfs.lock(dir.path()).unwrap();
        let me = Holder::Process { pid: Some(std::process::id()) };
        assert_eq!(vfs.holder(dir.path()).unwrap(), me);
        drop(lock);
        assert_eq!(vfs.holder(dir.path()).unwrap(), Holder::Nobody);
    }

    #[test]
    fn a_directory_is_made_with_its_parents() {
        let dir = tempfile::tempdir().unwrap();
        let vfs = StdVfs::default();
        let deep = dir.path().join("a/b/c");
        vfs.create_dir(&deep).unwrap();
        vfs.create_dir(&deep).unwrap();
        assert!(vfs.list(&deep).unwrap().is_empty());
        assert_eq!(vfs.list(&dir.path().join("x")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
